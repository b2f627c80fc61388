"""What is in a file of arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a file, which is read when it is asked for."""

    shape: tuple[int, ...]
    dtype: Any
    read: Callable[[], np.ndarray]


class Store(Mapping[str, np.ndarray]):
    """The arrays of one layer in a file, by key: what ``load_own_variables`` gets.

    Args:
        arrays: by key.
    """

    def __init__(self, arrays: Mapping[str, Stored]):
        self.arrays = arrays

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)
