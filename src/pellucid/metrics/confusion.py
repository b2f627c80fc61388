"""Counts of right and wrong decisions at thresholds, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core.variable import Variable
from pellucid.errors import did_you_mean
from pellucid.losses.loss import aligned, divide_or_zero, like_values
from pellucid.metrics.metric import Metric, entered
from pellucid.ops.crossentropy import EPSILON

LOWEST = -1e10  # the score of classes that are not among the best k
Thresholds = float | Sequence[float] | None


def weighted_labels(y_true: jax.Array, y_pred: jax.Array, sample_weight: Any, name: str) -> tuple[jax.Array, jax.Array]:
    """The weight of each place where the label is 1, and where it is 0; the other is 0."""
    weight = jnp.ones_like(y_pred)
    if sample_weight is not None:
        weight = weight * like_values(sample_weight, y_pred, "sample_weight", name).astype(y_pred.dtype)
    return jnp.where(y_true != 0, weight, 0), jnp.where(y_true != 0, 0, weight)


def sums_above(y_pred: jax.Array, thresholds: Any, weight: jax.Array, axes: Sequence[int], above: bool = True) -> jax.Array:
    """For each threshold the sum of the weights where predictions lie above it (or not), over axes of the predictions."""
    limits = jnp.asarray(thresholds, y_pred.dtype).reshape((-1,) + (1,) * y_pred.ndim)
    counted = y_pred > limits if above else ~(y_pred > limits)
    return jnp.sum(jnp.where(counted, weight, 0), axis=tuple(axis + 1 for axis in axes))


class ThresholdMetric(Metric):
    """Base of metrics of decisions ``y_pred > threshold``. One variable holds the counts, a row for each kind.

    Args:
        thresholds: one or several numbers from 0 to 1; 0.5 by default. With several the result has one value for each.
        top_k: takes the k best-scored classes as the positive ones, instead of a threshold.
        class_id: looks at this class alone.
        name: key in the logs.
        dtype: data type of state and result.
    """

    kinds: tuple[str, ...] = ()

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name, dtype)
        given = np.atleast_1d(np.asarray([] if thresholds is None else thresholds, float))
        if ((given < 0) | (given > 1)).any():
            raise ValueError(f"{type(self).__name__}: thresholds={thresholds!r} are not all from 0 to 1.")
        self.thresholds, self.top_k, self.class_id = thresholds, top_k, class_id
        self.counts: Variable = self.add_variable((len(self.kinds), len(self._limits)), name="counts")

    @property
    def _limits(self) -> np.ndarray:
        given = np.atleast_1d(np.asarray([] if self.thresholds is None else self.thresholds, float))
        return given if given.size else np.array([0.5 if self.top_k is None else LOWEST])

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch: labels 0 and 1 and scores of shape (batch, …); weights broadcast row by row."""
        y_true, y_pred = (y.astype(self.dtype) for y in aligned(self.name, y_true, y_pred))
        positive, negative = weighted_labels(y_true, y_pred, sample_weight, self.name)
        if self.top_k is not None:
            best = jax.nn.one_hot(jax.lax.top_k(y_pred, self.top_k)[1], y_pred.shape[-1], dtype=bool)
            y_pred = jnp.where(jnp.any(best, axis=-2), y_pred, LOWEST)
        if self.class_id is not None:
            if y_pred.ndim < 2:
                raise ValueError(f"{self.name}: class_id={self.class_id} needs a class axis; y_pred has shape {y_pred.shape}.")
            y_pred, positive, negative = (a[..., self.class_id] for a in (y_pred, positive, negative))
        weights = {"positives": (positive, negative), "negatives": (negative, positive)}
        self.counts.assign_add(jnp.stack([self._count(kind, y_pred, weights) for kind in self.kinds]))

    def _count(self, kind: str, y_pred: jax.Array, weights: dict[str, tuple]) -> jax.Array:
        truth, decision = kind.split("_")  # "true_positives": decided positive, and truly so
        weight = weights[decision][truth == "false"]
        return sums_above(y_pred, self._limits, weight, range(y_pred.ndim), above=decision == "positives")

    def row(self, kind: str) -> jax.Array:
        """The counts of a kind, one for each threshold."""
        return self.counts.value[self.kinds.index(kind)]

    def _single(self, values: jax.Array) -> jax.Array:
        return values[0] if len(self._limits) == 1 else values


