"""Activations: values and gradients as in Keras, at kinks too."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from pellucid import activations
from pellucid.core import registry

# Kinks of all of them are among these.
POINTS = jnp.array([[-7.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0], [6.0, 2.0, -2.0, 0.1, 8.0, 0.3, -0.1, 1.0]])
CASES = [(name, {}) for name in sorted(keras.src.activations.ALL_OBJECTS_DICT) if name != "threshold"] + [
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 6.0}),
    ("relu", {"max_value": 2.0}),
    ("relu", {"threshold": 0.5}),
    ("relu", {"negative_slope": 0.1, "max_value": 2.0, "threshold": 0.5}),
    ("relu", {"negative_slope": 0.1, "max_value": 6.0}),
    ("threshold", {"threshold": 0.5, "default_value": -1.0}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {"alpha": 0.5}),
    ("celu", {"alpha": 0.5}),
    ("gelu", {"approximate": True}),
    ("softmax", {"axis": 0}),
    ("log_softmax", {"axis": 0}),
    ("glu", {"axis": 0}),
    ("squareplus", {"b": 2}),
    ("soft_shrink", {"threshold": 1.0}),
    ("hard_shrink", {"threshold": 1.0}),
]


@pytest.mark.parametrize("name, options", CASES)
def test_values_and_gradients_are_those_of_keras(name, options):
    weights = jnp.cos(jnp.arange(POINTS.size)).reshape(POINTS.shape)

    def both(function, x):
        y, back = jax.vjp(lambda x: function(x, **options), x)
        return y, back(weights[tuple(slice(n) for n in y.shape)])[0]

    functions = activations.get(name), keras.activations.get(name)
    ours, theirs = jax.jit(lambda x: [both(function, x) for function in functions])(POINTS)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(registry.activations.entries) - {"threshold"}))
def test_lists_and_half_precision_are_taken(name):
    function = activations.get(name)
    if name != "linear":
        assert jax.eval_shape(lambda: function([[-1.0, 2.0]])).dtype == "float32"
    assert jax.eval_shape(function, POINTS.astype("bfloat16")).dtype == "bfloat16"


def test_sparsemax_sums_to_one_along_any_axis():
    np.testing.assert_allclose(activations.sparsemax(POINTS, axis=0).sum(0), 1, rtol=1e-6)  # Keras: 0.9 in one column


def test_get_and_serialize():
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.swish is activations.silu
    assert activations.get(jnp.tanh) is jnp.tanh
    assert activations.serialize(activations.silu) == "silu"
    assert activations.deserialize({"class_name": "function", "config": "relu"}) is activations.relu
    for name, function in registry.activations.entries.items():
        assert activations.get(name) is function
    with pytest.raises(ValueError, match="There is no activation 'rleu'. Did you mean 'relu'"):
        activations.get("rleu")
    assert activations.deserialize(activations.serialize(jnp.tanh)) is jnp.tanh
    with pytest.raises(TypeError, match="cannot be written as plain data"):
        activations.serialize(object())
