"""Functions and methods of the user's that ``call`` uses at several places. Truths are written by hand."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import pytest

from pellucid import Model, layers, ops
from tests.glassbox.checker import Truths, check_graph, check_use

MODELS = Truths()


def act(x):
    return ops.relu(x)


def swish(x):
    return x * ops.sigmoid(x)


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input     Input    (None, 4)
        d         Dense    (None, 4)    <- input
        relu      relu     (None, 4)    <- d
        e         Dense    (None, 4)    <- relu
        relu#2    relu     (None, 4)    <- e
        output    Output   (None, 4)    <- relu#2
    """,
    fit="fast",
)
class AHelperAtTwoPlaces(Model):
    def __init__(self):
        super().__init__()
        self.d, self.e = layers.Dense(4), layers.Dense(4)

    def call(self, x):
        a = act(self.d(x))
        b = act(self.e(a))
        return b


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input      (None, 4)
        sigmoid       sigmoid    (None, 4)    <- input
        multiply      multiply   (None, 4)    <- input, sigmoid
        sigmoid#2     sigmoid    (None, 4)    <- multiply
        multiply#2    multiply   (None, 4)    <- multiply, sigmoid#2
        sigmoid#3     sigmoid    (None, 4)    <- input               -- the same line as the two before
        multiply#3    multiply   (None, 4)    <- input, sigmoid#3
        add           add        (None, 4)    <- multiply#2, multiply#3
        output        Output     (None, 4)    <- add
    """,
)
class SwishThreeTimes(Model):
    def call(self, x):
        return swish(swish(x)) + swish(x)


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input      (None, 4)
        tanh          tanh       (None, 4)    <- input
        multiply      multiply   (None, 4)    <- tanh
        tanh#2        tanh       (None, 4)    <- multiply
        multiply#2    multiply   (None, 4)    <- tanh#2
        output        Output     (None, 4)    <- multiply#2
    """,
)
class AMethodOfItsOwnResult(Model):
    def f(self, x):
        return ops.tanh(x) * 2

    def call(self, x):
        return self.f(self.f(x))


