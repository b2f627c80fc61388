"""All kinds of state that `call` may change: compiled steps equal eager ones, one capture serves, and a failing step changes nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pellucid
from pellucid import callbacks, layers, metrics, ops, random
from tests.training.twins import random_data

X, Y = random_data(11, (40, 4), (40, 1))
SIZES = [10, 7, 10]


class Broken(Exception):
    pass


class Stateful(pellucid.Model):
    """Each kind of state once; `scale` is read, written and read again in the same `call`."""

    def __init__(self):
        super().__init__(name="stateful")
        self.hidden, self.out = layers.Dense(6, activation="tanh"), layers.Dense(1)
        self.norm = layers.BatchNormalization(momentum=0.8)
        self.drops = [layers.Dropout(0.2, seed=1), layers.GaussianDropout(0.2, seed=2), layers.AlphaDropout(0.2, seed=3)]
        self.noise = layers.GaussianNoise(0.1, seed=4)
        self.seed = random.SeedGenerator(5)
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False, name="steps")
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False, name="scale")
        self.size = metrics.Mean(name="size")

    def call(self, x, training=None):
        self.steps.assign(self.steps + 1)
        y = self.norm(self.hidden(x), training=training) * self.scale
        for drop in self.drops:
            y = drop(y, training=training)
        y = self.noise(y, training=training) + 0.1 * random.normal((6,), seed=self.seed)
        self.scale.assign(0.9 * self.scale + 0.1 * ops.mean(ops.abs(y)))
        y = y * self.scale + 0.01 * self.steps
        self.size.update_state(ops.mean(ops.abs(y)))
        self.add_loss(0.1 * ops.mean(ops.square(y)))
        return self.out(y)


class Own(Stateful):
    def train_step(self, data):
        return super().train_step(data)


class Loss(pellucid.losses.Loss):
    broken = False

    def call(self, y_true, y_pred):
        if self.broken:
            raise Broken("in the loss")
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


def model_of(make, eagerly):
    pellucid.utils.set_random_seed(8)
    model = make()
    model.build((None, 4))
    model.compile(pellucid.optimizers.Adam(0.05), Loss(), run_eagerly=eagerly)
    model.optimizer.build(model.trainable_variables)
    return model


def state(model):
    return {v.path: v.numpy() for v in (*model.variables, *model.size.variables, *model.optimizer.variables)}


def assert_equal(one, other, exactly):
    assert one.keys() == other.keys()
    for path in one:
        np.testing.assert_allclose(one[path], other[path], *((0, 0) if exactly else (2e-4, 1e-5)), err_msg=path)


def batches():
    starts = np.cumsum([0, *SIZES])
    return [(X[a:b], Y[a:b]) for a, b in itertools.pairwise(starts)]


@pytest.mark.parametrize("make", [Stateful, pytest.param(Own, marks=pytest.mark.slow)])
def test_compiled_steps_change_state_as_eager_ones_at_every_batch_size(make):
    compiled, eager = (model_of(make, eagerly) for eagerly in (False, True))
    first = state(compiled)
    assert_equal(first, state(eager), exactly=True)
    for x, y in batches():
        logs = [model.train_on_batch(x, y, return_dict=True) for model in (compiled, eager)]
        np.testing.assert_allclose(list(logs[0].values()), list(logs[1].values()), rtol=1e-4)
        assert_equal(state(compiled), state(eager), exactly=False)
    for x, y in batches()[:2]:  # in the other mode
        logs = [model.test_on_batch(x, y, return_dict=True) for model in (compiled, eager)]
        np.testing.assert_allclose(list(logs[0].values()), list(logs[1].values()), rtol=1e-4)
        assert_equal(state(compiled), state(eager), exactly=False)
    np.testing.assert_allclose(
        compiled.predict(X, batch_size=10, verbose=0), eager.predict(X, batch_size=10, verbose=0), rtol=1e-3, atol=1e-4
    )
    assert_equal(state(compiled), state(eager), exactly=False)
    assert compiled.ledger.call_count == 1
    assert int(compiled.steps) == len(SIZES) + 2 + 4
    unchanged = [path for path, value in state(compiled).items() if np.array_equal(value, first[path])]
    assert unchanged == ["adam/learning_rate"]


def in_the_loss(model):
    model.loss.broken = True
    model.fit(X, Y, batch_size=10, verbose=0)


def in_the_data(model):
    model.fit(((X[:10, :3], Y[:10]) for _ in range(2)), verbose=0)


def in_a_callback(model):
    def fail(batch, logs):
        raise Broken("in a callback")

    model.fit(X, Y, batch_size=10, verbose=0, callbacks=[callbacks.LambdaCallback(on_train_batch_begin=fail)])


@pytest.mark.parametrize("make", [Stateful, Own])
@pytest.mark.parametrize("eagerly", [False, True])
def test_a_failing_step_changes_no_state_of_any_kind(make, eagerly):
    model = model_of(make, eagerly)
    model.train_on_batch(*batches()[0])
    model.reset_metrics()  # as `fit` does when an epoch begins
    before = state(model)
    for fail in (in_the_loss, in_the_data, in_a_callback):
        with pytest.raises((Broken, pellucid.ShapeError)):
            fail(model)
        model.loss.broken = False
        assert_equal(state(model), before, exactly=True)
    assert np.isfinite(model.train_on_batch(*batches()[0])).all()
    assert int(model.steps) == 2
