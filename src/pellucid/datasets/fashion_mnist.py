"""Fashion-MNIST: 70,000 pictures of clothes in 10 classes, grey, 28 x 28 (Xiao, Rasul and Vollgraf, 2017, MIT licence)."""

from __future__ import annotations

import gzip
import os

import numpy as np

from pellucid.datasets.files import get_file
from pellucid.datasets.words import KERAS, Split

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
"""What the numbers in ``y`` mean."""


def load_data() -> tuple[Split, Split]:
    """The pictures and their classes. They are downloaded once, about 30 MB.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, uint8: 60,000 and 10,000 images (rows, 28, 28) from 0 to 255, and classes (rows,).

    Raises:
        ConnectionError: where a file is not there and cannot be downloaded.
        ValueError: for a file of another form.
    """
    return _read("train"), _read("t10k")


def _read(part: str) -> Split:
    labels = _bytes(f"{part}-labels-idx1-ubyte.gz", 8)
    return _bytes(f"{part}-images-idx3-ubyte.gz", 16).reshape(len(labels), 28, 28), labels


def _bytes(name: str, offset: int) -> np.ndarray:
    path = get_file(name, KERAS + name, cache_subdir=os.path.join("datasets", "fashion-mnist"))
    try:
        with gzip.open(path, "rb") as file:
            return np.frombuffer(file.read(), np.uint8, offset=offset)
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it, so that it is downloaded again.") from None
