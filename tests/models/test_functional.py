"""Models made of symbolic tensors, and Sequential: Keras is the oracle of values, a tally of how often `call` runs."""

from __future__ import annotations

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import Input, Model, Sequential, layers, ops
from pellucid.core.symbolic import SymbolicTensor
from pellucid.errors import CaptureError
from tests.training.twins import random_data

pytestmark = pytest.mark.filterwarnings("ignore:`.*runs` changed")  # by the tally


class Tallies(layers.Layer):
    """A layer of a user's own, that counts its runs of `call`."""

    def __init__(self, units, **layer_args):
        super().__init__(**layer_args)
        self.units, self.runs = units, []

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units))

    def call(self, x, training=None):
        self.runs.append(1)
        return jnp.tanh(x @ self.w)


def weights_of(keras_model):
    return [np.asarray(w.value) for w in keras_model.weights]


def two_inputs(k):
    """The same model, written once, for Keras and for Pellucid."""
    wide, deep = k.Input((5,), name="wide"), k.Input((6,), name="deep")
    h = k.layers.Dense(8, activation="relu", name="hidden")(deep)
    h = k.layers.BatchNormalization(name="norm")(h)
    h = (h * 2 + 1) / 3 - h[:, ::-1]
    joined = k.layers.concatenate([wide, h, k.ops.mean(h, axis=-1, keepdims=True)])
    return k.Model([wide, deep], {"main": k.layers.Dense(1, name="head")(joined), "aux": k.layers.Dense(2, name="side")(h)})


def test_a_functional_model_computes_what_keras_computes():
    ours, theirs = two_inputs(pellucid), two_inputs(keras)
    x = list(random_data(0, (50, 5), (50, 6)))
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    ours.set_weights([w + 0.1 for w in weights_of(theirs)])
    theirs.set_weights([w + 0.1 for w in weights_of(theirs)])
    expected = theirs.predict(x, verbose=0)
    for values in (ours.predict(x, verbose=0), ours(x), ours.predict({"wide": x[0], "deep": x[1]}, verbose=0)):
        for name in ("main", "aux"):
            np.testing.assert_allclose(values[name], expected[name], atol=1e-5)
    assert ours.output_shape == {"main": (None, 1), "aux": (None, 2)} and ours.input_shape == [(None, 5), (None, 6)]


def test_call_of_a_users_layer_runs_once_where_it_is_connected():
    x = Input((3,))
    layer = Tallies(4, name="mine")
    model = Model(x, layers.Dense(1, name="out")(layers.Dropout(0.5, name="drop")(layer(x))))
    a, y = random_data(0, (50, 3), (50, 1))
    model.compile(optimizer="sgd", loss="mse")
    model.fit(a, y, batch_size=16, epochs=2, validation_data=(a[:9], y[:9]), verbose=0)
    model.predict(a[:7], verbose=0)
    assert len(layer.runs) == 1
    assert [n.path for n in model.graph.nodes] == ["mine", "mine/matmul", "mine/tanh", "drop", "out"]
    lines = {n.path: n.source.function.split(".")[-1] for n in model.graph.nodes}
    here = "test_call_of_a_users_layer_runs_once_where_it_is_connected"
    assert lines == {"mine": here, "mine/matmul": "call", "mine/tanh": "call", "drop": here, "out": here}


def test_models_are_layers_of_models_and_layers_are_shared():
    inner_in = Input((4,))
    encoder = Model(inner_in, layers.Dense(3, activation="tanh", name="code")(inner_in), name="encoder")
    a, b = Input((4,)), Input((4,))
    siamese = Model([a, b], ops.sum((encoder(a) - encoder(b)) ** 2, axis=-1))
    x, z = random_data(0, (10, 4), (10, 4))
    code = lambda v: np.tanh(v @ encoder.get_layer("code").kernel.numpy())
    np.testing.assert_allclose(siamese.predict([x, z], verbose=0), ((code(x) - code(z)) ** 2).sum(-1), rtol=1e-5)
    assert [n.path for n in siamese.graph.calls] == ["encoder", "encoder/code", "encoder#2", "encoder#2/code"]
    assert len(siamese.weights) == 2


