"""Names of data types, and the default one (``floatx``)."""

from __future__ import annotations

from typing import Any

import jax
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
        value: "float16", "bfloat16", "float32" or "float64". The last one makes JAX compute in 64 bits from then on
            (``jax_enable_x64``), in all of the process.

    Raises:
        ValueError: for another value. Layers that compute in half precision with weights of 32 bits have a policy for it.
    """
    global _floatx
    if value not in FLOATS:
        mixed = str(value).startswith("mixed_")
        cure = f"For mixed precision call set_dtype_policy({value!r})." if mixed else did_you_mean(value, FLOATS)
        raise ValueError(f"set_floatx: value={value!r} is no float type; expected one of {', '.join(FLOATS)}. {cure}")
    if value == "float64":
        turn_on_64_bits()
    _floatx = value


def turn_on_64_bits() -> None:
    """Lets JAX have arrays of 64 bits, in all of the process."""
    jax.config.update("jax_enable_x64", True)


def check_64_bits(asked: str, dtype: str) -> None:
    """Raises where float64 is asked for and JAX would silently give float32.

    Args:
        asked: the beginning of the message, such as "Layer 'out'".
        dtype: name of a data type.
    """
    if dtype in ("float64", "complex128") and not jax.config.jax_enable_x64:
        raise ValueError(
            f"{asked}: dtype={dtype!r}, and JAX computes in 32 bits at most now. Call pellucid.config.set_floatx('float64') before, for "
            "64 bits everywhere, or jax.config.update('jax_enable_x64', True) to allow them; or take dtype='float32'."
        )


def wide_floatx() -> str:
    """The type of losses, means and learning rates: ``floatx()``, but of 32 bits at least."""
    return "float64" if _floatx == "float64" else "float32"


def standardize_dtype(dtype: Any) -> str:
    """The name of a data type given as a name, a NumPy or JAX type, a policy (what it computes in), or None (then ``floatx()``)."""
    if dtype is None:
        return _floatx
    dtype = getattr(dtype, "compute_dtype", dtype)  # of a policy
    if isinstance(dtype, str):
        dtype = {"float": _floatx, "int": "int32"}.get(dtype, dtype)
        if dtype in NAMES:
            return dtype
        raise ValueError(f"dtype={dtype!r} is not known. {did_you_mean(dtype, NAMES)}")
    if dtype is float or dtype is int:  # np.dtype("float64") equals float
        return _floatx if dtype is float else "int32"
    try:
        return jnp.dtype(dtype).name
    except TypeError as error:
        raise ValueError(f"dtype={dtype!r} is not a data type; expected a name such as 'float32' or a NumPy type.") from error


def floating(x: Any) -> jax.Array:
    """An array of floating numbers: others become ``floatx()``."""
    x = jnp.asarray(x)
    return x if is_float(x.dtype) else x.astype(_floatx)


def wide(x: Any) -> jax.Array:
    """An array of floating numbers of 32 bits at least: sums, squares and logarithms of shorter ones are not good enough."""
    return jnp.asarray(x).astype(jnp.promote_types(x.dtype, "float32"))


def is_float(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


def to_floatx(array: np.ndarray) -> np.ndarray:
    """NumPy's float64 (what tables and literals are) becomes ``floatx``; other types stay as they are."""
    return array.astype(jnp.dtype(_floatx)) if array.dtype == np.float64 else array
