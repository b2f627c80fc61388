"""Attention: what it does where arrays do not fit, where nothing is left to attend to, and where the length is not known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from pellucid import ops

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 5, 4, 3)).astype("float32")


def by_hand(query, key, value, mask):
    scores = np.einsum("bthd,bshd->bhts", query, key) / np.sqrt(query.shape[-1])
    weights = np.where(mask, np.exp(scores), 0)
    return np.einsum("bhts,bshd->bthd", weights / weights.sum(-1, keepdims=True), value)


def test_a_step_takes_nothing_from_later_ones():
    expected = by_hand(X, X, X, np.tril(np.ones((5, 5), bool)))
    np.testing.assert_allclose(ops.dot_product_attention(X, X, X, is_causal=True), expected, rtol=1e-5, atol=1e-6)
    changed = X.copy()
    changed[:, 3:] = 7
    np.testing.assert_array_equal(
        ops.dot_product_attention(X, changed, changed, is_causal=True)[:, :3], ops.dot_product_attention(X, X, X, is_causal=True)[:, :3]
    )


def test_groups_of_query_heads_share_keys_and_values():
    keys, values = X[:, :, :2], X[:, :, 2:]
    repeated = [np.repeat(a, 2, axis=2) for a in (keys, values)]
    np.testing.assert_allclose(ops.dot_product_attention(X, keys, values), ops.dot_product_attention(X, *repeated), rtol=1e-5, atol=1e-6)


def test_a_query_that_may_attend_to_nothing_takes_the_mean_and_has_finite_gradients():
    mask = np.ones((2, 1, 5, 5), bool)
    mask[:, :, 1] = False
    attend = lambda x: ops.dot_product_attention(x, x, x, mask=mask)
    np.testing.assert_allclose(attend(X)[:, 1], X.mean(1), rtol=1e-5, atol=1e-6)
    assert np.isfinite(jax.grad(lambda x: attend(x).sum())(jnp.asarray(X))).all()


@pytest.mark.parametrize("heads", [4, 2])
def test_batch_and_both_lengths_may_be_symbolic(heads):
    batch, time, source = export.symbolic_shape("batch, time, source")
    specs = [jax.ShapeDtypeStruct((batch, n, h, 3), jnp.float32) for n, h in ((time, 4), (source, heads), (source, heads))]
    attend = jax.grad(lambda q, k, v: ops.dot_product_attention(q, k, v, is_causal=True).sum(), (0, 1, 2))
    exported = export.export(jax.jit(attend))(*specs)
    given = X[:, :3], X[:, :, :heads], X[:, :, -heads:]
    for symbolic, direct in zip(exported.call(*given), attend(*given)):
        np.testing.assert_allclose(symbolic, direct, rtol=1e-5, atol=1e-6)


def test_softmax_is_computed_in_32_bits():
    half = jnp.asarray(X, jnp.bfloat16)
    result = ops.dot_product_attention(half, half, half)
    assert result.dtype == jnp.bfloat16
    assert "exp" in (text := str(jax.make_jaxpr(ops.dot_product_attention)(half, half, half))) and ":f32[2,4,5,5] = exp" in text


@pytest.mark.parametrize(
    "arguments, says",
    [
        ((X[0], X, X), ["query has shape (5, 4, 3)", "four axes", "[:, :, None]"]),
        ((X, X[:, :, :3], X[:, :, :3]), ["4 heads of query, 3 of key", "a multiple"]),
        ((X, X, X[:, :, :2]), ["4 of key, 2 of value", "as many"]),
        ((X, X, X, None, np.ones((5, 5), "int32")), ["mask is of type int32", "booleans", "bias"]),
    ],
)
def test_arrays_that_do_not_fit_are_told_of(arguments, says):
    with pytest.raises(ValueError, match="dot_product_attention") as told:
        ops.dot_product_attention(*arguments)
    assert all(part in str(told.value) for part in says), told.value


def test_what_the_platform_lacks_is_told_of():
    with pytest.raises(ValueError, match="attn_logits_soft_cap=3.0; expected None"):
        ops.dot_product_attention(X, X, X, attn_logits_soft_cap=3.0)
    with pytest.raises(ValueError, match="flash_attention=True with float32 on .*expected float16 or bfloat16 on an NVIDIA GPU"):
        ops.dot_product_attention(X, X, X, flash_attention=True)


@pytest.mark.parametrize("steps, sources, is_causal", [(3, 0, False), (0, 2, False), (0, 0, True)])
def test_attention_without_steps_or_sources_is_empty_or_zero(steps, sources, is_causal):
    attend = lambda q, k: ops.dot_product_attention(q, k, k, is_causal=is_causal).sum()
    query, key = jnp.ones((2, steps, 1, 4)), jnp.ones((2, sources, 1, 4))
    assert attend(query, key) == 0
    assert all(not g.any() for g in jax.grad(attend, (0, 1))(query, key))


def test_the_scale_of_attention_does_not_choose_the_type_of_the_result():
    with jax.enable_x64(True):
        x = jnp.ones((1, 2, 1, 4), "float32")
        assert ops.dot_product_attention(x, x, x, scale=np.float64(0.3)).dtype == jnp.float32
