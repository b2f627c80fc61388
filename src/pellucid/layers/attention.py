"""Attention between two sequences, without projections: by dot products (Luong) and by sums (Bahdanau)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid import random
from pellucid.core.layer import Layer
from pellucid.core.mode import by_training
from pellucid.core.variable import Variable
from pellucid.errors import ShapeError
from pellucid.ops.attention import causal_mask


class Attention(Layer):
    """Attention by dot products: ``softmax(query · key) · value``.

    Luong et al., "Effective approaches to attention-based neural machine translation", EMNLP 2015.

    Args:
        use_scale: whether the scores have a trained scale.
        score_mode: "dot", or "concat": scores are sums of ``tanh(query + key)`` then, with a trained weight.
        dropout: share of weights set to zero in training.
        seed: a whole number for draws that repeat.

    ``layer([query, value])`` or ``layer([query, value, key])``; ``mask=[query mask, value mask]``: outputs are zero where the first is
    False, values do not count where the second is. With ``return_attention_scores=True`` the weights are returned, too.

    Shapes: (..., steps, d), (..., source steps, d of values), (..., source steps, d) -> (..., steps, d of values).

    Example:
        >>> import numpy as np, pellucid
        >>> query, value = np.ones((2, 3, 4), "float32"), np.ones((2, 5, 4), "float32")
        >>> pellucid.layers.Attention()([query, value]).shape
        (2, 3, 4)
    """

    _takes = "arrays"

    supports_masking = True

    def __init__(self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, seed: int | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        if score_mode not in ("dot", "concat"):
            raise ValueError(f"{type(self).__name__}: score_mode={score_mode!r}; expected 'dot' or 'concat'.")
        self.use_scale, self.score_mode, self.dropout, self.seed = use_scale, score_mode, dropout, seed
        if dropout > 0:
            self.seed_generator = random.SeedGenerator(seed)

    def build(self, input_shape: Any) -> None:
        self._check(input_shape)
        self.scale = None
        self._check_shapes(input_shape)
        self.scale = self.add_weight((), "ones", name="scale") if self.use_scale else None
        self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight") if self.score_mode == "concat" else None

    def scores(self, query: jax.Array, key: jax.Array) -> jax.Array:
        """How much each step attends to each source step, before the softmax."""
        scale = 1.0 if self.scale is None else self.scale.value
        if self.concat_score_weight is None:
            return query @ jnp.swapaxes(key, -2, -1) * scale
        return self.concat_score_weight.value * jnp.tanh(scale * (query[..., :, None, :] + key[..., None, :, :])).sum(-1)

    def call(
        self, inputs: Any, mask: Any = None, training: Any = False, return_attention_scores: bool = False, use_causal_mask: bool = False
    ) -> Any:
        self._check(inputs, mask)
        self._check_shapes([x.shape for x in inputs])
        query, value, key = inputs[0], inputs[1], inputs[-1]
        of_query, of_value = (mask[0], mask[1]) if mask else (None, None)
        scores = self.scores(query, key)
        if of_value is not None:
            scores = _without(scores, of_value[..., None, :])
        if use_causal_mask:
            scores = _without(scores, causal_mask(*scores.shape[-2:]))
        weights = jax.nn.softmax(scores, axis=-1)
        if self.dropout > 0:
            drop = lambda w: random.dropout(w, self.dropout, seed=self.seed_generator)
            weights = by_training(training, drop, lambda w: w, weights)
        outputs = weights @ value
        if of_query is not None:
            outputs = jnp.where(of_query[..., None], outputs, 0)
        return (outputs, weights) if return_attention_scores else outputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """That of the query."""
        self._check(inputs, mask)
        return None if mask is None else mask[0]

    def _check_shapes(self, shapes: Any) -> None:
        query, value, key = tuple(shapes[0]), tuple(shapes[1]), tuple(shapes[-1])
        differ = lambda a, b: isinstance(a, int) and isinstance(b, int) and a != b
        pairs = [(query[-1:], key[-1:]), (value[-2:-1], key[-2:-1])]
        if isinstance(self.scale, Variable) and self.scale.shape:
            pairs.append((query[-1:], self.scale.shape))  # one factor is not spread over others
        if min(map(len, (query, value, key))) < 2 or any(differ(*a, *b) for a, b in pairs if a and b):
            raise ShapeError(
                f"{type(self).__name__} {self.path!r}: query, value and key have shapes {query}, {value} and {key}; expected (batch, "
                "steps, features): as many features in query and key, as many steps in value and key."
            )

    def _check(self, inputs: Any, mask: Any = None) -> None:
        """Raises where ``inputs`` or ``mask`` are no lists of two or three."""
        for name, given, parts in (("inputs", inputs, "arrays: query, value and perhaps key"), ("mask", mask, "masks of these")):
            if (name == "inputs" or given is not None) and not (isinstance(given, list | tuple) and len(given) in (2, 3)):
                what = f"{len(given)} of them" if isinstance(given, list | tuple) else f"a {type(given).__name__}"
                raise ValueError(f"{type(self).__name__} {self.path!r}: {name} is {what}; expected a list of two or three {parts}.")


class AdditiveAttention(Attention):
    """Attention by sums: ``softmax(sum(scale * tanh(query + key))) · value``.

    Bahdanau et al., "Neural machine translation by jointly learning to align and translate", ICLR 2015.

    Args:
        use_scale: whether the sum has trained weights, (d,).
        dropout: share of weights set to zero in training.
        seed: a whole number for draws that repeat.

    It is called as ``Attention`` is. Shapes: (..., steps, d), (..., source steps, d of values), (..., source steps, d) -> (..., steps,
    d of values).
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, seed: int | None = None, **layer_args: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **layer_args)

    def build(self, input_shape: Any) -> None:
        self._check(input_shape)
        self.scale = None
        self._check_shapes(input_shape)
        self.scale = self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale") if self.use_scale else None

    def scores(self, query: jax.Array, key: jax.Array) -> jax.Array:
        """How much each step attends to each source step, before the softmax."""
        scale = 1.0 if self.scale is None else self.scale.value
        return (scale * jnp.tanh(query[..., :, None, :] + key[..., None, :, :])).sum(-1)


def _without(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """Scores, much lower where a mask is False; 65504 is the largest number of 16 bits."""
    return jnp.where(mask, scores, scores - (65504.0 if scores.dtype == jnp.float16 else 1e9))
