"""How values flow: chains, shared layers, residuals, several inputs and outputs. Truths are written by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from pellucid import Model, layers, ops
from tests.glassbox.checker import Truths, check_graph, check_use

MODELS = Truths()


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input       Input    (None, 4)
        hidden1     Dense    (None, 8)    <- input
        hidden2     Dense    (None, 6)    <- hidden1
        out         Dense    (None, 1)    <- hidden2
        output      Output   (None, 1)    <- out
    """,
    fit="fast",
)
class Perceptron(Model):
    def __init__(self):
        super().__init__()
        self.hidden1 = layers.Dense(8, activation="relu")
        self.hidden2 = layers.Dense(6, activation="relu")
        self.out = layers.Dense(1)

    def call(self, x):
        x = self.hidden1(x)
        x = self.hidden2(x)
        return self.out(x)


@MODELS.about(
    inputs={"wide": (None, 5), "deep": (None, 6)},
    graph="""
        input_deep    Input           (None, 6)       -- JAX sorts the keys of a dict
        input_wide    Input           (None, 5)
        norm_deep     Normalization   (None, 6)       <- input_deep
        hidden1       Dense           (None, 8)       <- norm_deep
        hidden2       Dense           (None, 8)       <- hidden1
        norm_wide     Normalization   (None, 5)       <- input_wide
        concatenate   Concatenate     (None, 13)      <- norm_wide, hidden2
        main          Dense           (None, 1)       <- concatenate
        aux           Dense           (None, 1)       <- hidden2
        output_aux    Output          (None, 1)       <- aux
        output_main   Output          (None, 1)       <- main
    """,
    fit="fast",
)
class WideAndDeepOfDicts(Model):
    def __init__(self):
        super().__init__()
        self.norm_wide, self.norm_deep = layers.Normalization(), layers.Normalization()
        self.hidden1 = layers.Dense(8, activation="relu")
        self.hidden2 = layers.Dense(8, activation="relu")
        self.main, self.aux = layers.Dense(1), layers.Dense(1)

    def call(self, inputs):
        wide, deep = inputs["wide"], inputs["deep"]
        hidden = self.hidden2(self.hidden1(self.norm_deep(deep)))
        joined = layers.concatenate([self.norm_wide(wide), hidden])
        return {"main": self.main(joined), "aux": self.aux(hidden)}


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input     Input    (None, 4)
        first     Dense    (None, 4)    <- input
        add       add      (None, 4)    <- input, first
        second    Dense    (None, 4)    <- add
        add#2     add      (None, 4)    <- add, second
        out       Dense    (None, 2)    <- add#2
        output    Output   (None, 2)    <- out
    """,
)
class Residuals(Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(4, activation="relu")
        self.second = layers.Dense(4, activation="relu")
        self.out = layers.Dense(2)

    def call(self, x):
        x = x + self.first(x)
        x = x + self.second(x)
        return self.out(x)


class Encoder(layers.Layer):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(6, activation="tanh")
        self.code = layers.Dense(3)

    def call(self, x):
        return self.code(self.hidden(x))


@MODELS.about(
    inputs=((None, 4), (None, 4)),
    graph="""
        input_1             Input      (None, 4)
        input_2             Input      (None, 4)
        encoder             Encoder    (None, 3)    <- input_1
        encoder/hidden      Dense      (None, 6)    <- input_1
        encoder/code        Dense      (None, 3)    <- encoder/hidden
        encoder#2           Encoder    (None, 3)    <- input_2
        encoder#2/hidden    Dense      (None, 6)    <- input_2
        encoder#2/code      Dense      (None, 3)    <- encoder#2/hidden
        subtract            subtract   (None, 3)    <- encoder, encoder#2
        abs                 abs        (None, 3)    <- subtract
        out                 Dense      (None, 1)    <- abs
        output              Output     (None, 1)    <- out
    """,
    fit="fast",
)
class Siamese(Model):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.out = layers.Dense(1, activation="sigmoid")

    def call(self, pair):
        left, right = pair
        a, b = self.encoder(left), self.encoder(right)
        return self.out(jnp.abs(a - b))


class Decoder(layers.Layer):
    def __init__(self, features):
        super().__init__()
        self.hidden = layers.Dense(6, activation="tanh")
        self.features = layers.Dense(features)

    def call(self, code):
        return self.features(self.hidden(code))


@MODELS.about(
    inputs=(None, 5),
    graph="""
        input                     Input     (None, 5)
        encoder                   Encoder   (None, 3)    <- input
        encoder/hidden            Dense     (None, 6)    <- input
        encoder/code              Dense     (None, 3)    <- encoder/hidden
        decoder                   Decoder   (None, 5)    <- encoder
        decoder/hidden            Dense     (None, 6)    <- encoder
        decoder/features          Dense     (None, 5)    <- decoder/hidden
        output                    Output    (None, 5)    <- decoder
    """,
)
class Autoencoder(Model):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder(5)

    def encode(self, x):
        return self.encoder(x)

    def call(self, x):
        return self.decoder(self.encode(x))


@MODELS.about(
    inputs=(None, 8),
    graph="""
        input            Input         (None, 8)
        down1            Dense         (None, 6)     <- input
        down2            Dense         (None, 4)     <- down1
        bottom           Dense         (None, 2)     <- down2
        up2              Dense         (None, 4)     <- bottom
        concatenate      concatenate   (None, 8)     <- up2, down2
        up1              Dense         (None, 6)     <- concatenate
        concatenate#2    concatenate   (None, 12)    <- up1, down1
        out              Dense         (None, 8)     <- concatenate#2
        output           Output        (None, 8)     <- out
    """,
)
class UNet(Model):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = layers.Dense(6, activation="relu"), layers.Dense(4, activation="relu")
        self.bottom = layers.Dense(2, activation="relu")
        self.up2, self.up1 = layers.Dense(4, activation="relu"), layers.Dense(6, activation="relu")
        self.out = layers.Dense(8)

    def call(self, x):
        d1 = self.down1(x)
        d2 = self.down2(d1)
        u2 = self.up2(self.bottom(d2))
        u1 = self.up1(jnp.concatenate([u2, d2], axis=-1))
        return self.out(ops.concatenate([u1, d1], axis=-1))


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input          Input         (None, 4)
        steps/0        Dense         (None, 2)     <- input
        concatenate    concatenate   (None, 6)     <- input, steps/0
        steps/1        Dense         (None, 2)     <- concatenate
        concatenate#2  concatenate   (None, 8)     <- concatenate, steps/1
        steps/2        Dense         (None, 2)     <- concatenate#2
        concatenate#3  concatenate   (None, 10)    <- concatenate#2, steps/2
        output         Output        (None, 10)    <- concatenate#3
    """,
)
class DenselyConnected(Model):
    def __init__(self):
        super().__init__()
        self.steps = [layers.Dense(2, activation="relu") for _ in range(3)]

    def call(self, x):
        for step in self.steps:
            x = jnp.concatenate([x, step(x)], axis=-1)
        return x


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input         Input      (None, 4)
        transform     Dense      (None, 4)    <- input
        gate          Dense      (None, 4)    <- input
        multiply      multiply   (None, 4)    <- gate, transform
        subtract      subtract   (None, 4)    <- gate
        multiply#2    multiply   (None, 4)    <- subtract, input
        add           add        (None, 4)    <- multiply, multiply#2
        output        Output     (None, 4)    <- add
    """,
)
class Highway(Model):
    def __init__(self):
        super().__init__()
        self.transform = layers.Dense(4, activation="relu")
        self.gate = layers.Dense(4, activation="sigmoid")

    def call(self, x):
        h = self.transform(x)
        gate = self.gate(x)
        return gate * h + (1 - gate) * x


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input        Input     (None, 4)
        gate         Dense     (None, 3)       <- input
        softmax      softmax   (None, 3)       <- gate
        experts/0    Dense     (None, 2)       <- input
        experts/1    Dense     (None, 2)       <- input
        experts/2    Dense     (None, 2)       <- input
        stack        stack     (None, 3, 2)    <- experts/0, experts/1, experts/2
        einsum       einsum    (None, 2)       <- softmax, stack
        output       Output    (None, 2)       <- einsum
    """,
    fit="fast",
)
class MixtureOfExperts(Model):
    def __init__(self):
        super().__init__()
        self.gate = layers.Dense(3)
        self.experts = [layers.Dense(2) for _ in range(3)]

    def call(self, x):
        weights = jax.nn.softmax(self.gate(x))
        answers = jnp.stack([expert(x) for expert in self.experts], axis=1)
        return jnp.einsum("be,beo->bo", weights, answers)


