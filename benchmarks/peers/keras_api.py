"""The workloads in Keras's API: the same script for Keras and for Pellucid, which differ in one import."""

import importlib
import itertools
from types import ModuleType
from typing import Any

from benchmarks.workloads import Data, Workload

# Not an attribute of the model and not an int: a library that watches what `call` reads and changes should find nothing here to act on.
RUNS_OF_CALL = itertools.count()


def keras_trainer(workload: Workload, data: Data) -> "Trainer":
    return Trainer(importlib.import_module("keras"), workload, data)


def pellucid_trainer(workload: Workload, data: Data) -> "Trainer":
    return Trainer(importlib.import_module("pellucid"), workload, data)


class Trainer:
    """Trains with the options that `compile` and `fit` have by default."""

    def __init__(self, keras: ModuleType, workload: Workload, data: Data):
        make_model, split = MODELS[workload.model]
        self.model = make_model(keras)
        self.training = split(*data.training)
        self.validation = split(*data.validation)
        self.batch_size = workload.batch_size

    def fit(self, epochs: int, validate: bool) -> float:
        inputs, targets = self.training
        validation = {"validation_data": self.validation, "validation_batch_size": self.batch_size} if validate else {}
        history = self.model.fit(inputs, targets, batch_size=self.batch_size, epochs=epochs, verbose=0, **validation)
        return float(history.history["loss"][-1])

    def count_calls(self) -> int:
        """Runs of `call` up to now. Ask once, as asking counts too."""
        return next(RUNS_OF_CALL)


def wide_and_deep(keras: ModuleType) -> Any:
    class WideAndDeepModel(keras.Model):
        def __init__(self, units=30, activation="relu", **kwargs):
            super().__init__(**kwargs)
            self.hidden1 = keras.layers.Dense(units, activation=activation)
            self.hidden2 = keras.layers.Dense(units, activation=activation)
            self.main_output = keras.layers.Dense(1)
            self.aux_output = keras.layers.Dense(1)

        def call(self, inputs):
            next(RUNS_OF_CALL)
            input_A, input_B = inputs
            hidden1 = self.hidden1(input_B)
            hidden2 = self.hidden2(hidden1)
            concat = keras.layers.concatenate([input_A, hidden2])
            main_output = self.main_output(concat)
            aux_output = self.aux_output(hidden2)
            return main_output, aux_output

    model = WideAndDeepModel()
    model.compile(loss=["mse", "mse"], loss_weights=[0.9, 0.1], optimizer="sgd")
    return model


def mlp(keras: ModuleType) -> Any:
    class MLP(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden1 = keras.layers.Dense(512, activation="relu")
            self.hidden2 = keras.layers.Dense(512, activation="relu")
            self.logits = keras.layers.Dense(10)

        def call(self, inputs):
            next(RUNS_OF_CALL)
            return self.logits(self.hidden2(self.hidden1(inputs)))

    model = MLP()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=keras.optimizers.Adam(1e-3))
    return model


# How to make the compiled model, and how `fit` wants the arrays: as inputs and targets.
MODELS = {
    "wide_and_deep": (wide_and_deep, lambda a, b, target: ([a, b], [target, target])),
    "mlp": (mlp, lambda x, labels: (x, labels)),
}
