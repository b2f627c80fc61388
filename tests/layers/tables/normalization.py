"""Normalization."""

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)
IMAGES = normal(2, 3, 4, 2)

CASES = {
    "BatchNormalization": Case(lambda k: k.layers.BatchNormalization(), TABLE),
    "BatchNormalization of axis 1": Case(lambda k: k.layers.BatchNormalization(axis=1), IMAGES),
    "BatchNormalization, options": Case(
        lambda k: k.layers.BatchNormalization(
            momentum=0.6, epsilon=0.1, center=False, gamma_initializer="ones", moving_variance_initializer="ones"
        ),
        SERIES,
    ),
    "BatchNormalization, no scale": Case(lambda k: k.layers.BatchNormalization(scale=False, beta_initializer="ones"), TABLE),
}
