"""Dynamic loss scaling: step by step as in Keras, and without harm where a step is left out."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, optimizers
from pellucid.optimizers import SGD, Adam, LossScaleOptimizer
from tests.precision.helpers import CLASSES, classifier, data

BAD = 5  # the step whose data overflow


def step_by_step(k, policy="mixed_float16", steps=10, **options):
    """(scale, good steps in a row, iterations, weights) after each step, one of them with an overflow."""
    x, y = data()
    model = classifier(k, policy)
    optimizer = k.optimizers.LossScaleOptimizer(k.optimizers.Adam(0.01), **options)
    model.compile(optimizer, k.losses.SparseCategoricalCrossentropy(from_logits=True))
    for step in range(steps):
        given = x.copy()
        given[3, 2] = 1e30 if step == BAD else given[3, 2]
        model.train_on_batch(given, y)
        numbers = (optimizer.dynamic_scale, optimizer.step_counter, optimizer.iterations)
        yield [float(np.asarray(v)) for v in numbers], [np.asarray(w) for w in model.trainable_variables], model


@pytest.mark.parametrize("scale, growth", [(2.0**20, 3), pytest.param(64.0, 2, marks=pytest.mark.slow)])
def test_the_scale_goes_step_by_step_as_in_keras(scale, growth):
    options = {"initial_scale": scale, "dynamic_growth_steps": growth}
    ours, theirs = (list(step_by_step(k, **options)) for k in (pellucid, keras))
    assert [n for n, *_ in ours] == [n for n, *_ in theirs]
    assert ours[BAD][0][0] == ours[BAD - 1][0][0] / 2 and ours[BAD][0][1] == 0  # halved, and it counts anew
    for before, after in zip(ours[BAD - 1][1], ours[BAD][1], strict=True):
        np.testing.assert_array_equal(before, after)
    for a, b in zip(ours[-1][1], theirs[-1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=5e-3)
    assert all(np.isfinite(w.numpy()).all() for w in ours[-1][2].weights)  # moving statistics, too: Keras's are not


def test_a_hand_computed_trajectory():
    w = pellucid.Variable([1.0])
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=8.0, dynamic_growth_steps=2)
    told = []
    for gradient in (4.0, 4.0, np.inf, 8.0, np.nan, 8.0):
        optimizer.apply([np.array([gradient], "float32")], [w])
        told.append((float(w), float(optimizer.dynamic_scale), int(optimizer.step_counter), int(optimizer.iterations)))
    assert told == [(0.75, 8, 1, 1), (0.5, 16, 0, 2), (0.5, 8, 0, 2), (0.0, 8, 1, 3), (0.0, 4, 0, 3), (-1.0, 4, 1, 4)]


INNER = {
    "adam": lambda: Adam(0.1),
    "clipnorm": lambda: Adam(0.1, clipnorm=0.5),
    "global_clipnorm": lambda: SGD(0.1, global_clipnorm=0.5),
    "decay": lambda: SGD(0.1, weight_decay=0.1),
    "ema": lambda: SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3),
    "accumulation": lambda: Adam(0.1, gradient_accumulation_steps=2),
    "schedule": lambda: SGD(optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
}


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
def test_steps_left_out_are_as_if_they_had_not_been(inner):
    gradients = [2.0, -1.0, np.inf, 3.0, np.nan, 0.5, 1.0]
    plain, scaled = pellucid.Variable([1.0, -2.0]), pellucid.Variable([1.0, -2.0])
    one, other = inner(), LossScaleOptimizer(inner(), initial_scale=4.0)
    for g in gradients:
        g = np.array([g, 2 * g], "float32")
        if np.isfinite(g).all():
            one.apply([g], [plain])
        other.apply([other.scale_loss(g)], [scaled])
    for optimizer, w in ((one, plain), (other, scaled)):
        optimizer.flush([w])
        optimizer.finalize_variable_values([w])
    np.testing.assert_allclose(plain.numpy(), scaled.numpy(), rtol=1e-6)
    slots = {v.path: v.numpy() for v in other.inner_optimizer.variables}
    assert int(other.iterations) == int(one.iterations) and all(np.isfinite(v).all() for v in slots.values())


def test_compile_wraps_the_optimizer_of_a_float16_model_only():
    def of(policy, optimizer="adam", **options):
        model = pellucid.Sequential([layers.Dense(1)], dtype=policy)
        model.compile(optimizer, "mse", **options)
        return model.optimizer

    wrapped = of("mixed_float16")
    assert isinstance(wrapped, LossScaleOptimizer) and wrapped.initial_scale == 2.0**15 and wrapped.dynamic_growth_steps == 2000
    assert isinstance(of("mixed_float16", auto_scale_loss=False), Adam)
    assert isinstance(of("mixed_bfloat16"), Adam) and isinstance(of("float16"), Adam)
    own = LossScaleOptimizer(SGD(0.1))
    assert of("mixed_float16", own) is own


@pytest.mark.parametrize("way", ["own", "chunk", *(pytest.param(way, marks=pytest.mark.slow) for way in ("fit", "eager"))])
def test_a_step_left_out_is_no_reason_to_stop(way):
    x, y = data(rows=96)
    x[40, 2] = 1e30  # the second of three batches
    model = (classifier if way != "own" else own_classifier)(pellucid, "mixed_float16")
    loss = pellucid.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, nan="raise", run_eagerly=way == "eager", steps_per_execution=3 if way == "chunk" else 1)
    before = model.get_weights()
    model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    assert (float(model.optimizer.dynamic_scale), int(model.optimizer.iterations)) == (2.0**14, 2)
    trained = {w.path for w in model.trainable_weights}
    assert all(np.isfinite(w.numpy()).all() for w in model.weights)
    assert all((a != w.numpy()).any() for a, w in zip(before, model.weights, strict=True) if w.path in trained)


def own_classifier(k, policy):
    """One whose `train_step` is the user's, without batch statistics."""

    class Own(pellucid.Model):
        def __init__(self):
            super().__init__(dtype=policy)
            self.body = layers.Dense(4, activation="tanh", dtype=policy)
            self.head = layers.Dense(CLASSES, dtype="float32")

        def call(self, x):
            return self.head(self.body(x))

        def train_step(self, batch):
            x, y = batch

            def scaled():
                loss = self.compute_loss(x, y, self(x, training=True))
                return self.optimizer.scale_loss(loss), loss

            (_, loss), gradients = pellucid.value_and_grad(scaled, self.trainable_variables, has_aux=True)()
            assert all(g.dtype == "float32" for g in gradients)
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    model = Own()
    model(np.ones((2, 6), "float32"))
    return model


