"""The best that one rate of right decisions can be where another is as high as wanted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.losses.loss import divide_or_zero
from pellucid.metrics.confusion import ThresholdMetric
from pellucid.metrics.metric import entered
from pellucid.ops.crossentropy import EPSILON

# rate -> (what is counted, of it and what)
RATES = {
    "precision": ("true_positives", "false_positives"),
    "recall": ("true_positives", "false_negatives"),
    "sensitivity": ("true_positives", "false_negatives"),
    "specificity": ("true_negatives", "false_positives"),
}


class _TradeOff(ThresholdMetric):
    """Base: the greatest ``best`` over thresholds, evenly from 0 to 1, at which ``kept`` is not below the wanted value."""

    kinds = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    best: str
    kept: str

    def __init__(self, wanted: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any):
        if not 0 <= wanted <= 1:
            raise ValueError(f"{type(self).__name__}: {self.kept}={wanted} is not from 0 to 1.")
        if num_thresholds < 1:
            raise ValueError(f"{type(self).__name__}: num_thresholds={num_thresholds}; expected 1 or more.")
        self.num_thresholds = num_thresholds
        setattr(self, self.kept, wanted)
        super().__init__(class_id=class_id, name=name, dtype=dtype)

    @property
    def _limits(self) -> np.ndarray:
        if self.num_thresholds == 1:
            return np.array([0.5])
        return np.array([-EPSILON, *np.linspace(0, 1, self.num_thresholds)[1:]])  # at 0 all is positive

    def _rate(self, name: str) -> jax.Array:
        counted, other = map(self.row, RATES[name])
        return divide_or_zero(counted, counted + other)

    def result(self) -> jax.Array:
        return jnp.max(jnp.where(self._rate(self.kept) >= getattr(self, self.kept), self._rate(self.best), 0))


@entered()
class PrecisionAtRecall(_TradeOff):
    """The best precision at a threshold where recall is not below the one wanted; 0 where there is none.

    Args:
        recall: wanted, from 0 to 1.
        num_thresholds: how many thresholds, evenly from 0 to 1.
        class_id: looks at this class alone.
        name: key in the logs.
        dtype: data type of state and result.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8]))
        0.5
    """

    best, kept = "precision", "recall"

    def __init__(self, recall: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None):
        super().__init__(recall, num_thresholds, class_id, name, dtype)


@entered()
class RecallAtPrecision(_TradeOff):
    """The best recall at a threshold where precision is not below the one wanted; 0 where there is none.

    Args:
        precision: wanted, from 0 to 1.
        num_thresholds, class_id, name, dtype: as in ``PrecisionAtRecall``.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.RecallAtPrecision(0.8)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9]))
        0.5
    """

    best, kept = "recall", "precision"

    def __init__(
        self, precision: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(precision, num_thresholds, class_id, name, dtype)


@entered()
class SensitivityAtSpecificity(_TradeOff):
    """The best sensitivity (rate of true among all positives) at a threshold where specificity is not below the one wanted.

    Args:
        specificity: wanted rate of true among all negatives, from 0 to 1.
        num_thresholds, class_id, name, dtype: as in ``PrecisionAtRecall``.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0.0, 0.3, 0.8, 0.3, 0.8]))
        0.5
    """

    best, kept = "sensitivity", "specificity"

    def __init__(
        self, specificity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(specificity, num_thresholds, class_id, name, dtype)


@entered()
class SpecificityAtSensitivity(_TradeOff):
    """The best specificity (rate of true among all negatives) at a threshold where sensitivity is not below the one wanted.

    Args:
        sensitivity: wanted rate of true among all positives, from 0 to 1.
        num_thresholds, class_id, name, dtype: as in ``PrecisionAtRecall``.
    """

    best, kept = "specificity", "sensitivity"

    def __init__(
        self, sensitivity: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None, dtype: Any = None
    ):
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)
