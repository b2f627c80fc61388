"""Losses of embeddings, as functions: what is alike shall be near, what is not far."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.losses.loss import as_float

NEVER = -1e30  # the logarithm of 0 in a sum of exponentials, with a finite gradient where all terms are 0


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> jax.Array:
    """``log(1 + sum(exp(p)) * sum(exp(n)))``, p of the references with the same label, n of the others; 0 where one kind is missing.

    With the cosine distance d: ``p = gamma * (d + margin) * (d - margin)``,
    ``n = gamma * max(1 + margin - d, 0) * (1 - margin - d)``. It compares the rows of a batch with each other.
    Source: Sun et al. 2020, arXiv:2002.10857.

    Args:
        y_true: labels; shape (batch,) or (batch, 1).
        y_pred: embeddings of norm 1; shape (batch, d).
        ref_labels: labels of the references; by default y_true.
        ref_embeddings: the references, of norm 1; by default y_pred.
        remove_diagonal: whether row i is not compared with reference i, as where it is its own.
        gamma: how much the farthest and the nearest count.
        margin: distance below which what is alike is near enough, and 1 minus that above which what is not is far enough.

    Example:
        >>> from pellucid import losses
        >>> near = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
        >>> losses.circle([0, 0, 1], near).round(4).tolist()
        [0.0, 0.0, 0.0]
    """
    y_pred = as_float(y_pred)
    labels = jnp.ravel(jnp.asarray(y_true))
    others = labels if ref_labels is None else jnp.ravel(jnp.asarray(ref_labels))
    references = y_pred if ref_embeddings is None else as_float(ref_embeddings)
    distance = jnp.maximum(1.0 - y_pred @ references.T, 0.0)
    alike = labels[:, None] == others
    different = ~alike
    if remove_diagonal:
        alike &= jnp.arange(labels.shape[0])[:, None] != jnp.arange(others.shape[0])
    near = gamma * (distance + margin) * (distance - margin)
    far = gamma * jnp.maximum(1.0 + margin - distance, 0.0) * (1.0 - margin - distance)
    return jax.nn.softplus(sum(jax.nn.logsumexp(jnp.where(which, x, NEVER), axis=1) for which, x in ((alike, near), (different, far))))
