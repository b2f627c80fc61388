"""Reading arrays that were pickled, without running anything that a file may hold."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from typing import Any, BinaryIO

import numpy as np

# what a pickled array consists of, under the names that NumPy 1 and 2 gave it
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return super().find_class(module, name)


def unpickled(file: BinaryIO, name: str, encoding: str = "ASCII") -> Any:
    """Plain data and arrays from a pickle.

    Args:
        file: that holds it.
        name: of the file, for errors.
        encoding: of text that Python 2 wrote.

    Raises:
        ValueError: for anything else that it holds.
    """
    try:
        return _ArraysOnly(file, encoding=encoding).load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{name} is not what it should be, and was not read: {error}.") from None


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file, also arrays of lists.

    Raises:
        ValueError: for a file that is none, or that holds other things.
    """
    found = {}
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise ValueError(f"{os.fspath(path)} is no .npz file; remove it, so that it is downloaded again.") from None
    with archive:
        for member in archive.namelist():
            found[member.removesuffix(".npy")] = _read_npy(io.BytesIO(archive.read(member)), os.fspath(path))
    return found


def _read_npy(file: io.BytesIO, name: str) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    _, _, dtype = read_header(file)
    if dtype.hasobject:
        return unpickled(file, name)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
