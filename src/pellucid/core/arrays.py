"""What a model sees of what it is handed: the one place where data, and the types of data, are converted.

``fit``, ``evaluate``, ``predict``, ``activations`` and ``model(x)`` convert arrays here, ``capture``, ``preflight``, ``summary`` and
``build`` types: so a capture for a type serves the data of that type.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes
from pellucid.errors import DataError


def dtype_seen(dtype: Any, name: str, where: str) -> np.dtype:
    """The type that a model computes with where data have another one.

    Floats of 64 bits or more, what tables and literals are, become ``floatx``; other types stay, in as many bits as JAX allows:
    integers of 64 bits become those of 32, and complex numbers likewise, unless ``jax_enable_x64`` is set.

    Args:
        dtype: of the data.
        name: of the data, for messages.
        where: what the messages begin with.

    Raises:
        DataError: for what is no number.

    Example:
        >>> import numpy as np
        >>> from pellucid.core.arrays import dtype_seen
        >>> [str(dtype_seen(np.dtype(t), "x", "fit")) for t in ("float64", "float16", "int64", "bool", "complex128")]
        ['float32', 'float16', 'int32', 'bool', 'complex64']
    """
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return dtype
    found = jnp.dtype(dtype)
    if not (found.kind == "b" or jnp.issubdtype(found, jnp.number)):
        raise DataError(
            f"{where}: {name} has dtype {found}, which is not numeric. Convert it to numbers first, for example "
            "with .astype('float32'), or encode its categories as whole numbers."
        )
    if found.kind == "f" and found.itemsize >= 8:
        found = np.dtype(jnp.dtype(dtypes.floatx()))
    elif found.kind == "c" and found.itemsize > 16:
        found = np.dtype("complex128")
    return jax.dtypes.canonicalize_dtype(found)


def array_seen(given: Any, name: str, where: str) -> Any:
    """The NumPy or JAX array that a model computes with, of an array, a table, a tensor of another library or numbers.

    Raises:
        DataError: for what is no number.
    """
    array = given if isinstance(given, np.ndarray | jax.Array) else _array_of(given)
    wanted = dtype_seen(array.dtype, name, where)
    return array if array.dtype == wanted else array.astype(wanted)


def spec_seen(given: Any, name: str, where: str) -> jax.ShapeDtypeStruct:
    """Shape and type of what ``array_seen`` gives; also for what has only a shape and a type, such as ``ShapeDtypeStruct``.

    Raises:
        DataError: for what is no number.
    """
    told = isinstance(given, jax.Array | jax.ShapeDtypeStruct) or isinstance(getattr(given, "dtype", None), np.dtype | str)
    described = given if told else _array_of(given)
    return jax.ShapeDtypeStruct(tuple(described.shape), dtype_seen(described.dtype, name, where))


def without_tables(tree: Any) -> Any:
    """A structure with the arrays that tables (of pandas and the like) hold in their places."""
    if hasattr(tree, "to_numpy"):
        return tree.to_numpy()
    if isinstance(tree, dict):
        return {k: without_tables(v) for k, v in tree.items()}
    if isinstance(tree, list | tuple) and not hasattr(tree, "_fields"):
        return type(tree)(without_tables(v) for v in tree)
    return tree


def _array_of(given: Any) -> np.ndarray:
    given = given.detach().cpu() if hasattr(given, "detach") else given  # a tensor of PyTorch may carry gradients
    return np.asarray(given.numpy() if hasattr(given, "numpy") and not hasattr(given, "__array__") else given)
