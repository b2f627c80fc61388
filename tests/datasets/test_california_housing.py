import doctest

import numpy as np
import pytest

from pellucid.datasets import california_housing

FIRST_ROW = [-122.23, 37.88, 41, 880, 129, 322, 126, 8.3252]
FIRST_ROW_AVERAGES = [8.3252, 41, 6.984127, 1.0238095, 322, 2.5555556, 37.88, -122.23]


def all_rows(**arguments):
    (x, y), _ = california_housing.load_data(test_split=0, **arguments)
    return x, y


def test_shapes_and_dtypes():
    (x_train, y_train), (x_test, y_test) = california_housing.load_data()
    assert [a.shape for a in (x_train, y_train, x_test, y_test)] == [(16512, 8), (16512,), (4128, 8), (4128,)]
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.float32)}


def test_small_version_is_the_first_600_rows():
    (x_train, y_train), (x_test, y_test) = california_housing.load_data(version="small")
    assert [a.shape for a in (x_train, y_train, x_test, y_test)] == [(480, 8), (480,), (120, 8), (120,)]
    x, y = all_rows(version="small")
    assert np.concatenate([y_train, y_test]).tolist() == y.tolist()
    oakland = np.array([-122.27, 37.8], dtype=np.float32)
    assert np.abs(x[:, :2] - oakland).max() < 0.3


@pytest.mark.parametrize(
    ("version", "train", "test"),
    [
        ("small", [228400, 132900, 60000, 95200, 107000], []),
        ("large", [252300, 146900, 290900, 141300, 500001], [397900, 227900, 172100, 186500, 148900]),
    ],
)
def test_rows_come_in_the_order_of_keras(version, train, test):
    # Targets that Keras's documentation and its users' notebooks print for the default seed.
    (_, y_train), (_, y_test) = california_housing.load_data(version=version)
    assert y_train[: len(train)].tolist() == train
    assert y_test[: len(test)].tolist() == test


def test_first_row_of_the_table_in_both_forms():
    x, y = all_rows()
    row = np.flatnonzero((y == 452600) & np.isclose(x, FIRST_ROW, rtol=1e-6).all(axis=1))
    assert len(row) == 1
    np.testing.assert_allclose(california_housing.to_averages(x[row])[0], FIRST_ROW_AVERAGES, rtol=1e-6)


def test_target_is_in_dollars():
    _, y = all_rows()
    assert y.mean(dtype=np.float64) / 1e5 == pytest.approx(2.0686, abs=5e-5)
    assert (y.min(), y.max()) == (14999, 500001)


def test_features_are_in_their_documented_ranges():
    x, _ = all_rows()
    column = dict(zip(california_housing.FEATURES, x.T, strict=True))
    assert (column["longitude"].min(), column["longitude"].max()) == (np.float32(-124.35), np.float32(-114.31))
    assert (column["latitude"].min(), column["latitude"].max()) == (np.float32(32.54), np.float32(41.95))
    assert (column["housing_median_age"].min(), column["housing_median_age"].max()) == (1, 52)
    assert (column["median_income"].min(), column["median_income"].max()) == (np.float32(0.4999), np.float32(15.0001))
    assert (column["total_bedrooms"] <= column["total_rooms"]).all()


def test_averages_keep_leading_axes_and_dtype():
    x, _ = all_rows(version="small")
    averages = california_housing.to_averages(x.reshape(6, 100, 8))
    assert averages.shape == (6, 100, 8) and averages.dtype == np.float32
    assert averages.shape[-1] == len(california_housing.AVERAGE_FEATURES)


def test_same_seed_same_split_other_seed_other_split():
    (_, first), _ = california_housing.load_data(seed=1)
    (_, again), _ = california_housing.load_data(seed=1)
    (_, other), _ = california_housing.load_data(seed=2)
    assert (first == again).all()
    assert (first != other).any()


def test_split_loses_no_row():
    (_, y_train), (_, y_test) = california_housing.load_data(test_split=0.37)
    _, y = all_rows()
    assert len(y_train) == int(20640 * 0.63)
    assert np.concatenate([y_train, y_test]).tolist() == y.tolist()


def test_arrays_belong_to_the_caller():
    (x_train, _), _ = california_housing.load_data()
    x_train[:] = 0
    (again, _), _ = california_housing.load_data()
    assert again.any() and again.base is None


@pytest.mark.parametrize("as_string", [True, False])
def test_path_to_a_file_in_the_form_of_keras(tmp_path, as_string):
    path = tmp_path / "mine.npz"
    np.savez(path, x=np.arange(80.0).reshape(10, 8), y=np.arange(10.0))
    x, y = all_rows(path=str(path) if as_string else path)
    assert sorted(y.tolist()) == list(range(10))
    assert (x[:, 0] == 8 * y).all() and x.dtype == np.float32


def test_path_to_a_copy_of_the_packaged_table(tmp_path):
    packaged = california_housing._PACKAGED_TABLE
    copy = tmp_path / "copy.npz"
    copy.write_bytes(packaged.read_bytes())
    assert (all_rows(path=copy)[0] == all_rows()[0]).all()


def test_default_name_means_the_packaged_table_wherever_one_works(tmp_path, monkeypatch):
    np.savez(tmp_path / "california_housing.npz", x=np.zeros((10, 8)), y=np.zeros(10))
    monkeypatch.chdir(tmp_path)
    assert len(all_rows()[1]) == 20640
    assert len(all_rows(path="cached_under_another_name.npz")[1]) == 20640
    assert len(all_rows(path="./california_housing.npz")[1]) == 10


def test_missing_file_in_a_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="path='.*absent.npz' is not a file"):
        california_housing.load_data(path=str(tmp_path / "absent.npz"))


def test_file_without_the_arrays_is_an_error(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds \['a'\]: expected the arrays 'x' and 'y'"):
        california_housing.load_data(path=tmp_path / "other.npz")


def test_unknown_version_is_an_error():
    with pytest.raises(ValueError, match="version='medium' is not known: expected 'small' .* or 'large'"):
        california_housing.load_data(version="medium")


@pytest.mark.parametrize("test_split", [1, 1.5, -0.1, float("nan")])
def test_test_split_out_of_range_is_an_error(test_split):
    with pytest.raises(ValueError, match=f"test_split={test_split} is out of range: .* at least 0 and below 1"):
        california_housing.load_data(test_split=test_split)


@pytest.mark.parametrize("shape", [(), (3,), (2, 7)])
def test_averages_of_another_number_of_columns_are_an_error(shape):
    with pytest.raises(ValueError, match=r"x has shape .*: expected \(\.\.\., 8\)"):
        california_housing.to_averages(np.zeros(shape))


def test_examples_in_the_documentation():
    results = doctest.testmod(california_housing)
    assert results.attempted and not results.failed
