"""Losses of numbers, as functions: they reduce the last axis and keep the others.

Shapes of all: y_true and y_pred (…, d) -> (…). A last axis of size 1 that only one of them has is added or removed.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.losses.loss import aligned
from pellucid.ops.crossentropy import EPSILON


def mean_squared_error(y_true: Any, y_pred: Any) -> jax.Array:
    """``mean((y_true - y_pred)**2)``.

    Example:
        >>> from pellucid import losses
        >>> losses.mean_squared_error([[0.0, 1.0]], [[1.0, 4.0]]).tolist()
        [5.0]
    """
    y_true, y_pred = aligned("mean_squared_error", y_true, y_pred)
    return jnp.mean(jnp.square(y_true - y_pred), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> jax.Array:
    """``mean(abs(y_true - y_pred))``.

    Example:
        >>> from pellucid import losses
        >>> losses.mean_absolute_error([[0.0, 1.0]], [[1.0, 4.0]]).tolist()
        [2.0]
    """
    y_true, y_pred = aligned("mean_absolute_error", y_true, y_pred)
    return jnp.mean(jnp.abs(y_true - y_pred), axis=-1)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> jax.Array:
    """``100 * mean(abs((y_true - y_pred) / y_true))``, the divisor at least 1e-7 in size.

    Example:
        >>> from pellucid import losses
        >>> losses.mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 4.0]]).tolist()
        [25.0]
    """
    y_true, y_pred = aligned("mean_absolute_percentage_error", y_true, y_pred)
    return 100.0 * jnp.mean(jnp.abs((y_true - y_pred) / jnp.maximum(jnp.abs(y_true), EPSILON)), axis=-1)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> jax.Array:
    """``mean((log(1 + y_true) - log(1 + y_pred))**2)``; values below 1e-7 count as 1e-7.

    Example:
        >>> from pellucid import losses
        >>> losses.mean_squared_logarithmic_error([[1.0]], [[1.0]]).tolist()
        [0.0]
    """
    y_true, y_pred = aligned("mean_squared_logarithmic_error", y_true, y_pred)
    logs = [jnp.log(jnp.maximum(y, EPSILON) + 1.0) for y in (y_true, y_pred)]
    return jnp.mean(jnp.square(logs[0] - logs[1]), axis=-1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> jax.Array:
    """``mean(e**2 / 2)`` for errors up to delta, ``mean(delta * abs(e) - delta**2 / 2)`` beyond. Source: Huber 1964.

    Args:
        y_true: targets.
        y_pred: predictions.
        delta: the error at which the loss turns from square to linear.

    Example:
        >>> from pellucid import losses
        >>> losses.huber([[0.0, 0.0]], [[1.0, 3.0]]).tolist()
        [1.5]
    """
    y_true, y_pred = aligned("huber", y_true, y_pred)
    error = y_pred - y_true
    size = jnp.abs(error)
    return jnp.mean(jnp.where(size <= delta, 0.5 * jnp.square(error), delta * size - 0.5 * delta**2), axis=-1)


def log_cosh(y_true: Any, y_pred: Any) -> jax.Array:
    """``mean(log(cosh(y_pred - y_true)))``: near e**2 / 2 for small errors, near ``abs(e) - log(2)`` for large ones.

    Example:
        >>> from pellucid import losses
        >>> losses.log_cosh([[1.0]], [[1.0]]).tolist()
        [0.0]
    """
    y_true, y_pred = aligned("log_cosh", y_true, y_pred)
    error = y_pred - y_true
    return jnp.mean(error + jax.nn.softplus(-2.0 * error) - math.log(2.0), axis=-1)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> jax.Array:
    """``-sum(y_true * y_pred) / (norm(y_true) * norm(y_pred))``: -1 for one direction, 1 for opposite ones.

    Args:
        y_true: targets.
        y_pred: predictions.
        axis: along which the vectors lie.

    Example:
        >>> from pellucid import losses
        >>> losses.cosine_similarity([[1.0, 0.0]], [[2.0, 0.0]]).tolist()
        [-1.0]
    """
    y_true, y_pred = aligned("cosine_similarity", y_true, y_pred)
    return -jnp.sum(_unit(y_true, axis) * _unit(y_pred, axis), axis=axis)


def _unit(x: jax.Array, axis: int) -> jax.Array:
    """Vectors of length 1; those shorter than 1e-7 are only multiplied by 1e7, so that the gradient stays finite."""
    square = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, EPSILON**2))


def poisson(y_true: Any, y_pred: Any) -> jax.Array:
    """``mean(y_pred - y_true * log(y_pred + 1e-7))``: of counts y_true with the expected values y_pred.

    Example:
        >>> from pellucid import losses
        >>> losses.poisson([[0.0]], [[2.0]]).tolist()
        [2.0]
    """
    y_true, y_pred = aligned("poisson", y_true, y_pred)
    return jnp.mean(y_pred - y_true * jnp.log(y_pred + EPSILON), axis=-1)
