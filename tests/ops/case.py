"""Arrays for the tables of calls."""

import numpy as np

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3, 4)).astype("float32")
Z = RANDOM.normal(size=(3, 4)).astype("float32")
SQUARE = RANDOM.normal(size=(4, 4)).astype("float32")
UNIT = np.tanh(X)
LARGE = np.abs(X) + 1
CUBE = RANDOM.normal(size=(2, 3, 4)).astype("float32")
INTS = np.array([[3, -1, 2], [0, 5, -7]], "int32")
BOOLS = X > 0
VECTOR = X[0]
ODD = np.array([1.0, np.nan, np.inf, -np.inf], "float32")


def each(names, calls):
    """The same calls for several functions."""
    return {name: calls for name in names.split()}
