"""Regularizers: Keras's maths and configs; the loss that is minimised and reported has them, however a step comes about."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers, optimizers, regularizers
from tests.training.twins import random_data, twins, weights_of

X, Y = random_data(3, (42, 4), (42, 2))
ALL = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L2", {"l2": 0.2}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]


@pytest.mark.parametrize("name, options", ALL)
def test_a_regularizer_computes_and_tells_what_that_of_keras_does(name, options):
    import keras

    ours, theirs = getattr(regularizers, name)(**options), getattr(keras.regularizers, name)(**options)
    w = random_data(1, (5, 3))[0]
    w[0] = 0.0
    w = jnp.asarray(w)
    np.testing.assert_allclose(ours(w), theirs(w), rtol=1e-5)
    assert ours(jnp.bfloat16(w)).dtype == theirs(jnp.bfloat16(w)).dtype or name == "OrthogonalRegularizer"
    assert ours.get_config() == pytest.approx(theirs.get_config())
    ours_written, theirs_written = regularizers.serialize(ours), keras.regularizers.serialize(theirs)
    assert regularizers.deserialize(theirs_written).get_config() == pytest.approx(ours.get_config())
    assert keras.regularizers.deserialize(ours_written).get_config() == pytest.approx(theirs.get_config())


def test_regularizers_by_name_class_and_function():
    import keras

    for name in ("l1", "l2", "l1l2", "orthogonal_regularizer", "L1L2"):
        assert type(regularizers.get(name)).__name__ == type(keras.regularizers.get(name)).__name__
    assert regularizers.get(regularizers.l2).l2 == 0.01 and regularizers.get(None) is None and regularizers.get(abs) is abs
    with pytest.raises(ValueError, match="There is no regularizer 'l3'. Did you mean"):
        regularizers.get("l3")


@pytest.mark.parametrize("make", [lambda: regularizers.L1(-1.0), lambda: regularizers.L2("x"), lambda: regularizers.L1L2(l2=float("inf"))])
def test_a_factor_that_is_none_is_named(make):
    with pytest.raises(ValueError, match=r"L\w+: l\d=.*; expected a number of at least zero."):
        make()


def test_what_no_regularizer_can_take_is_named():
    with pytest.raises(ValueError, match="OrthogonalRegularizer: mode='diagonal'; expected 'rows' or 'columns'."):
        regularizers.OrthogonalRegularizer(mode="diagonal")
    with pytest.raises(pellucid.ShapeError, match=r"OrthogonalRegularizer got an array of shape \(3,\); expected a matrix."):
        regularizers.OrthogonalRegularizer()(np.ones(3, "float32"))
    w = pellucid.Variable([1.0, 2.0])
    with pytest.raises(TypeError, match="regularizer=3; expected a function of the value, or None"):
        w.regularizer = 3
    layer = layers.Dense(2, kernel_regularizer=jnp.abs)
    layer.build((None, 3))
    with pytest.raises(pellucid.ShapeError, match=r"its regularizer .* gave a value of shape \(3, 2\); expected one number: sum it."):
        layer.losses  # noqa: B018


def regularized(k, activity=None):
    class Regularized(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden = k.layers.Dense(5, activation="tanh", kernel_regularizer=k.regularizers.L2(0.1), bias_regularizer="l1")
            self.scale = None
            self.out = k.layers.Dense(2, kernel_regularizer=k.regularizers.L1L2(0.02, 0.03), activity_regularizer=activity)

        def build(self, input_shape):
            self.scale = self.add_weight(shape=(5,), initializer="ones", name="scale", regularizer="l2")

        def call(self, x):
            return self.out(self.hidden(x) * self.scale)

    return Regularized()


def own(cls):
    """A model of the same kind whose step is the user's own."""

    class Own(cls):
        def train_step(self, data):
            x, y = data
            weights = self.trainable_variables
            loss, grads = pellucid.value_and_grad(lambda: self.compute_loss(x, y, self(x, training=True)), weights)()
            self.optimizer.apply(grads, weights)
            self._update_loss(loss, x)
            return {"loss": self.metrics[0].result()}

    return Own


OPTIONS = {"batch_size": 10, "epochs": 4, "shuffle": False, "verbose": 0}


