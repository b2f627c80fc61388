"""Attention of several heads, between projections: each head, or each group of heads, with keys and values of its own."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from pellucid import regularizers
from pellucid.core.checks import check_whole
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.layers.dropout import Dropout
from pellucid.layers.einsum_dense import EinsumDense
from pellucid.layers.weights import keep_options
from pellucid.ops.attention import attend, attention_weights, causal_mask, dot_product_attention, window_mask

_OPTIONS = ("initializer", "regularizer", "constraint")


class _Heads(Layer):
    """What both layers share: the projections are EinsumDense layers, what is between them is a function of ``ops.attention``."""

    input_spec = InputSpec(min_ndim=3)  # the query: batch, steps and features

    supports_masking = True
    attended: tuple[int, ...] | None = None  # axes; None for all but batch and features

    def _keep(self, heads: int, key_heads: int, key_dim: int, value_dim: int, given: dict[str, Any]) -> None:
        """Stores the arguments that both layers take, from those of ``__init__``."""
        self._sizes = heads, key_heads, key_dim, value_dim
        self.dropout, self.use_bias, self.use_gate, self.seed = (given[name] for name in ("dropout", "use_bias", "use_gate", "seed"))
        window, name = given["sliding_window"], type(self).__name__
        self.sliding_window = None if window is None else check_whole(name, "sliding_window", window)
        self._flash_attention = given["flash_attention"]
        if self._flash_attention and self.dropout > 0:
            raise ValueError(f"{name}: flash_attention=True with dropout={self.dropout}; expected dropout=0: the fused kernel has none.")
        keep_options(self, **{weight: tuple(given[f"{weight}_{option}"] for option in _OPTIONS) for weight in ("kernel", "bias")})
        self._regularizer_of_parts = regularizers.get(given["activity_regularizer"])

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        if len({len(query_shape), len(value_shape), len(key_shape)}) > 1:
            raise ShapeError(
                f"{type(self).__name__} {self.path!r}: query of shape {tuple(query_shape)}, value of shape {tuple(value_shape)} and key of "
                f"shape {tuple(key_shape)}; expected as many axes each."
            )
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ShapeError(
                f"{type(self).__name__} {self.path!r}: value of shape {tuple(value_shape)} and key of shape {tuple(key_shape)}; expected "
                "equal sizes but for the last."
            )
        heads, key_heads, key_dim, value_dim = self._sizes
        self.input_spec = InputSpec(ndim=len(query_shape), axes={-1: query_shape[-1]})
        self._query_dense = self._projection("query", query_shape, (heads, key_dim))
        self._key_dense = self._projection("key", key_shape, (key_heads, key_dim))
        if self.use_gate:
            self._gate_dense = self._projection("gate", query_shape, (heads, value_dim), activation="sigmoid")
        self._value_dense = self._projection("value", value_shape, (key_heads, value_dim))
        if self.dropout > 0:
            self._dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy, seed=self.seed)
        together = (*query_shape[:-1], heads, value_dim)
        self._output_dense = self._projection("attention_output", together, self._features(query_shape), summed=2)

    def _features(self, query_shape: Any) -> tuple[int, ...]:
        return (query_shape[-1],)

    def _projection(self, name: str, shape: Any, features: tuple[int, ...], summed: int = 1, **options: Any) -> EinsumDense:
        """A layer that replaces the last axes by others."""
        letters = "abcdefghijklmnopqrstuvwxyz"
        kept, inner = letters[: len(shape) - summed], letters[len(shape) - summed : len(shape)]
        made = letters[len(shape) : len(shape) + len(features)]
        options |= {f"{weight}_{option}": getattr(self, f"{weight}_{option}") for weight in ("kernel", "bias") for option in _OPTIONS}
        options |= {"bias_axes": made if self.use_bias else None, "activity_regularizer": self._regularizer_of_parts}
        sizes = (*(None,) * (len(kept) - 1), *features)
        layer = EinsumDense(f"{kept}{inner},{inner}{made}->{kept}{made}", sizes, name=name, dtype=self.dtype_policy, **options)
        layer.supports_masking = True  # masks of the inputs go on: `call` knows of them
        layer.build(tuple(shape))
        return layer

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        masks = [query_mask is not None and query_mask[..., :, None]]
        masks += [mask is not None and mask[..., None, :] for mask in (value_mask, key_mask)]
        if self.sliding_window is not None:
            masks.append(window_mask(query.shape[1], value.shape[1], self.sliding_window))
        masks = [mask for mask in (*masks, attention_mask) if mask is not None and mask is not False]
        gate = self._gate_dense(query) if self.use_gate else None
        key = self._key_dense(value if key is None else key)
        query, value = self._query_dense(query), self._value_dense(value)
        axes = _Axes(tuple(range(1, query.ndim - 2)) if self.attended is None else self.attended, query.shape, value.shape)
        mask = axes.mask([jnp.asarray(m, bool) for m in masks])
        options = {"scale": self._sizes[2] ** -0.5, "is_causal": use_causal_mask, "mask": mask}
        query, key, value = axes.fold(query), axes.fold(key), axes.fold(value)
        if self.dropout > 0 or return_attention_scores:
            weights = attention_weights(query, key, **options).astype(query.dtype)
            if mask is not None or use_causal_mask:  # nothing, where nothing may be attended to
                seen = causal_mask(*weights.shape[2:]) if use_causal_mask else True
                weights = jnp.where(seen if mask is None else seen & mask, weights, 0)
            outputs = attend(self._dropout_layer(weights, training=training) if self.dropout > 0 else weights, value)
        else:
            outputs = dot_product_attention(query, key, value, flash_attention=self._flash_attention, **options)
        outputs = axes.unfold(outputs)
        outputs = self._output_dense(outputs if gate is None else outputs * gate)
        return (outputs, axes.unfold_scores(weights)) if return_attention_scores else outputs

    def get_config(self) -> dict[str, Any]:
        config = self._config(without=("flash_attention",))
        return {**config, "activity_regularizer": regularizers.serialize(self._regularizer_of_parts)}


class MultiHeadAttention(_Heads):
    """Attention of several heads: each has projections of query, key and value, and what they give is projected together.

    Vaswani et al., "Attention is all you need", NeurIPS 2017.

    Args:
        num_heads: number of heads.
        key_dim: features of each head's query and key.
        value_dim: those of its value; by default as many.
        dropout: share of the weights of attention set to zero in training.
        use_bias: whether projections have a bias.
        output_shape: sizes of the output's last axes; by default the features of the query.
        attention_axes: axes that are attended along; by default all between batch and features.
        sliding_window: a step attends only to those fewer than so many steps away; None for all.
        flash_attention: see ``ops.dot_product_attention``.
        kernel_initializer: of the projections, as all that follow.
        use_gate: whether what the heads give is multiplied by a sigmoid of a projection of the query (Qiu et al., "Gated attention for
            large language models", 2025).
        seed: of the dropout, a whole number for draws that repeat.

    ``layer(query, value, key=None, …)``, where the key is the value unless it is given. ``query_mask``, ``value_mask`` and ``key_mask``
    (batch, steps) say which steps are real, and come from the arrays themselves; ``attention_mask`` (batch, steps, source steps) which
    may attend to which; ``use_causal_mask=True`` keeps steps from later ones. ``return_attention_scores=True`` returns the weights,
    (batch, heads, steps, source steps), too.

    Shapes: (batch, steps, d), (batch, source steps, e) -> (batch, steps, d).

    Example:
        >>> import numpy as np, pellucid
        >>> x = np.ones((2, 5, 8), "float32")
        >>> pellucid.layers.MultiHeadAttention(num_heads=2, key_dim=4)(x, x, use_causal_mask=True).shape
        (2, 5, 8)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **layer_args: Any,
    ):
        given = dict(locals())
        super().__init__(**layer_args)
        self.num_heads = check_whole("MultiHeadAttention", "num_heads", num_heads)
        self.key_dim = check_whole("MultiHeadAttention", "key_dim", key_dim)
        self.value_dim = check_whole("MultiHeadAttention", "value_dim", key_dim if value_dim is None else value_dim)
        self._output_shape = (output_shape,) if isinstance(output_shape, int) else output_shape and tuple(output_shape)
        self.attention_axes = (attention_axes,) if isinstance(attention_axes, int) else attention_axes and tuple(attention_axes)
        self._keep(num_heads, num_heads, key_dim, self.value_dim, given)

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        rank = len(query_shape)
        self.attended = self.attention_axes and tuple(axis % rank for axis in self.attention_axes)
        super().build(query_shape, value_shape, key_shape)

    def _features(self, query_shape: Any) -> tuple[int, ...]:
        return self._output_shape or super()._features(query_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_shape": self._output_shape}

    @property
    def query_dense(self) -> EinsumDense:
        """The projection of the query."""
        return self._query_dense

    @property
    def key_dense(self) -> EinsumDense:
        """The projection of the key."""
        return self._key_dense

    @property
    def value_dense(self) -> EinsumDense:
        """The projection of the value."""
        return self._value_dense

    @property
    def output_dense(self) -> EinsumDense:
        """The projection of what the heads give."""
        return self._output_dense


class GroupedQueryAttention(_Heads):
    """Attention in which groups of query heads share the heads of keys and values.

    Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head checkpoints", EMNLP 2023.

    Args:
        head_dim: features of each head.
        num_query_heads: number of heads of queries: a multiple of that of keys.
        num_key_value_heads: number of heads of keys and of values.

    The other arguments, and the call, are those of ``MultiHeadAttention``. Shapes: (batch, steps, d), (batch, source steps, e) ->
    (batch, steps, d).
    """

    public_name = "GroupQueryAttention"

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **layer_args: Any,
    ):
        given = dict(locals())
        super().__init__(**layer_args)
        for name in ("head_dim", "num_query_heads", "num_key_value_heads"):
            setattr(self, name, check_whole("GroupQueryAttention", name, given[name]))
        if num_query_heads % num_key_value_heads:
            raise ValueError(
                f"GroupQueryAttention: num_query_heads={num_query_heads}, num_key_value_heads={num_key_value_heads}; expected a multiple."
            )
        self._keep(num_query_heads, num_key_value_heads, head_dim, head_dim, given)


