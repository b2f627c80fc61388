"""What ``fit``, ``evaluate``, ``predict`` and the single-batch forms take and give."""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from tests.training.twins import random_data


class Line(pellucid.Model):
    """Linear in the columns of its inputs, which may have any structure."""

    def __init__(self):
        super().__init__()
        self.out = pellucid.layers.Dense(1)

    def call(self, inputs):
        parts = list(inputs.values()) if isinstance(inputs, dict) else list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        return self.out(pellucid.layers.concatenate(parts)) if len(parts) > 1 else self.out(parts[0])


class Two(pellucid.Model):
    def __init__(self, as_dict=False):
        super().__init__()
        self.as_dict = as_dict
        self.first, self.second = pellucid.layers.Dense(1), pellucid.layers.Dense(2)

    def call(self, inputs):
        a, b = self.first(inputs), self.second(inputs)
        return {"b": b, "a": a} if self.as_dict else (a, b)


class Seen(pellucid.callbacks.Callback):
    """Counts the batches of each kind."""

    def __init__(self):
        self.train, self.test, self.predict = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.train.append(batch)

    def on_test_batch_end(self, batch, logs=None):
        self.test.append(batch)

    def on_predict_batch_end(self, batch, logs=None):
        self.predict.append(batch)


def data(rows=20):
    x, y = random_data(1, (rows, 4), (rows, 1))
    return x, y


def compiled(model=None, **arguments):
    model = model or Line()
    model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return model


def exact_mse(model, x, y):
    kernel, bias = model.get_weights()
    return np.mean((x @ kernel + bias - y) ** 2)


# ---- What data may be ----

