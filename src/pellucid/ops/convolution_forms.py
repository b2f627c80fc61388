"""Convolutions as products over shifted inputs: the forms for a CPU, and the table of which is the fastest where.

``y = sum over i of x[shifted by i] @ kernel[i]``, one term for each element of the kernel. XLA's convolution is as fast as its
products of matrices for images with many channels and one group; elsewhere it is slow on a CPU, most of all in gradients. On two
cores, milliseconds of XLA and of the form here, forward with both gradients, jax 0.12 (0.10.2 is alike):

- each channel by itself, (32, 28, 28, 32), 3 x 3: 60 and 8; with strides of 2: 73 and 3;
- groups, 2 of 32 channels: 195 and 11; 8 of 8: 678 and 10;
- windows of one element: the kernel's gradient 4.5 and 1.4;
- volumes, (4, 8, 8, 8, 64): 43 and 19; one channel: 48 and 4; with strides of 2: 447 and 11;
- few channels in, (64, 28, 28, 1), 3 x 3: the kernel's gradient 1.8 and 0.5;
- no padding, (64, 13, 13, 32) to 64: the inputs' gradient 4.6 and 3.8, as XLA pads.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pellucid.ops.products import product
from pellucid.ops.tangents import moving, total

MOST_TERMS = 64  # elements of a kernel: beyond, the compilation of so many slices takes longer than it gains
MOST_GROUPS = 64


class Windows(NamedTuple):
    """Where the windows of a convolution stand: for each spatial axis, how far they move, what is added at both ends, how far apart
    their elements are, and how many windows there are."""

    strides: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def inside(self) -> bool:
        return not any(map(any, self.edges))

    def only(self, axes: Sequence[bool], space: Sequence[int]) -> Windows:
        """Those along some axes alone: along the others a window is one element, and there are as many as elements."""
        pick = lambda values, none: tuple(v if picked else n for v, n, picked in zip(values, none, axes, strict=True))
        ones = (1,) * len(axes)
        edges = pick(self.edges, ((0, 0),) * len(axes))
        return Windows(pick(self.strides, ones), edges, pick(self.dilation, ones), pick(self.counts, space))


def windows_over(
    space: Sequence[Any], sizes: Sequence[int], strides: Sequence[int], padding: Any, dilation: Sequence[int]
) -> Windows | None:
    """None where a size is not known, or no window fits."""
    if not all(isinstance(n, int) for n in space):
        return None
    reach = [(k - 1) * d + 1 for k, d in zip(sizes, dilation, strict=True)]
    edges = tuple(lax.padtype_to_pads(space, reach, strides, padding)) if isinstance(padding, str) else tuple(padding)
    counts = tuple((n + sum(e) - r) // s + 1 for n, e, r, s in zip(space, edges, reach, strides, strict=True))
    return Windows(tuple(strides), edges, tuple(dilation), counts) if min(counts) > 0 else None


def convolved(x: Any, kernel: Any, windows: Windows, groups: int) -> Any:
    """The convolution in its fastest form, or None where that is XLA's.

    Args:
        x: (batch, *space, channels).
        kernel: (*window, channels / groups, filters).
        windows: where the kernel's windows stand.
        groups: of channels, each with its own filters.
    """
    *sizes, within, filters = kernel.shape
    if math.prod(sizes) > MOST_TERMS:
        return None
    if groups > 1 and within == 1:
        return _each_channel(x, kernel, windows)
    if groups > 1:
        return _each_group(x, kernel, windows, groups) if groups <= MOST_GROUPS else None
    if math.prod(sizes) == 1 and windows.inside:
        return product(_terms(x, kernel.shape, windows)[0], kernel.reshape(within, filters))
    form = next((form for form in FORMS if form.fits(x.shape, kernel.shape, windows)), None)
    return _convolution(x, kernel, windows, form) if form else None


def _each_channel(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    """Every channel with its own filters: elementwise, without products of matrices."""
    channels = x.shape[-1]
    weights = kernel.reshape(-1, channels, kernel.shape[-1] // channels)
    terms = _terms(lax.optimization_barrier(x), kernel.shape, windows)  # XLA would compute x, and its gradient, once for each term
    filtered = [_sum(term * weights[i, :, j] for i, term in enumerate(terms)) for j in range(weights.shape[2])]
    return jnp.stack(filtered, -1).reshape(*filtered[0].shape[:-1], -1) if len(filtered) > 1 else filtered[0]


def _each_group(x: Any, kernel: Any, windows: Windows, groups: int) -> jax.Array:
    """A convolution for each group of channels."""
    parts = []
    for inputs, weights in zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True):
        own = convolved(inputs, weights, windows, 1)
        parts.append(of_xla(inputs, weights, windows) if own is None else own)
    return jnp.concatenate(parts, -1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _convolution(x: Any, kernel: Any, windows: Windows, form: Form) -> jax.Array:
    return form.forward(x, kernel, windows)


def _change(windows: Windows, form: Form, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _convolution(x, kernel, windows, form)
    by_input = [form.by_input(dx, kernel, windows)] if moving(dx) else []
    return y, total(y, by_input, [form.by_kernel(x, dkernel, windows)] if moving(dkernel) else [])


_convolution.defjvp(_change, symbolic_zeros=True)


def of_xla(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    ndim = x.ndim
    axes = (0, ndim - 1, *range(1, ndim - 1))
    numbers = lax.ConvDimensionNumbers(axes, (ndim - 1, ndim - 2, *range(ndim - 2)), axes)
    ones = (1,) * (ndim - 2)
    return lax.conv_general_dilated(x, kernel, windows.strides, windows.edges, ones, windows.dilation, numbers)


def of_terms(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    """One product for each element of the kernel. Its transpose adds up shifted products."""
    *_, within, filters = kernel.shape
    terms = _terms(lax.optimization_barrier(x), kernel.shape, windows)  # the gradient of x is added up once, not where it is used
    y = _sum(term.reshape(-1, within) @ k for term, k in zip(terms, kernel.reshape(-1, within, filters), strict=True))
    return y.reshape(x.shape[0], *windows.counts, filters)


def of_lines(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    """One product for each line of the kernel along its last axis: fewer and larger ones, of inputs that are copied."""
    *sizes, line, within, filters = kernel.shape
    last = (False,) * len(sizes) + (True,)
    along, across = windows.only(last, x.shape[1:-1]), windows.only([not is_last for is_last in last], (*x.shape[1:-2], windows.counts[-1]))
    lines = jnp.concatenate(_terms(x, (*(1,) * len(sizes), line, within, filters), along), -1)
    return of_terms(lines, kernel.reshape(*sizes, 1, line * within, filters), across)


def of_columns(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    """One product, of a copy of the inputs for each element of the kernel. They lie as the kernel's gradient sums over them."""
    channels, filters = kernel.shape[-2:]
    first = lax.optimization_barrier(jnp.moveaxis(x, -1, 0))[..., None]  # (channels, batch, *space, 1): the channels as a batch
    terms = [t.reshape(channels, -1) for t in _terms(first.reshape(-1, *first.shape[2:]), (*kernel.shape[:-2], 1, 1), windows)]
    columns = lax.optimization_barrier(jnp.concatenate(terms))
    y = lax.dot_general(columns, kernel.reshape(-1, filters), (((0,), (0,)), ((), ())))
    return y.reshape(x.shape[0], *windows.counts, filters)


