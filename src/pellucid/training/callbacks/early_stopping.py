"""EarlyStopping."""

from __future__ import annotations

import math
import warnings
from typing import Any

from pellucid.training.callbacks.callback import Callback

_UPWARDS = ("acc", "auc", "precision", "recall", "score")


class EarlyStopping(Callback):
    """Ends training when a quantity has stopped improving.

    Args:
        monitor: name in the logs.
        min_delta: the least change that counts as an improvement.
        patience: epochs without one before training ends.
        verbose: 1 to print when it ends training.
        mode: "min", "max" or "auto" (from the name).
        baseline: value that must be beaten.
        restore_best_weights: whether the weights of the best epoch are put back.
        start_from_epoch: epochs to wait before watching.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"EarlyStopping: mode={mode!r}; expected 'auto', 'min' or 'max'.")
        self.monitor, self.min_delta, self.patience, self.verbose = monitor, abs(min_delta), patience, verbose
        self.baseline, self.restore_best_weights, self.start_from_epoch = baseline, restore_best_weights, start_from_epoch
        self.upwards = mode == "max" or (mode == "auto" and any(word in monitor for word in _UPWARDS))
        self._start()

    def _start(self) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best: float = -math.inf if self.upwards else math.inf
        self.best_weights: list[Any] | None = None

    def _better(self, value: float, than: float) -> bool:
        return value - self.min_delta > than if self.upwards else value + self.min_delta < than

    def on_train_begin(self, logs: Any = None) -> None:
        self._start()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(f"EarlyStopping: there is no {self.monitor!r} in the logs; there are {', '.join(logs or {})}.", stacklevel=2)
            return
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._better(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs: Any = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            self.model.set_weights(self.best_weights)
