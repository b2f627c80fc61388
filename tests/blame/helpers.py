"""A model with one operation of the test's in a nested layer, and data for it."""

import inspect

import numpy as np

import pellucid
from pellucid import layers


class Operation(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, input_shape):
        self.scale = self.add_weight((), "ones")  # so that there is a gradient to take

    def call(self, x):
        return self.function(x * self.scale)


class Block(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.operation = Operation(function)
        self.after = layers.Dense(3)

    def call(self, x):
        return self.after(self.operation(x))


class Net(pellucid.Model):
    def __init__(self, function=lambda x: x, dropout=0.0):
        super().__init__()
        self.block = Block(function)
        self.drop = layers.Dropout(dropout)
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(self.drop(self.block(x)))


def data(rows=100, **values):
    """Inputs between 0.5 and 2, with the given values at single rows: ``row_70=-1.0``."""
    x = np.random.default_rng(0).uniform(0.5, 2, (rows, 3)).astype("float32")
    for name, value in values.items():
        x[int(name.removeprefix("row_")), 1] = value
    return x, x[:, :1] - x[:, 2:]


def line_of(function, text):
    """The number of the line in a function's source that holds a text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def state(model):
    """Copies of all that training changes: weights, random state, optimizer."""
    return [np.array(v.array) for v in (*model.variables, *model.optimizer.variables)]
