"""Keras's callbacks do the same here, on made-up logs and in ``fit``."""

import csv

import keras
import numpy as np
import pytest

import pellucid
from pellucid.callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ProgressBar,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from tests.training.twins import random_data

X, Y = random_data(5, (24, 3), (24, 1))
BOTH = (pellucid, keras)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")  # of Keras


def sequential(k, **arguments):
    model = k.Sequential([k.Input((3,)), k.layers.Dense(1)])
    model.compile(**{"optimizer": k.optimizers.SGD(0.5), "loss": "mse", **arguments})
    return model


def same_for_both(run):
    """The result of ``run(library)``, which is the same for both."""
    ours, theirs = map(run, BOTH)
    assert ours == theirs
    return ours


class Stub:
    """What callbacks that change the rate ask of a model."""

    def __init__(self, k, rate=0.5):
        self.optimizer, self.metrics, self.stop_training = k.optimizers.SGD(rate), [], False


def rates(k, callback, values, monitor="val_loss"):
    """The learning rate after each epoch."""
    model = Stub(k)
    callback.set_model(model)
    callback.on_train_begin()
    found = []
    for epoch, value in enumerate(values):
        logs = {monitor: value}
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
        found.append((round(float(model.optimizer.learning_rate), 7), round(logs["learning_rate"], 7)))
    return found


# ---- ReduceLROnPlateau ----

FALLING = [5.0, 4.0, 3.0, 2.0, 1.0]
FLAT = [3.0, 2.0, *[2.0] * 9]
NOISY = [3.0, 3.5, 2.5, 2.6, 2.7, 2.4, 2.9, 2.8, 2.7, 2.6, 2.5, 2.45]
PLATEAUS = {
    "never": (FALLING, {}),
    "at once": (FLAT, {"patience": 0}),
    "patience": (FLAT, {"patience": 3}),
    "factor": (FLAT, {"patience": 2, "factor": 0.5}),
    "floor": (FLAT, {"patience": 1, "factor": 0.5, "min_lr": 0.1}),
    "cooldown": (FLAT, {"patience": 1, "factor": 0.5, "cooldown": 3}),
    "noise": (NOISY, {"patience": 2, "factor": 0.5, "cooldown": 1}),
    "small gains": ([1.0, 0.99995, 0.9999, 0.99985], {"patience": 2}),
    "min_delta": ([1.0, 0.95, 0.91, 0.86, 0.8], {"patience": 2, "min_delta": 0.1}),
    "nan": ([3.0, float("nan"), float("nan"), float("nan")], {"patience": 2}),
    "upwards": ([0.1, 0.5, 0.4, 0.45, 0.3], {"patience": 2, "mode": "max"}),
}


@pytest.mark.parametrize("case", PLATEAUS)
def test_reduce_lr_on_plateau_does_what_keras_does(case):
    values, arguments = PLATEAUS[case]
    found = same_for_both(lambda k: rates(k, k.callbacks.ReduceLROnPlateau(**arguments), values))
    assert (found[-1][0] < 0.5) == (case != "never")


def test_reduce_lr_on_plateau_in_fit_compiles_nothing_anew():
    def run(k):
        model = sequential(k, optimizer=k.optimizers.SGD(0.125))
        logs = model.fit(X, Y, epochs=6, callbacks=[k.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=9)], verbose=0)
        if k is pellucid:
            assert model.ledger.call_count == 1 and len(model.ledger.programs) == 1
        return list(logs.history), logs.history["learning_rate"]

    assert same_for_both(run)[1][-1] < 0.125


def test_reduce_lr_on_plateau_says_what_it_does(capsys):
    rates(pellucid, ReduceLROnPlateau(patience=1, verbose=1), FLAT[:4])
    assert "Epoch 3: ReduceLROnPlateau lowers the learning rate to 0.05" in capsys.readouterr().out


def test_reduce_lr_on_plateau_refuses_a_factor_that_does_not_lower():
    with pytest.raises(ValueError, match=r"factor=1\.5; expected a number below 1"):
        ReduceLROnPlateau(factor=1.5)


