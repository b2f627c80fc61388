"""Warnings point at the line that the user wrote, however deep in the library they come from."""

import inspect
import warnings

import numpy as np
import pytest

import pellucid
from pellucid import layers
from tests.training.twins import random_data

X, Y = random_data(3, (8, 3), (8, 1))
NAN = np.where(np.arange(24).reshape(8, 3) == 5, np.nan, X)


class Net(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(inputs)


class Batches(pellucid.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[:4], Y[:4]


def two_batches():
    yield X[:4], Y[:4]
    yield X[4:], Y[4:]


def one_class(model):
    model.compile("sgd", "categorical_crossentropy")
    model.fit(X, Y, verbose=0)


def no_gradient(model):
    optimizer = pellucid.optimizers.SGD()
    optimizer.apply([None, np.ones(1, "float32")], model.trainable_variables)


def missing_metric(model):
    model.fit(X, Y, verbose=0, callbacks=[pellucid.callbacks.EarlyStopping("accuracy", mode="max")])


WARNED = {
    "fit, x": lambda m: m.fit(NAN, Y, verbose=0),
    "fit, validation_split": lambda m: m.fit(NAN, Y, validation_split=0.5, verbose=0),
    "fit, validation_data": lambda m: m.fit(X, Y, validation_data=(NAN, Y), verbose=0),
    "evaluate, y": lambda m: m.evaluate(X, Y * np.inf, verbose=0),
    "predict": lambda m: m.predict(NAN, verbose=0),
    "train_on_batch": lambda m: m.train_on_batch(NAN, Y),
    "predict_on_batch": lambda m: m.predict_on_batch(NAN),
    "fit, a batch": lambda m: m.fit(iter([(NAN, Y)]), verbose=0),
    "fit, batch_size": lambda m: m.fit(two_batches(), batch_size=4, verbose=0),
    "fit, an iterator": lambda m: m.fit(two_batches(), epochs=2, verbose=0),
    "fit, steps": lambda m: m.fit(two_batches(), steps_per_epoch=3, verbose=0),
    "fit, validation steps": lambda m: m.fit(X, Y, validation_data=two_batches(), validation_steps=3, verbose=0),
    "evaluate, steps": lambda m: m.evaluate(two_batches(), steps=3, verbose=0),
    "predict, steps": lambda m: m.predict(iter([X, X]), steps=3, verbose=0),
    "PyDataset": lambda m: Batches(use_multiprocessing=True),
    "a loss of one class": one_class,
    "no gradient": no_gradient,
    "a metric that is missing": missing_metric,
}


@pytest.mark.parametrize("case", WARNED)
def test_a_warning_points_at_the_users_line(case):
    model = Net()
    model.build((None, 3))
    model.compile("sgd", "mse")
    lines, first = inspect.getsourcelines(WARNED[case])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        WARNED[case](model)
    assert told
    for warning in told:
        assert warning.filename == __file__
        assert first <= warning.lineno < first + len(lines)


def test_a_warning_is_shown_once_for_a_line_as_pythons_own_are():
    model = Net()
    model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(2):
            model.fit(NAN, Y, verbose=0)
        model.fit(NAN, Y, verbose=0)
    assert len(told) == 2


CLASSES = np.array([0, 1, 2, 3, 4, 4, -1, 1])


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", pellucid.losses.SparseCategoricalCrossentropy(ignore_class=-1)])
def test_targets_that_are_no_class_of_the_output_are_told(method, loss):
    model = pellucid.Sequential([layers.Dense(4, activation="softmax")])
    model.compile("sgd", loss)
    wrong = 2 if getattr(loss, "ignore_class", None) == -1 else 3
    with pytest.warns(pellucid.DataWarning, match=rf"{method}: {wrong} of 8 targets .* such as 4; expected numbers from 0 to 3") as caught:
        getattr(model, method)(X, CLASSES)
    assert caught[0].filename == __file__


def test_targets_that_are_classes_are_not_told():
    model = pellucid.Sequential([layers.Dense(5, activation="softmax")])
    model.compile("sgd", pellucid.losses.SparseCategoricalCrossentropy(ignore_class=-1))
    model.fit(X, CLASSES, verbose=0)  # warnings are errors here
