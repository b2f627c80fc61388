"""Mistakes in connecting layers: the error names the layer and the shapes, the traceback is the user's."""

from __future__ import annotations

import traceback

import pytest

from pellucid import Input, layers, ops
from pellucid.errors import CaptureError, ShapeError


def images(channels=3, size=8):
    return Input((size, size, channels))


WRONG = {
    "Add": (lambda: layers.Add()([images(), layers.Conv2D(4, 3)(images())]), ShapeError, ["Add 'add", "(None, 8, 8, 3), (None, 6, 6, 4)"]),
    "Concatenate": (
        lambda: layers.Concatenate()([images(size=9), images(size=8)]),
        ShapeError,
        ["Concatenate 'concatenate", "(None, 9, 9, 3), (None, 8, 8, 3)", "all axes but axis -1"],
    ),
    "LSTM": (lambda: layers.LSTM(3)(images()), ShapeError, ["'lstm", "(None, 8, 8, 3)", "ndim=3"]),
    "ConvLSTM2D": (lambda: layers.ConvLSTM2D(3, 2)(images()), ShapeError, ["(None, 8, 8, 3)", "ndim=5"]),
    "operator": (lambda: images(3) + images(4), TypeError, ["in add of", "(None, 8, 8, 4)", "sizes must be equal"]),
    "op": (lambda: ops.maximum(images(3), images(4)), TypeError, ["in maximum of", "(None, 8, 8, 4)", "sizes must be equal"]),
    "size": (lambda: ops.arange(ops.shape(Input((None,)))[1]), CaptureError, ["arange needs a value", "`call` of a layer", "x.shape"]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_an_error_of_connecting_says_what_was_connected(mistake):
    build, kind, words = WRONG[mistake]
    with pytest.raises(kind) as raised:
        build()
    text = "".join(traceback.format_exception(raised.value))
    assert all(word in text for word in words), text
    assert text.count("src/pellucid") <= 4 and "site-packages/jax" not in text, text


def test_arrays_that_go_together_are_joined():
    assert layers.Add()([images(3), Input((1, 8, 1))]).shape == (None, 8, 8, 3)
    assert layers.Concatenate(axis=1)([images(size=8), Input((4, 8, 3))]).shape == (None, 12, 8, 3)
