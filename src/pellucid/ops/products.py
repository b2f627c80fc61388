"""Products of arrays with kernels."""

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from pellucid.core.equation import equation
from pellucid.core.forms import own_form
from pellucid.ops.tangents import change_of_product


@equation
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x @ kernel`` as a product of matrices: products with more axes are much slower to differentiate on CPUs.

    Args:
        x: (..., features).
        kernel: (features, units).

    Example:
        >>> import jax.numpy as jnp
        >>> from pellucid.ops.products import product
        >>> product(jnp.ones((2, 3, 4)), jnp.ones((4, 5))).shape
        (2, 3, 5)
    """
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim > 2 else x
    sized = x.ndim > 1 and isinstance(rows.shape[0], int)  # an equation is called again at known sizes
    own = own_form("product") and sized and x.dtype == kernel.dtype == jnp.float32
    y = _product(rows, kernel) if own else rows @ kernel
    return y.reshape(*x.shape[:-1], kernel.shape[1]) if x.ndim > 2 else y


@jax.custom_jvp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


def _change(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    y = operator.matmul(*primals)
    return y, change_of_product(y, primals, tangents, operator.matmul, by_kernel)


_product.defjvp(_change, symbolic_zeros=True)


def by_kernel(x: jax.Array, dkernel: jax.Array) -> jax.Array:
    """``x @ dkernel``, which is linear in dkernel; its transposition is the gradient of a kernel, ``x.T @ g``.

    XLA's product on a CPU is fast where its operands lie as they are summed over, and slow (or not given to its fast library at all)
    where the first is to be read transposed. So the narrower of x and g is transposed before, behind a barrier: without, XLA would
    merge it with the product again. With 2048 rows on one core, GFLOP/s on jax 0.12 and 0.10.2: 512 x 128 from 56 and 52 to 90 and
    82, 128 x 512 from 73 and 75 to 100 and 100, 128 x 128 from 83 and 81 to 100 and 103; 512 x 10 with 128 rows from 7 to 39. Almost
    square kernels gain nothing; narrow x lose (64 x 192 in a GRU's step 0.83 ms for 0.57), and few rows, for which that library takes one
    core only: 512 x 512 with 128 rows 0.62 ms for 0.36 on two.
    """
    (rows, features), units = x.shape, dkernel.shape[1]
    if isinstance(rows, int):
        if 128 <= features <= min(units, rows // 4) and rows * features <= 2**20:  # beyond 4 MB x is slow to transpose
            return lax.dot_general(lax.optimization_barrier(x.T), dkernel, (((0,), (0,)), ((), ())))
        if features >= 2 * units > 2 and rows * features * units >= 2**16:  # the gradient g, where this is transposed
            turned = lax.dot_general(lax.optimization_barrier(dkernel.T), x, (((1,), (1,)), ((), ())))
            return lax.optimization_barrier(lax.optimization_barrier(turned).T)
    return x @ dkernel


def einsum_with_kernel(equation: str, x: jax.Array, kernel: Any) -> jax.Array:
    """``einsum(equation, x, kernel)``; where the last axes of ``x`` meet the first of the kernel, as one product of matrices.

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
    y = product(x.reshape(math.prod(x.shape[: x.ndim - count]), size), kernel.reshape(size, math.prod(kernel.shape[count:])))
    return y.reshape(*x.shape[: x.ndim - count], *kernel.shape[count:])
