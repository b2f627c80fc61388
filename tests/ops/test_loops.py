"""The loop over steps whose gradients are taken after it, against JAX's own."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid.core import forms, jax_compat
from pellucid.ops import control, loops, recurrent
from tests.cases import some_slow

BATCH, TIME, SIZE, UNITS = 3, 6, 4, 2
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 1, 0], [1, 0, 1, 1, 1, 1]], bool)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32") * 0.5)


def weights(gates, rows=1):
    bias = normal(gates * UNITS, seed=2) if rows == 1 else normal(rows, gates * UNITS, seed=2)
    return normal(SIZE, gates * UNITS), normal(UNITS, gates * UNITS), bias


CELLS = {
    "simple_rnn": (recurrent.simple_rnn, 1, weights(1), {}),
    "gru": (recurrent.gru, 1, weights(3, 2), {}),
    "gru reset before": (recurrent.gru, 1, weights(3), {"reset_after": False}),
    "gru of one bias": (recurrent.gru, 1, weights(3), {}),
    "lstm": (recurrent.lstm, 2, weights(4), {"activation": jax.nn.relu}),
    "conv_lstm": (
        recurrent.conv_lstm,
        2,
        (normal(2, SIZE, 4 * UNITS), normal(2, UNITS, 4 * UNITS), normal(4 * UNITS)),
        {"padding": "same"},
    ),
}
LOOPS = {
    "last": {},
    "sequences backwards": {"return_sequences": True, "go_backwards": True},
    "masked": {"mask": MASK},
    "zeros where masked": {"mask": MASK, "return_sequences": True, "zero_output_for_mask": True},
    "unrolled": {"unroll": True, "return_sequences": True},
    "dropped": {"factors": True, "mask": MASK, "go_backwards": True},
}


@pytest.fixture
def both(monkeypatch):
    """Calls a function with the loop's own form and with the plain one."""

    def call(function, *args):
        found = []
        for platforms in (frozenset({jax.default_backend()}), frozenset()):
            monkeypatch.setitem(forms.FASTER_ON, "scan", platforms)
            found.append(function(*args))
        return found

    return call


def assert_close(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), one, other)


def score(outputs):
    return sum((jnp.sin(y) * (i + 1)).sum() for i, y in enumerate(jax.tree.leaves(outputs)))


def of(cell, loop):
    """(function of the arguments, the arguments): inputs, states and weights, of a loop over a cell."""
    sequence, states, arrays, options = CELLS[cell]
    space = (3,) if cell == "conv_lstm" else ()
    loop = dict(LOOPS[loop])
    if loop.pop("factors", False):
        gates = arrays[0].shape[-1] // UNITS if cell != "simple_rnn" else 0
        several = (gates,) if gates else ()
        loop["factors"] = tuple(1 + normal(*several, BATCH, *space, size, seed=5) for size in (SIZE, UNITS))

    def run(x, states, kernel, recurrent_kernel, bias):
        return sequence(x, states, kernel, recurrent_kernel, bias, **options, **loop)

    return run, (normal(BATCH, TIME, *space, SIZE), [normal(BATCH, *space, UNITS, seed=s) for s in range(states)], *arrays)


RUN_ALWAYS = [
    ("gru", "masked"),
    ("gru reset before", "dropped"),
    ("conv_lstm", "zeros where masked"),
]


@pytest.mark.parametrize(("cell", "loop"), some_slow(itertools.product(CELLS, LOOPS), RUN_ALWAYS))
def test_values_and_gradients_by_inputs_states_and_weights_are_those_of_the_plain_loop(both, cell, loop):
    run, args = of(cell, loop)
    own, plain = both(lambda: jax.jit(lambda *a: (run(*a), jax.grad(lambda *a: score(run(*a)), range(len(a)))(*a)))(*args))
    assert_close(own, plain)


@pytest.mark.parametrize("cell", some_slow(CELLS, ["simple_rnn"]))
def test_forward_mode_vmap_and_second_derivatives_are_those_of_the_plain_loop(both, cell):
    run, args = of(cell, "masked")
    along = jax.tree.map(lambda x: normal(*x.shape, seed=9), args)
    several = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), args)

    def found():
        gradient = jax.grad(lambda *a: score(run(*a)), range(len(args)))
        forward = lambda *a: jax.jvp(run, a, along)[1]
        second = lambda *a: (jax.jvp(gradient, a, along)[1], jax.grad(lambda *a: score(gradient(*a)), range(len(a)))(*a))
        return jax.jit(lambda: (forward(*args), jax.vmap(forward)(*several), jax.vmap(gradient)(*several), second(*args)))()

    assert_close(*both(found))


def products_in_loops(jaxpr, inside=False):
    eqns = jax_compat.parts(jaxpr).eqns
    nested = lambda e: sum(products_in_loops(j, inside or e.primitive.name == "scan") for j in jax_compat.nested_jaxprs(e))
    return sum((inside and e.primitive.name == "dot_general") + nested(e) for e in eqns)


