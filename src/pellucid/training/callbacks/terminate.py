"""TerminateOnNaN."""

from __future__ import annotations

import math
from typing import Any

from pellucid.training.callbacks.callback import Callback


class TerminateOnNaN(Callback):
    """Ends training when the loss is not finite.

    It reads the logs only, so that training stays as fast as without it, and ends with the dispatch. To find the operation and
    keep the last good weights, use ``compile(nan="raise")``.

    Args:
        raise_error: whether a ``RuntimeError`` ends training, and no ``on_train_end`` is called.
    """

    reads_logs_only = True

    def __init__(self, raise_error: bool = False):
        self.raise_error = raise_error
        self._ended = False

    def on_train_begin(self, logs: Any = None) -> None:
        self._ended = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss) or self._ended:
            return
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: the loss is {loss} in batch {batch}; expected a finite number. See compile(nan='raise').")
        print(f"Batch {batch}: the loss is {loss}, training ends.")
        self.model.stop_training = self._ended = True
