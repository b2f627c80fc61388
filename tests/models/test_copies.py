"""Copies of models by ``copy`` and ``pickle``: equal, with weights and an optimizer's state of their own."""

from __future__ import annotations

import copy
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import Input, Model, Sequential, layers, ops, optimizers
from tests.cases import some_slow
from tests.training.twins import random_data

X, Y = random_data(3, (12, 3), (12, 1))

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(4, activation="relu"), layers.BatchNormalization()]
        self.scale = pellucid.Variable(np.ones(4, "float32"), name="scale")

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x, training=training) if isinstance(part, layers.BatchNormalization) else part(x)
        return x * self.scale


class Net(Model):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.again = {"shared": self.block.parts[0]}
        self.drop, self.out = layers.Dropout(0.2, seed=1), layers.Dense(1)

    def call(self, x, training=None):
        return self.out(self.drop(self.block(x, training=training), training=training))


def functional():
    x = Input((3,), name="x")
    h = layers.Dense(4, activation="tanh", name="hidden")(x)
    return Model(x, layers.Dense(1, name="out")(ops.relu(h * 2.0) + ops.concatenate([h[:, :2], h[:, 2:]], axis=-1)))


MODELS = {
    "subclassed": Net,
    "functional": functional,
    "sequential": lambda: Sequential([layers.Dense(4, activation="gelu"), layers.Dense(1)]),
    "sequential with an input": lambda: Sequential([Input((3,)), layers.Dense(4, activation="softmax"), layers.Dense(1)]),
}


def fit(model, **options):
    return model.fit(X, Y, **{"batch_size": 4, "epochs": 1, "shuffle": False, "verbose": 0, **options}).history["loss"]


def trained(make):
    model = make()
    model.compile(optimizer=optimizers.Adam(0.05, weight_decay=0.01), loss="mse", metrics=["mae"], max_captures=9)
    fit(model)
    return model


@pytest.mark.parametrize("copied", some_slow(COPIES, list(COPIES)[:1]))
@pytest.mark.parametrize("make", MODELS)
def test_a_copy_predicts_the_same_trains_on_alike_and_leaves_the_original_alone(make, copied):
    model, copied = trained(MODELS[make]), COPIES[copied]
    before = model.get_weights()
    other = copied(model)
    assert other.ledger.call_count == 0 and model.ledger.call_count == 1
    assert [v.path for v in other.weights] == [v.path for v in model.weights]
    assert not {v.number for v in other.variables} & {v.number for v in model.variables}
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    loss = fit(other)
    for one, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, now)
    assert other.optimizer is not model.optimizer and int(other.optimizer.iterations) == 6 and int(model.optimizer.iterations) == 3
    np.testing.assert_allclose(loss, fit(model), rtol=1e-6)  # Adam's moments and the generator's state went along
    for one, now in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, now, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copied_layer_leaves_its_model_behind(copied):
    model = trained(Net)
    layer = copied(model.block)
    assert layer.path == layer.name and model.block.path == "block"
    assert len(pickle.dumps(model.block)) < len(pickle.dumps(model)) / 2
    np.testing.assert_array_equal(layer(X), model.block(X))
    layer.scale.assign(np.zeros(4))
    assert model.block.scale.numpy().any()
    holder = Sequential([layer])
    assert layer.parts[0].kernel.path.endswith("parts/0/kernel") and holder.layers == [layer]


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_model_without_weights_and_one_that_is_not_compiled_can_be_copied(copied):
    other = copied(Net())
    assert not other.built and not other.compiled
    assert other(X).shape == (12, 1)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_layers_that_know_each_other_are_copied_once(copied):
    model = Net()
    model(X)
    model.out.parent = model
    other = copied(model)
    assert other.out.parent is other and other.again["shared"] is other.block.parts[0]
    np.testing.assert_array_equal(other(X), model(X))
    assert [v.path for v in other.weights] == [v.path for v in model.weights]


def test_a_copy_of_a_model_of_symbolic_tensors_can_be_taken_apart():
    model = functional()
    other = copy.deepcopy(model)
    inner = Model(other.inputs, other.get_layer("hidden").output)
    np.testing.assert_allclose(inner(X), jnp.tanh(X @ model.get_layer("hidden").kernel), rtol=1e-5)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
def test_a_copied_variable_is_its_own(dtype, copied):
    variable = pellucid.Variable(np.ones(3), dtype=dtype, trainable=False, name="mine")
    other = copied(variable)
    assert (other.name, other.dtype, other.trainable, other.shape) == ("mine", variable.dtype, False, (3,))
    other.assign(np.zeros(3))
    assert variable.numpy().all() and not other.numpy().any()
    drawn = pellucid.Variable(pellucid.initializers.RandomNormal(seed=1), (2,))
    np.testing.assert_array_equal(copied(drawn), drawn)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_model_of_inner_values_says_what_to_copy(copied):
    model = Net()
    model.build((None, 3))
    inner = Model(model.inputs, model.get_layer("block").output)
    with pytest.raises(TypeError, match=f"inner values of {model.name!r} cannot be copied or pickled.*Copy {model.name!r}"):
        copied(inner)
