"""Padding, cropping and upsampling of series, images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core.checks import check_whole
from pellucid.core.input_spec import InputSpec
from pellucid.core.jax_compat import open_shape
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.ops.resizing import interpolation_of
from pellucid.ops.windows import format_of, per_axis, spatial_axes, with_outer

Edges = Any  # a whole number; one for each axis; or a pair of them for each axis


def _edges_of(where: str, name: str, value: Edges, rank: int) -> tuple:
    """(before, after) for each axis; of one axis, the pair alone."""
    if rank == 1:
        return per_axis(where, name, value, 2, least=0)
    several = isinstance(value, Sequence) and not isinstance(value, str)
    if several and len(value) != rank:
        raise ValueError(f"{where}: {name}={value!r}; expected a whole number, {rank} of them, or {rank} pairs (before, after).")
    return tuple(per_axis(where, name, v, 2, least=0) for v in (value if several else (value,) * rank))


def _pairs(edges: tuple, rank: int) -> tuple:
    return (edges,) if rank == 1 else edges


class _ZeroPadding(Layer):
    rank: int

    def __init__(self, padding: Edges = 1, data_format: str | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.padding = _edges_of(type(self).__name__, "padding", padding, self.rank)
        self.data_format = format_of(type(self).__name__, data_format)

    def call(self, inputs: Any) -> Any:
        return jnp.pad(inputs, with_outer(_pairs(self.padding, self.rank), (0, 0), self.data_format))


class ZeroPadding1D(_ZeroPadding):
    """Steps of zeros before and after.

    Args:
        padding: number of steps at either end, or a pair (before, after).
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, steps, channels) -> (batch, before + steps + after, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.ZeroPadding1D((1, 2))(np.ones((1, 2, 1), "float32"))[0, :, 0].tolist()
        [0.0, 1.0, 1.0, 0.0, 0.0]
    """

    rank = 1


class ZeroPadding2D(_ZeroPadding):
    """Rows and columns of zeros around an image.

    Args:
        padding: at all sides; or (rows, columns), for both sides of each; or ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes.
    """

    rank = 2


class ZeroPadding3D(_ZeroPadding):
    """Zeros around a volume; arguments as of ``ZeroPadding2D``, in three axes.

    Shapes: (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: as ``ZeroPadding2D``.
        ShapeError: as ``ZeroPadding2D``.
    """

    rank = 3


class _Cropping(Layer):
    rank: int

    def __init__(self, cropping: Edges, data_format: str | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.cropping = _edges_of(type(self).__name__, "cropping", cropping, self.rank)
        self.data_format = format_of(type(self).__name__, data_format)

    def call(self, inputs: Any) -> Any:
        for axis, (before, after) in zip(spatial_axes(inputs.ndim, self.data_format), _pairs(self.cropping, self.rank), strict=True):
            size = inputs.shape[axis]
            if isinstance(size, int) and before + after >= size:
                raise ShapeError(
                    f"{type(self).__name__} {self.path!r}: cropping={self.cropping} leaves nothing of inputs of shape "
                    f"{open_shape(inputs.shape)} ({self.data_format}); expected less than the size of each axis."
                )
            inputs = jax.lax.slice_in_dim(inputs, before, size - after, axis=axis)
        return inputs


class Cropping1D(_Cropping):
    """Leaves steps out, before and after.

    Args:
        cropping: number of steps at either end, or a pair (before, after).

    Shapes: (batch, steps, channels) -> (batch, steps - before - after, channels).

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes, or of which nothing would be left.
    """

    rank = 1

    def __init__(self, cropping: Edges = 1, **layer_args: Any):
        super().__init__(cropping, "channels_last", **layer_args)


class Cropping2D(_Cropping):
    """Leaves rows and columns out, at the sides of an image.

    Args:
        cropping: at all sides; or (rows, columns), for both sides of each; or ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: as ``Cropping1D``.
        ShapeError: as ``Cropping1D``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Cropping2D(((2, 2), (4, 4)))(np.ones((2, 28, 28, 3), "float32")).shape
        (2, 24, 20, 3)
    """

    rank = 2

    def __init__(self, cropping: Edges = 0, data_format: str | None = None, **layer_args: Any):
        super().__init__(cropping, data_format, **layer_args)


class Cropping3D(_Cropping):
    """Leaves the sides of a volume out; arguments as of ``Cropping2D``, in three axes, with 1 by default.

    Shapes: (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: as ``Cropping1D``.
        ShapeError: as ``Cropping1D``.
    """

    rank = 3

    def __init__(self, cropping: Edges = 1, data_format: str | None = None, **layer_args: Any):
        super().__init__(cropping, data_format, **layer_args)


def _repeated(inputs: Any, factors: Sequence[int], axes: Sequence[int]) -> Any:
    for factor, axis in zip(factors, axes, strict=True):
        inputs = jnp.repeat(inputs, factor, axis=axis)
    return inputs


class UpSampling1D(Layer):
    """Repeats each step.

    Args:
        size: how often.

    Shapes: (batch, steps, channels) -> (batch, size * steps, channels).

    Raises:
        ValueError: for another size.
        ShapeError: for inputs with another number of axes.
    """

    def __init__(self, size: int = 2, **layer_args: Any):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=3)
        self.size = check_whole("UpSampling1D", "size", size)

    def call(self, inputs: Any) -> Any:
        return _repeated(inputs, (self.size,), (1,))


class _UpSampling(Layer):
    rank: int

    def __init__(self, size: Any = 2, data_format: str | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.size = per_axis(type(self).__name__, "size", size, self.rank)
        self.data_format = format_of(type(self).__name__, data_format)

    def call(self, inputs: Any) -> Any:
        return _repeated(inputs, self.size, spatial_axes(inputs.ndim, self.data_format))


class UpSampling2D(_UpSampling):
    """Makes images larger, by a whole factor.

    Args:
        size: factors of height and width, or one for both.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        interpolation: "nearest" repeats pixels; "bilinear", "bicubic", "lanczos3" and "lanczos5" compute them from near ones.

    Shapes: (batch, height, width, channels) -> (batch, size[0] * height, size[1] * width, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.UpSampling2D((1, 2))(np.array([[[[1.0], [2.0]]]], "float32"))[0, 0, :, 0].tolist()
        [1.0, 1.0, 2.0, 2.0]
    """

    rank = 2

    def __init__(self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest", **layer_args: Any):
        super().__init__(size, data_format, **layer_args)
        self.interpolation = interpolation_of("UpSampling2D", interpolation)

    def call(self, inputs: Any) -> Any:
        if self.interpolation == "nearest":
            return super().call(inputs)
        factors = with_outer(self.size, 1, self.data_format)
        shape = tuple(n if k == 1 else n * k for n, k in zip(inputs.shape, factors, strict=True))
        return jax.image.resize(inputs, shape, self.interpolation, antialias=False)


class UpSampling3D(_UpSampling):
    """Repeats the elements of a volume along three axes.

    Args:
        size: how often along each axis, or one number for all.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, depth, height, width, channels) -> each axis times its size, or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes.
    """

    rank = 3
