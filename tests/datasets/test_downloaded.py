"""Data sets that are downloaded: what their files hold is returned as Keras returns it."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle

import keras
import numpy as np
import pytest

import pellucid
from pellucid.datasets import boston_housing, cifar10, cifar100, fashion_mnist, files, imdb, mnist, plain, reuters

GENERATOR = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of data sets, whose files count as the right ones."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(files, "_hash_of", lambda path, like, algorithm: like)
    monkeypatch.setattr(keras.src.utils.file_utils, "validate_file", lambda *_, **__: True)
    monkeypatch.setattr(keras.src.utils.file_utils.config, "keras_home", lambda: str(tmp_path))
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def equal(ours, theirs):
    for (x, y), (x_theirs, y_theirs) in zip(ours, theirs, strict=True):
        for a, b in ((x, x_theirs), (y, y_theirs)):
            assert len(a) == len(b)
            if a.dtype == object:
                assert list(map(list, a)) == list(map(list, b))
            else:
                np.testing.assert_array_equal(a, b)
                assert np.asarray(b).dtype == a.dtype


def both(name, function="load_data", **options):
    ours, theirs = (getattr(getattr(k.datasets, name), function)(**options) for k in (pellucid, keras))
    return ours, theirs


def pictures(count, *shape):
    return GENERATOR.integers(0, 256, (count, *shape), "uint8"), GENERATOR.integers(0, 10, count, "uint8")


def test_mnist(folder):
    x, y = pictures(5, 28, 28)
    np.savez(folder / "mnist.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    equal(*both("mnist"))
    np.savez(folder / "other.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])
    assert len(mnist.load_data("other.npz")[1][0]) == 3


def test_fashion_mnist(folder):
    (folder / "fashion-mnist").mkdir()
    for part, count in (("train", 4), ("t10k", 2)):
        x, y = pictures(count, 28, 28)
        for kind, head, data in (("images-idx3", 16, x), ("labels-idx1", 8, y)):
            with gzip.open(folder / "fashion-mnist" / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(b"\0" * head + data.tobytes())
    equal(*both("fashion_mnist"))
    (folder / "fashion-mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"train-labels.* is damaged .*; remove it"):
        fashion_mnist.load_data()


def batch(count, *labels):
    x, y = pictures(count, 3 * 32 * 32)
    return pickle.dumps({b"data": x, **{label: y.tolist() for label in labels}}, protocol=3)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_cifar(folder, data_format, monkeypatch):
    for k in (pellucid, keras):
        monkeypatch.setattr(k.config if k is pellucid else keras.src.backend, "image_data_format", lambda: data_format)
    hundred = folder / "cifar-100-python-target" / "cifar-100-python"
    ten = folder / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    ten.mkdir(parents=True)
    hundred.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (ten / name).write_bytes(batch(4, b"labels"))
    for name in ("train", "test"):
        (hundred / name).write_bytes(batch(4, b"fine_labels", b"coarse_labels"))
    shape = (3, 32, 32) if data_format == "channels_first" else (32, 32, 3)
    (x, y), (x_test, y_test) = cifar10.load_data()
    assert x.shape == (20, *shape) and y.shape == (20, 1) and x.dtype == y.dtype == "uint8" and x_test.shape == (4, *shape)
    first = keras.src.datasets.cifar.load_batch(ten / "data_batch_2")
    images = first[0] if data_format == "channels_first" else first[0].transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(x[4:8], images)
    np.testing.assert_array_equal(y[4:8, 0], first[1])
    for mode in ("fine", "coarse"):
        (x, y), _ = cifar100.load_data(mode)
        np.testing.assert_array_equal(y[:, 0], keras.src.datasets.cifar.load_batch(hundred / "train", f"{mode}_labels")[1])
    with pytest.raises(ValueError, match="label_mode='all'; expected 'fine' or 'coarse'"):
        cifar100.load_data("all")


def texts(count):
    made = np.empty(count, object)
    made[:] = [GENERATOR.integers(1, 30, GENERATOR.integers(3, 9)).tolist() for _ in range(count)]
    return made


OPTIONS = {
    "plain": {},
    "few words": {"num_words": 12, "skip_top": 5},
    "none unknown": {"num_words": 12, "oov_char": None},
    "short": {"maxlen": 7, "seed": 3},
    "as they are": {"start_char": None, "index_from": 0},
    "moved": {"start_char": None, "index_from": 5},
    "begun": {"start_char": 9, "index_from": 0},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_imdb_and_reuters(folder, case):
    np.savez(folder / "imdb.npz", x_train=texts(11), y_train=GENERATOR.integers(0, 2, 11), x_test=texts(6), y_test=np.arange(6))
    np.savez(folder / "reuters.npz", x=texts(13), y=GENERATOR.integers(0, 46, 13))
    equal(*both("imdb", **OPTIONS[case]))
    equal(*both("reuters", **OPTIONS[case]))
    equal(*both("reuters", test_split=0.5, **OPTIONS[case]))
    for load in (imdb.load_data, reuters.load_data):
        with pytest.raises(ValueError, match="maxlen=1: no text is shorter"):
            load(maxlen=1)


def test_numbers_of_words(folder):
    for name in ("imdb", "reuters"):
        (folder / f"{name}_word_index.json").write_text(json.dumps({"the": 1, "é": 2}))
        ours, theirs = both(name, "get_word_index")
        assert ours == theirs == {"the": 1, "é": 2}
    ours, theirs = both("reuters", "get_label_names")
    assert ours == theirs


def test_boston_housing(folder):
    np.savez(folder / "boston_housing.npz", x=GENERATOR.normal(size=(9, 13)), y=np.arange(9.0))
    equal(*both("boston_housing"))
    equal(*both("boston_housing", test_split=0.5, seed=1))
    with pytest.raises(ValueError, match=r"test_split=1; expected a share"):
        boston_housing.load_data(test_split=1)


def test_urls_and_hashes_are_those_of_keras(monkeypatch):
    asked = {"ours": [], "theirs": []}

    class Asked(Exception):
        pass

    def note(of):
        def get_file(fname=None, origin=None, file_hash=None, cache_subdir="datasets", extract=False):
            asked[of].append((str(fname), origin, file_hash, cache_subdir, extract))
            raise Asked

        return get_file

    names = ["boston_housing", "cifar10", "cifar100", "fashion_mnist", "imdb", "mnist", "reuters"]
    calls = [(name, "load_data") for name in names] + [("imdb", "get_word_index"), ("reuters", "get_word_index")]
    for k, get in ((pellucid, note("ours")), (keras, note("theirs"))):
        for name, function in calls:
            call = getattr(getattr(k.datasets, name), function)
            for module in (pellucid.datasets.cifar, pellucid.datasets.words) if k is pellucid else ():
                monkeypatch.setattr(module, "get_file", get)
            monkeypatch.setitem(call.__globals__, "get_file", get)
            with pytest.raises(Asked):
                call()
    assert sorted(asked["ours"]) == sorted(asked["theirs"])


def test_pickles_run_nothing(folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    made = np.empty(1, object)
    made[0] = Evil()
    np.savez(folder / "imdb.npz", x_train=made, y_train=[0], x_test=made, y_test=[0])
    with pytest.raises(ValueError, match=r"imdb\.npz is not what it should be, and was not read: builtins\.exec is no part of an array"):
        imdb.load_data()
    assert not (tmp_path / "ran").exists()
    (folder / "mnist.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"mnist\.npz is no \.npz file; remove it"):
        mnist.load_data()


def test_arrays_of_all_kinds_are_read(tmp_path):
    given = {"a": np.arange(3), "b": np.array([[1, 2], [3]], object), "c": np.array(["x", "yy"]), "d": np.float32(2.5)}
    np.savez(tmp_path / "a.npz", **given)
    for name, array in plain.read_npz(tmp_path / "a.npz").items():
        np.testing.assert_array_equal(array, given[name])


def test_without_the_file_it_says_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("pellucid.datasets.words.KERAS", "http://127.0.0.1:1/")
    monkeypatch.setattr("pellucid.datasets.mnist.KERAS", "http://127.0.0.1:1/")
    with pytest.raises(
        ConnectionError, match=rf"127\.0\.0\.1:1/mnist\.npz cannot be downloaded.*put it here: {tmp_path}.datasets.mnist\.npz"
    ):
        mnist.load_data()


def test_a_file_with_another_hash_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("pellucid.datasets.mnist.KERAS", "http://127.0.0.1:1/")
    (tmp_path / "datasets").mkdir()
    np.savez(tmp_path / "datasets" / "mnist.npz", x_train=np.zeros(1))
    found = hashlib.sha256((tmp_path / "datasets" / "mnist.npz").read_bytes()).hexdigest()
    with pytest.raises(ConnectionError, match=f"has the hash {found}; expected 731c5ac6"):
        mnist.load_data()
