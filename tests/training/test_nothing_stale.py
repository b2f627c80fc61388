"""What changes between steps, epochs and fits counts at the next dispatch; what was taken from a model stays what it was."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pellucid
from pellucid import layers
from pellucid.callbacks import Callback, LambdaCallback
from pellucid.graph.ledger import Reason
from tests.cases import some_slow
from tests.training.twins import random_data, weights_of

X, Y = random_data(8, (24, 3), (24, 1))
RATE = 0.05


class Scaled(pellucid.Model):
    def __init__(self, alpha=0.5):
        super().__init__()
        self.alpha = alpha
        self.options = {"shift": 0.0}
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(inputs) * self.alpha + self.options["shift"]


class Deep(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(4, activation="tanh"), layers.Dense(1)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


class Normed(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.norm, self.out = layers.BatchNormalization(momentum=0.5), layers.Dense(1)

    def call(self, inputs, training=None):
        return self.out(self.norm(inputs, training=training))


def compiled(model, like=None, **arguments):
    """Built and compiled; with the weights of another model."""
    model.capture((None, 3))
    if like is not None:
        model.set_weights(like.get_weights())
    model.compile(**{"optimizer": pellucid.optimizers.SGD(RATE), "loss": "mse", **arguments})
    return model


def assert_equal_weights(a, b):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def fit(model, epochs=1, rows=24, **arguments):
    return model.fit(X[:rows], Y[:rows], batch_size=8, epochs=epochs, shuffle=False, verbose=0, **arguments).history["loss"]


def after_first_epoch(change):
    return LambdaCallback(on_epoch_end=lambda epoch, logs=None: change() if epoch == 0 else None)


# ---- Attributes ----

CHANGES = {
    "attribute": (lambda model: setattr(model, "alpha", 0.9), "`self.alpha` changed from 0.5 to 0.9"),
    "item of a dict": (lambda model: model.options.update(shift=0.3), "`self.options['shift']` changed from 0.0 to 0.3"),
}
BUILDS = {
    "fit": lambda model: None,
    "capture": lambda model: model.capture((None, 3)),
    "call": lambda model: model(X[:2]),
    "build": lambda model: model.build((None, 3)),
}


@pytest.mark.parametrize("change, built_by", [*(("attribute", built_by) for built_by in BUILDS), ("item of a dict", "fit")])
def test_an_attribute_changed_between_epochs_counts_from_there(change, built_by):
    changing, words = CHANGES[change]
    pellucid.utils.set_random_seed(1)
    model = Scaled()
    model.compile(optimizer=pellucid.optimizers.SGD(RATE), loss="mse")
    BUILDS[built_by](model)
    kept = []

    def change_it():
        changing(model)
        kept.append(model.get_weights())

    losses = fit(model, epochs=2, callbacks=[after_first_epoch(change_it)])
    expected = Scaled()
    changing(expected)
    expected.compile(optimizer=pellucid.optimizers.SGD(RATE), loss="mse")
    expected.capture((None, 3))
    expected.set_weights(kept[0])
    np.testing.assert_allclose(losses[1:], fit(expected), rtol=1e-5)
    assert_equal_weights(model, expected)
    assert [run.reason for run in model.ledger if run.kind == "capture"] == [Reason.FIRST, Reason.ATTRIBUTE]
    assert words in model.ledger[-1].sentence


def test_an_attribute_changed_between_steps_counts_from_the_next():
    class Changes(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 0:
                self.model.alpha = 0.9

    model = compiled(Scaled())
    first, then = compiled(Scaled(), like=model), compiled(Scaled(0.9))
    fit(model, callbacks=[Changes()])
    first.train_on_batch(X[:8], Y[:8])
    then.set_weights(first.get_weights())
    then.train_on_batch(X[8:16], Y[8:16])
    then.train_on_batch(X[16:], Y[16:])
    assert_equal_weights(model, then)


def test_an_attribute_changed_counts_in_predict_and_evaluate():
    model = compiled(Scaled(1.0))
    before, loss = model.predict(X, verbose=0), model.evaluate(X, 0 * Y, verbose=0)
    model.alpha = 3.0
    np.testing.assert_allclose(model.predict(X, verbose=0), 3 * before, rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, 0 * Y, verbose=0), 9 * loss, rtol=1e-5)


def test_an_attribute_that_call_does_not_read_is_no_reason_to_run_again():
    model = compiled(Scaled())
    model.note = 1
    fit(model, epochs=2, callbacks=[after_first_epoch(lambda: setattr(model, "note", 2))])
    assert model.ledger.call_count == 1


def test_a_change_back_needs_no_new_program():
    model = compiled(Scaled())
    fit(model)
    programs = len(model.ledger.programs)
    model.alpha = 0.9
    model.alpha = 0.5
    fit(model)
    assert model.ledger.call_count == 1 and len(model.ledger.programs) == programs


def test_a_change_that_couples_the_rows_ends_the_padding():
    """20 rows at batch 8: while rows are independent the last batch is padded; with batch statistics it must not be."""
    model = compiled(Normed())
    model.norm.trainable = False
    kept = []

    def unfreeze():
        model.norm.trainable = True
        kept.append(model.get_weights())

    losses = fit(model, epochs=2, rows=20, callbacks=[after_first_epoch(unfreeze)])
    expected = compiled(Normed())
    expected.set_weights(kept[0])
    np.testing.assert_allclose(losses[1:], fit(expected, rows=20), rtol=1e-5)
    assert_equal_weights(model, expected)


# ---- What may be trained ----


def test_a_layer_frozen_after_compile_is_not_trained():
    model = compiled(Deep(), optimizer=pellucid.optimizers.SGD(RATE, momentum=0.9))
    fit(model)
    model.hidden.trainable = False
    frozen, free = model.hidden.get_weights(), model.out.get_weights()
    fit(model)
    assert all(np.array_equal(a, b) for a, b in zip(frozen, model.hidden.get_weights(), strict=True))
    assert not np.array_equal(free[0], model.out.get_weights()[0])
    model.hidden.trainable = True
    fit(model)
    assert not np.array_equal(frozen[0], model.hidden.get_weights()[0])
    assert model.ledger.call_count == 1


def test_freezing_a_layer_keeps_the_momentum_of_the_others():
    model = compiled(Deep(), optimizer=pellucid.optimizers.SGD(RATE, momentum=0.9))
    expected = compiled(Deep(), like=model, optimizer=pellucid.optimizers.SGD(RATE, momentum=0.9))
    fit(model)
    fit(expected)
    model.hidden.trainable = False
    hidden = model.hidden.get_weights()
    model.train_on_batch(X[:8], Y[:8])
    expected.train_on_batch(X[:8], Y[:8])
    for frozen, kept in zip(model.hidden.get_weights(), hidden, strict=True):
        assert np.array_equal(frozen, kept)
    for a, b in zip(model.out.get_weights(), expected.out.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_variable_frozen_after_compile_is_not_trained():
    model = compiled(Deep())
    fit(model)
    model.out.bias.trainable = False
    bias, kernel = model.out.get_weights()[::-1]
    fit(model)
    assert np.array_equal(model.out.bias.numpy(), bias) and not np.array_equal(model.out.kernel.numpy(), kernel)


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_layer_frozen_in_a_callback_is_not_trained_from_there(unit):
    class Freezes(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if unit == "step" and batch == 1:
                freeze()

        def on_epoch_end(self, epoch, logs=None):
            if unit == "epoch" and epoch == 0:
                freeze()

    def freeze():
        model.hidden.trainable = False
        kept.append(model.hidden.get_weights())

    kept = []
    model = compiled(Deep())
    fit(model, epochs=2, callbacks=[Freezes()])
    assert all(np.array_equal(a, b) for a, b in zip(kept[0], model.hidden.get_weights(), strict=True))


def test_a_frozen_batch_normalization_keeps_its_statistics():
    model = compiled(Normed())
    model.norm.trainable = False
    fit(model)
    assert np.array_equal(model.norm.moving_mean.numpy(), np.zeros(3)) and np.array_equal(model.norm.moving_variance.numpy(), np.ones(3))
    model.norm.trainable = True
    fit(model)
    assert np.abs(model.norm.moving_mean.numpy()).min() > 0


# ---- Learning rate ----


@pytest.mark.parametrize("assign", ["property", "variable"])
def test_a_learning_rate_assigned_between_epochs_counts_without_a_new_program(assign):
    def change():
        if assign == "property":
            model.optimizer.learning_rate = 0.0
        else:
            model.optimizer.learning_rate.assign(0.0)
        kept.append(model.get_weights())

    kept = []
    model = compiled(Scaled())
    fit(model, epochs=3, callbacks=[after_first_epoch(change)])
    assert all(np.array_equal(a, b) for a, b in zip(kept[0], model.get_weights(), strict=True))
    assert len(model.ledger.programs) == 1 and float(model.optimizer.learning_rate) == 0.0


@pytest.mark.parametrize("when", ["between epochs", "between fits"])
@pytest.mark.parametrize("first, second", [(0.1, lambda step: 0.0), (lambda step: 0.1, 0.0)], ids=["to a schedule", "from a schedule"])
def test_a_schedule_assigned_or_taken_away_counts(first, second, when):
    def change():
        model.optimizer.learning_rate = second
        kept.append(model.get_weights())

    kept = []
    model = compiled(Scaled(), optimizer=pellucid.optimizers.SGD(first))
    if when == "between epochs":
        fit(model, epochs=2, callbacks=[after_first_epoch(change)])
    else:
        fit(model)
        change()
        fit(model)
    assert all(np.array_equal(a, b) for a, b in zip(kept[0], model.get_weights(), strict=True))


# ---- Losses, metrics, schedules ----

FACTOR = 1.0


class Weighted(pellucid.losses.Loss):
    def __init__(self):
        super().__init__()
        self._factors = [1.0]

    def call(self, y_true, y_pred):
        return self._factors[0] * ((y_true - y_pred) ** 2).mean(-1)


def scaled_error(y_true, y_pred):
    return FACTOR * ((y_true - y_pred) ** 2).mean(-1)


def calling(y_true, y_pred):
    return scaled_error(y_true, y_pred)


def by_cell():
    factor = [1.0]
    return lambda y_true, y_pred: factor[0] * ((y_true - y_pred) ** 2).mean(-1), lambda: factor.__setitem__(0, 3.0)


def told(kind, monkeypatch):
    """(a loss, what makes it three times as large)."""
    if kind == "attribute":
        loss = Weighted()
        return loss, lambda: setattr(loss, "_factors", [3.0])
    if kind == "item of an attribute":
        loss = Weighted()
        return loss, lambda: loss._factors.__setitem__(0, 3.0)
    if kind == "cell":
        return by_cell()
    function = {"global": scaled_error, "global of a helper": calling, "global in a jit": jax.jit(scaled_error)}[kind]
    return function, lambda: monkeypatch.setitem(globals(), "FACTOR", 3.0)


KINDS = ["attribute", "item of an attribute", "cell", "global", "global of a helper", "global in a jit"]


@pytest.mark.parametrize("use", some_slow(["epochs", "steps", "evaluate"], ["epochs"]))
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_loss_reads_counts_when_it_changes(kind, use, monkeypatch):
    loss, change = told(kind, monkeypatch)
    model = compiled(Scaled(), optimizer=pellucid.optimizers.SGD(0.0), loss=loss, metrics=[loss])
    error = float(np.mean((model.predict(X, verbose=0) - Y) ** 2))
    if use == "epochs":
        history = fit(model, epochs=2, callbacks=[after_first_epoch(change)])
        np.testing.assert_allclose(history, [error, 3 * error], rtol=1e-5)
    elif use == "steps":
        for factor in (1, 3):
            model.reset_metrics()
            np.testing.assert_allclose(model.train_on_batch(X, Y), [factor * error] * 2, rtol=1e-5)
            change()
    else:
        np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), [error] * 2, rtol=1e-5)
        change()
        np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), [3 * error] * 2, rtol=1e-5)
    assert model.ledger.call_count == 1


def test_a_loss_changed_in_the_middle_of_an_epoch_counts_from_the_next_step():
    class Changes(Callback):
        def on_train_batch_end(self, batch, logs=None):
            loss._factors[0] = 0.0

    loss = Weighted()
    model = compiled(Scaled(), loss=loss)
    expected = compiled(Scaled(), like=model)
    fit(model, callbacks=[Changes()])
    expected.train_on_batch(X[:8], Y[:8])
    assert_equal_weights(model, expected)


def test_a_loss_that_couples_the_rows_from_now_on_ends_the_padding():
    class Sometimes(pellucid.losses.Loss):
        couples = False

        def call(self, y_true, y_pred):
            values = ((y_true - y_pred) ** 2).mean(-1)
            return values - values.mean() if self.couples else values

    loss = Sometimes()
    model = compiled(Scaled(), optimizer=pellucid.optimizers.SGD(0.0), loss=loss)
    errors = ((model.predict(X[:20], verbose=0) - Y[:20]) ** 2)[:, 0]
    losses = fit(model, epochs=2, rows=20, callbacks=[after_first_epoch(lambda: setattr(loss, "couples", True))])
    np.testing.assert_allclose(losses, [errors.mean(), 0.0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("thresholds", [0.9, [0.9]])
def test_a_threshold_changed_between_epochs_counts(thresholds):
    accuracy, precision = pellucid.metrics.BinaryAccuracy(), pellucid.metrics.Precision(thresholds=0.5)

    def change():
        accuracy.threshold, precision.thresholds = 0.9, thresholds

    model = compiled(Scaled(), optimizer=pellucid.optimizers.SGD(0.0), loss="mse", metrics=[accuracy, precision])
    model.set_weights([np.array([[2.0], [0.0], [0.0]], "float32"), np.zeros(1, "float32")])
    outputs, y = X[:, :1], (X[:, 1:2] > 0).astype("float32")  # the model halves its output
    arguments = {"batch_size": 8, "epochs": 2, "verbose": 0, "callbacks": [after_first_epoch(change)]}
    history = model.fit(X, y, **arguments).history
    for epoch, limit in enumerate((0.5, 0.9)):
        positive = outputs > limit
        np.testing.assert_allclose(history["binary_accuracy"][epoch], np.mean(positive == y), rtol=1e-5)
        np.testing.assert_allclose(history["precision"][epoch], np.sum(positive & (y == 1)) / np.sum(positive), rtol=1e-5)


@pytest.mark.parametrize("wrap", [lambda s: pellucid.optimizers.SGD(s), lambda s: optax.chain(optax.clip(9.0), optax.sgd(s))])
def test_what_a_schedule_closes_over_counts_when_it_changes(wrap):
    rate, kept = [RATE], []

    def change():
        rate[0] = 0.0
        kept.append(model.get_weights())

    model = compiled(Scaled(), optimizer=wrap(lambda step: rate[0]))
    before = model.get_weights()
    fit(model, epochs=2, callbacks=[after_first_epoch(change)])
    assert not np.array_equal(before[0], kept[0][0])
    assert all(np.array_equal(a, b) for a, b in zip(kept[0], model.get_weights(), strict=True))


def test_a_change_back_of_a_loss_needs_no_new_program():
    loss = Weighted()
    model = compiled(Scaled(), loss=loss)
    for factor in (1.0, 2.0, 1.0, 2.0):
        loss._factors[0] = factor
        fit(model)
    assert len(model.ledger.programs) == 2


@pytest.mark.parametrize("rows", [24, 20])
def test_a_list_that_a_loss_appends_to_makes_no_new_program(rows):
    runs = []

    def loss(y_true, y_pred):
        runs.append(1)
        return ((y_true - y_pred) ** 2).mean(-1)

    model = compiled(Scaled(), loss=loss)
    for _ in range(3):
        fit(model, epochs=2, rows=rows)
    assert len(model.ledger.programs) == 1 and len(runs) > 0


# ---- The user's arrays ----


def test_a_buffer_changed_right_after_a_step_does_no_harm():
    model = compiled(Scaled(), optimizer=pellucid.optimizers.SGD(RATE, momentum=0.9))
    expected = compiled(Scaled(), like=model, optimizer=pellucid.optimizers.SGD(RATE, momentum=0.9))
    x, y = np.empty_like(X[:8]), np.empty_like(Y[:8])
    for start in (0, 8, 16):
        x[:], y[:] = X[start : start + 8], Y[start : start + 8]
        model.train_on_batch(x, y)
        x[:], y[:] = np.nan, np.nan
    fit(expected)
    assert_equal_weights(model, expected)


def test_data_changed_right_after_fit_do_no_harm():
    model = compiled(Scaled())
    expected = compiled(Scaled(), like=model)
    x, y = X.copy(), Y.copy()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    x[:], y[:] = np.nan, np.nan
    fit(expected)
    assert_equal_weights(model, expected)


def test_weights_given_as_a_buffer_are_copied():
    model = compiled(Scaled())
    given = [np.ones((3, 1), "float32"), np.ones(1, "float32")]
    model.set_weights(given)
    given[0][:] = np.nan
    assert np.array_equal(model.get_weights()[0], np.ones((3, 1)))


TAKEN = {
    "get_weights": lambda model: model.get_weights(),
    "numpy": lambda model: [np.asarray(w) for w in model.weights],
    "value": lambda model: [w.value for w in model.weights],
    "jnp": lambda model: [jnp.asarray(w) for w in model.weights],
    "arithmetic": lambda model: [w + 0 for w in model.weights],
    "device_put": lambda model: [jax.device_put(w.value) for w in model.weights],
    "slots": lambda model: [v.value for v in model.optimizer.variables],
}


@pytest.mark.parametrize("batch_hook", [False, True])
def test_arrays_taken_in_callbacks_stay_readable_and_unchanged(batch_hook):
    taken, expected = [], []

    def take(number, logs=None):
        arrays = {name: take(model) for name, take in TAKEN.items()}
        taken.append(arrays)
        expected.append({name: [np.array(a, copy=True) for a in some] for name, some in arrays.items()})

    hook = {"on_train_batch_end": take} if batch_hook else {"on_epoch_end": take}
    model = compiled(Deep(), optimizer=pellucid.optimizers.SGD(RATE, momentum=0.9))
    fit(model, epochs=3, callbacks=[LambdaCallback(**hook)])
    fit(model)
    for arrays, copies in zip(taken, expected, strict=True):
        for name in TAKEN:
            assert all(np.array_equal(a, b) for a, b in zip(arrays[name], copies[name], strict=True)), name
    kernels = [arrays["numpy"][0] for arrays in taken]
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(kernels))


def test_arrays_taken_before_fit_stay_readable():
    model = compiled(Deep())
    before = [w.value for w in model.weights]
    copies = [np.array(a) for a in before]
    fit(model, epochs=2)
    assert all(np.array_equal(a, b) for a, b in zip(before, copies, strict=True))


def test_weights_assigned_between_epochs_count():
    model = compiled(Scaled(), optimizer=pellucid.optimizers.SGD(0.0))
    fit(model, epochs=2, callbacks=[after_first_epoch(lambda: model.out.kernel.assign(np.ones((3, 1))))])
    assert np.array_equal(model.out.kernel.numpy(), np.ones((3, 1)))
    np.testing.assert_allclose(model.evaluate(X, X.sum(1, keepdims=True) / 2, verbose=0), 0, atol=1e-10)


# ---- Several models ----


def test_two_models_that_share_a_layer_train_the_same_weights():
    class Uses(pellucid.Model):
        def __init__(self, shared):
            super().__init__()
            self.shared, self.out = shared, layers.Dense(1)

        def call(self, inputs):
            return self.out(self.shared(inputs))

    shared = layers.Dense(4)
    first, second = compiled(Uses(shared)), compiled(Uses(shared))
    kernels = [shared.kernel.numpy()]
    for model in (first, second, first):
        fit(model)
        kernels.append(shared.kernel.numpy())
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(kernels))
    assert first.weights[0] is second.weights[0]
    np.testing.assert_allclose(
        second.predict(X, verbose=0),
        (X @ shared.kernel.numpy() + shared.bias.numpy()) @ second.out.kernel.numpy() + second.out.bias.numpy(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_model_inside_a_model_trains_with_it():
    class Outer(pellucid.Model):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, inputs):
            return 2 * self.inner(inputs)

    inner = compiled(Deep())
    before = weights_of(inner)
    outer = compiled(Outer(inner))
    fit(outer)
    assert outer.weights == inner.weights and not np.array_equal(before[0], weights_of(inner)[0])
    np.testing.assert_allclose(outer.predict(X, verbose=0), 2 * inner.predict(X, verbose=0), rtol=1e-5)


def test_compiling_again_keeps_weights_graphs_and_predict_programs():
    model = compiled(Deep())
    fit(model)
    model.predict(X, verbose=0)
    before, graph, programs = model.get_weights(), model.graph, len(model.ledger.programs)
    model.compile(optimizer="adam", loss="mae")
    model.predict(X, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.graph is graph and len(model.ledger.programs) == programs
    fit(model)
    assert int(model.optimizer.iterations) == 3 and model.ledger.call_count == 1


def test_compiling_again_with_the_same_optimizer_goes_on_with_its_slots():
    optimizer = pellucid.optimizers.SGD(RATE, momentum=0.9)
    model = compiled(Scaled(), optimizer=optimizer)
    expected = compiled(Scaled(), like=model, optimizer=pellucid.optimizers.SGD(RATE, momentum=0.9))
    fit(model)
    model.compile(optimizer=optimizer, loss="mse")
    fit(model)
    fit(expected, epochs=2)
    assert_equal_weights(model, expected)


def test_smaller_and_larger_data_than_before_give_exact_results():
    model = compiled(Scaled(), optimizer=pellucid.optimizers.SGD(0.0))
    for rows in (24, 5, 19, 1, 8, 23):
        kernel, bias = model.get_weights()
        expected = np.mean((0.5 * (X[:rows] @ kernel + bias) - Y[:rows]) ** 2)
        np.testing.assert_allclose(fit(model, rows=rows), [expected], rtol=1e-5, err_msg=str(rows))
        np.testing.assert_allclose(model.evaluate(X[:rows], Y[:rows], batch_size=8, verbose=0), expected, rtol=1e-5)
        assert model.predict(X[:rows], batch_size=8, verbose=0).shape == (rows, 1)
    assert model.ledger.call_count == 1
