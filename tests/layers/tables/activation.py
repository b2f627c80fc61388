"""Activations as layers."""

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)

CASES = {
    "Activation": Case(lambda k: k.layers.Activation("gelu"), TABLE),
    "Activation of a function": Case(lambda k: k.layers.Activation(k.ops.tanh), TABLE, config=False),
    "ReLU": Case(lambda k: k.layers.ReLU(), TABLE),
    "ReLU 6": Case(lambda k: k.layers.ReLU(max_value=6.0), 10 * TABLE),
    "ReLU with a bound": Case(lambda k: k.layers.ReLU(max_value=0.5), TABLE),
    "ReLU with a slope": Case(lambda k: k.layers.ReLU(negative_slope=0.1), TABLE),
    "ReLU with a threshold": Case(lambda k: k.layers.ReLU(threshold=0.3), TABLE),
    "ReLU with everything": Case(lambda k: k.layers.ReLU(max_value=0.9, negative_slope=0.2, threshold=0.1), TABLE),
    "Softmax": Case(lambda k: k.layers.Softmax(), TABLE),
    "Softmax over time": Case(lambda k: k.layers.Softmax(axis=1), SERIES),
}
