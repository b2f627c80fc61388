"""Attention."""

import numpy as np

from tests.layers.case import Case, normal

QUERY, VALUE, KEY = normal(4, 3, 5), normal(4, 6, 5), normal(4, 6, 5)
OF_QUERY, OF_VALUE = np.arange(3) < np.array([3, 2, 3, 1])[:, None], np.arange(6) < np.array([6, 4, 1, 5])[:, None]
ALLOWED = np.random.default_rng(1).random((4, 3, 6)) < 0.7
ALLOWED[..., 0] = True
IMAGES = normal(2, 3, 4, 5)
OF_IMAGES = np.random.default_rng(1).random((2, 3, 4, 4)) < 0.8

CASES = {
    "Attention": Case(lambda k: k.layers.Attention(), [QUERY, VALUE]),
    "Attention, key and scale": Case(
        lambda k: k.layers.Attention(use_scale=True), [QUERY, VALUE[..., :2], KEY], call={"return_attention_scores": True}
    ),
    "Attention, masks": Case(lambda k: k.layers.Attention(), [QUERY, VALUE], call={"mask": [OF_QUERY, OF_VALUE], "use_causal_mask": True}),
    "Attention, concat": Case(lambda k: k.layers.Attention(score_mode="concat", use_scale=True), [QUERY, VALUE]),
    "Attention, dropout": Case(lambda k: k.layers.Attention(dropout=0.5), [QUERY, VALUE], draws=True),
    "AdditiveAttention": Case(lambda k: k.layers.AdditiveAttention(), [QUERY, VALUE, KEY], call={"use_causal_mask": True}),
    "AdditiveAttention, masks": Case(
        lambda k: k.layers.AdditiveAttention(use_scale=False), [QUERY, VALUE], call={"mask": [OF_QUERY, OF_VALUE]}
    ),
    "MultiHeadAttention": Case(lambda k: k.layers.MultiHeadAttention(2, 3), QUERY, call={"value": VALUE, "use_causal_mask": True}),
    "MultiHeadAttention, key and scores": Case(
        lambda k: k.layers.MultiHeadAttention(3, 2, value_dim=4, output_shape=(2, 3), use_bias=False, sliding_window=3),
        QUERY,
        call={"value": VALUE[..., :2], "key": KEY, "return_attention_scores": True, "use_causal_mask": True},
    ),
    "MultiHeadAttention, masks": Case(
        lambda k: k.layers.MultiHeadAttention(2, 3, sliding_window=4),
        QUERY,
        call={"value": VALUE, "value_mask": OF_VALUE, "key_mask": OF_VALUE, "attention_mask": ALLOWED},
    ),
    "MultiHeadAttention, masks and scores": Case(
        lambda k: k.layers.MultiHeadAttention(2, 3, output_shape=4, bias_initializer="ones"),
        QUERY,
        call={"value": VALUE, "value_mask": OF_VALUE, "attention_mask": ALLOWED, "return_attention_scores": True, "use_causal_mask": True},
    ),
    "MultiHeadAttention, gate and dropout": Case(
        lambda k: k.layers.MultiHeadAttention(2, 3, use_gate=True, dropout=0.5), QUERY, call={"value": VALUE}, draws=True
    ),
    "MultiHeadAttention, penalties": Case(
        lambda k: k.layers.MultiHeadAttention(2, 3, kernel_regularizer="l2", activity_regularizer="l2", bias_constraint="non_neg"),
        QUERY,
        call={"value": VALUE},
        couples=True,  # by the penalties on outputs
    ),
    "MultiHeadAttention along two axes": Case(lambda k: k.layers.MultiHeadAttention(2, 3), IMAGES, call={"value": IMAGES}),
    "MultiHeadAttention along one of two axes": Case(
        lambda k: k.layers.MultiHeadAttention(2, 3, attention_axes=(2,)),
        IMAGES,
        call={"value": IMAGES, "attention_mask": OF_IMAGES, "return_attention_scores": True},
    ),
    "GroupQueryAttention": Case(lambda k: k.layers.GroupQueryAttention(3, 4, 2), QUERY, call={"value": VALUE, "use_causal_mask": True}),
    "GroupQueryAttention, masks and scores": Case(
        lambda k: k.layers.GroupQueryAttention(3, 4, 2, use_gate=True, sliding_window=5),
        QUERY,
        call={"value": VALUE, "key": KEY, "value_mask": OF_VALUE, "attention_mask": ALLOWED, "return_attention_scores": True},
    ),
    "GroupQueryAttention, dropout": Case(
        lambda k: k.layers.GroupQueryAttention(3, 4, 1, dropout=0.5, use_bias=False), QUERY, call={"value": VALUE}, draws=True
    ),
}
