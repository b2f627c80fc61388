"""Layers that make one array of several."""

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)

CASES = {
    "Concatenate": Case(lambda k: k.layers.Concatenate(), [TABLE, TABLE[:, :2], TABLE]),
    "Concatenate in time": Case(lambda k: k.layers.Concatenate(axis=1), [SERIES, SERIES[:, :1]]),
    "Add": Case(lambda k: k.layers.Add(), [TABLE, 2 * TABLE, TABLE**2]),
    "Add that broadcasts": Case(lambda k: k.layers.Add(), [SERIES, SERIES[:, :1]]),
}
