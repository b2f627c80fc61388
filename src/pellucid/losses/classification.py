"""Losses of classes, as functions: they reduce the class axis and keep the others.

Probabilities are kept within [1e-7, 1 - 1e-7]; those of several classes are divided by their sum first. Logits are
better: they need neither.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import explain
from pellucid.errors import DataWarning
from pellucid.losses.loss import aligned, as_float
from pellucid.ops import crossentropy
from pellucid.ops.crossentropy import EPSILON, class_labels


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1) -> jax.Array:
    """``-mean(y_true * log(p) + (1 - y_true) * log(1 - p))``.

    Args:
        y_true: labels 0 or 1, or probabilities; shape (…, d).
        y_pred: probabilities p, or logits x with ``p = sigmoid(x)``; shape (…, d).
        from_logits: whether y_pred are logits.
        label_smoothing: s moves labels to ``y * (1 - s) + s / 2``.
        axis: the axis of the mean.

    Example:
        >>> from pellucid import losses
        >>> round(float(losses.binary_crossentropy([1], [0.0], from_logits=True)), 4)
        0.6931
    """
    y_true, y_pred = aligned("binary_crossentropy", y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, 2)
    return jnp.mean(crossentropy.binary_crossentropy(y_true, y_pred, from_logits), axis=axis)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> jax.Array:
    """``mean((1 - q)**gamma * crossentropy)`` with q the probability given to the label: easy cases count less.

    Source: Lin et al. 2017, arXiv:1708.02002.

    Args:
        y_true: labels 0 or 1; shape (…, d).
        y_pred: probabilities or logits; shape (…, d).
        apply_class_balancing: whether to multiply by alpha for label 1 and by ``1 - alpha`` for label 0.
        alpha: the weight of label 1.
        gamma: how much less easy cases count.
        from_logits: whether y_pred are logits.
        label_smoothing: as in ``binary_crossentropy``.
        axis: the axis of the mean.

    Example:
        >>> from pellucid import losses
        >>> round(float(losses.binary_focal_crossentropy([1], [0.5])), 4)
        0.1733
    """
    y_true, y_pred = aligned("binary_focal_crossentropy", y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, 2)
    p = jax.nn.sigmoid(y_pred) if from_logits else y_pred
    q = y_true * p + (1.0 - y_true) * (1.0 - p)
    values = jnp.power(1.0 - q, gamma) * crossentropy.binary_crossentropy(y_true, p)
    if apply_class_balancing:
        values = values * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return jnp.mean(values, axis=axis)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> jax.Array:
    """``-sum(y_true * log(p))`` over the classes.

    Args:
        y_true: one-hot labels or probabilities; shape (…, classes).
        y_pred: probabilities p, or logits x with ``p = softmax(x)``; shape (…, classes).
        from_logits: whether y_pred are logits.
        label_smoothing: s moves labels to ``y * (1 - s) + s / classes``.
        axis: the class axis.

    Example:
        >>> from pellucid import losses
        >>> [round(v, 4) for v in losses.categorical_crossentropy([[0, 1]], [[0.5, 0.5]]).tolist()]
        [0.6931]
    """
    y_true, y_pred = _categorical("categorical_crossentropy", y_true, y_pred, label_smoothing, axis)
    return crossentropy.categorical_crossentropy(y_true, y_pred, from_logits, axis)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> jax.Array:
    """``-sum(alpha * (1 - p)**gamma * y_true * log(p))`` over the classes: easy cases count less.

    Source: Lin et al. 2017, arXiv:1708.02002.

    Args:
        y_true: one-hot labels; shape (…, classes).
        y_pred: probabilities or logits; shape (…, classes).
        alpha: a factor, or one for each class.
        gamma: how much less easy cases count.
        from_logits: whether y_pred are logits.
        label_smoothing: as in ``categorical_crossentropy``.
        axis: the class axis.

    Example:
        >>> from pellucid import losses
        >>> [round(v, 4) for v in losses.categorical_focal_crossentropy([[0, 1]], [[0.5, 0.5]]).tolist()]
        [0.0433]
    """
    y_true, y_pred = _categorical("categorical_focal_crossentropy", y_true, y_pred, label_smoothing, axis)
    p = crossentropy.probabilities(jax.nn.softmax(y_pred, axis) if from_logits else y_pred, axis)
    return jnp.sum(jnp.power(1.0 - p, gamma) * jnp.asarray(alpha, p.dtype) * (-y_true * jnp.log(p)), axis=axis)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> jax.Array:
    """``-log(p[label])``. A label outside the classes gives 0.

    Args:
        y_true: labels 0, 1, … classes - 1; shape (…) or (…, 1).
        y_pred: probabilities p, or logits x with ``p = softmax(x)``; shape (…, classes).
        from_logits: whether y_pred are logits.
        ignore_class: a label whose places give 0; the loss class and the metric leave them out of the mean as well.
        axis: the class axis.

    Example:
        >>> from pellucid import losses
        >>> [round(v, 4) for v in losses.sparse_categorical_crossentropy([1, 0], [[0.5, 0.5], [1.0, 0.0]]).tolist()]
        [0.6931, 0.0]
    """
    y_true, y_pred = jnp.asarray(y_true), as_float(y_pred)
    labels = class_labels(y_true, y_pred, axis)
    if ignore_class is not None:
        labels = jnp.where(labels == ignore_class, -1, labels)
    return crossentropy.sparse_categorical_crossentropy(labels, y_pred, from_logits, axis)


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float = 0.5) -> jax.Array:
    """``(1 - p[label]**q) / q``: between crossentropy (q near 0) and absolute errors (q near 1); wrong labels disturb it less.

    Source: Zhang and Sabuncu 2018, arXiv:1805.07836.

    Args:
        y_true: labels 0, 1, … classes - 1; shape (…) or (…, 1).
        y_pred: probabilities p; shape (…, classes).
        q: between 0 and 1.

    Example:
        >>> from pellucid import losses
        >>> losses.categorical_generalized_cross_entropy([1], [[0.75, 0.25]]).tolist()
        [1.0]
    """
    y_pred = as_float(y_pred)
    labels = class_labels(jnp.asarray(y_true), y_pred)
    p = jnp.sum(jnp.where(jax.nn.one_hot(labels, y_pred.shape[-1], dtype=bool), y_pred, 0), axis=-1)
    return (1.0 - jnp.maximum(p, EPSILON) ** q) / q  # p**q has no derivative at 0


def kl_divergence(y_true: Any, y_pred: Any) -> jax.Array:
    """``sum(y_true * log(y_true / y_pred))``, both kept within [1e-7, 1]. Source: Kullback and Leibler 1951.

    Args:
        y_true: probabilities; shape (…, classes).
        y_pred: probabilities; shape (…, classes).

    Example:
        >>> from pellucid import losses
        >>> losses.kl_divergence([[0.5, 0.5]], [[0.5, 0.5]]).tolist()
        [0.0]
    """
    y_true, y_pred = aligned("kl_divergence", y_true, y_pred)
    y_true, y_pred = jnp.clip(y_true, EPSILON, 1.0), jnp.clip(y_pred, EPSILON, 1.0)
    return jnp.sum(y_true * jnp.log(y_true / y_pred), axis=-1)


def hinge(y_true: Any, y_pred: Any) -> jax.Array:
    """``mean(max(1 - y_true * y_pred, 0))``.

    Args:
        y_true: labels -1 or 1; 0 counts as -1; shape (…, d).
        y_pred: scores; shape (…, d).

    Example:
        >>> from pellucid import losses
        >>> losses.hinge([[1, -1]], [[0.5, 0.5]]).tolist()
        [1.0]
    """
    return jnp.mean(_margin("hinge", y_true, y_pred), axis=-1)


def squared_hinge(y_true: Any, y_pred: Any) -> jax.Array:
    """``mean(max(1 - y_true * y_pred, 0)**2)``, of labels and scores as in ``hinge``.

    Example:
        >>> from pellucid import losses
        >>> losses.squared_hinge([[1, -1]], [[0.5, 0.5]]).tolist()
        [1.25]
    """
    return jnp.mean(jnp.square(_margin("squared_hinge", y_true, y_pred)), axis=-1)


def categorical_hinge(y_true: Any, y_pred: Any) -> jax.Array:
    """``max(1 - s + max((1 - y_true) * y_pred), 0)`` with s the score of the right class, ``sum(y_true * y_pred)``.

    Args:
        y_true: one-hot labels; shape (…, classes).
        y_pred: scores; shape (…, classes).

    Example:
        >>> from pellucid import losses
        >>> losses.categorical_hinge([[0, 1]], [[1.0, 1.5]]).tolist()
        [0.5]
    """
    y_true, y_pred = aligned("categorical_hinge", y_true, y_pred)
    right = jnp.sum(y_true * y_pred, axis=-1)
    wrong = jnp.max((1.0 - y_true) * y_pred, axis=-1)
    return jnp.maximum(wrong - right + 1.0, 0.0)


# ---- What they share ----


def _smoothed(y_true: jax.Array, label_smoothing: float, classes: int) -> jax.Array:
    return y_true * (1.0 - label_smoothing) + label_smoothing / classes if label_smoothing else y_true


def _categorical(function: str, y_true: Any, y_pred: Any, label_smoothing: float, axis: int) -> tuple[jax.Array, jax.Array]:
    labels = "If the targets are class numbers, use sparse_categorical_crossentropy; else give one-hot rows of shape y_pred.shape."
    y_true, y_pred = aligned(function, y_true, y_pred, labels)
    classes = y_pred.shape[axis]
    if y_pred.ndim > 1 and classes == 1:
        explain.warn(
            f"{function}: y_pred has shape {y_pred.shape}, one class, so that the loss is always 0. "
            "For two classes and one output use binary_crossentropy.",
            DataWarning,
        )
    return _smoothed(y_true, label_smoothing, classes), y_pred


def _margin(function: str, y_true: Any, y_pred: Any) -> jax.Array:
    y_true, y_pred = aligned(function, y_true, y_pred)
    # each label by itself: asking whether all labels are 0 or 1 would let the rows influence each other
    return jnp.maximum(1.0 - jnp.where(y_true == 0, -1.0, y_true) * y_pred, 0.0)
