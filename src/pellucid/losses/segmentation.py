"""Losses of regions, as functions: how far two regions overlap."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.losses.loss import aligned
from pellucid.ops.crossentropy import EPSILON

Axes = int | tuple[int, ...] | None


def dice(y_true: Any, y_pred: Any, axis: Axes = None) -> jax.Array:
    """``1 - 2 * sum(y_true * y_pred) / (sum(y_true) + sum(y_pred))``. Source: Milletari et al. 2016, arXiv:1606.04797.

    Args:
        y_true: membership of each place, 0 to 1; shape (batch, …).
        y_pred: likewise.
        axis: axes to sum over; None sums over all, which makes one number of the whole batch.

    Example:
        >>> from pellucid import losses
        >>> losses.dice([[1.0, 1.0]], [[1.0, 0.0]], axis=1).round(4).tolist()
        [0.33329999446868896]
    """
    y_true, y_pred = aligned("dice", y_true, y_pred)
    both = jnp.sum(y_true * y_pred, axis=axis)
    return 1.0 - 2.0 * both / (jnp.sum(y_true, axis=axis) + jnp.sum(y_pred, axis=axis) + EPSILON)


def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axes = None) -> jax.Array:
    """``1 - b / (b + alpha * m + beta * w)`` with b, m and w the sums of what is in both, missed, and wrongly in y_pred.

    Source: Salehi et al. 2017, arXiv:1706.05721; the roles of alpha and beta are those of Keras.

    Args:
        y_true: membership of each place, 0 to 1; shape (batch, …).
        y_pred: likewise.
        alpha: how much a missed place counts.
        beta: how much a wrong place counts.
        axis: axes to sum over; None sums over all, which makes one number of the whole batch.

    Example:
        >>> from pellucid import losses
        >>> losses.tversky([[1.0, 0.0]], [[1.0, 0.0]], axis=1).round(4).tolist()
        [0.0]
    """
    y_true, y_pred = aligned("tversky", y_true, y_pred)
    both = jnp.sum(y_true * y_pred, axis=axis)
    missed = jnp.sum(y_true * (1.0 - y_pred), axis=axis)
    wrong = jnp.sum(y_pred * (1.0 - y_true), axis=axis)
    return 1.0 - both / (both + alpha * missed + beta * wrong + EPSILON)
