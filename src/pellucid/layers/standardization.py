"""Normalization with fixed statistics."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core.arguments import size_of_axis
from pellucid.core.checks import check_axes
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer


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

    input_spec = InputSpec(min_ndim=1)

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        if (mean is None) != (variance is None):
            raise ValueError(f"Normalization: mean={mean!r} and variance={variance!r}; expected both or neither.")
        self.autocast = False  # what is to be normalized may be too large for half precision
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        self.invert = invert
        self.input_mean, self.input_variance = mean, variance

    def build(self, input_shape: Any) -> None:
        sizes = {a: size_of_axis(self, input_shape, a) for a in self._axes(len(input_shape))}
        if self.input_mean is None:
            shape = tuple(sizes.values())
            self.input_spec = InputSpec(ndim=len(input_shape), axes=sizes)
            self.adapt_mean = self.add_weight(shape, "zeros", trainable=False, name="mean")
            self.adapt_variance = self.add_weight(shape, "ones", trainable=False, name="variance")
            self.count = self.add_weight((), "zeros", "int32", trainable=False, name="count")  # nothing but a place in Keras's files

    @property
    def mean(self) -> Any:
        """The mean that is subtracted, one value for each place along the axes."""
        return self.adapt_mean.value if self.input_mean is None else self._given(self.input_mean)

    @property
    def variance(self) -> Any:
        """The variance by whose root is divided."""
        return self.adapt_variance.value if self.input_variance is None else self._given(self.input_variance)

    def _given(self, statistic: Any) -> Any:
        return jnp.asarray(np.asarray(statistic), self.variable_dtype)

    def adapt(self, data: Any) -> None:
        """Takes mean and variance from data of any length, (rows, ...)."""
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
        if self.input_mean is not None:
            raise ValueError("Normalization.adapt: mean and variance were given; expected a layer without, which takes them from data.")
        self.adapt_mean.assign(data.mean(others, dtype="float64"))
        self.adapt_variance.assign(data.var(others, dtype="float64"))

    def call(self, inputs: Any) -> Any:
        inputs = inputs.astype(self.variable_dtype)
        return _standardized(inputs, self.mean, self.variance, self._axes(inputs.ndim), self.invert).astype(self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        given = {"mean": self.input_mean, "variance": self.input_variance}
        lists = {name: None if value is None else np.asarray(value).tolist() for name, value in given.items()}
        return {**super().get_config(), **lists}

    def _axes(self, ndim: int) -> tuple[int, ...]:
        return check_axes(f"Normalization {self.path!r}", self.axis, ndim)


@functools.partial(jax.jit, static_argnames=("axes", "invert"))  # called on data, before there is a model: one program instead of four
def _standardized(x: Any, mean: Any, variance: Any, axes: tuple[int, ...], invert: bool) -> Any:
    mean, deviation = (_spread(v, axes, x) for v in (mean, jnp.maximum(jnp.sqrt(variance), 1e-7)))
    return x * deviation + mean if invert else (x - mean) / deviation


def _spread(statistic: Any, axes: tuple[int, ...], x: Any) -> Any:
    """A statistic for some axes (or the last of them), so that it broadcasts against an array."""
    sizes = dict(zip(axes[len(axes) - statistic.ndim :], statistic.shape, strict=True))
    return statistic.reshape([sizes.get(i, 1) for i in range(x.ndim)])
