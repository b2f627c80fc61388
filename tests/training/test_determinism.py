"""The same seed gives the same bits: weights, shuffles, dropout, losses."""

import functools
import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import pellucid
from pellucid import initializers, layers
from tests.training.twins import random_data

ROOT = pathlib.Path(__file__).parents[2]


class Noisy(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(5, activation="relu")
        self.drop = layers.Dropout(0.4)
        self.out = layers.Dense(1, kernel_initializer="he_normal")

    def call(self, inputs):
        return self.out(self.drop(self.hidden(inputs)))


@functools.cache
def first_fingerprint():
    return fingerprint()


def fingerprint(seed=0):
    """A hash of everything that one training yields."""
    pellucid.utils.set_random_seed(seed)
    x, y = random_data(9, (40, 3), (40, 1))
    model = Noisy()
    model.compile(optimizer=pellucid.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0).history
    arrays = [*history.values(), *model.get_weights(), model.predict(x, verbose=0), np.random.rand(3)]
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest()


def test_equal_seeds_repeat_bit_by_bit_in_one_process():
    assert first_fingerprint() == fingerprint() != fingerprint(1)


def test_equal_seeds_repeat_bit_by_bit_in_another_process():
    script = "from tests.training.test_determinism import fingerprint; print(fingerprint())"
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "77"}
    other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert other.stdout.strip() == first_fingerprint()


def test_dropout_and_shuffle_do_not_disturb_each_other():
    """A model with another number of dropout layers sees its rows in the same order."""
    orders = []
    for dropouts in (0, 2):
        pellucid.utils.set_random_seed(5)
        for _ in range(dropouts):
            layers.Dropout(0.5)
        orders.append([layers.Dense(2).kernel_initializer((2, 2)).tolist(), pellucid.random.uniform((3,)).tolist()])
    assert orders[0] == orders[1]


# ---- The same weights, whatever came first ----


class Straight(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = layers.Dense(3), layers.Dense(1)

    def call(self, inputs):
        return self.b(self.a(inputs))


class CalledInAnotherOrder(Straight):
    def __init__(self):
        super().__init__()
        self.b, self.a = layers.Dense(1), layers.Dense(3)


class Own(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal")
        self.v = self.add_weight(shape=(self.units,), initializer="random_uniform")

    def call(self, inputs):
        return inputs @ self.w + self.v


class DrawsInBuild(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.b, self.a = Own(1), Own(3)

    def call(self, inputs):
        return self.b(self.a(inputs))


class SharesAnInitializer(pellucid.Model):
    def __init__(self):
        super().__init__()
        shared = initializers.RandomNormal()
        self.b, self.a = layers.Dense(1, kernel_initializer=shared), layers.Dense(3, kernel_initializer=shared)

    def call(self, inputs):
        return self.b(self.a(inputs))


class NeedsAKnownBatchSize(DrawsInBuild):
    def call(self, inputs):
        y = self.b(self.a(inputs))
        return y + 0 * sum(range(inputs.shape[0]))


WAYS = {
    "build": lambda model, x, y: model.build((None, 3)),
    "call": lambda model, x, y: model(x),
    "fit": lambda model, x, y: model.fit(x, y, verbose=0),
    "predict": lambda model, x, y: model.predict(x, verbose=0),
}
KINDS = [
    Straight,
    CalledInAnotherOrder,
    DrawsInBuild,
    SharesAnInitializer,
    NeedsAKnownBatchSize,
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_weights_whatever_came_first(kind):
    x, y = random_data(0, (4, 3), (4, 1))
    weights = {}
    for way, use in WAYS.items():
        pellucid.utils.set_random_seed(11)
        model = kind()
        model.compile(optimizer=pellucid.optimizers.SGD(0.0), loss="mse")
        use(model, x, y)
        weights[way] = [w.tolist() for w in model.get_weights()]
    assert weights["call"] == weights["build"] == weights["fit"] == weights["predict"]


def test_layers_made_one_after_the_other_differ():
    a, b = layers.Dense(3), layers.Dense(3)
    assert not np.array_equal(a.kernel_initializer((3, 3)), b.kernel_initializer((3, 3)))


def test_a_seed_of_its_own_makes_dropout_repeat():
    x = np.ones((4, 8), "float32")
    first, second = (np.asarray(layers.Dropout(0.5, seed=3)(x, training=True)) for _ in range(2))
    assert np.array_equal(first, second)
