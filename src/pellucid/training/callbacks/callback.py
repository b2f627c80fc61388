"""The base class, and two callbacks that hold what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BATCH_HOOKS = tuple(f"on_{part}_batch_{end}" for part in ("train", "test", "predict") for end in ("begin", "end"))
HOOKS = (
    *(f"on_{part}_{end}" for part in ("train", "test", "predict") for end in ("begin", "end")),
    "on_epoch_begin",
    "on_epoch_end",
    *BATCH_HOOKS,
    "on_batch_begin",
    "on_batch_end",
)


class Callback:
    """Override the hooks that you need. ``self.model`` is the model; ``self.model.stop_training = True`` ends ``fit``.

    The logs of a batch hook are the means of the epoch so far; ``logs.batch`` has the losses and metrics of the batch alone.

    A callback that overrides a batch hook is called right after each step, so that dispatches are one step long, and
    ``stop_training`` ends training after that very batch. One that only reads the logs may say ``reads_logs_only = True``. Many
    steps may then go in one dispatch, and it is called for each of them afterwards; ``stop_training`` acts at the dispatch's end.

    Example:
        >>> import numpy as np, pellucid
        >>> class Losses(pellucid.callbacks.Callback):
        ...     reads_logs_only = True
        ...     def __init__(self):
        ...         self.losses = []
        ...     def on_train_batch_end(self, batch, logs=None):
        ...         self.losses.append(logs.batch["loss"])
        >>> model = pellucid.Sequential([pellucid.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile(pellucid.optimizers.SGD(0.0), "mse")
        >>> seen = Losses()
        >>> y = np.array([[1.0], [2.0], [3.0]])
        >>> history = model.fit(np.ones((3, 1)), y, batch_size=1, shuffle=False, callbacks=[seen], verbose=0)
        >>> seen.losses, round(history.history["loss"][0], 3)
        ([1.0, 4.0, 9.0], 4.667)
    """

    reads_logs_only = False
    model: Any = None
    params: dict[str, Any]

    def set_model(self, model: Any) -> None:
        """Is told the model before training begins."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Is told ``epochs``, ``steps`` and ``verbose``."""
        self.params = params

    def on_train_begin(self, logs: Any = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Any = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Before an epoch; the first is 0."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """After an epoch, with its losses and metrics, those of validation included."""

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """A short name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """A short name of ``on_train_batch_end``."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a step."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a step, with the means of the epoch so far, and in ``logs.batch`` the values of the batch alone."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Before ``evaluate`` or validation."""

    def on_test_end(self, logs: Any = None) -> None:
        """After ``evaluate`` or validation."""

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of ``evaluate``."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of ``evaluate``."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """Before ``predict``."""

    def on_predict_end(self, logs: Any = None) -> None:
        """After ``predict``."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Before a batch of ``predict``."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """After a batch of ``predict``."""


class History(Callback):
    """What ``fit`` returns: ``history`` maps each name to one value an epoch, ``epoch`` lists the epochs."""

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class LambdaCallback(Callback):
    """A callback of functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch))``.

    Args:
        on_epoch_begin: ``(epoch, logs)``; the first is 0.
        on_epoch_end: ``(epoch, logs)``.
        on_train_begin: ``(logs)``.
        on_train_end: ``(logs)``.
        on_train_batch_begin: ``(batch, logs)``.
        on_train_batch_end: ``(batch, logs)``.
        hooks: functions for other hooks of ``Callback``, by name.

    Raises:
        TypeError: for a hook that there is not.
    """

    def __init__(
        self,
        on_epoch_begin: Callable | None = None,
        on_epoch_end: Callable | None = None,
        on_train_begin: Callable | None = None,
        on_train_end: Callable | None = None,
        on_train_batch_begin: Callable | None = None,
        on_train_batch_end: Callable | None = None,
        **hooks: Callable | None,
    ):
        given = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **hooks,
        }
        for name, function in given.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback: there is no hook {name!r}. Hooks: {', '.join(HOOKS)}.")
            if function is not None:
                setattr(self, name, function)
