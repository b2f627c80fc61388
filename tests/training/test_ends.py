"""What an optimizer does when an epoch or the training ends: the tail of accumulated gradients, and moving averages."""

import numpy as np
import pytest

import pellucid
from pellucid import layers, optimizers
from tests.training.twins import random_data

X, Y = random_data(0, (50, 3), (50, 1))


class Line(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(x)


class Own(Line):
    def train_step(self, data):
        return super().train_step(data)


def fitted(cls, optimizer, eagerly=False, **options):
    model = cls()
    model.build((None, 3))
    model.out.kernel.assign(np.ones((3, 1)))
    model.compile(optimizer, "mse", run_eagerly=eagerly)
    model.fit(X, Y, batch_size=10, shuffle=False, verbose=0, **options)
    return model


@pytest.mark.parametrize("cls", [Line, Own])
@pytest.mark.parametrize("eagerly", [False, True])
def test_the_tail_of_accumulated_gradients_is_applied_with_its_own_count(cls, eagerly):
    """Five batches in rounds of three: the second update of an epoch is the mean over two batches."""
    model = fitted(cls, optimizers.SGD(0.1, gradient_accumulation_steps=3), eagerly, epochs=2)
    kernel, bias = np.ones((3, 1)), np.zeros(1)
    for _ in range(2):
        for rows in (slice(0, 30), slice(30, 50)):
            error = X[rows] @ kernel + bias - Y[rows]
            kernel, bias = kernel - 0.2 * X[rows].T @ error / len(error), bias - 0.2 * error.mean(0)
    np.testing.assert_allclose(model.out.kernel.numpy(), kernel, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.out.bias.numpy(), bias, rtol=1e-4, atol=1e-6)


def test_freezing_in_between_leaves_the_frozen_as_they_are():
    model = fitted(Line, optimizers.SGD(0.1, gradient_accumulation_steps=3))
    model.out.trainable = False
    before = model.out.kernel.numpy()
    model.fit(X, Y, batch_size=10, verbose=0)
    np.testing.assert_array_equal(model.out.kernel.numpy(), before)


@pytest.mark.parametrize("cls", [Line, Own])
def test_a_scaled_loss_gives_the_same_updates_and_logs(cls):
    plain, scaled = (fitted(cls, optimizers.SGD(0.1, loss_scale_factor=factor), epochs=2) for factor in (None, 128.0))
    np.testing.assert_allclose(scaled.out.kernel.numpy(), plain.out.kernel.numpy(), rtol=1e-5)
    np.testing.assert_allclose(scaled.history.history["loss"], plain.history.history["loss"], rtol=1e-5)


def test_moving_averages_are_the_weights_when_training_has_ended():
    import keras

    class Theirs(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(1)

        def call(self, x):
            return self.out(x)

    theirs = Theirs()
    theirs(X)
    theirs.out.kernel.assign(np.ones((3, 1)))
    theirs.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    theirs.fit(X, Y, batch_size=10, shuffle=False, verbose=0, epochs=2)
    for cls in (Line, Own):
        model = fitted(cls, optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), epochs=2)
        np.testing.assert_allclose(model.out.kernel.numpy(), np.asarray(theirs.out.kernel), rtol=1e-4)
