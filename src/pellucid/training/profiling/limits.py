"""What this machine reaches: in a large product of matrices, and in a pass over memory."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_SIZES = (256, 512, 1024, 2048, 4096, 8192)
_LONG = 2e-3  # seconds of a product that is large enough
_BYTES = {"cpu": 2**25}  # of an array that no cache holds
_BYTES_ELSEWHERE = 2**28


class Limits(NamedTuple):
    """Of the default device.

    Attributes:
        flops: floating-point operations a second.
        bytes: read and written a second.
    """

    flops: float
    bytes: float


@functools.cache
def limits(dtype: str) -> Limits:
    """Measured once in a process, in some hundredths of a second.

    Args:
        dtype: that a model computes in.
    """
    rate, multiply = 0.0, jax.jit(jnp.matmul)
    for size in _SIZES:
        matrix = jnp.ones((size, size), dtype)
        seconds = _best(multiply, matrix, matrix)
        rate = max(rate, 2.0 * size**3 / seconds)
        if seconds > _LONG:
            break
    size = _BYTES.get(jax.default_backend(), _BYTES_ELSEWHERE)
    held = [jnp.ones(size // 4, "float32")]
    negate = jax.jit(jnp.negative, donate_argnums=0)  # in place: to ask for new memory would take longer than to write it

    def change() -> Any:
        held[0] = negate(held[0])
        return held[0]

    return Limits(rate, 2.0 * size / _best(change))


def _best(function: Callable[..., Any], *arrays: Any) -> float:
    """Seconds of the fastest of some runs."""
    function(*arrays).block_until_ready()
    found = []
    for _ in range(4):
        started = time.perf_counter()
        function(*arrays).block_until_ready()
        found.append(time.perf_counter() - started)
    return min(found)
