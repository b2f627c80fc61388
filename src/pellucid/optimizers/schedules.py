"""Schedules: learning rates as functions of the step number."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from pellucid.core import dtypes
from pellucid.core.registry import Registry
from pellucid.core.serialization import CustomObjectScope, serialize_keras_object
from pellucid.optimizers.gradients import check_range

registry = Registry("learning rate schedule", home="pellucid.optimizers.schedules")


class LearningRateSchedule:
    """A learning rate that depends on the step number. Subclasses define ``__call__(step)``.

    Where ``__init__`` keeps its arguments as attributes of the same names, ``get_config`` need not be defined.

    Example:
        >>> import pellucid
        >>> class Harmonic(pellucid.optimizers.schedules.LearningRateSchedule):
        ...     def __init__(self, first):
        ...         self.first = first
        ...     def __call__(self, step):
        ...         return self.first / (step + 1)
        >>> optimizer = pellucid.optimizers.SGD(Harmonic(0.5))
        >>> float(optimizer.learning_rate), Harmonic(0.5).get_config()
        (0.5, {'first': 0.5})
    """

    def __call__(self, step: Any) -> Any:
        """The learning rate of a step.

        Args:
            step: its number from 0, a scalar array of ints; traced in a compiled step.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no __call__(step).")

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__`` that make an equal schedule."""
        names = [n for n in inspect.signature(type(self)).parameters if n not in ("args", "kwargs")]
        lost = [n for n in names if not hasattr(self, n)]
        if lost:
            raise NotImplementedError(f"{type(self).__name__} keeps no attribute {lost[0]!r}: define get_config() to say what to save.")
        return {n: getattr(self, n) for n in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """A schedule from what ``get_config`` gave."""
        return cls(**config)


def _check_steps(owner: str, **steps: Any) -> None:
    for name, value in steps.items():
        if not value > 0:
            raise ValueError(f"{owner}: {name}={value!r}; expected a number above zero.")


def _number(step: Any) -> Any:
    return jnp.asarray(step).astype(dtypes.wide_floatx())


@registry.named()
class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ^ (step / decay_steps)``.

    Args:
        initial_learning_rate: that of step 0.
        decay_steps: after so many steps the rate has been multiplied by ``decay_rate`` once.
        decay_rate: see there.
        staircase: whether the exponent is rounded down, so that the rate falls once in ``decay_steps``.
        name: kept for the config.

    Example:
        >>> import pellucid
        >>> float(pellucid.optimizers.schedules.ExponentialDecay(1.0, decay_steps=10, decay_rate=0.25)(5))
        0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ):
        _check_steps("ExponentialDecay", decay_steps=decay_steps)
        check_range("ExponentialDecay", 0, decay_rate=decay_rate)
        self.initial_learning_rate, self.decay_steps, self.decay_rate = initial_learning_rate, decay_steps, decay_rate
        self.staircase, self.name = staircase, name

    def __call__(self, step: Any) -> Any:
        exponent = _number(step) / self.decay_steps
        exponent = jnp.floor(exponent) if self.staircase else exponent
        return self.initial_learning_rate * jnp.power(self.decay_rate, exponent)


@registry.named()
class InverseTimeDecay(LearningRateSchedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Args:
        initial_learning_rate: that of step 0.
        decay_steps: unit of time.
        decay_rate: how fast the rate falls.
        staircase: whether the time is rounded down to whole units.
        name: kept for the config.

    Example:
        >>> import pellucid
        >>> float(pellucid.optimizers.schedules.InverseTimeDecay(1.0, decay_steps=10, decay_rate=2.0)(5))
        0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ):
        _check_steps("InverseTimeDecay", decay_steps=decay_steps)
        check_range("InverseTimeDecay", 0, decay_rate=decay_rate)
        self.initial_learning_rate, self.decay_steps, self.decay_rate = initial_learning_rate, decay_steps, decay_rate
        self.staircase, self.name = staircase, name

    def __call__(self, step: Any) -> Any:
        time = _number(step) / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * (jnp.floor(time) if self.staircase else time))


@registry.named()
class PolynomialDecay(LearningRateSchedule):
    """``(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps) ^ power + end_learning_rate``.

    Args:
        initial_learning_rate: that of step 0.
        decay_steps: number of steps to the end.
        end_learning_rate: the rate from there on.
        power: 1 for a straight line.
        cycle: whether the decay is stretched, beyond its end, to the next multiple of ``decay_steps``: the rate rises again then.
        name: kept for the config.

    Example:
        >>> import pellucid
        >>> schedule = pellucid.optimizers.schedules.PolynomialDecay(1.0, decay_steps=4, end_learning_rate=0.0)
        >>> [float(schedule(step)) for step in (0, 1, 4, 9)]
        [1.0, 0.75, 0.0, 0.0]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        _check_steps("PolynomialDecay", decay_steps=decay_steps)
        self.initial_learning_rate, self.decay_steps, self.end_learning_rate = initial_learning_rate, decay_steps, end_learning_rate
        self.power, self.cycle, self.name = power, cycle, name

    def __call__(self, step: Any) -> Any:
        step = _number(step)
        if self.cycle:
            share = step / (self.decay_steps * jnp.where(step == 0, 1.0, jnp.ceil(step / self.decay_steps)))
        else:
            share = jnp.minimum(step, self.decay_steps) / self.decay_steps
        return (self.initial_learning_rate - self.end_learning_rate) * jnp.power(1 - share, self.power) + self.end_learning_rate


