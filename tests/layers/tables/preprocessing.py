"""What images go through before a network."""

import numpy as np

from tests.layers.case import Case, normal

IMAGES = normal(2, 7, 10, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 7, 10, 3)).astype("uint8")
FIRST = {"data_format": "channels_first"}

CASES = {
    "Rescaling": Case(lambda k: k.layers.Rescaling(1 / 255, offset=-0.5), PIXELS),
    "Rescaling of channels": Case(lambda k: k.layers.Rescaling([1.0, 2.0, 3.0], offset=[0.0, 1.0, 2.0]), IMAGES, slow=True),
    "Resizing": Case(lambda k: k.layers.Resizing(4, 5), IMAGES),
    "Resizing of pixels": Case(lambda k: k.layers.Resizing(9, 13, "bicubic"), PIXELS, slow=True),
    "Resizing, cut": Case(lambda k: k.layers.Resizing(4, 4, crop_to_aspect_ratio=True, antialias=True), IMAGES, slow=True),
    "Resizing, padded": Case(lambda k: k.layers.Resizing(5, 5, "nearest", pad_to_aspect_ratio=True, fill_value=2.0), IMAGES, slow=True),
    "Resizing, channels first": Case(lambda k: k.layers.Resizing(4, 5, crop_to_aspect_ratio=True, **FIRST), IMAGES, slow=True),
    "CenterCrop": Case(lambda k: k.layers.CenterCrop(4, 5), IMAGES),
    "CenterCrop of small images": Case(lambda k: k.layers.CenterCrop(8, 5), IMAGES, slow=True),
    "CenterCrop of small pixels": Case(lambda k: k.layers.CenterCrop(5, 12), PIXELS, slow=True),
    "CenterCrop, channels first": Case(lambda k: k.layers.CenterCrop(4, 2, **FIRST), IMAGES, slow=True),
}
