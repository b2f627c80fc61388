"""Batches of several lengths: one run of ``call``, one program for each length, results as if computed by hand."""

from __future__ import annotations

import types

import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.errors import DataWarning, ShapeError
from pellucid.graph.ledger import Reason
from tests.graph.helpers import normal


class Tagger(pellucid.Model):
    """A score for each step."""

    def __init__(self, mean=False):
        super().__init__()
        self.hidden, self.out = layers.Dense(4, activation="relu"), layers.Dense(1)
        self.mean = mean

    def call(self, x):
        y = self.out(self.hidden(x))
        return y.mean(axis=1) if self.mean else y


def batch(length, rows=8, seed=0):
    x = normal(rows, length, 3, seed=seed + length)
    return x, x.sum(-1, keepdims=True)


def batches(*lengths, rows=8):
    return [batch(n, rows) for n in lengths]


class Given(pellucid.utils.PyDataset):
    def __init__(self, items):
        super().__init__()
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def compiled(model=None, **arguments):
    pellucid.utils.set_random_seed(0)
    model = model or Tagger()
    model.compile(**{"optimizer": "sgd", "loss": "mse", "metrics": ["mae"], **arguments})
    return model


def test_call_runs_once_where_lengths_are_declared():
    model = compiled()
    model.build((None, None, 3))
    model.fit(Given(batches(5, 7, 5, 7)), epochs=2, shuffle=False, verbose=0)
    model.evaluate(*batch(11), verbose=0)
    model.predict(batch(4)[0], verbose=0)
    assert model.ledger.call_count == 1
    lengths = [(p.purpose, p.lengths["length"]) for p in model.ledger.programs]
    assert lengths == [("train", 5), ("train", 7), ("test", 11), ("predict", 4)]
    assert "because length is 7, before 5" in model.ledger.programs[1].reason
    assert "train, batches of 8 rows, length 7 (" in model.ledger.story()


def test_call_runs_twice_where_lengths_come_with_the_data():
    model = compiled()
    model.fit(Given(batches(5, 7, 9, 5)), shuffle=False, verbose=0)
    model.evaluate(*batch(11), verbose=0)
    assert [r.reason for r in model.ledger] == [Reason.FIRST, Reason.LENGTH]
    assert [(p.purpose, p.lengths) for p in model.ledger.programs] == [
        ("train", {}), ("train", {"length": 7}), ("train", {"length": 9}), ("test", {"length": 11}),
    ]  # fmt: skip


def test_lengths_of_validation_are_known_before_the_first_run():
    model = compiled()
    model.fit(*batch(5), validation_data=batch(7), verbose=0)
    assert model.ledger.call_count == 1 and model.graph.inputs == (None, None, 3)


def test_lengths_that_a_specification_leaves_open_are_known_before_the_first_run():
    class WithSpec(Given):
        element_spec = tuple(types.SimpleNamespace(shape=(None, None, n)) for n in (3, 1))

    model = compiled()
    model.fit(WithSpec(batches(5, 7)), verbose=0)
    assert model.ledger.call_count == 1 and model.graph.inputs == (None, None, 3)


def by_hand(model, items, epochs, rate=0.01):
    """Losses and weights of plain steps of gradient descent in NumPy's terms: each batch at its own length."""
    import jax
    import jax.numpy as jnp

    def loss(weights, x, y):
        w1, b1, w2, b2 = weights
        p = jax.nn.relu(x @ w1 + b1) @ w2 + b2
        return ((p - y) ** 2).mean(), jnp.abs(p - y).mean()

    weights, logs = [jnp.asarray(w) for w in model.get_weights()], []
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for _ in range(epochs):
        sums = np.zeros(3)
        for x, y in items:
            (value, error), gradients = step(weights, x, y)
            weights = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
            sums += [value * len(x), float(error) * len(x), len(x)]
        logs.append(sums[:2] / sums[2])
    return weights, np.array(logs)


