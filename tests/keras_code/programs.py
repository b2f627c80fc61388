"""Programs as users of Keras write them: ``k`` is either library. Each returns the model, its data, and what is compared."""

from __future__ import annotations

from typing import Any

import numpy as np


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).normal(size=shape).astype("float32")


def whole(high: int, *shape: int, low: int = 0) -> np.ndarray:
    return np.random.RandomState(0).randint(low, high, size=shape)


def fully_convolutional(k: Any) -> Any:
    """Images of any size, in bytes: two open sizes, at strides."""
    layers = k.layers
    inputs = k.Input((None, None, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.UpSampling2D(2)(x)
    segments = layers.Conv2D(2, 1, activation="softmax", name="segments")(x)
    kind = layers.Dense(3, name="kind")(layers.GlobalAveragePooling2D()(x))
    model = k.Model(inputs, {"segments": segments, "kind": kind}, name="fully_convolutional")
    kinds = k.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss={"segments": "sparse_categorical_crossentropy", "kind": kinds}, metrics={"kind": ["accuracy"]})
    data = [(whole(256, 2, h, w, 3).astype("uint8"), {"segments": whole(2, 2, h, w), "kind": whole(3, 2)}) for h, w in ((8, 4), (4, 12))]
    return model, data, 1


def text_encoder(k: Any) -> Any:
    """Layers of one's own, masks, and lengths that differ."""
    layers, ops = k.layers, k.ops

    class Embedded(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.tokens = layers.Embedding(12, 8, mask_zero=True)
            self.places = layers.Embedding(9, 8)

        def call(self, x):
            return self.tokens(x) + self.places(ops.arange(ops.shape(x)[-1]))

        def compute_mask(self, x, mask=None):
            return self.tokens.compute_mask(x)

    class Block(layers.Layer):
        def __init__(self, dim, heads, rate=0.0, **kwargs):
            super().__init__(**kwargs)
            self.attention = layers.MultiHeadAttention(heads, dim // heads, dropout=rate)
            self.forward = k.Sequential([layers.Dense(2 * dim, activation="gelu"), layers.Dense(dim)])
            self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
            self.dropout = layers.Dropout(rate)
            self.supports_masking = True

        def call(self, x, training=None, mask=None):
            pairs = None if mask is None else ops.cast(ops.expand_dims(mask, 1), "bool")
            x = self.norms[0](x + self.attention(x, x, attention_mask=pairs))
            return self.norms[1](x + self.dropout(self.forward(x), training=training))

    inputs = k.Input((None,), dtype="int32")
    x = Block(8, 2)(Embedded()(inputs))
    x = layers.GlobalAveragePooling1D()(layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x))
    model = k.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="text_encoder")
    model.compile(k.optimizers.AdamW(1e-2), "binary_crossentropy", metrics=["accuracy"])
    data = []
    for length in (6, 9):
        x = whole(12, 4, length, low=1)
        x[:2, length // 2 :] = 0
        data.append((x, whole(2, 4, 1).astype("float32")))
    return model, data, 1


def translator(k: Any) -> Any:
    """An encoder whose states begin a decoder; two inputs of lengths of their own."""
    layers = k.layers
    source, target = k.Input((None, 4), name="source"), k.Input((None, 3), name="target")
    _, *states = layers.LSTM(5, return_state=True)(source)
    decoded, _, _ = layers.LSTM(5, return_sequences=True, return_state=True)(target, initial_state=states)
    model = k.Model([source, target], layers.Dense(3, activation="softmax")(decoded), name="translator")
    model.compile("rmsprop", "categorical_crossentropy", metrics=["accuracy"])
    answers = np.eye(3, dtype="float32")[whole(3, 4, 6)]
    return model, [([numbers(4, 7, 4), numbers(4, 6, 3)], answers)] * 2, 2  # one more: the summary took both lengths for one


PROGRAMS = {f.__name__: f for f in (fully_convolutional, text_encoder, translator)}