# ---- LearningRateScheduler ----

SCHEDULES = {
    "epoch and rate": lambda epoch, rate: rate * 0.5,
    "epoch alone": lambda epoch: 1.0 / (epoch + 1),
    "a NumPy number": lambda epoch, rate: np.float32(0.25),
    "with a default": lambda epoch, rate=3.0: rate + 0.125,
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_scheduler_sets_the_rate_of_each_epoch(name):
    same_for_both(lambda k: rates(k, k.callbacks.LearningRateScheduler(SCHEDULES[name]), FALLING))


def test_a_scheduled_rate_is_that_of_the_steps():
    def run(k):
        model = sequential(k)
        model.set_weights([np.zeros((3, 1)), np.zeros(1)])
        schedule = k.callbacks.LearningRateScheduler(lambda epoch, rate: [0.5, 0.0, 0.25][epoch])
        after = []
        note = k.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: after.append(model.get_weights()[0].ravel()))
        logs = model.fit(X, Y, batch_size=24, epochs=3, callbacks=[schedule, note], verbose=0).history
        assert logs["learning_rate"] == [0.5, 0.0, 0.25]
        return after

    ours, theirs = map(run, BOTH)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert np.array_equal(ours[0], ours[1]) and not np.array_equal(ours[1], ours[2])


def test_a_scheduler_names_what_is_wrong(capsys):
    with pytest.raises(ValueError, match=r"schedule\(0, …\) returned 'fast'; expected a float"):
        rates(pellucid, LearningRateScheduler(lambda epoch, rate: "fast"), FALLING)
    with pytest.raises(TypeError, match=r"schedule=0\.1; expected a function"):
        LearningRateScheduler(0.1)
    rates(pellucid, LearningRateScheduler(lambda epoch, rate: 0.25, verbose=1), FALLING[:1])
    assert "Epoch 1: LearningRateScheduler sets the learning rate to 0.25" in capsys.readouterr().out


def test_an_error_of_the_users_schedule_is_shown_as_it_is():
    def schedule(epoch, rate):
        raise TypeError("the user's own")

    with pytest.raises(TypeError, match="the user's own"):
        rates(pellucid, LearningRateScheduler(schedule), FALLING)


@pytest.mark.parametrize("make", [lambda: LearningRateScheduler(lambda e: 0.1), lambda: ReduceLROnPlateau("loss", patience=0, min_delta=9)])
def test_a_rate_that_follows_a_schedule_is_not_set(make):
    model = sequential(pellucid, optimizer=pellucid.optimizers.SGD(lambda step: 0.1))
    with pytest.raises(ValueError, match="follows a schedule.*expected a number"):
        model.fit(X, Y, epochs=3, callbacks=[make()], verbose=0)


# ---- Which way is better ----


@pytest.mark.parametrize(
    "metric, name, upwards",
    [
        ("mae", "mae", False),
        ("accuracy", "val_accuracy", True),
        (lambda k: k.metrics.AUC(name="area"), "area", True),
        (lambda k: k.metrics.MeanSquaredError(name="m"), "val_m", False),
        (lambda k: k.metrics.RootMeanSquaredError(), "root_mean_squared_error", False),
    ],
)
def test_the_direction_is_that_of_the_metric(metric, name, upwards):
    def run(k):
        model = sequential(k, metrics=[metric(k) if callable(metric) else metric], loss="binary_crossentropy")
        stops = k.callbacks.EarlyStopping(name, patience=2)
        better, worse = (2.0, 1.0) if upwards else (1.0, 2.0)
        with_logs = [worse, better, worse, worse, worse]
        scripted = k.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update({name: with_logs[epoch]}))
        model.fit(X, Y > 0, epochs=5, callbacks=[scripted, stops] if k is pellucid else [Both(k, scripted, stops)], verbose=0)
        return stops.stopped_epoch, stops.best_epoch

    assert same_for_both(run) == (3, 1)


