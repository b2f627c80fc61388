"""Layers that make one array of several."""

from __future__ import annotations

import functools
import operator
from typing import Any

import jax.numpy as jnp

from pellucid.core.layer import Layer


class Concatenate(Layer):
    """Joins arrays along an axis. Shapes: a list of (..., d_i, ...) -> (..., sum of d_i, ...)."""

    supports_masking = True

    def __init__(self, axis: int = -1, **layer_args: Any):
        super().__init__(**layer_args)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        return jnp.concatenate(_several(self, inputs), axis=self.axis)


class Add(Layer):
    """The sum of arrays of one shape, or of shapes that broadcast. Shapes: a list of (...) -> (...)."""

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return functools.reduce(operator.add, _several(self, inputs))


def _several(layer: Layer, inputs: Any) -> list[Any]:
    if not isinstance(inputs, list | tuple) or not inputs:
        raise ValueError(f"{type(layer).__name__} {layer.path!r} got {type(inputs).__name__}; expected a list of arrays.")
    return list(inputs)


def concatenate(inputs: Any, axis: int = -1, **layer_args: Any) -> Any:
    """``Concatenate(axis)(inputs)``."""
    return Concatenate(axis, **layer_args)(inputs)


def add(inputs: Any, **layer_args: Any) -> Any:
    """``Add()(inputs)``."""
    return Add(**layer_args)(inputs)
