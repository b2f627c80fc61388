"""Activation functions: of one element each, except softmax, log_softmax, sparsemax and glu, which act along an axis.

They take arrays, lists and symbolic tensors. Shapes: the output has the shape of ``x``, except for glu, which halves an axis.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import registry
from pellucid.core.symbolic import is_symbolic
from pellucid.ops import nn, numpy

entered = registry.activations.named


@entered()
def linear(x: Any) -> Any:
    """``x``.

    Example:
        >>> from pellucid import activations
        >>> activations.linear(3.0)
        3.0
    """
    return x


@entered()
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> jax.Array:
    """``max(x, 0)``; in general ``min(x, max_value)`` above the threshold, ``negative_slope * (x - threshold)`` below.

    Args:
        x: the input.
        negative_slope: slope below the threshold.
        max_value: the largest output, or None.
        threshold: inputs up to here count as negative.

    Source: Glorot et al. 2011, "Deep sparse rectifier neural networks".

    Example:
        >>> from pellucid import activations
        >>> activations.relu([-1.0, 2.0, 9.0], negative_slope=0.5, max_value=6.0).tolist()
        [-0.5, 2.0, 6.0]
    """
    if not threshold and max_value is None:
        return nn.leaky_relu(x, negative_slope) if negative_slope else nn.relu(x)
    x = x if is_symbolic(x) else jnp.asarray(x)
    if threshold:
        positive = numpy.where(x > threshold, x, 0)
    else:
        positive = nn.relu6(x) if max_value == 6 else nn.relu(x)
    if max_value is not None and (threshold or max_value != 6):
        positive = numpy.clip(positive, 0, max_value)
    return positive - negative_slope * nn.relu(threshold - x) if negative_slope else positive


@entered()
def leaky_relu(x: Any, negative_slope: float = 0.2) -> jax.Array:
    """``x`` where positive, ``negative_slope * x`` elsewhere. Source: Maas et al. 2013.

    Example:
        >>> from pellucid import activations
        >>> activations.leaky_relu([-1.0, 2.0], 0.5).tolist()
        [-0.5, 2.0]
    """
    return nn.leaky_relu(x, negative_slope)


@entered()
def relu6(x: Any) -> jax.Array:
    """``min(max(x, 0), 6)``. Source: Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10".

    Example:
        >>> from pellucid import activations
        >>> activations.relu6([-1.0, 2.0, 9.0]).tolist()
        [0.0, 2.0, 6.0]
    """
    return nn.relu6(x)


@entered()
def elu(x: Any, alpha: float = 1.0) -> jax.Array:
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere. Source: Clevert et al. 2015, arXiv:1511.07289."""
    return nn.elu(x, alpha)


@entered()
def celu(x: Any, alpha: float = 1.0) -> jax.Array:
    """``x`` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere. Source: Barron 2017, arXiv:1704.07483."""
    return nn.celu(x, alpha)


@entered()
def selu(x: Any) -> jax.Array:
    """``1.0507 * elu(x, 1.6733)``: keeps mean 0 and variance 1. Source: Klambauer et al. 2017, arXiv:1706.02515."""
    return nn.selu(x)


@entered()
def gelu(x: Any, approximate: bool = False) -> jax.Array:
    """``x * P(N(0, 1) <= x)``. Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.

    Args:
        x: the input.
        approximate: whether to use ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    Example:
        >>> from pellucid import activations
        >>> round(float(activations.gelu(1.0)), 4)
        0.8413
    """
    return nn.gelu(x, approximate)


@entered()
def sigmoid(x: Any) -> jax.Array:
    """``1 / (1 + exp(-x))``.

    Example:
        >>> from pellucid import activations
        >>> float(activations.sigmoid(0.0))
        0.5
    """
    return nn.sigmoid(x)


@entered()
def hard_sigmoid(x: Any) -> jax.Array:
    """``min(max(x / 6 + 1 / 2, 0), 1)``."""
    return nn.hard_sigmoid(x)


@entered()
def sparse_sigmoid(x: Any) -> jax.Array:
    """``min(max(x / 2 + 1 / 2, 0), 1)``."""
    return nn.sparse_sigmoid(x)


@entered()
def log_sigmoid(x: Any) -> jax.Array:
    """``log(sigmoid(x))``, computed as ``-softplus(-x)``."""
    return nn.log_sigmoid(x)


