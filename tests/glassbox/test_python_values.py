"""Flags, configurations, loops, arguments of ``call``, functions and values outside the class. Truths are written by hand."""

from __future__ import annotations

import dataclasses
import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import Model, layers, ops
from pellucid.graph.ledger import Reason
from tests.glassbox.checker import Truths, check_graph, check_use

MODELS = Truths()


class Skipping(Model):
    def __init__(self, use_skip, activation=None):
        super().__init__()
        self.use_skip, self.activation = use_skip, activation
        self.hidden, self.skip = layers.Dense(4), layers.Dense(4)

    def call(self, x):
        h = self.hidden(x)
        if self.activation == "tanh":
            h = jnp.tanh(h)
        elif self.activation is not None:
            h = self.activation(h)
        return h + self.skip(x) if self.use_skip else h


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input     Input    (None, 3)
        hidden    Dense    (None, 4)    <- input
        tanh      tanh     (None, 4)    <- hidden
        skip      Dense    (None, 4)    <- input
        add       add      (None, 4)    <- tanh, skip
        output    Output   (None, 4)    <- add
    """,
)
def skipping_with_tanh():
    return Skipping(True, "tanh")


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input     Input    (None, 3)
        hidden    Dense    (None, 4)    <- input
        gelu      gelu     (None, 4)    <- hidden
        output    Output   (None, 4)    <- gelu
    """,
    uncalled=["skip"],
)
def not_skipping_with_a_function():
    return Skipping(False, jax.nn.gelu)


@dataclasses.dataclass
class Config:
    depth: int = 2
    width: int = 4
    final: str = "mean"
    dropout: float = 0.0


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input       Input     (None, 3)
        layer0      Dense     (None, 4)    <- input
        square      square    (None, 4)    <- layer0
        layer1      Dense     (None, 4)    <- square
        square#2    square    (None, 4)    <- layer1
        mean        mean      (None,)      <- square#2
        output      Output    (None,)      <- mean
    """,
    uncalled=["drop", "layer2"],
)
class FromAConfig(Model):
    def __init__(self, config=None):
        super().__init__()
        self.config = config or Config()
        self.drop = layers.Dropout(self.config.dropout)
        self.layer0, self.layer1, self.layer2 = (layers.Dense(self.config.width) for _ in range(3))

    def call(self, x):
        for i in range(self.config.depth):
            x = ops.square(getattr(self, f"layer{i}")(x))
            if self.config.dropout > 0:
                x = self.drop(x)
        match self.config.final:
            case "mean":
                return jnp.mean(x, axis=-1)
            case "max":
                return jnp.max(x, axis=-1)
            case _:
                return x


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input      (None, 4)
        step          Dense      (None, 4)    <- input
        multiply      multiply   (None, 4)    <- step
        step#2        Dense      (None, 4)    <- multiply
        multiply#2    multiply   (None, 4)    <- step#2
        step#3        Dense      (None, 4)    <- multiply#2
        output        Output     (None, 4)    <- step#3
    """,
    fit="fast",
)
class OneStepThreeTimes(Model):
    def __init__(self):
        super().__init__()
        self.step = layers.Dense(4, activation="tanh")

    def call(self, x):
        for i in range(3):
            x = self.step(x)
            if i < 2:
                x *= 0.5
        return x


class Masked(layers.Layer):
    """Takes more than its input."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x, mask=None, *, scale=1.0, activation=None, training=None):
        y = self.dense(x) * scale
        if mask is not None:
            y = jnp.where(mask[:, None], y, 0.0)
        return y if activation is None else activation(y)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input               Input      (None, 3)
        sum                 sum        (None,)      <- input
        greater             greater    (None,)      <- sum
        masked              Masked     (None, 3)    <- input, greater
        masked/dense        Dense      (None, 3)    <- input
        masked/multiply     multiply   (None, 3)    <- masked/dense
        masked/getitem      getitem    (None, 1)    <- greater
        masked/where        where      (None, 3)    <- masked/getitem, masked/multiply
        masked#2            Masked     (None, 3)    <- masked
        masked#2/dense      Dense      (None, 3)    <- masked
        masked#2/multiply   multiply   (None, 3)    <- masked#2/dense
        masked#2/activation    activation    (None, 3)    <- masked#2/multiply      -- as the line calls it
        output              Output     (None, 3)    <- masked#2
    """,
)
class ArgumentsBesideTheInput(Model):
    def __init__(self):
        super().__init__()
        self.masked = Masked()

    def call(self, x):
        y = self.masked(x, x.sum(axis=-1) > 0, scale=2.0)
        return self.masked(y, activation=ops.sigmoid)


class Noise(layers.Layer):
    def __init__(self, stddev):
        super().__init__()
        self.stddev, self.seed = stddev, pellucid.random.SeedGenerator(1)

    def call(self, x, training=None):
        if training:
            x = x + pellucid.random.normal(ops.shape(x), stddev=self.stddev, seed=self.seed)
        return x