@pytest.mark.parametrize(("cell", "count"), [("gru", 2), ("gru reset before", 4), ("lstm", 2)])
def test_kernels_gradients_are_not_taken_in_the_loop(both, cell, count):
    run, args = of(cell, "masked")
    counted = lambda: products_in_loops(jax.make_jaxpr(jax.grad(lambda *a: score(run(*a)), range(len(args))))(*args))
    own, plain = both(counted)
    assert own == count
    assert plain == count * 3 // 2


def own_turn(w, scale, table, x):
    """A turn with whatever a cell of a user's may do: products of inputs, an integer state, a gather, shared weights used twice."""

    def turn(carry, now):
        h, count = carry
        x, index, real = now
        h_new = jnp.tanh(x @ w + (h * scale) @ w.T[:, : h.shape[1]] + table[index] + w[0, 0] + count.astype(h.dtype))
        h_new = jax.nn.relu(h_new) + jnp.exp(-h_new) + jax.nn.log_softmax(h)
        return (jnp.where(real[:, None], h_new, h), count + 1), {"y": h_new * 2, "count": count, "one": 1.0}

    return turn


@pytest.mark.parametrize("reverse", some_slow([False, True], [True]))
def test_a_turn_of_ones_own_is_as_in_the_plain_loop(reverse):
    index, real = jnp.array([0, 2, 1, 1, 0, 2]), jnp.asarray(MASK.T)

    def run(scan, w, scale, table, x, h):
        return scan(own_turn(w, scale, table, x), (h, jnp.int32(1)), (x, index, real), reverse=reverse)

    args = normal(SIZE, SIZE), normal(SIZE), normal(3, SIZE), normal(TIME, BATCH, SIZE), normal(BATCH, SIZE)
    only_floats = lambda found: [y for y in jax.tree.leaves(found) if y.dtype == jnp.float32]
    own, plain = (
        jax.jit(lambda *a, f=f: (run(f, *a), jax.grad(lambda *a: score(only_floats(run(f, *a))), range(5))(*a)))(*args)
        for f in (loops.scan, jax.lax.scan)
    )
    assert_close(own, plain)


def test_a_product_of_inputs_is_taken_before_the_loop():
    turn = own_turn(normal(SIZE, SIZE), normal(SIZE), normal(3, SIZE), None)
    xs = normal(TIME, BATCH, SIZE), jnp.zeros(TIME, int), jnp.asarray(MASK.T)
    count = lambda scan: products_in_loops(jax.make_jaxpr(lambda: scan(turn, (normal(BATCH, SIZE), jnp.int32(1)), xs))())
    assert (count(loops.scan), count(jax.lax.scan)) == (1, 2)


def test_what_needs_no_gradient_costs_none():
    run, (x, states, *arrays) = of("gru", "last")
    products = lambda argnum: str(jax.make_jaxpr(jax.grad(lambda *a: score(run(*a)), argnum))(x, states, *arrays)).count("dot_general")
    assert [products(0), products(3), products((0, 1, 2, 3, 4))] == [4, 4, 6]


@pytest.mark.parametrize("inside", ["cond", "print", "host"])
def test_a_turn_that_branches_or_calls_back_takes_the_plain_loop(inside):
    def turn(h, x):
        if inside == "print":
            jax.debug.callback(lambda _: None, x[0])
        if inside == "host":
            return h * x + jax.pure_callback(np.abs, x, jax.lax.stop_gradient(x)), None
        return jax.lax.cond(x[0] > 0, lambda: h * x, lambda: h) if inside == "cond" else h * x, None

    x = normal(TIME, SIZE)
    grads = [jax.grad(lambda x, f=f: f(turn, jnp.ones(SIZE), x)[0].sum())(x) for f in (loops.scan, jax.lax.scan)]
    assert_close(*grads)


@pytest.mark.slow
def test_half_precision_is_kept(both):
    run, args = of("lstm", "sequences backwards")
    args = jax.tree.map(lambda x: x.astype(jnp.bfloat16), args)
    own, plain = both(lambda: jax.grad(lambda *a: score(run(*a)).astype(jnp.float32), range(len(args)))(*args))
    assert {x.dtype for x in jax.tree.leaves(own)} == {jnp.dtype(jnp.bfloat16)}
    as_float = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float32), tree)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=0.05 * np.abs(b).max()), as_float(own), as_float(plain))


def test_steps_that_assign_nothing_take_the_form_of_the_loops(both):
    w = normal(SIZE, SIZE)
    found = both(
        lambda: products_in_loops(
            jax.make_jaxpr(
                jax.grad(
                    lambda w: control.scan_steps(lambda h, x: (jnp.tanh(h @ w + x), None), normal(BATCH, SIZE), normal(TIME, SIZE))[0].sum()
                )
            )(w)
        )
    )
    assert found == [2, 3]
