"""Layers as users write them for Keras and TensorFlow."""

import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
import pellucid as keras
from pellucid import ops as tf


class Linear(keras.layers.Layer):
    def __init__(self, units=32):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True)
        self.b = self.add_weight(shape=(self.units,), initializer="random_normal", trainable=True)


class WithOps(Linear):
    def call(self, inputs):
        return keras.ops.matmul(inputs, self.w) + self.b


class WithJaxNumpy(Linear):
    def call(self, inputs):
        return jnp.add(jnp.matmul(inputs, self.w), self.b)


class WithOperators(Linear):
    def call(self, inputs):
        return inputs @ self.w + self.b


class WithEinsum(Linear):
    def call(self, inputs):
        return jnp.einsum("bi,io->bo", inputs, self.w) + self.b[None, :]


class AsInTensorFlow(Linear):
    def call(self, inputs):
        tf.print("rows:", tf.shape(inputs)[0])
        return tf.matmul(inputs, self.w) + self.b


VARIANTS = [WithOps, WithJaxNumpy, WithOperators, WithEinsum, AsInTensorFlow]


class Stack(keras.Model):
    def __init__(self, kind):
        super().__init__()
        self.linear_1, self.linear_2 = kind(4), kind(1)

    def call(self, inputs):
        return self.linear_2(tf.relu(self.linear_1(inputs)))


def data():
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    return x, x[:, :1] * x[:, 1:2]


def by_hand(x, y, weights, rate, batches):
    """Gradient descent on the mean squared error of two layers, written out in NumPy."""
    w1, b1, w2, b2 = (w.astype("float64") for w in weights)
    for batch in np.split(np.arange(len(x)), batches):
        xs, ys = x[batch], y[batch]
        before = xs @ w1 + b1
        hidden = np.maximum(before, 0)
        slope = 2 * (hidden @ w2 + b2 - ys) / len(batch)
        slope_hidden = slope @ w2.T * (before > 0)
        w1, b1, w2, b2 = (
            w1 - rate * xs.T @ slope_hidden,
            b1 - rate * slope_hidden.sum(0),
            w2 - rate * hidden.T @ slope,
            b2 - rate * slope.sum(0),
        )
    return w1, b1, w2, b2


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_users_linear_layer_trains_as_written_by_hand(kind, capsys):
    x, y = data()
    model = Stack(kind)
    model.build((None, 3))
    expected = by_hand(x, y, model.get_weights(), 0.1, 3)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-4, atol=1e-5)
    assert model.ledger.call_count == 1
    assert capsys.readouterr().out.splitlines() == (["rows: 8"] * 6 if kind is AsInTensorFlow else [])


def test_a_layer_called_on_data_makes_its_weights_and_computes():
    layer = WithOps(4)
    y = layer(np.ones((2, 2), "float32"))
    assert [w.shape for w in layer.weights] == [(2, 4), (4,)] and layer.trainable_weights == layer.weights
    np.testing.assert_allclose(y, layer.w.numpy().sum(0)[None] + layer.b.numpy() + np.zeros((2, 1)), rtol=1e-6)
    assert 0.01 < layer.w.numpy().std() < 0.2  # random_normal: standard deviation 0.05


def test_weights_in_lists_and_dicts_are_trained():
    class Listed(keras.layers.Layer):
        def build(self, input_shape):
            self.scales = [self.add_weight(shape=(1,), initializer="ones") for _ in range(2)]
            self.shifts = {"a": self.add_weight(shape=(1,), initializer="zeros")}

        def call(self, inputs):
            return inputs * self.scales[0] * self.scales[1] + self.shifts["a"]

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = Listed()

        def call(self, inputs):
            return self.layer(inputs)

    model = Model()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.fit(np.ones((4, 1), "float32"), np.zeros((4, 1), "float32"), verbose=0)
    np.testing.assert_allclose(np.ravel(model.get_weights()), [0.8, 0.8, -0.2], rtol=1e-6)