class _Count(ThresholdMetric):
    def __init__(self, thresholds: Thresholds = None, name: str | None = None, dtype: Any = None):
        super().__init__(thresholds, name=name, dtype=dtype)

    def result(self) -> jax.Array:
        return self._single(self.counts.value[0])


@entered()
class TruePositives(_Count):
    """Number (sum of the weights) of places with label 1 that are predicted above the threshold.

    Args:
        thresholds, name, dtype: as in ``Precision``.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.TruePositives()([0, 1, 1, 1], [1.0, 0.0, 1.0, 1.0]))
        2.0
    """

    kinds = ("true_positives",)


@entered()
class FalsePositives(_Count):
    """Number (sum of the weights) of places with label 0 that are predicted above the threshold.

    Args:
        thresholds, name, dtype: as in ``Precision``.
    """

    kinds = ("false_positives",)


@entered()
class TrueNegatives(_Count):
    """Number (sum of the weights) of places with label 0 that are not predicted above the threshold.

    Args:
        thresholds, name, dtype: as in ``Precision``.
    """

    kinds = ("true_negatives",)


@entered()
class FalseNegatives(_Count):
    """Number (sum of the weights) of places with label 1 that are not predicted above the threshold.

    Args:
        thresholds, name, dtype: as in ``Precision``.
    """

    kinds = ("false_negatives",)


@entered()
class Precision(ThresholdMetric):
    """``true positives / (true positives + false positives)``; 0 before the first.

    Args:
        thresholds: one or several numbers from 0 to 1; 0.5 by default. With several the result has one value for each.
        top_k: takes the k best-scored classes as the positive ones, instead of a threshold.
        class_id: looks at this class alone.
        name: key in the logs.
        dtype: data type of state and result.

    Example:
        >>> from pellucid import metrics
        >>> round(float(metrics.Precision()([0, 1, 1, 1], [1.0, 0.0, 1.0, 1.0])), 4)
        0.6667
    """

    kinds = ("true_positives", "false_positives")

    def result(self) -> jax.Array:
        right, wrong = self.counts.value
        return self._single(divide_or_zero(right, right + wrong))


@entered()
class Recall(ThresholdMetric):
    """``true positives / (true positives + false negatives)``; 0 before the first.

    Args:
        thresholds, top_k, class_id, name, dtype: as in ``Precision``.

    Example:
        >>> from pellucid import metrics
        >>> round(float(metrics.Recall()([0, 1, 1, 1], [1.0, 0.0, 1.0, 1.0])), 4)
        0.6667
    """

    kinds = ("true_positives", "false_negatives")

    def result(self) -> jax.Array:
        found, missed = self.counts.value
        return self._single(divide_or_zero(found, found + missed))


