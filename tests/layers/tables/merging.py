"""Layers that make one array of several."""

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)

CASES = {
    "Concatenate": Case(lambda k: k.layers.Concatenate(), [TABLE, TABLE[:, :2], TABLE]),
    "Concatenate in time": Case(lambda k: k.layers.Concatenate(axis=1), [SERIES, SERIES[:, :1]]),
    "Add": Case(lambda k: k.layers.Add(), [TABLE, 2 * TABLE, TABLE**2]),
    "Add of other ranks": Case(lambda k: k.layers.Add(), [SERIES, SERIES[:, 0], SERIES[:, 0, 0]]),
    "Subtract": Case(lambda k: k.layers.Subtract(), [TABLE, TABLE**2]),
    "Multiply": Case(lambda k: k.layers.Multiply(), [TABLE, TABLE + 1, TABLE**2]),
    "Average": Case(lambda k: k.layers.Average(), [TABLE, TABLE + 1, TABLE**2]),
    "Maximum": Case(lambda k: k.layers.Maximum(), [TABLE, -TABLE, TABLE**2]),
    "Minimum": Case(lambda k: k.layers.Minimum(), [SERIES, SERIES[:, :1]]),
    "Dot": Case(lambda k: k.layers.Dot(axes=2), [SERIES, SERIES[:, :2]]),
    "Dot of other axes": Case(lambda k: k.layers.Dot(axes=(1, -1)), [SERIES, normal(4, 2, 3)]),
    "Dot of tables": Case(lambda k: k.layers.Dot(axes=-1, normalize=True), [TABLE, TABLE**2]),
    "Dot of images": Case(lambda k: k.layers.Dot(axes=[3, 1], normalize=True), [normal(4, 2, 3, 5), normal(4, 5, 3)]),
    "Add that broadcasts": Case(lambda k: k.layers.Add(), [SERIES, SERIES[:, :1]]),
}
