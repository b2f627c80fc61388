"""Callbacks are called when and with what Keras calls them."""

import threading

import keras
import numpy as np
import pytest

import pellucid
from pellucid.callbacks import Callback, EarlyStopping, LambdaCallback
from tests.cases import some_slow
from tests.training.twins import perceptron, random_data, twins


def data(rows=20):
    x, y = random_data(2, (rows, 3), (rows, 1))
    return x, y


def line(**arguments):
    model = perceptron(pellucid, 1, None)
    model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return model


def recorder(k, hooks):
    """A callback of either library that notes hook, batch or epoch, and names in the logs."""
    events = []

    def noting(hook):
        def note(self, *args, logs=None):
            *index, logs = args if len(args) == (2 if "batch" in hook or "epoch" in hook else 1) else (*args, logs)
            events.append((hook, *index, *sorted(logs or ())))

        return note

    return type("Recorder", (k.callbacks.Callback,), {hook: noting(hook) for hook in hooks})(), events


def hooks(*parts):
    return [f"on_{part}_{end}" for part in parts for end in ("begin", "end")]


def everything(k, model, callback):
    x, y = data()
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    model.fit(x, y, batch_size=8, epochs=2, validation_data=(x[:9], y[:9]), callbacks=[callback], verbose=0)
    model.evaluate(x, y, batch_size=8, callbacks=[callback], verbose=0)
    model.predict(x, batch_size=8, callbacks=[callback], verbose=0)


def test_hooks_come_in_keras_order_with_keras_arguments():
    wanted = hooks("train", "epoch", "train_batch", "test", "test_batch", "predict", "predict_batch")
    ours, theirs = twins(perceptron, data()[0], classes=1, activation=None)
    (mine, events), (other, expected) = (recorder(k, wanted) for k in (pellucid, keras))
    everything(pellucid, ours, mine)
    everything(keras, theirs, other)
    assert events == expected and len(events) > 30


def test_hooks_need_no_default_for_logs():
    class Strict(Callback):
        def on_train_begin(self, logs):
            seen.append(logs)

        def on_epoch_begin(self, epoch, logs):
            seen.append(logs)

        def on_train_batch_begin(self, batch, logs):
            seen.append(logs)

    seen = []
    line().fit(*data(4), callbacks=[Strict()], verbose=0)
    assert seen == [{}, {}, {}]


def test_lambdas_take_logs_as_in_keras_examples():
    seen = []
    callback = LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
        on_train_batch_end=lambda batch, logs: seen.append(sorted(logs)),
        on_train_end=lambda logs: seen.append("end"),
    )
    line().fit(*data(4), callbacks=[callback], verbose=0)
    assert seen == ["begin", 0, ["loss"], "end"]


def test_lambda_callback_refuses_unknown_hooks():
    with pytest.raises(TypeError, match="on_epoch_start"):
        LambdaCallback(on_epoch_start=print)


def test_short_names_of_batch_hooks_are_called():
    class Short(Callback):
        def on_batch_begin(self, batch, logs=None):
            seen.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            seen.append(("end", batch))

    seen = []
    line().fit(*data(4), batch_size=2, callbacks=[Short()], verbose=0)
    assert seen == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]


def test_what_a_callback_adds_to_the_logs_is_in_the_history():
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["rate"] = 0.5 * epoch

    assert line().fit(*data(4), epochs=2, callbacks=[Adds()], verbose=0).history["rate"] == [0.0, 0.5]


def test_later_callbacks_see_what_earlier_ones_add_to_the_logs():
    class Adds(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["rate"] = 0.5

    seen = []
    line().fit(*data(4), callbacks=[Adds(), LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["rate"]))], verbose=0)
    assert seen == [0.5]


def test_batch_logs_are_the_means_of_the_epoch_so_far():
    x, y = data()
    seen = []
    model = line(optimizer=pellucid.optimizers.SGD(0.0))
    model.fit(
        x,
        y,
        batch_size=8,
        shuffle=False,
        verbose=0,
        callbacks=[LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(logs["loss"]))],
    )
    squares = (model.predict(x, verbose=0) - y) ** 2
    np.testing.assert_allclose(seen, [squares[:8].mean(), squares[:16].mean(), squares.mean()], rtol=1e-5)


