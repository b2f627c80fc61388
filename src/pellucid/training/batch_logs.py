"""True logs of each batch: what losses and metrics are for its rows alone, beside the means of the epoch so far."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any


class Logs(dict):
    """What a batch hook gets: the means of the epoch so far, as in Keras, and in ``batch`` the values of the batch alone.

    Example:
        >>> from pellucid.training.batch_logs import Logs
        >>> logs = Logs({"loss": 0.5}, {"loss": 0.25})
        >>> logs["loss"], logs.batch["loss"]
        (0.5, 0.25)
    """

    def __init__(self, means: dict[str, Any], batch: dict[str, Any]):
        super().__init__(means)
        self.batch = batch


class BatchLogs:
    """Stands for an objective in a step, and computes the losses and metrics of the step's batch alone, too.

    Args:
        objective: losses and metrics, with their means so far.
    """

    def __init__(self, objective: Any):
        self._of = objective
        self._batch: dict[str, Any] = {}

    def over(self, step: Callable) -> Callable:
        """The step, which returns ``{"means": …, "batch": …}``, each by name."""

        def run(batch: tuple, rows: Any, count: Any) -> dict[str, Any]:
            step(batch, rows, count)
            means = self._of.results()
            own, self._batch = self._batch, {}  # traced values end with their trace
            return {"means": collections.OrderedDict(means), "batch": collections.OrderedDict((name, own[name]) for name in means)}

        return run

    # ---- What a step asks of an objective ----

    def loss(self, *args: Any) -> Any:
        return self._of.loss(*args)

    @property
    def tracker(self) -> BatchLogs:
        return self

    def update(self, parts: list[Any], count: Any) -> None:
        self._of.tracker.update(parts, count)
        self._losses = dict(zip(self._of.tracker.names, parts, strict=True))

    def update_metrics(self, *args: Any) -> None:
        metrics = [m.metric for m in self._of.metrics]
        kept = [(v, v.value) for metric in metrics for v in metric.variables]
        for metric in metrics:
            metric.reset_state()
        self._of.update_metrics(*args)
        self._batch = {**self._of.results(), **self._losses}
        for variable, value in kept:
            variable.assign(value)
        self._of.update_metrics(*args)
