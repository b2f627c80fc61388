"""Activations as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid import activations
from pellucid.core.checks import check_axes
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.layers.weights import add_weight, keep_options


class Activation(Layer):
    """Applies an activation given by name or as a callable. Shapes: any -> the same."""

    supports_masking = True

    def __init__(self, activation: Any, **layer_args: Any):
        super().__init__(**layer_args)
        self.activation = activations.get(activation)

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs)


class ReLU(Layer):
    """``max(x, 0)``, with a slope below ``threshold`` and an upper bound on request. Shapes: any -> the same.

    Args:
        max_value: upper bound, or None.
        negative_slope: slope below the threshold.
        threshold: where the function begins to rise.
    """

    supports_masking = True

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **layer_args: Any):
        super().__init__(**layer_args)
        bound = {} if max_value is None else {"max_value": max_value}
        _check_not_negative("ReLU", negative_slope=negative_slope, threshold=threshold, **bound)
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs, negative_slope=self.negative_slope, max_value=self.max_value, threshold=self.threshold)


class LeakyReLU(Layer):
    """``x`` where positive, ``negative_slope * x`` elsewhere. Shapes: any -> the same.

    Maas et al., "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Args:
        negative_slope: slope below zero.
    """

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **layer_args: Any):
        super().__init__(**layer_args)
        _check_not_negative("LeakyReLU", negative_slope=negative_slope)
        self.negative_slope = negative_slope

    def call(self, inputs: Any) -> Any:
        return activations.leaky_relu(inputs, negative_slope=self.negative_slope)


class ELU(Layer):
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere. Shapes: any -> the same.

    Clevert et al., "Fast and accurate deep network learning by exponential linear units", ICLR 2016.

    Args:
        alpha: what it falls to, with a minus sign.
    """

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **layer_args: Any):
        super().__init__(**layer_args)
        self.alpha = alpha

    def call(self, inputs: Any) -> Any:
        return activations.elu(inputs, alpha=self.alpha)


class PReLU(Layer):
    """``x`` where positive, ``alpha * x`` elsewhere, with trained slopes. Shapes: (batch, ...) -> the same.

    He et al., "Delving deep into rectifiers", ICCV 2015.

    Args:
        alpha_initializer: for the slopes, one for each place in a row.
        alpha_regularizer: the penalty on them; see ``pellucid.regularizers``.
        alpha_constraint: what they keep after each update; see ``pellucid.constraints``.
        shared_axes: along which one slope serves all places: (1, 2) for one for each channel of an image.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        keep_options(self, alpha=(alpha_initializer, alpha_regularizer, alpha_constraint))
        self.shared_axes = None if shared_axes is None else [shared_axes] if isinstance(shared_axes, int) else list(shared_axes)

    def build(self, input_shape: Any) -> None:
        shared = check_axes(f"PReLU {self.path!r}", self.shared_axes or (), len(input_shape))
        sizes = {i: size for i, size in enumerate(input_shape) if i and i not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=sizes)  # no one factor is spread over others
        self.alpha = add_weight(self, "alpha", tuple(sizes.get(i, 1) for i in range(1, len(input_shape))))

    def call(self, inputs: Any) -> Any:
        return jax.nn.relu(inputs) - self.alpha.value * jax.nn.relu(-inputs)


class Softmax(Layer):
    """``exp(x) / sum(exp(x))`` along an axis, or several together. Shapes: any -> the same.

    Args:
        axis: the axis, or the axes, along which the outputs sum to 1.

    Call arguments:
        mask: True (or above 0.5) where an element counts; the outputs are 0 elsewhere. It broadcasts to the inputs. Or None.
    """

    input_spec = InputSpec(min_ndim=1)

    _masks_steps = False  # but of each element

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **layer_args: Any):
        super().__init__(**layer_args)
        self.axis = axis

    def call(self, inputs: Any, mask: Any = None) -> Any:
        axis = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        if mask is None:
            return activations.softmax(inputs, axis=axis)
        try:
            counted = jnp.broadcast_to(mask if mask.dtype == bool else mask > 0.5, inputs.shape)
        except ValueError:
            raise ShapeError(
                f"Softmax {self.path!r} got a mask of shape {mask.shape} for inputs of shape {inputs.shape}; expected one that broadcasts."
            ) from None
        lowest = -3e4 if inputs.dtype == "float16" else -1e9
        return jnp.where(counted, activations.softmax(jnp.where(counted, inputs, lowest), axis=axis), 0)


def is_library_function(function: Any) -> bool:
    """Whether a function of arrays is one of the library's or JAX's, and no layer: it reads no variable and leaves rows apart."""
    package = (getattr(function, "__module__", None) or "").split(".")[0]
    return package in ("pellucid", "jax") and not isinstance(function, Layer)


def _check_not_negative(where: str, **given: Any) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ValueError(f"{where}: {name}={value!r}; expected a number of at least zero.")
