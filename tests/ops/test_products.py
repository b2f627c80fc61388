"""Products with kernels are those of einsum, as products of matrices where they can be."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid.core import forms
from pellucid.ops.products import einsum_with_kernel, product
from tests.ops.own_forms import check_derivatives

SIZES = dict(zip("abcdefg", (2, 3, 4, 5, 6, 7, 8)))
FLAT = ["ab,bc->ac", "abc,cd->abd", "abc,cde->abde", "abcd,cde->abe", "...c,cd->...d", "abcd,cdef->abef"]
OTHERS = ["abc,cd->adb", "abc,dc->abd", "abc,bcd->acd", "ab...,bc->ac...", "abc,abd->abcd"]


@pytest.mark.parametrize("equation", FLAT + OTHERS)
def test_products_are_those_of_einsum(equation):
    inputs, kernel = equation.split("->")[0].split(",")
    shape = lambda letters: tuple(SIZES[letter] for letter in letters if letter != ".")
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(size=(9, *shape(inputs)) if inputs.startswith("...") else shape(inputs)), "float32")
    x = x[..., None] if inputs.endswith("...") else x
    w = jnp.asarray(generator.normal(size=shape(kernel)), "float32")
    np.testing.assert_allclose(einsum_with_kernel(equation, x, w), jnp.einsum(equation, x, w), rtol=1e-4, atol=1e-5)
    text = str(jax.make_jaxpr(lambda x, w: einsum_with_kernel(equation, x, w))(x, w))
    assert ("dimension_numbers=(([1], [0]), ([], []))" in text) == (equation in FLAT)


def test_the_number_of_rows_may_be_symbolic():
    (batch, time) = jax.export.symbolic_shape("batch, time")
    made = jax.eval_shape(
        lambda x, w: einsum_with_kernel("abc,cde->abde", x, w), jax.ShapeDtypeStruct((batch, time, 4), "float32"), jnp.ones((4, 2, 3))
    )
    assert made.shape == (batch, time, 2, 3)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape) / 8, "float32")


@pytest.mark.parametrize(
    "shape, units, turned",
    [
        ((512, 128), 192, (128, 512)),
        ((96, 128), 192, None),
        ((4, 24, 128), 64, (64, 96)),
        ((96, 96), 64, None),
        ((96, 8), 8, None),
        ((96, 512), 3, (3, 96)),
    ],
    ids=["narrow x", "few rows", "narrow gradient", "almost square", "small", "few classes"],
)
def test_the_narrower_operand_of_a_kernels_gradient_is_transposed_first(shape, units, turned):
    x, kernel = normal(*shape), normal(shape[-1], units)
    check_derivatives(product, lambda x, w: x @ w, x, kernel, rtol=1e-3, atol=1e-3)
    text = jax.jit(jax.grad(lambda w: jnp.sum(product(x, w) ** 2))).lower(kernel).as_text()
    assert ("tensor<{}x{}xf32>".format(*turned or (0, 0)) in "".join(re.findall("optimization_barrier.*", text))) == (turned is not None)


def test_what_needs_no_gradient_takes_part_in_no_product():
    x, kernel = normal(96, 64), normal(64, 128)
    loss = lambda x, w: jnp.sum(product(x, w) ** 2)
    products = lambda f: jax.jit(f).lower(x, kernel).as_text().count("stablehlo.dot_general")
    assert (products(loss), products(jax.grad(loss, 0)), products(jax.grad(loss, 1)), products(jax.grad(loss, (0, 1)))) == (1, 2, 2, 3)


def test_other_devices_take_the_plain_product(monkeypatch):
    monkeypatch.setitem(forms.FASTER_ON, "product", frozenset())
    assert "barrier" not in str(jax.make_jaxpr(jax.grad(lambda w: product(normal(96, 128), w).sum()))(normal(128, 192)))


def test_products_over_nothing_are_zero():
    x, kernel = jnp.ones((2, 3, 0)), jnp.ones((0, 5))
    assert not product(x, kernel).any() and product(x, kernel).shape == (2, 3, 5)
    assert not einsum_with_kernel("abc,cde->abde", x, jnp.ones((0, 5, 1))).any()
