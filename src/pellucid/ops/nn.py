"""Functions of networks: activations, codes of classes, crossentropies, blocks of pixels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import (
    celu,
    elu,
    glu,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    log_sigmoid,
    log_softmax,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softmax,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
)

from pellucid.core import dtypes
from pellucid.ops import core
from pellucid.ops.attention import dot_product_attention
from pellucid.ops.convolution import conv, conv_transpose, depthwise_conv, separable_conv
from pellucid.ops.crossentropy import binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy
from pellucid.ops.ctc import ctc_decode, ctc_loss
from pellucid.ops.gelu import gelu
from pellucid.ops.names import publish, refuse_sparse
from pellucid.ops.normalization import batch_normalization, group_normalization, layer_normalization, moments, normalize, rms_normalization
from pellucid.ops.pooling import adaptive_average_pool, adaptive_max_pool, average_pool, max_pool

ARGUMENTS = {
    "x /": "hard_sigmoid hard_silu hard_tanh log_sigmoid relu relu6 selu sigmoid silu soft_sign softplus sparse_plus sparse_sigmoid",
    "x / alpha": "celu elu",
    "x / approximate": "gelu",
    "x / axis": "glu log_softmax softmax",
    "x / b": "squareplus",
}
Pair = int | tuple[int, int]


# ---- Activations that JAX does not have ----


def leaky_relu(x: Any, negative_slope: float = 0.2) -> jax.Array:
    """``x`` above zero, ``negative_slope * x`` below."""
    return jax.nn.leaky_relu(jnp.asarray(x), negative_slope)


def softsign(x: Any) -> jax.Array:
    """``x / (1 + abs(x))``."""
    return jax.nn.soft_sign(jnp.asarray(x))


def tanh_shrink(x: Any) -> jax.Array:
    """``x - tanh(x)``."""
    x = jnp.asarray(x)
    return x - jnp.tanh(x)


def soft_shrink(x: Any, threshold: float = 0.5) -> jax.Array:
    """``x`` moved toward 0 by the threshold, at most to 0."""
    x = jnp.asarray(x)
    return jnp.where(x > threshold, x - threshold, jnp.where(x < -threshold, x + threshold, 0))


def hard_shrink(x: Any, threshold: float = 0.5) -> jax.Array:
    """``x`` where ``abs(x) > threshold``, 0 elsewhere."""
    x = jnp.asarray(x)
    return jnp.where(jnp.abs(x) > threshold, x, 0)


def threshold(x: Any, threshold: float, default_value: float) -> jax.Array:
    """``x`` where ``x > threshold``, ``default_value`` elsewhere."""
    x = jnp.asarray(x)
    return jnp.where(x > threshold, x, default_value)


def sparsemax(x: Any, axis: int = -1) -> jax.Array:
    """The point of the probability simplex nearest to ``x``: ``max(x - tau, 0)`` with the tau that makes it sum to 1.

    Source: Martins and Astudillo 2016, arXiv:1602.02068, algorithm 1.
    """
    x = jnp.moveaxis(jnp.asarray(x), axis, -1)
    descending = -jnp.sort(-x, axis=-1)
    excess = jnp.cumsum(descending, axis=-1) - 1  # of the k largest, for each k
    k = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    tau = jnp.max(excess / k, axis=-1, keepdims=True)  # this is greatest at the number of entries that stay positive
    return jnp.moveaxis(jnp.maximum(x - tau, 0), -1, axis)


# ---- Codes of classes ----


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> jax.Array:
    """1 at the place of each class number along a new axis, 0 elsewhere; a number outside the classes has no 1.

    Args:
        x: class numbers, from 0.
        num_classes: how many there are.
        axis: where the new axis is.
        dtype: by default ``floatx``.
        sparse: must be False.

    Example:
        >>> from pellucid import ops
        >>> ops.one_hot([1, 0], 2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    refuse_sparse("one_hot", sparse)
    return jax.nn.one_hot(jnp.asarray(x), num_classes, axis=axis, dtype=dtypes.standardize_dtype(dtype))


def multi_hot(inputs: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> jax.Array:
    """1 at the places of all class numbers of a row, 0 elsewhere. Shapes: (n,) -> (num_classes,); (rows, n, …) -> (rows, …, num_classes).

    Args:
        inputs: class numbers, from 0.
        num_classes: how many there are.
        axis: where the new axis is, before the class numbers of a row are put together.
        dtype: by default ``floatx``.
        sparse: must be False.

    Example:
        >>> from pellucid import ops
        >>> ops.multi_hot([[0, 2], [1, 1]], 3).tolist()
        [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    refuse_sparse("multi_hot", sparse)
    inputs = jnp.asarray(inputs)
    return jnp.max(one_hot(inputs.astype("int32"), num_classes, axis, dtype), axis=1 if inputs.ndim > 1 else 0)


# ---- Images ----


def psnr(x1: Any, x2: Any, max_val: float) -> jax.Array:
    """The peak signal-to-noise ratio, ``10 * log10(max_val**2 / mean((x1 - x2)**2))`` decibels."""
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    if x1.shape != x2.shape:
        raise ValueError(f"psnr: x1 has shape {x1.shape} and x2 has shape {x2.shape}; expected equal shapes.")
    return 20 * jnp.log10(jnp.asarray(max_val, x2.dtype)) - 10 * jnp.log10(jnp.mean(jnp.square(x1 - x2)))


def polar(abs_: Any, angle: Any) -> jax.Array:
    """The complex numbers of a size and an angle: ``abs_ * (cos(angle) + i sin(angle))``."""
    abs_, angle = jnp.asarray(abs_), jnp.asarray(angle)
    return jax.lax.complex(abs_ * jnp.cos(angle), abs_ * jnp.sin(angle))


def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> jax.Array:
    """Channels become blocks of pixels. Shapes: (batch, h, w, c * b * b) -> (batch, h * b, w * b, c) for b the block size.

    Args:
        x: images.
        block_size: edge of a block, in pixels.
        data_format: "channels_last", or "channels_first" for (batch, channels, h, w).
    """
    patterns = {"channels_last": "n h w (a b c) -> n (h a) (w b) c", "channels_first": "n (c a b) h w -> n c (h a) (w b)"}
    return core.rearrange(x, patterns[data_format], a=block_size, b=block_size)


def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> jax.Array:
    """Blocks of pixels become channels: the inverse of ``depth_to_space``, of the same arguments."""
    patterns = {"channels_last": "n (h a) (w b) c -> n h w (a b c)", "channels_first": "n c (h a) (w b) -> n (c a b) h w"}
    return core.rearrange(x, patterns[data_format], a=block_size, b=block_size)


def unfold(x: Any, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> jax.Array:
    """The blocks under a sliding window. Shapes: (batch, c, h, w) -> (batch, c * kernel area, places).

    Args:
        x: images, channels first.
        kernel_size: height and width of the window, or both in one number; so are the others.
        dilation: distance of the window's pixels.
        padding: zeros added at both ends of each axis.
        stride: distance of the places.
    """
    x, pads = jnp.asarray(x), _pair(padding)
    x = jnp.pad(x, ((0, 0), (0, 0), (pads[0],) * 2, (pads[1],) * 2))
    blocks = x[(..., *_under_windows(x.shape[2:], kernel_size, dilation, stride))]
    *_, kh, kw, oh, ow = blocks.shape
    return jnp.reshape(blocks, (x.shape[0], x.shape[1] * kh * kw, oh * ow))


def fold(x: Any, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> jax.Array:
    """Images of which ``unfold`` makes blocks, where these overlap their sum. Shapes: (batch, c * kernel area, places) -> (batch, c, h, w).

    Args:
        x: the blocks.
        output_size: height and width of the images, without the padding, or both in one number.
        kernel_size, dilation, padding, stride: as in ``unfold``.
    """
    x, (kh, kw), pads, sizes = jnp.asarray(x), _pair(kernel_size), _pair(padding), _pair(output_size)
    padded = [size + 2 * pad for size, pad in zip(sizes, pads)]
    rows, columns = _under_windows(padded, kernel_size, dilation, stride)
    channels = x.shape[1] // (kh * kw)
    blocks = jnp.reshape(x, (x.shape[0], channels, kh, kw, rows.shape[2], columns.shape[3]))
    images = jnp.zeros((x.shape[0], channels, *padded), x.dtype).at[..., rows, columns].add(blocks)
    return images[..., pads[0] : pads[0] + sizes[0], pads[1] : pads[1] + sizes[1]]


def _under_windows(sizes: Any, kernel_size: Pair, dilation: Pair, stride: Pair) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns under each pixel of the kernel at each place; they broadcast to (kh, kw, oh, ow)."""
    rows, columns = (
        np.arange(k)[:, None] * d + np.arange((size - d * (k - 1) - 1) // s + 1) * s
        for size, k, d, s in zip(sizes, _pair(kernel_size), _pair(dilation), _pair(stride))
    )
    return rows[:, None, :, None], columns[None, :, None, :]


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


__all__ = publish(globals(), ARGUMENTS)
hard_swish, swish = hard_silu, silu
__all__ += ["hard_swish", "swish"]