def test_a_variable_made_in_init_is_trained():
    class Shift(keras.Model):
        def __init__(self):
            super().__init__()
            self.shift = pellucid.Variable(1.0)

        def call(self, inputs):
            return inputs + self.shift

    model = Shift()
    model.compile(optimizer=keras.optimizers.SGD(0.25), loss="mse")
    model.fit(np.zeros((4, 1), "float32"), np.zeros((4, 1), "float32"), verbose=0)
    assert float(model.shift) == 0.5


def test_add_loss_is_minimised_with_the_loss():
    class Decaying(keras.Model):
        def __init__(self):
            super().__init__()
            self.w = pellucid.Variable([2.0])

        def call(self, inputs):
            self.add_loss(0.5 * tf.sum(self.w * self.w))
            return inputs * self.w

    model = Decaying()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    history = model.fit(np.zeros((3, 1), "float32"), np.zeros((3, 1), "float32"), batch_size=2, verbose=0).history
    np.testing.assert_allclose(model.w.numpy(), 2 * 0.9**2, rtol=1e-6)
    np.testing.assert_allclose(history["loss"], (2 * 2.0 + 1 * 0.5 * 1.8**2) / 3, rtol=1e-6)


# ---- build ----


class BuildsOnTop(keras.layers.Layer):
    """A nested layer, weights of its own in build, and the call of super().build that Keras code has."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(2)

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(1,), initializer="ones")
        super().build(input_shape)

    def call(self, inputs):
        return self.inner(inputs) * self.scale


class ModelThatBuildsOnTop(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(2)

    def build(self, input_shape):
        super().build(input_shape)
        self.scale = self.add_weight(shape=(1,), initializer="ones")

    def call(self, inputs):
        return self.inner(inputs) * self.scale


USES = {
    "call": lambda made, x: made(x),
    "build": lambda made, x: (made.build((None, 3)), made(x))[1],
    "predict": lambda made, x: made.predict(x, verbose=0),
}


@pytest.mark.parametrize("way", ["call", "build"])
def test_build_of_a_layer_may_call_that_of_its_base_class(way):
    x, _ = data()
    layer = BuildsOnTop()
    y = USES[way](layer, x)
    assert [w.path.split("/")[-1] for w in layer.weights] == ["scale", "kernel", "bias"]
    np.testing.assert_allclose(y, x @ layer.inner.kernel.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", USES)
def test_build_of_a_model_may_call_that_of_its_base_class(way):
    x, _ = data()
    model = ModelThatBuildsOnTop()
    y = USES[way](model, x)
    assert [w.path.split("/")[-1] for w in model.weights] == ["scale", "kernel", "bias"]
    np.testing.assert_allclose(y, x @ model.inner.kernel.numpy(), rtol=1e-5, atol=1e-6)


def test_build_of_a_model_makes_all_weights_before_any_data():
    model = ModelThatBuildsOnTop()
    model.build((None, 3))
    assert [w.shape for w in model.weights] == [(1,), (3, 2), (2,)]


def test_a_build_that_fails_leaves_no_weights_and_may_be_tried_again():
    class Failing(keras.layers.Layer):
        fails = True

        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones")
            if self.fails:
                raise RuntimeError("not yet")

        def call(self, inputs):
            return inputs * self.w

    layer = Failing()
    with pytest.raises(RuntimeError, match="not yet"):
        layer(np.ones((2, 3), "float32"))
    assert layer.weights == [] and not layer.built and not hasattr(layer, "w")
    layer.fails = False
    assert layer(np.ones((2, 3), "float32")).shape == (2, 3) and len(layer.weights) == 1


def test_a_users_attribute_may_have_the_name_of_what_compile_and_fit_leave():
    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.history, self.loss, self.optimizer = [], "mine", None
            self.out = pellucid.layers.Dense(1)

        def call(self, x):
            return self.out(x)

    net = Net()
    net.compile(optimizer="sgd", loss="mse")
    history = net.fit(np.ones((8, 3)), np.ones((8, 1)), verbose=0)
    assert len(history.history["loss"]) == 1 and (net.history, net.loss) == ([], "mine")
