"""What existing Keras code relies on of inputs: the types that it declares, an axis left out, and what a row of layers begins with."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import pellucid

BOTH = pytest.mark.parametrize("k", [keras, pellucid], ids=["keras", "pellucid"])
LARGE = np.array([[200, 3], [255, 10]], "uint8")


def doubled(k, dtype=None):
    inputs = k.Input((2,), dtype=dtype)
    return k.Model(inputs, inputs * 2)


@BOTH
def test_inputs_have_the_type_that_input_declares(k):
    """Arithmetic on bytes would overflow, in silence."""
    np.testing.assert_array_equal(doubled(k).predict(LARGE, verbose=0), [[400, 6], [510, 20]])
    np.testing.assert_array_equal(doubled(k)(LARGE), [[400, 6], [510, 20]])
    np.testing.assert_array_equal(doubled(k, "int32").predict(np.array([[1.7, 2.2]]), verbose=0), [[2, 4]])


@BOTH
def test_a_last_axis_of_size_1_may_be_left_out(k):
    inputs = k.Input((2, 1))
    model = k.Model(inputs, k.layers.Dense(1, kernel_initializer="ones")(inputs))
    np.testing.assert_array_equal(model.predict(np.ones((3, 2)), verbose=0), np.ones((3, 2, 1)))
    numbers = k.Input(())
    np.testing.assert_array_equal(k.Model(numbers, numbers + 1).predict(np.ones((3, 1)), verbose=0), [2, 2, 2])


def test_a_mask_stays_with_inputs_that_are_converted():
    inputs = pellucid.Input((3,), dtype="int32")
    hidden = pellucid.layers.Embedding(5, 2, mask_zero=True)(inputs)
    model = pellucid.Model(inputs, pellucid.layers.LSTM(2)(hidden))
    x = np.array([[1, 2, 0], [3, 0, 0]])
    np.testing.assert_allclose(model.predict(x.astype("float32"), verbose=0), model.predict(x, verbose=0))


def test_a_summary_shows_the_graph_that_fit_uses():
    inputs = pellucid.Input((3,), dtype="int32")
    model = pellucid.Model(inputs, pellucid.layers.Embedding(5, 2)(inputs))
    model.summary(print_fn=lambda text: None)
    model.predict(np.ones((2, 3), int), verbose=0)
    assert model.ledger.call_count == 1


@BOTH
@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`")
@pytest.mark.parametrize("given", [{"input_shape": (4,)}, {"input_dim": 4}], ids=str)
def test_the_first_layer_may_say_the_shape_of_the_inputs(k, given):
    model = k.Sequential()
    model.add(k.layers.Dense(3, **given))
    model.add(k.layers.Dense(1))
    assert (model.count_params(), model.output_shape) == (19, (None, 1))
    again = k.Sequential.from_config(model.get_config())
    assert again.output_shape == (None, 1)


@BOTH
@pytest.mark.filterwarnings("ignore:Argument `input_length`")
def test_an_embedding_may_say_a_length_that_nothing_needs(k):
    assert k.layers.Embedding(7, 2, input_length=5)(np.ones((1, 3), int)).shape == (1, 3, 2)


@BOTH
def test_a_row_that_begins_with_a_model_has_its_input(k):
    first = k.Sequential([k.Input((4,)), k.layers.Dense(3)])
    model = k.Sequential([first, k.layers.Dense(1)])
    assert (model.count_params(), model.input_shape, model.output_shape) == (19, (None, 4), (None, 1))
    inputs = k.Input((5,), dtype="int32")
    begun = k.Sequential([k.Model(inputs, k.layers.Embedding(7, 2)(inputs)), k.layers.Flatten()])
    assert begun.output_shape == (None, 10)


def test_sizes_that_must_be_equal_are_told_of_without_a_line_of_code():
    """Half of a size and back is that size for even ones alone."""
    inputs = pellucid.Input((None, 2))
    halved = pellucid.layers.UpSampling1D(2)(pellucid.layers.MaxPooling1D(2)(inputs))
    model = pellucid.Model(inputs, pellucid.layers.Concatenate()([inputs, halved]))
    model.predict(np.ones((1, 4, 2)), verbose=0)
    assert "an operation of a layer needs to know the size" in model.ledger[1].sentence
    assert not any("None" in run.sentence for run in model.ledger)
