"""What a user describes inputs by, before there are any: shapes, arrays, or anything that has a shape and a type."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from pellucid.core.arrays import dtype_seen, spec_seen, without_tables
from pellucid.graph.signature import Open

_ROWS = 32  # stands for the batch, where nothing else does
_LENGTH = 32  # and for other open sizes


def specs_of_inputs(given: Any, dtype: str, where: str, name: str = "inputs") -> Any:
    """``ShapeDtypeStruct``s, of the types that ``fit`` converts data to, in the structure of what is given.

    Args:
        given: array, table, ``ShapeDtypeStruct``, symbolic tensor or shape such as ``(None, 5)``, where None is the batch, and in other
            places a size that is open; or a list, tuple or dict of them.
        dtype: of what only a shape is given of.
        where: the function that the user called, for messages.
        name: of its argument.

    Raises:
        TypeError: for what is none of these.
        ValueError: for shapes and arrays that cannot be inputs.

    Example:
        >>> from pellucid.graph.inputs import specs_of_inputs
        >>> specs_of_inputs([(None, 5), (8,)], "float32", "capture")
        [ShapeDtypeStruct(shape=(32, 5), dtype=float32), ShapeDtypeStruct(shape=(8,), dtype=float32)]
    """
    specs = _specs(without_tables(given), dtype, name, where)
    rows_of(specs, where, name)
    return specs


def rows_of(specs: Any, where: str, name: str = "inputs") -> int:
    """The rows that a batch of inputs has: those of the first that is no single number.

    Raises:
        ValueError: where there is none.
    """
    leaves = jax.tree.leaves(specs)
    rows = next((leaf.shape[0] for leaf in leaves if leaf.shape), None)
    if rows is None:
        found = "holds single numbers only" if leaves else "holds no array"
        raise ValueError(
            f"{where}: {name} {found}; expected arrays with the rows first, or shapes such as (None, 3), where None is the batch."
        )
    return rows


def _specs(given: Any, dtype: str, name: str, where: str) -> Any:
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        if given.shape[:1] == (None,):  # a symbolic tensor
            return jax.ShapeDtypeStruct(_with_numbers(given.shape), dtype_seen(given.dtype, name, where))
        return spec_seen(given, name, where)
    if isinstance(given, dict):
        return {key: _specs(item, dtype, f"{name}[{key!r}]", where) for key, item in given.items()}
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"{where}: {name}={repr(given)[:80]}; expected an array or a shape such as (None, 3), where None is the batch, or a "
            "list, tuple or dict of them."
        )
    if all(map(_is_size, given)) and (given or isinstance(given, tuple)):
        return jax.ShapeDtypeStruct(_checked(tuple(given), name, where), dtype)
    items = [_specs(item, dtype, f"{name}[{number}]", where) for number, item in enumerate(given)]
    return type(given)(*items) if hasattr(given, "_fields") else type(given)(items)


def _is_size(value: Any) -> bool:
    """Whether it may have been meant as a size."""
    return value is None or isinstance(value, int | float | complex | np.number)


def _checked(shape: tuple, name: str, where: str) -> tuple:
    """A shape with numbers for the batch and other open sizes."""
    check_shape(shape, f"{where}: {name} has shape {shape}")
    return _with_numbers(shape)


def _with_numbers(shape: tuple) -> tuple:
    """Open sizes in the same axis of several inputs, such as those of a sequence and its mask, are taken for the same."""
    first, *others = shape
    return _ROWS if first is None else int(first), *(Open(_LENGTH, ("axis", a)) if d is None else int(d) for a, d in enumerate(others, 1))


def check_shape(shape: tuple, about: str) -> None:
    """Raises a ValueError, which begins with ``about``, for what is no shape of a batch."""
    if not shape:
        raise ValueError(f"{about}, which has no axis for the rows; expected one such as (None, 3), where None is the batch.")
    for size in shape:
        if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 0):
            raise ValueError(
                f"{about}, which holds {size!r}; expected whole numbers, and None for the batch (or a length that is open). Data are "
                "given as an array: np.asarray(x)."
            )
