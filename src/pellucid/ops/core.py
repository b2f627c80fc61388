"""Conversions and the few functions that neither ``jax.numpy`` nor ``jax.nn`` has under Keras's names."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes
from pellucid.core.arrays import array_seen
from pellucid.core.variable import Variable


def convert_to_tensor(x: Any, dtype: Any = None) -> jax.Array:
    """An array from a number, list, NumPy array or Variable. Python's and NumPy's 64-bit floats become ``floatx``."""
    x = x.value if isinstance(x, Variable) else x
    if dtype is None and not hasattr(x, "aval"):
        x = array_seen(x, "x", "convert_to_tensor")
    return jnp.asarray(x, dtype=None if dtype is None else dtypes.standardize_dtype(dtype))


def convert_to_numpy(x: Any) -> np.ndarray:
    """A NumPy array with the values of an array. In ``call`` it raises: the values exist only in the compiled program."""
    return np.asarray(x)


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a JAX array, real or traced."""
    return isinstance(x, jax.Array)


def cast(x: Any, dtype: Any) -> jax.Array:
    """The same values in another data type."""
    return jnp.asarray(x, dtypes.standardize_dtype(dtype))


def shape(x: Any) -> tuple:
    """The shape of an array. In a capture the batch is a symbolic size."""
    return jnp.shape(x)


def rsqrt(x: Any) -> jax.Array:
    """``1 / sqrt(x)``"""
    return jax.lax.rsqrt(jnp.asarray(x))


def leaky_relu(x: Any, negative_slope: float = 0.2) -> jax.Array:
    """``x`` above zero, ``negative_slope * x`` below."""
    return jax.nn.leaky_relu(x, negative_slope)


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[jax.Array, jax.Array]:
    """The k largest values along the last axis, and their indices."""
    return tuple(jax.lax.top_k(jnp.asarray(x), k))


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[jax.Array]:
    """The slices along an axis."""
    return list(jnp.unstack(jnp.asarray(x), axis=axis))[:num]  # one operation, where a loop would be many
