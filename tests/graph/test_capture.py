"""One run of ``call``: what it may do, what it may not, and what is left when it fails."""

from __future__ import annotations

import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pellucid
from pellucid import layers, ops
from pellucid.core import frame, jax_compat
from pellucid.core.hooks import Hooks
from pellucid.errors import CaptureError
from pellucid.graph.capture import capture_layer
from tests.cases import some_slow
from tests.graph.helpers import Net, assert_same, normal, spec


class Composed(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(4, activation="relu")
        self.last = layers.Dense(2)

    def call(self, x):
        return self.last(self.first(x))


# ---- A capture builds ----


def test_a_capture_makes_the_weights_and_computes_nothing_with_them():
    model = Composed()
    graph = model.capture((None, 3))
    assert [v.path for v in model.weights] == ["first/kernel", "first/bias", "last/kernel", "last/bias"]
    assert graph.outputs == (None, 2)
    assert graph.reads == model.weights


WAYS = {
    "build": lambda model, x: model.build((None, 3)),
    "capture": lambda model, x: model.capture(x),
    "call": lambda model, x: model(x),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict at another size first": lambda model, x: model.predict(x[:2], verbose=0),
}


def test_weights_are_the_same_for_the_same_seed_whatever_came_first():
    x, found = normal(5, 3), {}
    for name, first in WAYS.items():
        pellucid.utils.set_random_seed(11)
        model = Composed()
        first(model, x)
        found[name] = model.get_weights()
    for name, weights in found.items():
        assert_same(weights, found["build"], 0.0)
        assert len(weights) == 4, name


def test_weights_are_the_same_for_the_same_seed_when_the_symbolic_batch_is_refused():
    class Refused(Composed):
        def call(self, x):
            return super().call(x) * len(x)

    found = []
    for cls in (Composed, Refused):
        pellucid.utils.set_random_seed(11)
        model = cls()
        model.build((4, 3))
        found.append(model.get_weights())
    assert_same(*found, 0.0)


def test_a_weight_made_and_used_in_the_same_capture_is_a_read_not_a_constant():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1],), "ones")

        def call(self, x):
            return jax.jit(lambda x: x * self.w)(x)

    scale = Scale()
    graph, _ = capture_layer(scale, spec(4, 3), 4, False)
    scale.w.assign(np.full(3, 5.0))
    np.testing.assert_array_equal(graph.run(jnp.ones((2, 3)), False)[0], np.full((2, 3), 5.0))


# ---- A capture that fails ----


