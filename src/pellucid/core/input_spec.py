"""What a layer asks of its inputs: their number of axes, sizes, data type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from pellucid.core import dtypes, jax_compat
from pellucid.errors import ShapeError


@dataclasses.dataclass
class InputSpec:
    """What one input of a layer has to be. A layer whose ``input_spec`` is one, or a structure of them, checks each call.

    Args:
        dtype: its data type.
        shape: its shape, with the batch; None for a size that is free.
        ndim: its number of axes.
        max_ndim: the most axes.
        min_ndim: the fewest.
        axes: sizes of some axes, by their numbers.
        allow_last_axis_squeeze: whether a last axis of size 1 may be there or not.
        name: of the input in a dict.
        optional: whether it may be None.

    Example:
        >>> import numpy as np, pellucid
        >>> layer = pellucid.layers.Identity()
        >>> layer.input_spec = pellucid.layers.InputSpec(ndim=3, axes={-1: 4})
        >>> layer(np.ones((2, 4), "float32"))
        Traceback (most recent call last):
        ...
        pellucid.errors.ShapeError: Layer 'identity' (Identity) got an input of shape (2, 4); expected ndim=3.
    """

    dtype: Any = None
    shape: Sequence[int | None] | None = None
    ndim: int | None = None
    max_ndim: int | None = None
    min_ndim: int | None = None
    axes: Mapping[int, int | None] | None = None
    allow_last_axis_squeeze: bool = False
    name: str | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        self.dtype = None if self.dtype is None else dtypes.standardize_dtype(self.dtype)
        if self.shape is not None:
            self.shape = tuple(self.shape)
            self.ndim = len(self.shape)
        self.axes = {int(axis): size for axis, size in (self.axes or {}).items()}

    def wrong(self, x: Any) -> str | None:
        """What was expected of an array and is not so, or None."""
        shape = jax_compat.open_shape(x.shape)
        if self.ndim is not None and not self.allow_last_axis_squeeze and len(shape) != self.ndim:
            return f"ndim={self.ndim}"
        if self.max_ndim is not None and len(shape) > self.max_ndim:
            return f"max_ndim={self.max_ndim}"
        if self.min_ndim is not None and len(shape) < self.min_ndim:
            return f"min_ndim={self.min_ndim}"
        if self.dtype is not None and np.dtype(x.dtype).name != self.dtype:
            return f"dtype={self.dtype!r}, and it is {np.dtype(x.dtype).name!r}"
        for axis, size in (self.axes or {}).items():
            if not -len(shape) <= axis < len(shape) or not _fit(size, shape[axis]):
                return f"size {size} of axis {axis}"
        wanted = self.shape
        if wanted is not None and self.allow_last_axis_squeeze:
            shape, wanted = (s[:-1] if s and s[-1] == 1 else s for s in (shape, tuple(wanted)))
        if wanted is not None and (len(wanted) != len(shape) or not all(map(_fit, wanted, shape))):
            return f"shape={self.shape}"
        return None

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one, as plain data."""
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        """One from what ``get_config`` returned."""
        return cls(**config)


def check_inputs(specs: Any, inputs: Any, about: str) -> None:
    """Refuses inputs that are not as a layer asks.

    Args:
        specs: an InputSpec, or a structure of them.
        inputs: structure of arrays.
        about: the layer, in words.

    Raises:
        ShapeError: names the layer, the input's shape and what was expected.
    """
    wanted = jax.tree.leaves(specs, is_leaf=lambda leaf: leaf is None or isinstance(leaf, InputSpec))
    if isinstance(inputs, dict) and all(spec is not None and spec.name for spec in wanted):
        missing = next((spec.name for spec in wanted if spec.name not in inputs), None)
        if missing is not None:
            raise ShapeError(f"{about} got inputs by the names {list(inputs)}; expected one {missing!r}, too.")
        inputs = [inputs[spec.name] for spec in wanted]
    given = jax.tree.leaves(inputs, is_leaf=lambda leaf: leaf is None)
    if len(given) != len(wanted):
        raise ShapeError(f"{about} got {len(given)} inputs; expected {len(wanted)}.")
    for x, spec in zip(given, wanted, strict=True):
        if spec is None or (x is None and spec.optional):
            continue
        if not hasattr(x, "shape"):
            raise ShapeError(f"{about} got {x!r} as an input; expected an array.")
        wrong = spec.wrong(x)
        if wrong is not None:
            raise ShapeError(f"{about} got an input of shape {jax_compat.open_shape(x.shape)}; expected {wrong}.")


def _fit(wanted: Any, size: Any) -> bool:
    return wanted is None or size is None or wanted == size
