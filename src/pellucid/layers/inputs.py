"""The symbolic tensors that models of symbolic tensors begin with."""

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
    tensor: Any = None,
    optional: bool = False,
) -> SymbolicTensor:
    """A symbolic tensor to begin a model with.

    Args:
        shape: of one row, without the batch; None in it is a size that is open, such as the length of sequences: ``(None, 6)``.
        batch_size: None (the default) for any.
        dtype: by default ``floatx()``.
        sparse: accepted for Keras's sake, as are ``ragged``, ``tensor`` and ``optional``: they ask for what there is not.
        batch_shape: the shape with the batch, in place of ``shape`` and ``batch_size``.
        name: of the input.

    Raises:
        NotImplementedError: for sparse, ragged and optional inputs, and those of a given tensor.

    Example:
        >>> from pellucid import Input, Model, layers
        >>> x = Input((3,))
        >>> Model(x, layers.Dense(2)(x)).output_shape
        (None, 2)
    """
    for argument, given in {"sparse": sparse, "ragged": ragged, "tensor": tensor, "optional": optional}.items():
        if given is not None and given is not False:
            raise NotImplementedError(f"Input: {argument}={given!r}; expected none: inputs are arrays that are given in each call.")
    if (shape is None) == (batch_shape is None):
        raise ValueError(f"Input: shape={shape!r}, batch_shape={batch_shape!r}; expected one of them, such as shape=(3,).")
    whole = tuple(batch_shape) if batch_shape is not None else (batch_size, *((shape,) if isinstance(shape, int) else tuple(shape)))
    check_shape(whole, f"Input: {name or 'the input'} has shape {whole}")
    if name is not None and not isinstance(name, str):
        raise ValueError(f"Input: name={name!r}; expected a text.")
    return SymbolicTensor(whole, dtypes.standardize_dtype(dtype), name=name)