class Broken(pellucid.Model):
    """Its ``call`` fails between two layers, as long as ``broken`` holds."""

    def __init__(self, error):
        super().__init__()
        self.first, self.last = layers.Dense(4), layers.Dense(2)
        self.error = error

    def build(self, input_shape):
        self.scale = self.add_weight((1,), "ones", name="scale")

    def call(self, x):
        x = self.first(x) * self.scale
        if self.error is not None:
            raise self.error
        return self.last(x)


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no"), Interrupt()], ids=lambda e: type(e).__name__)
def test_a_failing_first_capture_leaves_nothing_half_built_and_the_next_try_works(error):
    model = Broken(error)
    trace, stdout = jax_compat.current_trace(), sys.stdout
    for _ in range(2):
        with pytest.raises(type(error)):
            model.capture((4, 3))
        assert model.weights == [] and not model.built and not model.first.built
        assert not hasattr(model, "scale") and not hasattr(model.first, "kernel")
    assert frame.active_frame() is None and frame.observer() is None
    assert jax_compat.current_trace() is trace and sys.stdout is stdout
    assert Hooks.attribute_written is None and "__getattribute__" not in vars(layers.Layer)
    model.error = None
    x = normal(4, 3)
    out = model.predict(x, verbose=0)
    assert len(model.weights) == 5
    expected = (
        (x @ model.first.kernel.numpy() + model.first.bias.numpy()) * model.scale.numpy()
    ) @ model.last.kernel.numpy() + model.last.bias.numpy()
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_a_failing_eager_first_run_can_be_repeated():
    model = Broken(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        model(normal(4, 3))
    model.error = None
    assert model(normal(4, 3)).shape == (4, 2)
    assert len(model.weights) == 5


def test_a_failing_later_capture_keeps_weights_and_graphs():
    model = Composed()
    x = normal(4, 3)
    before, weights = model.predict(x, verbose=0), model.get_weights()
    with pytest.raises(ValueError, match="features"):
        model.predict(normal(4, 7), verbose=0)
    assert_same(model.get_weights(), weights, 0.0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    assert len(model.ledger.captures) == 1


def test_a_failing_initializer_leaves_no_weights():
    def explode(shape, dtype):
        raise RuntimeError("no memory")

    model = Composed()
    model.last.kernel_initializer = explode
    with pytest.raises(RuntimeError, match="no memory"):
        model.build((None, 3))
    assert model.weights == []
    model.last.kernel_initializer = lambda shape, dtype: np.ones(shape, dtype)
    model.build((None, 3))
    assert len(model.weights) == 4


class Mismatched(layers.Layer):
    def call(self, x):
        doubled = x * 2
        return doubled + jnp.ones((3, 7))


def test_an_error_names_the_layer_the_users_line_and_the_shapes():
    net = Net(lambda m, x, t: m.blocks[1](x), blocks=[layers.Dense(2), Mismatched()])
    with pytest.raises(TypeError) as caught:
        net.capture((4, 3))
    (note,) = [n for n in caught.value.__notes__ if "in layer" in n]
    line = f"test_capture.py:{Mismatched.call.__code__.co_firstlineno + 2}"
    assert re.fullmatch(rf"in layer 'blocks/1' \(Mismatched.call, {line}\), inputs: \((None|4), 3\)", note), note


def test_an_error_from_pythons_own_library_is_told_at_the_users_line():
    def call(self, x, training):
        return x * json.loads("half")

    with pytest.raises(json.JSONDecodeError) as caught:
        Net(call).capture((4, 3))
    notes = "\n".join(caught.value.__notes__)
    assert f'test_capture.py:{call.__code__.co_firstlineno + 1}: return x * json.loads("half")' in notes and "decoder.py" not in notes


def test_an_error_message_that_speaks_of_the_batch_does_not_run_call_twice():
    runs = []

    def call(self, x, training):
        runs.append(1)
        raise ValueError("expected (batch, time, features): the batch is bad")

    with pytest.raises(ValueError, match="batch is bad"):
        Net(call).capture((4, 3))
    assert len(runs) == 1


# ---- Weights as numbers ----


@pytest.mark.parametrize(
    "use",
    [
        lambda w: np.asarray(w),
        lambda w: np.array(w).sum(),
        lambda w: w.numpy(),
        lambda w: np.linalg.norm(w),
    ],
    ids=["asarray", "array", "numpy()", "norm"],
)
def test_a_weight_read_as_a_numpy_array_in_call_is_refused_by_name(use):
    net = Net(lambda m, x, t: x * use(m.w), w=normal(3))
    with pytest.raises(
        CaptureError, match=r"Weight '(net/)?w' is read as a NumPy array.*, at test_capture.py:\d+\. .*frozen into the graph"
    ):
        net.capture((4, 3))


@pytest.mark.parametrize("kind", [float, int, bool, lambda v: [0.0] * v.__index__()], ids=["float", "int", "bool", "index"])
def test_a_scalar_weight_read_as_a_number_in_call_is_refused_by_name(kind):
    net = Net(lambda m, x, t: x * kind(m.w), w=np.array(3, "int32"))
    with pytest.raises(CaptureError, match=r"'(net/)?w'"):
        net.capture((4, 3))


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda m, x, t: ops.cond(m.w, lambda x: x * 2, lambda x: x, x), id="ops.cond"),
        pytest.param(lambda m, x, t: lax.cond(m.w, lambda x: x * 2, lambda x: x, x), id="lax.cond"),
        pytest.param(lambda m, x, t: jnp.where(m.w, x * 2, x), id="jnp.where"),
        pytest.param(lambda m, x, t: x * np.sum(m.w), id="np.sum"),
        pytest.param(lambda m, x, t: lax.select(m.w, x * 2, x), id="lax.select"),
        pytest.param(lambda m, x, t: ops.while_loop(lambda x: m.w & (x.sum() < 100), lambda x: x * 2, x), id="ops.while_loop"),
        pytest.param(lambda m, x, t: np.array([2.0], "float32") * m.w * x, id="numpy array on the left"),
        pytest.param(lambda m, x, t: np.sqrt(4.0) * m.w * x, id="numpy scalar on the left"),
    ],
)
def test_a_weight_is_used_as_it_is(function):
    net = Net(function, w=np.array(True))
    graph = net.capture((4, 3))
    x = jnp.asarray(normal(4, 3))
    for value in (True, False):
        net.w.assign(value)
        expected = function(type("plain", (), {"w": jnp.array(value)}), x, False)
        np.testing.assert_allclose(graph.run(x, False)[0], expected)


# ---- Inputs of any structure ----


def mix(m, x, t):
    out = x["a"] * x["scale"] + (0.0 if x["none"] is None else x["none"])
    return {"out": out + (1.0 if x["mode"] == "add" else 0.0), "pair": (out, x["pair"][0])}


def mixed(n, scale=2.0, none=None, mode="add"):
    return {"a": jnp.asarray(normal(n, 3)), "scale": scale, "none": none, "mode": mode, "pair": (jnp.ones((n, 2)), None)}


