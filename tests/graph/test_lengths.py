"""Lengths: a second open size. ``call`` runs once for all of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pellucid
from pellucid import layers, ops
from pellucid.core.equation import equation
from pellucid.graph.ledger import Reason
from tests.graph.helpers import FAST, Net, normal, spec

KERNEL = normal(6, 6, seed=1)


def causal(x):
    scores = jnp.einsum("btd,bsd->bts", x, x)
    t = jnp.arange(x.shape[1])
    return jnp.einsum("bts,bsd->btd", jax.nn.softmax(jnp.where(t[:, None] >= t, scores, -1e9)), x)


def scanned(x):
    def turn(h, xt):
        h = jnp.tanh(xt @ KERNEL + h)
        return h, h

    _, out = ops.scan(turn, jnp.zeros((x.shape[0], 6)), jnp.moveaxis(x, 1, 0))
    return jnp.moveaxis(out, 0, 1)


def convolved(x, stride=1):
    return lax.conv_general_dilated(x, KERNEL[:3].reshape(3, 6, 1), (stride,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))


# what `call` computes of (batch, length, 6)
SERVED = {
    "elementwise": lambda x: x * 2 + 1,
    "dense over time": lambda x: x @ KERNEL,
    "mean over time": lambda x: x.mean(axis=1),
    "causal attention": causal,
    "scan over time": scanned,
    "cumulative sum": lambda x: jnp.cumsum(x, axis=1),
    "convolution": convolved,
    "strided convolution": lambda x: convolved(x, 2),
    "times the length": lambda x: x * x.shape[1],
    "the first half": lambda x: x[:, : x.shape[1] // 2],
    "positions": lambda x: x + jnp.arange(x.shape[1])[:, None],
    "reversed": lambda x: x[:, ::-1],
    "ones": lambda x: x * jnp.ones((x.shape[0], x.shape[1]))[..., None],
    "folded and back": lambda x: (x.reshape(-1, 6) @ KERNEL).reshape(x.shape),
    "mask of zeros": lambda x: x.sum(axis=1) / (x != 0).any(-1).sum(axis=1, keepdims=True),
    "one hot": lambda x: jax.nn.one_hot(jnp.argmax(x, axis=1), x.shape[1]),
    "sorted": lambda x: jnp.sort(x, axis=1),
    "softmax over time": lambda x: jax.nn.softmax(x, axis=1),
    "last step": lambda x: x[:, -1],
}


@pytest.mark.parametrize("function", SERVED.values(), ids=SERVED)
def test_one_run_serves_every_batch_and_length(function):
    net = Net(lambda m, x, t: function(x))
    graph = net.capture((None, None, 6))
    assert graph.inputs == (None, None, 6)
    assert graph.size_guards == []
    for rows, length in ((3, 7), (2, 10), (32, 32)):
        x = normal(rows, length, 6, seed=length)
        assert net.capture(spec(rows, length, 6)) is graph
        both = jax.jit(lambda x: (graph.run(x, False)[0], function(x)), compiler_options=FAST)
        np.testing.assert_allclose(*both(jnp.asarray(x)), rtol=1e-5, atol=1e-5)
    assert net.ledger.call_count == 1


def test_gradients_at_every_length_are_those_of_call():
    net = Net(lambda m, x, t: causal(scanned(x)))
    graph = net.capture((None, None, 6))
    for length in (4, 9):
        x = jnp.asarray(normal(2, length, 6))
        both = jax.jit(
            lambda x: (jax.grad(lambda x: graph.run(x, False)[0].sum())(x), jax.grad(lambda x: causal(scanned(x)).sum())(x)),
            compiler_options=FAST,
        )
        np.testing.assert_allclose(*both(x), rtol=1e-4, atol=1e-5)


# ---- Lengths that come with the data ----


def test_another_length_opens_the_axis_once():
    net = Net(lambda m, x, t: x.mean(axis=1))
    first = net.capture(spec(4, 10, 6))
    second = net.capture(spec(4, 12, 6))
    assert (first.inputs, second.inputs) == ((None, 10, 6), (None, None, 6))
    for length in (3, 14, 100):
        assert net.capture(spec(5, length, 6)) is second
    assert net.capture(spec(5, 10, 6)) is first  # its programs are there
    assert [run.reason for run in net.ledger] == [Reason.FIRST, Reason.LENGTH]
    told = "inputs of another length came, (None, 12, 6) after (None, 10, 6): this is for all lengths of axis 1"
    assert net.ledger[1].sentence == f"captured again because {told}"


def test_token_numbers_have_their_lengths_in_the_last_axis():
    net = Net(lambda m, x, t: x * 2)
    net.capture(jax.ShapeDtypeStruct((4, 10), "int32"))
    assert net.capture(jax.ShapeDtypeStruct((4, 12), "int32")).inputs == (None, None)


def test_features_are_no_length():
    net = Net(lambda m, x, t: x * 2)
    net.capture(spec(4, 5))
    assert net.capture(spec(4, 6)).inputs == (None, 6)
    assert net.ledger[1].reason is Reason.INPUTS


def test_a_mask_has_the_length_of_its_sequence():
    net = Net(lambda m, x, t: x[0] * x[1][..., None])
    net.capture([spec(4, 10, 6), spec(4, 10)])
    graph = net.capture([spec(4, 12, 6), spec(4, 12)])
    assert graph.signature.lengths == ("length",)
    assert net.capture([spec(4, 13, 6), spec(4, 13)]) is graph


def test_lengths_that_part_are_two_symbols():
    net = Net(lambda m, x, t: x[0].mean(axis=1) + x[1].mean(axis=1))
    net.build([(None, None, 6), (None, None, 6)])
    assert net.graph.signature.lengths == ("length",)
    graph = net.capture([spec(4, 10, 6), spec(4, 12, 6)])
    assert graph.signature.lengths == ("length", "length_2")
    assert net.ledger[1].reason is Reason.LENGTH
    for first, second in ((10, 10), (12, 10), (3, 4)):
        net.capture([spec(4, first, 6), spec(4, second, 6)])
    assert net.ledger.call_count == 2


def test_two_axes_of_one_image_are_two_symbols():
    net = Net(lambda m, x, t: x.mean(axis=(1, 2)))
    graph = net.capture((None, None, None, 3))
    assert graph.signature.lengths == ("length", "length_2")
    assert net.capture(spec(4, 8, 12, 3)) is graph


# ---- Questions about a length, and what JAX refuses ----


def test_a_question_about_a_length_is_a_guard():
    net = Net(lambda m, x, t: x * 10 if x.shape[1] > 8 else x)
    graph = net.capture((None, None, 6))
    line = net.function.__code__.co_firstlineno
    assert net.capture(spec(4, 9, 6)) is graph
    net.capture(spec(4, 8, 6))
    net.capture(spec(4, 3, 6))
    assert net.ledger.call_count == 2
    assert (
        net.ledger[1].sentence
        == f"captured again because `call` asks `length > 8` at test_lengths.py:{line}, which has another answer for length 8"
    )


TABLE = np.arange(40 * 6, dtype="float32").reshape(40, 6)
REFUSED = {
    "table": lambda x: x + TABLE[: x.shape[1]],
    "range": lambda x: sum((x[:, i] for i in range(x.shape[1])), jnp.zeros(6)),
}


@pytest.mark.parametrize("function", REFUSED.values(), ids=REFUSED)
def test_a_length_that_jax_refuses_is_captured_alone_and_the_batch_stays_open(function):
    net = Net(lambda m, x, t: function(x))
    net.capture(spec(4, 10, 6))
    for length in (12, 12, 14):
        graph = net.capture(spec(4, length, 6))
        assert graph.signature.batch_size is None and graph.inputs == (None, length, 6)
        x = jnp.asarray(normal(3, length, 6))
        np.testing.assert_allclose(graph.run(x, False)[0], function(x), rtol=1e-5)
    assert [r.reason for r in net.ledger] == [Reason.FIRST, Reason.LENGTH, Reason.CONCRETE, Reason.CONCRETE]
    line = f"test_lengths.py:{function.__code__.co_firstlineno}"
    assert f"a symbolic length was refused at {line}" in net.ledger[1].sentence
    assert net.ledger[2].sentence == f"captured once more for length 12, because {line} needs to know the size"
    assert net.ledger[3].sentence == f"captured again for length 14 alone, because {line} needs to know the size"


def test_a_batch_that_jax_refuses_leaves_the_length_open():
    net = Net(lambda m, x, t: sum((x[i] for i in range(x.shape[0])), jnp.zeros((x.shape[1], 6))))
    graph = net.capture((4, None, 6))
    assert graph.signature.batch_size == 4 and graph.inputs == (None, None, 6)
    assert net.capture(spec(4, 9, 6)) is graph


# ---- Layers on symbolic tensors, models in models ----


def test_a_layer_that_is_used_inside_has_the_symbols_of_the_model():
    inner = Net(lambda m, x, t: x[:, ::2] * x.shape[1])
    outer = Net(lambda m, x, t: inner._machine.captures.run(jnp.concatenate([x, x], axis=1), False, None, "here"))
    graph = outer.capture((None, None, 6))
    x = jnp.asarray(normal(3, 5, 6))
    np.testing.assert_allclose(graph.run(x, False)[0], jnp.concatenate([x, x], axis=1)[:, ::2] * 10, rtol=1e-6)
    assert inner.ledger.call_count == 1 and inner.graph.inputs == (None, None, 6)


def test_cost_is_that_of_a_length():
    graph = Net(lambda m, x, t: x @ KERNEL).capture((None, None, 6))
    assert graph.cost({"batch": 2, "length": 5}).flops == 2 * 2 * 5 * 6 * 6
    assert graph.cost(2).flops == 2 * 2 * 32 * 6 * 6


def test_weights_of_an_open_size_are_refused():
    class Flat(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight((shape[1], 2))

        def call(self, x):
            return x.mean(-1) @ self.w

    with pytest.raises(ValueError, match="None"):
        Net(lambda m, x, t: Flat()(x)).capture((None, None, 6))


# ---- Rows ----

APART = {
    **SERVED,
    "attention of a scan": lambda x: causal(scanned(x)),
    "normalized": lambda x: (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1),
    "folded, normalized, unfolded": lambda x: jax.nn.softmax(x.reshape(-1, 6)).reshape(x.shape[0], x.shape[1], 6),
    "pooled over time": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 1), (1, 2, 1), "VALID"),
    "looked up": lambda x: jnp.asarray(TABLE)[jnp.clip(x[..., 0].astype("int32"), 0, 9)],
    "flattened": lambda x: x.reshape(x.shape[0], -1),
}
TOGETHER = {
    "mean over rows": lambda x: x - x.mean(axis=0),
    "mean over rows and time": lambda x: x - x.mean(axis=(0, 1)),
    "times the batch": lambda x: x * x.shape[0],
    "times batch and length": lambda x: x * (x.shape[0] * x.shape[1]),
    "scan over rows and time": lambda x: lax.cumsum(x.reshape(-1, 6)).reshape(x.shape),
    "rows as another axis": lambda x: jnp.einsum("btd,csd->bcts", x, x).sum(1),
    "transposed and folded": lambda x: x.swapaxes(0, 1).reshape(-1, 6)[::1].reshape(x.shape) * 1,
    "reversed": lambda x: x[::-1],
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("function", APART.values(), ids=APART)
def test_rows_of_open_length_are_proved_independent(function, training):
    graph = Net(lambda m, x, t: function(x)).capture((None, None, 6))
    assert graph.coupling(training) is None
    x, other = (jnp.asarray(normal(4, 7, 6, seed=s)) for s in (0, 1))
    changed = jnp.concatenate([other[:1], x[1:2], other[2:]])
    both = jax.jit(lambda *inputs: [graph.run(x, False)[0][1] for x in inputs], compiler_options=FAST)
    np.testing.assert_allclose(*both(x, changed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", TOGETHER.values(), ids=TOGETHER)
def test_rows_of_open_length_that_meet_are_found(function):
    assert Net(lambda m, x, t: function(x)).capture((None, None, 6)).coupling(False) is not None


@equation
def repeated(x, times, factor=1):
    return jnp.repeat(x, 2, axis=1)[:, :times] * factor


def test_a_size_is_an_option_of_an_equation():
    graph = Net(lambda m, x, t: repeated(x, x.shape[1], factor=2)).capture((None, None, 6))
    x = jnp.asarray(normal(2, 5, 6))
    np.testing.assert_allclose(graph.run(x, False)[0], repeated(x, 5, 2))
    outer = Net(lambda m, x, t: graph.run(x[:, 1:], False)[0]).capture((None, None, 6))
    np.testing.assert_allclose(outer.run(x, False)[0], repeated(x[:, 1:], 4, 2))
    assert outer.coupling(False) is None


def test_a_check_of_jax_is_answered_for_the_present_length():
    net = Net(lambda m, x, t: layers.Cropping1D(2)(convolved(x, 2)).reshape(-1, 1))
    graph = net.capture((None, None, 6))
    assert graph.inputs == (None, None, 6)
    for length in (9, 12):
        x = jnp.asarray(normal(2, length, 6))
        np.testing.assert_allclose(graph.run(x, False)[0], convolved(x, 2)[:, 2:-2].reshape(-1, 1), rtol=1e-5, atol=1e-5)
    assert net.ledger.call_count == 1


def test_sizes_that_must_be_equal_become_a_guard():
    net = Net(lambda m, x, t: jnp.concatenate([x, jnp.repeat(x[:, ::2], 2, axis=1)], axis=-1))
    graph = net.capture((None, None, 6))
    assert graph.inputs == (None, None, 6)
    x = jnp.asarray(normal(3, 10, 6))
    np.testing.assert_allclose(graph.run(x, False)[0], jnp.concatenate([x, jnp.repeat(x[:, ::2], 2, axis=1)], axis=-1))
    assert net.capture(spec(4, 12, 6)) is graph
    assert [r.reason for r in net.ledger] == [Reason.FIRST, Reason.SIZE]
    assert "for sizes that are equal where those of now are" in net.ledger[1].sentence
    assert "length == 2*floordiv(length + 1, 2)" in str(graph.size_guards[0])
    with pytest.raises(TypeError, match="concatenate"):
        net.capture(spec(4, 11, 6))


def test_a_size_that_is_another_one_by_chance_is_not_taken_for_it():
    net = Net(lambda m, x, t: jnp.zeros(x.shape) + (x[0] if x.shape[0] != 1 else x[0] * 2))
    graph = net.capture(jax.ShapeDtypeStruct((5, 5, 6), "float32"))
    assert net.capture(jax.ShapeDtypeStruct((7, 7, 6), "float32")) is not graph
    assert net.graph.signature.lengths == ("length",) and net.capture(spec(5, 9, 6)) is net.graph


def test_a_model_whose_sizes_are_halved_and_doubled_serves_all_even_ones():
    x = pellucid.Input((None, None, 3))
    y = layers.Conv2D(2, 3, padding="same")(x)
    up = layers.UpSampling2D(2)(layers.MaxPooling2D(2)(y))
    joined = layers.Concatenate()([y, up])
    assert joined.shape == (None, None, None, 4)
    model = pellucid.Model(x, layers.Conv2D(1, 1)(joined))
    for height, width in ((8, 8), (8, 12), (4, 6)):
        image = normal(2, height, width, 3)
        expected = np.asarray(model(image))
        np.testing.assert_allclose(model.predict(image, verbose=0), expected, rtol=1e-4, atol=1e-5)
    assert [r.reason for r in model.ledger if r.kind == "capture"] == [Reason.FIRST, Reason.SIZE]
    assert model.output_shape == (None, None, None, 1)


def test_a_network_of_strided_convolutions_serves_all_images():
    x = pellucid.Input((None, None, 3))
    y = layers.Conv2D(2, 3, strides=2)(layers.MaxPooling2D(2)(layers.Conv2D(2, 3, padding="same")(x)))
    model = pellucid.Model(x, layers.GlobalAveragePooling2D()(layers.Conv2DTranspose(3, 3, strides=2, padding="same")(y)))
    for height, width in ((8, 8), (9, 14)):
        image = normal(2, height, width, 3)
        np.testing.assert_allclose(model.predict(image, verbose=0), np.asarray(model(image)), rtol=1e-4, atol=1e-5)
    assert [r.reason for r in model.ledger if r.kind == "capture"] == [Reason.FIRST]