STRUCTURES = {
    "array": lambda x: x,
    "jax array": jnp.asarray,
    "list": lambda x: [x[:, :1], x[:, 1:]],
    "tuple": lambda x: (x[:, :1], x[:, 1:]),
    "dict": lambda x: {"a": x[:, :1], "b": x[:, 1:]},
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_inputs_of_every_structure_are_the_same_to_all_methods(structure):
    x, y = data()
    given = STRUCTURES[structure](x)
    model = compiled(optimizer=pellucid.optimizers.SGD(0.0))
    losses = model.fit(given, y, batch_size=8, verbose=0).history["loss"]
    expected = exact_mse(model, x, y)
    np.testing.assert_allclose(losses, [expected], rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(given, y, batch_size=8, verbose=0), expected, rtol=1e-5)
    kernel, bias = model.get_weights()
    for out in (model.predict(given, batch_size=8, verbose=0), model.predict_on_batch(given)):
        assert isinstance(out, np.ndarray)
        np.testing.assert_allclose(out, x @ kernel + bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("as_dict", [False, True])
def test_outputs_keep_their_structure(as_dict):
    x, _ = data(7)
    model = Two(as_dict)
    out = model.predict(x, batch_size=3, verbose=0)
    assert isinstance(out, dict if as_dict else tuple)
    a, b = (out["a"], out["b"]) if as_dict else out
    (kernel_1, _), (kernel_2, _) = model.first.get_weights(), model.second.get_weights()
    np.testing.assert_allclose(a, x @ kernel_1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(b, x @ kernel_2, rtol=1e-5, atol=1e-6)


def test_targets_of_a_dict_go_by_name_not_by_order():
    x, y = data()
    model = compiled(Two(as_dict=True), optimizer=pellucid.optimizers.SGD(0.0), loss={"a": "mse", "b": "mae"})
    targets = {"b": np.concatenate([y, y], 1), "a": 3 * y}
    logs = model.evaluate(x, targets, verbose=0, return_dict=True)
    out = model.predict(x, verbose=0)
    np.testing.assert_allclose(logs["a_loss"], np.mean((out["a"] - 3 * y) ** 2), rtol=1e-5)
    np.testing.assert_allclose(logs["b_loss"], np.mean(np.abs(out["b"] - targets["b"])), rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], logs["a_loss"] + logs["b_loss"], rtol=1e-6)


def test_targets_without_a_last_axis_match_outputs_with_one():
    x, y = data()
    model = compiled(optimizer=pellucid.optimizers.SGD(0.0))
    np.testing.assert_allclose(model.evaluate(x, y[:, 0], verbose=0), exact_mse(model, x, y), rtol=1e-5)


@pytest.mark.parametrize("y", ["float64", "int64", "list of numbers"])
def test_targets_of_every_type_of_number(y):
    x, _ = data(6)
    ones = np.array([0, 1, 1, 0, 1, 0])
    given = ones.tolist() if y == "list of numbers" else ones.astype(y)
    model = compiled()
    np.testing.assert_allclose(model.evaluate(x, given, verbose=0), exact_mse(model, x, ones[:, None]), rtol=1e-5)


def test_sample_weights_weigh_the_rows():
    x, y = data()
    weights = np.arange(20, dtype="float32")
    model = compiled(optimizer=pellucid.optimizers.SGD(0.0))
    (loss,) = model.fit(x, y, sample_weight=weights, batch_size=8, verbose=0).history["loss"]
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(loss, np.mean(weights[:, None] * (x @ kernel + bias - y) ** 2), rtol=1e-5)


def test_batches_larger_than_the_data_are_the_data():
    x, y = data(5)
    seen = Seen()
    model = compiled()
    model.fit(x, y, batch_size=1000, callbacks=[seen], verbose=0)
    assert seen.train == [0] and model.predict(x, batch_size=1000, verbose=0).shape == (5, 1)


# ---- Single batches ----


def test_single_batches_are_steps_of_the_same_training():
    x, y = data(16)
    by_batch, by_fit = Line(), Line()
    for model in (by_batch, by_fit):
        model.build((None, 4))
        compiled(model, optimizer=pellucid.optimizers.SGD(0.1, momentum=0.9))
    by_batch.set_weights(by_fit.get_weights())
    losses = [by_batch.train_on_batch(x[:8], y[:8]), by_batch.train_on_batch(x[8:], y[8:])]
    history = by_fit.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    np.testing.assert_allclose(np.mean(losses), history["loss"][0], rtol=1e-5)
    for a, b in zip(by_batch.get_weights(), by_fit.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_logs_of_single_batches_are_their_own_as_in_keras():
    x, y = data(12)
    results = []
    for library in (pellucid, keras):
        model = library.Sequential([library.layers.Dense(1, kernel_initializer="ones")])
        model.compile(optimizer=library.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
        logs = [model.train_on_batch(x[i : i + 4], y[i : i + 4], return_dict=True) for i in (0, 4, 8)]
        logs += [model.test_on_batch(x[i : i + 6], y[i : i + 6], return_dict=True) for i in (0, 6)]
        results.append([(float(log["loss"]), float(log["mae"])) for log in logs])
        assert list(logs[0]) == ["loss", "mae"]
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_numbers_come_alone_or_as_a_list_or_dict_as_in_keras():
    x, y = data(6)
    assert isinstance(compiled().evaluate(x, y, verbose=0), float)
    model = compiled(metrics=["mae"])
    loss, mae = model.evaluate(x, y, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True) == {"loss": loss, "mae": mae}
    assert model.metrics_names == ["loss", "mae"] and isinstance(mae, float)


# ---- Validation ----


def test_validation_split_keeps_the_last_rows():
    x, y = data(20)
    split, given = (compiled(Line(), optimizer=pellucid.optimizers.SGD(0.1)) for _ in range(2))
    for model in (split, given):
        model.build((None, 4))
    given.set_weights(split.get_weights())
    a = split.fit(x, y, validation_split=0.25, shuffle=False, epochs=2, verbose=0).history
    b = given.fit(x[:15], y[:15], validation_data=(x[15:], y[15:]), shuffle=False, epochs=2, verbose=0).history
    assert list(a) == ["loss", "val_loss"] == list(b)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-6)


@pytest.mark.parametrize("frequency, epochs", [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), ([1, 4], [1, 4]), ((5,), [5])])
def test_validation_frequency(frequency, epochs):
    class Epochs(pellucid.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if "val_loss" in logs:
                validated.append(epoch + 1)

    x, y = data(8)
    validated = []
    history = compiled().fit(x, y, epochs=5, validation_data=(x, y), validation_freq=frequency, callbacks=[Epochs()], verbose=0).history
    assert validated == epochs
    assert len(history["val_loss"]) == len(epochs) and len(history["loss"]) == 5


def test_validation_batch_size_is_its_own():
    x, y = data(12)
    model = compiled()
    model.fit(x, y, batch_size=6, validation_data=(x, y), validation_batch_size=3, verbose=0)
    assert {(p.purpose, p.batch_size) for p in model.ledger.programs} == {("train", 6), ("test", 3)}


def test_batch_hooks_see_every_batch_of_validation():
    x, y = data(12)
    seen = Seen()
    compiled().fit(x, y, validation_data=(x, y), validation_batch_size=3, callbacks=[seen], verbose=0)
    assert seen.test == [0, 1, 2, 3]


def test_validation_does_not_train():
    x, y = data()
    model = compiled(optimizer=pellucid.optimizers.SGD(0.0))
    model.build((None, 4))
    before = model.get_weights()
    model.fit(x, y, validation_data=(x, 100 * y), verbose=0)
    model.evaluate(x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# ---- Epochs and rows ----


def test_initial_epoch_counts_what_was_done_before():
    x, y = data(6)
    epochs = []
    callback = pellucid.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs=None: epochs.append(epoch))
    history = compiled().fit(x, y, initial_epoch=2, epochs=5, callbacks=[callback], verbose=0)
    assert epochs == history.epoch == [2, 3, 4] and len(history.history["loss"]) == 3
    assert compiled().fit(x, y, initial_epoch=5, epochs=5, verbose=0).history == {}


def rows_of_each_epoch(capsys, shuffle, rows=10, epochs=3):
    class Shift(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.shift = pellucid.Variable(0.0)

        def call(self, inputs):
            pellucid.ops.print(inputs[:, 0])
            return inputs + self.shift

    x = np.arange(rows, dtype="float32")[:, None]
    model = compiled(Shift(), optimizer=pellucid.optimizers.SGD(0.0))
    model.fit(x, x, batch_size=4, shuffle=shuffle, epochs=epochs, verbose=0)
    printed = [float(word) for word in capsys.readouterr().out.replace("[", " ").replace("]", " ").split()]
    return np.array(printed).astype(int).reshape(epochs, rows).tolist()


def test_shuffle_sees_every_row_once_an_epoch_in_a_new_order(capsys):
    epochs = rows_of_each_epoch(capsys, True)
    assert [sorted(rows) for rows in epochs] == [list(range(10))] * 3
    assert len({tuple(rows) for rows in epochs}) == 3 and list(range(10)) not in epochs


def test_without_shuffle_rows_come_in_their_order(capsys):
    assert rows_of_each_epoch(capsys, False) == [list(range(10))] * 3


def test_shuffled_targets_and_weights_stay_with_their_rows():
    x = np.arange(64, dtype="float32")[:, None]

    class Same(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.shift = pellucid.Variable(0.0)

        def call(self, inputs):
            return inputs + self.shift

    def weighted_only_where_x_is_even(y_true, y_pred):
        return abs(y_true - 2 * y_pred)

    model = compiled(Same(), optimizer=pellucid.optimizers.SGD(0.0), loss=weighted_only_where_x_is_even)
    off = 2 * x + 1.0 * (x % 2)  # wrong by one where x is odd, which weighs nothing
    history = model.fit(x, off, sample_weight=1 - x[:, 0] % 2, batch_size=10, epochs=2, verbose=0).history
    assert history["loss"] == [0.0, 0.0]


def test_batch_hooks_see_every_batch():
    x, y = data(20)
    for batch_size, batches in ((8, 3), (10, 2)):
        seen = Seen()
        model = compiled()
        model.fit(x, y, batch_size=batch_size, epochs=2, callbacks=[seen], verbose=0)
        model.evaluate(x, y, batch_size=batch_size, callbacks=[seen], verbose=0)
        model.predict(x, batch_size=batch_size, callbacks=[seen], verbose=0)
        assert seen.train == list(range(batches)) * 2 and seen.test == seen.predict == list(range(batches))


def test_steps_per_execution_changes_no_number():
    x, y = data(50)
    results = []
    for steps in (1, 4, 100, "auto"):
        pellucid.utils.set_random_seed(0)
        model = compiled(optimizer=pellucid.optimizers.SGD(0.1, momentum=0.9), metrics=["mae"], steps_per_execution=steps)
        history = model.fit(x, y, batch_size=8, epochs=2, validation_data=(x, y), verbose=0).history
        results.append([*history.values(), *map(np.ravel, model.get_weights())])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# ---- History and output ----


def test_history_lists_losses_then_metrics_then_validation():
    x, y = data()
    targets = [y, np.concatenate([y, y], 1)]
    model = compiled(Two(), loss=["mse", "mae"], metrics=[["mae"], ["mse"]], weighted_metrics=[[], ["mae"]])
    history = model.fit(x, targets, epochs=2, validation_data=(x, targets), verbose=0)
    names = ["loss", "first_loss", "second_loss", "first_mae", "second_mse", "second_mae"]
    assert list(history.history) == names + [f"val_{n}" for n in names]
    assert all(len(v) == 2 and all(isinstance(one, float) for one in v) for v in history.history.values())
    assert history.epoch == [0, 1] and history is model.history and history.model is model
    assert history.params == {"epochs": 2, "steps": 1, "verbose": 0}


def test_output_without_a_terminal_is_one_plain_line_an_epoch(capsys):
    x, y = data(64)
    model = compiled(metrics=["mae"])
    for verbose, lines in ((0, 0), (1, 3), (2, 3), ("auto", 3)):
        model.fit(x, y, epochs=3, validation_data=(x[:9], y[:9]), verbose=verbose)
        out = capsys.readouterr()
        assert out.err == "" and not {"\x1b", "\r", "\b"} & set(out.out)
        assert len(out.out.splitlines()) == lines, verbose
        for epoch, line in enumerate(out.out.splitlines(), 1):
            assert line.startswith(f"Epoch {epoch}/3 2/2") and all(f" {name}: " in line for name in ("loss", "mae", "val_loss", "val_mae"))


def test_evaluate_prints_its_numbers_and_predict_its_steps(capsys):
    x, y = data(64)
    model = compiled()
    loss = model.evaluate(x, y)
    assert capsys.readouterr().out.startswith("2/2") and np.isfinite(loss)
    model.predict(x)
    assert capsys.readouterr().out.startswith("2/2")
