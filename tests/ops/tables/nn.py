"""Functions of networks: activations, codes of classes."""

import numpy as np

from tests.ops.case import BOOLS, CUBE, LARGE, RANDOM, X, Z, each

SHARES = np.exp(X) / np.exp(X).sum(-1, keepdims=True)
SPEECH = 3 * RANDOM.normal(size=(2, 6, 4)).astype("float32")
IMAGES = RANDOM.normal(size=(2, 4, 4, 4)).astype("float32")
BLOCKS = RANDOM.normal(size=(2, 12, 9)).astype("float32")

CALLS = {
    **each("relu6 selu sigmoid silu swish log_sigmoid softplus celu elu gelu glu relu leaky_relu", [((2 * X,), {})]),
    **each("softmax log_softmax", [((X,), {}), ((CUBE,), {"axis": 1})]),
    "one_hot": [((np.array([0, 2, 1]), 3), {}), ((np.array([0, 3]), 3), {"axis": 0})],
    **each("hard_sigmoid hard_silu hard_swish hard_tanh softsign sparse_plus sparse_sigmoid tanh_shrink", [((2 * X,), {})]),
    **each("hard_shrink soft_shrink", [((X,), {}), ((X,), {"threshold": 1.0})]),
    "binary_crossentropy": [((BOOLS.astype("float32"), SHARES), {}), ((BOOLS.astype("float32"), X), {"from_logits": True})],
    "categorical_crossentropy": [((SHARES, 2 * SHARES), {}), ((SHARES, X), {"from_logits": True, "axis": 0})],
    "sparse_categorical_crossentropy": [((np.array([0, 3, 1]), SHARES), {}), ((np.array([[0], [3], [1]]), X), {"from_logits": True})],
    "ctc_decode": [((CUBE, np.array([3, 2])), {}), ((CUBE, np.array([3, 2])), {"merge_repeated": False, "mask_index": 3})],
    "ctc_loss": [((np.array([[1, 2], [3, 3]]), SPEECH, np.array([2, 1]), np.array([6, 4])), {}),
                 ((np.array([[1, 1], [0, 2]]), SPEECH, np.array([2, 2]), np.array([6, 4])), {"mask_index": 3})],
    "depth_to_space": [((IMAGES, 2), {}), ((IMAGES, 2), {"data_format": "channels_first"})],
    "space_to_depth": [((IMAGES, 2), {}), ((IMAGES, 2), {"data_format": "channels_first"})],
    "fold": [((BLOCKS, 4, 2), {}), ((BLOCKS[..., :4], (4, 3), (3, 2)), {"padding": (0, 1), "stride": (1, 2)}),
             ((BLOCKS[..., :4], 4, 2), {"dilation": 2})],
    "unfold": [((IMAGES, 2), {}), ((IMAGES, (3, 2)), {"padding": (0, 1), "stride": (1, 2)}), ((IMAGES, 2), {"dilation": 2})],
    "multi_hot": [((np.array([[0, 2], [1, 1], [3, 0]]), 4), {}), ((np.array([0, 2]), 4), {"dtype": "int32"})],
    "polar": [((LARGE, X), {})],
    "psnr": [((X, Z, 2.0), {})],
    "squareplus": [((X,), {}), ((X,), {"b": 2})],
    "threshold": [((X, 0.5, -1.0), {})],
}  # fmt: skip
STAY = {"ctc_decode", "ctc_loss"}  # take a length for each row: tests/ops/test_functions.py
