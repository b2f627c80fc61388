"""Names of data types, and the default one (``floatx``)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from pellucid.errors import did_you_mean

FLOATS = ("float16", "bfloat16", "float32", "float64")
NAMES = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128")

_floatx = "float32"


def floatx() -> str:
    """The default float type, ``"float32"`` unless ``set_floatx`` changed it."""
    return _floatx


def set_floatx(value: str) -> None:
    """Sets the default float type of new weights and of inputs.

    Args:
        value: "float16", "bfloat16", "float32" or "float64" (which needs ``jax.config.update("jax_enable_x64", True)``).
    """
    global _floatx
    if value not in FLOATS:
        raise ValueError(f"set_floatx: value={value!r} is no float type. {did_you_mean(value, FLOATS)}")
    _floatx = value


def standardize_dtype(dtype: Any) -> str:
    """The name of a data type given as a name, a NumPy or JAX type, or None (then ``floatx()``)."""
    if dtype is None:
        return _floatx
    if isinstance(dtype, str):
        dtype = {"float": _floatx, "int": "int32"}.get(dtype, dtype)
        if dtype in NAMES:
            return dtype
        raise ValueError(f"dtype={dtype!r} is not known. {did_you_mean(dtype, NAMES)}")
    if dtype in (float, int):
        return _floatx if dtype is float else "int32"
    try:
        return jnp.dtype(dtype).name
    except TypeError as error:
        raise ValueError(f"dtype={dtype!r} is not a data type; expected a name such as 'float32' or a NumPy type.") from error


def is_float(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


def to_floatx(array: np.ndarray) -> np.ndarray:
    """NumPy's float64 (what tables and literals are) becomes ``floatx``; other types stay as they are."""
    return array.astype(jnp.dtype(_floatx)) if array.dtype == np.float64 else array