class Noisy(Model):
    def __init__(self):
        super().__init__()
        self.noise, self.out = Noise(0.1), layers.Dense(1)

    def call(self, x):
        return self.out(self.noise(x))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input     Input    (None, 3)
        noise     Noise    (None, 3)    <- input
        out       Dense    (None, 1)    <- noise
        output    Output   (None, 1)    <- out
    """,
    runs={"build": [Reason.FIRST], "fit": [Reason.TRAINING]},
    fit="fast",
)
def noisy_when_used():
    return Noisy()


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input          Input     (None, 3)
        noise          Noise     (None, 3)    <- input
        noise/normal   normal    (None, 3)
        noise/add      add       (None, 3)    <- input, noise/normal
        out            Dense     (None, 1)    <- noise
        output         Output    (None, 1)    <- out
    """,
    training=True,
    fit="no",
)
def noisy_in_training():
    return Noisy()


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input     Input     (None, 3)
        hidden    Dense     (None, 4)    <- input
        norm      BatchNormalization    (None, 4)    <- hidden
        drop      Dropout   (None, 4)    <- norm
        out       Dense     (None, 1)    <- drop
        output    Output    (None, 1)    <- out
    """,
    fit="fast",
)
class HandsTrainingOn(Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.norm = layers.Dense(4), layers.BatchNormalization()
        self.drop, self.out = layers.Dropout(0.5), layers.Dense(1)

    def call(self, x, training=None):
        x = self.norm(self.hidden(x), training=training)
        return self.out(self.drop(x, training))


SLOPE = 0.1


def leaky(x):
    return jnp.where(x > 0, x, SLOPE * x)


swish = lambda x: x * jax.nn.sigmoid(x)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input         Input      (None, 3)
        a             Dense      (None, 4)    <- input
        greater       greater    (None, 4)    <- a
        multiply      multiply   (None, 4)    <- a
        where         where      (None, 4)    <- greater, a, multiply
        b             Dense      (None, 4)    <- where
        sigmoid       sigmoid    (None, 4)    <- b
        multiply#2    multiply   (None, 4)    <- b, sigmoid
        sum           sum        (None, 4)    <- where, multiply#2, a
        output        Output     (None, 4)    <- sum
    """,
)
class FunctionsOutsideTheClass(Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = layers.Dense(4), layers.Dense(4)

    def call(self, x):
        a = self.a(x)
        left = leaky(a)
        right = swish(self.b(left))
        return sum([left, right, a])


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input       Input    (None, 3)
        parts/0     Dense    (None, 4)    <- input
        parts/1     Dense    (None, 4)    <- input
        parts/2     Dense    (None, 4)    <- input
        reduce      reduce   (None, 4)    <- parts/0, parts/1, parts/2
        output      Output   (None, 4)    <- reduce
    """,
    gap="reduce calls the operator from one place again and again, as a loop does: each time is a node",
)
class Reduced(Model):
    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(4) for _ in range(3)]

    def call(self, x):
        return functools.reduce(operator.mul, (part(x) for part in self.parts))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input       Input    (None, 3)
        parts/0     Dense    (None, 4)    <- input
        parts/1     Dense    (None, 4)    <- input
        parts/2     Dense    (None, 4)    <- input
        sum         sum      (None, 4)    <- parts/0, parts/1, parts/2     -- complete after all of them
        sum#2       sum      (None, 4)    <- sum
        sum#3       sum      (None, 4)    <- sum#2
        output      Output   (None, 4)    <- sum#3
    """,
)
class SumsOfAGenerator(Model):
    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(4) for _ in range(3)]

    def call(self, x):
        y = sum(part(x) for part in self.parts)
        for _ in range(2):
            y = sum([y, y, y])
        return y


@MODELS.about(
    inputs=(None, 2, 3),
    graph="""
        input       Input      (None, 2, 3)
        reshape     reshape    (None, 6)    <- input
        out         Dense      (None, 2)    <- reshape
        divide      divide     (None, 2)    <- out
        output      Output     (None, 2)    <- divide
    """,
    fit="fast",
)
class UsesTheBatchSize(Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(2)

    def call(self, x):
        batch, *sizes = x.shape
        flat = x.reshape(batch, int(np.prod(sizes)))
        return self.out(flat) / batch


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input       Input      (None, 3)
        out         Dense      (None, 2)    <- input
        output      Output     (None, 2)    <- out
    """,
    uncalled=["alone"],
    runs={"build": [Reason.FIRST], "predict": []},  # neither 32, 8, 4 nor 7 rows are one
    fit="fast",
)
class AsksForTheBatchSize(Model):
    def __init__(self):
        super().__init__()
        self.out, self.alone = layers.Dense(2), layers.Dense(2)

    def call(self, x):
        if x.shape[0] == 1:
            return self.alone(x)
        return self.out(x)


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input        Input      (None, 4)
        split        split      (None, 2) (None, 2)    <- input
        parts/0      Dense      (None, 3)    <- split
        parts/1      Dense      (None, 3)    <- split
        sum          sum        (None, 3)    <- parts/0, parts/1
        getitem      getitem    (None, 2)    <- sum
        negative     negative   (None, 2)    <- getitem
        output_1     Output     (None, 2)    <- negative
        output_2     Output     (None, 3)    <- parts/0
        output_3     Output     (None, 3)    <- parts/1
    """,
)
class Comprehensions(Model):
    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(3), layers.Dense(3)]

    def call(self, x):
        pieces = jnp.split(x, 2, axis=-1)
        outputs = [part(piece) for part, piece in zip(self.parts, pieces, strict=True)]
        if (total := sum(outputs)).shape[-1] > 2:
            total = total[:, :2]
        return [-total, *outputs]


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
