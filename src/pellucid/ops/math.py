"""Functions of mathematics and of signals: segments, the largest values, Fourier transforms.

Keras has complex numbers as pairs (real part, imaginary part) in the functions of Fourier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import logsumexp

from pellucid.core import dtypes
from pellucid.ops.names import publish

Pair = tuple[jax.Array, jax.Array]
WINDOWS = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}


def erf(x: Any) -> jax.Array:
    """The error function: ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to x."""
    return jax.lax.erf(dtypes.floating(x))


def erfc(x: Any) -> jax.Array:
    """``1 - erf(x)``, exact where that is small."""
    return jax.lax.erfc(dtypes.floating(x))


def erfinv(x: Any) -> jax.Array:
    """The inverse of ``erf``, of x in (-1, 1)."""
    return jax.lax.erf_inv(dtypes.floating(x))


def rsqrt(x: Any) -> jax.Array:
    """``1 / sqrt(x)``"""
    return jax.lax.rsqrt(dtypes.floating(x))


def cdist(x: Any, y: Any) -> jax.Array:
    """The distances between all rows of ``x`` and all rows of ``y``. Shapes: (…, m, d), (…, n, d) -> (…, m, n).

    Example:
        >>> from pellucid import ops
        >>> ops.cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]]).tolist()
        [[5.0, 1.0]]
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ValueError(f"cdist: x has shape {x.shape} and y has shape {y.shape}; expected (…, m, d) and (…, n, d).")
    squares = jnp.sum(jnp.square(x[..., :, None, :] - y[..., None, :, :]), axis=-1)
    same = squares == 0  # where the root has no gradient
    return jnp.where(same, 0, jnp.sqrt(jnp.where(same, 1, squares)))


def logdet(x: Any) -> jax.Array:
    """The logarithm of the determinants of square matrices, of their size where they are negative."""
    return jnp.linalg.slogdet(jnp.asarray(x))[1]


def top_k(x: Any, k: int, sorted: bool = True) -> Pair:
    """The k largest values along the last axis, and their indices."""
    return tuple(jax.lax.top_k(jnp.asarray(x), k))


def in_top_k(targets: Any, predictions: Any, k: int) -> jax.Array:
    """Whether fewer than k scores are greater than that of the target. Shapes: (…), (…, classes) -> (…).

    Example:
        >>> from pellucid import ops
        >>> ops.in_top_k([2, 1], [[0.5, 0.2, 0.3], [0.5, 0.2, 0.3]], k=2).tolist()
        [True, False]
    """
    predictions = jnp.asarray(predictions)
    right = jnp.take_along_axis(predictions, jnp.asarray(targets)[..., None], axis=-1)
    right = jnp.where(jnp.isnan(right), -jnp.inf, right)
    return jnp.sum(predictions > right, axis=-1) < k


# ---- Segments ----


