"""Attention layers: bad arguments, masks."""

import jax
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


def test_arguments_of_heads_that_do_not_fit_are_told_of():
    with pytest.raises(ValueError, match="MultiHeadAttention.*num_heads=0"):
        layers.MultiHeadAttention(0, 3)
    with pytest.raises(ValueError, match="MultiHeadAttention.*sliding_window=-1"):
        layers.MultiHeadAttention(2, 3, sliding_window=-1)
    with pytest.raises(ValueError, match="flash_attention=True with dropout=0.5; expected dropout=0"):
        layers.MultiHeadAttention(2, 3, flash_attention=True, dropout=0.5)
    with pytest.raises(ValueError, match="num_query_heads=4, num_key_value_heads=3; expected a multiple"):
        layers.GroupQueryAttention(2, 4, 3)
    with pytest.raises(pellucid.ShapeError, match=r"value of shape \(2, 3, 4\) and key of shape \(2, 2, 4\); expected equal sizes"):
        layers.MultiHeadAttention(2, 3)(X, X, X[:, :2])


def test_projections_begin_with_weights_of_their_own_and_are_attributes():
    layer = layers.MultiHeadAttention(2, 3, use_gate=True)
    layer(X, X)
    kernels = [np.asarray(w.value) for w in layer.weights if w.name == "kernel"][:4]
    assert all(not np.allclose(a, b) for i, a in enumerate(kernels) for b in kernels[:i])
    assert [w.path for w in layer.weights[::2]] == [f"{name}/kernel" for name in ("query", "key", "gate", "value", "attention_output")]
    parts = layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense
    assert [part.name for part in parts] == ["query", "key", "value", "attention_output"]


@pytest.mark.parametrize("options", [{}, {"dropout": 0.2}])
@pytest.mark.parametrize("make", [lambda **o: layers.MultiHeadAttention(2, 4, **o), lambda **o: layers.GroupQueryAttention(4, 2, 1, **o)])
def test_padding_that_an_embedding_masks_changes_nothing(make, options):
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.embed, self.attention = layers.Embedding(9, 8, mask_zero=True), make(**options)
            self.pool = layers.GlobalAveragePooling1D()

        def call(self, ids):
            x = self.embed(ids)
            return self.pool(self.attention(x, x))

    ids = np.array([[3, 4, 5, 0, 0], [1, 2, 0, 0, 0]])
    model = Model()
    padded = model.predict(ids, verbose=0)
    np.testing.assert_allclose(padded[:1], model.predict(ids[:1, :3], verbose=0), rtol=1e-5)
    np.testing.assert_allclose(padded[1:], model.predict(ids[1:, :2], verbose=0), rtol=1e-5)


def test_one_capture_trains_and_validates_with_dropout_in_the_heads():
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.attention = layers.MultiHeadAttention(2, 3, dropout=0.3, seed=1)

        def call(self, x, training=None):
            return self.attention(x, x, use_causal_mask=True, training=training)

    model = Model()
    model.compile(optimizer="adam", loss="mse")
    x = np.random.default_rng(0).normal(size=(10, 4, 5)).astype("float32")
    history = model.fit(x, x, batch_size=4, epochs=3, validation_data=(x, x), verbose=0).history
    assert history["val_loss"][-1] < history["val_loss"][0] and model.ledger.call_count == 1
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x, verbose=0))
    assert [n.path for n in model.graph.nodes] == [
        "attention", *(f"attention/{name}" for name in ("key", "query", "value", "_dropout_layer", "attention_output"))
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"return_attention_scores": True}])
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.MultiHeadAttention(2, 4, sliding_window=3, use_gate=True),
        lambda: layers.GroupQueryAttention(4, 2, 1),
        lambda: layers.Attention(),
    ],
)
def test_batch_and_time_may_be_symbolic(make, options):
    layer, x = make(), np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")

    def function(x):
        call = {"use_causal_mask": True, **options}
        return layer([x, x], **call) if type(layer) is layers.Attention else layer(x, x, query_mask=x[..., 0] > -9, **call)

    direct = jax.tree.leaves(function(x))
    batch, time = jax.export.symbolic_shape("batch, time")
    exported = jax.export.export(jax.jit(function))(jax.ShapeDtypeStruct((batch, time, 8), "float32"))
    for a, b in zip(jax.tree.leaves(exported.call(x)), direct, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
