"""The floating-point operations of convolutions and pooling are those that XLA counts."""

import jax
import jax.numpy as jnp
import pytest

from pellucid import ops
from pellucid.graph.cost import cost
from tests.cases import some_slow

X = jnp.ones((4, 9, 9, 6))
FORMS = {
    "convolution": (ops.conv, jnp.ones((3, 3, 6, 8))),
    "padded": (lambda x, k: ops.conv(x, k, padding="same"), jnp.ones((3, 3, 6, 8))),
    "with strides": (lambda x, k: ops.conv(x, k, strides=(2, 1)), jnp.ones((3, 3, 6, 8))),
    "with gaps": (lambda x, k: ops.conv(x, k, dilation_rate=2), jnp.ones((3, 3, 6, 8))),
    "in groups": (ops.conv, jnp.ones((3, 3, 3, 8))),
    "depthwise": (ops.depthwise_conv, jnp.ones((3, 3, 6, 2))),
    "transposed": (lambda x, k: ops.conv_transpose(x, k, strides=2), jnp.ones((3, 3, 8, 6))),
    "transposed and padded": (lambda x, k: ops.conv_transpose(x, k, strides=3, padding="same"), jnp.ones((2, 3, 8, 6))),
    "channels first": (lambda x, k: ops.conv(x, k, data_format="channels_first"), jnp.ones((3, 3, 9, 8))),
    "max pooling": (lambda x: ops.max_pool(x, 2),),
}
WITHOUT_WINDOWS = ("depthwise", "max pooling")  # on a CPU these are products and maxima of slices


@pytest.mark.parametrize("form", some_slow(FORMS, ["padded", "depthwise", "transposed", "max pooling"]))
def test_operations_are_those_that_xla_counts(form):
    function, *weights = FORMS[form]
    counted = cost(jax.make_jaxpr(function)(X, *weights), {})
    of_xla = jax.jit(function).lower(X, *weights).compile().cost_analysis()
    assert counted.flops == of_xla["flops"] > 0 and bool(counted.convolutions) == (form not in WITHOUT_WINDOWS)


def test_a_gradient_costs_twice_its_convolution():
    kernel = jnp.ones((3, 3, 6, 8))
    forward = cost(jax.make_jaxpr(ops.conv)(X, kernel), {}).flops
    gradients = jax.make_jaxpr(jax.vjp(ops.conv, X, kernel)[1])(jnp.ones((4, 7, 7, 8)))
    assert cost(gradients, {}).flops == pytest.approx(2 * forward, rel=0.01)
