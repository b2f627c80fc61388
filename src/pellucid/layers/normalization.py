"""Normalization of what goes through: over a batch, over the features of a row, over groups of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid import config, initializers, ops
from pellucid.core import dtypes
from pellucid.core.arguments import size_of_axis
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.core.mode import by_training
from pellucid.errors import ShapeError
from pellucid.layers.weights import add_weight, keep_options


class _Scaled(Layer):
    """A layer with a factor ``gamma`` and an offset ``beta``."""

    supports_masking = True

    def _keep(self, center: bool, scale: bool, gamma: tuple, beta: tuple) -> None:
        """Stores whether there are the two weights, and their options."""
        self.center, self.scale = center, scale
        keep_options(self, gamma=gamma, beta=beta)

    def _add(self, shape: tuple[int, ...]) -> None:
        self.gamma = add_weight(self, "gamma", shape, autocast=False) if self.scale else None
        self.beta = add_weight(self, "beta", shape, autocast=False) if self.center else None


class BatchNormalization(_Scaled):
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``: in training with the batch's mean and variance, which also
    move the running ones; else with the running ones.

    Ioffe and Szegedy, "Batch normalization", ICML 2015; for ``renorm`` Ioffe, "Batch renormalization", NeurIPS 2017.

    Args:
        axis: the axis of the features; statistics go over all others.
        momentum: share of the running statistics that is kept at each step.
        epsilon: keeps the root away from zero.
        center: whether ``beta`` is added.
        scale: whether ``gamma`` multiplies.
        beta_initializer: for ``beta``, (features,); likewise those of the other weights.
        beta_regularizer: the penalty on ``beta``; see ``pellucid.regularizers``. Likewise that on ``gamma``.
        beta_constraint: what ``beta`` keeps after each update; see ``pellucid.constraints``. Likewise ``gamma``.
        renorm: whether the batch's statistics are corrected towards the running ones in training, too.
        renorm_clipping: bounds of the correction, a dict with "rmin", "rmax" (of the factor) and "dmax" (of the shift).
        renorm_momentum: as ``momentum``, of the statistics that the correction goes by.
        synchronized: False; the statistics of a compiled step are those of all devices.

    Call arguments:
        mask: True where an element counts, without the axis of the features, which is the last then; or None.

    Shapes: any -> the same.
    """

    couples_rows = True  # by the statistics of a batch

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
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        if synchronized:
            raise ValueError("BatchNormalization: synchronized=True; expected False: the statistics of a step are those of all devices.")
        self.axis, self.momentum, self.epsilon = int(axis), float(momentum), float(epsilon)
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        self._keep(center, scale, gamma, (beta_initializer, beta_regularizer, beta_constraint))
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.renorm, self.renorm_momentum, self.synchronized = renorm, renorm_momentum, synchronized
        self.renorm_clipping = _checked_clipping(renorm_clipping or {}) if renorm else renorm_clipping

    def build(self, input_shape: Any) -> None:
        shape = (size_of_axis(self, input_shape, self.axis),)
        self._add(shape)
        add = functools.partial(self.add_weight, shape, trainable=False)
        self.moving_mean = add(self.moving_mean_initializer, name="moving_mean")
        self.moving_variance = add(self.moving_variance_initializer, name="moving_variance")
        if self.renorm:
            deviation = lambda shape, dtype: jnp.sqrt(jnp.asarray(self.moving_variance_initializer(shape, dtype)))
            self.moving_stddev = add(deviation, name="moving_stddev")
            self.renorm_mean = add(self.moving_mean_initializer, name="renorm_mean")
            self.renorm_stddev = add(deviation, name="renorm_stddev")

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        inputs = dtypes.wide(inputs)  # squares overflow in half precision
        if mask is not None and mask.ndim != inputs.ndim - 1:
            raise ShapeError(
                f"BatchNormalization {self.path!r} got a mask with {mask.ndim} axes for inputs with {inputs.ndim}; expected one axis less."
            )
        # a frozen layer keeps its statistics, as in Keras
        mean, variance, correction = by_training(training if self.trainable else False, self._of_batch, self._running, inputs, mask)
        gamma, beta = self.gamma, self.beta
        if self.renorm:
            factor, shift = correction
            gamma, given = (factor, shift) if gamma is None else (factor * gamma.value, shift * gamma.value)
            beta = given if beta is None else given + beta.value
        y = ops.batch_normalization(inputs, mean, variance, self.axis, beta, gamma, self.epsilon)
        return y.astype(self.compute_dtype)

    def _running(self, inputs: Any, mask: Any) -> tuple:
        mean, variance = self.moving_mean.value, self.moving_variance.value
        return mean, variance, (jnp.ones_like(mean), jnp.zeros_like(mean)) if self.renorm else ()

    def _of_batch(self, inputs: Any, mask: Any) -> tuple:
        others = tuple(i for i in range(inputs.ndim) if i != self.axis % inputs.ndim)
        mean, variance = ops.moments(inputs, others) if mask is None else _masked_moments(inputs, others, mask)
        if self.renorm:
            deviation = jnp.sqrt(variance + self.epsilon)
            correction = self._correction(mean, deviation)
            _move(self.renorm_mean, mean, self.renorm_momentum)
            _move(self.renorm_stddev, deviation, self.renorm_momentum)
            _move(self.moving_mean, mean, self.momentum)
            _move(self.moving_stddev, deviation, self.momentum)
            self.moving_variance.assign(jax.nn.relu(jnp.square(self.moving_stddev.value) - self.epsilon))
            return mean, variance, correction
        _move(self.moving_mean, mean, self.momentum)
        _move(self.moving_variance, variance, self.momentum)
        return mean, variance, ()

    def _correction(self, mean: Any, deviation: Any) -> tuple:
        """(factor, shift) that make of values normalized by the batch such as are normalized by the running statistics."""
        known = jnp.maximum(self.renorm_stddev.value, self.epsilon**0.5)
        bounds = self.renorm_clipping or {}
        factor = jnp.clip(deviation / known, bounds.get("rmin"), bounds.get("rmax"))
        shift, most = (mean - self.renorm_mean.value) / known, bounds.get("dmax")
        return jax.lax.stop_gradient((factor, shift if most is None else jnp.clip(shift, -most, most)))


