"""Vectors for whole numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pellucid.core.checks import check_whole
from pellucid.core.layer import Layer
from pellucid.layers.weights import add_weight, keep_options


class Embedding(Layer):
    """A trained vector for each whole number: ``y = embeddings[x]``.

    Args:
        input_dim: how many numbers there are: from 0 to ``input_dim - 1``. The vector of a number beyond them is NaN.
        output_dim: size of a vector.
        embeddings_initializer: for the vectors, (input_dim, output_dim).
        embeddings_regularizer: the penalty on them; see ``pellucid.regularizers``.
        embeddings_constraint: what they keep after each update; see ``pellucid.constraints``.
        mask_zero: whether 0 stands for padding: the mask of the outputs is False there.
        weights: an array of the vectors to begin with, or None.

    Shapes: (...) -> (..., output_dim).

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Embedding(10, 4)(np.array([[1, 5, 2]])).shape
        (1, 3, 4)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self.input_dim = check_whole("Embedding", "input_dim", input_dim)
        self.output_dim = check_whole("Embedding", "output_dim", output_dim)
        keep_options(self, embeddings=(embeddings_initializer, embeddings_regularizer, embeddings_constraint))
        self.mask_zero = self.supports_masking = bool(mask_zero)
        self.autocast = False
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = add_weight(self, "embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs: Any) -> Any:
        numbers = inputs if inputs.dtype in ("int32", "int64") else inputs.astype("int32")
        return jnp.take(self.embeddings.value, numbers, axis=0).astype(self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return inputs != 0 if self.mask_zero else None

    def get_config(self) -> dict[str, Any]:
        return self._config(without=("weights",))
