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
        layer_args.pop("input_length", None)  # of old code; nothing needs it
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


class ReversibleEmbedding(Embedding):
    """An Embedding that also gives the scores of all numbers for a vector: with ``reverse=True``, ``y = x @ embeddings.T``.

    Press and Wolf, "Using the output embedding to improve language models", EACL 2017.

    Args:
        input_dim: how many numbers there are.
        output_dim: size of a vector.
        tie_weights: whether scores are products with the vectors themselves; else with weights of their own.
        embeddings_initializer: for the vectors; likewise the other arguments of ``Embedding``.
        mask_zero: whether 0 stands for padding.
        reverse_dtype: in which scores are computed; by default that of inputs and vectors.
        logit_soft_cap: bound of the scores: ``cap * tanh(y / cap)``; or None.

    Call arguments:
        reverse: whether scores are computed of vectors: (..., output_dim) -> (..., input_dim).

    Shapes: (...) -> (..., output_dim).

    Example:
        >>> import numpy as np, pellucid
        >>> layer = pellucid.layers.ReversibleEmbedding(10, 4)
        >>> layer(layer(np.array([[1, 5, 2]])), reverse=True).shape
        (1, 3, 10)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **layer_args: Any,
    ):
        options = embeddings_initializer, embeddings_regularizer, embeddings_constraint
        super().__init__(input_dim, output_dim, *options, mask_zero, **layer_args)
        self.tie_weights, self.reverse_dtype, self.logit_soft_cap = tie_weights, reverse_dtype, logit_soft_cap

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        if not self.tie_weights:
            free = {"regularizer": None, "constraint": None}
            shape = self.output_dim, self.input_dim
            self.reverse_embeddings = add_weight(self, "reverse_embeddings", shape, kept_as="embeddings", **free)

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        if not reverse:
            return super().call(inputs)
        kernel = self.embeddings.value.T if self.tie_weights else self.reverse_embeddings.value
        if self.reverse_dtype is not None:
            inputs, kernel = inputs.astype(self.reverse_dtype), kernel.astype(self.reverse_dtype)
        y, cap = inputs @ kernel, self.logit_soft_cap
        return y if cap is None else cap * jnp.tanh(y / cap)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        vectors = jnp.issubdtype(inputs.dtype, jnp.floating)
        return None if vectors else super().compute_mask(inputs, mask)