def test_inner_outputs_of_a_functional_model():
    x = Input((3,))
    h = layers.Dense(4, name="hidden")(x)
    model = Model(x, layers.Dense(1)(h))
    part = Model(model.inputs, h)
    data = random_data(0, (5, 3), (5, 1))[0]
    np.testing.assert_allclose(part.predict(data, verbose=0), model.activations(data, "hidden"), rtol=1e-6)


def test_a_changed_attribute_of_a_connected_layer_is_noticed():
    class Scaled(layers.Layer):
        factor = 2.0

        def call(self, x):
            return x * self.factor

    x = Input((3,))
    layer = Scaled()
    model = Model(x, layer(x))
    ones = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(model.predict(ones, verbose=0), ones * 2)
    layer.factor = 3.0
    np.testing.assert_array_equal(model.predict(ones, verbose=0), ones * 3)


def test_a_connected_layer_that_branches_on_the_mode_is_captured_for_each():
    class Doubles(layers.Layer):
        def call(self, x, training=None):
            if training:
                return x * 2
            return x

    x = Input((3,))
    model = Model(x, Doubles()(x))
    ones = np.ones((2, 3), "float32")
    for training in (True, False):
        graph = model.capture((None, 3), training=training)
        np.testing.assert_array_equal(graph.run(ones, training)[0], ones * (1 + training))
        assert graph.training is training and graph.training_place.line == Doubles.call.__code__.co_firstlineno + 1


# ---- Sequential ----


def test_sequential_computes_what_keras_computes():
    build = lambda k: k.Sequential([k.Input((3,)), k.layers.Dense(4, activation="relu"), k.layers.Dropout(0.5), k.layers.Dense(2)])
    ours, theirs = build(pellucid), build(keras)
    ours.set_weights(weights_of(theirs))
    x, _ = random_data(0, (9, 3), (9, 1))
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-6)
    assert ours.count_params() == theirs.count_params() and len(ours.layers) == len(theirs.layers)


def test_sequential_is_built_by_data_or_by_its_input():
    early, late = Sequential([Input((3,)), layers.Dense(4)]), Sequential([layers.Dense(4)])
    assert early.built and len(early.weights) == 2 and not late.weights
    late.build((None, 3))
    assert [w.shape for w in late.weights] == [(3, 4), (4,)]


def test_layers_are_added_and_taken_away():
    model = Sequential([Input((3,))])
    first = Tallies(4)
    model.add(first)
    model.add(layers.Dense(1))
    assert model.output_shape == (None, 1)
    model.pop()
    assert model.output_shape == (None, 4) and model.layers == [first]
    x, y = random_data(0, (20, 3), (20, 5))
    model.add(layers.Dense(5, name="last"))
    model.compile(optimizer="sgd", loss="mse")
    model.fit(x, y, verbose=0)
    assert model.predict(x, verbose=0).shape == (20, 5) and len(first.runs) == 1
    assert model.get_layer("last") is model.get_layer(index=1)


# ---- Bad use ----


def test_bad_use_is_told():
    x = Input((3,))
    with pytest.raises(CaptureError, match=r"has no value yet.*pellucid\.ops"):
        jnp.tanh(x)
    with pytest.raises(CaptureError, match="has no value yet"):
        bool(x > 0)
    with pytest.raises(ValueError, match=r"depend on <SymbolicTensor.*not among the inputs"):
        Model(Input((3,)), layers.Dense(1)(x))
    with pytest.raises(TypeError, match="outputs=3; expected symbolic tensors"):
        Model(x, 3)
    with pytest.raises(ValueError, match="expected both"):
        Model(inputs=x)
    with pytest.raises(ValueError, match="two layers are named 'same'"):
        Model(x, layers.Dense(1, name="same")(layers.Dense(2, name="same")(x)))
    with pytest.raises(TypeError, match="add got 3; expected a layer"):
        Sequential([3])
    with pytest.raises(ValueError, match="expected one of them"):
        Input()
    with pytest.raises(ValueError, match=r"no layer 'hiden'.*hidden"):
        Model(x, layers.Dense(1, name="hidden")(x)).get_layer("hiden")
    assert isinstance(layers.Dense(1)(x), SymbolicTensor)
