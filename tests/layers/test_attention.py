"""Attention layers: bad arguments, masks."""

import numpy as np
import pytest

import pellucid
from pellucid import layers

X = np.ones((2, 3, 4), "float32")


@pytest.mark.parametrize("layer", [layers.Attention(), layers.AdditiveAttention()], ids=repr)
def test_inputs_and_masks_that_are_no_lists_are_told_of(layer):
    with pytest.raises(ValueError, match="inputs is 1 of them; expected a list of two or three arrays: query, value and perhaps key"):
        layer([X])
    with pytest.raises(ValueError, match="mask is a .*; expected a list of two or three masks"):
        layer([X, X], mask=np.ones((2, 3), bool))


def test_an_unknown_score_mode_is_told_of():
    with pytest.raises(ValueError, match="score_mode='sum'; expected 'dot' or 'concat'"):
        layers.Attention(score_mode="sum")


def test_attention_may_be_called_on_one_array_twice():
    assert layers.Attention()([X, X]).shape == pellucid.layers.AdditiveAttention()((X, X)).shape == X.shape
