"""Schedules give Keras's learning rates, in plain code and in compiled steps."""

import jax
import keras
import numpy as np
import pytest

import pellucid
from pellucid.optimizers import schedules

STEPS = [*range(0, 64), 99, 100, 101, 250, 1000, 54321]

SCHEDULES = {
    "exponential": lambda s: s.ExponentialDecay(0.1, 20, 0.6),
    "exponential, staircase": lambda s: s.ExponentialDecay(0.1, 20, 0.6, staircase=True),
    "inverse time": lambda s: s.InverseTimeDecay(0.1, 20, 0.6),
    "inverse time, staircase": lambda s: s.InverseTimeDecay(0.1, decay_steps=20, decay_rate=0.6, staircase=True),
    "polynomial": lambda s: s.PolynomialDecay(0.1, 50),
    "polynomial, power": lambda s: s.PolynomialDecay(0.1, 50, end_learning_rate=0.01, power=2.5),
    "polynomial, cycle": lambda s: s.PolynomialDecay(0.1, 20, 0.01, power=0.5, cycle=True),
    "cosine": lambda s: s.CosineDecay(0.1, 50),
    "cosine, alpha": lambda s: s.CosineDecay(0.1, 50, alpha=0.2),
    "cosine, warmup": lambda s: s.CosineDecay(0.01, 40, alpha=0.1, warmup_target=0.2, warmup_steps=15),
    "cosine, a target without warmup": lambda s: s.CosineDecay(0.01, 40, warmup_target=0.2),
    "restarts": lambda s: s.CosineDecayRestarts(0.1, 10),
    "restarts of one length": lambda s: s.CosineDecayRestarts(0.1, 10, t_mul=1.0, m_mul=0.5),
    "restarts, options": lambda s: s.CosineDecayRestarts(0.1, 7, t_mul=1.5, m_mul=0.9, alpha=0.05),
    "piecewise": lambda s: s.PiecewiseConstantDecay([5, 20, 60], [1.0, 0.5, 0.25, 0.125]),
    "piecewise, one boundary": lambda s: s.PiecewiseConstantDecay([5], [1.0, 0.5]),
    "piecewise, between steps": lambda s: s.PiecewiseConstantDecay([5.5, 20.0], [1.0, 0.5, 0.1]),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_are_those_of_keras(schedule):
    ours, theirs = SCHEDULES[schedule](schedules), SCHEDULES[schedule](keras.optimizers.schedules)
    rates, expected = ([float(rate(np.int32(step))) for step in STEPS] for rate in (jax.jit(ours), jax.jit(theirs)))
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-7)
    for step in (3, np.int32(3), pellucid.Variable(np.int32(3))):
        assert float(ours(step)) == pytest.approx(expected[3], rel=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_configs_are_those_of_keras_and_make_equal_schedules(schedule):
    made = SCHEDULES[schedule](schedules)
    assert made.get_config() == SCHEDULES[schedule](keras.optimizers.schedules).get_config()
    for copy in (
        type(made).from_config(made.get_config()),
        schedules.deserialize(schedules.serialize(made)),
        schedules.get(schedules.serialize(made)),
    ):
        assert type(copy) is type(made) and [float(copy(s)) for s in (0, 9, 30)] == [float(made(s)) for s in (0, 9, 30)]


def line():
    model = pellucid.Sequential([pellucid.layers.Dense(1, kernel_initializer="zeros", use_bias=False)])
    model.build((None, 1))
    return model


def test_a_schedule_counts_the_steps_of_fit():
    model, x = line(), np.ones((6, 1), "float32")
    model.compile(
        optimizer=pellucid.optimizers.SGD(schedules.PiecewiseConstantDecay([1, 3], [1.0, 10.0, 100.0])), loss=lambda t, p: -p[:, 0]
    )
    model.fit(x, x, batch_size=1, verbose=0)
    assert model.get_weights()[0].item() == 2 * 1.0 + 2 * 10.0 + 2 * 100.0
    assert float(model.optimizer.learning_rate) == 100.0 and len(model.ledger.programs) == 1


def test_a_number_that_a_schedule_holds_can_be_assigned():
    model, x = line(), np.ones((2, 1), "float32")
    schedule = schedules.ExponentialDecay(1.0, 10, 1.0)
    model.compile(optimizer=pellucid.optimizers.SGD(schedule), loss=lambda t, p: -p[:, 0])
    model.fit(x, x, batch_size=1, verbose=0)
    schedule.initial_learning_rate = 0.25
    model.fit(x, x, batch_size=1, verbose=0)
    assert model.get_weights()[0].item() == 2.0 + 0.5


class Own(schedules.LearningRateSchedule):
    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first / (step + 1)


def test_a_users_schedule_trains_and_is_saved():
    optimizer, w = pellucid.optimizers.SGD(Own(1.0)), pellucid.Variable(0.0)
    for _ in range(3):
        optimizer.apply([np.float32(-1)], [w])
    assert float(w) == pytest.approx(1 + 1 / 2 + 1 / 3)
    copy = pellucid.optimizers.deserialize(pellucid.optimizers.serialize(optimizer), {"Own": Own})
    assert isinstance(copy.schedule, Own) and copy.schedule.first == 1.0
    assert schedules.deserialize({"class_name": "Own", "config": {"first": 2.0}}, {"Own": Own}).first == 2.0


def test_a_callable_may_take_the_step_or_nothing():
    w = pellucid.Variable(0.0)
    for rate, expected in ((lambda: 0.5, 0.5), (lambda step: 0.25 * (step + 1), 0.25), (lambda step=3: step * 1.0, 0.0)):
        optimizer = pellucid.optimizers.SGD(rate)
        assert float(optimizer.learning_rate) == expected
        w.assign(0.0)
        optimizer.apply([np.float32(-1)], [w])
        assert float(w) == expected


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), ["ExponentialDecay", "decay_steps=0"]),
        (lambda: schedules.ExponentialDecay(0.1, 5, -0.5), ["decay_rate=-0.5"]),
        (lambda: schedules.InverseTimeDecay(0.1, -3, 0.5), ["InverseTimeDecay", "decay_steps=-3"]),
        (lambda: schedules.InverseTimeDecay(0.1, 3, -0.5), ["InverseTimeDecay", "decay_rate=-0.5"]),
        (lambda: schedules.PolynomialDecay(0.1, 0), ["PolynomialDecay", "decay_steps=0"]),
        (lambda: schedules.CosineDecay(0.1, 0), ["CosineDecay", "decay_steps=0"]),
        (lambda: schedules.CosineDecay(0.1, 5, warmup_target=1.0, warmup_steps=-1), ["warmup_steps=-1"]),
        (lambda: schedules.CosineDecayRestarts(0.1, 0), ["CosineDecayRestarts", "first_decay_steps=0"]),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5), ["t_mul=0.5"]),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, m_mul=-1.0), ["m_mul=-1.0"]),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), ["2 boundaries and 2 values"]),
        (lambda: schedules.PiecewiseConstantDecay([3, 2], [0.1, 0.2, 0.3]), ["[3, 2]", "ascend"]),
        (lambda: schedules.deserialize({"class_name": "CosinDecay", "config": {}}), ["'CosinDecay'", "'CosineDecay'"]),
        (lambda: schedules.LearningRateSchedule()(0), ["LearningRateSchedule", "__call__"]),
        (lambda: Forgetful(1.0).get_config(), ["Forgetful", "'first'", "get_config"]),
    ],
)
def test_what_does_not_fit_is_named(make, words):
    with pytest.raises((ValueError, NotImplementedError)) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


class Forgetful(schedules.LearningRateSchedule):
    def __init__(self, first):
        self._first = first
