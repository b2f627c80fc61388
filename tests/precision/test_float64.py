"""float64: real 64 bits, asked for once; an error where JAX would silently give 32."""

from __future__ import annotations

import jax
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, optimizers

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5)), RNG.normal(size=(24, 2))
START = [RNG.normal(size=shape) * 0.5 for shape in ((5, 7), (7,), (7, 2), (2,))]


def perceptron(k, **options):
    model = k.Sequential([k.Input((5,), dtype="float64"), k.layers.Dense(7, activation="tanh", **options), k.layers.Dense(2, **options)])
    model.set_weights(START)
    return model


def by_hand(steps, rate, momentum):
    """Weights and losses of gradient descent with momentum, in NumPy."""
    weights, speeds, losses = [w.copy() for w in START], [np.zeros_like(w) for w in START], []
    for _ in range(steps):
        w1, b1, w2, b2 = weights
        h = np.tanh(X @ w1 + b1)
        error = h @ w2 + b2 - Y
        losses.append((error**2).mean())
        g = 2 * error / error.size
        gh = (g @ w2.T) * (1 - h**2)
        gradients = [X.T @ gh, gh.sum(0), h.T @ g, g.sum(0)]
        speeds = [momentum * s - rate * gradient for s, gradient in zip(speeds, gradients, strict=True)]
        weights = [w + s for w, s in zip(weights, speeds, strict=True)]
    return weights, losses


def test_set_floatx_trains_in_64_bits_as_numpy_does():
    pellucid.config.set_floatx("float64")
    assert jax.config.jax_enable_x64
    model = perceptron(pellucid)
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    history = model.fit(X, Y, batch_size=24, epochs=20, shuffle=False, verbose=0).history
    weights, losses = by_hand(20, 0.1, 0.9)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    for a, b in zip(model.get_weights(), weights, strict=True):
        assert a.dtype == "float64"
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    w1, b1, w2, b2 = weights
    np.testing.assert_allclose(model.predict(X, verbose=0), np.tanh(X @ w1 + b1) @ w2 + b2, rtol=1e-10)


def test_a_numpy_type_is_known_by_its_own_name():
    assert [pellucid.backend.standardize_dtype(np.dtype(t)) for t in ("float64", "int64", "float32")] == ["float64", "int64", "float32"]
    assert [pellucid.backend.standardize_dtype(t) for t in (float, int)] == ["float32", "int32"]


@pytest.mark.parametrize("rule", ["Adam", "RMSprop", "Nadam"])
def test_rules_agree_with_keras_to_ten_digits(rule):
    pellucid.config.set_floatx("float64")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    w, gradients = RNG.normal(size=(3, 4)), RNG.normal(size=(6, 3, 4))
    results = []
    for k in (pellucid, keras):
        variable = k.Variable(w) if k is pellucid else keras.Variable(w, dtype="float64")
        optimizer = getattr(k.optimizers, rule)(k.optimizers.schedules.ExponentialDecay(0.05, 3, 0.7))
        for g in gradients:
            optimizer.apply([jax.numpy.asarray(g)], [variable])
        results.append(np.asarray(variable.value))
    assert results[0].dtype == results[1].dtype == "float64"
    np.testing.assert_allclose(*results, rtol=1e-10)


@pytest.mark.parametrize("how", ["policy", "dtype"])
def test_float64_layers_among_others(how):
    if how == "policy":
        pellucid.config.set_dtype_policy("float64")
        model = perceptron(pellucid)
    else:
        jax.config.update("jax_enable_x64", True)
        model = perceptron(pellucid, dtype="float64")
    pellucid.config.set_dtype_policy("float32")
    x = X.astype("float32")  # without set_floatx data are of 32 bits
    w1, b1, w2, b2 = START
    np.testing.assert_allclose(model.predict(x, verbose=0), np.tanh(x.astype("float64") @ w1 + b1) @ w2 + b2, rtol=1e-13)
    single = layers.Dense(3)
    assert single(np.ones((2, 5))).dtype == "float32" and single.kernel.dtype == "float32"


def test_a_float32_model_trains_the_same_once_64_bits_are_allowed():
    def trained():
        pellucid.utils.set_random_seed(3)
        model = pellucid.Sequential([layers.Dense(6, activation="relu"), layers.BatchNormalization(), layers.Dense(2)])
        model.compile("adam", "mse", metrics=["mae"])
        history = model.fit(X.astype("float32"), Y.astype("float32"), batch_size=10, epochs=2, shuffle=False, verbose=0).history
        return history, model.get_weights()

    (one, weights), _ = trained(), jax.config.update("jax_enable_x64", True)
    other, again = trained()
    assert {w.dtype.name for w in again} == {"float32"}
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5)
    for a, b in zip(weights, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "ask, name",
    [
        (lambda: layers.Dense(2, dtype="float64", name="wide"), "Dense 'wide'"),
        (lambda: layers.Dense(2, dtype=pellucid.DTypePolicy("float64"), name="wide"), "Dense 'wide'"),
        (lambda: setattr(layers.Dense(2, name="wide"), "dtype_policy", "float64"), "Dense 'wide'"),
        (lambda: pellucid.Variable(1.0, dtype="float64", name="w"), "Variable 'w'"),
        (lambda: layers.Layer().add_weight((2,), dtype="float64", name="w"), "Variable 'w'"),
    ],
)
def test_without_64_bits_float64_is_an_error_that_says_the_cure(ask, name):
    with pytest.raises(ValueError, match="dtype='float64'") as raised:
        ask()
    message = str(raised.value)
    assert message.startswith(name) and "set_floatx('float64')" in message and "jax_enable_x64" in message
    assert not jax.config.jax_enable_x64