@MODELS.about(
    inputs=[(None, 3), (None, 3), (None, 2)],
    graph="""
        input_1          Input         (None, 3)
        input_2          Input         (None, 3)
        input_3          Input         (None, 2)
        add              Add           (None, 3)    <- input_1, input_2
        concatenate      Concatenate   (None, 5)    <- add, input_3
        hidden           Dense         (None, 2)    <- concatenate
        add#2            Add           (None, 2)    <- hidden, input_3
        concatenate#2    Concatenate   (None, 4)    <- add#2, hidden
        output           Output        (None, 4)    <- concatenate#2
    """,
)
class MergedByFunctions(Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(2)

    def call(self, inputs):
        a, b, c = inputs
        joined = layers.concatenate([layers.add([a, b]), c])
        hidden = self.hidden(joined)
        return layers.concatenate([layers.add([hidden, c]), hidden])


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input       Input    (None, 4)
        body        Dense    (None, 6)    <- input
        category    Dense    (None, 3)    <- body
        value       Dense    (None, 1)    <- body
        output_1    Output   (None, 3)    <- category
        output_2    Output   (None, 1)    <- value
        output_3    Output   (None, 4)    <- input
    """,
)
class TwoHeadsAndTheInput(Model):
    def __init__(self):
        super().__init__()
        self.body = layers.Dense(6, activation="relu")
        self.category, self.value = layers.Dense(3, activation="softmax"), layers.Dense(1)

    def call(self, x):
        body = self.body(x)
        return self.category(body), self.value(body), x


@MODELS.about(
    inputs={"image": (None, 2, 3), "facts": {"age": (None, 1), "size": (None, 2)}},
    graph="""
        input_age       Input         (None, 1)
        input_size      Input         (None, 2)
        input_image     Input         (None, 2, 3)
        flatten         Flatten       (None, 6)      <- input_image
        pixels          Dense         (None, 4)      <- flatten
        concatenate     concatenate   (None, 7)      <- pixels, input_age, input_size
        out             Dense         (None, 2)      <- concatenate
        output_logits   Output        (None, 2)      <- out
        output_pixels   Output        (None, 4)      <- pixels
    """,
)
class NestedInputs(Model):
    def __init__(self):
        super().__init__()
        self.flatten = layers.Flatten()
        self.pixels, self.out = layers.Dense(4, activation="relu"), layers.Dense(2)

    def call(self, inputs):
        facts = inputs["facts"]
        pixels = self.pixels(self.flatten(inputs["image"]))
        logits = self.out(ops.concatenate([pixels, facts["age"], facts["size"]], axis=1))
        return {"logits": logits, "pixels": pixels}


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
