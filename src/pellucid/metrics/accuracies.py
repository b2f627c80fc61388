"""How often predictions are right. The functions return 1 or 0 for each place; the classes take the mean."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import dtypes
from pellucid.losses.loss import align_ranks
from pellucid.metrics.mean import NamedMetric
from pellucid.metrics.metric import entered


def accuracy(y_true: Any, y_pred: Any) -> jax.Array:
    """``y_true == y_pred``. Shapes: (…), (…) -> (…).

    Example:
        >>> from pellucid import metrics
        >>> metrics.accuracy([1, 2], [1, 3]).tolist()
        [1.0, 0.0]
    """
    y_true, y_pred = _alike("accuracy", y_true, y_pred)
    return _number(y_true == y_pred)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> jax.Array:
    """``y_true == (y_pred > threshold)``. Shapes: (…), (…) -> (…).

    Example:
        >>> from pellucid import metrics
        >>> metrics.binary_accuracy([1, 1], [0.8, 0.2]).tolist()
        [1.0, 0.0]
    """
    y_true, y_pred = _alike("binary_accuracy", y_true, y_pred)
    return _number(y_true == (y_pred > threshold).astype(y_true.dtype))


def categorical_accuracy(y_true: Any, y_pred: Any) -> jax.Array:
    """``argmax(y_true) == argmax(y_pred)``. Shapes: (…, classes), (…, classes) -> (…).

    Example:
        >>> from pellucid import metrics
        >>> metrics.categorical_accuracy([[0, 1], [0, 1]], [[0.2, 0.8], [0.7, 0.3]]).tolist()
        [1.0, 0.0]
    """
    y_true, y_pred = _one_hot("categorical_accuracy", y_true, y_pred)
    return _number(jnp.argmax(y_true, axis=-1) == jnp.argmax(y_pred, axis=-1))


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> jax.Array:
    """``y_true == argmax(y_pred)``. Shapes: (…) or (…, 1), (…, classes) -> (…).

    Example:
        >>> from pellucid import metrics
        >>> metrics.sparse_categorical_accuracy([1, 1], [[0.2, 0.8], [0.7, 0.3]]).tolist()
        [1.0, 0.0]
    """
    y_true, y_pred = _class_numbers("sparse_categorical_accuracy", y_true, y_pred)
    return _number(y_true == jnp.argmax(y_pred, axis=-1))


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> jax.Array:
    """Whether fewer than k classes score higher than the right one. Shapes: (…, classes), (…, classes) -> (…).

    Example:
        >>> from pellucid import metrics
        >>> metrics.top_k_categorical_accuracy([[0, 0, 1]], [[0.5, 0.2, 0.3]], k=2).tolist()
        [1.0]
    """
    y_true, y_pred = _one_hot("top_k_categorical_accuracy", y_true, y_pred)
    return _in_top_k(jnp.argmax(y_true, axis=-1), y_pred, k)


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> jax.Array:
    """Whether fewer than k classes score higher than the right one. Shapes: (…) or (…, 1), (…, classes) -> (…).

    Args:
        y_true: class numbers.
        y_pred: scores; or class numbers, best first, with ``from_sorted_ids``.
        k: how many classes count as right.
        from_sorted_ids: whether y_pred holds class numbers.

    Example:
        >>> from pellucid import metrics
        >>> metrics.sparse_top_k_categorical_accuracy([2, 1], [[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]], k=2).tolist()
        [1.0, 0.0]
    """
    y_true, y_pred = _class_numbers("sparse_top_k_categorical_accuracy", y_true, y_pred)
    if from_sorted_ids:
        return _number(jnp.any(y_true[..., None] == y_pred[..., :k], axis=-1))
    return _in_top_k(y_true.astype("int32"), y_pred, k)


def _in_top_k(labels: jax.Array, scores: jax.Array, k: int) -> jax.Array:
    right = jnp.take_along_axis(scores, labels[..., None], axis=-1)
    right = jnp.where(jnp.isnan(right), -jnp.inf, right)
    return _number(jnp.sum(scores > right, axis=-1) < k)


def _number(right: jax.Array) -> jax.Array:
    return right.astype(dtypes.floatx())


def _alike(function: str, y_true: Any, y_pred: Any) -> tuple[jax.Array, jax.Array]:
    y_true, y_pred = align_ranks(jnp.asarray(y_true), jnp.asarray(y_pred))
    _expect(function, y_true, y_pred, y_pred.shape)
    return y_true, y_pred


def _one_hot(function: str, y_true: Any, y_pred: Any) -> tuple[jax.Array, jax.Array]:
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    _expect(function, y_true, y_pred, y_pred.shape, " For class numbers use the sparse form.")
    return y_true, y_pred


def _class_numbers(function: str, y_true: Any, y_pred: Any) -> tuple[jax.Array, jax.Array]:
    y_true, y_pred = jnp.asarray(y_true), jnp.asarray(y_pred)
    if y_true.ndim == y_pred.ndim and y_true.ndim > 1 and y_true.shape[-1] == 1:
        y_true = jnp.squeeze(y_true, -1)
    _expect(function, y_true, y_pred, y_pred.shape[:-1], " For one-hot targets use the categorical form.")
    return y_true, y_pred


def _expect(function: str, y_true: jax.Array, y_pred: jax.Array, shape: tuple, hint: str = "") -> None:
    if y_true.shape != shape:
        raise ValueError(
            f"{function}: y_true has shape {y_true.shape} and y_pred has shape {y_pred.shape}; expected y_true of shape {shape}.{hint}"
        )


# ---- Classes: name and dtype as in Metric, options as in the functions ----


@entered()
class Accuracy(NamedMetric):
    """Mean of ``accuracy``: how often predictions equal targets.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.Accuracy()([1, 2, 3, 4], [1, 2, 3, 5]))
        0.75
    """

    fn = staticmethod(accuracy)


@entered()
class BinaryAccuracy(NamedMetric):
    """Mean of ``binary_accuracy``.

    Args:
        name: key in the logs.
        dtype: data type of state and result.
        threshold: predictions above it count as 1; for logits use 0.
    """

    fn = staticmethod(binary_accuracy)

    def __init__(self, name: str | None = None, dtype: Any = None, threshold: float = 0.5):
        super().__init__(name, dtype)
        self.threshold = threshold


class _OfClasses(NamedMetric):
    """The last axis of the predictions is that of the classes, even where it has size 1."""

    def values(self, y_true: Any, y_pred: Any) -> jax.Array:
        return self.fn(y_true, y_pred, **self.fn_kwargs)


@entered()
class CategoricalAccuracy(_OfClasses):
    """Mean of ``categorical_accuracy``: targets are one-hot."""

    fn = staticmethod(categorical_accuracy)


@entered()
class SparseCategoricalAccuracy(_OfClasses):
    """Mean of ``sparse_categorical_accuracy``: targets are class numbers.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.SparseCategoricalAccuracy()([1, 1], [[0.2, 0.8], [0.7, 0.3]]))
        0.5
    """

    fn = staticmethod(sparse_categorical_accuracy)


@entered()
class TopKCategoricalAccuracy(_OfClasses):
    """Mean of ``top_k_categorical_accuracy``: targets are one-hot.

    Args:
        k: how many classes count as right.
        name: key in the logs.
        dtype: data type of state and result.
    """

    fn = staticmethod(top_k_categorical_accuracy)

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None):
        super().__init__(name, dtype)
        self.k = k


@entered()
class SparseTopKCategoricalAccuracy(_OfClasses):
    """Mean of ``sparse_top_k_categorical_accuracy``: targets are class numbers.

    Args:
        k: how many classes count as right.
        name: key in the logs.
        dtype: data type of state and result.
        from_sorted_ids: whether predictions are class numbers, best first.
    """

    fn = staticmethod(sparse_top_k_categorical_accuracy)

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None, from_sorted_ids: bool = False):
        super().__init__(name, dtype)
        self.k, self.from_sorted_ids = k, from_sorted_ids
