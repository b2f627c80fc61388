"""The state of an optimizer is in the file of the weights, in Keras's order."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from tests.cases import some_slow
from tests.saving.both import keras_loads, keras_saves, quiet

X, Y = (np.random.default_rng(0).normal(size=shape).astype("float32") for shape in ((8, 4), (8, 2)))

OPTIMIZERS = {
    "SGD": lambda k: k.optimizers.SGD(0.1),
    "SGD, momentum": lambda k: k.optimizers.SGD(0.1, momentum=0.9),
    "RMSprop": lambda k: k.optimizers.RMSprop(0.01),
    "RMSprop, all": lambda k: k.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Adam": lambda k: k.optimizers.Adam(0.01),
    "Adam, amsgrad": lambda k: k.optimizers.Adam(0.01, amsgrad=True),
    "Adam, averages": lambda k: k.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=None),
    "Adam, accumulation": lambda k: k.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "AdamW": lambda k: k.optimizers.AdamW(0.01),
    "Adamax": lambda k: k.optimizers.Adamax(0.01),
    "Nadam": lambda k: k.optimizers.Nadam(0.01),
    "Adagrad": lambda k: k.optimizers.Adagrad(0.1),
    "Adadelta": lambda k: k.optimizers.Adadelta(1.0),
    "Ftrl": lambda k: k.optimizers.Ftrl(0.1),
    "Lion": lambda k: k.optimizers.Lion(0.01),
    "Lamb": lambda k: k.optimizers.Lamb(0.01),
    "LossScale": lambda k: k.optimizers.LossScaleOptimizer(k.optimizers.Adam(0.01), initial_scale=8.0),
    "schedule": lambda k: k.optimizers.Adam(k.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
}


def trained(k, name, epochs=2):
    model = k.Sequential([k.Input((4,)), k.layers.Dense(3, activation="tanh"), k.layers.Dense(2)])
    model.compile(OPTIMIZERS[name](k), "mse")
    if epochs:
        fit(model, epochs)
    return model


def built(name):
    """With an optimizer that has its state, but has done nothing."""
    model = trained(pellucid, name, epochs=0)
    model.optimizer.build(model.trainable_variables)
    return model


def fit(model, epochs=2):
    with quiet():
        model.fit(X, Y, batch_size=4, shuffle=False, epochs=epochs, verbose=0)


# without averages: in Keras a second fit with them fails
@pytest.mark.parametrize("name", some_slow(sorted({*OPTIMIZERS} - {"Adam, averages"}), ["Adam", "LossScale"]))
def test_training_goes_on_in_the_other_library(name, tmp_path):
    theirs, path = trained(keras, name), tmp_path / "m.weights.h5"
    keras_saves(theirs, path)
    ours = trained(pellucid, name, epochs=0)  # compiled, and no more
    assert ours.load_weights(path).optimizer == "loaded"
    fit(theirs)
    fit(ours)
    for a, b in zip(ours.get_weights(), theirs.weights, strict=True):
        np.testing.assert_allclose(a, b.value, rtol=1e-3, atol=1e-4)
    ours.save_weights(path)
    keras_loads(theirs, path)
    fit(theirs)
    fit(ours)
    for a, b in zip(ours.get_weights(), theirs.weights, strict=True):
        np.testing.assert_allclose(a, b.value, rtol=1e-3, atol=1e-4)


ALL = [(name, ending) for name in [*OPTIMIZERS, "Adafactor", "Muon"] for ending in ("weights.h5", "safetensors")]


@pytest.mark.parametrize("name, ending", some_slow(ALL, [("Adam", "weights.h5")]))
def test_training_goes_on_to_the_last_bit(name, ending, tmp_path, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, name, OPTIMIZERS.get(name, lambda k: getattr(k.optimizers, name)(0.01)))
    model, path = trained(pellucid, name, epochs=3), tmp_path / f"m.{ending}"
    model.save_weights(path)
    other = trained(pellucid, name, epochs=0)
    assert other.load_weights(path).optimizer == "loaded"
    for a, b in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    fit(model)
    fit(other)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_state_of_another_optimizer_is_left_out(tmp_path):
    built("Adam").save_weights(tmp_path / "m.weights.h5")
    other = built("SGD, momentum")
    before = [v.numpy() for v in other.optimizer.variables]
    with pytest.warns(UserWarning, match=r"state of the optimizer was not loaded.*'sgd' consists of 6 arrays; the file has 12"):
        report = other.load_weights(tmp_path / "m.weights.h5")
    assert report.complete and "not loaded: The state of optimizer 'sgd'" in repr(report)
    for a, b in zip(other.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_without_an_optimizer_leaves_the_state_out(tmp_path):
    built("Adam").save_weights(tmp_path / "m.weights.h5")
    plain = pellucid.Sequential([pellucid.Input((4,)), layers.Dense(3), layers.Dense(2)], name="p")
    report = plain.load_weights(tmp_path / "m.weights.h5")
    assert report.complete and report.optimizer == "left out, as 'p' has no optimizer: compile it before"
    plain.save_weights(tmp_path / "n.weights.h5")
    compiled = built("Adam")
    assert "none in the file; that of 'adam' stays" in compiled.load_weights(tmp_path / "n.weights.h5").optimizer


def test_optimizers_in_attributes_are_saved_as_well(tmp_path):
    class Two(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.own_optimizer = layers.Dense(2), pellucid.optimizers.SGD(0.1, momentum=0.9)

        def call(self, x):
            return self.hidden(x)

    one, other = Two(), Two()
    for model in (one, other):
        model.build((None, 4))
    one.own_optimizer.apply([np.ones((4, 2), "float32"), np.ones(2, "float32")], one.trainable_variables)
    one.save_weights(tmp_path / "m.weights.h5")
    other.load_weights(tmp_path / "m.weights.h5")
    for a, b in zip(one.own_optimizer.variables, other.own_optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