@pytest.mark.slow
def test_what_loss_scaling_cannot_cure_stops_and_is_explained():
    x, y = data(rows=32 * 20)
    x[:, 0] = np.nan
    model = classifier(pellucid, "mixed_float16")
    model.compile("sgd", pellucid.losses.SparseCategoricalCrossentropy(from_logits=True), nan="raise")
    before = model.get_weights()
    with pytest.warns(pellucid.DataWarning), pytest.raises(pellucid.NonFiniteError) as raised:
        model.fit(x, y, batch_size=32, verbose=0)
    assert "loss scale of 1 or less" in str(raised.value) and "the data" in str(raised.value)
    assert int(model.optimizer.iterations) == 0
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gradient_that_overflows_unscaled_stops_and_says_what_to_do():
    model = pellucid.Sequential([pellucid.Input((1,)), layers.Dense(1, use_bias=False, dtype="mixed_float16")], dtype="mixed_float16")
    model.compile(LossScaleOptimizer(SGD(0.1), initial_scale=1.0), "mse", nan="raise")
    x = np.full((4, 1), 2000.0, "float32")
    with pytest.raises(pellucid.NonFiniteError, match=r"a gradient, at a loss scale of 1 or less,.*mixed_bfloat16"):
        model.fit(x, -50 * x, verbose=0)


