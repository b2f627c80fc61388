"""Files of weights between the two libraries."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import h5py
import keras
import numpy as np


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keras reads its variables in a way that NumPy warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        yield


def keras_saves(model: Any, path: Any) -> None:
    with quiet():
        keras.saving.save_weights(model, path)


def keras_loads(model: Any, path: Any) -> None:
    with quiet():
        keras.saving.load_weights(model, path)


def arrays_of(path: Any) -> dict[str, np.ndarray]:
    """All arrays of an HDF5 file by their places."""
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda place, item: found.update({place: item[()]}) if hasattr(item, "shape") else None)
    return found
