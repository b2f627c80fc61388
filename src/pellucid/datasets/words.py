"""Texts as lists of word numbers: what the data sets of texts have in common."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.datasets.files import get_file

KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
Split = tuple[np.ndarray, np.ndarray]


def word_index(path: str | os.PathLike, name: str, file_hash: str) -> dict[str, int]:
    """The numbers of words, from a file of Keras's."""
    return json.loads(pathlib.Path(get_file(path, KERAS + name, file_hash=file_hash)).read_text(encoding="utf-8"))


def begun(texts: Any, start_char: int | None, index_from: int | None) -> list[list[int]]:
    """The texts with their numbers moved, and a number for the beginning in front."""
    first = [] if start_char is None else [start_char]
    return [first + (np.asarray(text, dtype="int64") + (index_from or 0)).tolist() for text in texts]


def shorter(texts: list, labels: Any, maxlen: int | None) -> tuple[list, Any]:
    """The texts of less than ``maxlen`` words, with their labels."""
    if not maxlen:
        return texts, labels
    kept = [i for i, text in enumerate(texts) if len(text) < maxlen]
    if not kept:
        raise ValueError(f"maxlen={maxlen}: no text is shorter; expected a larger number.")
    return [texts[i] for i in kept], np.asarray(labels)[kept]


def limited(texts: list[list[int]], num_words: int | None, skip_top: int, oov_char: int | None) -> list[list[int]]:
    """The texts with the words only whose number is at least ``skip_top`` and below ``num_words``; ``oov_char`` stands for others."""
    most = num_words or max(max(text, default=0) for text in texts)
    made = []
    for text in texts:
        words = np.asarray(text, dtype="int64")
        known = (words >= skip_top) & (words < most)
        made.append((words[known] if oov_char is None else np.where(known, words, oov_char)).tolist())
    return made


def as_array(texts: Sequence[list[int]]) -> np.ndarray:
    """A one-dimensional array of lists, of whatever lengths."""
    made = np.empty(len(texts), dtype=object)
    made[:] = texts
    return made
