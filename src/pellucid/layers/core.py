"""Dense and Identity."""

from __future__ import annotations

from typing import Any

from pellucid import activations
from pellucid.core.arguments import size_of_axis
from pellucid.core.checks import check_whole
from pellucid.core.jax_compat import open_shape
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.layers.weights import add_weight, keep_options
from pellucid.ops.products import product


class Dense(Layer):
    """Affine map of the last axis: ``y = activation(x @ kernel + bias)``.

    Args:
        units: size of the output's last axis.
        activation: name, callable or None.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, (d, units).
        bias_initializer: for the bias, (units,).
        kernel_regularizer: name, callable or None: the penalty on the kernel that is added to the loss; see ``pellucid.regularizers``.
        bias_regularizer: likewise, on the bias.
        activity_regularizer: likewise, on the outputs, divided by the number of rows.
        kernel_constraint: name, callable or None: what the kernel keeps after each update; see ``pellucid.constraints``.
        bias_constraint: likewise, the bias.

    Shapes: (..., d) -> (..., units).

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Dense(4, activation="relu")(np.ones((2, 3), "float32")).shape
        (2, 4)
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
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
        super().__init__(activity_regularizer=activity_regularizer, **layer_args)
        self.units = check_whole("Dense", "units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        kernel = kernel_initializer, kernel_regularizer, kernel_constraint
        keep_options(self, kernel=kernel, bias=(bias_initializer, bias_regularizer, bias_constraint))

    def build(self, input_shape: Any) -> None:
        features = size_of_axis(self, input_shape)
        if len(input_shape) < 2:
            raise ShapeError(f"Dense {self.path!r} got inputs of shape {tuple(input_shape)}; expected rows and features.")
        self.kernel = add_weight(self, "kernel", (features, self.units))
        self.bias = add_weight(self, "bias", (self.units,)) if self.use_bias else None

    def call(self, inputs: Any) -> Any:
        if not hasattr(inputs, "shape"):
            raise ShapeError(f"Dense {self.path!r} got a {type(inputs).__name__} of {len(inputs)}; expected one array.")
        features = self.kernel.shape[0]
        if inputs.shape[-1] != features:
            raise ShapeError(
                f"Dense {self.path!r} has a kernel for {features} features and got inputs of shape {open_shape(inputs.shape)}."
            )
        y = product(inputs, self.kernel.value)
        return self.activation(y if self.bias is None else y + self.bias.value)


class Identity(Layer):
    """Hands its inputs on. Shapes: any -> the same."""

    _takes = "arrays"

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs
