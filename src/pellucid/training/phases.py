"""Where the time of ``fit`` went: capture, compilation, data, callbacks, validation, and the steps themselves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Phases:
    """Seconds by phase. What no phase claims is the steps: dispatching them and waiting for the device.

    Args:
        ledger: of the model, which knows the seconds of captures and compilations.
    """

    def __init__(self, ledger: Any):
        self._ledger = ledger
        self._started = time.perf_counter()
        self._before = self._compiling()
        self._seconds = {"data": 0.0, "callbacks": 0.0}
        self._total: float | None = None

    def _compiling(self) -> dict[str, float]:
        return {
            "capture": sum(run.seconds for run in self._ledger.runs if run.kind == "capture"),
            "compile": sum(program.seconds for program in self._ledger.programs),
        }

    @contextlib.contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Counts the time inside for a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] += time.perf_counter() - started

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
        self._seconds.update({phase: now - self._before[phase] for phase, now in self._compiling().items()})

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase, in the order in which they come."""
        total = time.perf_counter() - self._started if self._total is None else self._total
        known = {phase: self._seconds.get(phase, 0.0) for phase in ("capture", "compile", "data", "callbacks")}
        return {**known, "steps": max(0.0, total - sum(known.values()))}
