"""Crossentropies of single places: what the losses of the same names take means of.

Probabilities are kept within [1e-7, 1 - 1e-7]; those of several classes are divided by their sum first. Logits are
better: they need neither.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import dtypes

EPSILON = 1e-7  # keeps logarithms and quotients finite


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> jax.Array:
    """``-target * log(p) - (1 - target) * log(1 - p)``. Shapes: (…), (…) -> (…).

    Args:
        target: labels 0 or 1, or probabilities.
        output: probabilities p, or logits x with ``p = sigmoid(x)``.
        from_logits: whether the outputs are logits.

    Example:
        >>> from pellucid import ops
        >>> [round(v, 4) for v in ops.binary_crossentropy([1, 0], [0.5, 0.0]).tolist()]
        [0.6931, 0.0]
    """
    target, p = _alike("binary_crossentropy", target, output)
    if from_logits:  # -y * log_sigmoid(x) - (1 - y) * log_sigmoid(-x) with one logarithm; exact for large logits of either sign
        positive = jnp.maximum(p, 0.0)
        return positive - p * target + jnp.log1p(jnp.exp(p - 2.0 * positive))  # -abs(x), with the right derivative at 0
    dtype, p = p.dtype, clipped(dtypes.wide(p))  # 1 - 1e-7 is 1 in 16 bits
    return -(target * jnp.log(p) + (1.0 - target) * jnp.log(1.0 - p)).astype(dtype)


def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> jax.Array:
    """``-sum(target * log(p))`` over the classes. Shapes: (…, classes), (…, classes) -> (…).

    Args:
        target: one-hot labels or probabilities.
        output: probabilities p, or logits x with ``p = softmax(x)``.
        from_logits: whether the outputs are logits.
        axis: the class axis.
    """
    target, output = _alike("categorical_crossentropy", target, output)
    if not from_logits:
        return -jnp.sum(target * jnp.log(probabilities(dtypes.wide(output), axis)), axis=axis).astype(output.dtype)
    largest, log_sum = _log_sum_exp(output, axis)
    return log_sum * jnp.sum(target, axis=axis) + jnp.sum(target * (largest - output), axis=axis)


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> jax.Array:
    """``-log(p[target])``; 0 for a label outside the classes. Shapes: (…) or (…, 1), (…, classes) -> (…).

    Args:
        target: labels 0, 1, … classes - 1.
        output: probabilities p, or logits x with ``p = softmax(x)``.
        from_logits: whether the outputs are logits.
        axis: the class axis.
    """
    output = _float(output)
    labels, classes = class_labels(jnp.asarray(target), output, axis), output.shape[axis]
    # a comparison and a sum along the class axis: one pass, and gradients without a scatter
    chosen = jnp.sum(jnp.where(jax.nn.one_hot(labels, classes, axis=axis, dtype=bool), output, 0), axis=axis)
    if from_logits:
        largest, log_sum = _log_sum_exp(output, axis)
        values = log_sum + (jnp.squeeze(largest, axis) - chosen)
    else:
        values = -jnp.log(clipped(dtypes.wide(chosen) / jnp.sum(dtypes.wide(output), axis=axis))).astype(output.dtype)
    return jnp.where((labels >= 0) & (labels < classes), values, 0)


def class_labels(y_true: jax.Array, y_pred: jax.Array, axis: int = -1) -> jax.Array:
    """Whole labels, of the shape of the predictions without their class axis.

    Raises:
        ValueError: they have another shape.
    """
    expected = y_pred.shape[: axis % y_pred.ndim] + y_pred.shape[axis % y_pred.ndim + 1 :]
    if y_true.ndim == y_pred.ndim and y_true.ndim > 1 and y_true.shape[axis] == 1:
        y_true = jnp.squeeze(y_true, axis)
    if y_true.shape != expected:
        one_hot = " They look one-hot: use categorical_crossentropy." if y_true.shape == y_pred.shape else ""
        raise ValueError(
            f"sparse_categorical_crossentropy: y_true has shape {y_true.shape} and y_pred has shape {y_pred.shape}; "
            f"expected labels of shape {expected}, one for each row of class scores.{one_hot}"
        )
    return y_true if jnp.issubdtype(y_true.dtype, jnp.signedinteger) else y_true.astype("int32")


def clipped(p: jax.Array) -> jax.Array:
    """Probabilities that have a logarithm, and whose complements have one."""
    return jnp.clip(p, EPSILON, 1.0 - EPSILON)


def probabilities(p: jax.Array, axis: int) -> jax.Array:
    """Positive numbers over their sum along an axis."""
    return clipped(p / jnp.sum(p, axis=axis, keepdims=True))


def _alike(function: str, target: Any, output: Any) -> tuple[jax.Array, jax.Array]:
    target, output = jnp.asarray(target), _float(output)
    if target.shape != output.shape:
        raise ValueError(f"{function}: target has shape {target.shape} and output has shape {output.shape}; expected equal shapes.")
    return target.astype(output.dtype), output


def _float(output: Any) -> jax.Array:
    output = jnp.asarray(output)
    return output if jnp.issubdtype(output.dtype, jnp.floating) else output.astype("float32")


def _log_sum_exp(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The largest logit m (its axis kept, no gradient) and ``log(sum(exp(x - m)))``: to be added last, so that no digits are lost.

    ``-log(softmax(x)) = log_sum + (m - x)`` needs no array of all log-probabilities: with its gradient a quarter less memory traffic.
    """
    largest = jax.lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    return largest, jnp.log(jnp.sum(jnp.exp(x - largest), axis=axis))
