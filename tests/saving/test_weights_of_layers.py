"""A file of weights of any layer goes from one library to the other."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from tests.cases import some_slow
from tests.layers.tables import CASES
from tests.saving.both import arrays_of, keras_loads, keras_saves

KEPT = ["Dense", "BatchNormalization", "Bidirectional"]


@pytest.mark.parametrize("name", some_slow(CASES, KEPT))
def test_the_file_of_a_layer_is_that_of_keras(name, tmp_path):
    case = CASES[name]
    ours, theirs = case.pair()
    keras_saves(theirs, tmp_path / "theirs.weights.h5")
    before = [w.numpy() for w in ours.weights]
    if ours.weights:
        pellucid.saving.save_weights(ours, tmp_path / "ours.weights.h5")
        written, expected = arrays_of(tmp_path / "ours.weights.h5"), arrays_of(tmp_path / "theirs.weights.h5")
        assert list(written) == list(expected)
        for place, array in expected.items():
            np.testing.assert_array_equal(written[place], array, err_msg=place)
        ours.set_weights([np.zeros_like(w) for w in before])
        theirs.set_weights([np.zeros_like(np.asarray(w.value)) for w in theirs.weights])
        keras_loads(theirs, tmp_path / "ours.weights.h5")
    report = pellucid.saving.load_weights(ours, tmp_path / "theirs.weights.h5")
    assert report.complete and len(report.loaded) >= len(before)  # a weight that two layers hold is there twice
    loaded = [np.asarray(w.value) for w in theirs.weights if "seed_generator" not in w.path]
    pellucid.saving.save_weights(ours, tmp_path / "ours.safetensors")
    assert pellucid.saving.load_weights(ours, tmp_path / "ours.safetensors").complete
    for a, b, c in zip(ours.weights, loaded, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), c, err_msg=a.path)
        np.testing.assert_array_equal(b, c, err_msg=a.path)
