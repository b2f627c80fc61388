"""Attention."""

import numpy as np

from tests.layers.case import Case, normal

QUERY, VALUE, KEY = normal(4, 3, 5), normal(4, 6, 5), normal(4, 6, 5)
OF_QUERY, OF_VALUE = np.arange(3) < np.array([3, 2, 3, 1])[:, None], np.arange(6) < np.array([6, 4, 1, 5])[:, None]

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
}
