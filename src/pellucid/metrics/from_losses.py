"""Losses as metrics: means over all rows. Arguments: name and dtype as in ``Metric``, options as in the function."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid import losses
from pellucid.losses.classification import class_labels
from pellucid.losses.loss import as_float
from pellucid.metrics.mean import NamedMetric
from pellucid.metrics.metric import entered


@entered("mse", "MSE")
class MeanSquaredError(NamedMetric):
    """Mean of ``losses.mean_squared_error``.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.MeanSquaredError()([[0.0], [1.0]], [[1.0], [4.0]]))
        5.0
    """

    fn = staticmethod(losses.mean_squared_error)


@entered("mae", "MAE")
class MeanAbsoluteError(NamedMetric):
    """Mean of ``losses.mean_absolute_error``."""

    fn = staticmethod(losses.mean_absolute_error)


@entered("mape", "MAPE")
class MeanAbsolutePercentageError(NamedMetric):
    """Mean of ``losses.mean_absolute_percentage_error``."""

    fn = staticmethod(losses.mean_absolute_percentage_error)


@entered("msle", "MSLE")
class MeanSquaredLogarithmicError(NamedMetric):
    """Mean of ``losses.mean_squared_logarithmic_error``."""

    fn = staticmethod(losses.mean_squared_logarithmic_error)


@entered("logcosh", "log_cosh")
class LogCoshError(NamedMetric):
    """Mean of ``losses.log_cosh``."""

    fn = staticmethod(losses.log_cosh)

    def __init__(self, name: str | None = "logcosh", dtype: Any = None):
        super().__init__(name, dtype)


@entered()
class Poisson(NamedMetric):
    """Mean of ``losses.poisson``."""

    fn = staticmethod(losses.poisson)


@entered("kld", "KLD", "kullback_leibler_divergence")
class KLDivergence(NamedMetric):
    """Mean of ``losses.kl_divergence``."""

    fn = staticmethod(losses.kl_divergence)


@entered()
class Hinge(NamedMetric):
    """Mean of ``losses.hinge``."""

    fn = staticmethod(losses.hinge)


@entered()
class SquaredHinge(NamedMetric):
    """Mean of ``losses.squared_hinge``."""

    fn = staticmethod(losses.squared_hinge)


@entered()
class CategoricalHinge(NamedMetric):
    """Mean of ``losses.categorical_hinge``."""

    fn = staticmethod(losses.categorical_hinge)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """``sum(y_true * y_pred) / (norm(y_true) * norm(y_pred))``: 1 for one direction (the loss has the other sign)."""
    return -losses.cosine_similarity(y_true, y_pred, axis)


@entered()
class CosineSimilarity(NamedMetric):
    """Mean of ``sum(y_true * y_pred) / (norm(y_true) * norm(y_pred))``: 1 for one direction (the loss has the other sign).

    Args:
        name: key in the logs.
        dtype: data type of state and result.
        axis: along which the vectors lie.
    """

    fn = staticmethod(cosine_similarity)

    def __init__(self, name: str | None = None, dtype: Any = None, axis: int = -1):
        super().__init__(name, dtype)
        self.axis = axis


@entered("bce", "BCE")
class BinaryCrossentropy(NamedMetric):
    """Mean of ``losses.binary_crossentropy``."""

    fn = staticmethod(losses.binary_crossentropy)

    def __init__(self, name: str | None = None, dtype: Any = None, from_logits: bool = False, label_smoothing: float = 0.0):
        super().__init__(name, dtype)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


@entered()
class CategoricalCrossentropy(NamedMetric):
    """Mean of ``losses.categorical_crossentropy``."""

    fn = staticmethod(losses.categorical_crossentropy)

    def __init__(self, name: str | None = None, dtype: Any = None, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1):
        super().__init__(name, dtype)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


@entered()
class SparseCategoricalCrossentropy(NamedMetric):
    """Mean of ``losses.sparse_categorical_crossentropy``; places with the label ``ignore_class`` do not count."""

    fn = staticmethod(losses.sparse_categorical_crossentropy)

    def __init__(
        self,
        name: str | None = None,
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(name, dtype)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def values(self, y_true: Any, y_pred: Any) -> jax.Array:
        return self.fn(y_true, y_pred, **self.fn_kwargs)

    def counted(self, y_true: Any, y_pred: Any) -> jax.Array | None:
        if self.ignore_class is None:
            return None
        return class_labels(jnp.asarray(y_true), as_float(y_pred), self.axis) != self.ignore_class
