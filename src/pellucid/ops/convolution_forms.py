"""Convolutions as products over shifted inputs: the forms for a CPU, and the table of which is the fastest where.

``y = sum over i of x[shifted by i] @ kernel[i]``, one term for each element of the kernel. XLA's convolution is as fast as its
products of matrices for images with many channels and one group; elsewhere it is slow on a CPU, most of all in gradients.
Milliseconds of processor time of XLA's and of the form here, jax 0.12 (0.10.2 is alike but where it is named):

- each channel by itself, (32, 28, 28, 32), 3 x 3, forward with gradients: 70 and 4 (0.10.2: 53 and 10); with strides of 2: 73 and 2;
  of 7 x 7, half the rows: 77 and 8 (0.10.2: 76 and 62);
- groups, gradients: 2 of 32 channels, (32, 16, 16, 64): 195 and 11; 8 of 8: 678 and 10;
- windows of one element, (32, 16, 16, 64) to 128: the kernel's gradient 5 and 2;
- volumes, gradients: (4, 8, 8, 8, 64): 43 and 19; one channel: 48 and 4; with strides of 2: 447 and 11;
- few channels in, (64, 28, 28, 1) to 32, 3 x 3: the kernel's gradient 5.1 and 0.8 (0.10.2: 1.6 and 0.5);
- no padding, (64, 13, 13, 32) to 64: the inputs' gradient 5.0 and 3.8, as XLA pads.

Not faster: one product of copied windows for images (XLA's convolution reaches nine tenths of a product's speed), the kernel's
gradient of many channels as products, elementwise sums forward for one channel.
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
from pellucid.ops.tangents import change_of_product

MOST_TERMS = 64  # elements of a kernel: beyond, the compilation of so many slices takes longer than it gains
MOST_GROUPS = 64
MOST_FILTERS = 8  # of one channel, elementwise
PARTS = 4 if jax.__version_info__ >= (0, 12) else 1  # of a batch. Before, parts were not faster and took long to compile


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
    if groups > 1 and within == 1 and filters <= MOST_FILTERS * groups:
        return _each_channel(x, kernel, windows)
    if groups > 1:
        return _each_group(x, kernel, windows, groups) if groups <= MOST_GROUPS else None
    if math.prod(sizes) == 1 and windows.inside:
        return product(_terms(x, kernel.shape, windows)[0], kernel.reshape(within, filters))
    form = next((form for form in FORMS if form.fits(x.shape, kernel.shape, windows)), None)
    return _convolution(x, kernel, windows, form) if form else None


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _each_channel(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    """Every channel with its own filters: elementwise, without products of matrices."""
    terms = _terms(x, kernel.shape, windows)
    return _interleaved(_sum(t * w for t, w in zip(terms, weights, strict=True)) for weights in _filters(x, kernel))


def _each_channel_change(windows: Windows, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    y = _each_channel(*primals, windows)
    by_input, by_kernel = (lambda x, kernel, f=f: f(x, kernel, windows) for f in (_each_channel_spread, _each_channel_in_parts))
    return y, change_of_product(y, primals, tangents, by_input, by_kernel)


_each_channel.defjvp(_each_channel_change, symbolic_zeros=True)


def _each_channel_spread(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    """The same, but each element of x is added to the windows that it is in: the transpose takes slices and adds nothing shifted."""
    strides, edges, dilation, counts = windows
    far = [(k - 1) * d for k, d in zip(kernel.shape, dilation, strict=False)]
    places = [[i * d for i, d in zip(at, dilation, strict=True)] for at in np.ndindex(*kernel.shape[:-2])]
    outer = [(0, 0, 0)]
    pads = [outer + [(f - i, i, 0) for f, i in zip(far, at, strict=True)] + outer for at in places]
    starts = [f - before for f, (before, _) in zip(far, edges, strict=True)]
    ends = [a + (c - 1) * s + 1 for a, c, s in zip(starts, counts, strides, strict=True)]
    short = [(max(0, -a), max(0, e - f - n), 0) for a, e, f, n in zip(starts, ends, far, x.shape[1:], strict=False)]

    def filtered(weights: Any) -> jax.Array:
        all_windows = _sum(lax.pad(x * w, np.zeros((), x.dtype), pad) for w, pad in zip(weights, pads, strict=True))
        all_windows = lax.pad(lax.optimization_barrier(all_windows), np.zeros((), x.dtype), outer + short + outer)
        first = [a + b for a, (b, _, _) in zip(starts, short, strict=True)]
        last = [e + b for e, (b, _, _) in zip(ends, short, strict=True)]
        return lax.slice(all_windows, (0, *first, 0), (x.shape[0], *last, x.shape[-1]), (1, *strides, 1))

    return _interleaved(map(filtered, _filters(x, kernel)))


def _each_channel_in_parts(x: Any, kernel: Any, windows: Windows) -> jax.Array:
    """The same, for parts of the batch. The transpose adds them up elementwise, before it sums what is left over all axes but the
    channels: such a sum reads copies."""
    rows, *_, channels = x.shape
    if not isinstance(rows, int) or not rows or rows % PARTS or PARTS == 1:
        return _each_channel(x, kernel, windows)
    terms, size = _terms(x, kernel.shape, windows), rows // PARTS

    def filtered(weights: Any) -> jax.Array:
        wide = [lax.optimization_barrier(jnp.broadcast_to(w, (size, *windows.counts, channels))) for w in weights]
        part = lambda i: _sum(t[i : i + size] * w for t, w in zip(terms, wide, strict=True))
        return jnp.concatenate([part(i) for i in range(0, rows, size)])

    return _interleaved(map(filtered, _filters(x, kernel)))


def _filters(x: Any, kernel: Any) -> list[Any]:
    """Filters that each channel has one of: (elements of the kernel, channels)."""
    filters = kernel.reshape(-1, x.shape[-1], kernel.shape[-1] // x.shape[-1])
    return [filters[:, :, j] for j in range(filters.shape[2])]


def _interleaved(filtered: Any) -> jax.Array:
    """The outputs of several filters side by side, channel by channel."""
    found = list(filtered)
    return jnp.stack(found, -1).reshape(*found[0].shape[:-1], -1) if len(found) > 1 else found[0]


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
    y = _convolution(*primals, windows, form)
    by_input, by_kernel = (lambda x, kernel, f=f: f(x, kernel, windows) for f in (form.by_input, form.by_kernel))
    return y, change_of_product(y, primals, tangents, by_input, by_kernel)


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
    terms = _terms(x, kernel.shape, windows)
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
    x = lax.optimization_barrier(x)  # XLA would pad it in each term, and add up its gradient wherever that is used
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
    """In a capture the number of rows is a symbol, and the product over windows of all rows would hide that these stay apart."""
    return isinstance(x[0], int) and math.prod(kernel[:-1]) <= min(kernel[-1], 32)


def _shrinking(x: tuple, kernel: tuple, windows: Windows) -> bool:
    """Without padding outputs are so much smaller that XLA's gradient of the inputs, a convolution over padded gradients, is waste."""
    shrinks = math.prod(x[1:-1]) >= 1.3 * math.prod(windows.counts)
    return windows.inside and max(windows.strides) == 1 and shrinks and min(kernel[-2:]) >= 16


FORMS = (  # the first that fits; XLA's where none does
    Form(_volumes, of_lines, of_terms, of_terms),
    Form(_few_channels, of_xla, of_xla, of_columns),
    Form(_shrinking, of_xla, of_terms, of_xla),
)
