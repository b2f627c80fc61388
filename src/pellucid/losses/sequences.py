"""Losses of sequences whose labels have no known places, as functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.ops.ctc import ctc_loss


def ctc(y_true: Any, y_pred: Any) -> jax.Array:
    """``-log`` of the probability of labels, summed over all their alignments with the steps. Source: Graves et al. 2006.

    Args:
        y_true: labels from 1, followed by zeros; shape (batch, labels).
        y_pred: logits of the classes, of which 0 stands for no label; shape (batch, steps, classes).

    Example:
        >>> from pellucid import losses, ops
        >>> [round(v, 4) for v in losses.ctc([[1, 0]], ops.zeros((1, 2, 2))).tolist()]
        [0.2877]
    """
    y_true, y_pred = jnp.asarray(y_true).astype("int32"), jnp.asarray(y_pred)
    if y_true.ndim != 2 or y_pred.ndim != 3:
        raise ValueError(
            f"ctc: y_true has shape {y_true.shape} and y_pred has shape {y_pred.shape}; "
            "expected labels (batch, labels) and logits (batch, steps, classes)."
        )
    steps = jnp.full_like(y_true[:, 0], y_pred.shape[1])
    return ctc_loss(y_true, y_pred, jnp.sum(y_true != 0, axis=-1), steps)