def test_none_numbers_and_strings_are_part_of_the_signature():
    net = Net(mix)
    given = [{}, {"scale": 3.0}, {"none": jnp.ones((4, 3))}, {"mode": "none"}, {}]
    for number, options in enumerate(given):
        x = mixed(4, **options)
        graph = net._machine.captures.graph_for(x, 4, False, "test")
        assert_same(graph.run(x, False)[0], mix(None, x, False))
        assert len(net.ledger) == min(number + 1, 4)
    sentences = [run.sentence for run in net.ledger]
    assert sentences[1] == "captured again because input 'scale' is 3.0, before 2.0"
    assert "input 'mode' is 'none', before 'add'" in sentences[3]
    x = mixed(7)
    assert_same(net.graph.run(mixed(7, mode="none"), False)[0], mix(None, mixed(7, mode="none"), False))


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0)])
def test_equal_numbers_of_other_types_are_other_inputs(one, other):
    net = Net(lambda m, x, t: {"product": x["a"].astype("int32") * x["scale"], "sign": jnp.copysign(1.0, x["scale"])})
    results = []
    for scale in (one, other):
        x = {"a": jnp.ones((4, 3)), "scale": scale}
        results.append(net._machine.captures.graph_for(x, 4, False, "test").run(x, False)[0])
        assert_same(results[-1], net.function(None, x, False))


def test_numpy_inputs_are_taken_as_layers_take_them():
    graph = Net(lambda m, x, t: x * 2).capture(np.ones((4, 3), "float32"))
    assert graph.outputs == (None, 3)


def test_inputs_of_several_shapes_share_the_batch():
    net = Net(lambda m, x, t: x[0][:, None] * x[1])
    graph = net.capture((None, 3), (None, 5, 3))
    a, b = jnp.ones((6, 3)), jnp.ones((6, 5, 3))
    np.testing.assert_array_equal(graph.run([a, b], False)[0], a[:, None] * b)


def test_in_a_capture_unequal_first_sizes_are_not_one_batch():
    net = Net(lambda m, x, t: x[0] @ x[1].T)
    graph = net.capture(spec(4, 3), spec(10, 3))
    assert graph.outputs == (None, 10)
    for n in (4, 7):
        a, b = jnp.asarray(normal(n, 3)), jnp.asarray(normal(10, 3))
        np.testing.assert_allclose(graph.run([a, b], False)[0], a @ b.T, rtol=1e-5)


# ---- Layers in several places ----