@MODELS.about(
    inputs=(None, 5, 4),
    graph="""
        input          Input       (None, 5, 4)
        q              Dense       (None, 5, 4)       <- input
        reshape        reshape     (None, 5, 2, 2)    <- q
        transpose      transpose   (None, 2, 5, 2)    <- reshape
        k              Dense       (None, 5, 4)       <- input
        reshape#2      reshape     (None, 5, 2, 2)    <- k
        transpose#2    transpose   (None, 2, 5, 2)    <- reshape#2
        v              Dense       (None, 5, 4)       <- input
        reshape#3      reshape     (None, 5, 2, 2)    <- v
        transpose#3    transpose   (None, 2, 5, 2)    <- reshape#3
        transpose#4    transpose   (None, 2, 2, 5)    <- transpose#2
        matmul         matmul      (None, 2, 5, 5)    <- transpose, transpose#4
        softmax        softmax     (None, 2, 5, 5)    <- matmul
        matmul#2       matmul      (None, 2, 5, 2)    <- softmax, transpose#3
        output         Output      (None, 2, 5, 2)    <- matmul#2
    """,
    fit="fast",
)
class AttentionThatSplitsHeads(Model):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = layers.Dense(4), layers.Dense(4), layers.Dense(4)

    def split(self, x):
        return ops.transpose(ops.reshape(x, (-1, 5, 2, 2)), (0, 2, 1, 3))

    def call(self, x):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))))
        return ops.matmul(scores, v)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input         Input      (None, 3)
        sin           sin        (None, 3)    <- input
        multiply      multiply   (None, 3)    <- input, sin
        sin#2         sin        (None, 3)    <- multiply
        multiply#2    multiply   (None, 3)    <- multiply, sin#2
        cos           cos        (None, 3)    <- multiply#2          -- at the bottom
        add           add        (None, 3)    <- cos, multiply       -- on the way back
        add#2         add        (None, 3)    <- add, input
        output        Output     (None, 3)    <- add#2
    """,
)
class Recursion(Model):
    def deeper(self, x, depth):
        if depth == 0:
            return jnp.cos(x)
        return self.deeper(x * jnp.sin(x), depth - 1) + x

    def call(self, x):
        return self.deeper(x, 2)


def gate(x):
    return act(swish(x))


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input      (None, 4)
        sigmoid       sigmoid    (None, 4)    <- input
        multiply      multiply   (None, 4)    <- input, sigmoid
        relu          relu       (None, 4)    <- multiply
        out           Dense      (None, 4)    <- relu
        sigmoid#2     sigmoid    (None, 4)    <- out
        multiply#2    multiply   (None, 4)    <- out, sigmoid#2
        relu#2        relu       (None, 4)    <- multiply#2
        relu#3        relu       (None, 4)    <- input
        subtract      subtract   (None, 4)    <- relu#2, relu#3
        output        Output     (None, 4)    <- subtract
    """,
)
class HelpersOfHelpers(Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(4)

    def call(self, x):
        return gate(self.out(gate(x))) - act(x)


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input      (None, 4)
        heads/0       Dense      (None, 4)    <- input
        sigmoid       sigmoid    (None, 4)    <- heads/0
        multiply      multiply   (None, 4)    <- heads/0, sigmoid
        heads/1       Dense      (None, 4)    <- input
        sigmoid#2     sigmoid    (None, 4)    <- heads/1
        multiply#2    multiply   (None, 4)    <- heads/1, sigmoid#2
        add           add        (None, 4)    <- multiply, multiply#2
        sigmoid#3     sigmoid    (None, 4)    <- add
        multiply#3    multiply   (None, 4)    <- add, sigmoid#3
        relu          relu       (None, 4)    <- input
        relu#2        relu       (None, 4)    <- multiply#3
        add#2         add        (None, 4)    <- relu, relu#2
        output        Output     (None, 4)    <- add#2
    """,
    fit="fast",
)
class AHelperInAComprehensionAndAgainOutside(Model):
    def __init__(self):
        super().__init__()
        self.heads = [layers.Dense(4), layers.Dense(4)]

    def call(self, x):
        first, second = [swish(head(x)) for head in self.heads]
        y = swish(first + second)
        left, right = map(act, (x, y))
        return left + right


def doubled(function):
    @functools.wraps(function)
    def inner(x):
        return function(x) + function(-x)

    return inner


@doubled
def bump(x):
    return jnp.exp(-(x**2))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input         Input      (None, 3)
        power         power      (None, 3)    <- input
        negative      negative   (None, 3)    <- power
        exp           exp        (None, 3)    <- negative
        negative#2    negative   (None, 3)    <- input         -- of what is handed to the second call
        power#2       power      (None, 3)    <- negative#2
        negative#3    negative   (None, 3)    <- power#2
        exp#2         exp        (None, 3)    <- negative#3
        add           add        (None, 3)    <- exp, exp#2
        output        Output     (None, 3)    <- add
    """,
)
class ADecoratedHelper(Model):
    def call(self, x):
        return bump(x)


class Potential(layers.Layer):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(3, activation="tanh")

    def call(self, x):
        return jnp.sin(self.hidden(x))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input                 Input                (None, 3)
        potential             Potential            (None, 3)              <- input
        potential/hidden      Dense                (None, 3)              <- input
        potential/sin         sin                  (None, 3)              <- potential/hidden
        sum                   sum                  ()                     <- potential
        sum#2                 sum                  (None, 3)                                       -- backwards from here
        potential_gradient    potential_gradient   (None, 3)              <- sum#2, potential
        out                   Dense                (None, 1)              <- potential_gradient
        output                Output               (None, 1)              <- out
    """,
    fit="fast",
)
class GradientOfALayer(Model):
    def __init__(self):
        super().__init__()
        self.potential, self.out = Potential(), layers.Dense(1)
        self.potential.build((None, 3))
        self.potential.hidden.build((None, 3))

    def call(self, x):
        return self.out(jax.grad(lambda x: jnp.sum(self.potential(x)))(x))


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