@entered()
class AUC(Metric):
    """Area under the curve that the thresholds trace: the rate of true over that of false positives, or precision over recall.

    Source: Davis and Goadrich 2006 for the interpolation of precision and recall.

    Args:
        num_thresholds: how many thresholds, evenly from 0 to 1.
        curve: "ROC" or "PR".
        summation_method: "interpolation" (the mean of the two ends of each piece; "PR" has one of its own),
            "minoring" (the lower end) or "majoring" (the higher one).
        name: key in the logs.
        dtype: data type of state and result.
        thresholds: thresholds of your own, from 0 to 1; 0 and 1 are added.
        multi_label: whether the last axis holds independent labels: the result is then the mean of their areas.
        num_labels: how many labels; by default found with the first batch.
        label_weights: of the labels in the mean, or, without ``multi_label``, of the last axis.
        from_logits: whether predictions are logits.

    Example:
        >>> from pellucid import metrics
        >>> round(float(metrics.AUC(num_thresholds=3)([0, 0, 1, 1], [0.0, 0.5, 0.3, 0.9])), 4)
        0.75
    """

    CURVES = ("ROC", "PR")
    METHODS = ("interpolation", "minoring", "majoring")

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        super().__init__(name, dtype)
        for what, value, known in (
            ("curve", curve.upper(), self.CURVES),
            ("summation_method", summation_method.lower(), self.METHODS),
        ):
            if value not in known:
                raise ValueError(f"AUC: {what}={value!r} is not known. {did_you_mean(value, known)}")
        if thresholds is None and num_thresholds < 2:
            raise ValueError(f"AUC: num_thresholds={num_thresholds}; expected 2 or more.")
        if num_labels is not None and not multi_label:
            raise ValueError("AUC: num_labels is for multi_label=True.")
        inner = np.sort(np.asarray(thresholds, float)) if thresholds is not None else np.linspace(0, 1, num_thresholds)[1:-1]
        self._limits = np.array([-EPSILON, *inner, 1 + EPSILON])
        self.thresholds, self.num_thresholds = thresholds, len(self._limits)
        self.curve, self.summation_method = curve.upper(), summation_method.lower()
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = label_weights
        self.counts: Any = None  # of true and of false positives; at the lowest threshold they are all positives and negatives
        if num_labels is not None or not multi_label:
            self._make_counts(num_labels)

    def _make_counts(self, labels: int | None) -> None:
        self.counts = self.add_variable((2, self.num_thresholds, *(() if labels is None else (labels,))), name="counts")

    def build(self, y_true: Any, y_pred: Any) -> None:
        if self.counts is None:
            if len(y_pred.shape) != 2:
                raise ValueError(f"AUC: y_pred has shape {tuple(y_pred.shape)}; expected (batch, labels) with multi_label=True.")
            self._make_counts(y_pred.shape[1])

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch: labels 0 and 1 and predictions of shape (batch, …); weights broadcast row by row."""
        y_true, y_pred = (y.astype(self.dtype) for y in aligned(self.name, y_true, y_pred))
        self.build(y_true, y_pred)
        y_pred = jax.nn.sigmoid(y_pred) if self.from_logits else jnp.clip(y_pred, 0, 1)
        positive, negative = weighted_labels(y_true, y_pred, sample_weight, self.name)
        if self.label_weights is not None and not self.multi_label:
            label_weights = jnp.asarray(self.label_weights, self.dtype)
            positive, negative = positive * label_weights, negative * label_weights
        axes = range(1) if self.multi_label else range(y_pred.ndim)
        self.counts.assign_add(jnp.stack([sums_above(y_pred, self._limits, weight, axes) for weight in (positive, negative)]))

    def result(self) -> jax.Array:
        if self.counts is None:
            return jnp.zeros((), self.dtype)
        right, wrong = self.counts.value
        areas = self._pieces(right, wrong)
        area = jnp.sum(areas, axis=0)
        if not self.multi_label:
            return area
        if self.label_weights is None:
            return jnp.mean(area)
        weights = jnp.asarray(self.label_weights, self.dtype)
        return divide_or_zero(jnp.sum(area * weights), jnp.sum(weights))

    def _pieces(self, right: jax.Array, wrong: jax.Array) -> jax.Array:
        """The areas between neighbouring thresholds."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _precision_pieces(right, wrong)
        recall = divide_or_zero(right, right[:1])
        x, y = (divide_or_zero(wrong, wrong[:1]), recall) if self.curve == "ROC" else (recall, divide_or_zero(right, right + wrong))
        ends = {"interpolation": lambda a, b: (a + b) / 2, "minoring": jnp.minimum, "majoring": jnp.maximum}
        return (x[:-1] - x[1:]) * ends[self.summation_method](y[:-1], y[1:])


