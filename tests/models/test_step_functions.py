"""`train_function` and its like: a step with the next batch of an iterator; one that a model wraps serves `fit`."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from tests.cases import some_slow
from tests.models.test_own_steps import Net, X, Y, fixed, stepping, values
from tests.training.twins import perceptron, random_data, twins

BATCHES = [(X[i : i + 20], Y[i : i + 20]) for i in (0, 20, 40)]


def compiled(model, **options):
    fixed(model).compile("adam", "mse", metrics=["mae"], **options)
    return model


def assert_equal_weights(one, other):
    for mine, others in zip(values(one), values(other), strict=True):
        np.testing.assert_allclose(mine, others, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [Net, stepping(Net)])
@pytest.mark.parametrize("eagerly", some_slow([False, True], [False]))
def test_a_function_takes_the_next_batch_and_does_what_train_on_batch_does(make, eagerly):
    one, other = (compiled(make(), run_eagerly=eagerly) for _ in range(2))
    function, batches = one.make_train_function(), iter(BATCHES)
    assert function is one.train_function is one.make_train_function()
    for batch in BATCHES:
        one.reset_metrics()  # a function goes on with the means
        logs, expected = one.train_function(batches), other.train_on_batch(*batch, return_dict=True)
        assert list(logs) == list(expected)
        np.testing.assert_allclose(list(logs.values()), list(expected.values()), rtol=1e-5)
    with pytest.raises(StopIteration):
        one.train_function(batches)
    assert_equal_weights(one, other)
    assert eagerly or one.ledger.call_count == 1
    assert one.make_train_function(force=True) is not function


def test_functions_of_evaluation_and_prediction():
    model = compiled(Net())
    model.make_test_function()
    model.make_predict_function()
    logs = model.test_function(iter([(X, Y)]))
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)
    np.testing.assert_allclose([logs[k] for k in expected], list(expected.values()), rtol=1e-5)
    np.testing.assert_allclose(model.predict_function(iter([X])), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict_function(iter([(X, Y)])), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


def test_the_form_of_keras_on_jax_gives_its_logs_and_its_state():
    import keras

    x, y = random_data(1, (12, 4), (12, 3))
    ours, theirs = twins(perceptron, x, activation=None)
    results = []
    for model, k in ((theirs, keras), (ours, pellucid)):
        model.compile(k.optimizers.Adam(0.1), "mse")
        model.train_on_batch(x, y)  # makes the states of the optimizer and the metrics
        parts = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables
        model.make_train_function()
        state = tuple([np.array(v.value) for v in part] for part in parts)
        results.append(model.train_function(state, iter([(x, y)])))
    (expected, their_state), (logs, our_state) = results
    assert list(logs) == list(expected)
    np.testing.assert_allclose(float(logs["loss"]), float(expected["loss"]), rtol=1e-5)
    for mine, other in zip(our_state[0], their_state[0], strict=True):
        np.testing.assert_allclose(mine, np.asarray(other), rtol=1e-4, atol=1e-6)


class Wrapping(Net):
    """Wraps the functions as Keras's users do."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def make_train_function(self, force=False):
        super().make_train_function(force=True)
        inner = self.train_function

        def wrapped(iterator):
            logs = inner(iterator)
            self.seen.append("train")
            return {**logs, "steps": len(self.seen)}

        self.train_function = wrapped

    def make_test_function(self, force=False):
        inner = super().make_test_function(force=True)
        self.test_function = lambda iterator: {**inner(iterator), "tested": self.seen.append("test") or 1.0}

    def make_predict_function(self, force=False):
        inner = super().make_predict_function(force=True)
        self.predict_function = lambda iterator: -inner(iterator)


class OnState(Net):
    """Wraps the function in the form of Keras on JAX, and halves the first weight after each step."""

    def make_train_function(self, force=False):
        super().make_train_function(force=True)
        inner = self.train_function

        def wrapped(state, iterator):
            logs, (trainable, *rest) = inner(state, iterator)
            return logs, ([0.5 * trainable[0], *trainable[1:]], *rest)

        self.train_function = wrapped


@pytest.mark.parametrize("eagerly", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_fit_evaluate_and_predict_call_the_functions_that_a_model_wraps(eagerly):
    model, plain = Wrapping(), Net()
    for m in (model, plain):
        fixed(m).compile("adam", "mse", run_eagerly=eagerly)
    options = {"batch_size": 32, "epochs": 2, "shuffle": False, "verbose": 0}
    history = model.fit(X, Y, validation_data=(X[:40], Y[:40]), **options).history
    expected = plain.fit(X, Y, validation_data=(X[:40], Y[:40]), **options).history
    assert model.seen == [*["train"] * 3, *["test"] * 2] * 2
    assert history["steps"] == [3, 8] and history["val_tested"] == [1.0, 1.0]
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5)
    assert_equal_weights(model, plain)
    np.testing.assert_allclose(model.predict(X, verbose=0), -plain.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    assert model.train_on_batch(X[:20], Y[:20], return_dict=True)["steps"] == 11
    assert eagerly or model.ledger.call_count == 1


def test_fit_calls_a_function_of_the_form_of_keras_on_jax():
    model, plain = compiled(OnState()), compiled(Net())
    model.fit(X, Y, batch_size=70, verbose=0)
    plain.fit(X, Y, batch_size=70, verbose=0)
    np.testing.assert_allclose(model.hidden.kernel.numpy(), 0.5 * plain.hidden.kernel.numpy(), rtol=1e-5)
    np.testing.assert_allclose(model.out.kernel.numpy(), plain.out.kernel.numpy(), rtol=1e-5)


def test_a_function_that_was_set_serves_fit_until_the_next_compile():
    model = compiled(Net())
    inner, calls = model.make_train_function(), []
    model.train_function = lambda iterator: calls.append(1) or inner(iterator)
    model.fit(X, Y, verbose=0)
    assert len(calls) == 3
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert len(calls) == 3


# ---- Mistakes ----


def test_what_a_function_takes_and_gives_is_checked():
    model = compiled(Net())
    model.make_train_function()
    with pytest.raises(TypeError, match=r"train_function got \(tuple\); expected an iterator over batches, such as iter\(\[\(x, y\)\]\)"):
        model.train_function((X, Y))
    before = values(model)
    with pytest.raises(ValueError, match="train_function of Net got a state of 2 parts; expected 4"):
        model.train_function(([], []), iter([(X, Y)]))
    model.train_function = lambda iterator: None
    with pytest.raises(TypeError, match="train_function of Net returned a NoneType; expected a dict of the logs"):
        model.fit(X, Y, verbose=0)
    for one, other in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_method_that_sets_no_function_is_an_error_before_the_first_step():
    class Forgetful(Net):
        def make_train_function(self, force=False):
            return None

    with pytest.raises(ValueError, match=r"make_train_function of Forgetful set no self.train_function.*super\(\).make_train_function\(\)"):
        compiled(Forgetful()).fit(X, Y, verbose=0)
