"""Configs go from Keras to Pellucid and back: models made of them compute the same with the same weights."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, saving
from pellucid.core.symbolic import apply
from tests.saving.test_round_trips import CLASSES, NEEDED
from tests.training.twins import random_data


def sequential(k):
    row = [k.layers.Dense(6, activation="relu"), k.layers.BatchNormalization(), k.layers.Dropout(0.5, seed=3), k.layers.Flatten()]
    more = [k.layers.Reshape((3, 2)), k.layers.ReLU(6.0), k.layers.Softmax(), k.layers.Activation("tanh"), k.layers.Identity()]
    return k.Sequential([k.Input((4,), name="x"), *row, *more], name="row")


def functional(k):
    wide, deep = k.Input((4,), name="wide"), k.Input((6,), name="deep")
    h = k.layers.Dense(8, activation="relu", name="hidden", kernel_initializer=k.initializers.HeNormal(seed=2))(deep)
    h = k.layers.Dropout(0.3, name="drop")(k.layers.BatchNormalization(name="norm")(h))
    joined = k.layers.Add(name="sum")([k.layers.Dense(8, use_bias=False, name="side")(wide), h])
    shared = k.layers.Dense(8, name="shared")
    joined = k.layers.Concatenate(name="join")([shared(joined), shared(shared(h))])
    return k.Model([wide, deep], {"main": k.layers.Dense(1, name="main")(joined), "aux": [k.layers.Dense(2, name="aux")(h)]}, name="m")


def with_operations(k):
    x = k.Input((6,), name="x")
    h = (x * 2 + 1) / 3 - x[:, ::-1] ** 2
    h = k.ops.clip(k.ops.reshape(k.ops.reshape(h, (-1, 3, 2)), (-1, 6)), -1, 1)
    h = k.ops.maximum(h, 0.1) + k.ops.expand_dims(x, 1)[:, 0]
    h = k.ops.sum(k.ops.softmax(k.ops.stack([h, x], axis=1), axis=1) * 3, axis=1)
    h = k.ops.where(h > 0.5, k.ops.relu(h), -h) + k.ops.transpose(k.ops.transpose(x, (1, 0)))
    h = k.ops.cast(k.ops.tile(k.ops.abs(h), (1, 2)), "float32")
    return k.Model(x, k.layers.Dense(2)(k.ops.concatenate([h, k.ops.mean(h, axis=-1, keepdims=True)], axis=-1)))


def nested(k):
    inner_in = k.Input((4,), name="i")
    inner = k.Model(inner_in, k.layers.Dense(3, name="code")(inner_in), name="encoder")
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    row = k.Sequential([k.Input((3,), name="s"), k.layers.Dense(2, name="r")], name="row")
    return k.Model([a, b], row(k.layers.Add(name="plus")([inner(a), inner(b)])), name="siamese")


MODELS = {"Sequential": (sequential, 1), "functional": (functional, 2), "operations": (with_operations, 3), "nested": (nested, 4)}
INPUTS = {1: [(9, 4)], 2: [(9, 4), (9, 6)], 3: [(9, 6)], 4: [(9, 4), (9, 4)]}
each_model = pytest.mark.parametrize("make, number", MODELS.values(), ids=MODELS)


def weights_like(model):
    generator = np.random.default_rng(0)
    return [generator.uniform(0.1, 1.0, w.shape).astype("float32") for w in model.weights if "seed_generator" not in w.path]


def assert_same_outputs(made, original, number):
    x = random_data(1, *INPUTS[number])
    x = x if len(x) > 1 else x[0]
    made.set_weights(weights_like(made))
    original.set_weights(weights_like(original))
    ours, theirs = (keras.tree.flatten(m.predict(x, verbose=0)) for m in (made, original))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@each_model
def test_a_config_of_keras_makes_a_model_here(make, number):
    theirs = make(keras)
    ours = pellucid.models.model_from_json(theirs.to_json())
    assert type(ours) is (pellucid.Sequential if number == 1 else pellucid.Model) and ours.name == theirs.name
    if not isinstance(theirs.output_shape, list):  # Keras forgets the keys of its nested outputs there
        assert ours.output_shape == theirs.output_shape
    assert_same_outputs(ours, theirs, number)


@each_model
def test_a_config_of_ours_makes_a_model_in_keras(make, number):
    ours = make(pellucid)
    theirs = keras.models.model_from_json(ours.to_json())
    assert isinstance(theirs, keras.Sequential if number == 1 else keras.Model) and ours.name == theirs.name
    assert_same_outputs(theirs, ours, number)


@each_model
def test_a_config_of_ours_makes_a_model_here(make, number):
    ours = make(pellucid)
    again = pellucid.models.model_from_json(ours.to_json())
    assert json.loads(again.to_json()) == json.loads(ours.to_json())
    assert_same_outputs(again, ours, number)
    direct = type(ours).from_config(ours.get_config())
    assert json.loads(direct.to_json()) == json.loads(ours.to_json())
    assert_same_outputs(direct, ours, number)


@pytest.mark.parametrize(
    "cls", [c for c in CLASSES if hasattr(getattr(keras, c.__module__.split(".")[1]), c.__name__)], ids=lambda c: c.__qualname__
)
def test_each_class_is_read_by_the_other_library(cls):
    theirs = getattr(getattr(keras, cls.__module__.split(".")[1]), cls.__name__)
    if cls.__name__ == "MeanMetricWrapper":
        args = {k: (k.losses.huber,) for k in (keras, pellucid)}
    else:
        args = dict.fromkeys((keras, pellucid), NEEDED.get(cls.__name__, ()))
    ours = saving.deserialize_keras_object(keras.saving.serialize_keras_object(theirs(*args[keras])))
    assert type(ours) is cls
    back = keras.saving.deserialize_keras_object(json.loads(json.dumps(saving.serialize_keras_object(cls(*args[pellucid])))))
    assert type(back) is theirs
    known = set(cls(*args[pellucid]).get_config())
    for name, value in back.get_config().items():  # not the other library's defaults: what ours said
        if name in known and isinstance(value, int | float | str) and name != "name":
            assert value == cls(*args[pellucid]).get_config()[name], name


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in Keras's optimizers
def test_a_compiled_model_of_keras_is_compiled_here():
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    theirs.compile(keras.optimizers.SGD(0.25), keras.losses.MeanSquaredError(), metrics=["mae", keras.metrics.RootMeanSquaredError()])
    ours = pellucid.models.model_from_json(theirs.to_json())
    ours.set_weights([np.asarray(w.value) for w in theirs.weights])
    x, y = random_data(0, (32, 3), (32, 2))
    assert type(ours.optimizer) is pellucid.optimizers.SGD
    a, b = (m.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history for m in (ours, theirs))
    assert set(a) == set(b)
    for name in b:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4)


# ---- Errors ----


def test_configs_that_cannot_be_read():
    config = functional(pellucid).get_config()
    broken = {**config, "layers": [entry for entry in config["layers"] if entry["name"] != "hidden"]}
    with pytest.raises(ValueError, match="The config calls 'norm' on output 0 of 'hidden', which it does not hold"):
        pellucid.Model.from_config(broken)
    with pytest.raises(ValueError, match=r"\['nowhere', 0, 0\] among its inputs or outputs"):
        pellucid.Model.from_config({**config, "output_layers": ["nowhere", 0, 0]})
    entry = {"module": "keras.src.ops.numpy", "class_name": "Bartlet", "config": {"name": "b"}, "name": "b", "inbound_nodes": []}
    with pytest.raises(ValueError, match="has the operation 'Bartlet', but pellucid.ops has no 'bartlet'"):
        pellucid.Model.from_config({**config, "layers": [*config["layers"], entry]})
    old = {**config["layers"][-1], "inbound_nodes": [[["join", 0, 0, {}]]]}
    with pytest.raises(ValueError, match="in the form of Keras 2; expected a config of Keras 3"):
        pellucid.Model.from_config({**config, "layers": [*config["layers"][:-1], old]})
    first = {**config["layers"][0], "config": {**config["layers"][0]["config"], "sparse": True}}
    with pytest.raises(ValueError, match="input 'wide' has sparse=True; expected a dense array"):
        pellucid.Model.from_config({**config, "layers": [first, *config["layers"][1:]]})


def test_models_that_cannot_be_written():
    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(2)

        def call(self, x):
            return self.hidden(x)

    net = Net()
    net.build((None, 3))
    with pytest.raises(NotImplementedError, match=r"inner values of 'net' has no config.*get_config of its own"):
        pellucid.Model(net.inputs, net.hidden.output).get_config()
    x = pellucid.Input((3,))
    with pytest.raises(NotImplementedError, match=r"function 'lookup' is none of pellucid\.ops.*Make a layer of it"):
        pellucid.Model(x, apply(lookup, (x,), {})).get_config()


def lookup(x):
    return x * 2