def Both(k, first, second):  # Keras hands each callback logs of its own
    def on_epoch_end(self, epoch, logs=None):
        logs = dict(logs)
        first.on_epoch_end(epoch, logs)
        second.on_epoch_end(epoch, logs)

    def on_train_begin(self, logs=None):
        second.set_model(self.model)
        second.on_train_begin()

    return type("Both", (k.callbacks.Callback,), {"on_epoch_end": on_epoch_end, "on_train_begin": on_train_begin})()


def test_a_metric_of_a_users_own_says_which_way_is_better_or_the_callback_must_be_told():
    def wonder(y_true, y_pred):
        return y_true * 0

    model = sequential(pellucid, metrics=[wonder])
    with pytest.raises(ValueError, match=r"EarlyStopping: monitor='wonder' does not say.*mode='max'"):
        model.fit(X, Y, callbacks=[EarlyStopping("wonder")], verbose=0)
    model.fit(X, Y, callbacks=[EarlyStopping("wonder", mode="max")], verbose=0)

    class Gain(pellucid.metrics.Mean):
        _direction = "up"

        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred)

    model = sequential(pellucid, metrics=[Gain(name="wonder")])
    stops = EarlyStopping("wonder")
    model.fit(X, Y, callbacks=[stops], verbose=0)
    assert stops.upwards is True


def test_early_stopping_says_which_weights_it_puts_back(capsys):
    model = sequential(pellucid, optimizer="sgd")
    model.fit(X, Y, epochs=2, callbacks=[EarlyStopping("loss", verbose=1, restore_best_weights=True)], verbose=0)
    assert "best epoch, 2" in capsys.readouterr().out


# ---- TerminateOnNaN ----


def diverging(k, **arguments):
    """Its loss is infinite from the fourth batch on."""
    model = sequential(k, **arguments)
    y = np.where(np.arange(24) == 12, 1e30, 1.0).astype("float32")[:, None]  # whose square is infinite
    return model, y


def test_terminate_on_nan_ends_training_where_keras_does(capsys):
    def run(k):
        model, y = diverging(k)
        history = model.fit(X, y, batch_size=4, epochs=3, shuffle=False, callbacks=[k.callbacks.TerminateOnNaN()], verbose=0)
        return history.epoch, np.isfinite(history.history["loss"]).tolist()

    assert same_for_both(run) == ([0], [False])
    assert "Batch 3: the loss is inf, training ends." in capsys.readouterr().out


def test_terminate_on_nan_costs_no_dispatches_and_says_it_once(capsys):
    model, y = diverging(pellucid)
    model.fit(X, y, batch_size=4, epochs=3, shuffle=False, callbacks=[TerminateOnNaN()], verbose=0)
    assert [p.loop for p in model.ledger.programs] == [True] and capsys.readouterr().out.count("training ends") == 1
    sequential(pellucid).fit(X, Y, callbacks=[TerminateOnNaN()], verbose=0)


def test_terminate_on_nan_can_raise():
    model, y = diverging(pellucid)
    ended = []
    callbacks = [TerminateOnNaN(raise_error=True), LambdaCallback(on_train_end=ended.append)]
    with pytest.raises(RuntimeError, match=r"the loss is inf in batch 3.*nan='raise'"):
        model.fit(X, y, batch_size=4, shuffle=False, callbacks=callbacks, verbose=0)
    assert not ended


# ---- CSVLogger ----

LOGS = [
    {"loss": 0.5, "val_loss": 0.25},
    {"loss": np.float32(0.125), "val_loss": 1, "added": 3},
    {"loss": np.array(2.0)},
    {"loss": np.array([1, 2]), "val_loss": "text"},
]


@pytest.mark.parametrize("logs", [LOGS, [{"b": 1.0, "a": 2.0}, {"a": 3.0}], [{}]], ids=["validation", "no validation", "nothing"])
@pytest.mark.parametrize("arguments", [{}, {"separator": ";"}, {"append": True}])
def test_a_csv_file_is_that_of_keras(tmp_path, logs, arguments):
    def run(k):
        path = tmp_path / f"{k.__name__}.csv"
        logger = k.callbacks.CSVLogger(str(path) if k is keras else path, **arguments)
        for _ in range(2):
            logger.on_train_begin()
            for epoch, one in enumerate(logs):
                logger.on_epoch_end(epoch, one)
            logger.on_train_end()
        return path.read_bytes()

    same_for_both(run)


