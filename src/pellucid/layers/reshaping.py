"""Layers that change the shape alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from pellucid import config
from pellucid.core.checks import check_whole
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError


class Flatten(Layer):
    """Makes one axis of all but the batch. Shapes: (batch, a, b, ...) -> (batch, a * b * ...); (batch,) -> (batch, 1).

    Args:
        data_format: "channels_first" for inputs whose axis 1 is made the last one first; or "channels_last"; by default
            ``config.image_data_format()``.
    """

    input_spec = InputSpec(min_ndim=1)

    def __init__(self, data_format: str | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        if data_format not in (None, "channels_last", "channels_first"):
            raise ValueError(f"Flatten: data_format={data_format!r}; expected 'channels_last', 'channels_first' or None.")
        self.data_format = data_format or config.image_data_format()

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = jnp.moveaxis(inputs, 1, -1)
        return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))


class Reshape(Layer):
    """Gives each row a shape. Shapes: (batch, ...) -> (batch, *target_shape); one size may be -1."""

    def __init__(self, target_shape: Sequence[int], **layer_args: Any):
        super().__init__(**layer_args)
        self.target_shape = tuple(target_shape)

    def call(self, inputs: Any) -> Any:
        size, known = math.prod(inputs.shape[1:]), math.prod(d for d in self.target_shape if d != -1)
        if size != known and (-1 not in self.target_shape or size % known):
            raise ShapeError(f"Reshape {self.path!r} cannot make {self.target_shape} of rows of shape {tuple(inputs.shape[1:])}.")
        return inputs.reshape(inputs.shape[0], *(size // known if d == -1 else d for d in self.target_shape))


class Permute(Layer):
    """Changes the order of the axes behind the batch. Shapes: (batch, d_1, d_2, ...) -> (batch, d_i, d_j, ...).

    Args:
        dims: the axes in their new order, counted from 1.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Permute((2, 1))(np.ones((5, 10, 64), "float32")).shape
        (5, 64, 10)
    """

    def __init__(self, dims: Sequence[int], **layer_args: Any):
        super().__init__(**layer_args)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"Permute: dims={dims!r}; expected each of 1, 2, … once, in any order.")

    def call(self, inputs: Any) -> Any:
        if inputs.ndim != len(self.dims) + 1:
            raise ShapeError(f"Permute {self.path!r} got inputs of shape {inputs.shape}; expected {len(self.dims) + 1} axes.")
        return jnp.transpose(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """Repeats each row. Shapes: (batch, d) -> (batch, n, d).

    Args:
        n: how often.
    """

    def __init__(self, n: int, **layer_args: Any):
        super().__init__(**layer_args)
        self.n = check_whole("RepeatVector", "n", n)

    def call(self, inputs: Any) -> Any:
        if inputs.ndim != 2:
            raise ShapeError(f"RepeatVector {self.path!r} got inputs of shape {inputs.shape}; expected two axes.")
        return jnp.broadcast_to(inputs[:, None], (inputs.shape[0], self.n, inputs.shape[1]))
