"""How layers are held: lists, dicts, dataclasses, models in models, mixins, inheritance. Truths are written by hand."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from pellucid import Model, layers, ops
from tests.glassbox.checker import Truths, check_graph, check_use

MODELS = Truths()


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input            Input    (None, 4)
        body             Dense    (None, 6)    <- input
        heads/age        Dense    (None, 1)    <- body
        heads/income     Dense    (None, 2)    <- body
        output_age       Output   (None, 1)    <- heads/age
        output_income    Output   (None, 2)    <- heads/income
    """,
    fit="fast",
)
class HeadsInADict(Model):
    def __init__(self):
        super().__init__()
        self.body = layers.Dense(6, activation="relu")
        self.heads = {"age": layers.Dense(1), "income": layers.Dense(2)}

    def call(self, x):
        h = self.body(x)
        return {name: head(h) for name, head in self.heads.items()}


@dataclasses.dataclass
class Tower:
    first: layers.Layer
    second: layers.Layer
    scale: float = 0.5


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input           Input      (None, 4)
        tower/first     Dense      (None, 6)    <- input
        tower/second    Dense      (None, 2)    <- tower/first
        multiply        multiply   (None, 2)    <- tower/second
        output          Output     (None, 2)    <- multiply
    """,
)
class LayersInADataclass(Model):
    def __init__(self):
        super().__init__()
        self.tower = Tower(layers.Dense(6, activation="relu"), layers.Dense(2))

    def call(self, x):
        tower = self.tower
        return tower.scale * tower.second(tower.first(x))


class Block(layers.Layer):
    """A block as in residual networks: two layers and a way around them."""

    def __init__(self, units):
        super().__init__()
        self.expand, self.project = layers.Dense(2 * units, activation="relu"), layers.Dense(units)

    def call(self, x):
        return x + self.project(self.expand(x))


class Backbone(Model):
    def __init__(self, units, depth):
        super().__init__()
        self.stem = layers.Dense(units)
        self.blocks = [Block(units) for _ in range(depth)]

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x


@MODELS.about(
    inputs=(None, 5),
    graph="""
        input                        Input      (None, 5)
        backbone                     Backbone   (None, 3)    <- input
        backbone/stem                Dense      (None, 3)    <- input
        backbone/blocks/0            Block      (None, 3)    <- backbone/stem
        backbone/blocks/0/expand     Dense      (None, 6)    <- backbone/stem
        backbone/blocks/0/project    Dense      (None, 3)    <- backbone/blocks/0/expand
        backbone/blocks/0/add        add        (None, 3)    <- backbone/stem, backbone/blocks/0/project
        backbone/blocks/1            Block      (None, 3)    <- backbone/blocks/0
        backbone/blocks/1/expand     Dense      (None, 6)    <- backbone/blocks/0
        backbone/blocks/1/project    Dense      (None, 3)    <- backbone/blocks/1/expand
        backbone/blocks/1/add        add        (None, 3)    <- backbone/blocks/0, backbone/blocks/1/project
        head                         Dense      (None, 2)    <- backbone
        output                       Output     (None, 2)    <- head
    """,
    fit="fast",
)
class ModelInAModel(Model):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone(3, 2)
        self.head = layers.Dense(2)

    def call(self, x):
        return self.head(self.backbone(x))


@MODELS.about(
    inputs=(None, 5),
    graph="""
        input                    Input    (None, 5)
        backbone/stem            Dense    (None, 3)    <- input      -- the backbone itself is not called
        backbone/blocks/1        Block    (None, 3)    <- backbone/stem
        backbone/blocks/1/expand     Dense    (None, 6)    <- backbone/stem
        backbone/blocks/1/project    Dense    (None, 3)    <- backbone/blocks/1/expand
        backbone/blocks/1/add        add      (None, 3)    <- backbone/stem, backbone/blocks/1/project
        stem                     Dense    (None, 2)    <- backbone/blocks/1
        output                   Output   (None, 2)    <- stem
    """,
    uncalled=["backbone", "backbone/blocks/0", "backbone/blocks/0/expand", "backbone/blocks/0/project"],
)
class PartsOfABackbone(Model):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone(3, 2)
        self.stem = layers.Dense(2)  # the same name as a layer of the backbone

    def call(self, x):
        features = self.backbone.blocks[1](self.backbone.stem(x))
        return self.stem(features)


class Projector(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense, self.other = layers.Dense(3), layers.Dense(4)

    def project(self, x):
        return ops.tanh(self.dense(x))

    def call(self, x):
        return self.other(self.project(x))


@MODELS.about(
    inputs=(None, 4),
    graph="""
        input              Input       (None, 4)
        projector/dense    Dense       (None, 3)    <- input        -- the helper is called by the model itself
        tanh               tanh        (None, 3)    <- projector/dense
        projector          Projector   (None, 4)    <- input
        projector/dense#2  Dense       (None, 3)    <- input
        projector/tanh     tanh        (None, 3)    <- projector/dense#2
        projector/other    Dense       (None, 4)    <- projector/tanh
        mean               mean        (None, 1)    <- projector
        add                add         (None, 3)    <- tanh, mean
        output             Output      (None, 3)    <- add
    """,
)
class HelperOfALayer(Model):
    def __init__(self):
        super().__init__()
        self.projector = Projector()

    def call(self, x):
        projected = self.projector.project(x)
        return projected + self.projector(x).mean(axis=-1, keepdims=True)


class Wrapper(layers.Layer):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return jax.nn.relu(self.inner(x))


class Holder(layers.Layer):
    def __init__(self, tied):
        super().__init__()
        self.tied = tied

    def call(self, x):
        return -self.tied(x)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input         Input      (None, 3)
        a             Wrapper    (None, 3)    <- input
        a/inner       Dense      (None, 3)    <- input
        a/relu        relu       (None, 3)    <- a/inner
        b             Holder     (None, 3)    <- a
        b/tied        Dense      (None, 3)    <- a            -- the same layer, under the name that `b` has for it
        b/negative    negative   (None, 3)    <- b/tied
        own           Dense      (None, 3)    <- b            -- and under the model's
        output        Output     (None, 3)    <- own
    """,
)
class OneLayerInTwoBlocks(Model):
    def __init__(self):
        super().__init__()
        dense = layers.Dense(3)
        self.a, self.b = Wrapper(dense), Holder(dense)
        self.own = dense

    def call(self, x):
        return self.own(self.b(self.a(x)))


