"""Linear algebra, of the last two axes: matrices may have leading axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.numpy.linalg import det, eig, eigh, inv, matrix_rank, norm, solve

from pellucid.core import jax_compat
from pellucid.ops.names import publish


def cholesky(x: Any, upper: bool = False) -> jax.Array:
    """The triangular L with ``x = L @ L.T`` for a positive definite matrix; with ``upper`` its transpose.

    Raises:
        ValueError: ``x`` is known here and now, and not positive definite. Within ``call`` the result is then NaN.
    """
    result = jnp.linalg.cholesky(jnp.asarray(x), upper=upper)
    if not jax_compat.is_tracer(result) and jnp.isnan(result).any():
        raise ValueError("cholesky: x is not positive definite. Make it symmetric, and add a small number to its diagonal.")
    return result


def cholesky_inverse(x: Any, upper: bool = False) -> jax.Array:
    """The inverse of the matrix that has the Cholesky factor ``x``, which is lower triangular unless ``upper``."""
    x = jnp.asarray(x)
    inverse = jax.scipy.linalg.solve_triangular(x, jnp.eye(x.shape[-1], dtype=x.dtype), lower=not upper)
    return inverse @ inverse.mT if upper else inverse.mT @ inverse


def jvp(fun: Callable, primals: Any, tangents: Any, has_aux: bool = False) -> tuple:
    """The value of a function, and its derivative in a direction, as ``jax.jvp``."""
    return jax.jvp(fun, tuple(primals), tuple(tangents), has_aux=has_aux)


def lstsq(a: Any, b: Any, rcond: float | None = None) -> jax.Array:
    """The x for which ``norm(a @ x - b)`` is least; singular values below ``rcond`` times the greatest count as 0."""
    return jnp.linalg.lstsq(jnp.asarray(a), jnp.asarray(b), rcond=rcond)[0]


def lu_factor(x: Any) -> tuple[jax.Array, jax.Array]:
    """L and U in one matrix, and for each row the row that it was exchanged with."""
    lu, pivots, _ = jax.lax.linalg.lu(jnp.asarray(x))
    return lu, pivots


def pinv(x: Any, rcond: float | None = None) -> jax.Array:
    """The pseudo-inverse of Moore and Penrose; singular values below ``rcond`` times the greatest count as 0."""
    return jnp.linalg.pinv(jnp.asarray(x), rtol=rcond)


def qr(x: Any, mode: str = "reduced") -> tuple[jax.Array, jax.Array]:
    """``x = Q @ R`` with orthonormal columns Q and an upper triangular R; ``mode`` "complete" makes Q square."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: mode={mode!r} is not known; expected 'reduced' or 'complete'.")
    return tuple(jnp.linalg.qr(jnp.asarray(x), mode))


def solve_triangular(a: Any, b: Any, lower: bool = False) -> jax.Array:
    """The x with ``a @ x = b`` for a triangular matrix a; its other half is not looked at."""
    return jax.scipy.linalg.solve_triangular(jnp.asarray(a), jnp.asarray(b), lower=lower)


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """U, the singular values s in descending order, and V.T with ``x = U @ diag(s) @ V.T``; s alone without ``compute_uv``."""
    result = jnp.linalg.svd(jnp.asarray(x), full_matrices, compute_uv)
    return tuple(result) if compute_uv else result


__all__ = publish(
    globals(),
    {"x /": "det eig eigh inv", "x / tol": "matrix_rank", "x / ord axis keepdims": "norm", "a b /": "solve"},
)
