"""Initializers without chance."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes
from pellucid.initializers.initializer import Initializer, Shape, entered


@entered("zeros", "zero")
class Zeros(Initializer):
    """All 0.

    Example:
        >>> from pellucid import initializers
        >>> initializers.Zeros()((2,)).tolist()
        [0.0, 0.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.zeros(tuple(shape), jnp.dtype(dtypes.standardize_dtype(dtype)))


@entered("ones", "one")
class Ones(Initializer):
    """All 1.

    Example:
        >>> from pellucid import initializers
        >>> initializers.Ones()((2,), "int32").tolist()
        [1, 1]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        return np.ones(tuple(shape), jnp.dtype(dtypes.standardize_dtype(dtype)))


@entered("constant")
class Constant(Initializer):
    """One value everywhere.

    Args:
        value: a number, or an array that broadcasts to the shape.

    Example:
        >>> from pellucid import initializers
        >>> initializers.Constant(0.5)((1, 2)).tolist()
        [[0.5, 0.5]]
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        value = np.asarray(self.value, jnp.dtype(dtypes.standardize_dtype(dtype)))
        return np.broadcast_to(value, tuple(shape)).copy()


@entered("identity", "IdentityInitializer")
class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, 0 elsewhere.

    Args:
        gain: the value on the diagonal.

    Example:
        >>> from pellucid import initializers
        >>> initializers.Identity(2.0)((2, 3)).tolist()
        [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(f"Identity: shape={tuple(shape)} has {len(shape)} axes; expected a matrix, (rows, columns).")
        return (self.gain * np.eye(shape[0], shape[1])).astype(jnp.dtype(dtypes.standardize_dtype(dtype)))
