"""Files of arrays in the form of safetensors: the length of a header, the header as JSON, and the arrays' bytes one after another.

The form is described at https://huggingface.co/docs/safetensors. Nothing in such a file can be run.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from pellucid.saving.stored import Stored

TYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "C64": np.complex64,
    "BF16": jnp.bfloat16,
    "F8_E4M3": jnp.float8_e4m3fn,
    "F8_E5M2": jnp.float8_e5m2,
}
_NAMES = {np.dtype(dtype): name for name, dtype in TYPES.items()}
_LONGEST_HEADER = 100_000_000  # bytes, as the reference has it


def write(path: str, arrays: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Writes a new file.

    Args:
        path: of the file.
        arrays: by place: what has an ``__array__`` is asked for it one after another.
        names: not kept.

    Raises:
        ValueError: for an array of a type that the form does not have.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pellucid"}}
    types = {place: _type_of(path, place, array) for place, array in arrays.items()}
    order = sorted(arrays, key=lambda place: (-types[place].itemsize, place))  # each begins at a multiple of its elements' size
    end = 0
    for place in order:
        begin, end = end, end + types[place].itemsize * math.prod(np.shape(arrays[place]))
        header[place] = {"dtype": _NAMES[types[place]], "shape": list(np.shape(arrays[place])), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "xb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for place in order:
            file.write(_little_endian(np.asarray(arrays[place])).tobytes())


def _type_of(path: str, place: str, array: Any) -> np.dtype:
    dtype = np.dtype(array.own_dtype if hasattr(array, "own_dtype") else np.asarray(array).dtype)
    if dtype not in _NAMES:
        raise ValueError(f"{path!r}: the array at {place!r} is of type {dtype}; a .safetensors file has only {', '.join(TYPES)}.")
    return dtype


@contextlib.contextmanager
def opened(path: str) -> Iterator[dict[str, Stored]]:
    """The arrays of a file by place.

    Raises:
        ValueError: for a file that is none, or is cut off.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header, start = _header(path, file, size)
        found, place = {}, 0
        for name, entry in sorted(header.items(), key=lambda item: _offsets(path, *item)):
            begin, end = _offsets(path, name, entry)
            if begin != place:
                raise ValueError(f"{path!r}: the bytes of {name!r} begin at {begin}; expected {place}, where those before end.")
            place, found[name] = end, _stored(path, file, start, name, entry)
        if start + place != size:
            raise ValueError(f"{path!r} has {size} bytes; expected {start + place}, by its header. It may be cut off.")
        yield found


def _little_endian(array: np.ndarray) -> np.ndarray:
    return array.byteswap() if sys.byteorder == "big" else array


def _header(path: str, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """(the entries, the place where the arrays begin)."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or 8 + length > size or length > _LONGEST_HEADER:
        raise ValueError(f"{path!r} is no .safetensors file, or is cut off: it has {size} bytes, and its header would have {length}.")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_once)
    except ValueError as error:  # also of text that is not UTF-8
        raise ValueError(f"{path!r} is no .safetensors file: its header is no JSON ({error}).") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path!r} is no .safetensors file: its header is {header!r}; expected an object.")
    header.pop("__metadata__", None)
    return header, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("it has a name twice")
    return made


def _offsets(path: str, name: str, entry: Any) -> tuple[int, int]:
    match entry:
        case {"dtype": str(), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if all(type(n) is int and n >= 0 for n in shape):
            return begin, end
    raise ValueError(f"{path!r}: the header has {entry!r} for {name!r}; expected dtype, shape and data_offsets.")


def _stored(path: str, file: BinaryIO, start: int, name: str, entry: dict[str, Any]) -> Stored:
    if entry["dtype"] not in TYPES:
        raise ValueError(f"{path!r}: {name!r} is of type {entry['dtype']!r}; expected one of {', '.join(TYPES)}.")
    dtype, shape, (begin, end) = np.dtype(TYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
    if end - begin != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{path!r}: {name!r} of shape {shape} and type {dtype} has {end - begin} bytes.")

    def read() -> np.ndarray:
        file.seek(start + begin)
        return _little_endian(np.frombuffer(file.read(end - begin), dtype).reshape(shape))

    return Stored(shape, dtype, read)
