"""Layers that make one array of several."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from pellucid import ops
from pellucid.core.checks import check_axes
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError


class Merge(Layer):
    """Makes one array of a list of arrays, element by element. Subclasses define ``merged``.

    Arrays with fewer axes get further ones of size 1 behind the batch. A step of the output is padding where it is in all inputs.
    """

    _takes = "arrays"

    supports_masking = True
    count: int | None = None  # how many arrays it takes; None for any number

    def merged(self, inputs: list[Any]) -> Any:
        """One array of arrays with the same number of axes."""
        raise NotImplementedError

    def call(self, inputs: Any) -> Any:
        return self.merged(self._aligned(inputs))

    def _aligned(self, inputs: Any) -> list[Any]:
        arrays = self._several(inputs)
        most = max(x.ndim for x in arrays)
        return [x if x.ndim == most else x.reshape(*x.shape[:1], *(1,) * (most - x.ndim), *x.shape[1:]) for x in arrays]

    def _several(self, inputs: Any) -> list[Any]:
        given = f"{type(self).__name__} {self.path!r} got"
        if not isinstance(inputs, list | tuple) or not inputs:
            raise ValueError(f"{given} {type(inputs).__name__}; expected a list of arrays.")
        if self.count not in (None, len(inputs)):
            raise ValueError(f"{given} {len(inputs)} arrays; expected {self.count}.")
        return list(inputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None or any(m is None for m in self._masks(inputs, mask)):
            return None
        return functools.reduce(jnp.logical_or, mask)

    def _masks(self, inputs: Any, mask: Any) -> list[Any]:
        arrays = self._several(inputs)
        if not isinstance(mask, list | tuple) or len(mask) != len(arrays):
            given = f"{len(mask)} masks" if isinstance(mask, list | tuple) else f"a {type(mask).__name__} as the mask"
            raise ValueError(f"{type(self).__name__} {self.path!r} got {given} for {len(arrays)} arrays; expected a list of as many.")
        return list(mask)


class Add(Merge):
    """The sum of arrays of one shape, or of shapes that broadcast. Shapes: a list of (...) -> (...)."""

    def merged(self, inputs: list[Any]) -> Any:
        return functools.reduce(jnp.add, inputs)


class Subtract(Merge):
    """The first of two arrays minus the second. Shapes: a list of two (...) -> (...)."""

    count = 2

    def merged(self, inputs: list[Any]) -> Any:
        return inputs[0] - inputs[1]


class Average(Merge):
    """The mean of arrays of one shape, or of shapes that broadcast. Shapes: a list of (...) -> (...)."""

    def merged(self, inputs: list[Any]) -> Any:
        return functools.reduce(jnp.add, inputs) / len(inputs)


class Multiply(Merge):
    """The product of arrays of one shape, or of shapes that broadcast. Shapes: a list of (...) -> (...).

    Where all have masks, a step that is padding in one counts as 1, one that is padding in all gives 0.
    """

    def call(self, inputs: Any, mask: Any = None) -> Any:
        arrays = self._aligned(inputs)
        counted = _counted(arrays, [None] * len(arrays) if mask is None else self._masks(inputs, mask))
        y = functools.reduce(jnp.multiply, [x if m is None else jnp.where(m, x, 1) for x, m in zip(arrays, counted, strict=True)])
        return y if any(m is None for m in counted) else jnp.where(functools.reduce(jnp.logical_or, counted), y, 0)


class _Extreme(Merge):
    """The largest or smallest of arrays. A step that is padding in one of two is taken from the other."""

    of: Callable[[Any, Any], Any]

    def call(self, inputs: Any, mask: Any = None) -> Any:
        arrays = self._aligned(inputs)
        counted = _counted(arrays, [None] * len(arrays) if mask is None else self._masks(inputs, mask))
        y, known = arrays[0], counted[0]
        for x, m in zip(arrays[1:], counted[1:], strict=True):
            x = x if m is None else jnp.where(m, x, y)
            y = type(self).of(y if known is None else jnp.where(known, y, x), x)
            known = None if m is None or known is None else jnp.logical_or(known, m)
        return y


class Maximum(_Extreme):
    """The largest of arrays of one shape, or of shapes that broadcast, element by element. Shapes: a list of (...) -> (...).

    A step that is padding in one array is taken from the others.
    """

    of = staticmethod(jnp.maximum)


class Minimum(_Extreme):
    """The smallest of arrays of one shape, or of shapes that broadcast, element by element. Shapes: a list of (...) -> (...).

    A step that is padding in one array is taken from the others.
    """

    of = staticmethod(jnp.minimum)


class Concatenate(Merge):
    """Joins arrays along an axis. Shapes: a list of (..., d_i, ...) -> (..., sum of d_i, ...).

    Args:
        axis: along which they are joined.
    """

    def __init__(self, axis: int = -1, **layer_args: Any):
        super().__init__(**layer_args)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        return jnp.concatenate(self._several(inputs), axis=self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None or all(m is None for m in self._masks(inputs, mask)):
            return None
        counted = [jnp.ones(x.shape, bool) if m is None else _spread(m, x) for x, m in zip(inputs, mask, strict=True)]
        return jnp.any(jnp.concatenate(counted, axis=self.axis), axis=-1)


class Dot(Merge):
    """Products of the rows of two arrays: sums over an axis of each. Shapes: [(batch, a, d), (batch, b, d)] -> (batch, a, b).

    Args:
        axes: the axis that is summed over, or one of each array; not the batch.
        normalize: whether both are divided by their norms first: the products are cosines then.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Dot(axes=1)([np.array([[1.0, 2.0]], "float32"), np.array([[3.0, 4.0]], "float32")]).tolist()
        [[11.0]]
    """

    count = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **layer_args: Any):
        super().__init__(**layer_args)
        two = isinstance(axes, list | tuple) and len(axes) == 2 and all(isinstance(a, int) for a in axes)
        if not two and not isinstance(axes, int):
            raise ValueError(f"Dot: axes={axes!r}; expected a whole number, or two of them.")
        self.axes, self.normalize = axes, normalize

    def call(self, inputs: Any) -> Any:
        x, y = self._several(inputs)
        first, second = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        ((first,), (second,)) = (check_axes(f"Dot {self.path!r}", a, z.ndim) for a, z in ((first, x), (second, y)))
        if not first or not second or x.shape[first] != y.shape[second]:
            raise ShapeError(
                f"Dot {self.path!r} got arrays of shapes {x.shape} and {y.shape} with axes={self.axes}; expected axes of one size, "
                "and not the first, which is the batch."
            )
        if self.normalize:
            x, y = ops.normalize(x, first), ops.normalize(y, second)
        z = _product_of_rows(x, y, first, second)
        return z[:, None] if z.ndim == 1 else z

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None


def _product_of_rows(x: Any, y: Any, first: int, second: int) -> Any:
    letters = "abcdefghijklmnopqrstuvw"
    of_x, of_y = ["z", *letters[: x.ndim - 1]], ["z", *letters[x.ndim - 1 : x.ndim + y.ndim - 2]]
    of_x[first] = of_y[second] = "y"
    kept = [c for c in (*of_x, *of_y[1:]) if c != "y"]
    return jnp.einsum(f"{''.join(of_x)},{''.join(of_y)}->{''.join(kept)}", x, y)


def _spread(mask: Any, x: Any) -> Any:
    """The mask of steps for all that is in them."""
    return mask if mask.ndim >= x.ndim else jnp.broadcast_to(mask[..., None], x.shape)


def _counted(arrays: list[Any], masks: list[Any]) -> list[Any]:
    return [None if m is None else _spread(m, x) for x, m in zip(arrays, masks, strict=True)]


def add(inputs: Any, **layer_args: Any) -> Any:
    """``Add()(inputs)``."""
    return Add(**layer_args)(inputs)


def subtract(inputs: Any, **layer_args: Any) -> Any:
    """``Subtract()(inputs)``."""
    return Subtract(**layer_args)(inputs)


def multiply(inputs: Any, **layer_args: Any) -> Any:
    """``Multiply()(inputs)``."""
    return Multiply(**layer_args)(inputs)


def average(inputs: Any, **layer_args: Any) -> Any:
    """``Average()(inputs)``."""
    return Average(**layer_args)(inputs)


def maximum(inputs: Any, **layer_args: Any) -> Any:
    """``Maximum()(inputs)``."""
    return Maximum(**layer_args)(inputs)


def minimum(inputs: Any, **layer_args: Any) -> Any:
    """``Minimum()(inputs)``."""
    return Minimum(**layer_args)(inputs)


def concatenate(inputs: Any, axis: int = -1, **layer_args: Any) -> Any:
    """``Concatenate(axis)(inputs)``."""
    return Concatenate(axis, **layer_args)(inputs)


def dot(inputs: Any, axes: int | Sequence[int] = -1, **layer_args: Any) -> Any:
    """``Dot(axes)(inputs)``."""
    return Dot(axes, **layer_args)(inputs)
