"""Boston housing: 506 districts and the median price of a home there (Harrison and Rubinfeld, 1978; StatLib).

One of the columns is made from the share of black people in a district. Use ``california_housing`` for anything but comparisons.
"""

from __future__ import annotations

import os

import numpy as np

from pellucid.datasets.files import get_file
from pellucid.datasets.plain import read_npz
from pellucid.datasets.words import KERAS, Split


def load_data(path: str | os.PathLike = "boston_housing.npz", test_split: float = 0.2, seed: int = 113) -> tuple[Split, Split]:
    """The districts, shuffled and split. They are downloaded once, about 60 kB.

    Args:
        path: name of the file in the folder ``~/.keras/datasets``.
        test_split: share of the rows for the test, at least 0 and below 1.
        seed: of the order of the rows.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, float64: features (rows, 13), and prices (rows,) in thousands of dollars.

    Raises:
        ValueError: for a share out of range.
        ConnectionError: where it is not there and cannot be downloaded.
    """
    if not 0 <= test_split < 1:
        raise ValueError(f"boston_housing.load_data: test_split={test_split!r}; expected a share of the rows, at least 0 and below 1.")
    hash_ = "f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"
    arrays = read_npz(get_file(path, f"{KERAS}boston_housing.npz", file_hash=hash_))
    order = np.arange(len(arrays["x"]))
    np.random.RandomState(seed).shuffle(order)
    x, y, rows = arrays["x"][order], arrays["y"][order], int(len(order) * (1 - test_split))
    return (x[:rows].copy(), y[:rows].copy()), (x[rows:].copy(), y[rows:].copy())
