"""Layers give Keras's numbers, in eager code and captured, at any batch size."""

import itertools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from tests.training.twins import weights_of

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(4, 6)).astype("float32")
SERIES = RANDOM.normal(size=(4, 3, 5)).astype("float32")
IMAGES = RANDOM.normal(size=(2, 3, 4, 2)).astype("float32")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}

# name: how to make the layer in either library, its inputs
LAYERS = {
    "Dense": (lambda k: k.layers.Dense(3), TABLE),
    "Dense relu": (lambda k: k.layers.Dense(3, activation="relu", bias_initializer="ones"), TABLE),
    "Dense without bias, in time": (lambda k: k.layers.Dense(2, use_bias=False), SERIES),
    "Dense in four dimensions": (lambda k: k.layers.Dense(3, activation="tanh"), IMAGES),
    "Dense softmax in time": (lambda k: k.layers.Dense(3, activation="softmax"), SERIES),
    "Dense softmax over time": (lambda k: k.layers.Dense(1, activation=lambda y: k.ops.softmax(y, axis=1)), SERIES),
    "Activation": (lambda k: k.layers.Activation("gelu"), TABLE),
    "Activation of a function": (lambda k: k.layers.Activation(k.ops.tanh), TABLE),
    "ReLU": (lambda k: k.layers.ReLU(), TABLE),
    "ReLU 6": (lambda k: k.layers.ReLU(max_value=6.0), 10 * TABLE),
    "ReLU with a bound": (lambda k: k.layers.ReLU(max_value=0.5), TABLE),
    "ReLU with a slope": (lambda k: k.layers.ReLU(negative_slope=0.1), TABLE),
    "ReLU with a threshold": (lambda k: k.layers.ReLU(threshold=0.3), TABLE),
    "ReLU with everything": (lambda k: k.layers.ReLU(max_value=0.9, negative_slope=0.2, threshold=0.1), TABLE),
    "Softmax": (lambda k: k.layers.Softmax(), TABLE),
    "Softmax over time": (lambda k: k.layers.Softmax(axis=1), SERIES),
    "Identity": (lambda k: k.layers.Identity(), SERIES),
    "Flatten": (lambda k: k.layers.Flatten(), IMAGES),
    "Flatten a table": (lambda k: k.layers.Flatten(), TABLE),
    "Flatten numbers": (lambda k: k.layers.Flatten(), TABLE[:, 0]),
    "Reshape": (lambda k: k.layers.Reshape((2, 3)), TABLE),
    "Reshape -1": (lambda k: k.layers.Reshape((-1, 2)), TABLE),
    "Reshape to numbers": (lambda k: k.layers.Reshape((-1,)), SERIES),
    "Concatenate": (lambda k: k.layers.Concatenate(), [TABLE, TABLE[:, :2], TABLE]),
    "Concatenate in time": (lambda k: k.layers.Concatenate(axis=1), [SERIES, SERIES[:, :1]]),
    "Add": (lambda k: k.layers.Add(), [TABLE, 2 * TABLE, TABLE**2]),
    "Add that broadcasts": (lambda k: k.layers.Add(), [SERIES, SERIES[:, :1]]),
    "Dropout": (lambda k: k.layers.Dropout(0.5), TABLE),
    "AlphaDropout": (lambda k: k.layers.AlphaDropout(0.5), TABLE),
    "GaussianDropout": (lambda k: k.layers.GaussianDropout(0.5), TABLE),
    "GaussianNoise": (lambda k: k.layers.GaussianNoise(0.5), TABLE),
    "SpatialDropout1D": (lambda k: k.layers.SpatialDropout1D(0.5), SERIES),
    "SpatialDropout2D": (lambda k: k.layers.SpatialDropout2D(0.5), IMAGES),
    "SpatialDropout3D": (lambda k: k.layers.SpatialDropout3D(0.5), IMAGES[:, None]),
    "BatchNormalization": (lambda k: k.layers.BatchNormalization(), TABLE),
    "BatchNormalization of axis 1": (lambda k: k.layers.BatchNormalization(axis=1), IMAGES),
    "BatchNormalization, options": (
        lambda k: k.layers.BatchNormalization(
            momentum=0.6, epsilon=0.1, center=False, gamma_initializer="ones", moving_variance_initializer="ones"
        ),
        SERIES,
    ),
    "BatchNormalization, no scale": (lambda k: k.layers.BatchNormalization(scale=False, beta_initializer="ones"), TABLE),
    "Normalization, given": (lambda k: k.layers.Normalization(mean=[1.0] * 6, variance=[4.0] * 6), TABLE),
    "Normalization, numbers": (lambda k: k.layers.Normalization(axis=None, mean=1.0, variance=4.0), TABLE),
    "Normalization, inverted": (lambda k: k.layers.Normalization(mean=[1.0] * 6, variance=[4.0] * 6, invert=True), TABLE),
}


