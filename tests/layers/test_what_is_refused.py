"""What a layer cannot take is refused by name, before it makes weights; the layer is then as good as new."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import pellucid
from pellucid import layers
from tests.layers.tables import CASES

X = np.ones((2, 3, 4), "float32")

# what is made, what its message must hold
MADE = {
    "a flag that is a text": (lambda: layers.Dense(3, use_bias="no"), "Dense: use_bias='no'; expected True or False."),
    "a misspelt initializer": (
        lambda: layers.GRU(3, recurrent_initializer="glorot"),
        "GRU: recurrent_initializer='glorot'. There is no initializer 'glorot'. Did you mean 'GlorotNormal'?",
    ),
    "a misspelt regularizer": (lambda: layers.Dense(3, kernel_regularizer="l3"), "kernel_regularizer='l3'. There is no regularizer 'l3'."),
    "a constraint that is a number": (lambda: layers.Conv1D(3, 2, bias_constraint=5), "Conv1D: bias_constraint=5. 5 is no constraint;"),
    "a misspelt activation": (lambda: layers.LSTM(3, activation="rellu"), "LSTM: activation='rellu'. There is no activation 'rellu'. Did"),
    "a rate above one": (lambda: layers.Attention(dropout=1.5), "Attention: dropout=1.5; expected a number in [0, 1]."),
    "a rate that is NaN": (lambda: layers.MultiHeadAttention(2, 3, dropout=np.nan), "dropout=nan; expected a number in [0, 1]."),
    "no rate": (lambda: layers.AdditiveAttention(dropout=None), "AdditiveAttention: dropout=None; expected a number in [0, 1]."),
    "a seed that is a text": (lambda: layers.Dropout(0.5, seed="x"), "Dropout: seed='x'; expected a whole number or None."),
    "a seed with a fraction": (lambda: layers.GaussianNoise(0.5, seed=1.5), "GaussianNoise: seed=1.5; expected a whole number or None."),
    "a negative epsilon": (
        lambda: layers.BatchNormalization(epsilon=-1),
        "BatchNormalization: epsilon=-1; expected a number of at least 0.",
    ),
    "a momentum above one": (
        lambda: layers.BatchNormalization(momentum=99),
        "momentum=99; expected a number in [0, 1].",
    ),
    "an axis with a fraction": (lambda: layers.GroupNormalization(axis=1.5), "GroupNormalization: axis=1.5; expected a whole number."),
    "an axis that is a text": (lambda: layers.Softmax(axis="x"), "Softmax: axis='x'; expected a whole number, or a list of them."),
    "a mask value that nothing equals": (lambda: layers.Masking(np.nan), "Masking: mask_value=nan; expected a number that is not NaN."),
    "a shape that is a number": (lambda: layers.Reshape(3), "Reshape: target_shape=3; expected a tuple of whole numbers"),
    "an equation that is no text": (lambda: layers.EinsumDense(3, 4), "EinsumDense: equation=3; expected a text such as 'abc,cd->abd'."),
    "a scale that is a text": (lambda: layers.Rescaling("3"), "Rescaling: scale='3'; expected a number, or an array of them."),
    "arguments that are no dict": (lambda: layers.Lambda(abs, arguments=5), "Lambda: arguments=5; expected a dict of arguments by name."),
    "cells that are no list": (lambda: layers.StackedRNNCells(5), "StackedRNNCells: cells=5; expected a list of cells."),
    "a name that is a number": (lambda: layers.Dense(3, name=5), "Dense: name=5; expected a text or None."),
    "trainable as a text": (lambda: layers.Dense(3, trainable="no"), "Dense: trainable='no'; expected True or False."),
}


@pytest.mark.parametrize(("make", "told"), MADE.values(), ids=MADE)
def test_an_argument_that_no_layer_could_take_is_refused_when_it_is_made(make, told):
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert told in str(caught.value)


def test_checks_of_arguments_draw_nothing():
    def drawn(**options):
        pellucid.utils.set_random_seed(3)
        layer = layers.Dense(2, **options)
        layer.build((None, 3))
        return layer.get_weights()[0]

    np.testing.assert_array_equal(drawn(), drawn(kernel_initializer="glorot_uniform", bias_initializer="zeros"))


def test_a_users_class_takes_what_it_likes():
    class Texts(layers.Dense):
        def __init__(self, use_bias="no", **layer_args):
            super().__init__(3, **layer_args)
            self.told = use_bias

        def call(self, inputs):
            return super().call(inputs["x"])

        def build(self, input_shape):
            super().build(input_shape["x"])

    layer = Texts()
    assert layer.told == "no" and layer({"x": X}).shape == (2, 3, 3)


GIVEN = {
    "nothing": ((), {}, "was called on nothing; expected inputs: layer(x)."),
    "None": ((None,), {}, " is None; expected "),
    "a text": (("abc",), {}, "'abc'; expected "),
    "a layer": ((layers.Dense(2),), {}, " is a Dense; expected "),
    "numbers in lists": (([[1.0, 2.0]],), {}, "Make one of the numbers: np.asarray(x)."),
}
FIRST = {type(case.make(pellucid)): case for case in reversed(CASES.values())}
OTHERS = (layers.Lambda, *(c for c in FIRST if issubclass(c, pellucid.layers.Add.__mro__[1]) or issubclass(c, layers.Attention)))
LAYERS = [c for c in FIRST if c not in OTHERS and not issubclass(c, layers.Wrapper | layers.StackedRNNCells)]


@pytest.mark.parametrize("given", GIVEN)
def test_what_is_no_array_is_refused_by_every_layer_which_is_then_as_good_as_new(given):
    args, kwargs, told = GIVEN[given]
    for cls in LAYERS:
        layer = FIRST[cls].make(pellucid)
        before = dict(vars(layer))
        options = FIRST[cls].options if args else {}
        with pytest.raises(TypeError) as caught:
            layer(*args, **kwargs, **options)
        message = str(caught.value)
        assert told in message and message.startswith(f"{cls.__name__} {layer.path!r}"), (cls, message)
        assert vars(layer) == before


MASKED = {
    "a text": (layers.GRU, "yes", TypeError, "mask is 'yes'; expected an array."),
    "other steps": (
        layers.GRU,
        np.ones((2, 9), bool),
        pellucid.ShapeError,
        "shape (2, 9) and sequences (2, 3, 4); expected (2, 3)",
    ),
    "one row for all": (layers.GRU, np.ones((1, 3), bool), pellucid.ShapeError, "shape (1, 3) and sequences (2, 3, 4)"),
    "too many axes": (layers.SimpleRNN, np.ones((2, 3, 4, 5), bool), pellucid.ShapeError, "mask has shape (2, 3, 4, 5)"),
}


@pytest.mark.parametrize(("cls", "mask", "error", "told"), MASKED.values(), ids=MASKED)
def test_a_mask_that_is_not_one_of_the_inputs_is_refused(cls, mask, error, told):
    layer = cls(2)
    with pytest.raises(error) as caught:
        layer(X, mask=mask)
    assert told in str(caught.value) and not layer.built and not layer.weights


def test_a_mode_that_is_a_text_is_refused():
    with pytest.raises(ValueError, match=r"Dropout 'd': training='no'; expected True, False or None\."):
        layers.Dropout(0.5, name="d")(X, training="no")


RANKS = {
    "a recurrent layer": (lambda: layers.GRU(2), X[0], "expected ndim=3"),
    "dropout of channels": (lambda: layers.SpatialDropout1D(0.5), X[0], "expected ndim=3"),
    "attention heads": (lambda: layers.MultiHeadAttention(2, 3), (X[0], X[0]), "expected min_ndim=3"),
    "attention heads of two": (lambda: layers.MultiHeadAttention(2, 3), (X, X[None]), "expected as many axes each"),
    "attention": (lambda: layers.AdditiveAttention(), [X, X[..., :2]], "as many features in query and key"),
    "a scalar": (lambda: layers.LayerNormalization(), X[0, 0, 0], "expected min_ndim=1"),
}


@pytest.mark.parametrize(("make", "given", "told"), RANKS.values(), ids=RANKS)
def test_a_wrong_number_of_axes_is_refused_and_makes_no_weights(make, given, told):
    layer = make()
    with pytest.raises(pellucid.ShapeError) as caught:
        layer(*given) if isinstance(given, tuple) else layer(given)
    assert told in str(caught.value) and not layer.built and not layer.weights


def test_a_first_call_that_fails_leaves_no_weights_and_the_next_one_makes_them():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.inner = layers.Dense(3)
            self.inner.build(input_shape)
            self.w = self.add_weight((input_shape[-1],))

        def call(self, inputs):
            if inputs.ndim != 2:
                raise ArithmeticError("two axes, please")
            return self.inner(inputs * self.w)

    layer = Scale()
    with pytest.raises(ArithmeticError):
        layer(np.ones((2, 3, 7), "float32"))
    assert not layer.built and not layer.weights and not hasattr(layer, "w")
    assert layer(X[0]).shape == (3, 3) and [w.shape for w in layer.weights] == [(4,), (4, 3), (3,)]
    weights = layer.get_weights()
    with pytest.raises(ArithmeticError):
        layer(X)
    assert all(map(np.array_equal, weights, layer.get_weights()))


def test_a_unit_of_whole_numbers_is_not_cut_to_zero():
    y = layers.UnitNormalization()(np.array([[3, 4]]))
    np.testing.assert_allclose(jax.device_get(y), [[0.6, 0.8]], rtol=1e-6)


FEATURES = {
    "PReLU": (lambda: layers.PReLU(), X, "expected size 4 of axis 2"),
    "Normalization": (lambda: layers.Normalization(), X, "expected size 4 of axis"),
    "GRU": (lambda: layers.GRU(2), X, "expected size 4 of axis -1"),
    "RNN": (lambda: layers.RNN(layers.LSTMCell(2)), X, "expected size 4 of axis -1"),
    "AdditiveAttention": (lambda: layers.AdditiveAttention(), [X, X], "as many features"),
}


@pytest.mark.parametrize(("make", "given", "told"), FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("width", [1, 2])
def test_other_features_than_the_weights_were_made_for_are_refused_one_of_them_too(make, given, told, width):
    layer = make()
    layer(given)
    with pytest.raises(pellucid.ShapeError) as caught:
        layer(jax.tree.map(lambda x: x[..., :width], given))
    assert told in str(caught.value)


def test_sequences_without_a_step_are_refused():
    with pytest.raises(pellucid.ShapeError, match=r"GRU 'g' got sequences of shape \(2, 0, 4\); expected a step or more\."):
        layers.GRU(2, name="g")(X[:, :0])