class Base(Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(4, activation="relu")
        self.out = layers.Dense(2)

    def call(self, x):
        return self.out(self.hidden(x))


class Temperature:
    """A mixin that knows nothing of layers."""

    temperature = 2.0

    def cooled(self, logits):
        return ops.softmax(logits / self.temperature)


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input      Input     (None, 3)
        norm       BatchNormalization    (None, 3)    <- input
        hidden     Dense     (None, 4)    <- norm
        out        Dense     (None, 2)    <- hidden
        divide     divide    (None, 2)    <- out
        softmax    softmax   (None, 2)    <- divide
        output     Output    (None, 2)    <- softmax
    """,
    fit="fast",
)
class MixinAndInheritance(Temperature, Base):
    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization()

    def call(self, x):
        return self.cooled(super().call(self.norm(x)))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input      Input    (None, 3)
        embed      Dense    (None, 4)    <- input     -- the name that was given, not the attribute
        layer_0    Dense    (None, 4)    <- embed
        layer_1    Dense    (None, 4)    <- layer_0
        logits     Dense    (None, 2)    <- layer_1
        output     Output   (None, 2)    <- logits
    """,
)
class NamesAndAttributesByNumber(Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(4, name="embed")
        for i in range(2):
            setattr(self, f"layer_{i}", layers.Dense(4))
        self.last = layers.Dense(2, name="logits")

    def call(self, x):
        x = self.first(x)
        for i in range(2):
            x = getattr(self, f"layer_{i}")(x)
        return self.last(x)


class Stack(layers.Layer):
    """What Sequential does, by hand."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input                    Input    (None, 3)
        stacks/0/left            Stack    (None, 2)    <- input
        stacks/0/left/parts/0    Dense    (None, 4)    <- input
        stacks/0/left/parts/1    ReLU     (None, 4)    <- stacks/0/left/parts/0
        stacks/0/left/parts/2    Dense    (None, 2)    <- stacks/0/left/parts/1
        stacks/0/right           Stack    (None, 2)    <- input
        stacks/0/right/parts/0   Dense    (None, 2)    <- input
        maximum                  maximum  (None, 2)    <- stacks/0/left, stacks/0/right
        output                   Output   (None, 2)    <- maximum
    """,
)
class ContainersInContainers(Model):
    def __init__(self):
        super().__init__()
        self.stacks = [{"left": Stack(layers.Dense(4), layers.ReLU(), layers.Dense(2)), "right": Stack(layers.Dense(2))}]

    def call(self, x):
        pair = self.stacks[0]
        return jnp.maximum(pair["left"](x), pair["right"](x))


@MODELS.about(
    inputs=(None, 3),
    graph="""
        input     Input    (None, 3)
        hidden    Dense    (None, 6)    <- input
        out       Dense    (None, 3)    <- hidden
        output    Output   (None, 3)    <- out
    """,
)
class LayersMadeInBuild(Model):
    def build(self, input_shape):
        self.hidden = layers.Dense(2 * input_shape[-1], activation="relu")
        self.out = layers.Dense(input_shape[-1])
        super().build(input_shape)

    def call(self, x):
        return self.out(self.hidden(x))


@pytest.mark.parametrize("truth", MODELS.graphs())
def test_the_graph_is_what_a_reader_of_the_model_expects(truth):
    check_graph(truth)


@pytest.mark.parametrize("truth", MODELS.uses())
def test_call_runs_as_often_as_a_reader_expects(truth):
    check_use(truth)
