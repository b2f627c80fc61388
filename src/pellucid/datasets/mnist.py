"""MNIST: 70,000 handwritten digits, grey, 28 x 28 (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import os

from pellucid.datasets.files import get_file
from pellucid.datasets.plain import read_npz
from pellucid.datasets.words import KERAS, Split


def load_data(path: str | os.PathLike = "mnist.npz") -> tuple[Split, Split]:
    """The digits and what they are. They are downloaded once, about 11 MB.

    Args:
        path: name of the file in the folder ``~/.keras/datasets``.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, uint8: 60,000 and 10,000 images (rows, 28, 28) from 0 to 255, and digits (rows,).

    Raises:
        ConnectionError: where it is not there and cannot be downloaded.
    """
    hash_ = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
    arrays = read_npz(get_file(path, f"{KERAS}mnist.npz", file_hash=hash_))
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