def _terms(x: Any, kernel_shape: Sequence[int], windows: Windows) -> list[jax.Array]:
    """What each element of the kernel meets: (batch, *counts, channels)."""
    strides, edges, dilation, counts = windows
    if not windows.inside:
        x = lax.pad(x, np.zeros((), x.dtype), [(0, 0, 0), *((a, b, 0) for a, b in edges), (0, 0, 0)])
    reach = [(c - 1) * s + 1 for c, s in zip(counts, strides, strict=True)]
    starts = ([i * d for i, d in zip(at, dilation, strict=True)] for at in np.ndindex(*kernel_shape[:-2]))
    return [lax.slice(x, (0, *at, 0), (x.shape[0], *map(operator.add, at, reach), x.shape[-1]), (1, *strides, 1)) for at in starts]


def _sum(terms: Any) -> jax.Array:
    return functools.reduce(operator.add, terms)


class Form(NamedTuple):
    """How a convolution is computed where it fits, and how its changes by the inputs and by the kernel, whose transposes are the
    gradients."""

    fits: Callable[[tuple, tuple, Windows], bool]
    forward: Callable[[Any, Any, Windows], jax.Array]
    by_input: Callable[[Any, Any, Windows], jax.Array]
    by_kernel: Callable[[Any, Any, Windows], jax.Array]


def _volumes(x: tuple, kernel: tuple, windows: Windows) -> bool:
    return len(x) > 4


def _few_channels(x: tuple, kernel: tuple, windows: Windows) -> bool:
    return math.prod(kernel[:-1]) <= 32 and kernel[-1] >= 16


def _shrinking(x: tuple, kernel: tuple, windows: Windows) -> bool:
    """Without padding outputs are so much smaller that XLA's gradient of the inputs, a convolution over padded gradients, is waste."""
    shrinks = math.prod(x[1:-1]) >= 1.2 * math.prod(windows.counts)
    return windows.inside and max(windows.strides) == 1 and shrinks and min(kernel[-2:]) >= 16


FORMS = (  # the first that fits; XLA's where none does
    Form(_volumes, of_lines, of_terms, of_terms),
    Form(_few_channels, of_xla, of_xla, of_columns),
    Form(_shrinking, of_xla, of_terms, of_xla),
)