@entered()
def tanh(x: Any) -> jax.Array:
    """``(exp(x) - exp(-x)) / (exp(x) + exp(-x))``.

    Example:
        >>> from pellucid import activations
        >>> float(activations.tanh(0.0))
        0.0
    """
    return numpy.tanh(x)


@entered()
def hard_tanh(x: Any) -> jax.Array:
    """``min(max(x, -1), 1)``."""
    return nn.hard_tanh(x)


@entered()
def tanh_shrink(x: Any) -> jax.Array:
    """``x - tanh(x)``."""
    return nn.tanh_shrink(x)


@entered()
def soft_shrink(x: Any, threshold: float = 0.5) -> jax.Array:
    """``x`` moved toward 0 by the threshold, at most to 0.

    Example:
        >>> from pellucid import activations
        >>> activations.soft_shrink([-2.0, 0.1, 2.0]).tolist()
        [-1.5, 0.0, 1.5]
    """
    return nn.soft_shrink(x, threshold)


@entered()
def hard_shrink(x: Any, threshold: float = 0.5) -> jax.Array:
    """``x`` where ``abs(x) > threshold``, 0 elsewhere."""
    return nn.hard_shrink(x, threshold)


@entered()
def threshold(x: Any, threshold: float, default_value: float) -> jax.Array:
    """``x`` where ``x > threshold``, ``default_value`` elsewhere."""
    return nn.threshold(x, threshold, default_value)


@entered()
def softplus(x: Any) -> jax.Array:
    """``log(1 + exp(x))``."""
    return nn.softplus(x)


@entered()
def sparse_plus(x: Any) -> jax.Array:
    """0 up to -1, ``(x + 1)**2 / 4`` up to 1, then ``x``."""
    return nn.sparse_plus(x)


@entered()
def squareplus(x: Any, b: float = 4) -> jax.Array:
    """``(x + sqrt(x**2 + b)) / 2``. Source: Barron 2021, arXiv:2112.11687."""
    return nn.squareplus(x, b)


@entered()
def softsign(x: Any) -> jax.Array:
    """``x / (1 + abs(x))``."""
    return nn.softsign(x)


@entered("swish")
def silu(x: Any) -> jax.Array:
    """``x * sigmoid(x)``. Sources: arXiv:1606.08415, arXiv:1710.05941 (there called Swish)."""
    return nn.silu(x)


@entered("hard_swish")
def hard_silu(x: Any) -> jax.Array:
    """``x * hard_sigmoid(x)``. Source: Howard et al. 2019, arXiv:1905.02244."""
    return nn.hard_silu(x)


@entered()
def mish(x: Any) -> jax.Array:
    """``x * tanh(softplus(x))``. Source: Misra 2019, arXiv:1908.08681."""
    x = x if is_symbolic(x) else jnp.asarray(x)
    return x * numpy.tanh(nn.softplus(x))


@entered()
def exponential(x: Any) -> jax.Array:
    """``exp(x)``."""
    return numpy.exp(x)


@entered()
def softmax(x: Any, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """``exp(x) / sum(exp(x))``, the sum along ``axis``: positive values that sum to 1.

    Example:
        >>> from pellucid import activations
        >>> activations.softmax([1.0, 1.0]).tolist()
        [0.5, 0.5]
    """
    return nn.softmax(x, axis)


@entered()
def log_softmax(x: Any, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """``x - log(sum(exp(x)))``, the sum along ``axis``."""
    return nn.log_softmax(x, axis)


@entered()
def sparsemax(x: Any, axis: int = -1) -> jax.Array:
    """The point of the probability simplex nearest to ``x``: ``max(x - tau, 0)`` with the tau that makes it sum to 1.

    Source: Martins and Astudillo 2016, arXiv:1602.02068, algorithm 1.

    Example:
        >>> from pellucid import activations
        >>> activations.sparsemax([2.0, 1.5, 0.0]).tolist()
        [0.75, 0.25, 0.0]
    """
    return nn.sparsemax(x, axis)


@entered()
def glu(x: Any, axis: int = -1) -> jax.Array:
    """``a * sigmoid(b)`` for the two halves a, b of an axis. Source: Dauphin et al. 2016, arXiv:1612.08083.

    Example:
        >>> from pellucid import activations
        >>> activations.glu([[4.0, 0.0]]).tolist()
        [[2.0]]
    """
    return nn.glu(x, axis)
