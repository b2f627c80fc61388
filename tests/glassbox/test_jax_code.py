"""JAX in ``call``: jnp, jax.nn, lax, transformations, control flow, weights in operators. Truths are written by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from pellucid import Model, Variable, layers, ops
from tests.glassbox.checker import Truths, check_graph, check_use

MODELS = Truths()


class Linear(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, x):
        return x @ self.w + self.b


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input             Input      (None, 3)
        linear1           Linear     (None, 4)    <- input
        linear1/matmul    matmul     (None, 4)    <- input
        linear1/add       add        (None, 4)    <- linear1/matmul
        relu              relu       (None, 4)    <- linear1
        linear2           Linear     (None, 2)    <- relu
        linear2/matmul    matmul     (None, 2)    <- relu
        linear2/add       add        (None, 2)    <- linear2/matmul
        multiply          multiply   (None, 2)    <- linear2
        output            Output     (None, 2)    <- multiply
    """,
    fit="fast",
)
class WeightsMadeInBuild(Model):
    def __init__(self):
        super().__init__()
        self.linear1, self.linear2 = Linear(4), Linear(2)
        self.scale = Variable(1.5, name="scale")

    def call(self, x):
        return self.scale * self.linear2(ops.relu(self.linear1(x)))


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input         (None, 4)
        encoder       Dense         (None, 2)    <- input
        transpose     transpose     (2, 4)                       -- of the encoder's kernel
        matmul        matmul        (None, 4)    <- encoder, transpose
        add           add           (None, 4)    <- matmul
        output        Output        (None, 4)    <- add
    """,
    fit="fast",
)
class TiedWeights(Model):
    def __init__(self):
        super().__init__()
        self.encoder = layers.Dense(2, activation="tanh")
        self.bias = self.add_weight((4,), initializer="zeros", name="bias")

    def call(self, x):
        code = self.encoder(x)
        return code @ jnp.transpose(self.encoder.kernel) + self.bias


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input          Input         (None, 4)
        mean           mean          (1, 4)       <- input
        subtract       subtract      (None, 4)    <- input, mean
        hidden         Dense         (None, 3)    <- subtract
        gelu           gelu          (None, 3)    <- hidden
        exp            exp           (None, 3)    <- gelu
        logsumexp      logsumexp     (None, 1)    <- exp
        subtract#2     subtract      (None, 3)    <- exp, logsumexp
        clip           clip          (None, 3)    <- subtract#2
        top_k          top_k         (None, 2)    <- clip
        power          power         (None, 2)    <- top_k
        absolute       absolute      (None, 2)    <- power
        output         Output        (None, 2)    <- absolute
    """,
)
class AllKindsOfFunctions(Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(3)

    def call(self, x):
        x = x - x.mean(axis=0, keepdims=True)
        x = jnp.exp(jax.nn.gelu(self.hidden(x)))
        x = x - jax.scipy.special.logsumexp(x, axis=-1, keepdims=True)
        values, _ = lax.top_k(jnp.clip(x, -5, 5), 2)
        return ops.absolute(values**3)


@jax.jit
def rotate(x, angle):
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * jnp.cos(angle) - b * jnp.sin(angle), a * jnp.sin(angle) + b * jnp.cos(angle)], axis=-1)


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input       Input     (None, 4)
        angle       Dense     (None, 2)    <- input
        rotate      rotate    (None, 4)    <- input, angle      -- a function of one's own jit is one operation
        out         Dense     (None, 4)    <- rotate
        rotate#2    rotate    (None, 4)    <- out, angle
        output      Output    (None, 4)    <- rotate#2
    """,
    fit="fast",
)
class AJitOfOnesOwn(Model):
    def __init__(self):
        super().__init__()
        self.angle, self.out = layers.Dense(2), layers.Dense(4)

    def call(self, x):
        angle = self.angle(x)
        return rotate(self.out(rotate(x, angle)), angle)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input     Input    (None, 3)
        hidden    Dense    (None, 4)    <- input
        tanh      tanh     (None, 4)    <- hidden
        out       Dense    (None, 1)    <- tanh
        output    Output   (None, 1)    <- out
    """,
    fit="fast",
)
class LayersInAJit(Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(4), layers.Dense(1)
        self.hidden.build((None, 3))

    def call(self, x):
        @jax.jit
        def body(x):
            return jnp.tanh(self.hidden(x))

        return self.out(body(x))


def expensive(x):
    return jnp.sin(jnp.exp(x)) * 2


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input         Input         (None, 3)
        hidden        Dense         (None, 4)    <- input
        saving        saving        (None, 4)    <- hidden      -- as the line calls it
        remat         remat         (None, 4)    <- saving
        block/first   Dense         (None, 4)    <- saving      -- in remat
        sin           sin           (None, 4)    <- block/first -- in remat
        out           Dense         (None, 1)    <- remat
        output        Output        (None, 1)    <- out
    """,
    uncalled=[],
)
class Remat(Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(4), layers.Dense(1)
        self.block = {"first": layers.Dense(4)}
        self.block["first"].build((None, 4))

    def call(self, x):
        saving = jax.checkpoint(expensive)
        x = saving(self.hidden(x))
        x = jax.checkpoint(lambda x: jnp.sin(self.block["first"](x)))(x)
        return self.out(x)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input      Input     (None, 3)
        mean       mean      ()           <- input
        greater    greater   ()           <- mean
        cond       cond      (None, 2)    <- greater, input
        left       Dense     (None, 2)    <- input            -- in cond
        right      Dense     (None, 2)    <- input            -- in cond
        negative   negative  (None, 2)    <- right            -- in cond
        output     Output    (None, 2)    <- cond
    """,
)
class LayersInACond(Model):
    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Dense(2), layers.Dense(2)

    def call(self, x):
        return ops.cond(ops.mean(x) > 0, lambda: self.left(x), lambda: -self.right(x))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input       Input      (None, 3)
        hidden      Dense      (None, 3)    <- input
        sum         sum        ()           <- hidden
        less        less       ()           <- sum
        cond        cond       (None, 3)    <- less, hidden
        fori_loop   fori_loop  (None, 3)    <- cond
        while_loop  while_loop   (None, 3)    <- fori_loop
        output      Output     (None, 3)    <- while_loop
    """,
    fit="no",  # JAX has no gradient of a while loop
)
class ControlFlowOfArrays(Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(3)

    def call(self, x):
        h = self.hidden(x)
        h = lax.cond(h.sum() < 0, lambda a: a * 2, lambda a: jnp.sin(a), h)
        h = lax.fori_loop(0, 3, lambda i, a: a / 2 + i, h)
        return ops.while_loop(lambda a: jnp.max(a) > 1, lambda a: a / 2, h)


@MODELS.about(
    inputs=(None, 3, 2),
    graph="""
        input       Input      (None, 3, 2)
        swapaxes    swapaxes   (None, 2, 3)    <- input
        matmul      matmul     (None, 2, 2)    <- swapaxes, input
        trace       trace      (None,)         <- matmul
        output      Output     (None,)         <- trace
    """,
)
class RowByRow(Model):
    def call(self, x):
        def gram(row):
            return jnp.trace(jnp.swapaxes(row, 0, 1) @ row)

        return jax.vmap(gram)(x)


@MODELS.about(
    inputs=(None, 2),
    graph="""
        input       Input      (None, 2)
        matmul      matmul     (None, 3)    <- input
        tanh        tanh       (None, 3) (None, 3)    <- matmul         -- the value and its derivative
        sum         sum        ()           <- tanh
        sum#2       sum        (None, 3)                    -- backwards from here: the gradient of a sum is one
        tanh#2      tanh       (None, 3)    <- sum#2, tanh
        matmul#2    matmul     (None, 2)    <- tanh#2
        negative    negative   (None, 2)    <- matmul#2
        output      Output     (None, 2)    <- negative
    """,
    fit="fast",
)
class ForceFromAnEnergy(Model):
    def __init__(self):
        super().__init__()
        self.w = self.add_weight((2, 3), name="w")

    def call(self, x):
        energy = lambda x: jnp.sum(jnp.tanh(x @ self.w))
        return -jax.grad(energy)(x)


@jax.custom_jvp
def clipped(x):
    return jnp.clip(x, -1, 1)


clipped.defjvp(lambda primals, tangents: (clipped(*primals), tangents[0]))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input            Input           (None, 3)
        hidden           Dense           (None, 3)    <- input
        clipped          clipped         (None, 3)    <- hidden
        stop_gradient    stop_gradient   (None, 3)    <- clipped
        subtract         subtract        (None, 3)    <- hidden, stop_gradient
        assign_add       assign_add      ()                         -- a write: no value that another node takes
        mean             mean            (3,)         <- clipped
        multiply         multiply        (3,)                       -- what the average was
        multiply#2       multiply        (3,)         <- mean
        add              add             (3,)         <- multiply, multiply#2
        output           Output          (None, 3)    <- subtract
    """,
    fit="fast",
)
class StraightThroughAndAverages(Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(3)
        self.steps = self.add_weight((), initializer="zeros", trainable=False, name="steps")
        self.average = self.add_weight((3,), initializer="zeros", trainable=False, name="average")

    def call(self, x):
        h = self.hidden(x)
        y = clipped(h)
        z = h - lax.stop_gradient(y)
        self.steps.assign_add(1.0)
        mean = y.mean(axis=0)
        self.average.assign(0.9 * self.average + 0.1 * mean)
        return z


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input         (None, 4)
        argmax          argmax          (None,)      <- input
        one_hot         one_hot         (None, 4)    <- argmax
        cast            cast            (None, 4)    <- one_hot
        greater_equal   greater_equal   (None, 4)    <- input
        less            less            (None, 4)    <- input
        and             and             (None, 4)    <- greater_equal, less
        output_1      Output        (None, 4)    <- cast
        output_2      Output        (None, 4)    <- and
    """,
    fit="no",
)
class TypesOfAllKinds(Model):
    def call(self, x):
        best = ops.cast(jax.nn.one_hot(jnp.argmax(x, axis=-1), 4), "bfloat16")
        inside = (x >= 0) & (x < 1)
        return best, inside


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
