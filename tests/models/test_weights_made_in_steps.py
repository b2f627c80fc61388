"""Steps of the user's own that make weights: the step runs once, unless it looked at the weights before it made them."""

from __future__ import annotations

import inspect

import jax
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops, optimizers
from tests.models.test_own_steps import X, adversaries, values
from tests.training.twins import random_data

(X4,) = random_data(7, (64, 4))


class Pair(pellucid.Model):
    """Two models without a `call` around them; `ask(self)` says how the step asks for the weights."""

    def __init__(self, ask):
        super().__init__()
        self.encoder = pellucid.Sequential([layers.Dense(3, activation="relu"), layers.BatchNormalization()])
        self.decoder = pellucid.Sequential([layers.Dense(4)])
        self.ask = ask

    def train_step(self, x):
        weights = self.ask(self)

        def loss_of_weights():
            return ops.mean(ops.square(self.decoder(self.encoder(x, training=True)) - x))

        loss, grads = pellucid.value_and_grad(loss_of_weights, weights)()
        self.optimizer.apply(grads, weights)
        return {"loss": loss}


def at_once(model):
    return model.trainable_variables


def of_both(model):
    return model.encoder.trainable_variables + model.decoder.trainable_variables


def of_both_by_hand(model):
    return [*model.encoder.trainable_weights] + model.decoder.trainable_weights


def by_a_tree(model):
    return jax.tree.map(lambda variable: variable, model.trainable_variables)


def after_counting_them(model):
    assert len(model.encoder.weights) in (0, 6)
    return model.trainable_variables


def trained(ask, built=False):
    pellucid.utils.set_random_seed(4)
    model = Pair(ask)
    if built:
        model.encoder.build((None, 4))
        model.decoder.build((None, 3))
    model.compile(optimizers.Adam(0.05))
    history = model.fit(X4, epochs=2, verbose=0, shuffle=False).history["loss"]
    return model, history


@pytest.mark.parametrize("ask", [at_once, of_both])
def test_a_step_that_makes_weights_runs_once_and_trains_them_from_its_first_batch(ask):
    (model, history), (twin, expected) = trained(ask), trained(ask, built=True)
    assert [run.of for run in model.ledger] == ["train_step"]
    assert model.encoder.ledger.call_count == model.decoder.ledger.call_count == 1
    np.testing.assert_allclose(history, expected, rtol=1e-6)
    for one, other in zip(values(model), values(twin), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert len(model.optimizer.variables) == len(twin.optimizer.variables)


def test_a_gan_that_makes_its_weights_in_the_step_computes_what_one_does_that_had_them():
    def run(built):
        pellucid.utils.set_random_seed(2)
        model = adversaries()
        if built:
            model.generator.build((None, 4))
            model.judge.build((None, 2))
        model.compile(optimizers.Adam(0.01), optimizers.SGD(0.01))
        model.fit(X[:, :2], epochs=2, verbose=0, shuffle=False)
        return values(model), len(model.ledger)

    (weights, runs), (others, _) = run(False), run(True)
    assert runs == 1
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "ask, text", [(of_both_by_hand, "[*model.encoder"), (by_a_tree, "jax.tree"), (after_counting_them, "len(model.encoder")]
)
def test_a_step_that_looked_too_early_runs_again_and_the_ledger_names_the_line(ask, text):
    model, _ = trained(ask)
    assert [run.of for run in model.ledger] == ["train_step", "train_step"]
    lines, first = inspect.getsourcelines(ask)
    line = first + next(i for i, one in enumerate(lines) if text in one)
    assert (
        f"because the first run made weights after it had looked at them, at test_weights_made_in_steps.py:{line}"
        in model.ledger[1].sentence
    )
    assert model.encoder.ledger.call_count == 1


def test_the_lists_of_variables_are_plain_outside_of_such_a_step():
    model, _ = trained(at_once)
    for given in (model.trainable_variables, model.encoder.trainable_variables, Pair(at_once).trainable_variables):
        assert type(given) is list
