"""`functionalize`: pure functions and values of a model, used by plain JAX, give what the model gives."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pellucid
from pellucid import layers, losses, optimizers
from pellucid.core.variable import dispatching
from tests.training.twins import random_data

X, Y = random_data(0, (40, 3), (40, 1))


class Net(pellucid.Model):
    def __init__(self):
        super().__init__(name="net")
        self.hidden, self.norm, self.drop = layers.Dense(5), layers.BatchNormalization(momentum=0.5), layers.Dropout(0.3, seed=1)
        self.out = layers.Dense(1)

    def call(self, x, training=None):
        return self.out(self.drop(self.norm(jnp.tanh(self.hidden(x)), training=training), training=training))


def built(**options):
    model = Net()
    model.build((None, 3))
    model.compile(**{"optimizer": optimizers.SGD(0.1), "loss": "mse", **options})
    return model


def test_outputs_are_those_of_the_model_and_call_runs_once():
    model = built()
    pure = pellucid.functionalize(model)
    params, state = pure.params, pure.state
    assert list(params) == [v.path for v in model.trainable_variables]
    outputs, after = jax.jit(pure, static_argnames="training")(params, state, X)
    np.testing.assert_allclose(outputs, model.predict(X, verbose=0), rtol=1e-5)
    assert all(np.array_equal(state[path], after[path]) for path in state)
    outputs, after = pure(params, state, X, training=True)
    assert not np.allclose(after["norm/moving_mean"], state["norm/moving_mean"])
    again, _ = pure(params, after, X, training=True)
    assert not np.allclose(outputs, again)  # dropout draws anew
    assert model.ledger.call_count == 1
    for variable in model.variables:  # nothing of the model has changed
        np.testing.assert_array_equal(variable.numpy(), {**params, **state}[variable.path])


def test_a_loop_of_ones_own_trains_as_fit_does():
    model, twin = built(), built()
    for one, other in zip(model.variables, twin.variables, strict=True):
        other.assign(one.value)
    pure = pellucid.functionalize(model)
    optimizer = optax.sgd(0.1)

    @jax.jit
    def step(params, state, slots, x, y):
        (loss, (_, state)), grads = jax.value_and_grad(pure.loss, has_aux=True)(params, state, x, y)
        updates, slots = optimizer.update(grads, slots, params)
        return optax.apply_updates(params, updates), state, slots, loss

    params, state = pure.params, pure.state
    slots = optimizer.init(params)
    means = []
    for _ in range(3):
        of_epoch = []
        for start in range(0, 40, 20):
            params, state, slots, loss = step(params, state, slots, X[start : start + 20], Y[start : start + 20])
            of_epoch.append(float(loss))
        means.append(np.mean(of_epoch))
    history = twin.fit(X, Y, batch_size=20, epochs=3, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(means, history, rtol=1e-4)
    pure.update(params, state)
    np.testing.assert_allclose(model.predict(X, verbose=0), twin.predict(X, verbose=0), rtol=1e-4, atol=1e-6)
    assert model.ledger.call_count == 1
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


@pytest.mark.slow
def test_scan_over_batches_and_vmap_over_models():
    model = built()
    pure = pellucid.functionalize(model)
    params, state = pure.params, pure.state
    batches = X.reshape(4, 10, 3), Y.reshape(4, 10, 1)

    def turn(carry, batch):
        params, state = carry
        (loss, (_, state)), grads = jax.value_and_grad(pure.loss, has_aux=True)(params, state, *batch)
        return (jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), state), loss

    (scanned, _), values = jax.lax.scan(turn, (params, state), batches)
    carry = params, state
    for i in range(4):
        carry, loss = turn(carry, (batches[0][i], batches[1][i]))
        np.testing.assert_allclose(values[i], loss, rtol=1e-5)
    for path in params:
        np.testing.assert_allclose(scanned[path], carry[0][path], rtol=1e-4, atol=1e-6)
    many = jax.tree.map(lambda p: jnp.stack([p, 2 * p, 0 * p]), params)
    outputs = jax.vmap(lambda params: pure(params, state, X)[0])(many)
    for i in range(3):
        np.testing.assert_allclose(outputs[i], pure(jax.tree.map(lambda p, i=i: p[i], many), state, X)[0], rtol=1e-5, atol=1e-6)


def test_values_may_be_donated_and_kept():
    model = built()
    pure = pellucid.functionalize(model)
    params, state = pure.params, pure.state
    halved = jax.jit(lambda params: jax.tree.map(lambda p: p / 2, params), donate_argnums=0)(params)
    assert np.isfinite(model.predict(X, verbose=0)).all()
    pure.update(halved)
    model.fit(X, Y, verbose=0)
    assert all(np.isfinite(np.asarray(v)).all() for v in halved.values())
    pure.update(halved, state)
    for variable in model.variables:
        np.testing.assert_array_equal(variable.numpy(), {**state, **halved}[variable.path])


def test_added_losses_weights_and_layers_count():
    class Adding(Net):
        def call(self, x, training=None):
            self.add_loss(3.0 * jnp.ones(()))
            return super().call(x, training=training)

    model = Adding()
    model.build((None, 3))
    model.compile(loss=losses.MeanAbsoluteError())
    pure = pellucid.functionalize(model)
    weights = np.linspace(0, 1, 40, dtype="float32")
    loss, (outputs, _) = pure.loss(pure.params, pure.state, X, Y, weights, training=False)
    np.testing.assert_allclose(loss, 3 + np.mean(weights * abs(outputs - Y)[:, 0]), rtol=1e-5)
    layer = layers.Dense(2)
    layer.build((None, 3))
    pure = pellucid.functionalize(layer)
    np.testing.assert_allclose(pure(pure.params, pure.state, X)[0], layer(X), rtol=1e-6)


@pytest.mark.parametrize(
    "wrong, error, told",
    [
        (lambda: pellucid.functionalize(Net()), pellucid.NotBuiltError, r"'net' has no weights yet.*model.build"),
        (lambda: pellucid.functionalize(3), TypeError, "model is a int; expected a Model or Layer"),
        (lambda: call(training=1), TypeError, "training=1; expected True or False.*static_argnames"),
        (lambda: call(change={"out/kernle": 0}), KeyError, "params holds 'out/kernle'.*Did you mean 'out/kernel'"),
        (lambda: call(drop="out/kernel"), KeyError, "params lacks 'out/kernel'; expected all of hidden/kernel, "),
        (lambda: call(loss=True), ValueError, r"loss: 'net' has no loss; expected a compiled model"),
    ],
)
def test_mistakes(wrong, error, told):
    with pytest.raises(error, match=told):
        wrong()


def call(change=None, drop=None, loss=False, **options):
    model = Net()
    model.build((None, 3))
    pure = pellucid.functionalize(model)
    params = {**pure.params, **(change or {})}
    params.pop(drop, None)
    return pure.loss(params, pure.state, X, Y) if loss else pure(params, pure.state, X, **options)


def test_values_are_copies_taken_while_no_program_holds_the_arrays():
    """A dispatch donates the arrays and assigns new ones; a copy of one in between would be of a deleted array."""
    model = built()
    pure = pellucid.functionalize(model)
    taken, started = [], threading.Event()

    def take():
        started.set()
        taken.append((pure.params, pure.state))

    other = threading.Thread(target=take)
    with dispatching:
        other.start()
        started.wait(10)
        other.join(0.2)
        assert not taken
        model.out.bias.assign([7.0])
    other.join(10)
    assert taken[0][0]["out/bias"].tolist() == [7.0]
