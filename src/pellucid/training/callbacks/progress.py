"""The progress bar: rich's in a terminal or notebook, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from pellucid import config
from pellucid.training.callbacks.callback import Callback

_EVERY = 0.1  # seconds between two drawings


class ProgressBar(Callback):
    """Shows epoch, step, time, loss and metrics.

    In a terminal or notebook a bar is drawn at most ten times a second while an epoch lasts; it shows the newest logs that the
    device has finished, so that no step waits for it. Each epoch ends as one line of plain text, which is all that a log file
    gets, and all there is with ``verbose=2``.

    Args:
        verbose: 1 for a bar, 2 for a line an epoch.
    """

    reads_logs_only = True

    def __init__(self, verbose: int = 1):
        self.verbose = verbose
        self._bar: Any = None
        self.params = {}

    # ---- As a callback of a loop of the user's own ----

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        epochs = self.params.get("epochs")
        self._seen = 0
        self.begin(f"Epoch {epoch + 1}{'' if epochs is None else f'/{epochs}'} ", self.params.get("steps"))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._seen = batch + 1
        if self.wants():
            self.draw(self._seen, logs or {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.end(logs or {}, self._seen)

    # ---- Drawing ----

    def begin(self, title: str, steps: int | None) -> None:
        """A pass over data begins, of so many steps, where that is known."""
        self._title, self._steps, self._started = title, steps, time.perf_counter()
        self._live = self.verbose == 1 and config.is_interactive_logging_enabled() and _is_live()
        self._drawn = self._started

    def wants(self) -> bool:
        """Whether it is time to draw: the loop then looks for logs that are ready."""
        return self._live and time.perf_counter() - self._drawn >= _EVERY

    def draw(self, steps: int, logs: dict[str, Any]) -> None:
        """Draws the state after some steps."""
        self._drawn = time.perf_counter()
        if self._bar is None:
            self._bar, self._task = _rich_bar(self._title, self._steps)
            self._bar.start()
        self._bar.update(self._task, completed=steps, logs=_shortened(logs, self._bar.console.width - 70), refresh=True)

    def end(self, logs: dict[str, Any], steps: int) -> None:
        """The pass has ended, after so many steps."""
        self.abandon()
        seconds = time.perf_counter() - self._started
        parts = [
            f"{self._title}{steps}/{steps if self._steps is None else self._steps}",
            f"{seconds:.2f}s",
            _speed(seconds, steps),
            *_texts(logs),
        ]
        print(" - ".join(parts), flush=True)

    def abandon(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _rich_bar(title: str, steps: int | None) -> tuple[Any, Any]:
    # rich is imported when the first bar is drawn: it takes a tenth of JAX's time to import
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}{task.completed}" + ("" if steps is None else "/{task.total}"), markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[logs]}", markup=False),
    )
    bar = Progress(*columns, auto_refresh=False, transient=True)
    return bar, bar.add_task(title, total=steps, logs="")


def _is_live() -> bool:
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def _speed(seconds: float, steps: int) -> str:
    each = seconds / max(1, steps)
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if each >= scale:
            return f"{each / scale:.0f}{unit}/step"
    return f"{each / 1e-6:.0f}µs/step"


def _texts(logs: dict[str, Any]) -> list[str]:
    numbers = {name: value for name, value in logs.items() if isinstance(value, float)}
    return [f"{name}: {value:.4f}" if abs(value) >= 1e-3 or not value else f"{name}: {value:.4e}" for name, value in numbers.items()]


def _shortened(logs: dict[str, Any], room: int) -> str:
    """As many of the logs, from the first, as fit."""
    text = ""
    for part in _texts(logs):
        if text and len(text) + len(part) + 3 > room:
            break
        text = f"{text} - {part}" if text else part
    return text
