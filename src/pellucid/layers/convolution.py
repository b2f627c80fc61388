"""Convolutions of series, images and volumes: a class for each number of spatial axes, over bases that do the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pellucid import activations, ops
from pellucid.core.arguments import size_of_axis
from pellucid.core.checks import check_whole
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.layers.weights import add_weight, keep_options
from pellucid.ops.windows import channel_axis, format_of, padding_of, per_axis, rank_of

Sizes = int | Sequence[int]


class _Convolution(Layer):
    """What convolutions of all kinds share: windows, a bias, an activation. Subclasses have the kernels, and say which operation."""

    rank: int  # number of spatial axes
    paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes,
        padding: str,
        data_format: str | None,
        dilation_rate: Sizes,
        activation: Any,
        use_bias: bool,
        weights: dict[str, tuple],
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        where, rank = type(self).__name__, self.rank
        self.kernel_size = per_axis(where, "kernel_size", kernel_size, rank)
        self.strides = per_axis(where, "strides", strides, rank)
        self.dilation_rate = per_axis(where, "dilation_rate", dilation_rate, rank)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{where}: strides={self.strides} and dilation_rate={self.dilation_rate}; expected one of them to be 1 along all axes."
            )
        self.input_spec = InputSpec(ndim=rank + 2)
        self.padding, self.data_format = padding_of(where, padding, self.paddings), format_of(where, data_format)
        self.activation, self.use_bias = activations.get(activation), use_bias
        keep_options(self, **weights)

    def make_kernels(self, channels: int) -> int:
        """Makes the kernels for so many channels; the number of channels of the outputs."""
        raise NotImplementedError

    def convolved(self, inputs: Any, **options: Any) -> Any:
        """The outputs without bias; the options are those that all operations take."""
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        axis = channel_axis(self.data_format)
        rank_of(f"{type(self).__name__} {self.path!r}", input_shape, self.rank)
        channels = size_of_axis(self, input_shape, axis)
        filters = self.make_kernels(channels)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        self.bias = add_weight(self, "bias", (filters,)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        y = self.convolved(
            inputs, strides=self.strides, padding=self.padding, data_format=self.data_format, dilation_rate=self.dilation_rate
        )
        if self.bias is not None:
            bias = self.bias.value
            y = y + (bias if self.data_format == "channels_last" else bias.reshape(-1, *(1,) * self.rank))
        return self.activation(y)


class _Conv(_Convolution):
    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_args: Any,
    ):
        kernel = kernel_initializer, kernel_regularizer, kernel_constraint
        bias = bias_initializer, bias_regularizer, bias_constraint
        windows = kernel_size, strides, padding, data_format, dilation_rate
        super().__init__(
            *windows, activation, use_bias, {"kernel": kernel, "bias": bias}, activity_regularizer=activity_regularizer, **layer_args
        )
        self.filters = check_whole(type(self).__name__, "filters", filters)
        self.groups = check_whole(type(self).__name__, "groups", groups)
        if self.filters % self.groups:
            raise ValueError(f"{type(self).__name__}: filters={filters} and groups={groups}; expected groups to divide filters.")

    def make_kernels(self, channels: int) -> int:
        if channels % self.groups:
            raise ShapeError(
                f"{type(self).__name__} {self.path!r} has groups={self.groups} and got inputs with {channels} channels; expected groups to "
                "divide them."
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = add_weight(self, "kernel", shape)
        return self.filters

    def convolved(self, inputs: Any, **options: Any) -> Any:
        return ops.conv(inputs, self.kernel.value, **options)


class Conv1D(_Conv):
    """Convolution over time: ``y[p] = activation(sum over i of x[p * strides + i * dilation_rate] @ kernel[i] + bias)``.

    Args:
        filters: number of channels of the outputs.
        kernel_size: length of the window.
        strides: how far the window moves.
        padding: "valid", none; "same", zeros around; "causal", zeros before, so that no output sees a later input.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        dilation_rate: distance of a window's elements; one of it and ``strides`` is 1.
        groups: how many groups of channels are convolved apart, each with its share of the filters.
        activation: name, callable or None.
        use_bias: whether a bias is added, one for each filter.
        kernel_initializer: for the kernel, (kernel_size, channels / groups, filters).
        bias_initializer: for the bias, (filters,).
        kernel_regularizer: name, callable or None: the penalty on the kernel that is added to the loss; see ``pellucid.regularizers``.
        bias_regularizer: likewise, on the bias.
        activity_regularizer: likewise, on the outputs, divided by the number of rows.
        kernel_constraint: what the kernel keeps after each update; see ``pellucid.constraints``.
        bias_constraint: likewise, the bias.

    Shapes: (batch, steps, channels) -> (batch, new steps, filters), or with the channels second.

    Raises:
        ValueError: for arguments out of their range, groups that do not divide filters, strides together with dilation.
        ShapeError: for inputs with another number of axes or channels, or that are shorter than the window.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Conv1D(4, 3, padding="causal")(np.ones((2, 10, 3), "float32")).shape
        (2, 10, 4)
    """

    rank, paddings = 1, ("valid", "same", "causal")


class Conv2D(_Conv):
    """Convolution of images: ``y[p] = activation(sum over i of x[p * strides + i * dilation_rate] @ kernel[i] + bias)``, of positions
    p and i in two axes. LeCun et al., "Gradient-based learning applied to document recognition", Proceedings of the IEEE 86 (1998).

    Args:
        filters: number of channels of the outputs.
        kernel_size: height and width of the window, or one number for both.
        strides: how far the window moves.
        padding: "valid", none; "same", zeros around.
        data_format, dilation_rate, groups, activation, use_bias: as of ``Conv1D``.
        kernel_initializer: for the kernel, (height, width, channels / groups, filters).
        bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: as of ``Conv1D``.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, filters), or with the channels second.

    Raises:
        ValueError: as ``Conv1D``.
        ShapeError: as ``Conv1D``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(np.ones((2, 28, 28, 1), "float32")).shape
        (2, 14, 14, 8)
    """

    rank = 2


class Conv3D(_Conv):
    """Convolution of volumes; formula and arguments as of ``Conv2D``, with one axis more.

    Shapes: (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, filters), or with the channels second.

    Raises:
        ValueError: as ``Conv1D``.
        ShapeError: as ``Conv1D``.
    """

    rank = 3


class _ConvTranspose(_Convolution):
    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        output_padding: Sizes | None = None,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_args: Any,
    ):
        kernel = kernel_initializer, kernel_regularizer, kernel_constraint
        bias = bias_initializer, bias_regularizer, bias_constraint
        windows = kernel_size, strides, padding, data_format, dilation_rate
        super().__init__(
            *windows, activation, use_bias, {"kernel": kernel, "bias": bias}, activity_regularizer=activity_regularizer, **layer_args
        )
        where = type(self).__name__
        self.filters = check_whole(where, "filters", filters)
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = per_axis(where, "output_padding", output_padding, self.rank, least=0)
            if any(o >= s for o, s in zip(self.output_padding, self.strides, strict=True)):
                raise ValueError(f"{where}: output_padding={output_padding} and strides={self.strides}; expected less than the strides.")

    def make_kernels(self, channels: int) -> int:
        shape = (*self.kernel_size, self.filters, channels)
        self.kernel = add_weight(self, "kernel", shape)
        return self.filters

    def convolved(self, inputs: Any, **options: Any) -> Any:
        return ops.conv_transpose(inputs, self.kernel.value, output_padding=self.output_padding, **options)


class Conv1DTranspose(_ConvTranspose):
    """The transpose of a convolution over time: each step of the inputs spreads a kernel over the outputs, ``strides`` apart.

    Args:
        filters: number of channels of the outputs.
        kernel_size: length of the kernel.
        strides: distance in the outputs of what neighbours give.
        padding: "valid", outputs of ``(n - 1) * strides + max(kernel_size, strides)`` steps; "same", of ``n * strides``.
        output_padding: less than ``strides``; or None for those lengths. Steps that are added at the end: the outputs have
            ``(n - 1) * strides + kernel_size + output_padding`` steps for "valid", and ``kernel_size % 2`` instead for "same".
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        dilation_rate: distance of a kernel's elements; one of it and ``strides`` is 1.
        activation: name, callable or None.
        use_bias: whether a bias is added, one for each filter.
        kernel_initializer: for the kernel, (kernel_size, filters, channels).
        bias_initializer: for the bias, (filters,).
        kernel_regularizer: name, callable or None: the penalty on the kernel that is added to the loss; see ``pellucid.regularizers``.
        bias_regularizer: likewise, on the bias.
        activity_regularizer: likewise, on the outputs, divided by the number of rows.
        kernel_constraint: what the kernel keeps after each update; see ``pellucid.constraints``.
        bias_constraint: likewise, the bias.

    Shapes: (batch, steps, channels) -> (batch, new steps, filters), or with the channels second.

    Raises:
        ValueError: for arguments out of their range, output_padding not below strides, strides together with dilation.
        ShapeError: for inputs with another number of axes or channels.
    """

    rank = 1


class Conv2DTranspose(_ConvTranspose):
    """The transpose of a convolution of images, which makes larger ones; arguments as of ``Conv1DTranspose``, in two axes.

    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, filters), or with the channels second.

    Raises:
        ValueError: as ``Conv1DTranspose``.
        ShapeError: as ``Conv1DTranspose``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Conv2DTranspose(8, 3, strides=2, padding="same")(np.ones((2, 7, 7, 16), "float32")).shape
        (2, 14, 14, 8)
    """

    rank = 2


class Conv3DTranspose(_ConvTranspose):
    """The transpose of a convolution of volumes; arguments as of ``Conv1DTranspose``, in three axes, ``data_format`` before
    ``output_padding``.

    Shapes: (batch, depth, height, width, channels) -> (batch, new depth, new height, new width, filters), or with the channels second.

    Raises:
        ValueError: as ``Conv1DTranspose``.
        ShapeError: as ``Conv1DTranspose``.
    """

    rank = 3

    def __init__(  # Keras has another order here
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        output_padding: Sizes | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_args: Any,
    ):
        further = dilation_rate, activation, use_bias, kernel_initializer, bias_initializer
        penalties = kernel_regularizer, bias_regularizer, activity_regularizer
        first = filters, kernel_size, strides, padding, output_padding, data_format
        super().__init__(*first, *further, *penalties, kernel_constraint, bias_constraint, **layer_args)


class _DepthwiseConv(_Convolution):
    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_args: Any,
    ):
        depthwise = depthwise_initializer, depthwise_regularizer, depthwise_constraint
        bias = bias_initializer, bias_regularizer, bias_constraint
        windows = kernel_size, strides, padding, data_format, dilation_rate
        weights = {"depthwise": depthwise, "bias": bias}
        super().__init__(*windows, activation, use_bias, weights, activity_regularizer=activity_regularizer, **layer_args)
        self.depth_multiplier = check_whole(type(self).__name__, "depth_multiplier", depth_multiplier)

    def make_kernels(self, channels: int) -> int:
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = add_weight(self, "kernel", shape, "depthwise")
        return channels * self.depth_multiplier

    def convolved(self, inputs: Any, **options: Any) -> Any:
        return ops.depthwise_conv(inputs, self.kernel.value, **options)


class DepthwiseConv1D(_DepthwiseConv):
    """Convolution over time of each channel by itself.

    Args:
        kernel_size: length of the window.
        strides: how far the window moves.
        padding: "valid", none; "same", zeros around.
        depth_multiplier: number of filters for each channel.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        dilation_rate: distance of a window's elements; one of it and ``strides`` is 1.
        activation: name, callable or None.
        use_bias: whether a bias is added, one for each channel of the outputs.
        depthwise_initializer: for the kernel, (kernel_size, channels, depth_multiplier).
        bias_initializer: for the bias.
        depthwise_regularizer: name, callable or None: the penalty on the kernel that is added to the loss; see ``pellucid.regularizers``.
        bias_regularizer: likewise, on the bias.
        activity_regularizer: likewise, on the outputs, divided by the number of rows.
        depthwise_constraint: what the kernel keeps after each update; see ``pellucid.constraints``.
        bias_constraint: likewise, the bias.

    Shapes: (batch, steps, channels) -> (batch, new steps, channels * depth_multiplier), or with the channels second.

    Raises:
        ValueError: for arguments out of their range, strides together with dilation.
        ShapeError: for inputs with another number of axes or channels, or that are shorter than the window.
    """

    rank = 1


class DepthwiseConv2D(_DepthwiseConv):
    """Convolution of images, each channel by itself; arguments as of ``DepthwiseConv1D``, in two axes.

    Howard et al., "MobileNets", arXiv:1704.04861, section 3.1.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, channels * depth_multiplier), or with the channels second.

    Raises:
        ValueError: as ``DepthwiseConv1D``.
        ShapeError: as ``DepthwiseConv1D``.
    """

    rank = 2


class _SeparableConv(_Convolution):
    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_args: Any,
    ):
        depthwise = depthwise_initializer, depthwise_regularizer, depthwise_constraint
        pointwise = pointwise_initializer, pointwise_regularizer, pointwise_constraint
        bias = bias_initializer, bias_regularizer, bias_constraint
        windows = kernel_size, strides, padding, data_format, dilation_rate
        weights = {"depthwise": depthwise, "pointwise": pointwise, "bias": bias}
        super().__init__(*windows, activation, use_bias, weights, activity_regularizer=activity_regularizer, **layer_args)
        self.filters = check_whole(type(self).__name__, "filters", filters)
        self.depth_multiplier = check_whole(type(self).__name__, "depth_multiplier", depth_multiplier)

    def make_kernels(self, channels: int) -> int:
        each = (*self.kernel_size, channels, self.depth_multiplier)
        mixing = (*(1,) * self.rank, channels * self.depth_multiplier, self.filters)
        self.depthwise_kernel = add_weight(self, "depthwise_kernel", each, "depthwise")
        self.pointwise_kernel = add_weight(self, "pointwise_kernel", mixing, "pointwise")
        return self.filters

    def convolved(self, inputs: Any, **options: Any) -> Any:
        return ops.separable_conv(inputs, self.depthwise_kernel.value, self.pointwise_kernel.value, **options)


class SeparableConv1D(_SeparableConv):
    """Convolution over time of each channel by itself, then a product that mixes the channels.

    Args:
        filters: number of channels of the outputs.
        kernel_size: length of the window.
        strides: how far the window moves.
        padding: "valid", none; "same", zeros around; "causal", zeros before.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        dilation_rate: distance of a window's elements; one of it and ``strides`` is 1.
        depth_multiplier: number of intermediate channels for each one of the inputs.
        activation: name, callable or None.
        use_bias: whether a bias is added, one for each filter.
        depthwise_initializer: for the first kernel, (kernel_size, channels, depth_multiplier).
        pointwise_initializer: for the second one, (1, channels * depth_multiplier, filters).
        bias_initializer: for the bias.
        depthwise_regularizer: name, callable or None: the penalty on the first kernel that is added to the loss; see
            ``pellucid.regularizers``.
        pointwise_regularizer: likewise, on the second one.
        bias_regularizer: likewise, on the bias.
        activity_regularizer: likewise, on the outputs, divided by the number of rows.
        depthwise_constraint: what the first kernel keeps after each update; see ``pellucid.constraints``.
        pointwise_constraint: likewise, the second one.
        bias_constraint: likewise, the bias.

    Shapes: (batch, steps, channels) -> (batch, new steps, filters), or with the channels second.

    Raises:
        ValueError: for arguments out of their range, strides together with dilation.
        ShapeError: for inputs with another number of axes or channels, or that are shorter than the window.
    """

    rank, paddings = 1, ("valid", "same", "causal")


class SeparableConv2D(_SeparableConv):
    """Convolution of images, each channel by itself, then a product that mixes the channels; arguments as of ``SeparableConv1D``.

    Chollet, "Xception: deep learning with depthwise separable convolutions", CVPR 2017.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, filters), or with the channels second.

    Raises:
        ValueError: as ``SeparableConv1D``.
        ShapeError: as ``SeparableConv1D``.
    """

    rank = 2
