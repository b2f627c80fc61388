"""A progress bar for loops of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pellucid.training.callbacks import ProgressBar


class Progbar:
    """Shows how far a loop has come, as ``fit`` does: a bar in a terminal or notebook, one line at the end elsewhere.

    Args:
        target: steps in all, or None where that is not known.
        width: taken for Keras's sake.
        verbose: 0 for nothing, 1 for a bar, 2 for a line at the end.
        interval: taken for Keras's sake: a bar is drawn at most ten times a second.
        stateful_metrics: names of values to show as they are; of others the mean over the steps is shown.
        stateless_metrics: where given, the means are taken of these only.
        unit_name: taken for Keras's sake.

    Example:
        >>> from pellucid import utils
        >>> bar = utils.Progbar(2)
        >>> for step in range(2):
        ...     bar.update(step + 1, [("loss", 2.0 - step)])  # doctest: +ELLIPSIS
        2/2 - ... - loss: 1.5000
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Sequence[str] | None = None,
        stateless_metrics: Sequence[str] | None = None,
        unit_name: str = "step",
    ):
        self.target, self.verbose = target, verbose
        self._as_they_are, self._means_of = set(stateful_metrics or ()), stateless_metrics and set(stateless_metrics)
        self._seen = 0
        self._sums: dict[str, tuple[float, int]] = {}
        self._bar: ProgressBar | None = None

    def update(self, current: int, values: Iterable[tuple[str, Any]] | None = None, finalize: bool | None = None) -> None:
        """Says how many steps are done, and what was measured in them: pairs (name, value).

        Args:
            current: steps done in all.
            values: of the steps since the last update.
            finalize: whether this is the end; by default where the target is reached.
        """
        steps = max(current - self._seen, 1)
        for name, value in values or ():
            mean = name not in self._as_they_are and (self._means_of is None or name in self._means_of)
            total, count = self._sums.get(name, (0.0, 0)) if mean else (0.0, 0)
            self._sums[name] = (total + float(value) * steps, count + steps) if mean else (float(value), 1)
        self._seen = current
        if not self.verbose:
            return
        logs = {name: total / count for name, (total, count) in self._sums.items()}
        if self._bar is None:
            self._bar = ProgressBar(self.verbose)
            self._bar.begin("", self.target)
        if finalize or (finalize is None and self.target is not None and current >= self.target):
            self._bar.end(logs, current)
            self._bar = None
        elif self._bar.wants():
            self._bar.draw(current, logs)

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Says that ``n`` more steps are done."""
        self.update(self._seen + n, values)
