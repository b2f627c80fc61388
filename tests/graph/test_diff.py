"""What two captures differ in, in words and as data; and when two captures compute the same."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops
from pellucid.graph.diff import diff
from pellucid.graph.same import same
from tests.graph.helpers import Net, normal


def line_of(function, offset=1):
    return f"test_diff.py:{function.__code__.co_firstlineno + offset}"


def captured_twice(net, change, first=(None, 3), second=None, training=(False, False)):
    one = net.capture(first, training=training[0])
    change(net)
    return one, net.capture(second or first, training=training[1])


# ---- diff ----


def test_a_capture_does_not_differ_from_itself():
    graph = Net(lambda m, x, t: m.out(x) * 2, out=layers.Dense(2)).capture((None, 3))
    difference = diff(graph, graph)
    assert not difference and len(difference) == 0 and str(difference) == "The two captures do not differ."


def test_a_changed_number_is_a_constant_of_its_node_and_a_guard():
    def call(m, x, t):
        return x * m.alpha + 1

    one, other = captured_twice(Net(call, alpha=0.5), lambda net: setattr(net, "alpha", 0.9))
    difference = diff(one, other)
    assert [(c.kind, c.name, c.before, c.now) for c in difference] == [
        ("constant", "multiply", 0.5, 0.9),
        ("guard", "self.alpha", "0.5", "0.9"),
    ]
    assert str(difference).splitlines() == [
        f"- 'multiply' ({line_of(call)}) holds the constant 0.9, before 0.5",
        "- `self.alpha` was 0.5, and is 0.9",
    ]
    assert difference.added == difference.gone == []


def test_nodes_that_came_and_went_are_told_with_their_lines():
    def call(m, x, t):
        if m.residual:
            return m.out(x) + x
        return ops.tanh(m.out(x))

    one, other = captured_twice(Net(call, residual=False, out=layers.Dense(3)), lambda net: setattr(net, "residual", True))
    difference = diff(one, other)
    assert (difference.added, difference.gone) == (["add"], ["tanh"])
    assert f"- 'add' ({line_of(call, 2)}) is new" in str(difference) and f"- 'tanh' ({line_of(call, 3)}) is gone" in str(difference)
    (connection,) = difference.of("connection")
    assert (connection.name, connection.before, connection.now) == ("output", "tanh", "add")
    (source,) = difference.of("source")
    assert source.sentence == f"'out' comes from {line_of(call, 2)}, before from {line_of(call, 3)}"


def test_other_inputs_change_shapes_and_types_along_the_way():
    net = Net(lambda m, x, t: x * 2)
    difference = diff(*captured_twice(net, lambda net: None, second=jax.ShapeDtypeStruct((4, 7), "int32")))
    assert difference.changes[0].sentence == "the input has 7 features, before 3, and dtype int32, before float32"
    told = {(c.kind, c.name): (c.before, c.now) for c in difference.changes[1:]}
    for name in ("input", "multiply", "output"):
        assert told["shape", name] == ((None, 3), (None, 7)) and told["dtype", name] == ("float32", "int32")


def test_the_modes_of_two_captures_are_told_with_the_line():
    def call(m, x, t):
        return x * 2 if t else x

    (mode,) = diff(*captured_twice(Net(call), lambda net: None, training=(False, True))).of("mode")
    assert (mode.before, mode.now) == (False, True)
    assert mode.sentence == (
        f"the graph is good for training=True alone, before for training=False alone: `call` branches on `training` at {line_of(call)}"
    )


def test_another_layer_in_the_same_place_and_its_weights_are_told():
    def change(net):
        net.out = layers.Dense(3)

    difference = diff(*captured_twice(Net(lambda m, x, t: m.out(x), out=layers.Dense(2)), change))
    assert [c.name for c in difference.of("layer")] == ["out"]
    assert {c.sentence.split(" variable")[0] for c in difference.of("variable")} == {"`call` reads", "`call` no longer reads"}
    assert [(c.before, c.now) for c in difference.of("shape") if c.name == "out"] == [((None, 2), (None, 3))]


def test_questions_about_the_batch_are_told():
    def call(m, x, t):
        return x * 2 if m.asks and x.shape[0] > 5 else x

    one, other = captured_twice(Net(call, asks=False), lambda net: setattr(net, "asks", True))
    (question,) = diff(one, other).of("question")
    assert question.sentence == f"`call` asks about the batch: `batch > 5` at {line_of(call)} is True"
    (gone,) = diff(other, one).of("question")
    assert gone.sentence.startswith("`call` no longer asks about the batch: ")


def test_a_difference_as_data_is_plain():
    net = Net(lambda m, x, t: x + np.asarray(m.table), table=[1.0, 2.0, 3.0])
    difference = diff(*captured_twice(net, lambda net: setattr(net, "table", [1.0, 2.0, 4.0])))
    data = json.loads(json.dumps(difference.as_dict()))
    assert {"kind", "name", "before", "now", "sentence"} == set(data[0])
    assert [d["kind"] for d in data] == ["constant", "guard"]


# ---- same ----

SAME = {
    "dense and relu": lambda m, x: m.out(x),
    "normalization and dropout": lambda m, x: m.drop(m.norm(x)),
    "a scan": lambda m, x: jax.lax.scan(lambda c, v: (c + v, c), x[:, 0], x.T)[0],
    "a jit of the user's": lambda m, x: jax.jit(lambda y: y * 2)(x),
    "a branch on values": lambda m, x: jax.lax.cond(jnp.sum(x) > 0, lambda: x, lambda: -x),
    "checkpoint": lambda m, x: jax.checkpoint(jnp.tanh)(x),
    "a constant array": lambda m, x: x * jnp.asarray(np.arange(3.0, dtype="float32")),
    "reshapes and joins": lambda m, x: jnp.concatenate([x.reshape(-1, 3), jax.nn.gelu(x)], axis=1),
}


@pytest.mark.parametrize("function", SAME.values(), ids=SAME)
def test_captures_that_compute_the_same_are_found(function):
    def call(m, x, t):
        return function(m, x) if m.read else x

    made = {"out": layers.Dense(2, activation="relu"), "norm": layers.BatchNormalization(), "drop": layers.Dropout(0.5)}
    net = Net(call, read=1, **made)
    one, other = captured_twice(net, lambda net: setattr(net, "read", 2))
    assert other is one  # the cache keeps the older, with what guards it now
    net.read = 1
    assert not net._machine.captures.is_current(one)


def times(factor):
    return lambda a: a * factor


# what an attribute is, and what becomes of it: each gives a graph that looks much alike and computes something else
DIFFERENT = {
    "a number": (1.0, 2.0, lambda m, x: x * m.value),
    "the last bit of a number": (1.0, float(np.nextafter(np.float32(1), np.float32(2))), lambda m, x: x * m.value),
    "zero and minus zero": (0.0, -0.0, lambda m, x: x * m.value),
    "an array's content": ([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], lambda m, x: x + jnp.asarray(m.value)),
    "an axis": (0, 1, lambda m, x: jnp.flip(x[:, :3], m.value)),
    "an operation": (True, False, lambda m, x: jnp.sin(x) if m.value else jnp.cos(x)),
    "the order of operands": (True, False, lambda m, x: m.one(x) - m.two(x) if m.value else m.two(x) - m.one(x)),
    "which weight": (True, False, lambda m, x: x + (m.u if m.value else m.v)),
    "inside a jit": (1.0, 2.0, lambda m, x: jax.jit(lambda y: y * m.value)(x)),
    "inside a scan": (1.0, 2.0, lambda m, x: jax.lax.scan(lambda c, v: (c + v * m.value, c), x[:, 0], x.T)[0]),
    "inside a branch": (1.0, 2.0, lambda m, x: jax.lax.cond(jnp.sum(x) > 0, lambda: x * m.value, lambda: x)),
    "how often": (2, 3, lambda m, x: jax.lax.fori_loop(0, m.value, lambda i, c: c * 2, x)),
    "which outputs": (0, 1, lambda m, x: [x, x * 2][m.value]),
    "their structure": (list, tuple, lambda m, x: m.value([x, x])),
    "a data type": ("float16", "int32", lambda m, x: ops.cast(x, m.value)),
    "a callback": (1.0, 2.0, lambda m, x: jax.pure_callback(times(m.value), jax.ShapeDtypeStruct(x.shape, x.dtype), x)),
}


@pytest.mark.parametrize(("before", "after", "function"), DIFFERENT.values(), ids=DIFFERENT)
def test_captures_that_may_differ_are_told_apart(before, after, function):
    def call(m, x, t):
        return function(m, x)

    net = Net(call, value=before, one=layers.Dense(3), two=layers.Dense(3), u=normal(3, seed=1), v=normal(3, seed=2))
    one, other = captured_twice(net, lambda net: setattr(net, "value", after))
    assert other is not one and not same(one, other)


def test_a_derivative_that_a_function_defines_for_itself_is_compared():
    def call(m, x, t):
        function = jax.custom_jvp(lambda x: x * 2)
        factor = m.factor
        function.defjvp(lambda primals, tangents: (primals[0] * 2, tangents[0] * factor))
        return function(m.out(x))

    net = Net(call, factor=2.0, out=layers.Dense(1))
    one, other = captured_twice(net, lambda net: setattr(net, "factor", 3.0))
    assert other is not one and not same(one, other)

    def backward(m, x, t):
        function, factor = jax.custom_vjp(lambda x: x * 2), m.factor
        function.defvjp(lambda x: (x * 2, None), lambda _, g: (g * factor,))
        return function(m.out(x))

    net = Net(backward, factor=2.0, out=layers.Dense(1))
    one, other = captured_twice(net, lambda net: setattr(net, "factor", 3.0))
    assert other is not one and not same(one, other)


def test_graphs_of_two_models_are_never_the_same():
    one, other = (Net(lambda m, x, t: x * 2).capture((None, 3)) for _ in range(2))
    assert not same(one, other) and same(one, one)


def test_a_kept_program_computes_with_the_weights_of_now():
    def call(m, x, t):
        return m.out(x) if m.level >= 0 else x

    net = Net(call, out=layers.Dense(2), level=1)
    net.compile(optimizer=pellucid.optimizers.SGD(0.1), loss="mse")
    x, y = normal(8, 3), normal(8, 2)
    net.fit(x, y, verbose=0)
    net.level = 2
    net.fit(x, y, verbose=0)
    assert net.ledger.call_count == 2 and [p.purpose for p in net.ledger.programs] == ["train"]
    kernel, bias = net.get_weights()
    np.testing.assert_allclose(net.predict(x, verbose=0), x @ kernel + bias, rtol=1e-5, atol=1e-6)
