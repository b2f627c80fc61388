"""`class_weight` weighs samples as Keras does, by output name too."""

import numpy as np
import pytest

import pellucid
from pellucid.training.data.classes import weigher
from tests.training.twins import perceptron, twins

R = np.random.default_rng(0)
X = R.normal(size=(70, 4)).astype("float32")
Y = R.integers(0, 3, 70)
WEIGHTS = {0: 0.5, 2: 4.0}
ROWS = np.array([WEIGHTS.get(c, 1.0) for c in Y.tolist()], "float32")
ONE_HOT = np.eye(3, dtype="float32")[Y]


@pytest.mark.parametrize("loss, y", [("sparse_categorical_crossentropy", Y[:, None]), ("categorical_crossentropy", ONE_HOT)])
def test_training_is_that_of_keras(loss, y):
    histories = []
    for model in twins(perceptron, X):
        model.compile("sgd", loss, weighted_metrics=["accuracy"])
        histories.append(model.fit(X, y, class_weight=WEIGHTS, epochs=3, batch_size=16, shuffle=False, verbose=0).history)
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-4)


@pytest.mark.parametrize("y", [Y, Y[:, None], Y.astype("float32"), ONE_HOT, ONE_HOT.astype("int32")])
def test_classes_are_read_from_numbers_and_one_hot_rows(y):
    np.testing.assert_array_equal(weigher(WEIGHTS, None, True)(y, None), ROWS)


def test_each_time_step_has_its_class():
    steps = np.array([[0, 1, 2], [2, 2, 1]])
    np.testing.assert_array_equal(weigher(WEIGHTS, None, True)(steps, None), [[0.5, 1, 4], [4, 4, 1]])
    np.testing.assert_array_equal(weigher(WEIGHTS, None, True)(steps, np.array([2.0, 1.0])), [[1, 2, 8], [4, 4, 1]])


def test_balanced_gives_each_class_the_same_weight_in_all():
    made = weigher("balanced", None, True)(Y, None)
    np.testing.assert_allclose([made[c == Y].sum() for c in range(3)], [70 / 3] * 3, rtol=1e-5)


def test_samples_and_classes_multiply():
    given = R.random(70).astype("float32")
    np.testing.assert_allclose(weigher(WEIGHTS, None, True)(Y, given), ROWS * given)


def two_outputs():
    class Two(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = pellucid.layers.Dense(3, activation="softmax"), pellucid.layers.Dense(3, activation="softmax")

        def call(self, x):
            return {"left": self.left(x), "right": self.right(x)}

    pellucid.utils.set_random_seed(1)
    model = Two()
    model.build((None, 4))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("form", ["names", "names of a list", "list"])
def test_outputs_have_weights_of_their_own(form):
    y = {"left": Y, "right": Y[::-1].copy()}
    given = {"right": {1: 3.0}}
    wanted = {"left": np.ones(70, "float32"), "right": np.where(y["right"] == 1, 3.0, 1.0).astype("float32")}
    options = {"epochs": 2, "shuffle": False, "verbose": 0}
    expected = two_outputs().fit(X, y, sample_weight=wanted, **options).history
    model, targets = two_outputs(), y if form == "names" else list(y.values())
    found = model.fit(X, targets, class_weight=[None, {1: 3.0}] if form == "list" else given, **options).history
    assert found == expected


def test_batches_that_come_one_by_one_are_weighed_and_validation_is_not():
    def batches():
        for start in range(0, 70, 35):
            yield X[start : start + 35], Y[start : start + 35]

    def fit(*data, **options):
        model = perceptron(pellucid)
        model.build((None, 4))
        for i, variable in enumerate(model.variables):
            variable.assign(np.random.default_rng(i).normal(size=variable.shape))
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model.fit(*data, **options, validation_data=(X, Y), shuffle=False, verbose=0).history

    expected = fit(X, Y, batch_size=35, sample_weight=ROWS)
    for found in (fit(batches(), class_weight=WEIGHTS), fit(X, Y, batch_size=35, class_weight=WEIGHTS)):
        for name in ("loss", "val_loss"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)


@pytest.mark.parametrize(
    "given, y, whole, told",
    [
        (3, Y, True, "class_weight=3; expected a dict such as"),
        ({}, Y, True, r"class_weight has {}; expected a dict from class numbers"),
        ({0: -1.0}, Y, True, r"class_weight\[0\]=-1.0; expected a number of at least zero"),
        ({0.5: 1.0}, Y, True, "expected a dict from class numbers"),
        ("balanced", Y, False, "'balanced' needs all targets.*batch by batch"),
        ("even", Y, True, "class_weight has 'even'"),
        (WEIGHTS, [Y, Y], True, "for one output, and y holds 2 arrays; expected a dict of them by output name, or a list"),
        ({"left": WEIGHTS}, [Y, Y], True, "expected y as a dict by output name, or class_weight as a list"),
        ({"lefd": WEIGHTS}, {"left": Y, "right": Y}, True, "names an output 'lefd' that y does not have. Did you mean 'left'"),
        ([WEIGHTS], [Y, Y], True, "has 1 entries and y holds 2 arrays"),
        (WEIGHTS, X[:, 0], True, "y holds float32 values that are no class numbers"),
    ],
)
def test_mistakes(given, y, whole, told):
    with pytest.raises(ValueError, match=told):
        weigher(given, None, whole)(y, None)