def test_outputs_of_a_predicted_batch_are_those_of_its_rows():
    x, _ = data(20)
    seen = []
    line().predict(
        x, batch_size=8, verbose=0, callbacks=[LambdaCallback(on_predict_batch_end=lambda b, logs: seen.append(len(logs["outputs"])))]
    )
    assert seen == [8, 8, 4]


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_predicted_batch_begins_before_it_is_computed(eagerly):
    model = line(run_eagerly=eagerly)
    model.build((None, 3))

    def begin(batch, logs):
        for weight in model.weights:
            weight.assign(np.full(weight.shape, float(batch)))

    predicted = model.predict(np.ones((20, 3)), batch_size=8, verbose=0, callbacks=[LambdaCallback(on_predict_batch_begin=begin)])
    expected = [model.predict_on_batch(np.ones((1, 3)))[0, 0] for batch in range(3) if begin(batch, {}) is None]
    assert predicted[:, 0].tolist() == np.repeat(expected, [8, 8, 4]).tolist() and len(set(expected)) == 3


class Records(Callback):
    """Notes what batch hooks are given."""

    def __init__(self, reads_logs_only=False, stops_at=None):
        self.reads_logs_only, self.stops_at = reads_logs_only, stops_at
        self.begun, self.means, self.batches = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        assert self.begun[-1] == batch
        self.means.append(dict(logs))
        self.batches.append(dict(logs.batch))
        if batch == self.stops_at:
            self.model.stop_training = True

    on_test_batch_begin, on_test_batch_end = on_train_batch_begin, on_train_batch_end


LOOPS = {"loops": {}, "loops of 3": {"steps_per_execution": 3}, "steps": {"steps_per_execution": 1}, "eager": {"run_eagerly": True}}


@pytest.mark.parametrize("reads_logs_only", some_slow([False, True], [True]))
@pytest.mark.parametrize("form", LOOPS)
def test_batch_hooks_get_the_true_logs_of_each_batch_beside_the_means(form, reads_logs_only):
    x, y = data(26)
    model = line(**LOOPS[form], metrics=["mae", pellucid.metrics.RootMeanSquaredError()])
    model.build((None, 3))
    other = line()
    other.build((None, 3))
    other.set_weights(model.get_weights())
    seen = Records(reads_logs_only)
    logs = model.fit(x, y, batch_size=4, shuffle=False, callbacks=[seen], verbose=0).history
    errors = []
    for start in range(0, 26, 4):
        batch = slice(start, start + 4)
        errors.append(np.asarray(other.predict_on_batch(x[batch]) - y[batch]))
        other.train_on_batch(x[batch], y[batch])
    assert seen.begun == list(range(7)) and len(seen.means) == len(seen.batches) == 7
    for i, (means, own) in enumerate(zip(seen.means, seen.batches)):
        for given, error in ((means, np.concatenate(errors[: i + 1])), (own, errors[i])):
            expected = {"loss": np.mean(error**2), "mae": np.mean(np.abs(error)), "root_mean_squared_error": np.sqrt(np.mean(error**2))}
            assert list(given) == list(expected)
            np.testing.assert_allclose(list(given.values()), list(expected.values()), rtol=2e-5)
    assert logs == {name: [value] for name, value in seen.means[-1].items()}
    programs = [p for p in model.ledger.programs if p.purpose == "train"]
    assert any(p.loop for p in programs) == (reads_logs_only and form.startswith("loops"))


@pytest.mark.parametrize("reads_logs_only", [False, True])
def test_evaluation_tells_each_batch_too(reads_logs_only):
    x, y = data(26)
    model = line(optimizer=pellucid.optimizers.SGD(0.0))
    seen = Records(reads_logs_only)
    loss = model.evaluate(x, y, batch_size=4, callbacks=[seen], verbose=0)
    squares = (model.predict(x, verbose=0) - y) ** 2
    np.testing.assert_allclose([b["loss"] for b in seen.batches], [squares[i : i + 4].mean() for i in range(0, 26, 4)], rtol=1e-5)
    assert seen.begun == list(range(7)) and seen.means[-1]["loss"] == loss


