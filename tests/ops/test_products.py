"""Products with kernels are those of einsum, as products of matrices where they can be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid.ops.products import einsum_with_kernel

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
