"""CSVLogger."""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from pellucid.training.callbacks.callback import Callback


class CSVLogger(Callback):
    """Writes the logs of each epoch as a line of a CSV file.

    The columns are those of the first epoch, in the order of their names, with one for the validation of each.

    Args:
        filename: path of the file.
        separator: what is between values.
        append: whether an existing file is continued, and not replaced.

    Example:
        >>> import pathlib, tempfile, numpy as np, pellucid
        >>> model = pellucid.Sequential([pellucid.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile(pellucid.optimizers.SGD(0.0), "mse")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "log.csv")
        ...     logger = pellucid.callbacks.CSVLogger(path)
        ...     history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, callbacks=[logger], verbose=0)
        ...     print(path.read_text().splitlines())
        ['epoch,loss,val_loss', '0,1.0,NA', '1,1.0,NA']
    """

    def __init__(self, filename: str | os.PathLike, separator: str = ",", append: bool = False):
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self._file: Any = None
        self._columns: list[str] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._close()
        path = pathlib.Path(self.filename)
        self._has_header = self.append and path.exists() and path.stat().st_size > 0
        self._columns = None
        self._file = path.open("a" if self.append else "w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, delimiter=self.separator)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        if self._columns is None:
            self._columns = sorted(logs)
            if not any(name.startswith("val_") for name in logs):
                self._columns += [f"val_{name}" for name in self._columns]
            if not self._has_header:
                self._writer.writerow(["epoch", *self._columns])
        self._writer.writerow([epoch, *(_as_text(logs.get(name, "NA")) for name in self._columns)])
        self._file.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _as_text(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Iterable) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value
    return f'"[{", ".join(map(str, value))}]"'