def _precision_pieces(right: jax.Array, wrong: jax.Array) -> jax.Array:
    """Precision over recall, integrated where true positives grow linearly with all positives.

    With t true of p positives, ``t = a + s p`` between two thresholds: the integral of ``t / p dt`` is ``s (Δt + a Δlog p)``.
    """
    positives = right + wrong
    gain = right[:-1] - right[1:]
    slope = divide_or_zero(gain, positives[:-1] - positives[1:])
    offset = right[1:] - slope * positives[1:]
    ratio = divide_or_zero(positives[:-1], positives[1:])
    return divide_or_zero(slope * (gain + offset * jnp.log(jnp.where(ratio > 0, ratio, 1.0))), right[:1])


@entered()
class FBetaScore(Metric):
    """``(1 + beta²) * precision * recall / (beta² * precision + recall)`` for each class, from one-hot targets.

    Args:
        average: None: one score a class; "macro": their mean; "weighted": their mean by the number of rows of each class;
            "micro": one score from the counts of all classes.
        beta: how much recall counts beside precision.
        threshold: predictions above it are positive; None: the highest-scored class of each row is.
        name: key in the logs.
        dtype: data type of state and result.

    Shapes: (batch, classes).

    Example:
        >>> from pellucid import metrics
        >>> metrics.FBetaScore()([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]]).round(4).tolist()
        [1.0, 1.0]
    """

    AVERAGES = (None, "micro", "macro", "weighted")

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(name, dtype)
        if average not in self.AVERAGES:
            raise ValueError(f"{type(self).__name__}: average={average!r} is not known; expected one of {self.AVERAGES}.")
        if beta <= 0:
            raise ValueError(f"{type(self).__name__}: beta={beta} is not positive.")
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"{type(self).__name__}: threshold={threshold} is not above 0 and at most 1.")
        self.average, self.beta, self.threshold = average, beta, threshold
        self.counts: Any = None

    def build(self, y_true: Any, y_pred: Any) -> None:
        if self.counts is None:
            if len(y_pred.shape) != 2:
                raise ValueError(f"{self.name}: y_pred has shape {tuple(y_pred.shape)}; expected (batch, classes).")
            self.counts = self.add_variable((3, y_pred.shape[1]), name="counts")  # true positives, all predicted, all labelled

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch; weights have shape (batch,) or (batch, 1)."""
        y_true, y_pred = (y.astype(self.dtype) for y in aligned(self.name, y_true, y_pred))
        self.build(y_true, y_pred)
        if self.threshold is None:
            chosen = (y_pred >= jnp.max(y_pred, axis=-1, keepdims=True)) & (jnp.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        predicted = chosen.astype(self.dtype)
        terms = jnp.stack([predicted * y_true, predicted, y_true])
        if sample_weight is not None:
            terms = terms * like_values(sample_weight, y_true, "sample_weight", self.name).astype(self.dtype)
        self.counts.assign_add(jnp.sum(terms, axis=1))

    def result(self) -> jax.Array:
        if self.counts is None:
            return jnp.zeros((), self.dtype)
        counts = self.counts.value
        right, predicted, labelled = jnp.sum(counts, axis=1) if self.average == "micro" else counts
        precision, recall = right / (predicted + EPSILON), right / (labelled + EPSILON)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average == "weighted":
            return jnp.sum(score * labelled) / (jnp.sum(labelled) + EPSILON)
        return jnp.mean(score) if self.average == "macro" else score


@entered()
class F1Score(FBetaScore):
    """``FBetaScore`` with beta 1: the harmonic mean of precision and recall.

    Args:
        average, threshold, name, dtype: as in ``FBetaScore``.
    """

    def __init__(self, average: str | None = None, threshold: float | None = None, name: str = "f1_score", dtype: Any = None):
        super().__init__(average, 1.0, threshold, name, dtype)
