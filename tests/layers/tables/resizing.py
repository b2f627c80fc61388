"""Padding, cropping and upsampling."""

from tests.layers.case import Case, normal

SERIES = normal(2, 7, 3)
IMAGES = normal(2, 5, 6, 3)
VOLUMES = normal(2, 4, 5, 3, 2)
FIRST = {"data_format": "channels_first"}

CASES = {
    "ZeroPadding1D": Case(lambda k: k.layers.ZeroPadding1D((1, 2)), SERIES, slow=True),
    "ZeroPadding2D": Case(lambda k: k.layers.ZeroPadding2D((2, 1)), IMAGES, slow=True),
    "ZeroPadding2D, channels first": Case(lambda k: k.layers.ZeroPadding2D(((0, 1), (2, 0)), **FIRST), IMAGES),
    "ZeroPadding3D": Case(lambda k: k.layers.ZeroPadding3D(), VOLUMES, slow=True),
    "Cropping1D": Case(lambda k: k.layers.Cropping1D((0, 2)), SERIES, slow=True),
    "Cropping2D": Case(lambda k: k.layers.Cropping2D(), IMAGES, slow=True),
    "Cropping2D, channels first": Case(lambda k: k.layers.Cropping2D(((0, 1), (2, 0)), **FIRST), IMAGES),
    "Cropping3D": Case(lambda k: k.layers.Cropping3D((1, 2, 0)), VOLUMES, slow=True),
    "UpSampling1D": Case(lambda k: k.layers.UpSampling1D(3), SERIES),
    "UpSampling2D": Case(lambda k: k.layers.UpSampling2D((2, 3)), IMAGES, slow=True),
    "UpSampling2D bilinear": Case(lambda k: k.layers.UpSampling2D(interpolation="bilinear"), IMAGES),
    "UpSampling2D bicubic, channels first": Case(lambda k: k.layers.UpSampling2D(3, interpolation="bicubic", **FIRST), IMAGES, slow=True),
    "UpSampling3D": Case(lambda k: k.layers.UpSampling3D((1, 2, 2)), VOLUMES, slow=True),
}
