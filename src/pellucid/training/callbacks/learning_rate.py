"""Callbacks that change the learning rate between epochs. Nothing is compiled anew for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from pellucid.training.callbacks.callback import Callback
from pellucid.training.callbacks.monitor import MonitorCallback


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch.

    Args:
        schedule: ``(epoch, rate now) -> rate``, or ``epoch -> rate``; the first epoch is 0.
        verbose: 1 to print each rate.

    Raises:
        ValueError: where the schedule gives no float.

    Example:
        >>> import numpy as np, pellucid
        >>> model = pellucid.Sequential([pellucid.layers.Dense(1)])
        >>> model.compile(pellucid.optimizers.SGD(0.5), "mse")
        >>> halving = pellucid.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, callbacks=[halving], verbose=0)
        >>> history.history["learning_rate"]
        [0.25, 0.125, 0.0625]
    """

    def __init__(self, schedule: Callable, verbose: int = 0):
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule={schedule!r}; expected a function (epoch, rate) -> rate.")
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        optimizer = _settable(self)
        now = (float(optimizer.learning_rate),) if _takes_rate(self.schedule) else ()
        rate = self.schedule(epoch, *now)
        if not isinstance(rate, float | np.floating) and not (getattr(rate, "ndim", 1) == 0 and np.issubdtype(rate.dtype, np.floating)):
            raise ValueError(f"LearningRateScheduler: schedule({epoch}, …) returned {rate!r}; expected a float.")
        optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"Epoch {epoch + 1}: LearningRateScheduler sets the learning rate to {float(rate):g}.")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_rate(schedule: Callable) -> bool:
    """Whether it is a function of the epoch and the rate, and not of the epoch alone."""
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # nobody knows
        return True
    return True


class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a quantity has stopped improving.

    Args:
        monitor: name in the logs.
        factor: what the rate is multiplied by, below 1.
        patience: epochs without an improvement before that.
        verbose: 1 to print each new rate.
        mode: "min", "max" or "auto" (from the metric's class or name).
        min_delta: the least change that counts as an improvement.
        cooldown: epochs after a change in which none is counted.
        min_lr: the rate is not lowered below this.

    Raises:
        ValueError: for a factor of 1 or more, for an unknown mode; after the first epoch, where "auto" does not know which way is better.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor={factor!r}; expected a number below 1, such as 0.1.")
        self.factor, self.patience, self.verbose, self.cooldown, self.min_lr = factor, patience, verbose, cooldown, min_lr
        self.on_train_begin()

    def on_train_begin(self, logs: Any = None) -> None:
        self.forget()
        self.wait = self.cooldown_counter = 0

    def in_cooldown(self) -> bool:
        """Whether the last change was a short time ago."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        if logs is not None:
            logs["learning_rate"] = rate
        value = self.value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and rate > np.float32(self.min_lr):
                self._lower(epoch, max(rate * self.factor, self.min_lr))
                self.cooldown_counter, self.wait = self.cooldown, 0

    def _lower(self, epoch: int, rate: float) -> None:
        _settable(self).learning_rate = rate
        if self.verbose:
            print(f"Epoch {epoch + 1}: ReduceLROnPlateau lowers the learning rate to {rate:g}.")


def _settable(callback: Callback) -> Any:
    """The optimizer, whose learning rate must be a number."""
    optimizer = callback.model.optimizer
    if getattr(optimizer, "schedule", None) is not None:
        raise ValueError(
            f"{type(callback).__name__}: the learning rate of the optimizer follows a schedule, {optimizer.schedule!r}, and cannot be set "
            "beside that; expected a number: compile with optimizer=…(learning_rate=0.01)."
        )
    return optimizer
