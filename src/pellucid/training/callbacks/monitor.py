"""What the callbacks that watch one quantity have in common: which way is better, and what counts as an improvement."""

from __future__ import annotations

import math
import re
from typing import Any

from pellucid.core import explain
from pellucid.training.callbacks.callback import Callback

_UP = r"acc|auc|precision|recall|score|iou|similarity|correlation|sensitivity|specificity|true_(positives|negatives)|r2"
_DOWN = r"loss|error|mse|mae|mape|msle|rmse|crossentropy|ce|hinge|divergence|poisson|log_?cosh|false_(positives|negatives)"


class MonitorCallback(Callback):
    """Watches one quantity of the logs.

    Args:
        monitor: its name.
        mode: "min", "max" or "auto" (from the metric's class or name).
        min_delta: the least change that counts as an improvement.
    """

    upwards: bool | None = None  # whether more is better; None until it is known

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0.0):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode={mode!r}; expected 'auto', 'min' or 'max'.")
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.best: float = math.inf
        self.forget()

    def forget(self) -> None:
        """Nothing was seen yet."""
        self.upwards = None if self.mode == "auto" else self.mode == "max"
        self.best = -math.inf if self.upwards else math.inf

    def value(self, logs: dict[str, Any] | None) -> Any:
        """The quantity, or None, and a warning, where the logs do not have it.

        Raises:
            ValueError: where nobody knows which way is better.
        """
        if self.upwards is None:
            self.upwards = self._direction()
            self.best = -math.inf if self.upwards else math.inf
        found = (logs or {}).get(self.monitor)
        if found is None:
            there = ", ".join(logs or {}) or "none"
            explain.warn(f"{type(self).__name__}: there is no {self.monitor!r} in the logs; there are {there}.")
        return found

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value is an improvement."""
        return bool(value - self.min_delta > than if self.upwards else value + self.min_delta < than)

    def _direction(self) -> bool:
        name = self.monitor.removeprefix("val_")
        metric = self._metric(name)
        own = getattr(metric, "_direction", None)  # as Keras's metrics say it
        if own is not None:
            return own == "up"
        known = "" if metric is None else type(metric).__name__
        for text in (name.lower(), re.sub(r"(?<=[a-z])(?=[A-Z])", "_", known).lower()):
            for words, upwards in ((_DOWN, False), (_UP, True)):
                if re.search(rf"(^|_)({words})", text):
                    return upwards
        raise ValueError(
            f"{type(self).__name__}: monitor={self.monitor!r} does not say whether more or less of it is better; expected mode='max' or "
            "mode='min'."
        )

    def _metric(self, name: str) -> Any:
        objective = getattr(getattr(self.model, "_machine", None), "objective", None)
        of_compile = {m.log_name: m.metric for m in getattr(objective, "metrics", ())}
        return of_compile.get(name, next((m for m in getattr(self.model, "metrics", ()) if m.name == name), None))
