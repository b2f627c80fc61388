"""Intersection over union: how far predicted and true regions of classes overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.losses.loss import divide_or_zero, like_values
from pellucid.metrics.metric import Metric, entered


@entered()
class IoU(Metric):
    """Mean over some classes of ``right / (labelled + predicted - right)``, each the number (sum of the weights) of places.

    Classes that are neither labelled nor predicted are left out of the mean.

    Args:
        num_classes: how many classes there are; places with other class numbers do not count.
        target_class_ids: the classes of the mean.
        name: key in the logs.
        dtype: data type of state and result.
        ignore_class: a label whose places do not count.
        sparse_y_true: whether targets are class numbers; else they are scores of the classes, or one-hot.
        sparse_y_pred: likewise of predictions.
        axis: the class axis of scores.

    Example:
        >>> from pellucid import metrics
        >>> round(float(metrics.IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1])), 4)
        0.3333
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(name, dtype)
        if not all(0 <= number < num_classes for number in target_class_ids):
            raise ValueError(f"{type(self).__name__}: target_class_ids={target_class_ids} are not all from 0 to {num_classes - 1}.")
        self.num_classes, self.target_class_ids, self.ignore_class = num_classes, list(target_class_ids), ignore_class
        self.sparse_y_true, self.sparse_y_pred, self.axis = sparse_y_true, sparse_y_pred, axis
        self.counts = self.add_variable((3, num_classes), name="counts")  # right, labelled, predicted

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of any shape; weights have that of the class numbers, or one for each row."""
        true = self._numbers(y_true, self.sparse_y_true)
        predicted = self._numbers(y_pred, self.sparse_y_pred)
        if true.size != predicted.size:
            raise ValueError(f"{self.name}: y_true has class numbers of shape {true.shape}, y_pred of shape {predicted.shape}.")
        weight = jnp.ones(predicted.shape, self.dtype)
        if sample_weight is not None:
            weight = weight * like_values(sample_weight, predicted, "sample_weight", self.name).astype(self.dtype)
        true = jnp.reshape(true, predicted.shape)
        counts = (true >= 0) & (true < self.num_classes) & (predicted >= 0) & (predicted < self.num_classes)
        if self.ignore_class is not None:
            counts &= true != self.ignore_class
        weight = jnp.where(counts, weight, 0)
        sums = [
            self._by_class(numbers, w)
            for numbers, w in ((true, jnp.where(true == predicted, weight, 0)), (true, weight), (predicted, weight))
        ]
        self.counts.assign_add(jnp.stack(sums))

    def _numbers(self, y: Any, sparse: bool) -> jax.Array:
        y = jnp.asarray(y)
        return y.astype("int32") if sparse else jnp.argmax(y, axis=self.axis).astype("int32")

    def _by_class(self, numbers: jax.Array, weight: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(weight.ravel(), numbers.ravel(), self.num_classes)

    def result(self) -> jax.Array:
        right, labelled, predicted = self.counts.value[:, jnp.array(self.target_class_ids)]
        union = labelled + predicted - right
        return divide_or_zero(jnp.sum(divide_or_zero(right, union)), jnp.sum((union > 0).astype(self.dtype)))


@entered()
class BinaryIoU(IoU):
    """``IoU`` of the classes 0 and 1, of which 1 is predicted where a score reaches the threshold.

    Args:
        target_class_ids: the classes of the mean.
        threshold: the least score of class 1.
        name: key in the logs.
        dtype: data type of state and result.

    Example:
        >>> from pellucid import metrics
        >>> round(float(metrics.BinaryIoU()([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])), 4)
        0.5833
    """

    def __init__(self, target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5, name: str | None = None, dtype: Any = None):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, jnp.asarray(y_pred) >= self.threshold, sample_weight)


@entered()
class MeanIoU(IoU):
    """``IoU`` of all classes.

    Args:
        num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis: as in ``IoU``.
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


@entered()
class OneHotIoU(IoU):
    """``IoU`` of one-hot targets and scores of the classes.

    Args:
        num_classes, target_class_ids, name, dtype, ignore_class, axis: as in ``IoU``.
        sparse_y_pred: whether predictions are class numbers.
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)


@entered()
class OneHotMeanIoU(MeanIoU):
    """``OneHotIoU`` of all classes.

    Args:
        num_classes, name, dtype, ignore_class, sparse_y_pred, axis: as in ``OneHotIoU``.
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
