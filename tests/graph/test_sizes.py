"""Questions about the batch size: answered for the present size, kept as guards, or captured at that size alone."""

from __future__ import annotations

import logging
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pellucid.core.jax_compat import SymbolicSize
from pellucid.graph.ledger import Reason
from tests.graph.helpers import FAST, Net, normal, spec

# name: (function, sizes in the order of their use, how often `call` may run for them)
GUARDED = {
    "== 1": (lambda m, x, t: x * 10 if x.shape[0] == 1 else x, (4, 1, 7, 1), 2),
    "!= 1": (lambda m, x, t: x if x.shape[0] != 1 else x * 10, (4, 1, 7, 1), 2),
    "> 5": (lambda m, x, t: x * 10 if x.shape[0] > 5 else x, (4, 5, 6, 100), 2),
    "5 <": (lambda m, x, t: x * 10 if 5 < x.shape[0] else x, (4, 6, 5, 7), 2),  # noqa: SIM300
    "% 2 == 0": (lambda m, x, t: x * 10 if x.shape[0] % 2 == 0 else x, (4, 6, 7, 9, 8), 2),
    "% 2": (lambda m, x, t: x * 10 if x.shape[0] % 2 else x, (4, 6, 7, 9, 8), 2),
    "// 2 >= 3": (lambda m, x, t: x * 10 if x.shape[0] // 2 >= 3 else x, (4, 5, 6, 8), 2),
    "shape == (4, 3)": (lambda m, x, t: x if x.shape == (4, 3) else x * 10, (4, 5, 6, 4), 2),
    "shape[0] in a tuple": (lambda m, x, t: x * 10 if x.shape[0] in (1, 2) else x, (4, 1, 2, 7), 3),
    "max": (lambda m, x, t: x * max(x.shape[0], 3), (4, 7, 2, 1, 5), 2),
    "min of a shape": (lambda m, x, t: x * min(x.shape), (4, 7, 2, 1), 2),
    "chained": (lambda m, x, t: x * 10 if 2 < x.shape[0] < 6 else x, (4, 5, 6, 2), 3),
    "two sizes": (lambda m, x, t: x * 10 if x.shape[0] > x.shape[1] else x, (4, 5, 2, 3), 2),
    "product": (lambda m, x, t: x * 10 if x.size > 12 else x, (4, 5, 2), 2),
    "and": (lambda m, x, t: x * 10 if x.shape[0] and x.shape[0] > 3 else x, (4, 5, 2), 2),
    "assert": (lambda m, x, t: _asserting(x), (4, 5, 2), 1),
    "by JAX": (lambda m, x, t: x * jnp.linspace(0, 1, x.shape[0])[:, None], (4, 7, 3), 1),
    "in a nested function": (
        lambda m, x, t: lax.scan(lambda c, _: (c * 2 if c.shape[0] > 4 else c, None), x, None, length=2)[0],
        (4, 5),
        2,
    ),
}


def _asserting(x):
    assert x.shape[0] >= 1
    return x + 1


@pytest.mark.parametrize(("function", "sizes", "captures"), GUARDED.values(), ids=GUARDED)
def test_a_question_about_the_size_becomes_a_guard(function, sizes, captures):
    net = Net(function)
    for n in sizes:
        x = normal(n, 3, seed=n)
        graph = net.capture(spec(n, 3))
        assert graph.signature.batch_size is None
        np.testing.assert_allclose(graph.run(x, False, n)[0], function(net, x, False), rtol=1e-6)
    assert net.ledger.call_count == captures
    assert {run.reason for run in net.ledger.runs[1:]} <= {Reason.SIZE}


def test_the_ledger_tells_the_question_its_line_and_the_new_size():
    net = Net(lambda m, x, t: x * 10 if x.shape[0] % 2 == 0 else x)
    net.capture(spec(4, 3))
    net.capture(spec(7, 3))
    line = net.function.__code__.co_firstlineno
    assert (
        net.ledger[1].sentence
        == f"captured again because `call` asks `mod(batch, 2) == 0` at test_sizes.py:{line}, which has another answer for a batch of 7"
    )


NO_QUESTION = {
    "dense": lambda m, x, t: jax.nn.softmax(x @ jnp.ones((3, 2))),
    "reshape": lambda m, x, t: x.reshape(x.shape[0], 3, 1).reshape(-1, 3),
    "broadcast": lambda m, x, t: jnp.broadcast_to(x[:, None], (x.shape[0], 2, 3)),
    "axis sizes": lambda m, x, t: x * 2 if x.shape[1] == 3 and x.ndim == 2 else x,
    "unpacked": lambda m, x, t: (lambda n, d: x.reshape(n, d, 1))(*x.shape),
    "is None": lambda m, x, t: x if x.shape[0] is None else x * 2,
    "concatenate": lambda m, x, t: jnp.concatenate([x, x], axis=1),
    "zeros": lambda m, x, t: x + jnp.zeros((x.shape[0], 1)),
    "vmap": lambda m, x, t: jax.vmap(lambda r: r / r.sum())(x),
}


@pytest.mark.parametrize("function", NO_QUESTION.values(), ids=NO_QUESTION)
def test_what_works_at_any_size_asks_nothing(function):
    graph = Net(function).capture(spec(4, 3))
    assert graph.size_guards == []
    x = jnp.asarray(normal(9, 3))
    np.testing.assert_allclose(graph.run(x, False)[0], function(None, x, False), rtol=1e-6)


CONCRETE = {
    "range": lambda m, x, t: sum((x[i] for i in range(x.shape[0])), jnp.zeros(3)),
    "len": lambda m, x, t: x * len(x),
    "float": lambda m, x, t: x * float(x.shape[0]),
    "math.sqrt": lambda m, x, t: x / math.sqrt(x.shape[0]),
    "numpy zeros": lambda m, x, t: x + np.zeros((x.shape[0], 3), "float32"),
    "the last row": lambda m, x, t: x[x.shape[0] - 1],
    "permutation": lambda m, x, t: x[jax.random.permutation(jax.random.key(0), x.shape[0])],
    "associative scan": lambda m, x, t: lax.associative_scan(jnp.add, x),
    "unstack": lambda m, x, t: jnp.stack(jnp.unstack(x)[::-1]),
    "split": lambda m, x, t: jnp.concatenate(jnp.split(x, x.shape[0])[::-1]),
    "numpy arange": lambda m, x, t: x * np.arange(x.shape[0])[:, None],
}


@pytest.mark.parametrize("function", CONCRETE.values(), ids=CONCRETE)
def test_what_jax_refuses_is_captured_at_its_size_and_the_ledger_names_the_line(function):
    net = Net(function)
    for n in (3, 4):
        graph = net.capture(spec(n, 3))
        assert graph.signature.batch_size == n and net.capture(spec(n, 3)) is graph
        both = jax.jit(lambda x, graph=graph, n=n: (graph.run(x, False, n)[0], function(None, x, False)), compiler_options=FAST)
        np.testing.assert_allclose(*both(jnp.asarray(normal(n, 3))), rtol=1e-6)
    line = f"test_sizes.py:{function.__code__.co_firstlineno}"
    assert [run.reason for run in net.ledger][:2] == [Reason.FIRST, Reason.CONCRETE]
    assert line in net.ledger[0].sentence and "symbolic batch was refused" in net.ledger[0].sentence
    assert net.ledger[1].sentence == f"captured once more for batches of 3, because {line} needs to know the size"


def test_a_symbolic_batch_that_was_refused_is_not_tried_again():
    net = Net(lambda m, x, t: x * len(x))
    for n in (4, 6, 7):
        net.capture(spec(n, 3))
    assert net.ledger.call_count == 1 + 3


HIDDEN = {  # jax 0.12 hides the types of these operations in a primitive of their own
    "searchsorted": lambda m, x, t: jnp.searchsorted(jnp.arange(10.0), x),
    "histogram": lambda m, x, t: jnp.histogram(x, bins=3)[0],
}


@pytest.mark.parametrize("function", HIDDEN.values(), ids=HIDDEN)
def test_what_cannot_be_instantiated_is_captured_at_its_size(function):
    net = Net(function)
    for n in (4, 7):
        x = normal(n, 3)
        np.testing.assert_allclose(net.predict(x, batch_size=n, verbose=0), function(None, jnp.asarray(x), False))


def test_int_of_the_size_is_answered_and_holds_for_this_size_alone():
    net = Net(lambda m, x, t: x * int(x.shape[0]))
    for n in (4, 6, 4):
        np.testing.assert_allclose(net.capture(spec(n, 3)).run(jnp.ones((n, 3)), False)[0], np.full((n, 3), n))
    assert net.ledger.call_count == 2
    assert "`int(batch)`" in net.ledger[1].sentence


@pytest.mark.parametrize("size", [32, 26])
def test_the_size_as_a_number_is_that_of_each_batch(size):
    graph = Net(lambda m, x, t: x * x.shape[0] + jnp.arange(x.shape[0])[:, None]).capture(spec(32, 3))
    expected = np.ones((size, 3)) * size + np.arange(size)[:, None]
    np.testing.assert_allclose(graph.run(jnp.ones((size, 3)), False)[0], expected)


def test_predict_uses_the_size_of_the_smaller_last_batch():
    net = Net(lambda m, x, t: x * x.shape[0])
    out = net.predict(np.ones((10, 3), "float32"), batch_size=4, verbose=0)
    np.testing.assert_array_equal(out[:, 0], [4] * 8 + [2] * 2)
    assert net.ledger.call_count == 1


@pytest.mark.parametrize("use", [lambda n: {4: 10.0}.get(n, 1.0), lambda n: len(f"{n}")], ids=["key", "text"])
def test_a_size_as_a_key_or_in_text_is_no_silent_error(use):
    net = Net(lambda m, x, t: x * use(x.shape[0]))
    graph = net.capture(spec(4, 3))
    np.testing.assert_allclose(graph.run(jnp.ones((4, 3)), False)[0], np.full((4, 3), use(4)))


def log_the_shape(m, x, t):
    logging.getLogger("tests").debug("shape %s", str(x.shape))
    return x


def check_the_shape(m, x, t):
    if x.ndim != 2:
        raise ValueError(f"got {x.shape}")
    assert x.ndim == 2, f"got {x.shape}"
    return x


@pytest.mark.parametrize(
    "function",
    [lambda m, x, t: print("shape", x.shape, f"{x.shape[0]}") or x, log_the_shape, check_the_shape],
    ids=["print", "log", "error"],
)
@pytest.mark.filterwarnings("ignore:print ran once:pellucid.SideEffectWarning")
def test_a_size_that_is_only_shown_makes_no_capture_for_each_size(function, capsys):
    net = Net(function)
    for n in (4, 7):
        net.capture(spec(n, 3))
    assert net.ledger.call_count == 1
    assert capsys.readouterr().out in ("", "shape (batch, 3) batch\n")


def test_questions_end_with_the_capture():
    names = ("__eq__", "__lt__", "__ge__", "__int__", "__bool__", "__hash__", "__str__", "__repr__", "__truediv__")
    before = {n: SymbolicSize.__dict__.get(n) for n in names}
    Net(lambda m, x, t: x if x.shape[0] == 1 else x * 2).capture(spec(4, 3))

    def fails(m, x, t):
        assert x.shape[0] == 4
        raise KeyError("no")

    with pytest.raises(KeyError):
        Net(fails).capture(spec(4, 3))
    assert {n: SymbolicSize.__dict__.get(n) for n in names} == before


def test_a_question_asked_by_a_helper_library_of_the_users_is_answered_too():
    module = types.ModuleType("helper")
    exec(compile("def scale(x):\n    return x * (10 if x.shape[0] == 1 else 1)\n", "/somewhere/helper.py", "exec"), module.__dict__)
    net = Net(lambda m, x, t: module.scale(x))
    for n in (1, 4):
        np.testing.assert_allclose(net.capture(spec(n, 3)).run(jnp.ones((n, 3)), False)[0], np.full((n, 3), 10.0 if n == 1 else 1.0))
    assert "at helper.py:2" in net.ledger[1].sentence


def _by_kind(x):
    if isinstance(x.shape[0], int):
        return x * 10
    return x


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x, t: x * 10 if isinstance(x.shape[0], int) else x,
        lambda m, x, t: x * 10 if isinstance(x.shape[0] * 2, (float, int)) else x,
        lambda m, x, t: x * 10 if not isinstance(x.shape[0], float | str | tuple) else x,
        lambda m, x, t: x * 10 if x.shape[0].__class__ is int else x,
        lambda m, x, t: _by_kind(x),
        lambda m, x, t: x * (10 if isinstance(x.shape[0], int) and x.shape[0] > 0 else 1),
    ],
)
def test_a_size_is_an_int_where_a_users_line_asks(function):
    net = Net(function)
    for n in (4, 7):
        graph = net.capture(spec(n, 3))
        assert graph.signature.batch_size is None
        np.testing.assert_allclose(graph.run(jnp.ones((n, 3)), False, n)[0], 10)
    assert net.ledger.call_count == 1
    symbol = jax.export.symbolic_shape("n")[0]
    assert not isinstance(symbol, int) and symbol.__class__ is type(symbol) is SymbolicSize


def test_a_capture_inside_a_capture_leaves_sizes_as_they_were():
    inner = Net(lambda m, x, t: x * 2 if isinstance(x.shape[0], int) else x)

    def call(m, x, t):
        inner.capture(spec(5, 3))
        return x * 10 if isinstance(x.shape[0], int) else x

    np.testing.assert_allclose(Net(call).capture(spec(4, 3)).run(jnp.ones((4, 3)), False, 4)[0], 10)
    assert "__getattribute__" not in vars(SymbolicSize)
