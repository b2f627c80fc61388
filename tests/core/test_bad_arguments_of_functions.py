"""What a function of the library cannot take is refused by name, with the value and what was expected, before anything is done."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from pellucid import layers, ops, utils
from pellucid.utils import get_file, pad_sequences, timeseries_dataset_from_array

X = np.ones((2, 5, 3, 4), "float32")
URL = "http://127.0.0.1:1/x"  # nobody answers there


def model():
    net = pellucid.Sequential([layers.Dense(2)], name="net")
    net.build((None, 3))
    return net


WRONG = {
    "save: no name": (lambda: model().save_weights(None), TypeError, "save_weights: filepath=None; expected a name that ends in"),
    "save: a model": (lambda: model().save("a.keras"), NotImplementedError, "save of 'net': whole models are not written to files yet."),
    "save: bytes": (lambda: model().save_weights(b"a.weights.h5"), TypeError, "save_weights: filepath=b'a.weights.h5'; expected"),
    "save: no folder": (lambda: model().save_weights("nowhere/a.weights.h5"), FileNotFoundError, "there is no folder"),
    "save: overwrite": (lambda: model().save_weights("a.weights.h5", overwrite="no"), ValueError, "overwrite='no'; expected True or False"),
    "load: a number": (lambda: model().load_weights(5), TypeError, "load_weights: filepath=5; expected a name"),
    "load: skip_mismatch": (lambda: model().load_weights("a.weights.h5", "no"), ValueError, "skip_mismatch='no'; expected True or False"),
    "load: objects_to_skip": (
        lambda: model().load_weights("a.weights.h5", objects_to_skip=5),
        TypeError,
        "objects_to_skip=5; expected a list of layers or None.",
    ),
    "set_weights": (lambda: model().set_weights(None), TypeError, "set_weights of 'net': weights=None; expected a list of arrays"),
    "pad: a text": (lambda: pad_sequences("abc"), ValueError, "sequences is a str; expected a list of sequences."),
    "pad: texts": (lambda: pad_sequences(["ab"]), ValueError, "sequences[0] is 'ab'; expected a list or an array."),
    "pad: a fraction": (lambda: pad_sequences([[1]], value=1.5), ValueError, "value=1.5 cannot be held by dtype='int32'"),
    "pad: NaN": (lambda: pad_sequences([[1]], value=np.nan), ValueError, "value=nan cannot be held by dtype='int32'"),
    "series: a text": (lambda: timeseries_dataset_from_array("abc", None, 3), ValueError, "data='abc'; expected an array"),
    "series: shuffle": (
        lambda: timeseries_dataset_from_array(X, None, 1, shuffle="no"),
        ValueError,
        "shuffle='no'; expected True or False",
    ),
    "series: seed": (lambda: timeseries_dataset_from_array(X, None, 1, seed="x"), ValueError, "seed='x'; expected a whole number"),
    "remat: one name": (
        lambda: pellucid.RematScope("list_of_layers", layer_names="wide"),
        TypeError,
        "RematScope: layer_names='wide'; expected a list of names.",
    ),
    "remat: no names": (lambda: pellucid.RematScope("list_of_layers"), ValueError, "layer_names=None; expected the names of layers."),
    "remat: threshold": (lambda: pellucid.RematScope("larger_than", "x"), ValueError, "output_size_threshold='x'; expected a whole number"),
    "get_file: name": (lambda: get_file(5, URL), TypeError, "get_file: fname=5; expected a name or None."),
    "get_file: extract": (lambda: get_file("a", URL, extract="yes"), ValueError, "get_file: extract='yes'; expected True or False."),
    "get_file: form": (
        lambda: get_file("a", URL, archive_format="rar"),
        ValueError,
        "archive_format='rar'; expected 'tar', 'zip' or 'auto'",
    ),
    "get_file: hash": (lambda: get_file("a", URL, hash_algorithm="md4"), ValueError, "hash_algorithm='md4'; expected 'sha256', 'md5'"),
    "attention: features": (
        lambda: ops.dot_product_attention(X, X[..., :2], X),
        ValueError,
        "(2, 5, 3, 4), (2, 5, 3, 2) and (2, 5, 3, 4); expected as many features in query and key",
    ),
    "normalization: weights": (
        lambda: ops.layer_normalization(X, np.ones(3, "float32")),
        pellucid.ShapeError,
        "Weights of shape (3,) do not fit axes (3,) of an array of shape (2, 5, 3, 4)",
    ),
}


@pytest.mark.parametrize(("call", "error", "told"), WRONG.values(), ids=WRONG)
def test_it_is_refused(call, error, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(error) as caught:
        call()
    assert told in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_value_that_the_type_holds_is_taken():
    assert utils.pad_sequences([[1], [2, 3]], value=-1.0).tolist() == [[-1, 1], [2, 3]]
