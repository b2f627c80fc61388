"""Dropout and noise."""

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)
IMAGES = normal(2, 3, 4, 2)

CASES = {
    "Dropout": Case(lambda k: k.layers.Dropout(0.5), TABLE, draws=True),
    "AlphaDropout": Case(lambda k: k.layers.AlphaDropout(0.5), TABLE, draws=True),
    "GaussianDropout": Case(lambda k: k.layers.GaussianDropout(0.5), TABLE, draws=True),
    "GaussianNoise": Case(lambda k: k.layers.GaussianNoise(0.5), TABLE, draws=True),
    "SpatialDropout1D": Case(lambda k: k.layers.SpatialDropout1D(0.5), SERIES, draws=True),
    "SpatialDropout2D": Case(lambda k: k.layers.SpatialDropout2D(0.5), IMAGES, draws=True),
    "SpatialDropout3D": Case(lambda k: k.layers.SpatialDropout3D(0.5), IMAGES[:, None], draws=True),
}
