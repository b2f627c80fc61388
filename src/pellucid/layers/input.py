"""What a model of symbolic tensors begins with."""

from __future__ import annotations

from typing import Any

from pellucid.core import dtypes
from pellucid.core.symbolic import SymbolicTensor
from pellucid.graph.inputs import check_shape


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: SymbolicTensor | None = None,
    optional: bool = False,
) -> SymbolicTensor:
    """A symbolic tensor to begin a model with.

    Args:
        shape: of one row, without the batch; None in it is a size that is open, such as the length of sequences: ``(None, 6)``.
        batch_size: None (the default) for any.
        dtype: by default ``floatx()``.
        sparse, ragged: must be False or None: there are dense arrays only.
        batch_shape: the shape with the batch, in place of ``shape`` and ``batch_size``.
        name: of the input.
        tensor: a symbolic tensor, in place of all this: it is the input.
        optional: must be False.

    Raises:
        ValueError: for a shape that is none, or for what is not offered.

    Example:
        >>> from pellucid import Input, Model, layers
        >>> x = Input((3,))
        >>> Model(x, layers.Dense(2)(x)).output_shape
        (None, 2)
    """
    if sparse or ragged or optional:
        raise ValueError(
            f"Input: sparse={sparse}, ragged={ragged}, optional={optional}; expected False: inputs are dense arrays, and all given."
        )
    if tensor is not None:
        return tensor
    if (shape is None) == (batch_shape is None):
        raise ValueError(f"Input: shape={shape!r}, batch_shape={batch_shape!r}; expected one of them, such as shape=(3,).")
    whole = tuple(batch_shape) if batch_shape is not None else (batch_size, *((shape,) if isinstance(shape, int) else tuple(shape)))
    check_shape(whole, f"Input: {name or 'the input'} has shape {whole}")
    if name is not None and not isinstance(name, str):
        raise ValueError(f"Input: name={name!r}; expected a text.")
    return SymbolicTensor(whole, dtypes.standardize_dtype(dtype), name=name)


class InputLayer:
    """``Input`` by another name: what it makes is a symbolic tensor, which ``Sequential`` takes first of all.

    Args:
        shape, batch_size, dtype, name, …: as of ``Input``.

    Example:
        >>> from pellucid import Sequential, layers
        >>> Sequential([layers.InputLayer(shape=(3,)), layers.Dense(2)]).output_shape
        (None, 2)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> SymbolicTensor:  # type: ignore[misc]
        return Input(*args, **kwargs)