@pytest.mark.parametrize(
    "how, activity",
    [
        ("compiled", "l2"),
        ("eagerly", "l2"),
        ("own step", "l2"),
        *(pytest.param(how, None, marks=pytest.mark.slow) for how in ("compiled", "eagerly", "own step")),
    ],
)
def test_losses_of_training_and_evaluation_are_those_of_keras(activity, how):
    ours, theirs = twins(regularized, X, activity=activity)
    if how == "own step":
        ours.__class__ = own(type(ours))
    ours.compile(optimizers.SGD(0.1), "mse", run_eagerly=how == "eagerly")
    theirs.compile("sgd", "mse")
    theirs.optimizer.learning_rate = 0.1
    epochs = OPTIONS | {"epochs": 1 if how == "eagerly" else 3}
    history = [m.fit(X, Y, validation_data=(X[:7], Y[:7]), **epochs).history for m in (ours, theirs)]
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(history[0][key], history[1][key], rtol=1e-5)
    for mine, other in zip(weights_of(ours), weights_of(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
    evaluated = [m.evaluate(X, Y, batch_size=10, verbose=0) for m in (ours, theirs)]
    np.testing.assert_allclose(*evaluated, rtol=1e-5)
    if how == "compiled":
        assert ours.ledger.call_count == 1


def test_the_losses_of_a_layer_are_those_of_keras():
    ours, theirs = twins(regularized, X, activity="l1")
    for freeze in (False, True):
        for model in (ours, theirs):
            model.hidden.trainable = not freeze
            model(X)
        assert len(ours.losses) == len(theirs.losses) == (3 if freeze else 5)
        np.testing.assert_allclose(ours.losses, [float(loss) for loss in theirs.losses], rtol=1e-5)
        values = [[v.value for v in m.trainable_variables] for m in (ours, theirs)]
        others = [[v.value for v in m.non_trainable_variables] for m in (ours, theirs)]
        calls = [
            m.stateless_call([2 * v for v in t], n, X, return_losses=True)[2]
            for m, t, n in zip((ours, theirs), values, others, strict=True)
        ]
        np.testing.assert_allclose(calls[0], [float(loss) for loss in calls[1]], rtol=1e-5)


@pytest.mark.parametrize("output", [3.0, np.ones((2, 3), "float32"), np.ones((0, 3), "float32")])
def test_the_penalty_on_outputs_is_divided_by_the_rows(output):
    import keras

    pair = [k.layers.ActivityRegularization(l1=0.5, l2=0.25) for k in (pellucid, keras)]
    for layer in pair:
        layer(jnp.asarray(output))
    np.testing.assert_allclose(*(layer.losses[0] for layer in pair))


def test_a_model_of_regularized_weights_still_fills_up_its_last_batch():
    model = regularized(pellucid)
    model.compile("sgd", "mse")
    model.fit(X, Y, **OPTIONS)
    assert len([p for p in model.ledger.programs if p.purpose == "train"]) == 1
    assert model.graph.coupling(True) is None
    coupled = regularized(pellucid, "l2")
    coupled.capture(X)
    assert "add_loss" in str(coupled.graph.coupling(True))


def test_regularizers_alone_are_something_to_minimise():
    model = regularized(pellucid)
    model.compile("sgd")
    losses = model.fit(X, Y, **OPTIONS).history["loss"]
    assert losses == sorted(losses, reverse=True)
    np.testing.assert_allclose(model.evaluate(X, verbose=0), float(sum(model.losses)), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [lambda cls: cls, own])
def test_another_regularizer_or_another_factor_counts_from_the_next_step(kind):
    model = regularized(pellucid, regularizers.L2(1.0))
    model.__class__ = kind(type(model))
    model.compile(optimizers.SGD(0.0), "mse")

    def told():
        (fitted,) = model.fit(X, Y, batch_size=42, verbose=0).history["loss"]
        np.testing.assert_allclose(fitted, model.evaluate(X, Y, verbose=0), rtol=1e-6)
        outputs = model(X)
        np.testing.assert_allclose(fitted, ((outputs - Y) ** 2).mean() + sum(model.losses), rtol=1e-6)
        return fitted

    seen = [told()]
    for change in (
        lambda: vars(model.hidden.kernel.regularizer).update(l2=0.5),
        lambda: setattr(model.hidden.kernel, "regularizer", regularizers.L1(0.5)),
        lambda: setattr(model.hidden.kernel, "regularizer", lambda w: 3 * jnp.max(w)),
        lambda: vars(model.out.activity_regularizer).update(l2=0.5),
        lambda: setattr(model.hidden, "activity_regularizer", regularizers.L1(0.5)),
        lambda: setattr(model.hidden, "trainable", False),
    ):
        change()
        seen.append(told())
    assert len(set(seen)) == len(seen)


def test_functionalized_and_eager_steps_have_the_same_loss():
    model = regularized(pellucid)
    model.capture(X)
    model.compile("sgd", "mse")
    pure = pellucid.functionalize(model)
    (loss, _), grads = jax.value_and_grad(pure.loss, has_aux=True)(pure.params, pure.state, X, Y)
    np.testing.assert_allclose(loss, model.evaluate(X, Y, batch_size=42, verbose=0), rtol=1e-6)
    bias = next(g for path, g in grads.items() if path.endswith("scale"))
    without = jax.grad(lambda p: jnp.mean((pure(p, pure.state, X)[0] - Y) ** 2))(pure.params)
    np.testing.assert_allclose(bias, next(g for p, g in without.items() if p.endswith("scale")) + 0.02, rtol=1e-5)


def test_a_layer_of_ones_own_takes_an_activity_regularizer_and_writes_it():
    class Twice(layers.Layer):
        def call(self, x):
            return 2 * x

    layer = Twice(activity_regularizer="l1")
    layer(np.ones((2, 3), "float32"))
    assert [float(loss) for loss in layer.losses] == [pytest.approx(0.06)]
    assert Twice.from_config(layer.get_config()).activity_regularizer.l1 == 0.01
    assert "activity_regularizer" not in Twice().get_config()


def test_penalties_on_outputs_of_half_precision_are_sums_in_single_precision():
    layer = pellucid.layers.Identity(activity_regularizer=pellucid.regularizers.L2(1.0), dtype="float16")
    layer(np.full((2, 1000), 100, "float16"))
    assert [float(loss) for loss in layer.losses] == [1e7]