@registry.named()
class CosineDecay(LearningRateSchedule):
    """Half a wave of a cosine, after a straight warmup: ``start * ((1 - alpha) * (1 + cos(pi * share)) / 2 + alpha)``.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Args:
        initial_learning_rate: that of step 0.
        decay_steps: number of steps from the start of the wave to its end.
        alpha: share of the start that is left at the end.
        name: kept for the config.
        warmup_target: the start of the wave, to which the rate rises; None for no warmup, which starts with the initial rate.
        warmup_steps: number of steps of the warmup.

    Example:
        >>> import pellucid
        >>> schedule = pellucid.optimizers.schedules.CosineDecay(0.0, decay_steps=4, warmup_target=1.0, warmup_steps=2)
        >>> [round(float(schedule(step)), 6) for step in (0, 1, 2, 4, 6)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        _check_steps("CosineDecay", decay_steps=decay_steps)
        check_range("CosineDecay", 0, warmup_steps=warmup_steps)
        self.initial_learning_rate, self.decay_steps, self.alpha, self.name = initial_learning_rate, decay_steps, alpha, name
        self.warmup_target, self.warmup_steps = warmup_target, warmup_steps

    def __call__(self, step: Any) -> Any:
        step = _number(step)
        if self.warmup_target is None:
            return self._wave(step, self.initial_learning_rate)
        wave = self._wave(step - self.warmup_steps, self.warmup_target)
        rise = (self.warmup_target - self.initial_learning_rate) / max(1, self.warmup_steps)
        return jnp.where(step < self.warmup_steps, rise * step + self.initial_learning_rate, wave)

    def _wave(self, step: Any, start: float) -> Any:
        share = jnp.minimum(step, self.decay_steps) / self.decay_steps
        return start * ((1 - self.alpha) * 0.5 * (1 + jnp.cos(math.pi * share)) + self.alpha)


@registry.named()
class CosineDecayRestarts(LearningRateSchedule):
    """Half waves of a cosine, each ``t_mul`` times as long and ``m_mul`` times as high as the one before.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Args:
        initial_learning_rate: that of step 0.
        first_decay_steps: number of steps of the first wave.
        t_mul: ratio of the lengths, at least 1.
        m_mul: ratio of the heights.
        alpha: share of the initial rate that is left at the end of a wave.
        name: kept for the config.

    Example:
        >>> import pellucid
        >>> schedule = pellucid.optimizers.schedules.CosineDecayRestarts(1.0, first_decay_steps=2)
        >>> [round(float(schedule(step)), 6) for step in (0, 1, 2, 4)]
        [1.0, 0.5, 1.0, 0.5]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        _check_steps("CosineDecayRestarts", first_decay_steps=first_decay_steps)
        check_range("CosineDecayRestarts", 1, t_mul=t_mul)
        check_range("CosineDecayRestarts", 0, m_mul=m_mul)
        self.initial_learning_rate, self.first_decay_steps, self.name = initial_learning_rate, first_decay_steps, name
        self.t_mul, self.m_mul, self.alpha = t_mul, m_mul, alpha

    def __call__(self, step: Any) -> Any:
        time = _number(step) / self.first_decay_steps  # in lengths of the first wave
        if self.t_mul == 1:
            restarts = jnp.floor(time)
            share = time - restarts
        else:  # wave i starts at (1 - t^i) / (1 - t) and is t^i long
            ratio = jnp.float32(self.t_mul)
            restarts = jnp.floor(jnp.log(1 - time * (1 - ratio)) / jnp.log(ratio))
            length = jnp.power(ratio, restarts)
            share = (time - (1 - length) / (1 - ratio)) / length
        height = jnp.power(jnp.float32(self.m_mul), restarts)
        wave = 0.5 * height * (1 + jnp.cos(math.pi * share))
        return self.initial_learning_rate * ((1 - self.alpha) * wave + self.alpha)