def test_logs_of_a_batch_hold_every_output_and_what_is_no_number():
    class Counts(pellucid.metrics.Metric):
        def __init__(self):
            super().__init__(name="counts")
            self.total = self.add_weight(shape=(2,), name="total")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(pellucid.ops.stack([pellucid.ops.sum(y_true > 0), pellucid.ops.sum(y_true <= 0)]))

        def result(self):
            return self.total.value

        def reset_state(self):
            self.total.assign(np.zeros(2))

    class Two(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = pellucid.layers.Dense(1), pellucid.layers.Dense(1)

        def call(self, x):
            return {"a": self.a(x), "b": self.b(x)}

    x, y = data(12)
    model = Two()
    model.compile("sgd", "mse", metrics={"a": [Counts()]})
    seen = Records(reads_logs_only=True)
    model.fit(x, {"a": y, "b": y}, batch_size=4, shuffle=False, callbacks=[seen], verbose=0)
    assert list(seen.batches[0]) == list(seen.means[0]) == ["loss", "a_loss", "b_loss", "a_counts"]
    positive = [int((y[i : i + 4] > 0).sum()) for i in (0, 4, 8)]
    assert [b["a_counts"].tolist() for b in seen.batches] == [[n, 4 - n] for n in positive]
    assert seen.means[-1]["a_counts"].tolist() == [sum(positive), 12 - sum(positive)]
    for b in seen.batches:
        np.testing.assert_allclose(b["loss"], b["a_loss"] + b["b_loss"], rtol=1e-6)


@pytest.mark.parametrize("reads_logs_only", [False, True])
def test_a_step_of_the_users_own_tells_what_it_returned(reads_logs_only):
    class Own(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = pellucid.layers.Dense(1)

        def call(self, x):
            return self.out(x)

        def train_step(self, data):
            x, y = data
            loss = pellucid.ops.mean((self(x) - y) ** 2)
            return {"z": loss, "a": loss + 1}

    x, y = data(26)
    model = Own()
    model.compile("sgd")
    seen = Records(reads_logs_only)
    model.fit(x, y, batch_size=4, shuffle=False, callbacks=[seen], verbose=0)
    squares = (model.predict(x, verbose=0) - y) ** 2
    expected = [squares[i : i + 4].mean() for i in range(0, 26, 4)]
    np.testing.assert_allclose([b["z"] for b in seen.batches], expected, rtol=1e-5)
    assert seen.means == seen.batches and list(seen.means[0]) == ["z", "a"]


def test_a_bad_batch_is_undone_beside_a_callback_that_reads():
    x, y = data(24)
    x[13] = np.nan
    model = line(nan="raise", steps_per_execution=4)
    seen = Records(reads_logs_only=True)
    with pytest.warns(pellucid.DataWarning), pytest.raises(pellucid.NonFiniteError, match="batch 4"):
        model.fit(x, y, batch_size=4, shuffle=False, callbacks=[seen], verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights()) and int(model.optimizer.iterations) == 3


@pytest.mark.parametrize("reads_logs_only, done", [(False, 3), (True, 4)])
def test_stop_training_acts_after_the_batch_or_after_the_dispatch_of_one_that_only_reads(reads_logs_only, done):
    x, y = data(40)
    model = line(steps_per_execution=4)
    seen = Records(reads_logs_only, stops_at=2)
    model.fit(x, y, batch_size=4, callbacks=[seen], verbose=0)
    assert len(seen.means) == done == int(model.optimizer.iterations)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("part", some_slow(["train", "test"], ["train"]))
def test_stop_training_from_any_hook_stops_where_keras_does(hook, part):
    hook = hook.replace("train", part).replace("epoch", "test" if part == "test" else "epoch")
    steps, epochs = [], []
    x, y = data(24)
    for k in (pellucid, keras):
        stops = type("Stops", (k.callbacks.Callback,), {hook: lambda self, *args, **kwargs: setattr(self.model, "stop_training", True)})()
        model = k.Sequential([k.Input((3,)), k.layers.Dense(1)])
        model.compile("sgd", "mse")
        epochs.append(model.fit(x, y, batch_size=4, epochs=3, validation_data=(x, y), callbacks=[stops], verbose=0).history)
        steps.append(int(model.optimizer.iterations))
    assert steps[0] == steps[1] and [len(h["loss"]) for h in epochs] == [1, 1] and list(epochs[0]) == list(epochs[1])


def test_model_and_params_are_told_before_training():
    class Asks(Callback):
        def on_train_begin(self, logs=None):
            assert self.model is model and self.params == {"epochs": 3, "steps": 3, "verbose": 0}
            asked.append(True)

    asked = []
    model = line()
    model.fit(*data(), batch_size=8, epochs=3, callbacks=Asks(), verbose=0)
    assert asked == [True]


# ---- Stopping ----


def test_stop_training_at_the_end_of_an_epoch_stops_there():
    class Stops(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

        def on_train_end(self, logs=None):
            ended.append(sorted(logs))

    ended = []
    history = line().fit(*data(), epochs=10, callbacks=[Stops()], verbose=0)
    assert history.epoch == [0, 1] and ended == [["loss"]]


@pytest.mark.parametrize("validates", [False, True])
def test_stop_training_after_a_batch_stops_exactly_there(validates):
    class Stops(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)
            self.model.stop_training = len(seen) == 5

    x, y = data(24)
    results = []
    stopped, expected = (perceptron(pellucid, 1, None) for _ in range(2))
    for model in (stopped, expected):
        model.build((None, 3))
        model.compile(optimizer=pellucid.optimizers.SGD(0.1), loss="mse")
    expected.set_weights(stopped.get_weights())
    seen = []
    history = stopped.fit(
        x, y, batch_size=8, epochs=9, shuffle=False, validation_data=(x, y) if validates else None, callbacks=[Stops()], verbose=0
    )
    for batch in (0, 1, 2, 0, 1):
        results.append(expected.train_on_batch(x[8 * batch : 8 * batch + 8], y[8 * batch : 8 * batch + 8]))
    for a, b in zip(stopped.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert seen == [0, 1, 2, 0, 1] and history.epoch == [0, 1] and int(stopped.optimizer.iterations) == 5
    assert list(history.history) == ["loss", "val_loss"] if validates else ["loss"]


def test_training_goes_on_after_it_was_stopped():
    class Stops(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model = line()
    assert len(model.fit(*data(4), epochs=3, callbacks=[Stops()], verbose=0).epoch) == 1
    assert len(model.fit(*data(4), epochs=3, verbose=0).epoch) == 3


def test_no_thread_stays_behind_when_an_epoch_is_stopped_in_the_middle():
    class Stops(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    before = set(threading.enumerate())
    x, y = data(64)
    line(steps_per_execution=1).fit(x, y, batch_size=1, epochs=3, callbacks=[Stops()], verbose=0)
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(3)
    assert not [thread.name for thread in left if thread.is_alive()]


# ---- EarlyStopping, driven by made-up losses ----


class Stub:
    """What EarlyStopping asks of a model: its weights are the number of the epoch."""

    def __init__(self):
        self.stop_training, self.weights = False, None

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def driven(callback, values, monitor):
    model = Stub()
    callback.set_model(model)
    callback.on_train_begin()
    epoch = -1
    for epoch, value in enumerate(values):
        model.weights = [epoch]
        callback.on_epoch_end(epoch, {monitor: value})
        if model.stop_training:
            break
    callback.on_train_end()
    return model.stop_training, epoch, callback.stopped_epoch, callback.best_epoch, float(callback.best), callback.wait, model.weights


FALLING = [5.0, 4.0, 3.0, 2.0, 1.0]
PLATEAU = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
NOISY = [3.0, 3.5, 2.5, 2.6, 2.7, 2.4, 2.9, 2.8, 2.7, 2.6]
NAN = float("nan")
EARLY_STOPPING = {
    "never": (FALLING, {}),
    "at once": (PLATEAU, {}),
    "rising from the start": ([1.0, 2.0, 3.0], {"patience": 1}),
    "patience": (PLATEAU, {"patience": 3}),
    "noise": (NOISY, {"patience": 3}),
    "best weights": (NOISY, {"patience": 3, "restore_best_weights": True}),
    "best weights where it never stopped": (NOISY, {"patience": 30, "restore_best_weights": True}),
    "best weights of the first epoch": ([1.0, 2.0, 3.0, 4.0], {"patience": 2, "restore_best_weights": True}),
    "small gains do not count": ([1.0, 0.95, 0.91, 0.86, 0.8], {"min_delta": 0.1, "patience": 2}),
    "negative min_delta is its size": ([1.0, 0.95, 0.91, 0.86, 0.8], {"min_delta": -0.1, "patience": 2}),
    "baseline beaten": (FALLING, {"baseline": 4.5, "patience": 2}),
    "baseline not beaten": (FALLING, {"baseline": 0.5, "patience": 3}),
    "baseline and best weights": (FALLING, {"baseline": 0.5, "patience": 3, "restore_best_weights": True}),
    "nan": ([3.0, NAN, NAN, NAN], {"patience": 2, "restore_best_weights": True}),
    "nan that passes": ([3.0, NAN, 2.0, NAN, NAN, NAN], {"patience": 2}),
    "warm-up": ([1.0, 5.0, 4.0, 3.0, 3.0, 3.0, 3.0], {"start_from_epoch": 2, "patience": 2, "restore_best_weights": True}),
    "upwards": ([0.1, 0.5, 0.4, 0.45, 0.3], {"mode": "max", "patience": 2, "restore_best_weights": True}),
    "upwards by min_delta": ([0.1, 0.5, 0.55, 0.58, 0.7], {"mode": "max", "min_delta": 0.1, "patience": 2}),
    "upwards with a baseline": ([0.1, 0.5, 0.55, 0.58, 0.7], {"mode": "max", "baseline": 0.9, "patience": 2}),
}


@pytest.mark.parametrize("case", EARLY_STOPPING)
def test_early_stopping_does_what_keras_does(case):
    values, arguments = EARLY_STOPPING[case]
    monitor = "val_score" if "mode" in arguments else "val_loss"
    ours, theirs = (driven(k.callbacks.EarlyStopping(monitor=monitor, **arguments), values, monitor) for k in (pellucid, keras))
    assert ours == theirs


@pytest.mark.parametrize("name, upwards", [("val_loss", False), ("loss", False), ("val_accuracy", True), ("auc", True), ("val_mae", False)])
def test_early_stopping_knows_which_way_is_better(name, upwards):
    better, worse = (2.0, 1.0) if upwards else (1.0, 2.0)
    assert driven(EarlyStopping(name, patience=1), [worse, better, worse], name)[3] == 1


def test_early_stopping_can_be_used_again():
    callback = EarlyStopping(patience=2, restore_best_weights=True)
    assert driven(callback, PLATEAU, "val_loss") == driven(callback, PLATEAU, "val_loss")


def test_early_stopping_says_when_it_stops(capsys):
    driven(EarlyStopping(verbose=1), PLATEAU, "val_loss")
    assert "Epoch 3: early stopping" in capsys.readouterr().out


def test_early_stopping_names_what_it_cannot_find():
    with pytest.warns(UserWarning, match="val_loss.*there are loss"):
        line().fit(*data(4), callbacks=[EarlyStopping()], verbose=0)


def test_early_stopping_restores_the_weights_of_the_best_epoch():
    x, y = data()
    kept = []
    model = line(optimizer=pellucid.optimizers.SGD(30.0))  # diverges
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append((logs["loss"], model.get_weights())))
    model.fit(x, y, epochs=6, callbacks=[keep, EarlyStopping("loss", patience=2, restore_best_weights=True)], verbose=0)
    best = min((k for k in kept if np.isfinite(k[0])), key=lambda k: k[0])
    assert len(kept) < 6 and all(np.array_equal(a, b) for a, b in zip(model.get_weights(), best[1], strict=True))


def test_early_stopping_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="mode='minimum'"):
        EarlyStopping(mode="minimum")
