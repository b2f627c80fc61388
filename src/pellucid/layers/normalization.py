"""Normalization with fixed statistics, and with those of the batch."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid import constraints, initializers
from pellucid.core.arguments import size_of_axis
from pellucid.core.layer import Layer
from pellucid.core.mode import by_training


class BatchNormalization(Layer):
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``: in training with the batch's mean and variance, which also
    move the running ones; else with the running ones.

    Ioffe and Szegedy, "Batch normalization", ICML 2015.

    Args:
        axis: the axis of the features; statistics go over all others.
        momentum: share of the running statistics that is kept at each step.
        epsilon: keeps the root away from zero.
        center: whether ``beta`` is added.
        scale: whether ``gamma`` multiplies.
        beta_constraint: what ``beta`` keeps after each update; see ``pellucid.constraints``.
        gamma_constraint: likewise, ``gamma``.

    Shapes: any -> the same.
    """

    supports_masking = True
    keras_defaults = {"renorm_momentum": 0.99}  # of what is not offered here, and asks for nothing

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self.axis, self.momentum, self.epsilon, self.center, self.scale = axis, momentum, epsilon, center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_constraint, self.gamma_constraint = constraints.get(beta_constraint), constraints.get(gamma_constraint)

    def build(self, input_shape: Any) -> None:
        shape = (size_of_axis(self, input_shape, self.axis),)
        make = functools.partial(self.add_weight, shape, autocast=False)
        self.gamma = make(self.gamma_initializer, name="gamma", constraint=self.gamma_constraint) if self.scale else None
        self.beta = make(self.beta_initializer, name="beta", constraint=self.beta_constraint) if self.center else None
        self.moving_mean = self.add_weight(shape, self.moving_mean_initializer, trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(shape, self.moving_variance_initializer, trainable=False, name="moving_variance")

    def call(self, inputs: Any, training: Any = None) -> Any:
        axis = self.axis % inputs.ndim
        inputs = inputs.astype(jnp.result_type(inputs.dtype, "float32"))  # squares overflow in half precision
        others = tuple(i for i in range(inputs.ndim) if i != axis)

        def of_batch(x: Any) -> tuple:
            mean = x.mean(others)
            variance = jnp.square(x - _along(mean, axis, x.ndim)).mean(others)
            self.moving_mean.assign(self.moving_mean.value * self.momentum + jax.lax.stop_gradient(mean) * (1 - self.momentum))
            self.moving_variance.assign(self.moving_variance.value * self.momentum + jax.lax.stop_gradient(variance) * (1 - self.momentum))
            return mean, variance

        def running(x: Any) -> tuple:
            return self.moving_mean.value, self.moving_variance.value

        # a frozen layer keeps its statistics, as in Keras
        mean, variance = by_training(training if self.trainable else False, of_batch, running, inputs)
        factor = jax.lax.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma.value
        shift = -mean * factor if self.beta is None else self.beta.value - mean * factor
        return (inputs * _along(factor, axis, inputs.ndim) + _along(shift, axis, inputs.ndim)).astype(self.compute_dtype)


def _along(vector: Any, axis: int, ndim: int) -> Any:
    return vector.reshape([-1 if i == axis else 1 for i in range(ndim)])


class Normalization(Layer):
    """``(x - mean) / sqrt(variance)`` with statistics that ``adapt`` takes from data, or that are given.

    Args:
        axis: the axis (or axes) with statistics of their own; None for one mean and variance of all.
        mean: given mean, instead of ``adapt``.
        variance: given variance.
        invert: computes ``x * sqrt(variance) + mean`` instead.

    Shapes: any -> the same.

    Example:
        >>> import numpy as np, pellucid
        >>> layer = pellucid.layers.Normalization()
        >>> layer.adapt(np.array([[0.0], [2.0], [4.0]], "float32"))
        >>> [round(float(y), 3) for y in layer(np.array([[2.0], [4.0]], "float32")).ravel()]
        [0.0, 1.225]
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | tuple[int, ...] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        if (mean is None) != (variance is None):
            raise ValueError(f"Normalization: mean={mean!r} and variance={variance!r}; expected both or neither.")
        self.autocast = False  # what is to be normalized may be too large for half precision
        self.axis, self.invert = axis, invert
        self.input_mean, self.input_variance = mean, variance

    def build(self, input_shape: Any) -> None:
        shape = tuple(size_of_axis(self, input_shape, a) for a in self._axes(len(input_shape)))
        if self.input_mean is not None:
            fixed = lambda value: np.broadcast_to(np.asarray(value, self.variable_dtype), shape)
            self.fixed_mean, self.fixed_variance = fixed(self.input_mean), fixed(self.input_variance)
            return
        self.adapt_mean = self.add_weight(shape, "zeros", trainable=False, name="mean")
        self.adapt_variance = self.add_weight(shape, "ones", trainable=False, name="variance")
        self.count = self.add_weight((), "zeros", "int32", trainable=False, name="count")  # as in Keras, where it has no use either

    @property
    def mean(self) -> Any:
        """The mean that is subtracted."""
        return self.adapt_mean.value if self.input_mean is None else jnp.asarray(self.fixed_mean)

    @property
    def variance(self) -> Any:
        """The variance by whose root is divided."""
        return self.adapt_variance.value if self.input_mean is None else jnp.asarray(self.fixed_variance)

    def adapt(self, data: Any) -> None:
        """Takes mean and variance from data of any length, (rows, ...)."""
        if self.input_mean is not None:
            raise ValueError("Normalization.adapt: mean and variance were given to the layer; expected a layer without them.")
        data = np.asarray(data)
        if data.dtype.kind not in "fiub" or not data.size:
            raise ValueError(
                f"Normalization.adapt: data has shape {data.shape} and dtype {data.dtype}; expected numbers, at least one row."
            )
        if data.ndim == 1:
            data = data[:, None]
        self._build_for((data,), {})
        axes = self._axes(data.ndim)
        others = tuple(i for i in range(data.ndim) if i not in axes)
        self.adapt_mean.assign(data.mean(others, dtype="float64"))
        self.adapt_variance.assign(data.var(others, dtype="float64"))

    def call(self, inputs: Any) -> Any:
        axes = self._axes(inputs.ndim)
        shape = [inputs.shape[i] if i in axes else 1 for i in range(inputs.ndim)]
        mean, deviation = self.mean.reshape(shape), jnp.sqrt(self.variance).reshape(shape)
        inputs, deviation = inputs.astype(self.variable_dtype), jnp.maximum(deviation, 1e-7)
        y = inputs * deviation + mean if self.invert else (inputs - mean) / deviation
        return y.astype(self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        given = {"mean": self.input_mean, "variance": self.input_variance}
        lists = {name: None if value is None else np.asarray(value).tolist() for name, value in given.items()}
        return {**super().get_config(), **lists}

    def _axes(self, ndim: int) -> tuple[int, ...]:
        axes = () if self.axis is None else (self.axis,) if isinstance(self.axis, int) else tuple(self.axis)
        return tuple(sorted(a % ndim for a in axes))
