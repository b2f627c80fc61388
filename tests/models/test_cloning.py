"""`clone_model`, `get_config` and `from_config`, `to_json` and `model_from_json`: the same structure, new weights."""

from __future__ import annotations

import json

import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest

import pellucid
from pellucid import Input, Model, Sequential, layers, ops
from pellucid.models import clone_model, model_from_json
from tests.training.twins import random_data


class Mixed(layers.Layer):
    def __init__(self, units, **layer_args):
        super().__init__(**layer_args)
        self.units, self.dense = units, layers.Dense(units)

    def call(self, x, scale=1.0):
        return jnp.tanh(self.dense(x)) * scale


class Net(Model):
    def __init__(self, units=4, activation="relu", name=None):
        super().__init__(name=name)
        self.hidden, self.drop, self.out = layers.Dense(units, activation), layers.Dropout(0.5), layers.Dense(1)

    def call(self, x, training=None):
        return self.out(self.drop(self.hidden(x), training=training))


def functional():
    x = Input((3,), name="x")
    shared = layers.Dense(3, name="shared")
    h = layers.BatchNormalization(name="norm")(shared(shared(x)))
    h = Mixed(4, name="mixed")(h, scale=2.0)
    return Model(x, {"a": layers.Dense(1, name="a")(h), "b": ops.mean(h * h, axis=-1)}, name="net")


def row(first=()):
    return Sequential([*first, layers.Dense(4, name="d"), Mixed(2, name="m")], name="row")


def subclassed():
    model = Net(5, "tanh", name="mine")
    model.build((None, 3))
    return model


def lazy():
    model = row()
    model.build((None, 3))
    return model


MODELS = {"functional": functional, "Sequential": lambda: row([Input((3,))]), "lazy Sequential": lazy, "subclassed": subclassed}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
WAYS = {
    "clone": clone_model,
    "config": lambda m: type(m).from_config(m.get_config()),
    "json": lambda m: model_from_json(m.to_json(), {"Net": Net, "Mixed": Mixed}),
}


@each_model
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_copy_has_the_same_structure_and_other_weights(make, way):
    model = make()
    copy = way(model)
    x, _ = random_data(0, (7, 3), (7, 1))
    if not copy.built:
        copy.build((None, 3))
    assert type(copy) is type(model) and copy.name == model.name
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    assert not set(map(id, copy.weights)) & set(map(id, model.weights))
    kernels = [i for i, w in enumerate(model.weights) if w.name == "kernel"]
    assert all(not np.array_equal(copy.get_weights()[i], model.get_weights()[i]) for i in kernels)
    copy.set_weights(model.get_weights())
    ours, theirs = copy.predict(x, verbose=0), model.predict(x, verbose=0)
    for name in theirs if isinstance(theirs, dict) else [...]:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6)
    assert [n.path for n in copy.graph.nodes] == [n.path for n in model.graph.nodes]
    if not isinstance(model, Net):
        assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]


def test_a_copy_trains_by_itself():
    model = functional()
    copy = clone_model(model)
    before = model.get_weights()
    x, a, b = random_data(0, (20, 3), (20, 1), (20, 1))
    copy.compile("sgd", "mse")
    assert not model.compiled
    copy.fit(x, {"a": a, "b": b[:, 0]}, verbose=0)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("make", [functional, MODELS["Sequential"]])
def test_layers_and_calls_can_be_made_by_functions(make):
    seen = []

    def wider(layer):
        seen.append(layer.name)
        return layers.Dense(6, name=layer.name) if layer.name == "d" else type(layer).from_config(layer.get_config())

    copy = clone_model(make(), clone_function=wider)
    assert seen == [layer.name for layer in make().layers]
    if isinstance(copy, Sequential):
        assert copy.get_layer("d").output.shape == (None, 6)


def test_a_call_function_connects_the_new_layers():
    called = []

    def call(layer, *args, **kwargs):
        called.append((layer.name, kwargs))
        return layer(*args, **{**kwargs, "scale": 5.0}) if layer.name == "mixed" else layer(*args, **kwargs)

    model = functional()
    copy = clone_model(model, call_function=call)
    assert called == [("shared", {}), ("shared", {}), ("norm", {}), ("mixed", {"scale": 2.0}), ("a", {})]
    copy.set_weights(model.get_weights())
    x, _ = random_data(0, (7, 3), (7, 1))
    np.testing.assert_allclose(copy.predict(x, verbose=0)["b"], model.predict(x, verbose=0)["b"] * (5 / 2) ** 2, rtol=1e-5)


