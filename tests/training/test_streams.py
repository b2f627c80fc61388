"""Anything that iterates trains, evaluates and predicts as arrays do, and an iterator that fails costs nothing."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import threading
import time

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid.callbacks import Callback, LambdaCallback
from pellucid.errors import DataError, DataWarning
from pellucid.training.data import filling
from tests.cases import some_slow
from tests.training.twins import random_data

X, Y = random_data(4, (40, 3), (40, 1))
W = np.linspace(0.5, 2, 40, dtype="float32")
SIZE = 8


class Line(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = pellucid.layers.Dense(1)

    def call(self, inputs):
        return self.out(inputs)


class Pooled(Line):
    """Takes any number of time steps."""

    def call(self, inputs):
        return self.out(pellucid.ops.mean(inputs, axis=1))


def compiled(like=None, model=None, **arguments):
    model = model or Line()
    model.compile(**{"optimizer": pellucid.optimizers.SGD(0.05, momentum=0.9), "loss": "mse", "metrics": ["mae"], **arguments})
    if like is not None:
        model.capture((None, 3))
        model.set_weights(like.get_weights())
    return model


@pytest.fixture
def model():
    model = compiled()
    model.capture((None, 3))
    return model


def batches(*arrays, size=SIZE, rows=40):
    """One pass over the arrays."""
    arrays = arrays or (X, Y)
    for i in range(0, rows, size):
        yield tuple(a[i : min(rows, i + size)] for a in arrays)


class Again:
    """Can be iterated again and again."""

    def __init__(self, make=batches):
        self.make = make

    def __iter__(self):
        return self.make()


class Data(pellucid.utils.PyDataset):
    def __init__(self, count=5, **arguments):
        super().__init__(**arguments)
        self.count, self.asked, self.hooks = count, [], []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked.append(index)
        return X[SIZE * index : SIZE * index + SIZE], Y[SIZE * index : SIZE * index + SIZE]

    def on_epoch_begin(self):
        self.hooks.append("begin")

    def on_epoch_end(self):
        self.hooks.append("end")


def assert_equal(one, other, rtol=1e-6):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7)


def own_threads():
    return [t for t in threading.enumerate() if t.name.startswith("pellucid-") and t.is_alive()]


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = own_threads()
    yield
    end = time.monotonic() + 5
    while (left := [t for t in own_threads() if t not in before]) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left


# ---- The same as arrays ----

SOURCES = {
    "generator": lambda: itertools.chain.from_iterable(itertools.repeat(list(batches()), 2)),
    "something that begins anew": Again,
    "PyDataset": Data,
    "PyDataset with workers": lambda: Data(workers=3),
    "lists instead of tuples": lambda: Again(lambda: map(list, batches())),
    "float64": lambda: Again(lambda: batches(X.astype("float64"), Y.astype("float64"))),
    "arrays of JAX": lambda: Again(lambda: batches(jnp.asarray(X), jnp.asarray(Y))),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("each_step", some_slow([False, True], [False]))
def test_batches_train_evaluate_and_predict_as_arrays_do(model, name, each_step):
    other = compiled(like=model)
    seen = [LambdaCallback(on_train_batch_end=lambda batch, logs: None)] if each_step else []
    given = {"x": SOURCES[name](), "epochs": 2, "shuffle": False, "verbose": 0, "callbacks": seen}
    history = model.fit(**given, steps_per_epoch=5 if name == "generator" else None).history
    expected = other.fit(X, Y, batch_size=SIZE, shuffle=False, epochs=2, verbose=0).history
    assert list(history) == list(expected)
    for key in expected:
        np.testing.assert_allclose(history[key], expected[key], rtol=1e-5)
    assert_equal(model, other)
    assert model.ledger.call_count == 1
    np.testing.assert_allclose(model.evaluate(SOURCES[name](), steps=5, verbose=0), other.evaluate(X, Y, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(model.predict(SOURCES[name](), steps=5, verbose=0), other.predict(X, verbose=0), rtol=1e-5)


def test_weights_of_rows_come_with_the_batches(model):
    other = compiled(like=model)
    model.fit(batches(X, Y, W), verbose=0)
    other.fit(X, Y, sample_weight=W, batch_size=SIZE, shuffle=False, verbose=0)
    assert_equal(model, other)


def test_inputs_of_any_structure():
    class Both(Line):
        def call(self, inputs):
            return self.out(inputs["a"] + inputs["b"])

    one, other = compiled(model=Both()), compiled(model=Both())
    inputs = {"a": X, "b": 2 * X}
    other.build({"a": (None, 3), "b": (None, 3)})
    one.build({"a": (None, 3), "b": (None, 3)})
    one.set_weights(other.get_weights())
    one.fit(({"a": a, "b": b}, y) for a, b, y in batches(X, 2 * X, Y))
    other.fit(inputs, Y, batch_size=SIZE, shuffle=False, verbose=0)
    assert_equal(one, other)
    assert one.predict(({"a": a, "b": b} for a, b in batches(X, X)), verbose=0).shape == (40, 1)


def test_a_batch_may_be_the_inputs_alone(model):
    expected = model.predict(X, verbose=0)
    for wrap in (lambda x: x, lambda x: (x,), lambda x: [x]):
        np.testing.assert_allclose(model.predict((wrap(x) for (x,) in batches(X)), verbose=0), expected, rtol=1e-6)


def test_run_eagerly_takes_batches(model):
    other = compiled(like=model, run_eagerly=True)
    model.fit(Again(lambda: batches(size=15)), epochs=2, verbose=0)
    other.fit(Again(lambda: batches(size=15)), epochs=2, verbose=0)
    assert_equal(model, other, 1e-5)


class Tensor:
    """Like a tensor of another framework: has ``numpy()`` and no more."""

    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


def test_tensors_of_other_frameworks_are_taken_by_their_numpy_method(model):
    other = compiled(like=model)
    model.fit(Again(lambda: ((Tensor(x), Tensor(y)) for x, y in batches())), verbose=0)
    other.fit(X, Y, batch_size=SIZE, shuffle=False, verbose=0)
    assert_equal(model, other)


def test_a_buffer_that_is_filled_again_does_no_harm(model):
    def refilling():
        x, y = np.empty((SIZE, 3), "float32"), np.empty((SIZE, 1), "float32")
        for a, b in batches():
            x[:], y[:] = a, b
            yield x, y
            x[:], y[:] = np.nan, np.nan

    other = compiled(like=model)
    np.testing.assert_allclose(model.predict(refilling(), verbose=0), model.predict(X, verbose=0), rtol=1e-6)
    model.fit(Again(refilling), epochs=3, verbose=0)
    other.fit(X, Y, batch_size=SIZE, shuffle=False, epochs=3, verbose=0)
    assert_equal(model, other)


# ---- Sizes and shapes ----


def test_batches_of_other_sizes_are_served_by_one_graph(model):
    sizes = [8, 8, 3, 8, 3, 1]
    bounds = np.cumsum([0, *sizes])
    parts = [(X[a:b], Y[a:b]) for a, b in itertools.pairwise(bounds)]
    other = compiled(like=model)
    history = model.fit(iter(parts), verbose=0).history
    losses = [other.train_on_batch(*part) for part in parts]
    assert_equal(model, other)
    np.testing.assert_allclose(history["loss"], np.average([loss for loss, _ in losses], weights=sizes), rtol=1e-5)
    assert model.ledger.call_count == 1
    assert sorted(p.batch_size for p in model.ledger.programs) == [1, 3, 8]
    assert "a batch of 3 rows" in model.ledger.story("Line")


def test_batches_of_other_features_are_captured_once_each_and_share_the_means():
    series = [np.random.default_rng(t).normal(size=(4, t, 3)).astype("float32") for t in (5, 2, 5, 2, 5)]
    model = compiled(model=Pooled(), optimizer=pellucid.optimizers.SGD(0.0))
    parts = [(x, Y[:4]) for x in series]
    history = model.fit(iter(parts), verbose=0).history
    errors = [model.predict_on_batch(x) - y for x, y in parts]
    np.testing.assert_allclose(history["loss"], np.mean(np.square(errors)), rtol=1e-5)
    np.testing.assert_allclose(history["mae"], np.mean(np.abs(errors)), rtol=1e-5)
    runs = [run.sentence for run in model.ledger.captures]
    assert len(runs) == 2 and "2" in runs[1]


def test_outputs_that_cannot_be_joined_are_named():
    class Same(pellucid.Model):
        def call(self, inputs):
            return inputs * 2

    parts = [np.ones((2, 5), "float32"), np.ones((2, 3), "float32")]
    with pytest.raises(pellucid.ShapeError, match=r"\(2, 5\) and \(2, 3\).*predict_on_batch"):
        Same().predict(iter(parts), verbose=0)
    assert Same().predict(iter(parts[:1]), verbose=0).shape == (2, 5)


def test_a_model_with_other_outputs_for_other_features_is_refused():
    class Splits(Line):
        def call(self, inputs):
            return [self.out(inputs)] * inputs.shape[1] if inputs.ndim == 3 else self.out(inputs)

    model = compiled(model=Splits(), metrics=None)
    with pytest.raises(DataError, match="other outputs than for the batches before"):
        model.fit(iter([(X[:4], Y[:4]), (np.ones((4, 2, 3)), Y[:4])]), verbose=0)


# ---- Steps and epochs ----


def counting(k, log):
    class Counts(k.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            log.append([])

        def on_train_batch_end(self, batch, logs=None):
            log[-1].append(batch)

        def on_test_batch_end(self, batch, logs=None):
            log[-1].append(("test", batch))

    return Counts()


def sequential(k):
    model = k.Sequential([k.Input((3,)), k.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def dataset(k, count=5):
    class Same(k.utils.PyDataset):
        def __len__(self):
            return count

        def __getitem__(self, index):
            return X[SIZE * index : SIZE * index + SIZE], Y[SIZE * index : SIZE * index + SIZE]

    return Same()


STEPS = {
    "arrays": lambda k: {"x": X, "y": Y, "batch_size": SIZE, "epochs": 2},
    "arrays, fewer": lambda k: {"x": X, "y": Y, "batch_size": SIZE, "epochs": 5, "steps_per_epoch": 2},
    "arrays, as many": lambda k: {"x": X, "y": Y, "batch_size": SIZE, "epochs": 2, "steps_per_epoch": 5},
    "arrays, more": lambda k: {"x": X, "y": Y, "batch_size": SIZE, "epochs": 2, "steps_per_epoch": 7},
    "arrays with a tail, fewer": lambda k: {"x": X, "y": Y, "batch_size": 12, "epochs": 3, "steps_per_epoch": 3},
    "generator": lambda k: {"x": batches()},
    "generator, fewer": lambda k: {"x": batches(), "epochs": 2, "steps_per_epoch": 2},
    "dataset": lambda k: {"x": dataset(k), "epochs": 2},
    "dataset, fewer": lambda k: {"x": dataset(k), "epochs": 4, "steps_per_epoch": 2},
    "dataset, more": lambda k: {"x": dataset(k, 3), "epochs": 2, "steps_per_epoch": 4},
    "validation": lambda k: {"x": X, "y": Y, "batch_size": 20, "epochs": 2, "validation_data": (X, Y), "validation_steps": 1},
    "validation, batch size": lambda k: {"x": X, "y": Y, "batch_size": 20, "validation_data": (X, Y), "validation_batch_size": 7},
    "validation, both": lambda k: {
        **{"x": X, "y": Y, "batch_size": 20, "epochs": 2, "validation_split": 0.5},
        **{"validation_batch_size": 7, "validation_steps": 2},
    },
    "validation, more": lambda k: {"x": X, "y": Y, "batch_size": 20, "validation_data": (X, Y), "validation_steps": 9},
    "validation by a dataset": lambda k: {"x": X, "y": Y, "batch_size": 20, "epochs": 2, "validation_data": dataset(k)},
    "validation by a dataset, fewer": lambda k: {
        **{"x": X, "y": Y, "batch_size": 20, "epochs": 2, "validation_data": dataset(k), "validation_steps": 3},
    },
    "validation by a generator": lambda k: {"x": dataset(k), "validation_data": batches()},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", some_slow(STEPS, list(STEPS)[::3]))
def test_epochs_have_as_many_steps_as_in_keras(case):
    logs = [], []
    histories = [sequential(k).fit(**STEPS[case](k), callbacks=[counting(k, log)], verbose=0) for k, log in zip((pellucid, keras), logs)]
    assert logs[0] == logs[1]
    assert histories[0].epoch == histories[1].epoch and list(histories[0].history) == list(histories[1].history)
    assert histories[0].params["steps"] == histories[1].params["steps"]


def test_epochs_of_fewer_steps_go_on_where_the_last_ended(model):
    other = compiled(like=model)
    with pytest.warns(DataWarning, match="ran out in epoch 3, after 1 of steps_per_epoch=2.*begins anew"):
        model.fit(X, Y, batch_size=SIZE, epochs=4, steps_per_epoch=2, shuffle=False, verbose=0)
    for i in (0, 1, 2, 3, 4, 0, 1):
        other.train_on_batch(X[SIZE * i : SIZE * i + SIZE], Y[SIZE * i : SIZE * i + SIZE])
    assert_equal(model, other)


def test_epochs_of_fewer_steps_see_every_row_once_in_a_new_order():
    class Sums(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.scale = pellucid.layers.Dense(1, kernel_initializer="zeros")

        def call(self, x):
            self.add_loss(pellucid.ops.sum(x))  # which rows a step had, in its loss
            return self.scale(x)

    model = Sums()
    model.compile(pellucid.optimizers.SGD(0.0), "mse")
    rows = (2.0 ** np.arange(8)).astype("float32")[:, None]
    losses = model.fit(rows, 0 * rows, batch_size=2, epochs=8, steps_per_epoch=1, verbose=0).history["loss"]
    assert sum(losses[:4]) == sum(losses[4:]) == 255 and losses[:4] != losses[4:]


@pytest.mark.parametrize("epochs, steps, done", [(3, None, [5]), (3, 3, [3, 2]), (4, 5, [5])])
def test_an_iterator_that_ends_early_ends_training_with_a_warning(model, epochs, steps, done):
    log = []
    with pytest.warns(DataWarning, match=r"fit: the data (ran out|were used up).*training ends"):
        history = model.fit(batches(), epochs=epochs, steps_per_epoch=steps, verbose=0, callbacks=[counting(pellucid, log)])
    assert [len(epoch) for epoch in log if epoch] == done and history.epoch == list(range(len(done)))
    assert int(model.optimizer.iterations) == 5
    model.fit(X, Y, verbose=0)


def test_an_iterator_that_a_class_begins_anew_serves_every_epoch(model):
    class Restarting:
        def __iter__(self):
            self.items = batches()
            return self

        def __next__(self):
            return next(self.items)

    assert model.fit(Restarting(), epochs=3, verbose=0).epoch == [0, 1, 2]
    assert int(model.optimizer.iterations) == 15


def test_a_generator_gives_no_more_than_is_needed(model):
    given = itertools.count()
    generator = ((X[:SIZE], Y[:SIZE], next(given))[:2] for _ in itertools.repeat(None))
    model.fit(generator, steps_per_epoch=3, epochs=2, verbose=0)
    assert next(given) == 6
    model.evaluate(generator, steps=2, verbose=0)
    assert next(given) == 9


def test_validation_by_a_generator_goes_on_from_epoch_to_epoch_and_is_told_when_it_ends(model):
    with pytest.warns(DataWarning, match=r"fit\(validation_data\): the data ran out after 1 of 2 batches"):
        history = model.fit(X, Y, epochs=3, validation_data=batches(), validation_steps=2, verbose=0).history
    assert len(history["val_loss"]) == 3
    with pytest.warns(DataWarning, match="after 0 of all batches"):
        history = model.fit(X, Y, epochs=2, validation_data=batches(), verbose=0).history
    assert len(history["val_loss"]) == 1 and len(history["loss"]) == 2


def test_steps_of_evaluate_and_predict(model):
    np.testing.assert_allclose(
        model.evaluate(X, Y, batch_size=SIZE, steps=2, verbose=0), model.evaluate(X[:16], Y[:16], verbose=0), rtol=1e-6
    )
    assert model.predict(X, batch_size=SIZE, steps=2, verbose=0).shape == (16, 1)
    with pytest.warns(DataWarning, match="predict: the data ran out after 5 of steps=6"):
        assert model.predict(X, batch_size=SIZE, steps=6, verbose=0).shape == (40, 1)
    with pytest.warns(DataWarning, match="evaluate: the data ran out after 5 of 7"):
        model.evaluate(batches(), steps=7, verbose=0)


def test_stop_training_stops_exactly_after_its_batch(model):
    class Stops(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    other = compiled(like=model)
    history = model.fit(Again(), epochs=4, verbose=0, callbacks=[Stops()])
    other.fit(batches(rows=24), verbose=0)
    assert_equal(model, other)
    assert history.epoch == [0]


# ---- PyDataset ----


def test_a_dataset_is_told_of_epochs_and_asked_for_each_batch_once(model):
    data = Data()
    model.fit(data, epochs=3, shuffle=False, verbose=0)
    assert data.asked == [0, 1, 2, 3, 4] * 3 and data.hooks == ["begin", "end"] * 3
    data = Data()
    model.evaluate(data, verbose=0)
    assert data.asked == [0, 1, 2, 3, 4] and data.hooks == ["begin", "end"]


def test_batches_of_a_dataset_come_in_a_new_order_that_a_seed_repeats(model):
    orders = []
    for _ in range(2):
        pellucid.utils.set_random_seed(3)
        data = Data()
        model.fit(data, epochs=2, verbose=0)
        orders.append(data.asked)
    first, second = orders[0][:5], orders[0][5:]
    assert orders[0] == orders[1] and sorted(first) == sorted(second) == [0, 1, 2, 3, 4]
    assert first != second


def test_workers_make_batches_at_the_same_time_and_keep_their_order(model):
    together = threading.Barrier(3, timeout=20)

    class Meets(Data):
        def __getitem__(self, index):
            if index < 3:
                together.wait()  # passes only when three are being made
            time.sleep(0.002 * (5 - index))
            return super().__getitem__(index)

    np.testing.assert_allclose(model.predict(Meets(workers=3), verbose=0), model.predict(X, verbose=0), rtol=1e-6)


def test_workers_are_no_further_ahead_than_the_queue_allows(model):
    class Endless(Data):
        @property
        def num_batches(self):
            return None

        def __getitem__(self, index):
            return super().__getitem__(0 * super().__len__() + index % 5)

    data = Endless(workers=2, max_queue_size=4)
    model.compile("sgd", "mse", steps_per_execution=1)
    model.fit(data, steps_per_epoch=10, verbose=0)
    assert len(data.asked) <= 10 + 4 + 2
    with pytest.raises(ValueError, match=r"fit: the Endless has no end; expected steps_per_epoch"):
        model.fit(data, verbose=0)
    with pytest.raises(ValueError, match=r"evaluate: the Endless has no end; expected steps="):
        model.evaluate(data, verbose=0)


def test_a_dataset_says_what_is_missing_or_wrong():
    with pytest.raises(ValueError, match=r"Data: workers=-1; expected a whole number of at least 0"):
        Data(workers=-1)
    with pytest.raises(ValueError, match=r"Data: max_queue_size=0; expected"):
        Data(max_queue_size=0)
    with pytest.warns(DataWarning, match="use_multiprocessing=True starts no processes"):
        Data(use_multiprocessing=True)
    with pytest.raises(NotImplementedError, match="neither __len__ nor num_batches"):
        list(pellucid.utils.PyDataset())
    with pytest.raises(NotImplementedError, match="no __getitem__"):
        pellucid.utils.PyDataset()[0]


# ---- What is wrong ----


class Rows:
    """Like a data set of single rows, by number."""

    def __getitem__(self, index):
        return X[index], Y[index]

    def __len__(self):
        return 40


WRONG = {
    "y beside batches": ({"x": Again(), "y": Y}, ValueError, "fit: y was given beside a Again; expected y=None"),
    "weights beside batches": ({"x": Again(), "sample_weight": W}, ValueError, "sample_weight was given beside a Again"),
    "no batch": ({"x": iter(())}, DataError, "fit: the tuple_iterator gave no batch"),
    "four parts": ({"x": iter([(X, Y, W, W)])}, DataError, r"a tuple of 4; expected x, \(x,\), \(x, y\)"),
    "an empty batch": ({"x": iter([(X, Y), (X[:0], Y[:0])])}, DataError, r"fit, batch 2: x is empty"),
    "rows that differ": ({"x": iter([(X, Y), (X, Y[:9])])}, DataError, "fit, batch 2: x has 40 rows and y has 9"),
    "text": ({"x": iter([(X, Y), (X, np.array(["a"] * 40))])}, DataError, "fit, batch 2: y has dtype"),
    "single rows": ({"x": Rows()}, DataError, "x is a Rows.*PyDataset.*wrap it in a loader"),
    "no data at all": ({"x": object()}, DataError, "x is a object.*Expected an array"),
    "a split": ({"x": Again(), "validation_split": 0.5}, ValueError, "validation_split=0.5 was given with a Again"),
    "steps": ({"x": X, "y": Y, "steps_per_epoch": 0}, ValueError, "fit: steps_per_epoch=0; expected a positive whole number"),
    "validation steps": ({"x": X, "y": Y, "validation_steps": 1.5}, ValueError, r"fit: validation_steps=1\.5; expected"),
    "validation rows": ({"x": X, "y": Y, "validation_batch_size": -1}, ValueError, "validation_batch_size=-1; expected"),
    "validation": ({"x": X, "y": Y, "validation_data": X}, ValueError, "validation_data is a ndarray; expected"),
}


@pytest.mark.parametrize("case", some_slow(WRONG, list(WRONG)[::3]))
def test_what_is_wrong_is_named_and_harms_nothing(model, case):
    given, error, words = WRONG[case]
    first = compiled(like=model)
    with pytest.raises(error, match=words):
        model.fit(**given, shuffle=False, verbose=0)
    if "batch 2" in words:
        first.train_on_batch(X, Y)
    assert_equal(model, first)
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_bad_steps_are_named(model, call):
    given = (X, Y) if call == "evaluate" else (X,)
    with pytest.raises(ValueError, match=rf"{call}: steps='2'; expected a positive whole number"):
        getattr(model, call)(*given, steps="2", verbose=0)


def test_a_batch_size_that_has_no_effect_is_told(model):
    with pytest.warns(DataWarning, match="batch_size=16 has no effect: the generator decides"):
        model.fit(batches(), batch_size=16, verbose=0)


def test_nan_in_the_first_batch_is_told(model):
    with pytest.warns(DataWarning, match="fit, batch 1: x holds 3 NaN"):
        model.fit(iter([(np.where(np.arange(40)[:, None] == 3, np.nan, X), Y)]), verbose=0)


# ---- Nothing lost ----


@pytest.mark.parametrize("each_step", [False, True])
@pytest.mark.parametrize("make", [Again, Data, lambda: Data(workers=3)], ids=["iterator", "PyDataset", "workers"])
def test_an_error_of_the_iterator_comes_as_it_is_after_the_batches_before_it(model, each_step, make):
    problem = OSError("the disk is gone")

    def failing():
        yield from itertools.islice(batches(), 3)
        raise problem

    source = make()
    if isinstance(source, Again):
        source.make = failing
    else:
        good = source.__getitem__
        source.__class__ = type("Failing", (Data,), {"__getitem__": lambda self, i: good(i) if i < 3 else _raise(problem)})
    other = compiled(like=model)
    seen = [LambdaCallback(on_train_batch_end=lambda batch, logs: None)] if each_step else []
    with pytest.raises(OSError, match="the disk is gone") as caught:
        model.fit(source, epochs=2, shuffle=False, verbose=0, callbacks=seen)
    assert caught.value is problem
    other.fit(batches(rows=24), verbose=0)
    assert_equal(model, other)
    model.fit(X, Y, verbose=0)


def _raise(error):
    raise error


@pytest.mark.parametrize("kind", ["iterator", "workers"])
def test_ctrl_c_while_a_batch_is_waited_for_ends_training(model, kind):
    waits = threading.Event()

    def item(index):
        if index == 2:
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()  # to the process, as a terminal does
        if index >= 2:
            waits.wait(30)
        return X[:SIZE], Y[:SIZE]

    class Waits(Data):
        def __getitem__(self, index):
            return item(index)

    before = int(model.optimizer.iterations)
    with pytest.raises(KeyboardInterrupt):
        model.fit(Waits(workers=2) if kind == "workers" else map(item, range(5)), shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) - before in (0, 1, 2)
    waits.set()
    model.fit(X, Y, verbose=0)


def test_an_error_in_a_callback_ends_the_thread_of_an_endless_generator(model):
    def fails(batch, logs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.fit(itertools.cycle(batches()), verbose=0, callbacks=[LambdaCallback(on_train_batch_end=fails)])
    assert int(model.optimizer.iterations) == 1


# ---- The thread ----


def test_batches_are_made_while_the_device_computes_and_by_one_thread_only(model):
    threads = set()

    def noting():
        for batch in batches():
            threads.add(threading.current_thread())
            yield batch

    model.fit(Again(noting), epochs=2, validation_data=(X, Y), verbose=0)
    (thread,) = threads
    assert thread is not threading.main_thread()


def test_a_generator_may_hold_what_belongs_to_one_thread(model):
    def rows_of_a_table():
        table = sqlite3.connect(":memory:")
        table.execute("create table t (a real, b real, c real, y real)")
        table.executemany("insert into t values (?, ?, ?, ?)", np.hstack([X, Y]).tolist())
        found = table.execute("select * from t")
        while rows := found.fetchmany(SIZE):
            part = np.array(rows, "float32")
            yield part[:, :3], part[:, 3:]
        table.close()

    other = compiled(like=model)
    with pytest.warns(DataWarning, match="after 2 of steps_per_epoch=3"):
        model.fit(rows_of_a_table(), steps_per_epoch=3, epochs=2, verbose=0)
    other.fit(batches(), verbose=0)
    assert_equal(model, other)


def test_a_generator_may_use_the_model(model):
    def hard():
        for x, y in batches():
            errors = np.abs(model.predict(x, verbose=0) - y)
            yield x[errors[:, 0].argsort()], y[errors[:, 0].argsort()]

    history = model.fit(Again(hard), epochs=3, validation_data=Again(), verbose=0).history
    assert np.isfinite(history["loss"]).all() and model.ledger.call_count == 1


def test_a_generator_that_waits_for_its_batch_to_be_trained_gets_its_way(model):
    trained = threading.Event()
    trained.set()

    def one_at_a_time():
        for batch in batches():
            assert trained.wait(20)
            trained.clear()
            yield batch

    model.fit(one_at_a_time(), verbose=0, callbacks=[LambdaCallback(on_train_batch_end=lambda batch, logs: trained.set())])
    assert int(model.optimizer.iterations) == 5


def test_a_generator_may_wait_until_all_that_it_gave_is_trained(model):
    def three_and_then_two():
        for i, batch in enumerate(batches()):
            end = time.monotonic() + 20
            while i == 3 and int(model.optimizer.iterations) < 3:
                assert time.monotonic() < end
                time.sleep(0.01)
            yield batch

    model.fit(three_and_then_two(), verbose=0)
    assert int(model.optimizer.iterations) == 5


def test_the_first_batch_does_not_wait_for_another_where_reading_takes_long(model, monkeypatch):
    monkeypatch.setattr(filling, "_HURRY", 60.0)

    def slowly():
        for i, batch in enumerate(batches(rows=2 * SIZE)):
            time.sleep(2 * filling._FAST)
            end = time.monotonic() + 20
            while int(model.optimizer.iterations) < i:
                assert time.monotonic() < end
                time.sleep(0.001)
            yield batch

    model.fit(slowly(), verbose=0)
    assert int(model.optimizer.iterations) == 2


def test_room_that_no_batch_has_filled_is_not_computed_with(monkeypatch):
    """NumPy's empty arrays hold anything."""
    empty = filling.aligned

    def full_of_nan(shape, dtype):
        room = empty(shape, dtype)
        room[:] = np.nan
        return room

    monkeypatch.setattr(filling, "aligned", full_of_nan)
    models = [compiled(optimizer="sgd", nan="raise"), compiled(optimizer="sgd", nan="raise")]
    for model in models:
        model.capture((None, 3))
        model.set_weights([w * 0 + 0.1 for w in models[0].get_weights()])
    models[0].fit(X, Y, batch_size=SIZE, shuffle=False, epochs=2, verbose=0)
    models[1].fit(itertools.chain(batches(), batches()), steps_per_epoch=5, epochs=2, verbose=0)
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_allclose(models[0].evaluate(X, Y, verbose=0), models[1].evaluate(batches(), verbose=0), rtol=1e-6)
    np.testing.assert_allclose(models[0].predict(X, verbose=0), models[1].predict(batches(), verbose=0), rtol=1e-6)


def test_progress_of_an_unknown_number_of_batches(model, capsys):
    model.fit(batches(), verbose=2)
    assert "Epoch 1/1 5/5" in capsys.readouterr().out
