"""Correlations of targets and predictions along an axis, each row by itself. The classes take the mean."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.losses.loss import aligned, divide_or_zero
from pellucid.metrics.mean import NamedMetric
from pellucid.metrics.metric import entered
from pellucid.ops.crossentropy import EPSILON


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """``cov(y_true, y_pred) / (std(y_true) * std(y_pred))``: 1 or -1 on a line, 0 where one of them is constant.

    Example:
        >>> from pellucid import metrics
        >>> metrics.pearson_correlation([[0.0, 1.0, 2.0]], [[5.0, 3.0, 1.0]]).round(4).tolist()
        [-1.0]
    """
    true, predicted = (y - jnp.mean(y, axis, keepdims=True) for y in aligned("pearson_correlation", y_true, y_pred))
    spread = jnp.sqrt(jnp.mean(true**2, axis) * jnp.mean(predicted**2, axis))
    return divide_or_zero(jnp.mean(true * predicted, axis), spread)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """``2 * cov / (var(y_true) + var(y_pred) + (mean(y_true) - mean(y_pred))**2)``: 1 for equal values only.

    Source: Lin 1989, "A concordance correlation coefficient to evaluate reproducibility".

    Example:
        >>> from pellucid import metrics
        >>> metrics.concordance_correlation([[0.0, 1.0, 2.0]], [[1.0, 2.0, 3.0]]).round(4).tolist()
        [0.571...]
    """
    true, predicted = aligned("concordance_correlation", y_true, y_pred)
    means = [jnp.mean(y, axis, keepdims=True) for y in (true, predicted)]
    true, predicted, apart = true - means[0], predicted - means[1], jnp.squeeze(means[0] - means[1], axis)
    total = jnp.mean(true**2, axis) + jnp.mean(predicted**2, axis) + apart**2
    return 2.0 * jnp.mean(true * predicted, axis) / (total + EPSILON)


@entered()
class PearsonCorrelation(NamedMetric):
    """Mean of ``pearson_correlation``.

    Args:
        name: key in the logs.
        dtype: data type of state and result.
        axis: along which values correlate.
    """

    fn = staticmethod(pearson_correlation)

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(name, dtype)
        self.axis = axis


@entered()
class ConcordanceCorrelation(NamedMetric):
    """Mean of ``concordance_correlation``.

    Args:
        name: key in the logs.
        dtype: data type of state and result.
        axis: along which values correlate.
    """

    fn = staticmethod(concordance_correlation)

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(name, dtype)
        self.axis = axis
