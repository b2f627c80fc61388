"""Pooling: maxima and means of windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes
from pellucid.core.equation import equation
from pellucid.core.forms import own_form
from pellucid.core.jax_compat import open_shape
from pellucid.errors import ShapeError
from pellucid.ops.axis_windows import along_axes, in_passes, max_along, sum_along
from pellucid.ops.core import convert_to_tensor
from pellucid.ops.windows import check_windows_fit, format_of, padding_of, per_axis, rank_of, spatial_axes, with_outer, with_something

Sizes = int | Sequence[int]

# Beyond these XLA's own form is the faster one on a CPU, or the compilation of so many slices takes longer than it gains.
LONGEST_MAXIMUM = 32  # elements of a window along one axis
MOST_OVERLAP = 8  # sums: windows that one element is in, along one axis


def max_pool(
    inputs: Any, pool_size: Sizes, strides: Sizes | None = None, padding: str = "valid", data_format: str | None = None
) -> jax.Array:
    """The largest element of each window.

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        pool_size: of a window.
        strides: how far the window moves; by default its size.
        padding: "valid", none; "same", around, with what is smaller than all elements.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Raises:
        ShapeError: for inputs without spatial axes, or a window that is larger than they are.
        ValueError: for another padding or data format.

    Example:
        >>> from pellucid import ops
        >>> ops.max_pool(ops.arange(6.0).reshape(1, 6, 1), 2)[0, :, 0].tolist()
        [1.0, 3.0, 5.0]
    """
    return max_of_windows(*_windows("max_pool", inputs, pool_size, strides, padding, data_format))


def average_pool(
    inputs: Any, pool_size: Sizes, strides: Sizes | None = None, padding: str = "valid", data_format: str | None = None
) -> jax.Array:
    """The mean of each window; of those that reach over the edge, the mean of what is inside.

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        pool_size, strides, padding, data_format: as of ``max_pool``.

    Raises:
        ShapeError: as ``max_pool``.
        ValueError: as ``max_pool``.

    Example:
        >>> from pellucid import ops
        >>> ops.average_pool(ops.arange(5.0).reshape(1, 5, 1), 2, padding="same")[0, :, 0].tolist()
        [0.5, 2.5, 4.0]
    """
    return mean_of_windows(*_windows("average_pool", inputs, pool_size, strides, padding, data_format))


def adaptive_max_pool(inputs: Any, output_size: Sizes, data_format: str | None = None) -> jax.Array:
    """The largest element of each of so many windows: the i-th of m spans floor(i n / m) to ceil((i + 1) n / m).

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        output_size: how many windows there are along each axis.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Raises:
        ShapeError: for inputs without spatial axes, or of a size that is not known.
        ValueError: for another data format or sizes.
    """
    return _adapted("adaptive_max_pool", inputs, output_size, data_format, _max_along)


def adaptive_average_pool(inputs: Any, output_size: Sizes, data_format: str | None = None) -> jax.Array:
    """The mean of each of so many windows: the i-th of m spans floor(i n / m) to ceil((i + 1) n / m).

    Args:
        inputs: (batch, *space, channels), or with the channels second for ``data_format="channels_first"``.
        output_size: how many windows there are along each axis.
        data_format: as of ``adaptive_max_pool``.

    Raises:
        ShapeError: as ``adaptive_max_pool``.
        ValueError: as ``adaptive_max_pool``.

    Example:
        >>> from pellucid import ops
        >>> ops.adaptive_average_pool(ops.arange(5.0).reshape(1, 5, 1), 2)[0, :, 0].tolist()
        [1.0, 3.0]
    """
    return _adapted("adaptive_average_pool", inputs, output_size, data_format, _mean_along)


def _windows(where: str, inputs: Any, pool_size: Sizes, strides: Sizes | None, padding: str, data_format: str | None) -> tuple:
    """(inputs, window, strides, padding), with a size for each axis of the inputs."""
    inputs = convert_to_tensor(inputs)
    rank, form, padding = rank_of(where, inputs.shape), format_of(where, data_format), padding_of(where, padding)
    sizes = per_axis(where, "pool_size", pool_size, rank)
    steps = sizes if strides is None else per_axis(where, "strides", strides, rank)
    check_windows_fit(where, inputs, sizes, padding, form)
    return inputs, with_outer(sizes, 1, form), with_outer(steps, 1, form), padding.upper()


@equation
def max_of_windows(inputs: Any, window: tuple, strides: tuple, padding: str) -> jax.Array:
    """The one place of max pooling. On a CPU the maxima are taken along one axis after the other."""
    passes = along_axes(inputs.shape, window, strides, padding) if own_form("max_of_windows") else None
    if passes is not None and dtypes.is_float(inputs.dtype) and max(window) <= LONGEST_MAXIMUM:
        return with_something(inputs, in_passes(max_along, inputs, passes))
    lowest = -np.inf if dtypes.is_float(inputs.dtype) else np.iinfo(inputs.dtype).min
    outputs = jax.lax.reduce_window(inputs, np.array(lowest, inputs.dtype), jax.lax.max, window, strides, padding)
    return with_something(inputs, outputs)


@equation
def mean_of_windows(inputs: Any, window: tuple, strides: tuple, padding: str) -> jax.Array:
    """The one place of average pooling. On a CPU the sums are taken along one axis after the other."""

    def sums(x: Any) -> jax.Array:
        passes = along_axes(x.shape, window, strides, padding) if own_form("mean_of_windows") else None
        if passes is not None and all(w.blocks <= MOST_OVERLAP for w in passes):
            return with_something(x, in_passes(sum_along, x, passes))
        outputs = jax.lax.reduce_window(x, np.array(0, x.dtype), jax.lax.add, window, strides, padding)
        return with_something(x, outputs)

    inputs = dtypes.floating(inputs)
    wide = dtypes.wide(inputs)  # a sum of ones in bfloat16 ends at 256
    if padding == "VALID":
        return (sums(wide) / math.prod(window)).astype(inputs.dtype)
    ones = jnp.ones([n if k > 1 else 1 for n, k in zip(inputs.shape, window, strict=True)], wide.dtype)
    return (sums(wide) / sums(ones)).astype(inputs.dtype)


Along = Callable[[Any, int, np.ndarray, np.ndarray], jax.Array]


def _adapted(where: str, inputs: Any, output_size: Sizes, data_format: str | None, reduce: Along) -> jax.Array:
    """``reduce`` over windows of one axis after the other: a window is the product of its sides."""
    inputs = convert_to_tensor(inputs)
    rank, form = rank_of(where, inputs.shape), format_of(where, data_format)
    for axis, m in zip(spatial_axes(inputs.ndim, form), per_axis(where, "output_size", output_size, rank), strict=True):
        n = inputs.shape[axis]
        if not isinstance(n, int):
            raise ShapeError(
                f"{where}: inputs of shape {open_shape(inputs.shape)}: the size of axis {axis} is not known; expected a fixed one."
            )
        starts, ends = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
        inputs = reduce(inputs, axis, starts, ends)
    return inputs


def _max_along(inputs: Any, axis: int, starts: np.ndarray, ends: np.ndarray) -> jax.Array:
    last = (ends - starts).max()
    index = np.minimum(starts[:, None] + np.arange(last), ends[:, None] - 1)  # a shorter window has its last element twice
    return jnp.take(inputs, index, axis=axis).max(axis + 1)


def _mean_along(inputs: Any, axis: int, starts: np.ndarray, ends: np.ndarray) -> jax.Array:
    at = np.arange(inputs.shape[axis])
    weights = ((starts[:, None] <= at) & (at < ends[:, None])) / (ends - starts)[:, None]
    inputs = dtypes.floating(inputs)
    return jnp.moveaxis(jnp.tensordot(inputs, jnp.asarray(weights.T, inputs.dtype), axes=(axis, 0)), -1, axis)
