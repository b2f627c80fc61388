"""Layers that change the shape alone."""

from __future__ import annotations

import math
from typing import Any

from pellucid.core.layer import Layer
from pellucid.errors import ShapeError


class Flatten(Layer):
    """Makes one axis of all but the batch. Shapes: (batch, a, b, ...) -> (batch, a * b * ...); (batch,) -> (batch, 1)."""

    keras_defaults = {"data_format": "channels_last"}  # of what is not offered here, and asks for nothing

    def call(self, inputs: Any) -> Any:
        return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))


class Reshape(Layer):
    """Gives each row a shape. Shapes: (batch, ...) -> (batch, *target_shape); one size may be -1."""

    def __init__(self, target_shape: tuple[int, ...], **layer_args: Any):
        super().__init__(**layer_args)
        self.target_shape = tuple(target_shape)

    def call(self, inputs: Any) -> Any:
        size, known = math.prod(inputs.shape[1:]), math.prod(d for d in self.target_shape if d != -1)
        if size != known and (-1 not in self.target_shape or size % known):
            raise ShapeError(f"Reshape {self.path!r} cannot make {self.target_shape} of rows of shape {tuple(inputs.shape[1:])}.")
        return inputs.reshape(inputs.shape[0], *(size // known if d == -1 else d for d in self.target_shape))
