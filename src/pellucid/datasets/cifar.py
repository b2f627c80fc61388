"""What CIFAR-10 and CIFAR-100 have in common."""

from __future__ import annotations

import os

import numpy as np

from pellucid import config
from pellucid.datasets.files import get_file
from pellucid.datasets.plain import unpickled
from pellucid.datasets.words import Split

FOLDER = "https://www.cs.toronto.edu/~kriz/"


def folder_of(name: str, archive: str, inside: str, file_hash: str) -> str:
    """The folder with the unpacked files."""
    return os.path.join(get_file(name, FOLDER + archive, extract=True, file_hash=file_hash), inside)


def read(folder: str, names: list[str], label: str) -> Split:
    """(images, their labels (rows, 1)) of some files, one after another."""
    images, labels = [], []
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            found = unpickled(file, path, encoding="bytes")
        images.append(found[b"data"].reshape(-1, 3, 32, 32))
        labels.append(np.asarray(found[label.encode()], "uint8"))
    pictures = np.concatenate(images)
    if config.image_data_format() == "channels_last":
        pictures = pictures.transpose(0, 2, 3, 1)
    return pictures, np.concatenate(labels)[:, None]
