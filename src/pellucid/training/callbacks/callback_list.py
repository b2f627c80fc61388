"""CallbackList: several callbacks as one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pellucid.training.callbacks.callback import BATCH_HOOKS, HOOKS, Callback, History
from pellucid.training.callbacks.progress import ProgressBar


class CallbackList(Callback):
    """Calls a hook of each callback, in order. ``fit`` makes one; a loop of the user's own may, too.

    Args:
        callbacks: callbacks, also in lists inside.
        add_history: whether a ``History`` is added where there is none. It is the last, so that it sees what others add to the logs.
        add_progbar: whether a ``ProgressBar`` is added where there is none.
        model: what the callbacks are told as ``self.model``.
        params: what they are told as ``self.params``, such as ``epochs`` and ``steps``.

    Raises:
        TypeError: for what is no callback.

    Example:
        >>> from pellucid.callbacks import CallbackList, LambdaCallback
        >>> some = CallbackList([LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))], epochs=1)
        >>> some.on_epoch_end(0, {"loss": 0.5})
        0 {'loss': 0.5}
    """

    def __init__(self, callbacks: Any = None, add_history: bool = False, add_progbar: bool = False, model: Any = None, **params: Any):
        self.phases: Any = None  # takes the time of the calls
        self.callbacks = [] if callbacks is None else list(_flat(callbacks))
        for callback in self.callbacks:
            if not hasattr(callback, "set_model") or isinstance(callback, type):
                raise TypeError(f"callbacks holds {callback!r}; expected objects of pellucid.callbacks.Callback.")
        if add_progbar and self._of_type(ProgressBar) is None:
            self.callbacks.append(ProgressBar())
        if add_history and self.history is None:
            self.callbacks.append(History())
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    def _of_type(self, kind: type) -> Any:
        return next((c for c in self.callbacks if isinstance(c, kind)), None)

    @property
    def history(self) -> History | None:
        """The ``History`` among them."""
        return self._of_type(History)

    @property
    def progress(self) -> ProgressBar | None:
        """The ``ProgressBar`` among them."""
        return self._of_type(ProgressBar)

    def set_model(self, model: Any) -> None:
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def append(self, callback: Callback) -> None:
        """Adds a callback."""
        self.callbacks.append(callback)

    def call(self, hook: str, *args: Any) -> None:
        """Calls a hook of each of them."""
        with self.phases.of("callbacks") if self.phases is not None else contextlib.nullcontext():
            for callback in self.callbacks:
                getattr(callback, hook)(*args)

    def listens(self, part: str, to_each_step: bool) -> bool:
        """Whether one overrides a batch hook of "train", "test" or "predict"; with ``to_each_step``, one that must see each."""
        hooks = [h for h in BATCH_HOOKS if h.startswith(f"on_{part}_")] + (["on_batch_begin", "on_batch_end"] if part == "train" else [])
        return any(
            not (to_each_step and getattr(c, "reads_logs_only", False))
            and any(getattr(type(c), h, None) is not getattr(Callback, h) or h in vars(c) for h in hooks)
            for c in self.callbacks
        )


def _flat(callbacks: Any) -> Iterator[Any]:
    if isinstance(callbacks, CallbackList):
        yield from callbacks.callbacks
    elif isinstance(callbacks, Callback):
        yield callbacks
    elif not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks={callbacks!r}; expected a list of pellucid.callbacks.Callback.")
    else:
        for callback in callbacks:
            if isinstance(callback, list | tuple | CallbackList):
                yield from _flat(callback)
            else:
                yield callback


def _hook(name: str) -> Callable:
    def call(self: CallbackList, *args: Any, logs: Any = None) -> None:
        *index, logs = args if len(args) == count + 1 else (*args, logs)
        self.call(name, *index, {} if logs is None else logs)

    count = 1 if "batch" in name or "epoch" in name else 0
    call.__name__, call.__doc__ = name, f"Calls ``{name}`` of each."
    return call


for _name in HOOKS:
    setattr(CallbackList, _name, _hook(_name))
