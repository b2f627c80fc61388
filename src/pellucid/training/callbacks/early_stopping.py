"""EarlyStopping."""

from __future__ import annotations

from typing import Any

from pellucid.training.callbacks.monitor import MonitorCallback


class EarlyStopping(MonitorCallback):
    """Ends training when a quantity has stopped improving.

    Args:
        monitor: name in the logs.
        min_delta: the least change that counts as an improvement.
        patience: epochs without one before training ends.
        verbose: 1 to print when it ends training.
        mode: "min", "max" or "auto" (from the metric's class or name).
        baseline: value that must be beaten.
        restore_best_weights: whether the weights of the best epoch are put back.
        start_from_epoch: epochs to wait before watching.

    Raises:
        ValueError: for an unknown mode; after the first epoch, where "auto" does not know which way is better.
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
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Any = None) -> None:
        self.forget()
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best_weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = self.value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self.is_better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.is_better(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs: Any = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                print(f"The weights are those of the best epoch, {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)