def _of_segments(name: str, reduced: str, function: Callable) -> Callable:
    def segmented(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> jax.Array:
        if num_segments is None:
            raise ValueError(f"{name}: num_segments=None; expected the number of segments, which the shape of the result depends on.")
        return function(jnp.asarray(data), jnp.asarray(segment_ids), num_segments, indices_are_sorted=sorted)

    segmented.__name__ = segmented.__qualname__ = name
    segmented.__doc__ = f"""{reduced} of the rows that have the same segment. Shapes: (n, …), (n,) -> (num_segments, …).

    Args:
        data: the rows.
        segment_ids: the segment of each row, from 0; rows of other segments are left out.
        num_segments: how many segments there are.
        sorted: whether the segments ascend.
    """
    return segmented


segment_max = _of_segments("segment_max", "The greatest", jax.ops.segment_max)
segment_min = _of_segments("segment_min", "The least", jax.ops.segment_min)
segment_prod = _of_segments("segment_prod", "The product", jax.ops.segment_prod)
segment_sum = _of_segments("segment_sum", "The sum", jax.ops.segment_sum)


# ---- Signals ----


def view_as_complex(x: Any) -> jax.Array:
    """Complex numbers from an array whose last axis holds their two parts. Shapes: (…, 2) -> (…)."""
    x = jnp.asarray(x)
    if not x.ndim or x.shape[-1] != 2:
        raise ValueError(f"view_as_complex: x has shape {x.shape}; expected (…, 2): the real and the imaginary parts.")
    return jax.lax.complex(x[..., 0], x[..., 1])


def view_as_real(x: Any) -> jax.Array:
    """The two parts of complex numbers along a new last axis. Shapes: (…) -> (…, 2)."""
    return jnp.stack(_parts(jnp.asarray(x)), axis=-1)


def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> jax.Array:
    """Windows of the last axis. Shapes: (…, time) -> (…, windows, sequence_length).

    Args:
        x: signals.
        sequence_length: steps of a window.
        sequence_stride: steps from the start of one window to that of the next.

    Example:
        >>> from pellucid import ops
        >>> ops.extract_sequences([1, 2, 3, 4, 5], 3, 2).tolist()
        [[1, 2, 3], [3, 4, 5]]
    """
    x = jnp.asarray(x)
    starts = jnp.arange((x.shape[-1] - sequence_length) // sequence_stride + 1) * sequence_stride
    return x[..., starts[:, None] + jnp.arange(sequence_length)]


def fft(x: Any) -> Pair:
    """The Fourier transform along the last axis, of a pair (real, imaginary) to a pair."""
    return _parts(jnp.fft.fft(_complex("fft", x)))


def fft2(x: Any) -> Pair:
    """The Fourier transform along the last two axes, of a pair (real, imaginary) to a pair."""
    return _parts(jnp.fft.fft2(_complex("fft2", x)))


def ifft2(x: Any) -> Pair:
    """The inverse of ``fft2``."""
    return _parts(jnp.fft.ifft2(_complex("ifft2", x)))


def rfft(x: Any, fft_length: int | None = None) -> Pair:
    """The Fourier transform of real signals along the last axis: ``fft_length // 2 + 1`` frequencies, as a pair (real, imaginary).

    Args:
        x: signals, cut or continued with zeros to ``fft_length``.
        fft_length: by default the length of the axis.
    """
    return _parts(jnp.fft.rfft(dtypes.floating(x), fft_length))


def irfft(x: Any, fft_length: int | None = None) -> jax.Array:
    """The inverse of ``rfft``: real signals of length ``fft_length``, by default ``2 * (frequencies - 1)``."""
    return jnp.fft.irfft(_complex("irfft", x), fft_length)


def stft(x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann", center: bool = True) -> Pair:
    """Fourier transforms of windows of a signal, as a pair (real, imaginary).

    Args:
        x: signals, of floating type; shape (…, time).
        sequence_length: steps of a window.
        sequence_stride: steps from the start of one window to that of the next.
        fft_length: steps of a transform, ``sequence_length`` or more; a window stands in its middle, among zeros.
        window: "hann", "hamming", ``sequence_length`` factors, or None for factors of 1 all over the transform.
        center: whether the signal is reflected at its ends, so that the first window is about its first step.

    Shapes: (…, time) -> twice (…, windows, fft_length // 2 + 1).

    Raises:
        TypeError: the signals are whole numbers.
        ValueError: ``fft_length < sequence_length``, or a window of another length.
    """
    x = jnp.asarray(x)
    if not dtypes.is_float(x.dtype):
        raise TypeError(f"stft: x is of type {x.dtype}; expected floating numbers: ops.cast(x, 'float32').")
    factors = _window("stft", window, sequence_length, fft_length, x.dtype)
    if center:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(fft_length // 2,) * 2], mode="reflect")
    return _parts(jnp.fft.rfft(extract_sequences(x, fft_length, sequence_stride) * factors))


def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> jax.Array:
    """The signals of which ``stft`` makes ``x``: overlapping windows, each times its factors, over the sum of their squares.

    Args:
        x: the pair (real, imaginary), of shape (…, windows, fft_length // 2 + 1).
        sequence_length, sequence_stride, fft_length, window, center: as in ``stft``.
        length: steps to return; by default all that are certain.

    Source: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier transform".
    """
    pieces = jnp.fft.irfft(_complex("istft", x), fft_length)
    factors = _window("istft", window, sequence_length, fft_length, pieces.dtype)
    signal = _overlapped(pieces * factors, sequence_stride)
    weight = _overlapped(jnp.broadcast_to(jnp.square(factors), pieces.shape[-2:]), sequence_stride)
    signal = signal / jnp.where(weight > 1e-10, weight, 1.0)
    start = fft_length // 2 if center else 0
    end = start + length if length is not None else signal.shape[-1] - start
    return signal[..., start:end]


def _overlapped(pieces: jax.Array, stride: int) -> jax.Array:
    """The sum of windows, each ``stride`` steps after the one before it. Shapes: (…, windows, steps) -> (…, time)."""
    *_, windows, steps = pieces.shape
    places = jnp.arange(windows)[:, None] * stride + jnp.arange(steps)
    return jnp.zeros((*pieces.shape[:-2], (windows - 1) * stride + steps), pieces.dtype).at[..., places].add(pieces)


def _window(function: str, window: Any, sequence_length: int, fft_length: int, dtype: Any) -> np.ndarray:
    """The factors of a window in the middle of a transform."""
    if fft_length < sequence_length:
        raise ValueError(f"{function}: fft_length={fft_length} is less than sequence_length={sequence_length}; expected as much or more.")
    if window is None:
        return np.ones(fft_length, dtype)
    if isinstance(window, str):
        if window not in WINDOWS:
            raise ValueError(f"{function}: window={window!r} is not known; expected one of {sorted(WINDOWS)}, factors or None.")
        level, swing = WINDOWS[window]
        factors = level - swing * np.cos(2 * np.pi * np.arange(sequence_length) / sequence_length)
    else:
        factors = np.asarray(window)
    if factors.shape != (sequence_length,):
        raise ValueError(f"{function}: window has shape {factors.shape}; expected ({sequence_length},), a factor for each step.")
    before = (fft_length - sequence_length) // 2
    return np.pad(factors, (before, fft_length - sequence_length - before)).astype(dtype)


def _parts(x: jax.Array) -> Pair:
    return jnp.real(x), jnp.imag(x)


def _complex(function: str, x: Any) -> jax.Array:
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise ValueError(f"{function}: x is a {type(x).__name__}; expected a pair of arrays (real part, imaginary part).")
    real, imaginary = (dtypes.floating(part) for part in x)
    if real.shape != imaginary.shape:
        raise ValueError(f"{function}: the real part has shape {real.shape}, the imaginary one {imaginary.shape}; expected equal shapes.")
    return jax.lax.complex(real, imaginary)


__all__ = publish(globals(), {"x / axis keepdims": "logsumexp"})
