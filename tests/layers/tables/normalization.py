"""Normalization."""

import numpy as np

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
    "BatchNormalization, penalties": Case(lambda k: k.layers.BatchNormalization(gamma_regularizer="l2", beta_regularizer="l1l2"), TABLE),
    "BatchNormalization with a mask": Case(
        lambda k: k.layers.BatchNormalization(momentum=0.5), SERIES, call={"mask": SERIES[..., 0] > -0.5}, mask=SERIES[..., 0] > 0
    ),
    "BatchNormalization, renorm": Case(lambda k: k.layers.BatchNormalization(renorm=True, momentum=0.6, renorm_momentum=0.7), SERIES),
    "BatchNormalization, clipped renorm": Case(
        lambda k: k.layers.BatchNormalization(
            renorm=True, renorm_clipping={"rmin": 0.8, "rmax": 1.1, "dmax": 0.3}, scale=False, moving_variance_initializer="ones"
        ),
        TABLE,
    ),
    "LayerNormalization": Case(lambda k: k.layers.LayerNormalization(), SERIES, mask=SERIES[..., 0] > 0),
    "LayerNormalization of two axes": Case(lambda k: k.layers.LayerNormalization(axis=(1, 3), epsilon=0.1), IMAGES),
    "LayerNormalization of axis 1": Case(lambda k: k.layers.LayerNormalization(axis=1, center=False), SERIES),
    "LayerNormalization without scale": Case(lambda k: k.layers.LayerNormalization(scale=False, beta_initializer="ones"), TABLE),
    "RMSNormalization": Case(lambda k: k.layers.RMSNormalization(), SERIES),
    "RMSNormalization of two axes": Case(lambda k: k.layers.RMSNormalization(axis=[1, 2], epsilon=0.1), SERIES),
    "GroupNormalization": Case(lambda k: k.layers.GroupNormalization(groups=3), TABLE, mask=TABLE[:, 0] > 0),
    "GroupNormalization of images": Case(lambda k: k.layers.GroupNormalization(groups=2, axis=1, epsilon=0.1), normal(2, 4, 3, 2)),
    "GroupNormalization of each feature": Case(lambda k: k.layers.GroupNormalization(groups=-1, scale=False), SERIES),
    "UnitNormalization": Case(lambda k: k.layers.UnitNormalization(), SERIES, mask=SERIES[..., 0] > 0),
    "UnitNormalization of two axes": Case(lambda k: k.layers.UnitNormalization(axis=(1, 2)), SERIES),
    "SpectralNormalization": Case(lambda k: k.layers.SpectralNormalization(k.layers.Dense(3), power_iterations=2), TABLE),
    "SpectralNormalization of embeddings": Case(
        lambda k: k.layers.SpectralNormalization(k.layers.Embedding(6, 3)), np.array([[0, 1, 5], [2, 2, 3]], "float32")
    ),
    "Normalization": Case(lambda k: k.layers.Normalization(), TABLE, weights=False),
    "Normalization, given": Case(lambda k: k.layers.Normalization(mean=[1.0] * 6, variance=[4.0] * 6), TABLE),
    "Normalization, given for all": Case(lambda k: k.layers.Normalization(axis=None, mean=1.0, variance=4.0), TABLE),
    "Normalization, inverted": Case(lambda k: k.layers.Normalization(mean=[1.0] * 6, variance=[4.0] * 6, invert=True), TABLE),
    "Normalization of two axes, given": Case(lambda k: k.layers.Normalization(axis=(1, 2), mean=[1.0] * 5, variance=[4.0] * 5), SERIES),
}
