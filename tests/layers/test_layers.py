"""What is particular to some layers: wrong arguments, random draws, adapted statistics."""

import itertools

import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(4, 6)).astype("float32")
SERIES = RANDOM.normal(size=(4, 3, 5)).astype("float32")


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
    "Normalization with both": (lambda: layers.Normalization(mean=1.0, variance=2.0).adapt(TABLE), ["adapt", "were given"]),
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
