"""ModelCheckpoint."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from pellucid.core import explain
from pellucid.training.callbacks.monitor import MonitorCallback

ENDINGS = (".weights.h5", ".safetensors")


class ModelCheckpoint(MonitorCallback):
    """Saves the weights, and the state of the optimizer, while a model is trained.

    To train on from there, compile the model, then ``load_weights``.

    Args:
        filepath: name of the file, which ends in ``.weights.h5`` or ``.safetensors``; it may hold ``{epoch:02d}``, ``{batch}`` and names
            of the logs, such as ``{val_loss:.2f}``. Folders that are missing are made.
        monitor: name in the logs.
        verbose: 1 to print when it saves.
        save_best_only: whether it saves only when ``monitor`` is better than ever before.
        save_weights_only: True; whole models are not saved yet.
        mode: "min", "max" or "auto" (from the metric's class or name).
        save_freq: "epoch", or a number of batches. With a number each step is a dispatch of its own.
        initial_value_threshold: value that must be beaten before the first file is written.

    Raises:
        NotImplementedError: for ``save_weights_only=False``.
        ValueError: for another ending, frequency or mode; in training, for a name in ``filepath`` that is not in the logs.

    Example:
        >>> import os, tempfile, numpy as np, pellucid
        >>> model = pellucid.Sequential([pellucid.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saves = pellucid.callbacks.ModelCheckpoint(os.path.join(folder, "{epoch}.weights.h5"), save_weights_only=True)
        ...     history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, callbacks=[saves], verbose=0)
        ...     sorted(os.listdir(folder))
        ['1.weights.h5', '2.weights.h5']
    """

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq, self.initial_value_threshold = save_freq, initial_value_threshold
        if not save_weights_only:
            raise NotImplementedError(
                "ModelCheckpoint: save_weights_only=False; expected True, as whole models cannot be saved yet. Make the model by its code, "
                "and take its weights from the file with load_weights."
            )
        if not self.filepath.endswith(ENDINGS):
            raise ValueError(
                f"ModelCheckpoint: filepath={self.filepath!r}; expected a name that ends in {' or '.join(map(repr, ENDINGS))}."
            )
        if save_freq != "epoch":
            if isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1:
                raise ValueError(f"ModelCheckpoint: save_freq={save_freq!r}; expected 'epoch' or a number of batches, at least 1.")
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]  # only here, as it parts steps into dispatches
        self._epoch, self._batches, self._last_batch = 0, 0, -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch, self._last_batch = epoch, -1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _after_batch(self, batch: int, logs: Any = None) -> None:
        self._batches += batch - self._last_batch
        self._last_batch = batch
        if self._batches >= self.save_freq:  # type: ignore[operator]
            self._batches = 0
            self._save(self._epoch, batch, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Any) -> None:
        if self.save_best_only and not self._is_best(epoch, logs):
            return
        path = self._path(epoch, batch, logs)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self.model.save_weights(path, overwrite=True)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: the weights are saved in {path}")

    def _is_best(self, epoch: int, logs: Any) -> bool:
        value = self.value(logs)
        if self.initial_value_threshold is not None and not np.isfinite(self.best):
            self.best = self.initial_value_threshold
        if value is None:
            return True  # of what cannot be compared nothing is lost
        if np.ndim(value):
            explain.warn(
                f"ModelCheckpoint: {self.monitor!r} is an array of shape {np.shape(value)}; expected a number. The weights are saved."
            )
            return True
        better, best = self.is_better(value, self.best), self.best
        if better:
            self.best = value
        if self.verbose:
            change = f"improved from {best:.5f} to {value:.5f}" if better else f"did not improve from {best:.5f}"
            print(f"\nEpoch {epoch + 1}: {self.monitor} {change}")
        return better

    def _path(self, epoch: int, batch: int | None, logs: Any) -> str:
        known = {"epoch": epoch + 1, **({} if batch is None else {"batch": batch + 1}), **logs}
        try:
            return self.filepath.format(**known)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ValueError(
                f"ModelCheckpoint: filepath={self.filepath!r} cannot be filled in ({type(error).__name__}: {error}); known names: "
                f"{', '.join(known)}."
            ) from None
