"""Functions with a derivative of their own: it is that of the plain formula, of every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid import ops
from pellucid.core import forms
from tests.cases import some_slow
from tests.ops.own_forms import check_derivatives

NORMAL = np.random.default_rng(0).normal
X = jnp.asarray(NORMAL(size=(6, 8)) * 2, "float32")
WEIGHTS = [jnp.asarray(NORMAL(size=8), "float32") for _ in range(2)]


def by_hand(x, axis, gamma=1.0, beta=0.0, centered=True):
    x = x - jnp.mean(x, axis, keepdims=True) if centered else x
    return gamma * x / jnp.sqrt(jnp.mean(x**2, axis, keepdims=True) + 0.01) + beta


def attention_by_hand(q, k, v, mask, scale):
    scores = jnp.where(mask, jnp.einsum("bthd,bshd->bhts", q, k) * scale, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)


def attention(steps, sources, is_causal=False, mask=None, features=4):
    """A case of attention: the function, the formula, the arrays."""
    arrays = [jnp.asarray(NORMAL(size=(2, n, 2, features)), "float32") for n in (steps, sources, sources)]
    seen = np.tril(np.ones((steps, sources), bool)) if is_causal else True
    whole = seen if mask is None else seen & mask
    own = lambda q, k, v: ops.dot_product_attention(q, k, v, mask=mask, is_causal=is_causal)
    return own, lambda q, k, v: attention_by_hand(q, k, v, whole, features**-0.5), arrays


OWN = {
    "gelu": (lambda x: ops.gelu(x, approximate=False), lambda x: x * jax.scipy.stats.norm.cdf(x), (X,)),
    "layer_normalization": (
        lambda x, g, b: ops.layer_normalization(x, g, b, epsilon=0.01),
        lambda x, g, b: by_hand(x, -1, g, b),
        (X, *WEIGHTS),
    ),
    "of two axes": (lambda x: ops.layer_normalization(x, axis=(0, 1), epsilon=0.01), lambda x: by_hand(x, (0, 1)), (X,)),
    "rms_normalization": (
        lambda x, g: ops.rms_normalization(x, g, epsilon=0.01),
        lambda x, g: by_hand(x, -1, g, centered=False),
        (X, WEIGHTS[0]),
    ),
    "group_normalization": (
        lambda x, g, b: ops.group_normalization(x, 2, g, b, epsilon=0.01),
        lambda x, g, b: by_hand(x.reshape(6, 2, 4), -1).reshape(6, 8) * g + b,
        (X, *WEIGHTS),
    ),
    "attention": attention(5, 7),
    "masked attention": attention(5, 7, mask=NORMAL(size=(2, 1, 5, 7)) > 0),
    "masked causal attention": attention(5, 5, is_causal=True, mask=NORMAL(size=(2, 1, 5, 5)) > 0),
    "causal attention, by blocks": attention(150, 150, is_causal=True),
    "causal attention of other lengths": attention(7, 5, is_causal=True),
    "attention, scores by sources": attention(16, 7),
    "masked attention, scores by sources": attention(16, 7, mask=NORMAL(size=(2, 1, 16, 7)) > 0),
    "attention without a last source, scores by sources": attention(16, 7, mask=np.arange(7) < 6),
    "masked causal attention, scores by sources": attention(17, 17, is_causal=True, mask=NORMAL(size=(17, 17)) > -1),
    "attention of wide heads": attention(16, 7, features=33),
    "causal attention of wide heads, by blocks": attention(70, 70, is_causal=True, features=33),
}


QUICK = [
    "gelu",
    "layer_normalization",
    "attention",
    "masked causal attention",
    "causal attention, by blocks",
    "masked attention, scores by sources",
]


@pytest.mark.parametrize("name", some_slow(OWN, QUICK))
def test_derivatives_are_those_of_the_formula(name):
    own, formula, args = OWN[name]
    check_derivatives(own, formula, *args)


@pytest.mark.parametrize("function", ["gelu", "standardized", "attention"])
def test_other_devices_take_the_plain_form(function, monkeypatch):
    own, _, args = OWN["layer_normalization" if function == "standardized" else function]
    made = lambda: str(jax.make_jaxpr(jax.grad(lambda *a: own(*a).sum()))(*args))
    assert "barrier" in made()
    monkeypatch.setitem(forms.FASTER_ON, function, frozenset())
    assert "barrier" not in made()


def test_attention_leaves_out_products_without_gradients_and_blocks_of_later_steps():
    own, _, args = OWN["causal attention, by blocks"]
    loss = lambda *a: jnp.sum(own(*a) ** 2)
    products = lambda f: jax.jit(f).lower(*args).as_text().count("stablehlo.dot_general")
    assert [products(f) for f in (loss, jax.grad(loss, 2), jax.grad(loss, (0, 1, 2)))] == [3 * 2, 3 * 3, 3 * 6]
    work = lambda is_causal: jax.jit(lambda q: ops.dot_product_attention(q, *args[1:], is_causal=is_causal)).lower(args[0]).cost_analysis()
    assert work(True)["flops"] < 0.8 * work(False)["flops"]


@pytest.mark.parametrize(("steps", "features", "axis"), [(16, 32, 2), (15, 32, 3), (16, 33, 3)])
def test_scores_lie_by_sources_where_they_are_differentiated_and_heads_are_narrow(steps, features, axis):
    own, _, args = attention(steps, 7, features=features)
    made = lambda f: str(jax.make_jaxpr(f)(*args))
    assert f"reduce_max[axes=({axis},)" in made(jax.grad(lambda *a: own(*a).sum()))
    assert "reduce_max[axes=(3,)" in made(own)


def test_gelu_is_exact_to_the_rounding_of_its_input():
    x = jnp.linspace(-12, 12, 100_001)
    error = np.abs(np.asarray(ops.gelu(x, approximate=False)) - np.asarray(jax.nn.gelu(x, approximate=False)))
    assert np.max(error / np.maximum(np.abs(x), 1e-3)) < 2**-22
    far = jnp.asarray([-jnp.inf, -1e30, 1e30, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(jax.grad(lambda x: ops.gelu(x, approximate=False).sum())(far[1:3]), [0, 1])


@pytest.mark.parametrize("normalized", [ops.layer_normalization, ops.rms_normalization])
def test_what_keeps_a_root_away_from_zero_may_be_differentiated(normalized):
    x = jnp.arange(4.0)
    value = lambda epsilon: normalized(x, epsilon=epsilon)[3]
    np.testing.assert_allclose(jax.grad(value)(1e-1), (value(0.101) - value(0.099)) / 2e-3, rtol=1e-3)
