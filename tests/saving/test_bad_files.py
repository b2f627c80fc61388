"""What does not fit is told of, names both sides, and changes nothing."""

from __future__ import annotations

import json

import h5py
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, saving
from pellucid.errors import NotBuiltError
from tests.saving.both import keras_saves


def model(units=3, extra=False, bias=True):
    made = pellucid.Sequential([pellucid.Input((4,)), layers.Dense(units, use_bias=bias, name="hidden")], name="m")
    if extra:
        made.add(layers.BatchNormalization(name="norm"))
    return made


@pytest.fixture(params=["weights.h5", "safetensors"])
def path(request, tmp_path):
    return str(tmp_path / f"a.{request.param}")


def refused(made, path, match, error=ValueError, **options):
    """Loading raises, and leaves all weights as they were."""
    before = made.get_weights()
    with pytest.raises(error, match=match):
        made.load_weights(path, **options)
    for a, b in zip(made.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_shape_names_the_weight_and_both_shapes(path):
    model(5).save_weights(path)
    refused(
        model(3), path, r"(?s)does not fit 'm'; nothing was loaded.*hidden/kernel \(4, 5\) in the file, \(4, 3\) in the model.*skip_mis"
    )


def test_missing_and_unexpected_weights_are_named(path):
    model().save_weights(path)
    refused(model(extra=True), path, r"missing in the file: norm/gamma \(3,\), at layers/batch_normalization/")
    model(extra=True).save_weights(path)
    refused(model(), path, r"not in the model: layers/batch_normalization/(vars/0|beta) \(3,\)")


def test_weights_are_not_shifted_into_others_of_equal_shape(tmp_path):
    make = lambda scale: pellucid.Sequential([pellucid.Input((4,)), layers.BatchNormalization(scale=scale, name="n")], name="m")
    make(True).save_weights(tmp_path / "a.weights.h5")
    refused(make(False), tmp_path / "a.weights.h5", r"not in the model: layers/batch_normalization/vars/3 \(4,\)")
    made = make(False)
    before = made.get_weights()
    with pytest.warns(UserWarning, match="0 weights loaded"):
        made.load_weights(tmp_path / "a.weights.h5", skip_mismatch=True)
    np.testing.assert_array_equal(made.get_weights(), before)


def test_skip_mismatch_loads_the_layers_that_fit(path):
    make = lambda units: pellucid.Sequential([pellucid.Input((4,)), layers.Dense(6, name="one"), layers.Dense(units, name="two")], name="m")
    one, other = make(2), make(3)
    one.save_weights(path)
    before = other.get_weights()
    with pytest.warns(UserWarning, match="not all was loaded"):
        report = other.load_weights(path, skip_mismatch=True)
    np.testing.assert_array_equal(other.layers[0].kernel, one.layers[0].kernel)
    np.testing.assert_array_equal(other.layers[1].kernel, before[2])
    assert not report.complete and [m.weight for m in report.other_shape] == ["two/kernel", "two/bias"]
    assert repr(report).splitlines()[1:] == [f"  of another shape: {m}" for m in report.other_shape]
    assert "2 weights loaded into 'm', 2 of another shape" in repr(report)


def test_layers_to_skip_stay_as_they_are(path):
    one, other = model(extra=True), model(extra=True)
    one.save_weights(path)
    before = other.get_weights()
    report = other.load_weights(path, objects_to_skip=[other.layers[0]])
    assert report.complete and len(report.loaded) == 4
    np.testing.assert_array_equal(other.layers[0].kernel, before[0])


def test_a_long_list_is_cut(path):
    model().save_weights(path)
    long = model()
    for number in range(8):
        long.add(layers.BatchNormalization(name=f"n{number}"))
    refused(long, path, "and 12 more")


class Unbuilt(pellucid.Model):
    def __init__(self):
        super().__init__(name="u")
        self.hidden = layers.Dense(3)

    def call(self, x):
        return self.hidden(x)


def test_a_model_that_is_not_built_has_nothing_to_load_or_save(path):
    with pytest.raises(NotBuiltError, match=r"save_weights: 'u' has no weights yet\. Build it first: model\.build"):
        Unbuilt().save_weights(path)
    model().save_weights(path)
    with pytest.raises(NotBuiltError, match=r"load_weights: 'u' has no weights yet, so that nothing of 'a\."):
        Unbuilt().load_weights(path)
    pellucid.Sequential([pellucid.Input((4,)), layers.Flatten()]).save_weights(path)
    with pytest.raises(NotBuiltError, match="has no weights yet"):
        Unbuilt().load_weights(path)


def test_a_layer_that_is_not_built_is_named(path):
    made = Unbuilt()
    made.build((None, 4))
    made.save_weights(path)
    other = Unbuilt()
    other.build((None, 4))
    other.late = layers.Dense(2)
    made.late = layers.Dense(2)
    made.late.build((None, 3))
    made.save_weights(path)
    with pytest.raises(ValueError, match=r"(?s)not in the model: late/.*The layer 'late' is not built"):
        other.load_weights(path)


def test_a_file_that_is_not_there(tmp_path):
    made = model()
    made.save_weights(tmp_path / "first.weights.h5")
    refused(
        made, tmp_path / "frist.weights.h5", r"there is no file '.*frist.weights.h5'. Did you mean 'first.weights.h5'", FileNotFoundError
    )
    refused(made, tmp_path / "no" / "a.weights.h5", r"no folder '.*no'", FileNotFoundError)
    (tmp_path / "empty").mkdir()
    refused(made, tmp_path / "empty" / "a.weights.h5", r"There is no file of weights in '.*empty'", FileNotFoundError)
    (tmp_path / "d.weights.h5").mkdir()
    refused(made, tmp_path / "d.weights.h5", "a folder", IsADirectoryError)


def test_names_with_another_ending(tmp_path):
    made = model()
    for name in ("a.h5", "a.npz", "a"):
        with pytest.raises(ValueError, match=rf"save_weights: filepath='.*{name}'; expected a name that ends in '.weights.h5' or '.safet"):
            made.save_weights(tmp_path / name)
    refused(made, tmp_path / "a.npz", r"load_weights: filepath='.*a.npz'; expected")
    with pytest.raises(ValueError, match="max_shard_size=1; expected None"):
        made.save_weights(tmp_path / "a.weights.h5", max_shard_size=1)
    refused(made, tmp_path / "a.h5", "by_name=True; expected False", by_name=True)
    with pytest.raises(TypeError, match="save_weights: model=3; expected a Model or a Layer"):
        saving.save_weights(3, tmp_path / "a.weights.h5")


def test_a_file_that_exists_is_kept_where_that_is_asked_for(path):
    made = model()
    made.save_weights(path)
    with pytest.raises(FileExistsError, match="exists; expected overwrite=True"):
        model(5).save_weights(path, overwrite=False)
    assert made.load_weights(path).complete


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"no weights at all", b"\x89HDF\r\n\x1a\n", b"\xff" * 100])
def test_files_that_are_of_another_kind(content, path):
    with open(path, "wb") as file:
        file.write(content)
    refused(
        model(), path, r"is no HDF5 file: it begins with|is empty|cannot be read as an HDF5 file|is no \.safetensors file, or is cut off"
    )


