"""Changes of the inputs of a function that has a derivative of its own, some of which do not change at all.

Such a function is a ``jax.custom_jvp`` with ``symbolic_zeros=True``: reverse mode is the transposition of its tangent's formula, and
forward mode, second derivatives and ``vmap`` go on working. What does not change costs nothing: no product with zeros is made.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


def moving(change: Any) -> bool:
    """Whether an input changes."""
    return not isinstance(change, SymbolicZero)


def total(value: jax.Array, terms: Sequence[jax.Array]) -> jax.Array:
    """The sum of the terms that there are; zeros like the value where there is none."""
    return functools.reduce(operator.add, terms) if terms else jnp.zeros_like(value)


def change_of_product(value: jax.Array, primals: tuple, tangents: tuple, by_first: Callable, by_second: Callable) -> jax.Array:
    """``by_first(dx, kernel) + by_second(x, dkernel)``: how what is linear in x and in a kernel changes with both."""
    (x, kernel), (dx, dkernel) = primals, tangents
    terms = [by_first(dx, kernel)] if moving(dx) else []
    return total(value, [*terms, by_second(x, dkernel)] if moving(dkernel) else terms)
