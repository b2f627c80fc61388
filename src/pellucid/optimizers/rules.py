"""What update rules are made of."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp


class Rule(NamedTuple):
    """An update rule of ours, in the form of an ``optax.GradientTransformation``: its updates are subtracted."""

    init: Callable
    update: Callable


def scaled(rate: Any) -> Rule:
    """Multiplies by the learning rate. (``optax.scale`` would do, but plain descent need not import optax.)"""
    return Rule(lambda params: (), lambda grads, state, params=None: ([jnp.asarray(rate, g.dtype) * g for g in grads], state))


def optax() -> Any:
    """The library, imported when the first optimizer needs it."""
    return importlib.import_module("optax")


def zeros(params: list) -> list:
    """A slot of zeros for each parameter."""
    return [jnp.zeros_like(p) for p in params]


def approached(means: list, values: Iterable[Any], beta: float) -> list:
    """Running means that keep the share ``beta`` of themselves."""
    return [m + (x - m) * (1 - beta) for m, x in zip(means, values, strict=True)]


def columns(rows: list[tuple], count: int) -> list[list]:
    """From what was computed for each parameter, ``count`` lists with an entry a parameter."""
    return [[row[i] for row in rows] for i in range(count)]