@registry.named()
class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` from the step after ``boundaries[i - 1]`` to ``boundaries[i]``.

    Args:
        boundaries: step numbers, ascending.
        values: rates, one more than boundaries.
        name: kept for the config.

    Example:
        >>> import pellucid
        >>> schedule = pellucid.optimizers.schedules.PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.25])
        >>> [float(schedule(step)) for step in (10, 11, 21)]
        [1.0, 0.5, 0.25]
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"PiecewiseConstantDecay: {len(boundaries)} boundaries and {len(values)} values; expected one value more than boundaries."
            )
        if any(not low < high for low, high in itertools.pairwise(boundaries)):
            raise ValueError(f"PiecewiseConstantDecay: boundaries={boundaries!r}; expected them to ascend.")
        self.boundaries, self.values, self.name = boundaries, values, name

    def __call__(self, step: Any) -> Any:
        passed = jnp.sum(jnp.asarray(step) > jnp.asarray(list(self.boundaries)), dtype="int32")
        return jnp.asarray(list(self.values), dtypes.wide_floatx())[passed]


# ---- From and to what can be saved ----


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """A schedule as a dict, which Keras reads, too: its class and its config.

    Example:
        >>> import pellucid
        >>> schedules = pellucid.optimizers.schedules
        >>> config = schedules.serialize(schedules.PiecewiseConstantDecay([10], [1.0, 0.5]))
        >>> config["class_name"], float(schedules.deserialize(config)(11))
        ('PiecewiseConstantDecay', 0.5)
    """
    return serialize_keras_object(learning_rate_schedule)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> LearningRateSchedule:
    """The schedule that ``serialize`` told.

    Args:
        config: its class and its config.
        custom_objects: classes of one's own, by name.
    """
    with CustomObjectScope(custom_objects or {}):
        return registry.get(config)


def get(identifier: Any) -> Any:
    """A schedule from its config; a callable is itself."""
    return registry.get(identifier)


def config_of(schedule: Callable) -> Any:
    """What a config says of it: a schedule's own, another callable itself."""
    return serialize(schedule) if isinstance(schedule, LearningRateSchedule) else schedule


def rate_at(schedule: Callable, step: Any) -> Any:
    """The rate that a schedule, or a callable of the step number or of nothing, gives for a step."""
    if isinstance(schedule, LearningRateSchedule):
        return schedule(step)
    try:
        inspect.signature(schedule).bind(step)
    except TypeError:
        return schedule()
    except ValueError:  # it tells no signature
        pass
    return schedule(step)