@pytest.mark.parametrize("make", [functional, MODELS["Sequential"], row])
def test_a_copy_can_begin_with_other_tensors(make):
    outer = Input((6,))
    copy = clone_model(make(), input_tensors=layers.Dense(3, name="before")(outer))
    whole = Model(outer, copy.outputs)
    assert "before" in [layer.name for layer in whole.layers]
    x, _ = random_data(0, (5, 6), (5, 1))
    whole.predict(x, verbose=0)
    assert copy.input_shape == (None, 3)


def test_a_frozen_layer_stays_frozen():
    model = functional()
    model.get_layer("shared").trainable = False
    assert len(clone_model(model).trainable_weights) == len(model.trainable_weights) < len(functional().trainable_weights)


def test_a_compiled_model_is_compiled_again():
    model = Sequential([Input((3,)), layers.Dense(2)])
    model.compile(pellucid.optimizers.Adam(0.125), pellucid.losses.Huber(2.0), metrics=["mae"])
    again = model_from_json(model.to_json(indent=1))
    assert again.compiled and float(np.asarray(again.optimizer.learning_rate)) == 0.125 and again.loss.delta == 2.0
    again.set_weights(model.get_weights())
    x, y = random_data(0, (20, 3), (20, 2))
    a, b = (m.fit(x, y, epochs=2, shuffle=False, verbose=0).history for m in (model, again))
    assert a == b and "mae" in a


def test_a_transformation_of_optax_is_left_out_with_a_warning():
    model = Sequential([Input((3,)), layers.Dense(2)])
    model.compile(optax.sgd(0.1), "mse")
    with pytest.warns(UserWarning, match=r"optimizer of 'sequential' is a transformation of optax.*Call compile on the model"):
        text = model.to_json()
    assert not model_from_json(text).compiled


def test_what_to_json_writes_is_what_keras_writes():
    make = lambda k: k.Sequential([k.Input((3,), name="x"), k.layers.Dense(2, name="d")], name="s")
    ours, theirs = (json.loads(make(k).to_json()) for k in (pellucid, keras))
    keys = ("module", "class_name", "registered_name")
    assert [ours[k] for k in keys] == [theirs[k] for k in keys] and ours["config"]["name"] == "s"
    (x, d), (x_theirs, d_theirs) = ours["config"]["layers"], theirs["config"]["layers"]
    assert x == x_theirs and [d[k] for k in keys] == [d_theirs[k] for k in keys]
    assert d_theirs["config"] | d["config"] | {"dtype": 0} == d_theirs["config"] | {"dtype": 0}


# ---- Errors ----


def test_wrong_use():
    with pytest.raises(TypeError, match="clone_model: model=3; expected a model"):
        clone_model(3)
    with pytest.raises(TypeError, match="clone_function returned 3 for layer 'shared'; expected a layer"):
        clone_model(functional(), clone_function=lambda layer: 3)
    with pytest.raises(ValueError, match=r"input_tensors=\[<.*are 2; expected 1, for the inputs of 'net'"):
        clone_model(functional(), input_tensors=[Input((3,)), Input((3,))])
    with pytest.raises(ValueError, match="input_tensors has 7; expected symbolic tensors"):
        clone_model(functional(), input_tensors=7)
    with pytest.raises(ValueError, match="call_function=.* is for models of symbolic tensors; 'row' is a Sequential"):
        clone_model(row(), call_function=lambda layer, *args: layer(*args))
    with pytest.raises(
        ValueError, match=r"clone_function=.* is for models of symbolic tensors and Sequential; 'net.*made by the code of Net"
    ):
        clone_model(Net(), clone_function=lambda layer: layer)
    model = subclassed()
    with pytest.raises(ValueError, match=r"made of inner values of 'mine'.*Clone that model"):
        clone_model(Model(model.inputs, model.hidden.output))


def test_a_model_whose_arguments_are_no_plain_data():
    class Odd(Model):
        def __init__(self, thing):
            super().__init__()
            self.thing = thing

        def call(self, x):
            return x

    with pytest.raises(NotImplementedError, match=r"Odd: the argument thing=<object.*cannot be written as plain data"):
        Odd(object()).get_config()
    with pytest.raises(NotImplementedError, match="Odd: the argument thing"):
        clone_model(Odd(object()))
