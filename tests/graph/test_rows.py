"""Can one row influence another? What the proof says, held against what happens when other rows change."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax

import pellucid
from pellucid import layers
from pellucid.core.frame import functional
from pellucid.core.mode import by_training
from tests.cases import some_slow
from tests.graph.helpers import FAST, Net, integers, normal, spec


def coupling(function, row=(3,), training=False, dtype="float32", **weights):
    net = Net(function, **{k: normal(*s) for k, s in weights.items()})
    graph = net.capture(jax.tree.map(lambda s: spec(4, *s, dtype=dtype), row, is_leaf=lambda s: isinstance(s, tuple)), training=training)
    return graph, graph.coupling(training)


def assert_rows_do_not_meet(graph, x, other, training=False, tolerance=1e-5):
    """Row 1 of the outputs stays when all other rows change and more are appended."""
    changed = jax.tree.map(lambda a, b: jnp.concatenate([b[:1], a[1:2], b[2:], b[:2]]), x, other)
    variables = list(dict.fromkeys([*graph.reads, *graph.writes]))
    run = functional(lambda x: graph.run(x, training)[0], variables)
    row = lambda values, x: [y[1] for y in jax.tree.leaves(run(values, x)[0])]
    both = jax.jit(lambda values, *inputs: [row(values, x) for x in inputs], compiler_options=FAST)
    for before, after in zip(*both([v.value for v in variables], x, changed), strict=True):
        np.testing.assert_allclose(before, after, rtol=tolerance, atol=tolerance)


def attention(m, x, t):
    scores = jnp.einsum("bqd,bkd->bqk", x @ m.q, x @ m.k)
    causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
    return jax.nn.softmax(jnp.where(causal, scores, -1e9)) @ (x @ m.v)


def heads(m, x, t):
    split = lambda y: y.reshape(y.shape[0], y.shape[1], 2, 2).transpose(0, 2, 1, 3)
    q, k, v = (split(x @ w) for w in (m.q, m.k, m.v))
    y = jax.nn.softmax(q @ k.swapaxes(-1, -2)) @ v
    return y.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[1], 4)


def rnn(m, x, t):
    def step(h, x):
        h = jnp.tanh(x @ m.w + h @ m.u)
        return h, h

    last, every = lax.scan(step, jnp.zeros((x.shape[0], m.u.shape[0])), x.swapaxes(0, 1))
    return last, every.swapaxes(0, 1)


def reversed_rnn(m, x, t):
    return rnn(m, x[:, ::-1], t)


def layer_norm(m, x, t):
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3) * m.w


def group_norm(m, x, t):
    y = x.reshape(x.shape[0], x.shape[1], 2, -1)
    return ((y - y.mean((1, 3), keepdims=True)) / (y.std((1, 3), keepdims=True) + 1e-3)).reshape(x.shape)


def of_labels(m, x, t):
    return -jnp.take_along_axis(jax.nn.log_softmax(x["logits"]), x["label"].astype(int), axis=1)[:, 0]


def batch_normalization(m, x, t):
    return by_training(t, lambda x: (x - x.mean(0)) / (x.std(0) + 1e-3), lambda x: x * m.w, x)


INDEPENDENT = {  # name: (function, shapes of weights, shape of a row)
    "dense": (lambda m, x, t: jax.nn.relu(x @ m.w + m.b), {"w": (3, 5), "b": (5,)}, (3,)),
    "dense on three axes": (lambda m, x, t: (x.reshape(-1, 3) @ m.w).reshape(x.shape[0], x.shape[1], 2), {"w": (3, 2)}, (5, 3)),
    "conv": (
        lambda m, x, t: lax.conv_general_dilated(x, jnp.asarray(m.w), (1, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
        {"w": (3, 3, 2, 4)},
        (6, 6, 2),
    ),
    "conv, channels first": (lambda m, x, t: lax.conv(x, jnp.asarray(m.w), (1, 1), "SAME"), {"w": (4, 2, 3, 3)}, (2, 6, 6)),
    "depthwise conv": (
        lambda m, x, t: lax.conv_general_dilated(
            x, jnp.asarray(m.w), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
        ),
        {"w": (3, 3, 1, 4)},
        (6, 6, 2),
    ),
    "max pooling": (lambda m, x, t: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"), {}, (6, 6, 2)),
    "average pooling": (lambda m, x, t: lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"), {}, (5, 5, 2)),
    "attention": (attention, {"q": (3, 4), "k": (3, 4), "v": (3, 4)}, (5, 3)),
    "attention with heads": (heads, {"q": (3, 4), "k": (3, 4), "v": (3, 4)}, (5, 3)),
    "layer norm": (layer_norm, {"w": (3,)}, (5, 3)),
    "group norm": (group_norm, {}, (5, 4)),
    "batch norm, not training": (batch_normalization, {"w": (3,)}, (3,)),
    "rnn": (rnn, {"w": (3, 4), "u": (4, 4)}, (5, 3)),
    "rnn backwards": (reversed_rnn, {"w": (3, 4), "u": (4, 4)}, (5, 3)),
    "flatten": (lambda m, x, t: x.reshape(x.shape[0], -1) @ m.w, {"w": (15, 2)}, (5, 3)),
    "concatenate features": (lambda m, x, t: jnp.concatenate([x, jnp.sin(x)], axis=-1), {}, (3,)),
    "softmax": (lambda m, x, t: jax.nn.softmax(x), {}, (3,)),
    "logsumexp": (lambda m, x, t: jax.scipy.special.logsumexp(x, axis=-1), {}, (3,)),
    "argmax": (lambda m, x, t: jnp.argmax(x, axis=-1), {}, (3,)),
    "labels": (of_labels, {}, {"logits": (5,), "label": (1,)}),
    "einsum over features": (lambda m, x, t: jnp.einsum("bij,bkj->bik", x, x), {}, (4, 3)),
    "einsum with a weight": (lambda m, x, t: jnp.einsum("bij,jk,bik->bi", x, m.w, x), {"w": (3, 3)}, (4, 3)),
    "sort features": (lambda m, x, t: jnp.sort(x), {}, (5,)),
    "order of features": (lambda m, x, t: jnp.take_along_axis(x, jnp.argsort(x, axis=1), axis=1), {}, (5,)),
    "top k": (lambda m, x, t: lax.top_k(x, 2), {}, (5,)),
    "cumsum over features": (lambda m, x, t: jnp.cumsum(x, axis=1), {}, (5,)),
    "flip features": (lambda m, x, t: x[:, ::-1], {}, (5,)),
    "roll features": (lambda m, x, t: jnp.roll(x, 2, axis=1), {}, (5,)),
    "slices of features": (lambda m, x, t: x[:, 1:4:2], {}, (5,)),
    "pad features": (lambda m, x, t: jnp.pad(x, ((0, 0), (1, 2))), {}, (5,)),
    "transposed and back": (lambda m, x, t: (m.w @ x.T).T, {"w": (2, 3)}, (3,)),
    "vmap over rows": (lambda m, x, t: jax.vmap(lambda r: jnp.outer(r, r) @ m.w)(x), {"w": (3, 2)}, (3,)),
    "time folded into the rows": (lambda m, x, t: jnp.tanh(x.reshape(-1, 3)).reshape(x.shape[0], 5, 3).mean(1), {}, (5, 3)),
    "repeated and averaged": (lambda m, x, t: jnp.repeat(x, 2, axis=0).reshape(x.shape[0], 2, -1).mean(1), {}, (3,)),
    "remat": (lambda m, x, t: jax.checkpoint(lambda x: jnp.sin(x @ m.w))(x), {"w": (3, 3)}, (3,)),
    "loop": (lambda m, x, t: lax.fori_loop(0, 3, lambda i, x: jnp.tanh(x @ m.w), x), {"w": (3, 3)}, (3,)),
    "cond on a weight": (lambda m, x, t: lax.cond(m.w.sum() > 0, jnp.sin, jnp.cos, x), {"w": (3,)}, (3,)),
    "custom gradients": (lambda m, x, t: jax.nn.relu6(x) + jax.nn.silu(x) + jax.nn.gelu(x), {}, (3,)),
    "number of the row": (lambda m, x, t: x + jnp.arange(x.shape[0])[:, None], {}, (3,)),
    "noise": (lambda m, x, t: x + jax.random.normal(jax.random.key(0), x.shape), {}, (3,)),
    "constant output beside": (lambda m, x, t: (x, jnp.ones((x.shape[0], 2))), {}, (3,)),
}


@pytest.mark.parametrize("name", some_slow(INDEPENDENT, list(INDEPENDENT)[::2]))
def test_independent_rows_are_proved_and_are_independent(name):
    function, weights, row = INDEPENDENT[name]
    graph, found = coupling(function, row, **weights)
    assert found is None
    make = lambda seed: jax.tree.map(lambda s: jnp.asarray(normal(4, *s, seed=seed)) * 2 % 5, row, is_leaf=lambda s: isinstance(s, tuple))
    assert_rows_do_not_meet(graph, make(1), make(2))


@pytest.mark.parametrize("name", ["embedding", "one hot", "positions"])
def test_lookups_by_rows_are_independent(name):
    functions = {
        "embedding": lambda m, x, t: jnp.take(jnp.asarray(m.w), x, axis=0).mean(1),
        "one hot": lambda m, x, t: jax.nn.one_hot(x, 5) @ m.w,
        "positions": lambda m, x, t: jnp.asarray(m.w)[x] + jnp.asarray(m.w)[jnp.arange(x.shape[1]) % 5],
    }
    graph, found = coupling(functions[name], (4,), dtype="int32", w=(5, 3))
    assert found is None
    assert_rows_do_not_meet(graph, jnp.asarray(integers(4, 4, seed=1)), jnp.asarray(integers(4, 4, seed=2)))


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_independent_and_draws_the_same_for_the_rows_at_hand(training):
    net = Net(lambda m, x, t: m.dropout(x) * 2)
    net.dropout = layers.Dropout(0.5, seed=1)
    graph = net.capture(spec(4, 30), training=training)
    assert graph.coupling(training) is None
    assert_rows_do_not_meet(graph, jnp.asarray(normal(4, 30, seed=1)), jnp.asarray(normal(4, 30, seed=2)), training)


def scan_over_rows(m, x, t):
    return lax.scan(lambda c, r: (c + r, c * r), jnp.zeros(3), x)[1]


def contrastive(m, x, t):
    return (jax.nn.softmax(x @ x.T) @ x).mean(-1)


def mean_shifted(m, x, t):
    return x - x.mean(0)


COUPLED = {  # name: (function, shapes of weights, shape of a row, words of the reason)
    "batch norm": (lambda m, x, t: (x - x.mean(0)) / x.std(0), {}, (3,), ""),
    "softmax over rows": (lambda m, x, t: jax.nn.softmax(x, axis=0), {}, (3,), "reduction over the batch"),
    "x @ x.T": (lambda m, x, t: x @ x.T, {}, (3,), "every"),
    "contrastive": (contrastive, {}, (3,), "every"),
    "x.T @ x": (lambda m, x, t: x @ (x.T @ x), {}, (3,), "product over the batch"),
    "sort rows": (lambda m, x, t: jnp.sort(x, axis=0), {}, (3,), "sort acts along the batch"),
    "argsort of rows": (lambda m, x, t: x[jnp.argsort(x[:, 0])], {}, (3,), "sort acts along the batch"),
    "cumsum over rows": (lambda m, x, t: jnp.cumsum(x, axis=0), {}, (3,), "along the batch"),
    "flip rows": (lambda m, x, t: jnp.flip(x, axis=0), {}, (3,), "rev acts along the batch"),
    "every other row": (lambda m, x, t: x[::2], {}, (3,), "an axis has the size floordiv(batch + 1, 2)"),
    "all but the first": (lambda m, x, t: x[1:], {}, (3,), "size"),
    "the first row": (lambda m, x, t: x + x[0], {}, (3,), ""),
    "the last row": (lambda m, x, t: x + x[-1], {}, (3,), ""),
    "roll rows": (lambda m, x, t: jnp.roll(x, 1, axis=0), {}, (3,), ""),
    "size as a number": (lambda m, x, t: x * x.shape[0], {}, (3,), "size of the batch is used as a number"),
    "mean of all": (lambda m, x, t: x - x.mean(), {}, (3,), ""),
    "max of all": (lambda m, x, t: x / jnp.max(jnp.abs(x)), {}, (3,), "reduction over the batch"),
    "argmax over rows": (lambda m, x, t: x + jnp.argmax(x, axis=0), {}, (3,), "reduction over the batch"),
    "inverse": (lambda m, x, t: x @ jnp.linalg.inv(x.T @ x + jnp.eye(3)), {}, (3,), "product over the batch"),
    "svd": (lambda m, x, t: jnp.linalg.svd(x, full_matrices=False)[0], {}, (3,), "every row meets every other one"),
    "qr": (lambda m, x, t: jnp.linalg.qr(x)[0], {}, (3,), ""),
    "scan over rows": (scan_over_rows, {}, (3,), "scan goes along the batch"),
    "reshape that mixes": (lambda m, x, t: x.reshape(4, -1).T.reshape(x.shape), {}, (4,), "reshape mixes"),
    "transposed reshape": (lambda m, x, t: x.T.reshape(x.shape), {}, (3,), "reshape mixes"),
    "rows of two in one": (lambda m, x, t: x.reshape(-1, 2, x.shape[0]).mean((0, 1)), {}, (2,), "reshape"),
    "tiled": (lambda m, x, t: jnp.tile(x, (2, 1)).reshape(x.shape[0], -1), {}, (3,), ""),
    "fft over rows": (lambda m, x, t: jnp.abs(jnp.fft.fft(x, axis=0)), {}, (3,), ""),
    "segment sum": (lambda m, x, t: jax.ops.segment_sum(x, (x[:, 0] > 0).astype(int), num_segments=2), {}, (3,), "scatter"),
    "gather of rows": (lambda m, x, t: x[(jnp.arange(x.shape[0]) + 1) % 2], {}, (3,), ""),
    "concatenated rows": (lambda m, x, t: jnp.concatenate([x, x])[: x.shape[0]], {}, (3,), "along the batch"),
    "pooling over rows": (lambda m, x, t: lax.reduce_window(x, 0.0, lax.add, (2, 1), (1, 1), "SAME"), {}, (3,), "window"),
    "conv over rows": (
        lambda m, x, t: lax.conv_general_dilated(x.T[None], jnp.asarray(m.w), (1,), "SAME", dimension_numbers=("NCW", "OIW", "NCW")),
        {"w": (3, 3, 3)},
        (3,),
        "convolution",
    ),
    "cond on all rows": (lambda m, x, t: lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), {}, (3,), "reduction over the batch"),
    "while on all rows": (lambda m, x, t: lax.while_loop(lambda x: x.sum() < 100, lambda x: x * 2 + 1, x), {}, (3,), "reduction"),
    "inside scan": (lambda m, x, t: lax.scan(lambda c, _: (mean_shifted(m, c, t), None), x, None, length=2)[0], {}, (3,), ""),
    "inside remat in jit": (lambda m, x, t: jax.jit(jax.checkpoint(lambda x: mean_shifted(m, x, t)))(x), {}, (3,), ""),
    "inside custom_jvp": (lambda m, x, t: jax.nn.standardize(x, axis=0), {}, (3,), ""),
    "norm of all": (lambda m, x, t: x / jnp.linalg.norm(x), {}, (3,), "reduction"),
    "pairs": (lambda m, x, t: jnp.abs(x[:, None] - x[None]).sum((1, 2)), {}, (3,), "every row meets every other one"),
    "covariance": (lambda m, x, t: x @ jnp.cov(x.T), {}, (3,), ""),
    "eye of the batch": (lambda m, x, t: jnp.eye(x.shape[0]) @ x, {}, (3,), ""),
    "folded rows, shifted": (lambda m, x, t: jnp.roll(x.reshape(-1), 1).reshape(x.shape), {}, (3,), ""),
    "scalar output": (lambda m, x, t: m.w.sum(), {"w": (3,)}, (3,), "output's first axis is not the batch"),
    "rows as the second axis of the output": (lambda m, x, t: x.T, {}, (3,), "output's first axis is not the batch"),
    "the first eight rows": (lambda m, x, t: x[:8], {}, (3,), "an axis has the size"),
    "the end of a table": (
        lambda m, x, t: x + lax.dynamic_slice(jnp.arange(100.0), (95,), (x.shape[0],))[:, None],  # it begins earlier for more rows
        {},
        (3,),
        "sliced out",
    ),
    "rows cut along features": (lambda m, x, t: lax.dynamic_slice(x, (0, 0), (3, x.shape[0])).T, {}, (100,), "sliced out"),
    "noise of another generator": (lambda m, x, t: x + jax.random.normal(jax.random.key(0, impl="rbg"), x.shape), {}, (3,), "random"),
    "bits of a generator": (lambda m, x, t: x + lax.rng_bit_generator(jnp.ones(4, "uint32"), x.shape)[1], {}, (3,), "no rule"),
    "a callback": (lambda m, x, t: pellucid.print("x", x) or x, {}, (3,), ""),
}


@pytest.mark.parametrize(("function", "weights", "row", "words"), COUPLED.values(), ids=COUPLED)
def test_coupled_rows_are_not_proved_independent(function, weights, row, words):
    _, found = coupling(function, row, **weights)
    assert found is not None
    assert words in found.why


def test_the_reason_names_the_layer_and_the_line():
    class Centered(layers.Layer):
        def call(self, x):
            return x - x.sum(0)

    net = Net(lambda m, x, t: m.blocks[0](x), blocks=[Centered()])
    found = net.capture(spec(4, 3)).coupling(False)
    assert found.scope == "blocks/0"
    assert found.place.line == Centered.call.__code__.co_firstlineno + 1
    assert str(found) == f"rows are combined by a reduction over the batch in layer 'blocks/0' ({found.place})"


def test_only_the_branch_of_the_mode_counts():
    graph, found = coupling(batch_normalization, w=(3,))
    assert found is None
    assert graph.coupling(True) is not None
    net = Net(lambda m, x, t: m.bn(x), bn=layers.BatchNormalization())
    graph = net.capture(spec(4, 3))
    assert graph.coupling(False) is None and graph.coupling(True) is not None


def test_a_graph_of_one_size_counts_as_coupled():
    _, found = coupling(lambda m, x, t: x * len(x))
    assert "one batch size only" in found.why


# ---- What the proof must not overlook ----


def test_rows_written_over_folded_rows_are_coupled():
    def call(m, x, t):
        twice = jnp.repeat(x, 2, axis=0)  # row i lies at 2 i and 2 i + 1
        return lax.dynamic_update_slice_p.bind(twice, x, jnp.int32(0), jnp.int32(0)).reshape(x.shape[0], 2, 3)

    _, found = coupling(call)
    assert found is not None


def test_an_output_with_two_rows_for_each_row_is_not_taken_for_the_batch():
    net = Net(lambda m, x, t: jnp.repeat(x, 2, axis=0))
    assert net.capture(spec(4, 3)).coupling(False) is not None
    x = normal(4, 3)
    np.testing.assert_array_equal(net.predict(x, verbose=0), np.repeat(x, 2, axis=0))


def test_a_backward_rule_that_couples_rows_counts_in_training():
    @jax.custom_vjp
    def averaged(x):
        return x * 1

    averaged.defvjp(lambda x: (x * 1, None), lambda _, cotangent: (cotangent / cotangent.shape[0] + cotangent.mean(0),))
    graph, _ = coupling(lambda m, x, t: averaged(x))
    assert graph.coupling(True) is not None


def test_noise_drawn_with_the_rows_in_another_axis_depends_on_the_size():
    graph, found = coupling(lambda m, x, t: x + jax.random.normal(jax.random.key(0), (3, x.shape[0])).T)
    if found is None:
        assert_rows_do_not_meet(graph, jnp.ones((4, 3)), jnp.zeros((4, 3)))


# ---- What can be proved, and what could be ----

NOT_YET = pytest.mark.xfail(strict=True, reason="no rule, or one that is too careful: it costs a compilation, but no wrong number")

PROVABLE = {
    "stack": lambda m, x, t: jnp.stack([x, x * 2], axis=1),
    "unstack": lambda m, x, t: jnp.concatenate(jnp.unstack(x, axis=1), axis=-1),
    "tile": lambda m, x, t: jnp.tile(x, (1, 2, 1)),
    "dynamic index": lambda m, x, t: lax.dynamic_index_in_dim(x, 1, 1),
    "feature written": pytest.param(lambda m, x, t: x.at[:, 0].set(0.0), marks=NOT_YET),
    "fft": lambda m, x, t: jnp.abs(jnp.fft.rfft(x, axis=1)),
    "map": pytest.param(lambda m, x, t: lax.map(jnp.sin, x), marks=NOT_YET),
    "inverse of each": pytest.param(lambda m, x, t: jnp.linalg.inv(x[:, :3] + 9 * jnp.eye(3)), marks=NOT_YET),
}


@pytest.mark.parametrize("function", PROVABLE.values(), ids=PROVABLE)
def test_more_rows_could_be_proved_independent(function):
    _, found = coupling(function, (5, 3))
    assert found is None


# ---- Programs made at random ----

W = normal(12, 12, seed=9)

UNARY = {
    "sin": jnp.sin,
    "where": lambda x: jnp.where(x > 0, x, 0.1 * x),
    "softmax": jax.nn.softmax,
    "softmax over rows": lambda x: jax.nn.softmax(x, axis=0),
    "standardized": lambda x: (x - x.mean(1, keepdims=True)) / (1 + x.std(1, keepdims=True)),
    "centered over rows": lambda x: x - x.mean(0),
    "cumsum": lambda x: jnp.tanh(jnp.cumsum(x, axis=1)),
    "cumsum over rows": lambda x: jnp.tanh(jnp.cumsum(x, axis=0)),
    "sort": lambda x: jnp.sort(x, axis=1),
    "sort rows": lambda x: jnp.sort(x, axis=0),
    "flip": lambda x: x[:, ::-1],
    "flip rows": lambda x: x[::-1],
    "roll": lambda x: jnp.roll(x, 1, axis=1),
    "matmul": lambda x: jnp.tanh(x @ W[: x.shape[1], : x.shape[1]]),
    "matmul to two": lambda x: x @ W[: x.shape[1], :2],
    "batched matmul": lambda x: jnp.einsum("bi,bj,j->bi", x, x, W[0, : x.shape[1]]),
    "all pairs": lambda x: jnp.tanh(x @ x.T) @ x,
    "via the transposed": lambda x: jnp.tanh(x.T).T,
    "transposed matmul": lambda x: (W[: x.shape[1], : x.shape[1]] @ x.T).T,
    "flat and back": lambda x: jnp.sin(x.reshape(-1)).reshape(x.shape),
    "flat, rolled and back": lambda x: jnp.roll(x.reshape(-1), 1).reshape(x.shape),
    "mixed by a reshape": lambda x: x.T.reshape(x.shape),
    "folded": lambda x: jax.nn.softmax(x[:, :, None].repeat(2, 2).reshape(-1, 2)).reshape(x.shape[0], -1)[:, : x.shape[1]],
    "repeated": lambda x: jnp.repeat(x, 2, axis=0).reshape(x.shape[0], 2, -1).sum(1),
    "repeated, wrongly parted": lambda x: jnp.repeat(x, 2, axis=0).reshape(2, x.shape[0], -1).sum(0),
    "tiled": lambda x: jnp.tile(x, (2, 1)).reshape(2, x.shape[0], -1).sum(0),
    "tiled, wrongly parted": lambda x: jnp.tile(x, (2, 1)).reshape(x.shape[0], 2, -1).sum(1),
    "take along": lambda x: jnp.take_along_axis(x, jnp.argsort(x, axis=1), axis=1),
    "take rows": lambda x: x[jnp.argsort(x[:, 0])],
    "lookup": lambda x: jnp.asarray(W)[(jnp.abs(x[:, 0]) * 5).astype(int) % 12, : x.shape[1]],
    "one hot": lambda x: jax.nn.one_hot(jnp.argmax(x, axis=1), x.shape[1]),
    "size": lambda x: x / x.shape[0],
    "number of the row": lambda x: x + jnp.arange(x.shape[0])[:, None] % 3,
    "scan over features": lambda x: lax.scan(lambda c, v: (jnp.tanh(c + v), c), jnp.zeros(x.shape[0]), x.T)[1].T,
    "scan over rows": lambda x: lax.scan(lambda c, v: (jnp.tanh(c + v), c), jnp.zeros(x.shape[1]), x)[1],
    "vmap": lambda x: jax.vmap(lambda r: r * r.sum())(x),
    "map": lambda x: lax.map(lambda r: r * r.sum(), x),
    "remat": jax.checkpoint(lambda x: jnp.sin(x) * 2),
    "cond": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
    "loop": lambda x: lax.fori_loop(0, 2, lambda i, x: jnp.sin(x) + i, x),
    "pad": lambda x: jnp.pad(x, ((0, 0), (1, 0)))[:, : x.shape[1]],
    "pad rows": lambda x: jnp.pad(x, ((1, 0), (0, 0)))[: x.shape[0]],
    "window": lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2), (1, 1), "SAME"),
    "window over rows": lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 1), (1, 1), "SAME"),
    "written": lambda x: x.at[:, 0].set(0.0),
    "written row": lambda x: x.at[0].set(0.0),
    "top": lambda x: lax.top_k(x, 2)[0],
}
BINARY = {
    "add": jnp.add,
    "multiply": lambda x, y: jnp.tanh(x * y),
    "maximum": jnp.maximum,
    "reversed product": lambda x, y: x * y[::-1],
    "outer": lambda x, y: jnp.tanh(jnp.einsum("bi,bj->bij", x, y).sum(2)),
    "cross": lambda x, y: jnp.tanh((x @ y.T) @ y),
    "select": lambda x, y: jnp.where(x[:, :1] > 0, x, y),
    "joined": lambda x, y: jnp.concatenate([x[:, :1], y[:, 1:]], axis=1),
    "joined rows": lambda x, y: jnp.concatenate([x[:1], y[1:]]),
    "interleaved": lambda x, y: jnp.stack([x, y], axis=1).reshape(-1, x.shape[1])[: x.shape[0]],
    "stacked": lambda x, y: jnp.stack([x, y], axis=1).reshape(-1, x.shape[1]).reshape(x.shape[0], 2, -1).mean(1),
}
STEPS = [*UNARY, *BINARY]


def program(names):
    """A function of (rows, features) arrays: each step is applied to the last value, and to the one before where it takes two."""

    def call(m, x, t):
        values = [x, jnp.cos(x)]
        for name in names:
            if name in UNARY:
                values.append(UNARY[name](values[-1]))
            else:
                width = min(v.shape[1] for v in values[-2:])
                values.append(BINARY[name](*(v[:, :width] for v in values[-2:])))
        return values[-1]

    return call


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_rows_proved_independent_never_meet(names):
    graph, found = coupling(program(names))
    if found is None:
        assert_rows_do_not_meet(graph, jnp.asarray(normal(4, 3, seed=1)), jnp.asarray(normal(4, 3, seed=2)))


@pytest.mark.parametrize("name", STEPS)
def test_each_step_alone_is_judged_soundly(name):
    graph, found = coupling(program([name]))
    if found is None:
        assert_rows_do_not_meet(graph, jnp.asarray(normal(4, 3, seed=1)), jnp.asarray(normal(4, 3, seed=2)))
    elif name in (
        "sin",
        "softmax",
        "matmul",
        "flat and back",
        "repeated",
        "take along",
        "lookup",
        "vmap",
        "remat",
        "joined",
        "outer",
    ):
        pytest.fail(f"{name} is row by row, and was not proved so: {found}")
