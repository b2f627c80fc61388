"""IMDB: 50,000 reviews of films and whether they are positive (Maas et al., "Learning word vectors for sentiment analysis", ACL 2011)."""

from __future__ import annotations

import os

import numpy as np

from pellucid.datasets.files import get_file
from pellucid.datasets.plain import read_npz
from pellucid.datasets.words import KERAS, Split, as_array, begun, limited, shorter, word_index


def load_data(
    path: str | os.PathLike = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> tuple[Split, Split]:
    """The reviews as lists of word numbers, 1 for the most frequent word; they are downloaded once, about 17 MB.

    Args:
        path: name of the file in the folder ``~/.keras/datasets``.
        num_words: words with numbers of at least that, ``index_from`` included, count as unknown; None for the largest number.
        skip_top: and those with numbers below that.
        maxlen: reviews of that many words or more are left out.
        seed: of the order of the reviews.
        start_char: number that each review begins with, or None.
        oov_char: number for an unknown word; None leaves it out.
        index_from: is added to the number of each word.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: arrays of lists, and of labels: 1 for a positive review, 0 for a negative one;
        25,000 each. ``utils.pad_sequences`` makes a table of them.

    Raises:
        ConnectionError: where it is not there and cannot be downloaded.
        ValueError: where ``maxlen`` leaves no review.
    """
    hash_ = "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"
    arrays = read_npz(get_file(path, f"{KERAS}imdb.npz", file_hash=hash_))
    generator = np.random.RandomState(seed)
    parts = []
    for part in ("train", "test"):
        order = np.arange(len(arrays[f"x_{part}"]))
        generator.shuffle(order)
        parts.append(shorter(begun(arrays[f"x_{part}"][order], start_char, index_from), arrays[f"y_{part}"][order], maxlen))
    (x_train, y_train), (x_test, y_test) = parts
    texts = as_array(limited([*x_train, *x_test], num_words, skip_top, oov_char))
    return (texts[: len(x_train)], y_train), (texts[len(x_train) :], y_test)


def get_word_index(path: str | os.PathLike = "imdb_word_index.json") -> dict[str, int]:
    """The numbers of words, without ``index_from``. They are downloaded once, about 2 MB.

    Args:
        path: name of the file in the folder ``~/.keras/datasets``.
    """
    return word_index(path, "imdb_word_index.json", "bfafd718b763782e994055a2d397834f")
