"""Inner values: `activations` and `submodel` give what a model computes on the way, with its own weights."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops
from tests.training.twins import random_data


class Block(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.dense, self.norm = layers.Dense(units, activation="relu"), layers.BatchNormalization()

    def call(self, x, training=None):
        return self.norm(self.dense(x), training=training) + 1


class Net(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = Block(4), Block(5), layers.Dense(1)
        self.scale = 2.0

    def call(self, x, training=None):
        h = jnp.tanh(self.first(x)) * self.scale
        return self.out(self.second(h))


def built():
    model = Net()
    model.build((None, 3))
    return model, *random_data(0, (50, 3), (50, 4))


def by_hand(model, x):
    """The values of the model, computed by NumPy."""
    first = np.maximum(x @ model.first.dense.kernel.numpy() + model.first.dense.bias.numpy(), 0)
    norm = model.first.norm
    variance = norm.moving_variance.numpy() + norm.epsilon
    normed = (first - norm.moving_mean.numpy()) / np.sqrt(variance) * norm.gamma.numpy() + norm.beta.numpy()
    return {"first/dense": first, "first/norm": normed, "first": normed + 1, "tanh": np.tanh(normed + 1)}


def test_activations_are_what_numpy_computes():
    model, x, _ = built()
    for path, expected in by_hand(model, x).items():
        np.testing.assert_allclose(model.activations(x, path), expected, atol=1e-5, err_msg=path)
        np.testing.assert_allclose(model.activations(x, path, batch_size=16), expected, atol=1e-5, err_msg=path)


def test_activations_of_everything_at_the_models_own_level():
    model = Net()
    x, _ = random_data(0, (7, 3), (7, 1))
    found = model.activations(x)
    assert list(found) == ["first", "tanh", "multiply", "second", "out"]
    np.testing.assert_array_equal(found["out"], model.predict(x, verbose=0))
    assert [run.caller for run in model.ledger] == ["activations"]  # `call` ran once, and built the model


def test_asking_for_the_same_activations_again_compiles_nothing():
    model, x, _ = built()
    first, second = (model.activations(x, "tanh") for _ in range(2))
    np.testing.assert_array_equal(first, second)
    (part,) = model._machine.parts.values()
    assert len(part.ledger.programs) == 1 and part.ledger.call_count == 1


def test_a_submodel_trains_only_the_weights_that_it_uses():
    model, x, y = built()
    part = model.submodel(["tanh"])
    assert [w.path for w in part.trainable_weights] == ["first/dense/kernel", "first/dense/bias", "first/norm/gamma", "first/norm/beta"]
    before = {w.path: w.numpy() for w in model.weights}
    part.compile(optimizer=pellucid.optimizers.AdamW(0.01, weight_decay=0.1), loss="mse")
    losses = part.fit(x, y, epochs=3, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    changed = {w.path for w in model.weights if not np.array_equal(w.numpy(), before[w.path])}
    assert changed == {w.path for w in model.weights if w.path.startswith("first/")}  # moving statistics, too
    np.testing.assert_allclose(part.predict(x, verbose=0), by_hand(model, x)["tanh"], atol=1e-5)
    assert model.ledger.call_count == 1


def test_the_structure_of_the_outputs_is_kept():
    model, x, _ = built()
    pair = model.submodel({"a": "first/dense", "b": ["tanh", "input"]}).predict(x, verbose=0)
    assert {k: np.shape(v) if k == "a" else [np.shape(b) for b in v] for k, v in pair.items()} == {"a": (50, 4), "b": [(50, 4), (50, 3)]}


def test_a_submodel_is_a_layer_of_another_model():
    model, x, y = built()

    class Outer(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = model.submodel("multiply"), layers.Dense(2)

        def call(self, x):
            return self.head(self.encoder(jnp.concatenate([x, x]))[: x.shape[0]])  # at another, symbolic, batch size

    outer = Outer()
    outer.compile(optimizer="sgd", loss="mse")
    outer.fit(x, y[:, :2], batch_size=16, verbose=0)
    expected = by_hand(model, x)["tanh"] * 2 @ outer.head.kernel.numpy() + outer.head.bias.numpy()
    np.testing.assert_allclose(outer.predict(x, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(outer(x), expected, atol=1e-5)
    assert [n.path for n in outer.graph.calls] == [
        *("encoder", "encoder/first", "encoder/first/dense", "encoder/first/norm", "head"),
    ]
    assert outer.graph["encoder/first/norm"].connected_to == ["encoder/first/dense"]
    runs = outer.ledger.call_count
    model.scale = 3.0  # read by the model that was cut, so the outer graph depends on it, too
    expected = by_hand(model, x)["tanh"] * 3 @ outer.head.kernel.numpy() + outer.head.bias.numpy()
    np.testing.assert_allclose(outer.predict(x, verbose=0), expected, atol=1e-5)
    assert outer.ledger.call_count == runs + 1 and "scale" in outer.ledger[-1].sentence


def test_dropout_inside_a_submodel_follows_the_mode():
    class Drops(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.drop, self.out = layers.Dropout(0.5), layers.Dense(1)

        def call(self, x, training=None):
            return self.out(self.drop(x, training=training))

    model = Drops()
    model.build((None, 64))
    part = model.submodel("drop")
    x = jnp.ones((8, 64))
    np.testing.assert_array_equal(part(x), x)
    draws = [np.asarray(part(x, training=True)) for _ in range(2)]
    assert set(np.unique(draws)) == {0.0, 2.0} and not np.array_equal(*draws)


class Looping(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.cell = layers.Dense(3)

    def call(self, x):
        return ops.fori_loop(0, 2, lambda i, c: self.cell(c), x)


def test_what_cannot_be_given_is_refused():
    model, _, _ = built()
    with pytest.raises(KeyError, match=r"no node 'third'.*first/dense"):
        model.submodel("third")
    with pytest.raises(ValueError, match=r"submodel: outputs=7; expected the path of a node"):
        model.submodel(7)
    with pytest.raises(ValueError, match=r"was not captured yet.*model\.build"):
        Net().submodel("first")
    looping = Looping()
    looping.build((None, 3))
    with pytest.raises(ValueError, match=r"'cell' does not leave the loop"):
        looping.submodel("cell")


def test_activations_are_those_of_the_graph_that_serves_the_inputs():
    class Branching(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = layers.Dense(4), layers.Dense(1)

        def call(self, x, training=None):
            h = self.hidden(x)
            if training:
                h = pellucid.ops.tanh(h)
            return self.out(h)

    x = np.ones((8, 3), "float32")
    model = Branching()
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], verbose=0)
    values = model.activations(x)
    assert list(values) == ["hidden", "out"]
    np.testing.assert_allclose(values["hidden"], model.hidden(x), rtol=1e-6)

    class Steps(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.cell = layers.Dense(2)

        def call(self, x):
            h = 0.0
            for t in range(x.shape[1]):
                h = self.cell(x[:, t]) + h
            return h

    model = Steps()
    for steps in (6, 4, 6):
        x = np.ones((5, steps, 3), "float32")
        model.predict(x, verbose=0)
        assert sum(path.startswith("cell") for path in model.activations(x)) == steps


def test_activations_keep_a_program_for_each_graph_and_follow_what_changes():
    class Scaled(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.scale = 2.0

        def call(self, x):
            return (x * self.scale).sum(axis=-1, keepdims=True)

    model = Scaled()
    few, many = np.ones((5, 3), "float32"), np.ones((5, 4), "float32")
    for x in (few, many, few, many):
        assert model.activations(x, "multiply").shape == x.shape
    parts = list(model._machine.parts.values())
    assert [len(part.ledger.programs) for part in parts] == [1, 1]  # asked again, nothing is compiled
    assert model.ledger.call_count == 2
    model.scale = 3.0
    assert model.activations(few, "multiply").max() == 3 and model.activations(many, "multiply").max() == 3
    assert len(model._machine.parts) == 2 and not set(parts) & set(model._machine.parts.values())  # the old ones are gone


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_a_capture_takes_the_types_that_fit_converts_to(dtype):
    model = pellucid.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse", max_captures=1)
    x = np.ones((8, 3), dtype)
    model.capture(x)
    model.fit(x, x[:, :1], verbose=0)
    assert model.ledger.call_count == 1
