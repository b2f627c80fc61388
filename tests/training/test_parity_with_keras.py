"""The same weights, data and batches give the same numbers as Keras."""

import dataclasses
from collections.abc import Callable

import jax
import keras
import numpy as np
import pytest

import pellucid
from tests.training.twins import normalized, perceptron, random_data, twins, weights_of, wide_and_deep

EPOCHS = 3
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def targets_of_two_outputs(rows):
    wide, deep, noise = random_data(3, (rows, 3), (rows, 4), (rows, 1))
    y = wide[:, :1] - deep[:, 1:2] + 0.1 * noise
    return [wide, deep], [y, 2 * y]


def named_targets(rows):
    x, (y, aux) = targets_of_two_outputs(rows)
    return x, {"main": y, "aux": aux}


def classes(rows):
    (x,) = random_data(4, (rows, 5))
    return x, (x[:, 0] > 0).astype("int64") + (x[:, 1] > 0.3)


def yes_or_no(rows):
    (x,) = random_data(5, (rows, 5))
    return x, (x[:, :1] + x[:, 1:2] > 0).astype("float32")


def numbers(rows):
    (x,) = random_data(6, (rows, 4))
    return x, np.stack([x[:, 0] * x[:, 1], x.sum(1)], 1)


@dataclasses.dataclass
class Case:
    """What both libraries are told; ``k`` is either of them."""

    model: Callable
    data: Callable
    rows: int
    optimizer: Callable
    compiled: Callable
    options: dict = dataclasses.field(default_factory=dict)
    weighted: bool = False
    names: dict = dataclasses.field(default_factory=dict)  # Keras's names of outputs without names are those of losses


CASES = {
    "two outputs, loss weights": Case(
        wide_and_deep,
        targets_of_two_outputs,
        100,
        lambda k: k.optimizers.SGD(0.05),
        lambda k: {"loss": ["mse", "mae"], "loss_weights": [0.9, 0.1], "metrics": [["mae"], ["mse"]]},
        names={"mse_loss": "main_loss", "mae_loss": "aux_loss", "mae": "main_mae", "mse": "aux_mse"},
    ),
    "outputs by name": Case(
        wide_and_deep,
        named_targets,
        96,
        lambda k: k.optimizers.SGD(0.02, momentum=0.9),
        lambda k: {
            "loss": {"main": "mse", "aux": "huber"},
            "loss_weights": {"main": 0.7, "aux": 0.3},
            "metrics": {"main": ["mae"], "aux": ["mse", "mae"]},
            "weighted_metrics": {"aux": ["mape"]},
        },
        {"named": True},
    ),
    "one of two outputs has a loss": Case(
        wide_and_deep, named_targets, 70, lambda k: k.optimizers.Adam(0.01), lambda k: {"loss": {"main": "mse"}}, {"named": True}
    ),
    "class numbers, accuracy": Case(
        perceptron,
        classes,
        100,
        lambda k: k.optimizers.Adam(0.01),
        lambda k: {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
    ),
    "class numbers from logits": Case(
        perceptron,
        classes,
        96,
        lambda k: k.optimizers.RMSprop(0.005, momentum=0.5),
        lambda k: {"loss": k.losses.SparseCategoricalCrossentropy(from_logits=True), "metrics": ["sparse_categorical_accuracy"]},
        {"activation": None},
    ),
    "moving statistics, smaller last batch": Case(
        normalized,
        numbers,
        100,
        lambda k: k.optimizers.SGD(0.05, momentum=0.8, nesterov=True),
        lambda k: {"loss": "mse", "metrics": ["mae"]},
    ),
    "moving statistics, equal batches": Case(
        normalized, numbers, 96, lambda k: k.optimizers.AdamW(0.01, weight_decay=0.1), lambda k: {"loss": "mse"}
    ),
    "weighted rows": Case(
        perceptron,
        yes_or_no,
        100,
        lambda k: k.optimizers.RMSprop(0.01, centered=True),
        lambda k: {"loss": "binary_crossentropy", "metrics": ["accuracy"], "weighted_metrics": ["binary_accuracy", "mse"]},
        {"classes": 1, "activation": "sigmoid"},
        weighted=True,
    ),
}


def fit_and_evaluate(k, model, case, x, y, weights):
    model.compile(optimizer=case.optimizer(k), **case.compiled(k))
    first = lambda tree: jax.tree.map(lambda a: a[:41], tree)
    validation = (first(x), first(y)) if weights is None else (first(x), first(y), weights[:41])
    history = model.fit(x, y, sample_weight=weights, epochs=EPOCHS, shuffle=False, verbose=0, validation_data=validation).history
    return history, model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)


RARE = {
    "outputs by name",
    "weighted rows",
    "one of two outputs has a loss",
    "class numbers from logits",
    "moving statistics, equal batches",
}


@pytest.mark.parametrize("case", [pytest.param(c, id=name, marks=[pytest.mark.slow] if name in RARE else []) for name, c in CASES.items()])
def test_losses_metrics_and_weights_are_those_of_keras(case):
    x, y = case.data(case.rows)
    weights = np.linspace(0, 2, case.rows, dtype="float32") if case.weighted else None
    ours, theirs = twins(case.model, x, **case.options)
    (history, evaluated), (expected, expected_evaluated) = (
        fit_and_evaluate(k, m, case, x, y, weights) for k, m in ((pellucid, ours), (keras, theirs))
    )
    for mine, other in ((history, expected), (evaluated, expected_evaluated)):
        for name, value in other.items():
            prefix = "val_" * name.startswith("val_")
            bare = name.removeprefix("val_")
            np.testing.assert_allclose(mine.pop(prefix + case.names.get(bare, bare)), value, err_msg=name, **CLOSE)
        assert not mine
    for variable, weight, expected_weight in zip(ours.weights, weights_of(ours), weights_of(theirs), strict=True):
        np.testing.assert_allclose(weight, expected_weight, err_msg=variable.path, **CLOSE)
