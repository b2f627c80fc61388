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
    "Softmax over two axes": Case(lambda k: k.layers.Softmax(axis=(1, 2)), SERIES),
    "Softmax with a mask": Case(lambda k: k.layers.Softmax(), SERIES, call={"mask": SERIES > -0.3}, mask=SERIES > 0),
    "Softmax with a mask of numbers": Case(lambda k: k.layers.Softmax(axis=(1, 2)), SERIES, call={"mask": SERIES[:, :, :1]}),
    "LeakyReLU": Case(lambda k: k.layers.LeakyReLU(), TABLE, mask=TABLE[:, 0] > 0),
    "LeakyReLU with a slope": Case(lambda k: k.layers.LeakyReLU(negative_slope=0.7), TABLE),
    "ELU": Case(lambda k: k.layers.ELU(), TABLE),
    "ELU with a bound": Case(lambda k: k.layers.ELU(alpha=0.4), TABLE),
    "PReLU": Case(lambda k: k.layers.PReLU(alpha_regularizer="l2", alpha_constraint="non_neg"), TABLE),
    "PReLU for channels": Case(lambda k: k.layers.PReLU(alpha_initializer="ones", shared_axes=[1]), SERIES),
}