def test_a_csv_file_of_fit_holds_its_history(tmp_path):
    model = sequential(pellucid, metrics=["mae"])
    history = model.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=[CSVLogger(tmp_path / "log.csv")], verbose=0).history
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [r["epoch"] for r in rows] == ["0", "1"]
    assert {name: [float(r[name]) for r in rows] for name in history} == history


# ---- CallbackList, History, LambdaCallback ----


def events(k, **arguments):
    """A list of callbacks and what its two members were told."""
    seen = []
    hooks = ("on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_test_batch_end", "on_batch_end")
    hooks += ("on_epoch_end", "on_train_end", "on_predict_begin", "on_predict_end", "on_test_begin", "on_test_end")

    def noting(name, hook):
        return lambda self, *args, **kwargs: seen.append((name, hook, *args, *kwargs.values()))

    made = [type(n, (k.callbacks.Callback,), {h: noting(n, h) for h in hooks})() for n in ("one", "two")]
    return k.callbacks.CallbackList(made, **arguments), seen, made


def test_a_list_of_callbacks_calls_each_as_in_keras():
    def run(k):
        some, seen, made = events(k, epochs=2, steps=3)
        assert all(c.params == {"epochs": 2, "steps": 3} for c in made)
        some.on_train_begin()
        some.on_epoch_begin(0)
        some.on_train_batch_begin(0)
        some.on_train_batch_end(0, {"loss": 1.0})
        some.on_batch_end(1, logs={"loss": 1.0})
        some.on_epoch_end(0, logs={"loss": 2.0})
        some.on_train_end({"loss": 3.0})
        return [(*names, *(x for x in rest if x)) for *names, rest in ((e[0], e[1], e[2:]) for e in seen)]

    assert len(same_for_both(run)) == 14


def test_a_list_adds_history_and_progress_and_tells_the_model(capsys):
    model = sequential(pellucid)
    some = CallbackList(add_history=True, add_progbar=True, model=model, epochs=1, steps=2)
    assert [type(c) for c in some.callbacks] == [ProgressBar, History] and all(c.model is model for c in some.callbacks)
    some.on_train_begin()
    some.on_epoch_begin(0)
    some.on_train_batch_end(0, {"loss": 1.0})
    some.on_train_batch_end(1, {"loss": 0.5})
    some.on_epoch_end(0, {"loss": 0.5})
    assert some.history.history == {"loss": [0.5]} and "Epoch 1/1 2/2" in capsys.readouterr().out
    own = History()
    assert CallbackList([CallbackList([own])], add_history=True).callbacks == [own]


def test_fit_takes_a_list_of_callbacks_and_the_users_own_history_and_progress(capsys):
    own, model = History(), sequential(pellucid)
    some = CallbackList([own, ProgressBar(verbose=2)])
    assert model.fit(X, Y, epochs=2, callbacks=some) is own
    assert own.epoch == [0, 1] and capsys.readouterr().out.count("Epoch 2/2") == 1
    model.fit(X, Y, callbacks=[own], verbose=0)
    assert own.epoch == [0] and len(own.history["loss"]) == 3  # as in Keras


def test_a_list_refuses_what_is_no_callback():
    with pytest.raises(TypeError, match="callbacks holds 3; expected"):
        CallbackList([Callback(), 3])
    with pytest.raises(TypeError, match="callbacks=3; expected a list"):
        CallbackList(3)


def test_lambdas_go_by_position_and_by_name_as_in_keras():
    def run(k):
        seen = []
        first = lambda epoch, logs: seen.append(("begin", epoch))
        callback = k.callbacks.LambdaCallback(first, None, on_test_end=lambda logs: seen.append("test"))
        sequential(k).fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=[callback], verbose=0)
        return seen

    assert same_for_both(run) == [("begin", 0), "test", ("begin", 1), "test"]
