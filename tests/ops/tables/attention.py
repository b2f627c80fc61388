"""Attention."""

import numpy as np

from tests.ops.case import RANDOM

HEADS = RANDOM.normal(size=(2, 4, 4, 4)).astype("float32")  # batch, steps, heads, features
MASK4 = np.array([[True, False, True, True], [True, True, False, False]])[:, None, None]
MASK = MASK4[..., :2]

CALLS = {
    "dot_product_attention": [
        ((HEADS, HEADS, HEADS), {}),
        ((HEADS, HEADS, HEADS), {"is_causal": True}),
        ((HEADS, HEADS, HEADS), {"scale": 2.0, "bias": HEADS[:1, :1]}),
        ((HEADS, HEADS[:, :2], HEADS[:, :2]), {"mask": MASK, "is_causal": True}),
        ((HEADS, HEADS[:, :, :2], HEADS[:, :, :2]), {"mask": MASK4}),
    ],
}  # fmt: skip
