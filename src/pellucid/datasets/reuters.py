"""Reuters: 11,228 newswires of 1987 in 46 topics (the Reuters-21578 collection, as preprocessed for Keras)."""

from __future__ import annotations

import os

import numpy as np

from pellucid.datasets.files import get_file
from pellucid.datasets.plain import read_npz
from pellucid.datasets.words import KERAS, Split, as_array, begun, limited, shorter, word_index

_TOPICS = """cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves ship cotton carcass crude nat-gas
cpi money-fx interest gnp meal-feed alum oilseed gold tin strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc
orange pet-chem dlr gas silver wpi hog lead"""


def load_data(
    path: str | os.PathLike = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int | None = 3,
) -> tuple[Split, Split]:
    """The newswires as lists of word numbers, 1 for the most frequent word; they are downloaded once, about 2 MB.

    Args:
        path: name of the file in the folder ``~/.keras/datasets``.
        num_words: words with numbers of at least that, ``index_from`` included, count as unknown; None for the largest number.
        skip_top: and those with numbers below that.
        maxlen: newswires of that many words or more are left out.
        test_split: share of them that is for the test.
        seed: of the order of the newswires.
        start_char: number that each of them begins with, or None.
        oov_char: number for an unknown word; None leaves it out.
        index_from: is added to the number of each word.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: arrays of lists, and of topics from 0 to 45.

    Raises:
        ConnectionError: where it is not there and cannot be downloaded.
        ValueError: where ``maxlen`` leaves none.
    """
    hash_ = "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"
    arrays = read_npz(get_file(path, f"{KERAS}reuters.npz", file_hash=hash_))
    order = np.arange(len(arrays["x"]))
    np.random.RandomState(seed).shuffle(order)
    texts, labels = shorter(begun(arrays["x"][order], start_char, index_from), arrays["y"][order], maxlen)
    made, rows = as_array(limited(texts, num_words, skip_top, oov_char)), int(len(texts) * (1 - test_split))
    return (made[:rows], labels[:rows]), (made[rows:], labels[rows:])


def get_word_index(path: str | os.PathLike = "reuters_word_index.json") -> dict[str, int]:
    """The numbers of words, without ``index_from``. They are downloaded once, about half a megabyte.

    Args:
        path: name of the file in the folder ``~/.keras/datasets``.
    """
    return word_index(path, "reuters_word_index.json", "4d44cc38712099c9e383dc6e5f11a921")


def get_label_names() -> tuple[str, ...]:
    """The names of the topics in the order of their numbers.

    Example:
        >>> from pellucid.datasets import reuters
        >>> reuters.get_label_names()[3], len(reuters.get_label_names())
        ('earn', 46)
    """
    return tuple(_TOPICS.split())