def given(x):
    return [jnp.asarray(a) for a in x] if isinstance(x, list) else jnp.asarray(x)


@pytest.fixture
def pair(request):
    """(ours, theirs, inputs): built, with equal weights that are not the initial ones."""
    make, x = LAYERS[request.param]
    ours, theirs = make(pellucid), make(keras)
    ours(given(x))
    theirs(given(x))
    if not isinstance(ours, layers.Normalization):
        weights = [RANDOM.uniform(0.5, 1.5, w.shape).astype("float32") for w in ours.weights]
        ours.set_weights(weights)
        theirs.set_weights(weights + weights_of(theirs)[len(weights) :])  # Keras's Dropout has a seed among its weights
    return ours, theirs, x


@pytest.mark.parametrize("pair", LAYERS, indirect=True)
def test_outputs_are_those_of_keras(pair):
    ours, theirs, x = pair
    np.testing.assert_allclose(ours(given(x)), theirs(given(x)), **CLOSE)


@pytest.mark.parametrize("pair", [n for n in LAYERS if n.startswith("BatchNorm")], indirect=True)
def test_batch_statistics_are_those_of_keras(pair):
    ours, theirs, x = pair
    np.testing.assert_allclose(ours(given(x), training=True), theirs(given(x), training=True), **CLOSE)
    for a, b in zip(weights_of(ours), weights_of(theirs), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@pytest.mark.parametrize("name", LAYERS)
def test_captured_once_it_computes_the_same_at_any_batch_size(name):
    make, x = LAYERS[name]

    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.layer = make(pellucid)

        def call(self, inputs):
            return self.layer(inputs)

    model = Model()
    graph = model.capture(x)
    rows = len(x[0] if isinstance(x, list) else x)
    some = jax.tree.map(lambda a: jnp.asarray(np.concatenate([a, a])), x)  # not the size of the capture
    outputs = graph.run(some, False, 2 * rows)[0]
    np.testing.assert_allclose(outputs[:rows], model.layer(given(x)), **CLOSE)
    assert graph.outputs == (None, *outputs.shape[1:]) and len(outputs) == 2 * rows
    assert model.ledger.call_count == 1


@pytest.mark.parametrize("name", [n for n in LAYERS if "function" not in n and "over time" not in n])
def test_a_config_makes_an_equal_layer(name):
    make, x = LAYERS[name]
    layer = make(pellucid)
    copy = type(layer).from_config(layer.get_config())
    assert type(copy) is type(layer) and copy.name == layer.name and copy.get_config() == layer.get_config()
    given_back = layer(given(x)), copy(given(x))
    assert [w.shape for w in copy.weights] == [w.shape for w in layer.weights]
    if not any(w.name == "kernel" for w in layer.weights):  # kernels are drawn
        np.testing.assert_array_equal(*given_back)


def test_every_layer_is_in_the_table():
    classes = {n for n in layers.__all__ if isinstance(getattr(layers, n), type)} - {"Layer"}
    assert classes == {type(make(pellucid)).__name__ for make, _ in LAYERS.values()}


def test_concatenate_and_add_as_functions():
    np.testing.assert_array_equal(layers.concatenate([TABLE, TABLE], axis=0), np.concatenate([TABLE, TABLE]))
    np.testing.assert_array_equal(layers.add([TABLE, TABLE]), 2 * TABLE)


WRONG = {
    "Dense of other features": (lambda: twice(layers.Dense(2), TABLE, TABLE[:, :3]), ["6 features", "(4, 3)"]),
    "Dense of numbers": (lambda: layers.Dense(2)(TABLE[:, 0]), ["Dense", "(4,)"]),
    "Reshape to another size": (lambda: layers.Reshape((4, 4))(TABLE), ["(4, 4)", "(6,)"]),
    "Concatenate of one array": (lambda: layers.Concatenate()(TABLE), ["list"]),
    "Add of one array": (lambda: layers.Add()(TABLE), ["list"]),
    "Dropout of everything": (lambda: layers.Dropout(1.2), ["rate=1.2"]),
    "Normalization of half": (lambda: layers.Normalization(mean=1.0), ["mean", "variance"]),
    "Normalization of strings": (lambda: layers.Normalization().adapt(np.array([["a"]])), ["adapt"]),
    "Normalization of nothing": (lambda: layers.Normalization().adapt(TABLE[:0]), ["adapt", "(0, 6)"]),
    "Dense of no units": (lambda: layers.Dense(-1), ["units=-1"]),
}


def twice(layer, first, second):
    layer(first)
    layer(second)


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case):
    wrong, words = WRONG[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        wrong()
    message = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert all(word in message for word in words), message


# ---- Dropout ----


def test_dropout_zeroes_its_share_and_keeps_the_mean():
    x = np.ones((200, 500), "float32")
    for rate in (0.1, 0.5, 0.9):
        y = np.asarray(layers.Dropout(rate, seed=1)(x, training=True))
        share = np.mean(y == 0)
        assert abs(share - rate) < 5 * np.sqrt(rate * (1 - rate) / x.size)  # five standard deviations
        np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("training", [False, None])
def test_dropout_does_nothing_outside_of_training(training):
    np.testing.assert_array_equal(layers.Dropout(0.9)(TABLE, training=training), TABLE)
    np.testing.assert_array_equal(layers.Dropout(0)(TABLE, training=True), TABLE)


def test_dropout_masks_are_independent_of_each_other():
    x = np.ones((1, 400), "float32")
    a, b = layers.Dropout(0.5), layers.Dropout(0.5)
    masks = [np.asarray(layer(x, training=True)) != 0 for layer in (a, a, b, b)]
    for one, other in itertools.combinations(masks, 2):
        assert 0.4 < np.mean(one == other) < 0.6


def test_dropout_noise_shape_shares_a_mask():
    y = np.asarray(layers.Dropout(0.5, noise_shape=(None, 1, None), seed=2)(np.ones((8, 5, 6), "float32"), training=True))
    assert all(np.array_equal(y[:, 0], y[:, i]) for i in range(5)) and 0 < np.mean(y == 0) < 1
    assert not np.array_equal(y[0, 0], y[1, 0])


@pytest.mark.parametrize("steps_per_execution", [1, 8])
def test_dropout_draws_anew_in_every_step_of_a_program(steps_per_execution, capsys):
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.drop, self.scale = layers.Dropout(0.5), pellucid.Variable(1.0)

        def call(self, inputs):
            y = self.drop(inputs)
            pellucid.print(y)
            return y * self.scale

    x = np.ones((8, 12), "float32")
    model = Model()
    model.compile(optimizer="sgd", loss="mse", steps_per_execution=steps_per_execution)
    model.fit(x, x, batch_size=1, verbose=0)
    assert len(set(capsys.readouterr().out.replace("\n ", "").splitlines())) == 8


# ---- Normalization ----

ADAPTED = {
    "columns": ({}, TABLE),
    "everything": ({"axis": None}, TABLE),
    "the last of three axes": ({}, SERIES),
    "two axes": ({"axis": (1, 2)}, SERIES),
    "axis 1": ({"axis": 1}, SERIES),
    "whole numbers": ({}, (10 * TABLE).astype("int64")),
    "64 bits": ({}, 1e3 + TABLE.astype("float64")),
    "inverted": ({"invert": True}, TABLE),
}


@pytest.mark.parametrize("case", ADAPTED)
def test_adapted_statistics_are_those_of_keras(case):
    options, data = ADAPTED[case]
    ours, theirs = layers.Normalization(**options), keras.layers.Normalization(**options)
    ours.adapt(data)
    theirs.adapt(data)
    np.testing.assert_allclose(ours.mean, np.squeeze(theirs.mean).reshape(ours.mean.shape), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.variance, np.squeeze(theirs.variance).reshape(ours.variance.shape), rtol=1e-4, atol=1e-6)
    x = data.astype("float32")
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-3, atol=1e-3)


def test_adapting_again_forgets_the_first_data_and_needs_no_new_capture():
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.norm = layers.Normalization()

        def call(self, inputs):
            return self.norm(inputs)

    model = Model()
    model.norm.adapt(5 + TABLE)
    model.predict(TABLE, verbose=0)
    model.norm.adapt(3 * TABLE)
    out = model.predict(3 * TABLE, verbose=0)
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, rtol=1e-5)
    assert model.ledger.call_count == 1 and model.trainable_weights == []


def test_normalization_of_a_constant_column_is_finite():
    layer = layers.Normalization()
    layer.adapt(np.full((5, 1), 3.0))
    np.testing.assert_array_equal(layer(np.full((2, 1), 3.0, "float32")), 0)
