"""``plot_model``, with Keras's keywords."""

from __future__ import annotations

import inspect
import struct

import keras
import pytest

import pellucid
from tests.render.helpers import Transformer, WideAndDeep, read


@pytest.fixture(scope="module")
def model():
    model = Transformer()
    model.build([(None, 5, 3), (None, 5)])
    return model


def test_keywords_are_those_of_keras_in_its_order():
    ours, theirs = (list(inspect.signature(f).parameters) for f in (pellucid.utils.plot_model, keras.utils.plot_model))
    assert ours == [name for name in theirs if name not in ("splines", "kwargs")]  # splines: how Graphviz bends lines


def test_a_drawing_is_written_and_its_name_returned(model, tmp_path):
    path = pellucid.utils.plot_model(model, tmp_path / "m.svg", rankdir="LR", show_layer_activations=True, show_dtype=True)
    sheet = read((tmp_path / "m.svg").read_text())
    assert path == str(tmp_path / "m.svg")
    assert {"relu", "(None, 5, 8) float32"} <= set(sheet.texts) and sheet.width > sheet.height


def test_names_and_shapes_and_nested_layers_can_be_left_out(model, tmp_path):
    pellucid.utils.plot_model(model, tmp_path / "m.svg", False, False, False, "TB", False)
    sheet = read((tmp_path / "m.svg").read_text())
    assert "blocks/0/attention" not in sheet.boxes and "blocks/0" in sheet.boxes
    assert "Block" in sheet.texts and "blocks/0" not in sheet.texts and "(None, 5, 8)" not in sheet.texts


def test_by_default_it_is_a_png_in_the_folder_where_one_works(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pellucid.utils.plot_model(model) == "model.png"
    small = pellucid.utils.plot_model(model, "small.png", dpi=50)
    width, less = (struct.unpack(">I", (tmp_path / name).read_bytes()[16:20])[0] for name in ("model.png", small))
    assert width == pytest.approx(4 * less, abs=4)


@pytest.mark.parametrize("name", ["m.html", "m.mmd", "m.dot", "m.json", "m.model_explorer.json"])
def test_other_formats_take_the_options_that_they_know(model, tmp_path, name):
    pellucid.utils.plot_model(model, tmp_path / name, dpi=300, expand_nested=False)
    assert "attention" in (tmp_path / name).read_text()


def test_a_model_that_was_not_captured_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"was not captured yet.*model\.build"):
        pellucid.utils.plot_model(WideAndDeep(), tmp_path / "m.svg")
