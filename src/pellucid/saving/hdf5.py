"""Files of arrays in HDF5, as Keras writes them: ``layers/dense/vars/0``."""

from __future__ import annotations

import contextlib
import importlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from pellucid.saving.stored import Stored


def _h5py() -> Any:
    return importlib.import_module("h5py")  # imported when the first file is read or written


def write(path: str, arrays: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Writes a new file.

    Args:
        path: of the file.
        arrays: by place: what has an ``__array__`` is asked for it one after another.
        names: the name of the layer that a group belongs to, by place of the group.
    """
    with _h5py().File(path, "w") as file:
        for place, name in names.items():
            file.require_group(place).attrs["name"] = name
        for place, given in arrays.items():
            array = np.asarray(given)
            data = file.create_dataset(place, data=array)
            if array.dtype.kind == "V":  # HDF5 has no such type, and keeps its bytes
                data.attrs["dtype"] = array.dtype.name


@contextlib.contextmanager
def opened(path: str) -> Iterator[dict[str, Stored]]:
    """The arrays of a file (or of the weights in a ``.keras`` archive) by place.

    Raises:
        ValueError: for a file that is none, is cut off, or is of the form of Keras 2.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_opened(path, stack))
        if "layer_names" in file.attrs or "model_weights" in file:
            raise ValueError(
                f"{path!r} has the form that Keras 2 wrote, with weights by the names of layers. Load it in Keras 3, "
                "and write it again with model.save_weights('….weights.h5')."
            )
        found: dict[str, Stored] = {}
        file.visititems(lambda place, item: found.update({place: _stored(path, place, item)}) if hasattr(item, "shape") else None)
        yield found


def _opened(path: str, stack: contextlib.ExitStack) -> Any:
    given: Any = path
    if path.endswith(".keras"):
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            given = stack.enter_context(archive.open("model.weights.h5"))
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(f"{path!r} is no archive of a Keras model: {error}.") from None
    elif not _h5py().is_hdf5(path):
        with open(path, "rb") as file:
            begin = file.read(8)
        raise ValueError(f"{path!r} is no HDF5 file: it begins with {begin!r}." if begin else f"{path!r} is empty.")
    try:
        return _h5py().File(given, "r")
    except OSError as error:
        raise ValueError(f"{path!r} cannot be read as an HDF5 file, and may be cut off or damaged: {error}") from None


def _stored(path: str, place: str, data: Any) -> Stored:
    if data.external or data.is_virtual:
        raise ValueError(f"{path!r} refers to other files at {place!r}; expected a file that holds its arrays itself.")
    dtype = data.attrs.get("dtype")
    if dtype is None:
        return Stored(tuple(data.shape), data.dtype, lambda: np.asarray(data[()]))
    own = np.dtype(jnp.dtype(dtype))
    return Stored(tuple(data.shape), own, lambda: np.asarray(data[()]).view(own))
