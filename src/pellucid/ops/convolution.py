"""Convolutions and their transposes. All are computed in one place (``convolve``): by one operation of XLA, or as products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core.equation import equation
from pellucid.core.forms import own_form
from pellucid.core.jax_compat import open_shape
from pellucid.errors import ShapeError
from pellucid.ops.convolution_forms import convolved, windows_over
from pellucid.ops.core import convert_to_tensor
from pellucid.ops.windows import channel_axis, check_windows_fit, format_of, padding_of, per_axis, rank_of, spatial_axes, with_something

Sizes = int | Sequence[int]


def conv(
    inputs: Any,
    kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Convolution over the spatial axes, of any number: ``y[p] = sum over i of x[p * strides + i * dilation_rate] @ kernel[i]``.

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        kernel: (*window, channels / groups, filters); the groups of channels follow from it.
        strides: how far the window moves.
        padding: "valid", none; "same", zeros around, evenly; with one spatial axis also "causal", zeros before.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        dilation_rate: distance of a window's elements.

    Raises:
        ShapeError: where ranks or channels do not fit, or the window is larger than the inputs.
        ValueError: for another padding or data format.

    Example:
        >>> from pellucid import ops
        >>> ops.conv(ops.ones((1, 5, 1)), ops.ones((3, 1, 1)))[0, :, 0].tolist()
        [3.0, 3.0, 3.0]
    """
    inputs, kernel = convert_to_tensor(inputs), convert_to_tensor(kernel)
    form = format_of("conv", data_format)
    channels, within = _channels("conv", inputs, kernel, form), kernel.shape[-2]
    if channels % within or kernel.shape[-1] % (channels // within):
        raise ShapeError(
            f"conv: inputs of shape {open_shape(inputs.shape)} have {channels} channels, and the kernel of shape {kernel.shape} takes "
            f"{within}; "
            "expected as many, or a multiple (groups) that divides the number of filters."
        )
    return _windowed("conv", inputs, kernel, strides, padding, form, dilation_rate, channels // within)


def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """Convolution of each channel by itself, with ``multiplier`` kernels each.

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        kernel: (*window, channels, multiplier).
        strides, padding, data_format, dilation_rate: as of ``conv``.

    Returns:
        (batch, *new space, channels * multiplier)

    Raises:
        ShapeError: as ``conv``.
        ValueError: as ``conv``.
    """
    inputs, kernel = convert_to_tensor(inputs), convert_to_tensor(kernel)
    form = format_of("depthwise_conv", data_format)
    channels = _channels("depthwise_conv", inputs, kernel, form)
    if channels != kernel.shape[-2]:
        raise ShapeError(
            f"depthwise_conv: inputs of shape {open_shape(inputs.shape)} have {channels} channels, and the kernel of shape "
            f"{kernel.shape} is "
            f"for {kernel.shape[-2]}; expected as many."
        )
    each = kernel.reshape(*kernel.shape[:-2], 1, channels * kernel.shape[-1])
    return _windowed("depthwise_conv", inputs, each, strides, padding, form, dilation_rate, channels)


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """``depthwise_conv``, then a convolution with a window of one element that mixes the channels.

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        depthwise_kernel: (*window, channels, multiplier).
        pointwise_kernel: (*ones, channels * multiplier, filters).
        strides, padding, data_format, dilation_rate: of the first, as of ``conv``.

    Raises:
        ShapeError: as ``conv``.
        ValueError: as ``conv``.
    """
    each = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(each, pointwise_kernel, data_format=data_format)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Sizes = 1,
    padding: str = "valid",
    output_padding: Sizes | None = None,
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> jax.Array:
    """The transpose (gradient) of a convolution as an operation: each element of the inputs spreads a kernel over the outputs.

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        kernel: (*window, filters, channels).
        strides: distance of neighbours in the outputs.
        padding: "valid": all that is reached, ``(n - 1) * strides + max(window, strides)`` elements; "same": ``n * strides``.
        output_padding: elements added at the end in place of those rules: ``(n - 1) * strides + window + output_padding`` for
            "valid", ``(n - 1) * strides + window % 2 + output_padding`` for "same".
        data_format: as of ``conv``.
        dilation_rate: distance of a kernel's elements.

    Raises:
        ShapeError: where ranks or channels do not fit.
        ValueError: for another padding or data format.

    Example:
        >>> from pellucid import ops
        >>> ops.conv_transpose(ops.ones((1, 2, 1)), ops.ones((3, 1, 1)), strides=2)[0, :, 0].tolist()
        [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    where = "conv_transpose"
    inputs, kernel = convert_to_tensor(inputs), convert_to_tensor(kernel)
    form, padding = format_of(where, data_format), padding_of(where, padding)
    channels = _channels(where, inputs, kernel, form)
    if channels != kernel.shape[-1]:
        raise ShapeError(
            f"{where}: inputs of shape {open_shape(inputs.shape)} have {channels} channels, and the kernel of shape {kernel.shape} is for "
            f"{kernel.shape[-1]}; expected as many. Its axes are (*window, filters, channels)."
        )
    rank = inputs.ndim - 2
    steps, apart = per_axis(where, "strides", strides, rank), per_axis(where, "dilation_rate", dilation_rate, rank)
    extra = (None,) * rank if output_padding is None else per_axis(where, "output_padding", output_padding, rank, least=0)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape, apart, strict=False)]
    edges = tuple(_transposed_edges(k, s, padding, e) for k, s, e in zip(reach, steps, extra, strict=True))
    turned = jnp.flip(kernel, tuple(range(rank))).swapaxes(-1, -2)
    return convolve(inputs, turned, strides=(1,) * rank, padding=edges, spread=steps, dilation=apart, groups=1, data_format=form)


def _transposed_edges(window: int, stride: int, padding: str, extra: int | None) -> tuple[int, int]:
    """Zeros before and after the inputs, once they are spread by the stride, for a plain convolution over them."""
    if padding == "valid":
        return window - 1, window - 1 + (max(0, stride - window) if extra is None else extra)
    total = window - 2 + (stride if extra is None else window % 2 + extra)
    before = min(total - total // 2, window - 1)
    return before, total - before


def _channels(where: str, inputs: Any, kernel: Any, data_format: str) -> int:
    rank = rank_of(where, inputs.shape)
    if kernel.ndim != rank + 2:
        raise ShapeError(
            f"{where}: the kernel of shape {kernel.shape} has {kernel.ndim} axes, the inputs of shape {open_shape(inputs.shape)} have "
            f"{rank + 2}; expected as many."
        )
    return inputs.shape[channel_axis(data_format)]


def _windowed(
    where: str, inputs: Any, kernel: Any, strides: Sizes, padding: str, data_format: str, dilation_rate: Sizes, groups: int
) -> jax.Array:
    rank = inputs.ndim - 2
    steps, apart = per_axis(where, "strides", strides, rank), per_axis(where, "dilation_rate", dilation_rate, rank)
    padding = padding_of(where, padding, ("valid", "same", "causal") if rank == 1 else ("valid", "same"))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape, apart, strict=False)]
    check_windows_fit(where, inputs, reach, padding, data_format)
    edges = ((reach[0] - 1, 0),) if padding == "causal" else padding.upper()
    ones = (1,) * rank
    return convolve(inputs, kernel, strides=steps, padding=edges, spread=ones, dilation=apart, groups=groups, data_format=data_format)


@equation
def convolve(
    inputs: Any, kernel: Any, *, strides: tuple, padding: Any, spread: tuple, dilation: tuple, groups: int, data_format: str
) -> jax.Array:
    """Every convolution there is: of inputs whose elements are ``spread`` apart, with a kernel whose elements are ``dilation`` apart."""
    if own_form("convolve") and kernel.dtype == jnp.float32 and set(spread) == {1}:
        last = jnp.moveaxis(inputs.astype(kernel.dtype), channel_axis(data_format), -1)
        windows = windows_over(last.shape[1:-1], kernel.shape[:-2], strides, padding, dilation)
        own = convolved(last, kernel, windows, groups) if windows else None
        if own is not None:
            back = own if data_format == "channels_last" else jax.lax.optimization_barrier(own)  # one transposition, of the gradient too
            return jnp.moveaxis(back, -1, channel_axis(data_format))
    ndim = inputs.ndim
    last = ndim - 1
    axes = (0, channel_axis(data_format) % ndim, *spatial_axes(ndim, data_format))
    numbers = jax.lax.ConvDimensionNumbers(axes, (last, last - 1, *range(last - 1)), axes)
    outputs = jax.lax.conv_general_dilated(
        inputs.astype(kernel.dtype), kernel, strides, padding, spread, dilation, numbers, feature_group_count=groups
    )
    return with_something(inputs, outputs)
