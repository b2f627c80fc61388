"""Layers that change the shape."""

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)
IMAGES = normal(2, 3, 4, 2)

CASES = {
    "Flatten": Case(lambda k: k.layers.Flatten(), IMAGES),
    "Flatten a table": Case(lambda k: k.layers.Flatten(), TABLE),
    "Flatten numbers": Case(lambda k: k.layers.Flatten(), TABLE[:, 0]),
    "Flatten with the channels first": Case(lambda k: k.layers.Flatten(data_format="channels_first"), IMAGES),
    "Permute": Case(lambda k: k.layers.Permute((2, 3, 1)), IMAGES),
    "RepeatVector": Case(lambda k: k.layers.RepeatVector(3), TABLE),
    "Reshape": Case(lambda k: k.layers.Reshape((2, 3)), TABLE),
    "Reshape -1": Case(lambda k: k.layers.Reshape((-1, 2)), TABLE),
    "Reshape to numbers": Case(lambda k: k.layers.Reshape((-1,)), SERIES),
}