@dataclasses.dataclass
class _Axes:
    """Arrays of more axes as (batch, steps, heads, features): those attended along are the steps, the others part of the batch.

    Args:
        attended: axes of query and value.
        query: its shape, (batch, …, heads, features).
        value: likewise.
    """

    attended: tuple[int, ...]
    query: tuple
    value: tuple

    def __post_init__(self) -> None:
        self._others = tuple(i for i in range(1, len(self.query) - 2) if i not in self.attended)
        self._order = (0, *self._others, *self.attended, len(self.query) - 2, len(self.query) - 1)
        self._plain = len(self.query) == 4 and self.attended == (1,)

    def _of(self, shape: tuple, axes: tuple[int, ...]) -> tuple:
        return tuple(shape[i] for i in axes)

    def fold(self, x: jax.Array) -> jax.Array:
        return x if self._plain else x.transpose(self._order).reshape(-1, math.prod(self._of(x.shape, self.attended)), *x.shape[-2:])

    def unfold(self, x: jax.Array) -> jax.Array:
        if self._plain:
            return x
        x = x.reshape(self.query[0], *self._of(self.query, (*self._others, *self.attended)), *x.shape[-2:])
        return x.transpose([self._order.index(i) for i in range(x.ndim)])

    def _of_scores(self, heads: int) -> tuple:
        """The shape of the scores: (batch, other axes, heads, attended ones of the query, those of the value)."""
        first = self._of(self.query, (0, *self._others))
        return (*first, heads, *self._of(self.query, self.attended), *self._of(self.value, self.attended))

    def unfold_scores(self, scores: jax.Array) -> jax.Array:
        return scores if self._plain else scores.reshape(self._of_scores(scores.shape[1]))

    def mask(self, masks: list[jax.Array]) -> jax.Array | None:
        """All masks together, for the scores of folded arrays; a mask has the axes of the scores, or those without the heads."""
        if not masks:
            return None
        whole = masks[0]
        for other in masks[1:]:
            whole = whole & other
        shape = self._of_scores(1)
        while whole.ndim < len(shape):
            whole = jnp.expand_dims(whole, -2 * len(self.attended) - 1)
        if self._plain:
            return whole
        steps = math.prod(self._of(self.query, self.attended)), math.prod(self._of(self.value, self.attended))
        heads = whole.shape[1 + len(self._others)]
        return jnp.broadcast_to(whole, self._of_scores(heads)).reshape(-1, heads, *steps)