def test_files_that_are_cut_off(path):
    model().save_weights(path)
    with open(path, "rb") as file:
        whole = file.read()
    for length in range(1, len(whole), 1 + len(whole) // 25):
        with open(path, "wb") as file:
            file.write(whole[:length])
        refused(model(), path, "cut off|no HDF5 file")


def test_the_form_of_keras_2_is_named(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = ["hidden"]
    refused(model(), tmp_path / "old.h5", "has the form that Keras 2 wrote")


def test_files_that_point_elsewhere_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (4, 3), "f4", external=[(str(tmp_path / "secret"), 0, 48)])
    refused(model(), tmp_path / "a.weights.h5", r"refers to other files at 'layers/dense/vars/0'")
    with h5py.File(tmp_path / "b.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
    refused(model(), tmp_path / "b.weights.h5", "missing in the file")


def header_of(entries, data=b"\x00" * 8):
    text = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
    return len(text).to_bytes(8, "little") + text + data


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
WRONG_HEADERS = {
    "no JSON": (b"{", "its header is no JSON"),
    "no text": (b"\xff\xff", "its header is no JSON"),
    "a list": ([1], "expected an object"),
    "a name twice": (b'{"a": 1, "a": 2}', "it has a name twice"),
    "no entry": ({"a": 1}, "the header has 1 for 'a'; expected dtype"),
    "negative": ({"a": {**F32, "shape": [-2]}}, "the header has"),
    "a type": ({"a": {**F32, "dtype": "F33"}}, "'a' is of type 'F33'; expected one of BOOL"),
    "too short": ({"a": {**F32, "shape": [3]}}, r"'a' of shape \(3,\) and type float32 has 8 bytes"),
    "a hole": ({"a": {**F32, "shape": [1], "data_offsets": [4, 8]}}, "the bytes of 'a' begin at 4; expected 0"),
    "more bytes": ({"a": {**F32, "shape": [1], "data_offsets": [0, 4]}}, "8 bytes; expected|has .* bytes; expected"),
    "overlap": ({"a": F32, "b": F32}, "the bytes of 'b' begin at 0; expected 8"),
}


@pytest.mark.parametrize("name", WRONG_HEADERS)
def test_headers_of_safetensors_that_do_not_hold(name, tmp_path):
    entries, message = WRONG_HEADERS[name]
    (tmp_path / "a.safetensors").write_bytes(header_of(entries))
    refused(model(), tmp_path / "a.safetensors", message)


def test_a_file_of_safetensors_made_by_hand_is_read(tmp_path):
    kernel, bias = np.arange(12, dtype="<f4"), np.array([1, 2, 3], "<i8")
    entries = {
        "__metadata__": {"any": "thing"},
        "layers/dense/kernel": {"dtype": "F32", "shape": [4, 3], "data_offsets": [24, 72]},
        "layers/dense/bias": {"dtype": "I64", "shape": [3], "data_offsets": [0, 24]},
    }
    (tmp_path / "a.safetensors").write_bytes(header_of(entries, bias.tobytes() + kernel.tobytes()))
    made = model()
    made.load_weights(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(made.layers[0].kernel, kernel.reshape(4, 3))
    np.testing.assert_array_equal(made.layers[0].bias, [1.0, 2.0, 3.0])


def test_what_cannot_be_written_is_told_of(path):
    class Strange(layers.Layer):
        def save_own_variables(self, store):
            store["x"] = self.thing

        def call(self, x):
            return x

    made = pellucid.Sequential([pellucid.Input((4,)), Strange(name="s")])
    made.layers[0].thing = "text"
    with pytest.raises(TypeError, match="save_own_variables of 's' stores 'text' as 'x'; expected an array of numbers"):
        made.save_weights(path)
    made.layers[0].thing = np.ones(2, "longdouble")
    if path.endswith("safetensors"):
        with pytest.raises(ValueError, match=r"the array at 'layers/strange/vars/x' is of type float128; a \.safetensors file has only"):
            made.save_weights(path)


def test_a_file_of_keras_with_more_layers_is_refused_not_half_loaded(tmp_path):
    theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    keras_saves(theirs, tmp_path / "a.weights.h5")
    refused(model(), tmp_path / "a.weights.h5", r"not in the model: layers/dense_1/vars/0 \(3, 3\)")
