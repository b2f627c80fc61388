"""A smaller last batch: filled up with repeated rows where that changes nothing, at its own size where it would."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers, losses, metrics
from tests.training.twins import random_data

ROWS, BATCH, EPOCHS, RATE, MOMENTUM = 20, 8, 2, 0.05, 0.9
X, NOISE = random_data(3, (ROWS, 3), (ROWS, 1))
Y = np.tanh(X[:, :1] - X[:, 1:2]) + 0.1 * NOISE
WEIGHTS = np.linspace(0.2, 3, ROWS, dtype="float32")


class Model(pellucid.Model):
    """Two layers; ``rule`` says what happens between them and after them."""

    def __init__(self, between=lambda h: h, after=lambda y: y, added=None):
        super().__init__()
        self.between, self.after, self.added = between, after, added
        self.hidden, self.out = layers.Dense(4), layers.Dense(1)

    def call(self, inputs):
        hidden = self.between(self.hidden(inputs))
        if self.added is not None:
            self.add_loss(self.added(hidden))
        return self.after(self.out(hidden))


def squares(y, p, w):
    return (y - p)[:, 0] ** 2 * (1 if w is None else w)


@dataclasses.dataclass
class Case:
    """A model and a loss, and the same written in JAX for a batch of any size."""

    loss: Any = "mse"
    by_hand: Callable = lambda y, p, w: squares(y, p, w).mean()
    model: dict = dataclasses.field(default_factory=dict)
    weighted: bool = False
    why: str | None = None  # words of the reason for the last batch's own size; None: it is filled up


def times_mean_of_batch(y_true, y_pred):
    return jnp.square(y_true - y_pred)[:, 0] * jnp.mean(jnp.square(y_pred))


def reduced_by_itself(y_true, y_pred):
    return jnp.mean(jnp.square(y_true - y_pred))


CASES = {
    "rows are independent": Case(model={"between": jnp.tanh}),
    "weighted rows": Case(weighted=True, model={"between": jax.nn.relu}),
    "divided by the weights": Case(
        losses.MeanSquaredError(reduction="mean_with_sample_weight"), lambda y, p, w: squares(y, p, w).sum() / w.sum(), weighted=True
    ),
    "summed": Case(losses.MeanAbsoluteError(reduction="sum"), lambda y, p, w: abs(y - p).sum()),
    "a loss function of rows": Case(lambda t, p: jnp.exp(-p[:, 0] * t[:, 0]), lambda y, p, w: jnp.exp(-p * y).mean()),
    "softmax over features": Case(model={"between": jax.nn.softmax}),
    "softmax over rows": Case(model={"between": lambda h: jax.nn.softmax(h, axis=0)}, why="batch"),
    "minus the mean of the batch": Case(model={"between": lambda h: h - h.mean(0)}, why="batch"),
    "times the size of the batch": Case(model={"after": lambda y: y * y.shape[0] / 8}, why="size of the batch"),
    "every row with every other": Case(model={"between": lambda h: jnp.tanh(h @ h.T) @ h / 8}, why="row"),
    "a loss that uses the batch's mean": Case(times_mean_of_batch, lambda y, p, w: times_mean_of_batch(y, p).mean(), why="loss"),
    "a loss reduced by itself": Case(reduced_by_itself, lambda y, p, w: squares(y, p, w).mean(), why="loss"),
    "an added loss": Case(
        model={"added": lambda h: 0.1 * jnp.mean(h**2)},
        by_hand=lambda y, p, w, h: squares(y, p, w).mean() + 0.1 * jnp.mean(h**2),
        why="loss",
    ),
}


def trained_by_hand(case, weights):
    """(weights, loss of each epoch) of training written in JAX, with batches at their own size."""

    def loss_of(parameters, x, y, w):
        w1, b1, w2, b2 = parameters
        hidden = case.model.get("between", lambda h: h)(x @ w1 + b1)
        p = case.model.get("after", lambda p: p)(hidden @ w2 + b2)
        return case.by_hand(y, p, w, hidden) if "added" in case.model else case.by_hand(y, p, w)

    gradient, velocity, means = jax.jit(jax.value_and_grad(loss_of)), [0.0] * 4, []
    for _ in range(EPOCHS):
        total = 0.0
        for start in range(0, ROWS, BATCH):
            x, y, w = (a[start : start + BATCH] for a in (X, Y, WEIGHTS))
            loss, gradients = gradient(weights, x, y, w if case.weighted else None)
            velocity = [MOMENTUM * v - RATE * np.asarray(g) for v, g in zip(velocity, gradients)]
            weights = [np.asarray(a + v) for a, v in zip(weights, velocity)]
            total += float(loss) * len(x)
        means.append(total / ROWS)
    return weights, means


RARE = {"divided by the weights", "softmax over features", "softmax over rows", "every row with every other"}


@pytest.mark.parametrize("case", [pytest.param(c, id=name, marks=[pytest.mark.slow] if name in RARE else []) for name, c in CASES.items()])
def test_training_is_that_of_batches_at_their_own_size(case):
    model = Model(**case.model)
    model.capture((None, 3))
    expected, means = trained_by_hand(case, model.get_weights())
    model.compile(optimizer=pellucid.optimizers.SGD(RATE, momentum=MOMENTUM), loss=case.loss)
    weights = WEIGHTS if case.weighted else None
    history = model.fit(X, Y, sample_weight=weights, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], means, rtol=1e-5, atol=1e-6)
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    sizes = [(p.batch_size, p.reason) for p in model.ledger.programs]
    if case.why is None:
        assert [size for size, _ in sizes] == [BATCH] and "padded with repeated rows" in sizes[0][1]
    else:
        assert [size for size, _ in sizes] == [BATCH, ROWS % BATCH]
        assert sizes[1][1].startswith(f"compiled again for the last batch of {ROWS % BATCH} rows, because ") and case.why in sizes[1][1]
        assert sizes[1][1].endswith("; `call` did not run")
    assert model.ledger.call_count == 1


# ---- Metrics ----


class CountsRows(metrics.Metric):
    """Ignores the sample weights."""

    def __init__(self, name="rows"):
        super().__init__(name)
        self.count = self.add_variable((), name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign(self.count + jnp.sum(jnp.ones_like(y_pred[:, 0])))

    def result(self):
        return self.count.value


class MeanThatIgnoresWeights(metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(jnp.square(y_true - y_pred))


class WrapperThatIgnoresWeights(metrics.MeanMetricWrapper):
    def __init__(self, name="wrapper"):
        super().__init__(losses.mean_squared_error, name)

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred)


class NamedThatIgnoresWeights(metrics.MeanSquaredError):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred)


class TakesNoWeights(metrics.Metric):
    def __init__(self, name="none"):
        super().__init__(name)
        self.count = self.add_variable((), name="count")

    def update_state(self, y_true, y_pred):
        self.count.assign(self.count + y_pred.shape[0])

    def result(self):
        return self.count.value


def largest_error(y_true, y_pred):
    return jnp.max(jnp.abs(y_true - y_pred))


def evaluated(metric, weighted=False, **arguments):
    model = Model()
    model.compile(optimizer="sgd", loss="mse", **{"weighted_metrics" if weighted else "metrics": [metric]})
    logs = model.evaluate(X, Y, batch_size=BATCH, verbose=0, return_dict=True, **arguments)
    return list(logs.values())[1], np.asarray(model.predict(X, verbose=0))


MEAN_SQUARE = lambda p: np.mean((p - Y) ** 2)
OWN_METRICS = {
    "counts rows": (CountsRows, lambda p: ROWS),
    "a mean": (MeanThatIgnoresWeights, MEAN_SQUARE),
    "a wrapper": (WrapperThatIgnoresWeights, MEAN_SQUARE),
    "a named metric": (NamedThatIgnoresWeights, MEAN_SQUARE),
    "takes no weights": (TakesNoWeights, lambda p: ROWS),
    "a function of rows": (lambda: lambda t, p: jnp.square(t - p)[:, 0], MEAN_SQUARE),
    "a function of the batch": (lambda: largest_error, lambda p: sum(abs(p - Y)[s : s + 8].max() for s in (0, 8, 16)) / 3),
}


@pytest.mark.parametrize("metric, expected", OWN_METRICS.values(), ids=OWN_METRICS)
def test_a_users_metric_sees_the_real_rows_only(metric, expected):
    value, outputs = evaluated(metric())
    np.testing.assert_allclose(value, expected(outputs), rtol=1e-5)


BUILT_IN = [
    "mae",
    "cosine_similarity",
    "logcosh",
    metrics.RootMeanSquaredError(),
    metrics.R2Score(),
    metrics.MeanMetricWrapper(losses.huber, "huber", delta=0.3),
    metrics.BinaryAccuracy(),
    metrics.AUC(num_thresholds=20),
    metrics.Precision(),
    metrics.TrueNegatives(),
    metrics.BinaryCrossentropy(from_logits=True),
]


@pytest.mark.parametrize("weighted", [False, True])
def test_built_in_metrics_of_a_padded_epoch_are_those_of_all_rows_at_once(weighted):
    targets = (Y > 0).astype("float32")
    model = Model(after=jax.nn.sigmoid)
    model.compile(optimizer="sgd", loss="mse", **{"weighted_metrics" if weighted else "metrics": BUILT_IN})
    weights = {"sample_weight": WEIGHTS} if weighted else {}
    logs = model.evaluate(X, targets, batch_size=BATCH, verbose=0, return_dict=True, **weights)
    assert [p.batch_size for p in model.ledger.programs] == [BATCH]
    outputs = jnp.asarray(model.predict(X, verbose=0))
    for metric in map(metrics.get, BUILT_IN):
        metric.reset_state()
        value = metric(jnp.asarray(targets), outputs, **weights)
        np.testing.assert_allclose(logs.pop(metric.name), value, rtol=1e-5, atol=1e-6, err_msg=metric.name)
    assert list(logs) == ["loss"]


def test_accuracies_of_classes_count_the_real_rows():
    (x,) = random_data(1, (ROWS, 4))
    labels = (np.arange(ROWS) % 4).astype("int32")

    class Classes(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(4)

        def call(self, inputs):
            return self.out(inputs)

    model = Classes()
    model.compile(
        optimizer="sgd",
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", metrics.SparseTopKCategoricalAccuracy(k=2, name="top")],
    )
    logs = model.evaluate(x, labels, batch_size=BATCH, verbose=0, return_dict=True)
    order = np.argsort(-model.predict(x, verbose=0), axis=1)
    np.testing.assert_allclose(logs["accuracy"], np.mean(order[:, 0] == labels), rtol=1e-6)
    np.testing.assert_allclose(logs["top"], np.mean((order[:, :2] == labels[:, None]).any(1)), rtol=1e-6)


# ---- Evaluate and predict ----


@pytest.mark.parametrize("between", [lambda h: jnp.tanh(h), lambda h: h - h.mean(0)], ids=["independent", "coupled"])
def test_predict_and_evaluate_compute_batches_at_their_own_size(between):
    model = Model(between)
    model.compile(optimizer="sgd", loss="mse")
    out = model.predict(X, batch_size=BATCH, verbose=0)
    w1, b1, w2, b2 = model.get_weights()
    expected = np.concatenate([between(X[s : s + BATCH] @ w1 + b1) @ w2 + b2 for s in range(0, ROWS, BATCH)])
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.evaluate(X, Y, batch_size=BATCH, verbose=0), np.mean((expected - Y) ** 2), rtol=1e-5)


def test_a_step_writes_state_for_the_real_rows_only():
    """A layer that counts what it has seen, by rows: padding must not count."""

    class Counts(layers.Layer):
        def build(self, input_shape):
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.seen.assign(self.seen + jnp.sum(jnp.ones_like(inputs[:, 0])))
            return inputs

    class Counting(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.counts, self.out = Counts(), layers.Dense(1)

        def call(self, inputs):
            return self.out(self.counts(inputs))

    model = Counting()
    model.compile(optimizer="sgd", loss="mse")
    model.fit(X, Y, batch_size=BATCH, verbose=0)
    assert float(model.counts.seen) == ROWS
