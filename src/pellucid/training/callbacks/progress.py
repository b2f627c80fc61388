"""The progress bar: rich's in a terminal or notebook, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from pellucid.training.callbacks.callback import Callback

_EVERY = 0.1  # seconds between two drawings


class ProgressBar(Callback):
    """Shows epoch, step, time, loss and metrics.

    In a terminal or notebook a bar is drawn at most ten times a second; it shows the newest logs that the device has finished,
    so that no step waits for it. Where there is no terminal, and with ``verbose=2``, each epoch prints one line at its end.

    Args:
        verbose: 1 for a bar, 2 for a line an epoch.
    """

    reads_logs_only = True

    def __init__(self, verbose: int = 1):
        self.verbose = verbose
        self._bar: Any = None
        self._task: Any = None
        self._drawn = 0.0

    # ---- What the loop tells ----

    def begin(self, title: str, steps: int) -> None:
        """A pass over data begins."""
        self._title, self._steps, self._started = title, steps, time.perf_counter()
        if self.verbose == 1 and _is_live():
            self._bar, self._task = _rich_bar(title, steps)
            self._bar.start()

    def wants(self) -> bool:
        """Whether it is time to draw: the loop then looks for logs that are ready."""
        return self._bar is not None and time.perf_counter() - self._drawn >= _EVERY

    def draw(self, steps: int, logs: dict[str, Any]) -> None:
        """Draws the state after some steps."""
        if self._bar is not None:
            self._drawn = time.perf_counter()
            self._bar.update(self._task, completed=steps, logs=_text(logs), refresh=True)

    def end(self, logs: dict[str, Any]) -> None:
        """The pass has ended."""
        seconds = time.perf_counter() - self._started
        if self._bar is not None:
            self._bar.update(self._task, completed=self._steps, logs=_text(logs), speed=_speed(seconds, self._steps), refresh=True)
            self._bar.stop()
            self._bar = None
        else:
            print(f"{self._title}{self._steps}/{self._steps} - {seconds:.2f}s - {_speed(seconds, self._steps)} - {_text(logs)}", flush=True)

    def abandon(self) -> None:
        """An error ended the pass: the terminal is left in order."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _rich_bar(title: str, steps: int) -> tuple[Any, Any]:
    # rich is imported when the first bar is drawn: it takes a tenth of JAX's time to import
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[logs]}"),
        auto_refresh=False,
    )
    return bar, bar.add_task(title, total=steps, logs="", speed="")


def _is_live() -> bool:
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def _speed(seconds: float, steps: int) -> str:
    each = seconds / max(1, steps)
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if each >= scale:
            return f"{each / scale:.0f}{unit}/step"
    return f"{each / 1e-6:.0f}µs/step"


def _text(logs: dict[str, Any]) -> str:
    return " - ".join(
        f"{name}: {value:.4f}" if abs(value) > 1e-3 else f"{name}: {value:.4e}" for name, value in logs.items() if isinstance(value, float)
    )