def test_frozen_layers_stay_and_the_scale_lives_on():
    x, y = data()
    model = classifier(pellucid, "mixed_float16")
    model.compile("adam", pellucid.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=32, verbose=0)
    model.body.trainable = False
    kept = model.body.get_weights()
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    for a, b in zip(kept, model.body.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (int(model.optimizer.step_counter), int(model.optimizer.iterations)) == (3, 3)


def test_small_gradients_vanish_without_a_scale_and_train_with_it():
    """A gradient of 1e-8 is zero in float16, whose smallest number is 6e-8."""

    def trained(optimizer):
        model = pellucid.Sequential(
            [pellucid.Input((1,)), layers.Dense(1, kernel_initializer="ones", use_bias=False, dtype="mixed_float16")], dtype="mixed_float16"
        )
        model.compile(optimizer, lambda y, p: 1e-8 * p, auto_scale_loss=False)
        model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
        return float(1 - model.get_weights()[0][0, 0])

    assert trained(SGD(1e5)) == 0
    assert trained(LossScaleOptimizer(SGD(1e5))) == pytest.approx(1e-3, rel=1e-2)


def test_stateless_apply_is_the_same_step():
    import jax

    w = pellucid.Variable([1.0])
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=4.0)
    optimizer.build([w])
    step = jax.jit(optimizer.stateless_apply)
    state = [v.value for v in optimizer.variables]
    weights, after = step(state, [np.array([8.0], "float32")], [w.value])
    assert weights[0].tolist() == [0.0] and float(w) == 1.0
    weights, after = step(after, [np.array([np.inf], "float32")], weights)
    assert weights[0].tolist() == [0.0] and float(after[1]) == 2.0


def test_the_config_goes_to_keras_and_back():
    ours = LossScaleOptimizer(Adam(0.25, clipnorm=1.0), initial_scale=128.0, dynamic_growth_steps=7, name="mine")
    theirs = keras.optimizers.deserialize(optimizers.serialize(ours))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras reads its learning rate as NumPy does no more
        again = optimizers.deserialize(keras.optimizers.serialize(theirs))
    for made in (theirs, again):
        assert (made.name, made.initial_scale, made.dynamic_growth_steps) == ("mine", 128.0, 7)
        assert (made.inner_optimizer.clipnorm, float(made.inner_optimizer._learning_rate.value)) == (1.0, 0.25)
    again.learning_rate = 0.5
    assert float(again.inner_optimizer.learning_rate) == 0.5
    inner = SGD(0.1, loss_scale_factor=100.0)
    assert LossScaleOptimizer(inner).inner_optimizer.loss_scale_factor is None


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: LossScaleOptimizer("sgd"), TypeError, ["inner_optimizer='sgd'", "expected an optimizer"]),
        (lambda: LossScaleOptimizer(LossScaleOptimizer(SGD())), TypeError, ["inner_optimizer", "does not scale"]),
        (lambda: LossScaleOptimizer(SGD(), initial_scale=0), ValueError, ["initial_scale=0", "above zero"]),
        (lambda: LossScaleOptimizer(SGD(), dynamic_growth_steps=0), ValueError, ["dynamic_growth_steps=0", "at least 1"]),
        (lambda: LossScaleOptimizer(SGD(), clipnorm=1.0), ValueError, ["clipnorm=1.0", "inner optimizer"]),
        (lambda: LossScaleOptimizer(SGD(), dynamic=False), ValueError, ["dynamic=False", "loss_scale_factor"]),
        (lambda: LossScaleOptimizer(SGD(), scale=3), TypeError, ["'scale'"]),
    ],
)
def test_bad_arguments_are_refused_by_name(make, error, words):
    with pytest.raises(error) as raised:
        make()
    assert all(word in str(raised.value) for word in words), str(raised.value)
