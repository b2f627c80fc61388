"""Recurrent layers whose products are convolutions: series of signals, of images, of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid import ops
from pellucid.core.arguments import size_of_axis
from pellucid.core.checks import check_whole
from pellucid.core.input_spec import InputSpec
from pellucid.errors import ShapeError
from pellucid.layers.cells import LongShort
from pellucid.layers.recurrent import OfCell, with_cell
from pellucid.ops import recurrent
from pellucid.ops.windows import channel_axis, format_of, padding_of, per_axis

Sizes = int | Sequence[int]
WINDOWS = ("strides", "padding", "data_format", "dilation_rate")


class ConvLSTMCell(LongShort):
    """One step of ``ConvLSTM1D`` to ``ConvLSTM3D``; see ``ops.recurrent.conv_lstm`` for the formula.

    Args:
        rank: number of spatial axes.
        filters: number of channels of states and output.
        kernel_size: of the windows of both convolutions.
        others: the arguments of ``ConvLSTM2D``, by name.
    """

    sequence = recurrent.conv_lstm
    options = (*LongShort.options, *WINDOWS)
    always_by_gates = True

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self.input_spec = InputSpec(ndim=rank + 2)
        self._keep(locals())
        where = f"ConvLSTM{rank}D"
        self.filters = check_whole(where, "filters", filters)
        for name in ("kernel_size", "strides", "dilation_rate"):
            setattr(self, name, per_axis(where, name, getattr(self, name), rank))
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{where}: strides={self.strides} and dilation_rate={self.dilation_rate}; expected one of them to be 1 along all axes."
            )
        self.padding, self.data_format = padding_of(where, padding, ("valid", "same")), format_of(where, data_format)

    rank: int
    kernel_size: Any
    strides: Any
    dilation_rate: Any

    @property
    def units(self) -> int:  # type: ignore[override]
        """The number of channels."""
        return self.filters

    def build(self, input_shape: Any) -> None:
        channels = size_of_axis(self, input_shape, channel_axis(self.data_format))
        if len(input_shape) != self.rank + 2 or None in input_shape[1:]:
            raise ShapeError(
                f"ConvLSTM{self.rank}D got steps of shape {tuple(input_shape)}; expected (batch, *space, channels), with {self.rank} "
                "spatial axes of known sizes."
            )
        width = self.gates * self.filters
        self.kernel = self._weight("kernel", (*self.kernel_size, channels, width))
        self.recurrent_kernel = self._weight("recurrent_kernel", (*self.kernel_size, self.filters, width))
        self.bias = self._weight("bias", (width,)) if self.use_bias else None
        row, kernel = (
            jax.ShapeDtypeStruct(shape, "float32") for shape in ((1, *input_shape[1:]), (*self.kernel_size, channels, self.filters))
        )
        windows = {name: getattr(self, name) for name in WINDOWS}
        state = jax.eval_shape(lambda x, kernel: ops.conv(x, kernel, **windows), row, kernel)
        self.row_shapes = tuple(input_shape[1:]), tuple(state.shape[1:])

    def _row_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.row_shapes

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return [jnp.zeros((batch_size, *self.row_shapes[1]), self.compute_dtype) for _ in range(self.states)]


class _ConvLSTM(OfCell, cell=ConvLSTMCell):
    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**with_cell(ConvLSTMCell, {**locals(), "rank": type(self).rank}))
        self.input_spec = InputSpec(ndim=self.rank + 3)


class ConvLSTM1D(_ConvLSTM):
    """``ConvLSTM2D`` for series of signals. Shapes: (batch, time, steps, channels) -> (batch, new steps, filters)."""

    rank = 1


class ConvLSTM2D(_ConvLSTM):
    """Long short-term memory along time whose products are convolutions; see ``ops.recurrent.conv_lstm`` for the formula.

    Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting", NeurIPS 2015.

    Args:
        filters: number of channels of the output.
        kernel_size: of the windows of both convolutions: a whole number, or one for each spatial axis.
        strides: how far the window on the inputs moves; that on the states moves by one, and keeps their size.
        padding: "valid" or "same", of the inputs.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        dilation_rate: distance of the elements of the window on the inputs.
        others: see ``LSTMCell`` and ``RNN``.

    Shapes: (batch, time, rows, columns, channels) -> (batch, new rows, new columns, filters), or those of all steps with
    ``return_sequences``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.ConvLSTM2D(4, 3)(np.ones((2, 5, 8, 8, 1), "float32")).shape
        (2, 6, 6, 4)
    """

    rank = 2


class ConvLSTM3D(_ConvLSTM):
    """``ConvLSTM2D`` for series of volumes. Shapes: (batch, time, *space, channels) -> (batch, *new space, filters)."""

    rank = 3
