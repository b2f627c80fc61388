"""Attention by dot products: the weights that queries give to keys, and the values that they choose."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pellucid.core.equation import equation
from pellucid.core.forms import own_form
from pellucid.ops.core import convert_to_tensor
from pellucid.ops.tangents import moving, total


@equation
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> jax.Array:
    """``softmax(scale * query · key + bias) · value``, for each head.

    Vaswani et al., "Attention is all you need", NeurIPS 2017. With fewer heads of keys and values than of queries, each serves a
    group of query heads (Ainslie et al., "GQA", EMNLP 2023).

    Args:
        query: (batch, steps, heads, d).
        key: (batch, source steps, key heads, d); the number of heads is a multiple of that of key heads.
        value: (batch, source steps, key heads, d of values).
        bias: is added to the scores; broadcasts to (batch, heads, steps, source steps).
        mask: True where a query may attend to a key; broadcasts likewise. A query that may attend to none takes the mean of all values.
        scale: of the products; by default ``1 / sqrt(d)``.
        is_causal: whether step i attends to source steps up to i only.
        flash_attention: True for cuDNN's fused kernel, which takes 16-bit floats on an NVIDIA GPU; else XLA compiles the formula.
        attn_logits_soft_cap: None; Keras has it on TPUs only.

    Returns:
        (batch, steps, heads, d of values)

    Raises:
        ValueError: for arrays that have not four axes, numbers of heads that do not fit, a mask that is not boolean.

    Example:
        >>> from pellucid import ops
        >>> x = ops.ones((2, 4, 8, 16))
        >>> ops.dot_product_attention(x, x, x, is_causal=True).shape
        (2, 4, 8, 16)
    """
    query, key, value = map(convert_to_tensor, (query, key, value))
    dtype = jnp.result_type(query, key, value)
    query, key, value = (x.astype(dtype) for x in (query, key, value))
    _check(query, key, value, mask, attn_logits_soft_cap)
    if flash_attention:
        return _flash(query, key, value, bias, mask, scale, is_causal)
    own = own_form("attention") and bias is None and dtype == jnp.float32 and query.shape[2] == key.shape[2]
    if own and 0 not in (*query.shape, *key.shape):  # no step, or none to attend to
        scale = query.shape[3] ** -0.5 if scale is None else scale
        return _by_blocks(query * jnp.asarray(scale, dtype), key, value, mask, is_causal)
    weights = attention_weights(query, key, bias, mask, scale, is_causal)
    return attend(weights.astype(dtype), value)


def attention_weights(
    query: jax.Array, key: jax.Array, bias: Any = None, mask: Any = None, scale: float | None = None, is_causal: bool = False
) -> jax.Array:
    """``softmax(scale * query · key + bias)``, (batch, heads, steps, source steps), in 32 bits at least.

    The arguments are those of ``dot_product_attention``.
    """
    heads, groups = query.shape[2], key.shape[2]
    precise = jnp.promote_types(query.dtype, jnp.float32)
    if heads == groups:
        scores = jnp.einsum("bthd,bshd->bhts", query, key, preferred_element_type=precise)
    else:
        grouped = query.reshape(*query.shape[:2], groups, heads // groups, query.shape[3])
        scores = jnp.einsum("btgnd,bsgd->bgnts", grouped, key, preferred_element_type=precise)
        scores = scores.reshape(scores.shape[0], heads, *scores.shape[3:])
    scores = scores * jnp.asarray(query.shape[3] ** -0.5 if scale is None else scale, precise)
    if bias is not None:
        scores = scores + jnp.asarray(bias, precise)
    if is_causal:
        causal = causal_mask(*scores.shape[2:])
        mask = causal if mask is None else jnp.logical_and(mask, causal)
    return masked_softmax(scores, mask)


def attend(weights: jax.Array, value: jax.Array) -> jax.Array:
    """``weights · value``, (batch, steps, heads, d): what each step takes of the source's values, for weights in the values' type."""
    heads, groups = weights.shape[1], value.shape[2]
    if heads == groups:
        return jnp.einsum("bhts,bshd->bthd", weights, value)
    grouped = weights.reshape(weights.shape[0], groups, heads // groups, *weights.shape[2:])
    result = jnp.einsum("bgnts,bsgd->btgnd", grouped, value)
    return result.reshape(*result.shape[:2], heads, result.shape[4])


def masked_softmax(scores: jax.Array, mask: Any = None) -> jax.Array:
    """Softmax along the last axis of what a mask leaves; uniform where it leaves nothing."""
    return jax.nn.softmax(_without_masked(scores, mask), axis=-1)


def _without_masked(scores: jax.Array, mask: Any) -> jax.Array:
    return scores if mask is None else jnp.where(mask, scores, jnp.asarray(0.7 * jnp.finfo(scores.dtype).min, scores.dtype))


def causal_mask(steps: Any, source_steps: Any, first: int = 0) -> jax.Array:
    """True where a source step is not after a step, (steps, source steps), of which the first has a number. Both sizes may be symbolic."""
    return jnp.arange(steps)[:, None] + first >= jnp.arange(source_steps)


def window_mask(steps: Any, source_steps: Any, window: int) -> jax.Array:
    """True where a source step is fewer than ``window`` steps away from a step, on either side, (steps, source steps)."""
    return jnp.abs(jnp.arange(steps)[:, None] - jnp.arange(source_steps)) < window


def _by_blocks(query: jax.Array, key: jax.Array, value: jax.Array, mask: Any, is_causal: bool) -> jax.Array:
    """Attention of scaled queries. Where no step sees a later one, it goes by blocks of steps, each with the sources up to its end.

    That leaves out up to half of the products; more blocks than eight would save little more. A block has 64 steps at least: with 128
    steps, 4 heads of 32, batch 16, forward and backward on one core, the plain form took 9.3 ms, one block 7.8, two 6.5, four 6.9.
    """
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    steps, first = query.shape[2], 0 if is_causal else None
    if not is_causal or mask is not None or not isinstance(steps, int) or steps != key.shape[2]:
        return jnp.swapaxes(_block(query, key, value, mask, first), 1, 2)
    size = max(64, -(-steps // 8))
    ends = [(start, min(start + size, steps)) for start in range(0, steps, size)]
    made = [_block(query[:, :, start:end], key[:, :, :end], value[:, :, :end], None, start) for start, end in ends]
    return jnp.swapaxes(jnp.concatenate(made, 2), 1, 2)


def _turned(x: jax.Array) -> jax.Array:
    return lax.optimization_barrier(jnp.swapaxes(x, 2, 3))  # or XLA would merge it with the product again


class _Layout(NamedTuple):
    """How scores lie, and the products that make them and choose values by them."""

    sources: int  # the axis of the keys
    scores: Callable  # of a query and a key
    scores_by_query: Callable  # where the query changes
    chosen: Callable  # by weights, of values
    chosen_at_first: Callable  # where neither changes


_SCORES, _CHOSEN = (functools.partial(jnp.einsum, letters) for letters in ("bhtd,bhsd->bhts", "bhts,bhsd->bhtd"))
_BY_STEPS = _Layout(3, _SCORES, _SCORES, _CHOSEN, _CHOSEN)
_BY_SOURCES = _Layout(  # what is chosen is (batch, heads, d, steps)
    sources=2,
    scores=lambda query, key: jnp.einsum("bhsd,bhtd->bhst", key, query),
    scores_by_query=lambda query, key: jnp.einsum("bhds,bhdt->bhst", _turned(key), _turned(query)),
    chosen=lambda weights, value: jnp.einsum("bhsd,bhst->bhdt", value, weights),
    chosen_at_first=lambda weights, value: jnp.einsum("bhds,bhst->bhdt", _turned(value), weights),
)


@functools.partial(jax.custom_jvp, nondiff_argnums=(4,))
def _block(query: jax.Array, key: jax.Array, value: jax.Array, mask: Any, first: int | None) -> jax.Array:
    """``softmax(query · key) · value``, all of (batch, heads, steps, d).

    Args:
        query, key, value: the arrays.
        mask: True where a query may attend to a key, or None.
        first: the number of the first step, where steps see no later one; else None.
    """
    powers, share, _ = _powers(_BY_STEPS, query, key, mask, first)
    return _CHOSEN(powers, value) * share


def _powers(layout: _Layout, query: jax.Array, key: jax.Array, mask: Any, first: int | None) -> tuple[jax.Array, jax.Array, Any]:
    """(exp(scores), one over their sums, where there is a score at all). The weights of attention are the product of the first two."""
    scores = layout.scores(query, key)
    if first is not None:
        causal = causal_mask(query.shape[2], key.shape[2], first)
        mask = causal if mask is None else jnp.logical_and(mask, causal)
    if mask is not None and layout is _BY_SOURCES:
        mask = jnp.swapaxes(jnp.atleast_2d(mask), -1, -2)
    scores = _without_masked(scores, mask)
    powers = jnp.exp(scores - lax.stop_gradient(scores.max(layout.sources, keepdims=True)))  # the result does not depend on the largest
    return powers, 1 / powers.sum(layout.sources, keepdims=True), mask


def _change(first: int | None, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    """``d = weights · dvalue + (weights * dscores) · value - result * sum(weights * dscores)``.

    Its transposition keeps the powers of the scores alone of all arrays of their size, passes once over them, and takes the sum of the
    last term, which is one over the sources in JAX's derivative of softmax, over the features instead. Sums are divided after the
    products with values, not before.

    Scores lie by sources where heads are narrow. XLA gives those products alone to its fast library on a CPU whose first operand is summed
    along its last axis: gradients of keys and values are such in this layout, and that of queries where keys are turned before, and the
    gradient after. What is saved grows with steps * sources * features, what turning costs with sources * features; and with more than 32
    features the other products are no longer slow. With the sizes above it took 3.7 ms for 4.8 on two cores, a transformer's step 0.97 of
    the time (jax 0.12).
    """
    query, key, value, mask = primals
    dquery, dkey, dvalue, _ = tangents
    steps, features = query.shape[2], max(query.shape[3], value.shape[3])
    layout = _BY_SOURCES if isinstance(steps, int) and steps >= 16 and features <= 32 else _BY_STEPS
    powers, share, seen = _powers(layout, query, key, mask, first)
    powers, share = lax.optimization_barrier((powers, share))  # computed once
    result = layout.chosen_at_first(powers, value) * share
    terms = [layout.scores_by_query(dquery, key)] if moving(dquery) else []
    terms += [layout.scores(query, dkey)] if moving(dkey) else []
    changes = [layout.chosen(powers, dvalue)] if moving(dvalue) else []
    if terms:  # a query that may attend to nothing has powers, of the same number everywhere
        moved = (powers if mask is None else jnp.where(seen, powers, 0)) * total(powers, terms)
        changes += [layout.chosen(moved, value) - result * moved.sum(layout.sources, keepdims=True)]
    change = total(result, changes) * share
    return (jnp.swapaxes(result, 2, 3), jnp.swapaxes(change, 2, 3)) if layout is _BY_SOURCES else (result, change)


_block.defjvp(_change, symbolic_zeros=True)


def _differ(a: Any, b: Any) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a != b


def _check(query: jax.Array, key: jax.Array, value: jax.Array, mask: Any, soft_cap: float | None) -> None:
    for name, array in (("query", query), ("key", key), ("value", value)):
        if array.ndim != 4:
            raise ValueError(
                f"dot_product_attention: {name} has shape {array.shape}; expected four axes: batch, steps, heads and features. "
                "Add an axis of one head with `[:, :, None]`."
            )
    if key.shape[2] != value.shape[2] or query.shape[2] % key.shape[2]:
        raise ValueError(
            f"dot_product_attention: {query.shape[2]} heads of query, {key.shape[2]} of key, {value.shape[2]} of value; expected as many "
            "of value as of key, and a multiple of that of query."
        )
    if _differ(query.shape[3], key.shape[3]) or _differ(key.shape[1], value.shape[1]):
        raise ValueError(
            f"dot_product_attention: query, key and value have shapes {query.shape}, {key.shape} and {value.shape}; expected as many "
            "features in query and key, and as many steps in key and value."
        )
    if mask is not None and jnp.result_type(mask) != jnp.bool_:
        raise ValueError(
            f"dot_product_attention: mask is of type {jnp.result_type(mask)}; expected booleans, True where a query may attend to a key. "
            "What is to be added to the scores is `bias`."
        )
    if soft_cap is not None:
        raise ValueError(f"dot_product_attention: attn_logits_soft_cap={soft_cap!r}; expected None: no platform here has it.")


def _flash(query: jax.Array, key: jax.Array, value: jax.Array, bias: Any, mask: Any, scale: float | None, is_causal: bool) -> jax.Array:
    if jax.default_backend() != "gpu" or query.dtype not in (jnp.float16, jnp.bfloat16):
        raise ValueError(
            f"dot_product_attention: flash_attention=True with {query.dtype} on {jax.default_backend()}; expected float16 or bfloat16 on "
            "an NVIDIA GPU. Leave it at None: XLA then compiles the formula."
        )
    return jax.nn.dot_product_attention(query, key, value, bias, mask, scale=scale, is_causal=is_causal, implementation="cudnn")
