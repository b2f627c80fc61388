"""Dense and its like."""

import numpy as np

from tests.layers.case import Case, normal

TABLE = normal(4, 6)
SERIES = normal(4, 3, 5)
IMAGES = normal(2, 3, 4, 2)
NUMBERS = np.array([[0, 1, 4], [3, 0, 0], [2, 2, 1], [4, 3, 0]], "int32")

CASES = {
    "Dense": Case(lambda k: k.layers.Dense(3), TABLE),
    "Dense relu": Case(lambda k: k.layers.Dense(3, activation="relu", bias_initializer="ones"), TABLE),
    "Dense without bias, in time": Case(lambda k: k.layers.Dense(2, use_bias=False), SERIES),
    "Dense in four dimensions": Case(lambda k: k.layers.Dense(3, activation="tanh"), IMAGES),
    "Dense softmax in time": Case(lambda k: k.layers.Dense(3, activation="softmax"), SERIES),
    "Dense softmax over time": Case(lambda k: k.layers.Dense(1, activation=lambda y: k.ops.softmax(y, axis=1)), SERIES, config=False),
    "Dense with regularizers": Case(
        lambda k: k.layers.Dense(3, kernel_regularizer="l1l2", bias_regularizer=k.regularizers.L1(0.5), activity_regularizer="l2"),
        TABLE,
        couples=True,
    ),
    "EinsumDense": Case(lambda k: k.layers.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d"), SERIES),
    "EinsumDense of heads": Case(
        lambda k: k.layers.EinsumDense("abc,cde->abde", (3, 2, 4), activation="tanh", bias_axes="de", kernel_regularizer="l2"), SERIES
    ),
    "EinsumDense, dots on the left": Case(lambda k: k.layers.EinsumDense("...x,xy->...y", output_shape=4, bias_axes="y"), IMAGES),
    "EinsumDense, dots on the right": Case(lambda k: k.layers.EinsumDense("ab...,bc->ac...", output_shape=4, bias_axes="c"), IMAGES),
    "EinsumDense without bias": Case(lambda k: k.layers.EinsumDense("ab,bc->ac", output_shape=[3], kernel_initializer="ones"), TABLE),
    "Embedding": Case(lambda k: k.layers.Embedding(5, 3), NUMBERS, mask=NUMBERS > 2),
    "Embedding with padding": Case(
        lambda k: k.layers.Embedding(5, 3, mask_zero=True, embeddings_regularizer="l2"), NUMBERS, mask=NUMBERS > 2
    ),
    "Embedding of floats": Case(lambda k: k.layers.Embedding(5, 3, embeddings_initializer="ones"), NUMBERS.astype("float32")),
    "ReversibleEmbedding": Case(lambda k: k.layers.ReversibleEmbedding(5, 3, tie_weights=False, mask_zero=True), NUMBERS),
    "ReversibleEmbedding, reverse": Case(lambda k: k.layers.ReversibleEmbedding(6, 5, logit_soft_cap=2.0), SERIES, call={"reverse": True}),
    "ReversibleEmbedding, reverse in half precision": Case(
        lambda k: k.layers.ReversibleEmbedding(6, 5, tie_weights=False, reverse_dtype="bfloat16"),
        SERIES,
        call={"reverse": True},
        close={"rtol": 1e-2, "atol": 1e-2},
    ),
    "Lambda": Case(lambda k: k.layers.Lambda(lambda x: x**2), TABLE, config=False),
    "Lambda with arguments": Case(
        lambda k: k.layers.Lambda(lambda x, power, mask: x**power, mask=lambda x, m: m, arguments={"power": 3}),
        SERIES,
        mask=SERIES[..., 0] > 0,
        config=False,
    ),
    "Lambda of a named function": Case(lambda k: k.layers.Lambda(k.activations.gelu, arguments={"approximate": True}), TABLE),
    "Masking": Case(lambda k: k.layers.Masking(), np.where(SERIES[..., :1] > 0, SERIES, 0), mask=SERIES[..., 0] > 1),
    "Masking of a value": Case(lambda k: k.layers.Masking(mask_value=2.0), np.where(SERIES[..., :1] > 0, SERIES, 2.0)),
    "Identity": Case(lambda k: k.layers.Identity(), SERIES),
}
