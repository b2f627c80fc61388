"""Constraints: Keras's maths and configs; applied after each update, however it comes about."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import constraints, layers, ops, optimizers
from tests.cases import some_slow
from tests.training.twins import random_data, twins, weights_of

X, Y = random_data(3, (40, 4), (40, 2))
ALL = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 0.7, "axis": [0, 1]}),
    ("NonNeg", {}),
    ("UnitNorm", {"axis": 1}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 0.9}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 0.9, "rate": 0.3, "axis": [-1]}),
]


@pytest.mark.parametrize("name, options", ALL)
def test_a_constraint_computes_and_tells_what_that_of_keras_does(name, options):
    import keras

    ours, theirs = getattr(constraints, name)(**options), getattr(keras.constraints, name)(**options)
    w = 2 * random_data(1, (5, 3))[0]
    w[:, 1] = 0.0  # a norm of zero is no division by zero
    np.testing.assert_allclose(ours(w), theirs(w), rtol=1e-6)
    assert ours.get_config() == theirs.get_config()
    ours_written, theirs_written = constraints.serialize(ours), keras.constraints.serialize(theirs)
    assert repr(constraints.deserialize(theirs_written)) == repr(ours)
    assert keras.constraints.deserialize(ours_written).get_config() == theirs.get_config()


def test_constraints_by_name_class_and_function():
    assert isinstance(constraints.get("non_neg"), constraints.NonNeg) and constraints.get(None) is None
    assert constraints.get(constraints.UnitNorm).axis == 0
    assert constraints.get(abs) is abs
    with pytest.raises(ValueError, match="There is no constraint 'non_negg'. Did you mean"):
        constraints.get("non_negg")


def constrained(k, constraint="max_norm", axis=0):
    make = {
        "max_norm": lambda: k.constraints.MaxNorm(0.8),
        "min_max": lambda: k.constraints.MinMaxNorm(0.3, 0.6, rate=0.4),
        "unit": lambda: k.constraints.UnitNorm(),
        "non_neg": lambda: "non_neg",
    }[constraint]

    class Constrained(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden = k.layers.Dense(5, activation="tanh", kernel_constraint=make(), bias_constraint="non_neg")
            self.norm = k.layers.BatchNormalization(gamma_constraint="non_neg", beta_constraint="non_neg")
            self.scale = None
            self.out = k.layers.Dense(2, kernel_constraint=make())

        def build(self, input_shape):
            self.scale = self.add_weight(shape=(5,), initializer="ones", name="scale", constraint="non_neg")

        def call(self, x, training=None):
            return self.out(self.norm(self.hidden(x), training=training) * self.scale)

    return Constrained()


@pytest.mark.parametrize("constraint", some_slow(["max_norm", "min_max", "unit", "non_neg"], ["max_norm"]))
def test_training_with_constraints_gives_the_numbers_of_keras_over_20_steps(constraint):
    ours, theirs = twins(constrained, X, constraint=constraint)
    for model, k in ((ours, pellucid), (theirs, __import__("keras"))):
        model.compile(k.optimizers.SGD(0.3), "mse")
    options = {"batch_size": 10, "epochs": 5, "shuffle": False, "verbose": 0}
    np.testing.assert_allclose(ours.fit(X, Y, **options).history["loss"], theirs.fit(X, Y, **options).history["loss"], rtol=1e-5)
    for mine, other in zip(weights_of(ours), weights_of(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
    assert ours.ledger.call_count == 1
    assert (ours.scale.numpy() >= 0).all()


class Line(pellucid.Model):
    def __init__(self, constraint=None):
        super().__init__()
        self.out = layers.Dense(2, use_bias=False, kernel_constraint=constraint, kernel_initializer="ones")

    def call(self, x):
        return self.out(x)


class Stepping(Line):
    def train_step(self, data):
        x, y = data
        loss, grads = pellucid.value_and_grad(lambda: ops.mean(ops.square(self(x) - y)), self.trainable_variables)()
        self.optimizer.apply(grads, self.trainable_variables)
        return {"loss": loss}


def fitted(model, optimizer=None, **options):
    model.compile(optimizers.SGD(0.2) if optimizer is None else optimizer, "mse", **options)
    model.fit(X, Y, batch_size=10, epochs=2, shuffle=False, verbose=0)
    return model.out.kernel.numpy()


@pytest.mark.parametrize("make", [Line, Stepping])
def test_compiled_eager_and_own_steps_constrain_alike(make):
    reference = fitted(Line(constraints.MaxNorm(0.5)))
    assert (np.linalg.norm(reference, axis=0) <= 0.5 + 1e-6).all() and not np.allclose(reference, fitted(Line()))
    for eagerly in (False, True):
        np.testing.assert_allclose(fitted(make(constraints.MaxNorm(0.5)), run_eagerly=eagerly), reference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [Line, Stepping])
def test_another_constraint_or_another_bound_counts_from_the_next_step(make):
    model = make(constraints.MinMaxNorm(0.5, 0.5))
    fitted(model)
    runs = len(model.ledger)
    for change, largest in (
        (lambda: vars(model.out.kernel.constraint).update(min_value=0.25, max_value=0.25), 0.25),
        (lambda: setattr(model.out.kernel, "constraint", constraints.UnitNorm()), 1.0),
        (lambda: setattr(model.out.kernel, "constraint", lambda w: 0.125 * w / jnp.linalg.norm(w, axis=0)), 0.125),
    ):
        change()
        model.fit(X, Y, batch_size=10, verbose=0)
        np.testing.assert_allclose(np.linalg.norm(model.out.kernel.numpy(), axis=0), largest, rtol=1e-5)
    model.out.kernel.constraint = None
    model.fit(X, Y, batch_size=10, verbose=0)
    assert (abs(np.linalg.norm(model.out.kernel.numpy(), axis=0) - 0.125) > 1e-3).all()
    assert model.ledger.call_count == 1 and (make is Stepping or len(model.ledger) == runs)


def test_gradients_that_are_gathered_are_constrained_when_they_are_applied():
    calls = []

    def halved(w):
        calls.append(w)
        return w / 2

    w = pellucid.Variable([8.0])
    w.constraint = halved
    optimizer = optimizers.SGD(0.0, gradient_accumulation_steps=2)
    for expected in (8.0, 4.0, 4.0):
        optimizer.apply([np.zeros(1, "float32")], [w])
        assert float(w) == expected
    optimizer.flush([w])
    assert float(w) == 2.0


def test_the_flush_at_the_end_of_an_epoch_constrains_with_the_present_constraint():
    model = Line(constraints.MaxNorm(0.5))
    model.build((None, 4))
    model.compile(optimizers.SGD(0.2, gradient_accumulation_steps=3), "mse")
    for largest in (0.5, 0.25):
        model.out.kernel.constraint.max_value = largest
        model.fit(X, Y, batch_size=10, verbose=0)
        norms = np.linalg.norm(model.out.kernel.numpy(), axis=0)
        assert (norms <= largest + 1e-6).all()


def test_averages_of_constrained_weights_are_constrained():
    model = Line("unit_norm")
    fitted(model, optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5))
    np.testing.assert_allclose(np.linalg.norm(model.out.kernel.numpy(), axis=0), 1.0, rtol=1e-5)
    model = Line("unit_norm")
    fitted(model, optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=1))
    np.testing.assert_allclose(np.linalg.norm(model.out.kernel.numpy(), axis=0), 1.0, rtol=1e-5)


def test_frozen_weights_are_not_constrained():
    model = Line("unit_norm")
    model.build((None, 4))
    model.out.trainable = False
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.out.kernel.numpy(), np.ones((4, 2)))


def test_a_constraint_of_another_shape_changes_nothing():
    w, v = pellucid.Variable([1.0, 2.0], name="w"), pellucid.Variable([1.0], name="v")
    w.constraint = jnp.sum
    with pytest.raises(pellucid.ShapeError, match=r"Variable 'w': its constraint .*sum.* gave a value of shape \(\); expected \(2,\)"):
        optimizers.SGD(0.5, momentum=0.5).apply([np.ones(1, "float32"), np.ones(2, "float32")], [v, w])
    assert v.numpy().tolist() == [1.0] and w.numpy().tolist() == [1.0, 2.0]


def test_a_constraint_is_a_function():
    with pytest.raises(TypeError, match="Variable 'w': constraint=3; expected a function of the value, or None"):
        pellucid.Variable([1.0], name="w").constraint = 3


def test_layers_with_constraints_have_configs_that_both_libraries_read():
    import keras

    ours = layers.Dense(3, kernel_constraint=constraints.MaxNorm(1.5), bias_constraint="non_neg")
    again = layers.Dense.from_config(ours.get_config())
    assert repr(again.kernel_constraint) == "MaxNorm(max_value=1.5, axis=0)" and isinstance(again.bias_constraint, constraints.NonNeg)
    theirs = keras.layers.Dense.from_config(ours.get_config())
    assert theirs.kernel_constraint.max_value == 1.5
    assert repr(layers.Dense.from_config(theirs.get_config()).kernel_constraint) == repr(ours.kernel_constraint)
