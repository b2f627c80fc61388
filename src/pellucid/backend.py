"""What scripts take from ``keras.backend``."""

from __future__ import annotations

import collections
import gc
from typing import Any

import jax.numpy as jnp

from pellucid.config import backend, epsilon, floatx, image_data_format, set_epsilon, set_floatx, set_image_data_format
from pellucid.core import naming
from pellucid.core.dtypes import standardize_dtype
from pellucid.core.symbolic import SymbolicTensor

_uids: collections.Counter[str] = collections.Counter()


def clear_session(free_memory: bool = True) -> None:
    """Numbers names anew: the next ``Dense`` is ``dense`` again. Models that exist stay as they are; what holds none is freed.

    Args:
        free_memory: whether Python looks for memory that nobody uses any more.

    Example:
        >>> import pellucid
        >>> pellucid.backend.clear_session()
        >>> pellucid.layers.Dense(1).name, pellucid.layers.Dense(1).name
        ('dense', 'dense_1')
    """
    naming.reset_names()
    _uids.clear()
    if free_memory:
        gc.collect()


def get_uid(prefix: str = "") -> int:
    """The next number for a name, from 1.

    Example:
        >>> import pellucid
        >>> pellucid.backend.get_uid("mine"), pellucid.backend.get_uid("mine")
        (1, 2)
    """
    _uids[prefix] += 1
    return _uids[prefix]


def is_float_dtype(dtype: Any) -> bool:
    """Whether a data type is a floating one."""
    return bool(jnp.issubdtype(standardize_dtype(dtype), jnp.floating))


def is_int_dtype(dtype: Any) -> bool:
    """Whether a data type is one of whole numbers."""
    return bool(jnp.issubdtype(standardize_dtype(dtype), jnp.integer))


def is_keras_tensor(x: Any) -> bool:
    """Whether a value is a symbolic tensor, as ``Input`` and layers called on it give."""
    return isinstance(x, SymbolicTensor)


def result_type(*dtypes: Any) -> str:
    """The data type of what is computed of several, given by name, as arrays, or as Python's types.

    Example:
        >>> from pellucid import backend
        >>> backend.result_type("int32", "bfloat16"), backend.result_type("int8", "uint8"), backend.result_type("int32", float)
        ('bfloat16', 'int16', 'float32')
    """
    kinds = [d if d in (bool, int, float) else standardize_dtype(getattr(d, "dtype", d)) for d in dtypes]
    return standardize_dtype(jnp.result_type(*kinds)) if kinds else floatx()


__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]
