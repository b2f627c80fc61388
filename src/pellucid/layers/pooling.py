"""Pooling of series, images and volumes: a class for each number of spatial axes, over bases that do the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from pellucid import ops
from pellucid.core.checks import check_flags
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.ops.windows import format_of, padding_of, per_axis, spatial_axes

Sizes = int | Sequence[int]


class _Windows(Layer):
    """A function of windows of its inputs.

    Args:
        pool_size: of a window: a whole number, or one for each axis.
        strides: how far the window moves; by default its size.
        padding: "valid", none; "same", around.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
    """

    rank: int  # number of spatial axes
    pool: Callable[..., Any]

    def __init__(
        self,
        pool_size: Sizes,
        strides: Sizes | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        where = type(self).__name__
        self.pool_size = per_axis(where, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else per_axis(where, "strides", strides, self.rank)
        self.padding, self.data_format = padding_of(where, padding), format_of(where, data_format)

    def call(self, inputs: Any) -> Any:
        return type(self).pool(inputs, self.pool_size, self.strides, self.padding, self.data_format)


class _MaxPooling(_Windows):
    pool = ops.max_pool

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        **layer_args: Any,
    ):
        super().__init__(pool_size, strides, padding, data_format, **layer_args)


class MaxPooling1D(_MaxPooling):
    """The largest element of each window of steps, for each channel.

    Args:
        pool_size: length of a window.
        strides: how far the window moves; by default its length.
        padding: "valid", none; "same", around, with what is never the largest.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, steps, channels) -> (batch, new steps, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes, or that are shorter than the window.
    """

    rank = 1


class MaxPooling2D(_MaxPooling):
    """The largest element of each window of an image, for each channel.

    Args:
        pool_size: height and width of a window, or one number for both.
        strides, padding, data_format: as of ``MaxPooling1D``.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: as ``MaxPooling1D``.
        ShapeError: as ``MaxPooling1D``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.MaxPooling2D()(np.ones((2, 28, 28, 3), "float32")).shape
        (2, 14, 14, 3)
    """

    rank = 2


class MaxPooling3D(_MaxPooling):
    """The largest element of each window of a volume, for each channel; arguments as of ``MaxPooling1D``, in three axes.

    Shapes: (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: as ``MaxPooling1D``.
        ShapeError: as ``MaxPooling1D``.
    """

    rank = 3


class AveragePooling1D(_Windows):
    """The mean of each window of steps, for each channel.

    Args:
        pool_size: length of a window.
        strides: how far the window moves; by default its length.
        padding: "valid", none; "same": windows may reach over the edges, and have the mean of what is inside.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, steps, channels) -> (batch, new steps, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes, or that are shorter than the window.
    """

    rank, pool = 1, ops.average_pool


class AveragePooling2D(_Windows):
    """The mean of each window of an image, for each channel; arguments as of ``AveragePooling1D``, in two axes.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: as ``AveragePooling1D``.
        ShapeError: as ``AveragePooling1D``.
    """

    rank, pool = 2, ops.average_pool


class AveragePooling3D(_Windows):
    """The mean of each window of a volume, for each channel; arguments as of ``AveragePooling1D``, in three axes.

    Shapes: (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: as ``AveragePooling1D``.
        ShapeError: as ``AveragePooling1D``.
    """

    rank, pool = 3, ops.average_pool


class _Adaptive(Layer):
    """A function of as many windows as the outputs shall have elements.

    Args:
        output_size: of the outputs' spatial axes: a whole number, or one for each.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
    """

    rank: int
    pool: Callable[..., Any]

    def __init__(self, output_size: Sizes, data_format: str | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.output_size = per_axis(type(self).__name__, "output_size", output_size, self.rank)
        self.data_format = format_of(type(self).__name__, data_format)

    def call(self, inputs: Any) -> Any:
        return type(self).pool(inputs, self.output_size, self.data_format)


class AdaptiveMaxPooling1D(_Adaptive):
    """The largest element of each of ``output_size`` windows of steps: the i-th of m spans floor(i n / m) to ceil((i + 1) n / m).

    Args:
        output_size: number of steps of the outputs.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, steps, channels) -> (batch, output_size, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs with another number of axes, or of an unknown size.
    """

    rank, pool = 1, ops.adaptive_max_pool


class AdaptiveMaxPooling2D(_Adaptive):
    """The largest element of each window of an image; windows and arguments as of ``AdaptiveMaxPooling1D``, in two axes.

    Shapes: (batch, height, width, channels) -> (batch, *output_size, channels), or with the channels second.
    """

    rank, pool = 2, ops.adaptive_max_pool


class AdaptiveMaxPooling3D(_Adaptive):
    """The largest element of each window of a volume; windows and arguments as of ``AdaptiveMaxPooling1D``, in three axes.

    Shapes: (batch, depth, height, width, channels) -> (batch, *output_size, channels), or with the channels second.
    """

    rank, pool = 3, ops.adaptive_max_pool


class AdaptiveAveragePooling1D(_Adaptive):
    """The mean of each of ``output_size`` windows of steps; windows and arguments as of ``AdaptiveMaxPooling1D``.

    Shapes: (batch, steps, channels) -> (batch, output_size, channels), or with the channels second.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.AdaptiveAveragePooling1D(2)(np.arange(5.0, dtype="float32").reshape(1, 5, 1))[0, :, 0].tolist()
        [1.0, 3.0]
    """

    rank, pool = 1, ops.adaptive_average_pool


class AdaptiveAveragePooling2D(_Adaptive):
    """The mean of each window of an image; windows and arguments as of ``AdaptiveMaxPooling1D``, in two axes.

    Shapes: (batch, height, width, channels) -> (batch, *output_size, channels), or with the channels second.
    """

    rank, pool = 2, ops.adaptive_average_pool


class AdaptiveAveragePooling3D(_Adaptive):
    """The mean of each window of a volume; windows and arguments as of ``AdaptiveMaxPooling1D``, in three axes.

    Shapes: (batch, depth, height, width, channels) -> (batch, *output_size, channels), or with the channels second.
    """

    rank, pool = 3, ops.adaptive_average_pool


class _Global(Layer):
    """A reduction over all spatial axes.

    Args:
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        keepdims: whether the spatial axes stay, with size 1.
    """

    rank: int

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **layer_args: Any):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        check_flags(type(self).__name__, keepdims=keepdims)
        self.data_format, self.keepdims = format_of(type(self).__name__, data_format), keepdims

    def axes_of(self, inputs: Any) -> tuple[int, ...]:
        """The spatial axes."""
        return spatial_axes(inputs.ndim, self.data_format)


class _GlobalMax(_Global):
    def call(self, inputs: Any) -> Any:
        return inputs.max(self.axes_of(inputs), keepdims=self.keepdims)


class _GlobalAverage(_Global):
    def call(self, inputs: Any) -> Any:
        return inputs.mean(self.axes_of(inputs), keepdims=self.keepdims)


class GlobalMaxPooling1D(_GlobalMax):
    """The largest element over time, for each channel.

    Args:
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        keepdims: whether the axis of time stays, with size 1.

    Shapes: (batch, steps, channels) -> (batch, channels).

    Raises:
        ShapeError: for inputs with another number of axes.
    """

    rank = 1


class GlobalMaxPooling2D(_GlobalMax):
    """The largest element of an image, for each channel; arguments as of ``GlobalMaxPooling1D``.

    Shapes: (batch, height, width, channels) -> (batch, channels).
    """

    rank = 2


class GlobalMaxPooling3D(_GlobalMax):
    """The largest element of a volume, for each channel; arguments as of ``GlobalMaxPooling1D``.

    Shapes: (batch, depth, height, width, channels) -> (batch, channels).
    """

    rank = 3


class GlobalAveragePooling1D(_GlobalAverage):
    """The mean over time, for each channel; with a mask, over the steps where it is True: 0 where it is True nowhere.

    Args:
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        keepdims: whether the axis of time stays, with size 1.

    Shapes: (batch, steps, channels) -> (batch, channels). The mask, (batch, steps), ends here.

    Raises:
        ShapeError: for inputs with another number of axes.

    Example:
        >>> import numpy as np, pellucid
        >>> x = np.array([[[1.0], [3.0], [8.0]]], "float32")
        >>> pellucid.layers.GlobalAveragePooling1D()(x, mask=np.array([[True, True, False]])).tolist()
        [[2.0]]
    """

    rank, supports_masking = 1, True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(inputs)
        (steps,) = self.axes_of(inputs)
        real = jnp.expand_dims(jnp.asarray(mask, bool), 3 - steps)
        total = jnp.where(real, inputs, 0).sum(steps, keepdims=self.keepdims)
        return total / jnp.maximum(real.sum(steps, keepdims=self.keepdims), 1).astype(inputs.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return None


class GlobalAveragePooling2D(_GlobalAverage):
    """The mean of an image, for each channel; arguments as of ``GlobalAveragePooling1D``, without a mask.

    Shapes: (batch, height, width, channels) -> (batch, channels).
    """

    rank = 2


class GlobalAveragePooling3D(_GlobalAverage):
    """The mean of a volume, for each channel; arguments as of ``GlobalAveragePooling1D``, without a mask.

    Shapes: (batch, depth, height, width, channels) -> (batch, channels).
    """

    rank = 3
