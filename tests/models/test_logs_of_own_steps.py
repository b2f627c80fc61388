"""Steps of the user's own may return any logs: none, arrays only, scalars among them."""

import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid.callbacks import LambdaCallback

X, Y = np.ones((6, 3), "float32"), np.ones((6, 1), "float32")
LOGS = {"none": lambda y: {}, "arrays": lambda y: {"a": jnp.ravel(y)[:3]}, "both": lambda y: {"a": jnp.ravel(y)[:2], "b": jnp.mean(y)}}


class Net(pellucid.Model):
    def __init__(self, logs):
        super().__init__()
        self.out, self.logs = pellucid.layers.Dense(1), logs

    def call(self, x):
        return self.out(x)

    def train_step(self, data):
        self(data[0], training=True)
        return self.logs(data[1])

    test_step = train_step


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize(
    "options, each", [({}, False), ({}, True), ({"nan": "raise"}, False), ({"steps_per_execution": 1}, True), ({"run_eagerly": True}, True)]
)
def test_logs_of_a_step_may_be_none_or_arrays_only(kind, options, each):
    model, of_batches = Net(LOGS[kind]), []
    model.compile("sgd", "mse", **options)
    notes = [LambdaCallback(on_train_batch_end=lambda batch, logs: of_batches.append(logs))] if each else []
    expected = {name: np.asarray(value) for name, value in LOGS[kind](Y).items()}
    history = model.fit(X, Y, batch_size=3, verbose=0, callbacks=notes).history
    found = model.evaluate(X, Y, batch_size=3, verbose=0, return_dict=True)
    assert len(of_batches) == (2 if each else 0)
    for logs in (found, {name: value[-1] for name, value in history.items()}, *of_batches):
        assert logs.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(logs[name], value)