def test_a_layer_used_twice_has_two_calls_and_one_set_of_weights():
    net = Net(lambda m, x, t: m.block(m.block(x)), block=layers.Dense(3))
    graph = net.capture((None, 3))
    assert [n.path for n in graph.calls] == ["block", "block#2"]
    assert [v.path for v in net.weights] == ["block/kernel", "block/bias"]
    x = normal(4, 3)
    kernel, bias = net.get_weights()
    np.testing.assert_allclose(graph.run(jnp.asarray(x), False)[0], (x @ kernel + bias) @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_a_layer_in_two_models_serves_both():
    shared = layers.Dense(2)
    one = Net(lambda m, x, t: m.mine(x) * 2, mine=shared)
    other = Net(lambda m, x, t: m.yours(x) * 3, yours=shared)
    x = normal(4, 3)
    a, b = one.predict(x, verbose=0), other.predict(x, verbose=0)
    np.testing.assert_allclose(a / 2, b / 3, rtol=1e-5)
    shared.kernel.assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(one.predict(x, verbose=0), np.zeros((4, 2)))
    np.testing.assert_array_equal(other.predict(x, verbose=0), np.zeros((4, 2)))
    assert one.weights == other.weights == shared.weights
    assert [n.path for n in one.graph.calls] == ["mine"] and [n.layer for n in other.graph.calls] == [shared]
    assert (one.ledger.call_count, other.ledger.call_count) == (1, 1)


def test_a_model_in_a_model_is_one_node_with_its_layers_inside():
    inner = Composed()
    outer = Net(lambda m, x, t: m.inner(x) + 1, inner=inner)
    graph = outer.capture((None, 3))
    assert [n.path for n in graph.calls] == ["inner", "inner/first", "inner/last"]
    assert inner.ledger.call_count == 0 and outer.ledger.call_count == 1


@pytest.mark.parametrize(
    "nested",
    [
        lambda m, x: m.inner.capture((None, 3)),
        lambda m, x: m.inner.build((None, 3)),
        lambda m, x: m.inner.summary(input_shape=(None, 3), print_fn=len),
    ],
    ids=["capture", "build", "summary"],
)
def test_a_capture_asked_for_inside_a_capture_disturbs_nothing(nested):
    def call(m, x, t):
        nested(m, x)
        return m.inner(x) * m.alpha

    net = Net(call, inner=Composed(), alpha=1.0)
    graph = net.capture((None, 3))
    assert net.ledger.call_count == 1 and len(net.weights) == 4
    assert "__getattribute__" not in vars(layers.Layer) and frame.active_frame() is None
    x = jnp.asarray(normal(4, 3))
    np.testing.assert_allclose(graph.run(x, False)[0], net.inner(x), rtol=1e-5, atol=1e-6)
    net.alpha = 2.0
    assert net.capture((None, 3)) is not graph


def test_predict_inside_call_is_refused_and_leaves_the_model_usable():
    net = Net(lambda m, x, t: m.inner(x) + m.inner.predict(np.ones((2, 3), "float32"), verbose=0)[0, 0], inner=Composed())
    with pytest.raises(Exception, match="JAX transformation|inside a capture"):
        net.capture((None, 3))
    net.function = lambda m, x, t: m.inner(x)
    assert net.predict(normal(4, 3), verbose=0).shape == (4, 2)


# ---- Under transformations of the user's own ----


def in_jit(write, x):
    return jax.jit(write)(x)


def in_cond(write, x):
    return lax.cond(x.sum() > 0, write, lambda x: x, x)


def in_scan(write, x):
    return lax.scan(lambda c, _: (write(c), None), x, None, length=2)[0]


def in_vmap(write, x):
    return jax.vmap(write)(x)


def in_grad(write, x):
    return jax.grad(lambda x: write(x).sum())(x)


def in_remat(write, x):
    return jax.checkpoint(write)(x)


NESTINGS = [in_jit, in_cond, in_scan, in_vmap, in_grad, in_remat]


@pytest.mark.parametrize("value", ["traced", "constant"])
@pytest.mark.parametrize("nesting", NESTINGS)
def test_a_write_under_a_users_transformation_is_refused_and_leaks_nothing(nesting, value):
    def call(m, x, t):
        def write(x):
            m.count.assign(x.sum() if value == "traced" else 7.0)
            return x * 2

        return nesting(write, x)

    net = Net(call, count=np.array(3.0, "float32"))
    with jax.checking_leaks(), pytest.raises(CaptureError, match=r"variable '.*count' is assigned inside a JAX transformation.*ops\.cond"):
        net.capture((4, 3))
    assert float(net.count) == 3.0
    assert frame.active_frame() is None
    net.function = lambda m, x, t: x * m.count
    np.testing.assert_array_equal(net.predict(np.ones((4, 3)), verbose=0), np.full((4, 3), 3.0))


@pytest.mark.parametrize("nesting", NESTINGS)
def test_layers_that_only_read_may_be_called_under_a_users_transformation(nesting):
    def call(m, x, t):
        return nesting(lambda x: m.dense(x[None])[0] if x.ndim == 1 else m.dense(x), x)

    net = Net(call, dense=layers.Dense(3))
    x = normal(4, 3)
    net.dense(x)
    np.testing.assert_allclose(net.capture((None, 3)).run(jnp.asarray(x), False)[0], net(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nesting", some_slow(NESTINGS, [in_jit, in_scan]))
def test_a_layer_that_is_built_under_a_users_transformation_has_concrete_weights(nesting):
    def call(m, x, t):
        return nesting(lambda x: m.dense(x[None])[0] if x.ndim == 1 else m.dense(x), x)

    net = Net(call, dense=layers.Dense(3))
    with jax.checking_leaks():
        try:
            net.capture((None, 3))
        except CaptureError:  # refusing is right, too
            assert net.weights == []
            return
    assert all(isinstance(v.array, jax.Array) and not jax_compat.is_tracer(v.array) for v in net.weights)
    assert np.abs(net.dense.kernel.numpy()).max() > 0


def test_writes_leave_the_capture_once_each():
    def call(m, x, t):
        m.count.assign_add(1.0)
        m.count.assign(m.count * 10)
        return x * m.count

    net = Net(call, count=np.array(0.0, "float32"))
    graph = net.capture((None, 3))
    assert graph.writes == [net.count]
    assert float(net.count) == 0.0
    np.testing.assert_array_equal(graph.run(jnp.ones((2, 3)), False)[0], np.full((2, 3), 10.0))
    graph.run(jnp.ones((2, 3)), False)
    assert float(net.count) == 110.0


def test_values_of_variables_are_never_constants_of_the_graph():
    net = Net(lambda m, x, t: jax.jit(lambda x: x * m.w)(x) + jnp.sum(m.w), w=normal(3))
    graph = net.capture((None, 3))
    assert jax_compat.parts(graph.jaxpr).consts == ()


@pytest.mark.slow
def test_captures_leak_no_tracers():
    with jax.checking_leaks():
        model = Composed()
        graph = model.capture((None, 3))
        jax.jit(lambda x: graph.run(x, False)[0])(jnp.ones((4, 3)))
