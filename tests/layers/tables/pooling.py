"""Pooling."""

import numpy as np

from tests.layers.case import Case, normal

SERIES = normal(2, 7, 3)
IMAGES = normal(2, 5, 6, 3)
VOLUMES = normal(2, 4, 5, 3, 2)
MASK = np.array([[True] * 4 + [False] * 3, [True, False] + [True] * 5])
FIRST = {"data_format": "channels_first"}

CASES = {
    "MaxPooling1D": Case(lambda k: k.layers.MaxPooling1D(), SERIES, slow=True),
    "MaxPooling2D": Case(lambda k: k.layers.MaxPooling2D((2, 3), strides=2, padding="same"), IMAGES),
    "MaxPooling2D, channels first": Case(lambda k: k.layers.MaxPooling2D(2, strides=1, **FIRST), IMAGES, slow=True),
    "MaxPooling3D": Case(lambda k: k.layers.MaxPooling3D(), VOLUMES, slow=True),
    "AveragePooling1D": Case(lambda k: k.layers.AveragePooling1D(3, strides=2), SERIES, slow=True),
    "AveragePooling2D": Case(lambda k: k.layers.AveragePooling2D((3, 2), strides=(2, 1), padding="same"), IMAGES),
    "AveragePooling2D, channels first": Case(lambda k: k.layers.AveragePooling2D(2, padding="same", **FIRST), IMAGES, slow=True),
    "AveragePooling3D": Case(lambda k: k.layers.AveragePooling3D(2), VOLUMES, slow=True),
    "AdaptiveMaxPooling1D": Case(lambda k: k.layers.AdaptiveMaxPooling1D(3), SERIES),
    "AdaptiveMaxPooling2D": Case(lambda k: k.layers.AdaptiveMaxPooling2D((2, 4)), IMAGES, slow=True),
    "AdaptiveMaxPooling3D": Case(lambda k: k.layers.AdaptiveMaxPooling3D(2, **FIRST), VOLUMES, slow=True),
    "AdaptiveAveragePooling1D": Case(lambda k: k.layers.AdaptiveAveragePooling1D(3), SERIES),
    "AdaptiveAveragePooling2D": Case(lambda k: k.layers.AdaptiveAveragePooling2D((2, 4), **FIRST), IMAGES, slow=True),
    "AdaptiveAveragePooling3D": Case(lambda k: k.layers.AdaptiveAveragePooling3D((2, 3, 1)), VOLUMES, slow=True),
    "GlobalMaxPooling1D": Case(lambda k: k.layers.GlobalMaxPooling1D(), SERIES, slow=True),
    "GlobalMaxPooling2D": Case(lambda k: k.layers.GlobalMaxPooling2D(keepdims=True, **FIRST), IMAGES),
    "GlobalMaxPooling3D": Case(lambda k: k.layers.GlobalMaxPooling3D(), VOLUMES, slow=True),
    "GlobalAveragePooling1D": Case(lambda k: k.layers.GlobalAveragePooling1D(), SERIES, mask=MASK),
    "GlobalAveragePooling1D of real steps": Case(lambda k: k.layers.GlobalAveragePooling1D(), SERIES, call={"mask": MASK}),
    "GlobalAveragePooling1D of real steps, channels first": Case(
        lambda k: k.layers.GlobalAveragePooling1D(keepdims=True, **FIRST), SERIES.swapaxes(1, 2), call={"mask": MASK}, slow=True
    ),
    "GlobalAveragePooling2D": Case(lambda k: k.layers.GlobalAveragePooling2D(), IMAGES, slow=True),
    "GlobalAveragePooling3D": Case(lambda k: k.layers.GlobalAveragePooling3D(keepdims=True, **FIRST), VOLUMES, slow=True),
}
