"""CIFAR-10: 60,000 coloured pictures in 10 classes, 32 x 32 (Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html)."""

from __future__ import annotations

from pellucid.datasets import cifar
from pellucid.datasets.words import Split

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""What the numbers in ``y`` mean."""


def load_data() -> tuple[Split, Split]:
    """The pictures and their classes. They are downloaded once, about 170 MB.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, uint8: 50,000 and 10,000 images (rows, 32, 32, 3), or (rows, 3, 32, 32) where
        ``config.image_data_format()`` is "channels_first", from 0 to 255, and classes (rows, 1).

    Raises:
        ConnectionError: where it is not there and cannot be downloaded.
    """
    folder = cifar.folder_of(
        "cifar-10-batches-py-target",
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    )
    return cifar.read(folder, [f"data_batch_{i}" for i in range(1, 6)], "labels"), cifar.read(folder, ["test_batch"], "labels")