def _move(variable: Any, value: Any, momentum: float) -> None:
    variable.assign(variable.value * momentum + jax.lax.stop_gradient(value) * (1 - momentum))


def _masked_moments(x: Any, axes: tuple[int, ...], mask: Any) -> tuple:
    counted = jnp.broadcast_to(mask[..., None].astype(bool), x.shape)
    number = jnp.sum(counted.astype(x.dtype), axes, keepdims=True) + config.epsilon()
    mean_over = lambda values: jnp.sum(jnp.where(counted, values, 0), axes, keepdims=True) / number
    mean = mean_over(x)
    return mean.squeeze(axes), mean_over(jnp.square(x - mean)).squeeze(axes)


def _checked_clipping(given: dict[str, float]) -> dict[str, float]:
    where = f"BatchNormalization: renorm_clipping={given!r}; expected"
    if set(given) - {"rmin", "rmax", "dmax"}:
        raise ValueError(f"{where} 'rmin', 'rmax' and 'dmax' only.")
    least, most, shift = given.get("rmin"), given.get("rmax"), given.get("dmax")
    if least is not None and most is not None and most < least:
        raise ValueError(f"{where} 'rmax' not below 'rmin'.")
    if shift is not None and shift < 0:
        raise ValueError(f"{where} no negative 'dmax'.")
    return given


