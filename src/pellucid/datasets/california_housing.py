"""California housing: the median house value of 20,640 block groups of the 1990 US census.

The table was published with R. K. Pace and R. Barry, "Sparse Spatial Autoregressions", Statistics and Probability
Letters 33 (1997), 291-297, through StatLib. It comes with the package, so nothing is downloaded.
"""

import os
from pathlib import Path

import numpy as np

FEATURES = (
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
)
"""Names of the columns of ``x`` as `load_data` returns them."""

AVERAGE_FEATURES = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")
"""Names of the columns that `to_averages` returns."""

Split = tuple[np.ndarray, np.ndarray]

_PACKAGED_NAME = "california_housing.npz"
_PACKAGED_TABLE = Path(__file__).with_name(_PACKAGED_NAME)
_ROWS = {"small": 600, "large": None}
# The packaged table holds integers, so that it loses nothing: each feature is a column of it, divided by a scale.
_COLUMNS_AND_SCALES = (
    ("longitude_100", 100),
    ("latitude_100", 100),
    ("housing_median_age", 1),
    ("total_rooms", 1),
    ("total_bedrooms", 1),
    ("population", 1),
    ("households", 1),
    ("median_income_1e4", 10_000),
)
_TARGET = "median_house_value_usd"


def load_data(
    version: str = "large",
    path: str | os.PathLike[str] = _PACKAGED_NAME,
    test_split: float = 0.2,
    seed: int | None = 113,
) -> tuple[Split, Split]:
    """Load the California housing data, shuffled and split into a training and a test set.

    For the same arguments the rows, their order, the columns and the units are those of
    ``keras.datasets.california_housing.load_data``.

    Args:
        version: ``"large"`` for all 20,640 block groups, ``"small"`` for the first 600 (around San Francisco Bay).
        path: a ``.npz`` file to read instead of the packaged table. It holds either ``x`` and ``y``, as Keras's
            download does, or ``table`` and ``columns``, as the packaged one does. A bare file name that does not
            exist, such as the default, means the packaged table. (In Keras it names the cached download.)
        test_split: fraction of the rows that go to the test set, at least 0 and below 1.
        seed: seed of the shuffle that comes before the split. None shuffles differently each time.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``, float32 arrays. ``x`` has shape (rows, 8), with these columns:

        ==  ======================  ==========================================================
        0   ``longitude``           degrees, west is negative: -124.35 to -114.31
        1   ``latitude``            degrees: 32.54 to 41.95
        2   ``housing_median_age``  years, 52 stands for 52 or more
        3   ``total_rooms``         rooms of all homes of the block group
        4   ``total_bedrooms``      bedrooms of all homes of the block group
        5   ``population``          people
        6   ``households``          households
        7   ``median_income``       tens of thousands of dollars a year: 0.4999 to 15.0001
        ==  ======================  ==========================================================

        ``y`` has shape (rows,): the median house value in dollars, 14,999 to 500,001 (which stands for "more").

        Keras's documentation lists other features (``MedInc``, ``AveRooms``, ...), those of scikit-learn's
        ``fetch_california_housing``; `to_averages` computes these from ``x``. scikit-learn's target is ``y / 1e5``.

    Raises:
        ValueError: for another ``version``, a ``test_split`` out of range, or a file without the arrays named above.
        FileNotFoundError: if ``path`` names a folder, too, and no file is there.

    Example:
        >>> from pellucid.datasets import california_housing
        >>> (x_train, y_train), (x_test, y_test) = california_housing.load_data()
        >>> x_train.shape, y_train.shape, x_test.shape, y_test.shape
        ((16512, 8), (16512,), (4128, 8), (4128,))
        >>> y_train[:3].tolist()
        [252300.0, 146900.0, 290900.0]
    """
    if version not in _ROWS:
        raise ValueError(f"version={version!r} is not known: expected 'small' (600 rows) or 'large' (20,640 rows).")
    if not 0 <= test_split < 1:
        raise ValueError(
            f"test_split={test_split!r} is out of range: expected a fraction of the rows, at least 0 and below 1, such as 0.2."
        )
    x, y = _read(_resolve(path))
    x, y = x[: _ROWS[version]], y[: _ROWS[version]]
    order = np.random.RandomState(seed).permutation(len(x))
    x, y = x[order], y[order]
    train_rows = int(len(x) * (1 - test_split))
    # Copies: a view of the test rows would keep the whole table in memory.
    return (x[:train_rows].copy(), y[:train_rows].copy()), (x[train_rows:].copy(), y[train_rows:].copy())


def to_averages(x: np.ndarray) -> np.ndarray:
    """Turn the features of `load_data` into those of scikit-learn's ``fetch_california_housing``, in its order.

    Totals become averages a household: ``AveRooms = total_rooms / households``, ``AveBedrms = total_bedrooms /
    households``, ``AveOccup = population / households``. The others stay as they are.

    Args:
        x: shape (..., 8), columns as in `FEATURES`.

    Returns:
        Array of the same shape and dtype, columns as in `AVERAGE_FEATURES`: income in tens of thousands of dollars,
        age in years, rooms, bedrooms, people, people a household, degrees north, degrees east.

    Raises:
        ValueError: if the last axis of ``x`` does not have 8 columns.

    Example:
        >>> from pellucid.datasets import california_housing
        >>> x = [-122.23, 37.88, 41.0, 880.0, 129.0, 322.0, 126.0, 8.3252]
        >>> california_housing.to_averages(x).round(4).tolist()
        [8.3252, 41.0, 6.9841, 1.0238, 322.0, 2.5556, 37.88, -122.23]
    """
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[-1] != len(FEATURES):
        raise ValueError(f"x has shape {x.shape}: expected (..., 8), with the columns {', '.join(FEATURES)}.")
    longitude, latitude, age, rooms, bedrooms, population, households, income = np.moveaxis(x, -1, 0)
    averages = (rooms / households, bedrooms / households, population, population / households)
    return np.stack((income, age, *averages, latitude, longitude), axis=-1)


def _resolve(path: str | os.PathLike[str]) -> Path:
    """The file to read."""
    # Not even looked up, so that a file of that name in the working directory does not change the data unasked.
    if os.fspath(path) == _PACKAGED_NAME:
        return _PACKAGED_TABLE
    file = Path(path).expanduser()
    if file.is_file():
        return file
    if file.name == os.fspath(path):
        return _PACKAGED_TABLE
    raise FileNotFoundError(f"path={os.fspath(path)!r} is not a file: expected a .npz file, or no path for the packaged table.")


def _read(file: Path) -> Split:
    """Features (rows, 8) and target (rows,) as float32."""
    with np.load(file, allow_pickle=False) as arrays:
        if {"x", "y"} <= set(arrays):
            return arrays["x"].astype(np.float32), arrays["y"].astype(np.float32)
        if {"table", "columns"} <= set(arrays):
            table = dict(zip(arrays["columns"].tolist(), arrays["table"].T, strict=True))
            x = np.stack([table[column] / scale for column, scale in _COLUMNS_AND_SCALES], axis=1)
            return x.astype(np.float32), table[_TARGET].astype(np.float32)
        raise ValueError(f"path={str(file)!r} holds {sorted(arrays)}: expected the arrays 'x' and 'y', or 'table' and 'columns'.")
