"""What holds for the built-in step holds for a step of the user's own: mistakes are told, and harm nothing."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import pellucid
from pellucid import callbacks, layers, losses, ops
from tests.models.test_own_steps import Net, X, Y, fixed, values


class Stepping(Net):
    """Its step computes the loss of `compile`, and reads an attribute."""

    factor = 1.0

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables

        def loss_of_weights():
            y_pred = self(x, training=True)
            return self.factor * self.compute_loss(x, y, y_pred)

        loss, grads = pellucid.value_and_grad(loss_of_weights, weights)()
        self.optimizer.apply(grads, weights)
        return {"loss": loss, "factor": self.factor * ops.ones(())}


class WithABug(Net):
    def train_step(self, data):
        x, y = data
        return {"loss": ops.mean(self(x) @ ops.ones((3, 1)) - y)}


def good(make=Stepping):
    model = fixed(make())
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    return model


WRONG = {
    "targets of other columns": (lambda m: m.fit(X, Y.repeat(2, 1), verbose=0), ["(batch, 2)", "(batch, 1)", "mean_squared_error"]),
    "inputs of other features": (lambda m: m.fit(X[:, :2], Y, verbose=0), ["'hidden'", "(None, 2)"]),
    "no targets": (lambda m: m.fit(X, verbose=0), ["train_step"]),
    "fewer targets": (lambda m: m.fit(X, Y[:5], verbose=0), ["70 rows", "y has 5"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_in_a_second_fit_leaves_the_weights_and_a_model_that_trains(case):
    wrong, words = WRONG[case]
    model = good()
    before = values(model), [v.numpy() for v in model.optimizer.variables]
    with pytest.raises((ValueError, TypeError, pellucid.CaptureError)) as caught:
        wrong(model)
    message = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert all(word in message for word in words), message
    for now, then in zip((values(model), [v.numpy() for v in model.optimizer.variables]), before, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(now, then, strict=True))
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][0])


def test_a_shape_bug_in_a_step_is_told_with_the_users_line():
    model = fixed(WithABug())
    model.compile("sgd", "mse")
    with pytest.raises((TypeError, ValueError)) as caught:
        model.fit(X, Y, verbose=0)
    lines, first = inspect.getsourcelines(WithABug.train_step)
    line = first + next(i for i, text in enumerate(lines) if "@" in text)
    notes = "\n".join(caught.value.__notes__)
    assert f"test_promises_of_own_steps.py:{line}" in notes and "train_step" in notes


def test_an_attribute_that_a_step_reads_and_a_callback_changes_counts_from_there():
    model = good()
    change = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "factor", 2.0))
    assert model.fit(X, Y, epochs=2, verbose=0, callbacks=[change]).history["factor"] == [1.0, 2.0]
    assert "`self.factor` changed from 1.0 to 2.0" in model.ledger[-1].sentence
    assert model.ledger.call_count == 1


def test_targets_that_would_only_broadcast_are_an_error_in_a_step_that_uses_a_loss():
    class Direct(Net):
        def train_step(self, data):
            x, y = data
            return {"loss": losses.MeanSquaredError()(y, self(x))}

    model = fixed(Direct())
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"y_true has shape \(batch, 2\) and y_pred has shape \(batch, 1\)"):
        model.fit(X, Y.repeat(2, 1), verbose=0)


def test_a_model_with_an_own_step_builds_and_sums_up_before_any_data():
    model = Stepping()
    model.build((None, 3))
    assert len(model.trainable_variables) == 6 and model.built
    lines = []
    model.summary(print_fn=lines.append)
    assert "(None, 5)" in lines[0] and "?" not in lines[0]
    assert isinstance(model.hidden, layers.Dense) and model.ledger.call_count == 1