class LayerNormalization(_Scaled):
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with the mean and variance of each row over some axes.

    Ba et al., "Layer normalization", arXiv:1607.06450.

    Args:
        axis: the axis (or axes) of the statistics and of the weights.
        epsilon: keeps the root away from zero.
        center: whether ``beta`` is added.
        scale: whether ``gamma`` multiplies.
        beta_initializer: for ``beta``; likewise ``gamma_initializer``.
        beta_regularizer: the penalty on ``beta``; see ``pellucid.regularizers``. Likewise that on ``gamma``.
        beta_constraint: what ``beta`` keeps after each update; see ``pellucid.constraints``. Likewise ``gamma``.
        rms_scaling: whether the mean is not subtracted, nor ``beta`` added. ``RMSNormalization`` is what you want.

    Shapes: any -> the same.
    """

    input_spec = InputSpec(min_ndim=1)

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        rms_scaling: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self.autocast = False  # statistics of half precision are not good enough
        self.axis, self.epsilon, self.rms_scaling = _checked_axis("LayerNormalization", axis), epsilon, rms_scaling
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        self._keep(center, scale, gamma, (beta_initializer, beta_regularizer, beta_constraint))

    def build(self, input_shape: Any) -> None:
        shape = _sizes(self, input_shape, self.axis)
        self.gamma = add_weight(self, "gamma", shape, autocast=False) if self.scale or self.rms_scaling else None
        self.beta = add_weight(self, "beta", shape, autocast=False) if self.center and not self.rms_scaling else None

    def call(self, inputs: Any) -> Any:
        y = ops.layer_normalization(inputs, self.gamma, self.beta, self.axis, self.epsilon, self.rms_scaling)
        return y.astype(self.compute_dtype)


class RMSNormalization(Layer):
    """``y = scale * x / sqrt(mean(x ** 2) + epsilon)``, with the mean of each row over some axes.

    Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Args:
        axis: the axis (or axes) of the mean and of the weight.
        epsilon: keeps the root away from zero.

    Shapes: any -> the same.
    """

    input_spec = InputSpec(min_ndim=1)

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **layer_args: Any):
        super().__init__(**layer_args)
        self.axis, self.epsilon = _checked_axis("RMSNormalization", axis), epsilon

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(_sizes(self, input_shape, self.axis), "ones", name="scale")

    def call(self, inputs: Any) -> Any:
        return ops.rms_normalization(inputs, self.scale, self.axis, self.epsilon)


class GroupNormalization(_Scaled):
    """``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``, with the mean and variance of each row and group of features.

    Wu and He, "Group normalization", ECCV 2018.

    Args:
        groups: into which the features are cut, in their order; -1 for as many as there are features.
        axis: the axis of the features.
        epsilon: keeps the root away from zero.
        center: whether ``beta`` is added.
        scale: whether ``gamma`` multiplies.
        beta_initializer: for ``beta``, (features,); likewise ``gamma_initializer``.
        beta_regularizer: the penalty on ``beta``; see ``pellucid.regularizers``. Likewise that on ``gamma``.
        beta_constraint: what ``beta`` keeps after each update; see ``pellucid.constraints``. Likewise ``gamma``.

    Shapes: any -> the same.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        if isinstance(groups, bool) or not isinstance(groups, int) or (groups <= 0 and groups != -1):
            raise ValueError(f"GroupNormalization: groups={groups!r}; expected a positive whole number, or -1 for one a feature.")
        self.autocast = False
        self.groups, self.axis, self.epsilon = groups, axis, epsilon
        gamma = gamma_initializer, gamma_regularizer, gamma_constraint
        self._keep(center, scale, gamma, (beta_initializer, beta_regularizer, beta_constraint))

    def build(self, input_shape: Any) -> None:
        features = size_of_axis(self, input_shape, self.axis)
        if self.groups > 0 and features % self.groups:
            raise ShapeError(
                f"GroupNormalization {self.path!r} got {features} features along axis {self.axis}; expected a multiple of "
                f"groups={self.groups}."
            )
        self._add((features,))

    def call(self, inputs: Any) -> Any:
        groups = self.groups if self.groups > 0 else inputs.shape[self.axis]
        y = ops.group_normalization(inputs, groups, self.gamma, self.beta, self.axis, self.epsilon)
        return y.astype(self.compute_dtype)


class UnitNormalization(Layer):
    """``y = x / |x|``, with the norm over some axes.

    Args:
        axis: the axis (or axes) of the norms.

    Shapes: any -> the same.
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **layer_args: Any):
        super().__init__(**layer_args)
        self.axis = _checked_axis("UnitNormalization", axis)

    def call(self, inputs: Any) -> Any:
        return ops.normalize(inputs, self.axis, epsilon=1e-12)


def _sizes(layer: Layer, input_shape: Any, axis: int | list[int]) -> tuple[int, ...]:
    """The sizes of some axes, in their order."""
    axes = axis if isinstance(axis, list) else [axis]
    return tuple(size_of_axis(layer, input_shape, a) for a in sorted(axes, key=lambda a: a % len(input_shape)))


def _checked_axis(where: str, axis: Any) -> int | list[int]:
    given = list(axis) if isinstance(axis, list | tuple) else [axis]
    if any(isinstance(a, bool) or not isinstance(a, int) for a in given):
        raise TypeError(f"{where}: axis={axis!r}; expected a whole number, or a list of them.")
    return given if isinstance(axis, list | tuple) else axis
