"""Nothing lost: whatever fails, whenever, the weights are those of a step that was completed, and the model goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest

import pellucid
from pellucid import callbacks, layers, metrics, optimizers
from pellucid.training.programs import interrupts_held
from tests.training.twins import random_data

ROWS, SIZE, EPOCHS = 60, 10, 3
STEPS = ROWS // SIZE
X, Y = random_data(0, (ROWS, 4), (ROWS, 1))


class Broken(Exception):
    pass


class Net(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.norm = layers.Dense(6, activation="tanh"), layers.BatchNormalization(momentum=0.8)
        self.drop, self.out = layers.Dropout(0.2, seed=1), layers.Dense(1)
        self.broken = False

    def call(self, x, training=None):
        if self.broken:
            raise Broken("in call")
        return self.out(self.drop(self.norm(self.hidden(x), training=training), training=training))


class Fallible(metrics.Metric):
    broken = False

    def __init__(self):
        super().__init__("fallible")
        self.total = self.add_variable((), name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        if self.broken:
            raise Broken("in a metric")
        self.total.assign(self.total.value + abs(y_true - y_pred).mean())

    def result(self):
        return self.total.value


def loss_of_none(y_true, y_pred):
    return None


class Subject:
    """A model, its first state, and the states after each step of a training that nothing disturbs."""

    def __init__(self):
        self.model, self.metric, self.optimizer = Net(), Fallible(), optimizers.Adam(0.01)
        self.model.build((None, 4))
        self.compile()
        self.optimizer.build(self.model.trainable_variables)
        self.first = [v.numpy() for v in self.variables]
        self.states = [self.first]
        self.fit([callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: self.states.append(self.state()))])
        assert len(self.states) == EPOCHS * STEPS + 1

    def compile(self, loss="mse", **options):
        self.model.compile(self.optimizer, loss, metrics=[self.metric], **options)
        self.other = loss != "mse" or bool(options)

    @property
    def variables(self):
        return [*self.model.variables, *self.optimizer.variables]

    def state(self):
        return [v.numpy() for v in self.variables]

    def begin(self):
        for variable, value in zip(self.variables, self.first, strict=True):
            variable.assign(value)

    def fit(self, more=(), data=None, **options):
        if data is not None:
            return self.model.fit(data, epochs=EPOCHS, verbose=0, callbacks=list(more), **options)
        return self.model.fit(X, Y, SIZE, EPOCHS, 0, list(more), shuffle=False, validation_data=(X, Y), **options)

    def check(self):
        """The weights are those after a whole number of steps, and the model predicts and trains."""
        now = self.state()
        near = [max(np.abs(a - b).max() for a, b in zip(now, state, strict=True) if a.dtype == "float32") for state in self.states]
        step = int(np.argmin(near))
        assert near[step] < 1e-3, f"not the state after any step: {near}"
        self.model.broken = self.metric.broken = False
        if self.other:
            self.compile()
        assert np.isfinite(self.model.predict(X, verbose=0)).all()
        assert np.isfinite(self.model.fit(X, Y, SIZE, verbose=0).history["loss"]).all()
        return step


# ---- What fails, at a random place ----


HOOKS = ["on_train_begin", "on_epoch_begin", "on_epoch_end", "on_test_begin", "on_test_end", "on_train_batch_begin", "on_train_batch_end"]


def in_a_callback(subject, rng, error=None):
    hook = HOOKS[rng.integers(len(HOOKS))]
    often = 1 if hook == "on_train_begin" else EPOCHS * STEPS if "batch" in hook else EPOCHS
    name = hook.removeprefix("on_")
    error = error or Broken(f"in {hook}")
    at = [int(rng.integers(often))]

    def fail(*args):
        at[0] -= 1
        if at[0] < 0:
            raise error

    if name in ("test_begin", "test_end"):
        callback = type("Testing", (callbacks.Callback,), {hook: lambda self, logs=None: fail()})()
    else:
        callback = callbacks.LambdaCallback(**{hook: fail})
    subject.fit([callback])


def interrupted_in_a_callback(subject, rng):
    in_a_callback(subject, rng, KeyboardInterrupt())


def interrupted_at_any_moment(subject, rng):
    timer = threading.Timer(rng.random() * 0.02, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    late = time.monotonic() + 30
    try:
        while True:
            with interrupts_held():  # else the weights are partly the first ones: of this test's own making
                subject.begin()
            subject.fit()
            assert time.monotonic() < late, "the interrupt was lost"
    finally:
        timer.join()


def batches(rng, spoil):
    at = int(rng.integers(EPOCHS * STEPS))
    for i in range(EPOCHS * STEPS):
        rows = slice(i % STEPS * SIZE, (i % STEPS + 1) * SIZE)
        yield spoil(X[rows], Y[rows]) if i == at else (X[rows], Y[rows])


def in_the_data(subject, rng):
    def spoil(x, y):
        raise Broken("in the data")

    subject.fit(data=batches(rng, spoil), steps_per_epoch=STEPS)


def of_other_features(subject, rng):
    subject.fit(data=batches(rng, lambda x, y: (x[:, :3], y)), steps_per_epoch=STEPS)


def of_other_rows(subject, rng):
    subject.fit(data=batches(rng, lambda x, y: (x, y[:-1])), steps_per_epoch=STEPS)


def of_text(subject, rng):
    subject.fit(data=batches(rng, lambda x, y: (np.array(["a"] * SIZE), y)), steps_per_epoch=STEPS)


def flips(subject, rng, what):
    at = [int(rng.integers(EPOCHS * STEPS))]

    def flip(batch, logs):
        at[0] -= 1
        if at[0] < 0:
            what.broken = True

    subject.fit([callbacks.LambdaCallback(on_train_batch_end=flip)])


def in_call(subject, rng):
    flips(subject, rng, subject.model)
    raise Broken("noticed when the training had ended")


def in_a_metric(subject, rng):
    flips(subject, rng, subject.metric)
    raise Broken("noticed when the training had ended")


def in_the_loss(subject, rng):
    subject.compile(loss_of_none)
    subject.fit()


def not_finite(subject, rng):
    subject.compile(nan="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pellucid.DataWarning)
        subject.fit(data=batches(rng, lambda x, y: (x, y * np.nan)), steps_per_epoch=STEPS)


FAILURES = [
    in_a_callback,
    interrupted_in_a_callback,
    interrupted_at_any_moment,
    in_the_data,
    of_other_features,
    of_other_rows,
    of_text,
    in_call,
    in_a_metric,
    in_the_loss,
    not_finite,
]


@pytest.fixture(scope="module")
def subject():
    return Subject()


# some of them in every run of the tests, all of them where the slow ones run
@pytest.mark.parametrize("number", [pytest.param(n, marks=pytest.mark.slow) if n >= 8 else n for n in range(100)])
def test_a_failure_at_a_random_place_leaves_weights_of_a_completed_step(number, subject):
    rng = np.random.default_rng(number)
    fail = FAILURES[number % len(FAILURES)]
    subject.begin()
    with pytest.raises((Exception, KeyboardInterrupt)) as caught:
        fail(subject, rng)
    assert not isinstance(caught.value, AssertionError)
    subject.check()
    if fail in (in_a_callback, in_the_data):
        assert isinstance(caught.value, Broken)
    if fail is interrupted_at_any_moment:
        assert isinstance(caught.value, KeyboardInterrupt)
