"""The mask of what is padding."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer


class Masking(Layer):
    """Says which steps are padding: those whose elements all have one value. They are set to 0. Shapes: (..., d) -> the same.

    Args:
        mask_value: the value.

    Example:
        >>> import numpy as np, pellucid
        >>> layer = pellucid.layers.Masking(mask_value=-1.0)
        >>> x = np.array([[[1.0, -1.0], [-1.0, -1.0]]], "float32")
        >>> layer(x).tolist(), layer.compute_mask(x).tolist()
        ([[[1.0, -1.0], [0.0, 0.0]]], [[True, False]])
    """

    input_spec = InputSpec(min_ndim=1)

    supports_masking = True

    def __init__(self, mask_value: Any = 0.0, **layer_args: Any):
        super().__init__(**layer_args)
        self.mask_value = mask_value

    def call(self, inputs: Any) -> Any:
        return jnp.where(self.compute_mask(inputs)[..., None], inputs, 0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return jnp.any(jnp.not_equal(inputs, self.mask_value), axis=-1)
