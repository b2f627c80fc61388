"""Sequences by hand: recurrent loops, attention, transformers, convolutions, embeddings. Truths are written by hand."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pellucid import Model, layers, ops
from tests.glassbox.checker import Truths, check_graph, check_use, ints

MODELS = Truths()


@MODELS.about(
    inputs=(None, 3, 2),
    graph="""
        input        Input     (None, 3, 2)
        zeros        zeros     (None, 4)
        getitem      getitem   (None, 2)    <- input
        wx           Dense     (None, 4)    <- getitem
        wh           Dense     (None, 4)    <- zeros
        add          add       (None, 4)    <- wx, wh
        tanh         tanh      (None, 4)    <- add
        getitem#2    getitem   (None, 2)    <- input
        wx#2         Dense     (None, 4)    <- getitem#2
        wh#2         Dense     (None, 4)    <- tanh
        add#2        add       (None, 4)    <- wx#2, wh#2
        tanh#2       tanh      (None, 4)    <- add#2
        getitem#3    getitem   (None, 2)    <- input
        wx#3         Dense     (None, 4)    <- getitem#3
        wh#3         Dense     (None, 4)    <- tanh#2
        add#3        add       (None, 4)    <- wx#3, wh#3
        tanh#3       tanh      (None, 4)    <- add#3
        out          Dense     (None, 1)    <- tanh#3
        output       Output    (None, 1)    <- out
    """,
    fit="fast",
)
class RecurrentByAPythonLoop(Model):
    def __init__(self):
        super().__init__()
        self.wx, self.wh, self.out = layers.Dense(4), layers.Dense(4, use_bias=False), layers.Dense(1)

    def call(self, x):
        h = jnp.zeros((x.shape[0], 4))
        for t in range(x.shape[1]):
            h = jnp.tanh(self.wx(x[:, t]) + self.wh(h))
        return self.out(h)


@MODELS.about(
    inputs=(None, 3, 2),
    graph="""
        input       Input      (None, 3, 2)
        zeros       zeros      (None, 4)
        swapaxes    swapaxes   (3, None, 2)    <- input
        scan        scan       (None, 4)       <- zeros, swapaxes
        wx          Dense      (None, 4)       <- swapaxes      -- in scan: one turn of the loop
        wh          Dense      (None, 4)       <- zeros         -- in scan
        add         add        (None, 4)       <- wx, wh        -- in scan
        tanh        tanh       (None, 4)       <- add           -- in scan
        out         Dense      (None, 1)       <- scan
        output      Output     (None, 1)       <- out
    """,
    fit="fast",
)
class RecurrentByScan(Model):
    def __init__(self):
        super().__init__()
        self.wx, self.wh, self.out = layers.Dense(4), layers.Dense(4, use_bias=False), layers.Dense(1)

    def call(self, x):
        def step(h, x_t):
            h = jnp.tanh(self.wx(x_t) + self.wh(h))
            return h, h

        start = jnp.zeros((x.shape[0], 4))
        last, _ = ops.scan(step, start, jnp.swapaxes(x, 0, 1))
        return self.out(last)


@MODELS.about(
    inputs=(None, 3, 2),
    graph="""
        input          Input       (None, 3, 2)
        zeros          zeros       (None, 4)
        transpose      transpose   (3, None, 2)    <- input
        scan           scan        (3, None, 4)    <- zeros, transpose
        transpose#2    transpose   (None, 3, 4)    <- scan
        output         Output      (None, 3, 4)    <- transpose#2
    """,
)
class RecurrentByJaxScan(Model):
    def build(self, input_shape):
        self.wx = self.add_weight((input_shape[-1], 4), name="wx")
        self.wh = self.add_weight((4, 4), initializer="orthogonal", name="wh")

    def call(self, x):
        def step(h, x_t):
            h = jax.nn.sigmoid(x_t @ self.wx + h @ self.wh)
            return h, h

        _, states = lax.scan(step, jnp.zeros((x.shape[0], 4)), jnp.transpose(x, (1, 0, 2)))
        return jnp.transpose(states, (1, 0, 2))


class LSTMCell(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.units = units
        self.gates = layers.Dense(4 * units)

    def call(self, x, state):
        h, c = state
        i, f, g, o = jnp.split(self.gates(jnp.concatenate([x, h], -1)), 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        return ops.sigmoid(o) * ops.tanh(c), c


@MODELS.about(
    inputs=((None, 2), (None, 3), (None, 3)),
    graph="""
        input_1             Input         (None, 2)
        input_2             Input         (None, 3)
        input_3             Input         (None, 3)
        cell                LSTMCell      (None, 3) (None, 3)    <- input_1, input_2, input_3
        cell/concatenate    concatenate   (None, 5)     <- input_1, input_2
        cell/gates          Dense         (None, 12)    <- cell/concatenate
        cell/split          split         (None, 3) (None, 3) (None, 3) (None, 3)    <- cell/gates
        cell/sigmoid        sigmoid       (None, 3)     <- cell/split
        cell/multiply       multiply      (None, 3)     <- cell/sigmoid, input_3
        cell/sigmoid#2      sigmoid       (None, 3)     <- cell/split
        cell/tanh           tanh          (None, 3)     <- cell/split
        cell/multiply#2     multiply      (None, 3)     <- cell/sigmoid#2, cell/tanh
        cell/add            add           (None, 3)     <- cell/multiply, cell/multiply#2
        cell/sigmoid#3      sigmoid       (None, 3)     <- cell/split
        cell/tanh#2         tanh          (None, 3)     <- cell/add
        cell/multiply#3     multiply      (None, 3)     <- cell/sigmoid#3, cell/tanh#2
        output_1            Output        (None, 3)     <- cell
        output_2            Output        (None, 3)     <- cell
    """,
)
class OneStepOfAnLSTM(Model):
    def __init__(self):
        super().__init__()
        self.cell = LSTMCell(3)

    def call(self, inputs):
        x, h, c = inputs
        return self.cell(x, (h, c))


class Attention(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.query, self.key, self.value = layers.Dense(units), layers.Dense(units), layers.Dense(units)

    def call(self, x, context=None):
        context = x if context is None else context
        q, k, v = self.query(x), self.key(context), self.value(context)
        scores = q @ jnp.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
        return jax.nn.softmax(scores, axis=-1) @ v


@MODELS.about(
    inputs=(None, 3, 4),
    graph="""
        input                 Input       (None, 3, 4)
        attention             Attention   (None, 3, 4)    <- input
        attention/query       Dense       (None, 3, 4)    <- input
        attention/key         Dense       (None, 3, 4)    <- input
        attention/value       Dense       (None, 3, 4)    <- input
        attention/swapaxes    swapaxes    (None, 4, 3)    <- attention/key
        attention/matmul      matmul      (None, 3, 3)    <- attention/query, attention/swapaxes
        attention/divide      divide      (None, 3, 3)    <- attention/matmul
        attention/softmax     softmax     (None, 3, 3)    <- attention/divide
        attention/matmul#2    matmul      (None, 3, 4)    <- attention/softmax, attention/value
        add                   add         (None, 3, 4)    <- input, attention
        output                Output      (None, 3, 4)    <- add
    """,
    fit="fast",
)
class AttentionByHand(Model):
    def __init__(self):
        super().__init__()
        self.attention = Attention(4)

    def call(self, x):
        return x + self.attention(x)


@MODELS.about(
    inputs={"source": (None, 5, 4), "target": (None, 3, 4)},
    graph="""
        input_source      Input       (None, 5, 4)
        input_target      Input       (None, 3, 4)
        cross             Attention   (None, 3, 4)    <- input_target, input_source
        cross/query       Dense       (None, 3, 4)    <- input_target
        cross/key         Dense       (None, 5, 4)    <- input_source
        cross/value       Dense       (None, 5, 4)    <- input_source
        cross/swapaxes    swapaxes    (None, 4, 5)    <- cross/key
        cross/matmul      matmul      (None, 3, 5)    <- cross/query, cross/swapaxes
        cross/divide      divide      (None, 3, 5)    <- cross/matmul
        cross/softmax     softmax     (None, 3, 5)    <- cross/divide
        cross/matmul#2    matmul      (None, 3, 4)    <- cross/softmax, cross/value
        mean              mean        (None, 4)       <- cross
        output            Output      (None, 4)       <- mean
    """,
)
class CrossAttention(Model):
    def __init__(self):
        super().__init__()
        self.cross = Attention(4)

    def call(self, inputs):
        return self.cross(inputs["target"], context=inputs["source"]).mean(axis=1)


class MultiHead(layers.Layer):
    def __init__(self, units, heads):
        super().__init__()
        self.heads, self.size = heads, units // heads
        self.qkv, self.out = layers.Dense(3 * units, use_bias=False), layers.Dense(units)

    def split_heads(self, x):
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.size)

    def call(self, x):
        q, k, v = (self.split_heads(part) for part in jnp.split(self.qkv(x), 3, axis=-1))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)
        causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
        weights = jax.nn.softmax(jnp.where(causal, scores, -1e9))
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return self.out(mixed.reshape(x.shape))


class LayerNorm(layers.Layer):
    def build(self, input_shape):
        self.gamma = self.add_weight((input_shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight((input_shape[-1],), initializer="zeros", name="beta")

    def call(self, x):
        mean = x.mean(axis=-1, keepdims=True)
        variance = jnp.var(x, axis=-1, keepdims=True)
        return (x - mean) * lax.rsqrt(variance + 1e-6) * self.gamma + self.beta


@MODELS.about(
    inputs=(None, 3, 4),
    graph="""
        input                     Input       (None, 3, 4)
        norm                      LayerNorm   (None, 3, 4)       <- input
        norm/mean                 mean        (None, 3, 1)       <- input
        norm/var                  var         (None, 3, 1)       <- input
        norm/subtract             subtract    (None, 3, 4)       <- input, norm/mean
        norm/add                  add         (None, 3, 1)       <- norm/var
        norm/rsqrt                rsqrt       (None, 3, 1)       <- norm/add
        norm/multiply             multiply    (None, 3, 4)       <- norm/subtract, norm/rsqrt
        norm/multiply#2           multiply    (None, 3, 4)       <- norm/multiply
        norm/add#2                add         (None, 3, 4)       <- norm/multiply#2
        attention                 MultiHead   (None, 3, 4)       <- norm
        attention/qkv             Dense       (None, 3, 12)      <- norm
        attention/split           split       (None, 3, 4) (None, 3, 4) (None, 3, 4)    <- attention/qkv
        attention/reshape         reshape     (None, 3, 2, 2)    <- attention/split
        attention/reshape#2       reshape     (None, 3, 2, 2)    <- attention/split
        attention/reshape#3       reshape     (None, 3, 2, 2)    <- attention/split
        attention/einsum          einsum      (None, 2, 3, 3)    <- attention/reshape, attention/reshape#2
        attention/ones            ones        (3, 3)
        attention/tril            tril        (3, 3)             <- attention/ones
        attention/where           where       (None, 2, 3, 3)    <- attention/tril, attention/einsum
        attention/softmax         softmax     (None, 2, 3, 3)    <- attention/where
        attention/einsum#2        einsum      (None, 3, 2, 2)    <- attention/softmax, attention/reshape#3
        attention/reshape#4       reshape     (None, 3, 4)       <- attention/einsum#2
        attention/out             Dense       (None, 3, 4)       <- attention/reshape#4
        add                       add         (None, 3, 4)       <- input, attention
        expand                    Dense       (None, 3, 8)       <- add
        project                   Dense       (None, 3, 4)       <- expand
        drop                      Dropout     (None, 3, 4)       <- project
        add#2                     add         (None, 3, 4)       <- add, drop
        output                    Output      (None, 3, 4)       <- add#2
    """,
)
class TransformerBlock(Model):
    def __init__(self):
        super().__init__()
        self.norm, self.attention = LayerNorm(), MultiHead(4, 2)
        self.expand, self.project, self.drop = layers.Dense(8, activation="gelu"), layers.Dense(4), layers.Dropout(0.1)

    def call(self, x, training=False):
        x = x + self.attention(self.norm(x))
        return x + self.drop(self.project(self.expand(x)), training=training)


@MODELS.about(
    inputs=(None, 5, 2),
    graph="""
        input            Input         (None, 5, 2)
        getitem          getitem       (None, 3, 2)    <- input
        getitem#2        getitem       (None, 3, 2)    <- input
        getitem#3        getitem       (None, 3, 2)    <- input
        concatenate      concatenate   (None, 3, 6)    <- getitem, getitem#2, getitem#3
        kernel           Dense         (None, 3, 4)    <- concatenate
        max              max           (None, 4)       <- kernel
        output           Output        (None, 4)       <- max
    """,
)
class ConvolutionBySlices(Model):
    def __init__(self):
        super().__init__()
        self.kernel = layers.Dense(4, activation="relu")

    def call(self, x):
        windows = [x[:, i : i + 3] for i in range(3)]
        return jnp.max(self.kernel(jnp.concatenate(windows, axis=-1)), axis=1)


class Embed(layers.Layer):
    def __init__(self, words, length, units):
        super().__init__()
        self.words = self.add_weight((words, units), name="words")
        self.positions = self.add_weight((length, units), name="positions")

    def call(self, ids):
        return jnp.take(self.words, ids, axis=0) + self.positions[: ids.shape[1]]


@MODELS.about(
    inputs=ints(None, 3),
    graph="""
        input              Input      (None, 3)
        not_equal          not_equal  (None, 3)       <- input
        astype             astype     (None, 3)       <- not_equal
        embed              Embed      (None, 3, 4)    <- input
        embed/take         take       (None, 3, 4)    <- input
        embed/getitem      getitem    (3, 4)
        embed/add          add        (None, 3, 4)    <- embed/take, embed/getitem
        getitem            getitem    (None, 3, 1)    <- astype
        multiply           multiply   (None, 3, 4)    <- embed, getitem
        sum                sum        (None, 4)       <- multiply
        sum#2              sum        (None, 1)       <- astype
        maximum            maximum    (None, 1)       <- sum#2
        divide             divide     (None, 4)       <- sum, maximum
        output             Output     (None, 4)       <- divide
    """,
    fit="fast",
)
class BagOfWords(Model):
    def __init__(self):
        super().__init__()
        self.embed = Embed(7, 5, 4)

    def call(self, ids):
        mask = (ids != 0).astype("float32")
        embedded = self.embed(ids) * mask[..., None]
        return ops.sum(embedded, axis=1) / jnp.maximum(mask.sum(axis=1, keepdims=True), 1.0)


POSITIONS = np.sin(np.arange(3, dtype="float32")[:, None] / np.array([1.0, 10.0], "float32"))


@MODELS.about(
    inputs=(None, 3, 2),
    graph="""
        input          Input         (None, 3, 2)
        add            add           (None, 3, 2)    <- input       -- a NumPy table is no node
        flip           flip          (None, 3, 2)    <- add
        cumsum         cumsum        (None, 3, 2)    <- add
        cumsum#2       cumsum        (None, 3, 2)    <- flip
        concatenate    concatenate   (None, 3, 4)    <- cumsum, cumsum#2
        output         Output        (None, 3, 4)    <- concatenate
    """,
)
class BothDirections(Model):
    def call(self, x):
        x = x + POSITIONS
        back = jnp.flip(x, axis=1)
        forward, back = (jnp.cumsum(part, axis=1) for part in (x, back))
        return jnp.concatenate([forward, back], axis=-1)


@MODELS.about(
    inputs=(None, 3, 2),
    graph="""
        input        Input       (None, 3, 2)
        unstack      unstack     (None, 3) (None, 3)    <- input
        hstack       hstack      (None, 6)       <- unstack
        add          add         (None, 6)       <- hstack       -- the first turn adds an array to a number
        add#2        add         (None, 6)       <- add, hstack
        add#3        add         (None, 6)       <- add#2, hstack
        getitem      getitem     (None, 1)       <- input
        getitem#2    getitem     (None, 2)       <- add#3
        getitem#3    getitem     (None, 2)       <- add#3
        stack        stack       (None, 2, 2)    <- getitem#2, getitem#3
        getitem#4    getitem     (None, 1, 1)    <- getitem
        multiply     multiply    (None, 2, 2)    <- stack, getitem#4
        output       Output      (None, 2, 2)    <- multiply
    """,
)
class OneExpressionManyEquations(Model):
    def call(self, x):
        joined = jnp.hstack(ops.unstack(x, axis=-1))
        total = 0.0
        for _ in range(3):
            total = total + joined
        corner = x[:, 0, 1:]
        pairs = [total[:, 2 * i : 2 * i + 2] for i in range(2)]
        return jnp.stack(pairs, axis=1) * corner[..., None]


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
