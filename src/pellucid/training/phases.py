"""Where the time of ``fit`` went: capture, compilation, data, callbacks, validation, and the steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Phases:
    """Seconds by phase, each without the phases inside it. What no phase claims is the steps: dispatches, and waiting for the device.

    Args:
        ledger: of the model, which knows the seconds of captures and compilations.
    """

    def __init__(self, ledger: Any):
        self._ledger = ledger
        self._started = time.perf_counter()
        self._before = dict(ledger.seconds)
        self._seconds = {"data": 0.0, "callbacks": 0.0, "validation": 0.0}
        self._total: float | None = None
        self._compiling: dict[str, float] = {}

    @contextlib.contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Counts the time inside for a phase."""
        started, claimed = time.perf_counter(), self._claimed()
        try:
            yield
        finally:
            self._seconds[phase] += time.perf_counter() - started - (self._claimed() - claimed)

    def _claimed(self) -> float:
        return sum(self._seconds.values()) + sum(self._ledger.seconds.values())

    def over(self, phase: str, items: Iterator[T]) -> Iterator[T]:
        """Counts the time that an iterator takes for its next item."""
        while True:
            with self.of(phase):
                item = next(items, self)
            if item is self:
                return
            yield item  # type: ignore[misc]

    def stop(self) -> None:
        """Ends the last phase."""
        self._total = time.perf_counter() - self._started
        self._compiling = {phase: now - self._before[phase] for phase, now in self._ledger.seconds.items()}

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase, in the order in which they come."""
        total = time.perf_counter() - self._started if self._total is None else self._total
        known = {"capture": 0.0, "compile": 0.0, **self._compiling, **self._seconds}
        return {**known, "steps": max(0.0, total - sum(known.values()))}