@pytest.mark.parametrize("declared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training_with_several_lengths_is_what_it_is_by_hand(declared):
    model = compiled()
    items = [*batches(5, 7, 5), batch(5, rows=3, seed=1)]
    if declared:
        model.build((None, None, 3))
    else:
        model.build((None, 5, 3))
    weights, logs = by_hand(model, items, 2)
    history = model.fit(Given(items), epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(np.array([history["loss"], history["mae"]]).T, logs, rtol=1e-5)
    for mine, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


def test_programs_of_all_lengths_are_used_again_by_the_next_fit():
    model = compiled()
    model.build((None, None, 3))
    for order in ((5, 7), (7, 5)):
        model.fit(Given(batches(*order)), shuffle=False, verbose=0)
    assert len(model.ledger.programs) == 2


def test_a_smaller_last_batch_is_padded_at_any_length():
    model = compiled()
    model.build((None, None, 3))
    model.fit(*batch(6, rows=40), batch_size=16, verbose=0)
    assert len(model.ledger.programs) == 1 and "padded" in model.ledger.programs[0].reason


def test_many_lengths_are_told_once_with_the_cure():
    model = Tagger(mean=True)
    model.build((None, None, 3))
    with pytest.warns(
        DataWarning, match=r"predict: batches of 5 lengths came \(3, 4, 5, 6, 7\).* s for \d programs.*pad_to_multiple_of"
    ) as told:
        model.predict(Given([x for x, _ in batches(3, 4, 5, 6, 7, 8)]), verbose=0)
    assert len(told) == 1


def test_predictions_of_several_lengths_cannot_be_joined_unless_they_have_none():
    items = [x for x, _ in batches(5, 7)]
    model = Tagger()
    model.build((None, None, 3))
    with pytest.raises(ShapeError, match=r"outputs of shapes \(8, 5, 1\) and \(8, 7, 1\).*Pad the inputs to one length"):
        model.predict(Given(items), verbose=0)
    model = Tagger(mean=True)
    model.build((None, None, 3))
    expected = np.concatenate([model.predict_on_batch(x) for x in items])
    np.testing.assert_allclose(model.predict(Given(items), verbose=0), expected, rtol=1e-6)
    assert model.ledger.call_count == 1


def test_a_shape_that_fits_no_weights_is_told_as_ever():
    model = compiled()
    model.fit(*batch(5), verbose=0)
    with pytest.raises(Exception, match="3") as caught:
        model.predict(normal(8, 5, 4), verbose=0)
    assert "4" in str(caught.value) and model.ledger.runs[-1].raised
    assert "(None, 5, 4)" in str(caught.value)


class OwnStep(Tagger):
    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        loss, grads = pellucid.value_and_grad(lambda: ((self(x, training=True) - y) ** 2).mean(), weights)()
        self.optimizer.apply(grads, weights)
        return {"loss": loss}


class OwnLoss(Tagger):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight, training)


@pytest.mark.parametrize("cls", [OwnStep, pytest.param(OwnLoss, marks=pytest.mark.slow)])
def test_a_step_of_ones_own_serves_all_lengths(cls):
    model = compiled(cls())
    model.fit(Given(batches(5, 7, 9)), shuffle=False, verbose=0)
    assert {r.of: sum(x.of == r.of for x in model.ledger) for r in model.ledger} == {"call": 2, "train_step": 2}
    assert [r.reason for r in model.ledger if r.of == "train_step"] == [Reason.FIRST, Reason.LENGTH]


@pytest.mark.slow
def test_metrics_of_ones_own_step_are_over_all_lengths():
    model = compiled(OwnLoss())
    items = batches(5, 7, 9)
    model.build((None, None, 3))
    weights, logs = by_hand(model, items, 1)
    history = model.fit(Given(items), shuffle=False, verbose=0).history
    np.testing.assert_allclose([history["loss"][0], history["mae"][0]], logs[0], rtol=1e-5)


# ---- Models made of symbolic tensors, and the ways around fit ----


@pytest.mark.slow
def test_a_functional_model_with_an_open_length_is_captured_once():
    x = pellucid.Input((None, 3))
    hidden = layers.Dense(4, activation="relu")(x)
    model = compiled(pellucid.Model(x, layers.Dense(1)(hidden)))
    assert (model.input_shape, hidden.shape, model.output_shape) == ((None, None, 3), (None, None, 4), (None, None, 1))
    items = batches(5, 7, 5)
    weights, logs = by_hand(model, items, 2)
    history = model.fit(Given(items), epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_allclose(np.array([history["loss"], history["mae"]]).T, logs, rtol=1e-5)
    assert model.ledger.call_count == 1 and model.graph.inputs == (None, None, 3)


def test_a_functional_model_shows_open_lengths_and_is_captured_once():
    x = pellucid.Input((None, 3))
    model = pellucid.Model(x, layers.Dense(1)(x))
    for length in (5, 7):
        model.predict_on_batch(batch(length)[0])
    assert (model.input_shape, model.output_shape) == ((None, None, 3), (None, None, 1))
    assert model.ledger.call_count == 1 and model.graph.inputs == (None, None, 3)


def test_layers_with_known_sizes_stay_so_after_a_layer_was_used_at_other_ones():
    relu = layers.Activation("relu")
    a, b = pellucid.Input((4,)), pellucid.Input((None, 5))
    assert relu(a).shape == (None, 4)
    assert relu(b).shape == (None, None, 5)
    assert layers.Dense(2)(relu(pellucid.Input((6,)))).shape == (None, 2)


def test_functions_of_a_model_serve_all_lengths():
    import jax

    model = compiled()
    model.build((None, 5, 3))
    pure = pellucid.functionalize(model)
    for length in (5, 7):
        x, y = batch(length)
        (loss, _), grads = jax.jit(jax.value_and_grad(pure.loss, has_aux=True))(pure.params, pure.state, x, y)
        np.testing.assert_allclose(loss, ((model.predict_on_batch(x) - y) ** 2).mean(), rtol=1e-5)
    assert model.ledger.call_count == 2


def test_the_summary_shows_open_lengths(capsys):
    Tagger().summary(input_shape=(None, None, 3))
    shown = capsys.readouterr().out
    assert "(None, None, 4)" in shown and "FLOPs, a row of length 32: " in shown


# ---- Against Keras ----


def tagged(rows, length, seed):
    """Numbers of words, padded with zeros, and whether their sum is even."""
    rng = np.random.default_rng([seed, length])
    ids = rng.integers(1, 20, (rows, length)).astype("int32")
    ids[np.arange(length) >= rng.integers(2, length + 1, (rows, 1))] = 0
    return ids, (ids.sum(1, keepdims=True) % 2).astype("float32")


def recurrent(library):
    x = library.Input((None,), dtype="int32")
    y = library.layers.Embedding(20, 4, mask_zero=True)(x)
    y = library.layers.GRU(5, return_sequences=True)(y)
    y = library.layers.LSTM(3)(y)
    return library.Model(x, library.layers.Dense(1, activation="sigmoid")(y))


def convolutional(library):
    x = library.Input((None,), dtype="int32")
    y = library.layers.Embedding(20, 4)(x)
    y = library.layers.Conv1D(6, 3, strides=2, padding="same", activation="relu")(y)
    y = library.layers.MultiHeadAttention(2, 3)(y, y)
    y = library.layers.LayerNormalization()(library.layers.Dense(6)(y))
    y = library.layers.MaxPooling1D(2, padding="same")(y)
    y = library.layers.GlobalAveragePooling1D()(y)
    return library.Model(x, library.layers.Dense(1, activation="sigmoid")(y))


@pytest.mark.slow
@pytest.mark.parametrize("make", [recurrent, convolutional])
def test_a_model_of_several_lengths_trains_as_in_keras(make):
    import keras

    mine, theirs = make(pellucid), make(keras)
    weights = [np.random.default_rng(i).normal(size=w.shape, scale=0.5) for i, w in enumerate(theirs.weights)]
    for model in (mine, theirs):
        model.set_weights(weights)
    items = [tagged(8, n, seed) for seed, n in enumerate((6, 9, 6, 4, 9))]
    histories = []
    for model in (mine, theirs):
        model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["accuracy"])
        history = model.fit(endlessly(items), steps_per_epoch=5, epochs=2, shuffle=False, verbose=0).history
        histories.append(np.array([history["loss"], history["accuracy"]]))
    np.testing.assert_allclose(*histories, rtol=1e-4)
    for a, b in zip(mine.get_weights(), theirs.weights, strict=True):
        np.testing.assert_allclose(a, np.asarray(b.value), rtol=1e-3, atol=1e-5)
    assert mine.ledger.call_count == 1 and len(mine.ledger.programs) == 3


def endlessly(items):
    while True:
        yield from items


def test_openness_outlives_the_data_type_that_build_assumed():
    model = pellucid.Sequential([layers.Embedding(20, 4), layers.GlobalAveragePooling1D()])
    model.build((None, None))
    for length in (5, 7, 9):
        model.predict(tagged(4, length, 0)[0], verbose=0)
    assert model.ledger.call_count == 2 and model.graph.inputs == (None, None)
