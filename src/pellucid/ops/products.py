"""Products of arrays with kernels."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp


def einsum_with_kernel(equation: str, x: jax.Array, kernel: Any) -> jax.Array:
    """``einsum(equation, x, kernel)``; where the last axes of ``x`` meet the first of the kernel, as one product of matrices.

    Products with more axes are much slower to differentiate on CPUs.

    Args:
        equation: letters of x, of the kernel and of the result, such as "abc,cde->abde"; ``...`` stands for axes in front or behind.
        x: the array.
        kernel: the weights.

    Example:
        >>> import jax.numpy as jnp
        >>> from pellucid.ops.products import einsum_with_kernel
        >>> einsum_with_kernel("abc,cde->abde", jnp.ones((2, 3, 4)), jnp.ones((4, 5, 6))).shape
        (2, 3, 5, 6)
    """
    inputs, rest = equation.split(",")
    of_kernel, outputs = rest.split("->")
    summed = [letter for letter in of_kernel if letter not in outputs]
    count, kept, made = len(summed), inputs[: len(inputs) - len(summed)], of_kernel[len(summed) :]
    if not count or inputs != kept + "".join(summed) or of_kernel != "".join(summed) + made or outputs != kept + made:
        return jnp.einsum(equation, x, kernel)
    size = math.prod(kernel.shape[:count])
    y = x.reshape(-1, size) @ kernel.reshape(size, -1)
    return y.reshape(*x.shape[: x.ndim - count], *kernel.shape[count:])
