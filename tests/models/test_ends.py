"""Values inside a model as symbolic tensors: `layer.output`, `model.inputs`, and models made of them, however a model was made."""

from __future__ import annotations

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import Input, Model, Sequential, layers, ops
from pellucid.errors import NotBuiltError
from tests.training.twins import random_data


class Block(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.dense, self.drop = layers.Dense(units, activation="relu"), layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.drop(self.dense(x), training=training)


class Subclassed(Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.block, self.norm = layers.Dense(4, activation="tanh"), Block(5), layers.BatchNormalization()
        self.out = layers.Dense(1)

    def call(self, x, training=None):
        h = self.norm(self.block(self.hidden(x)), training=training)
        return self.out(jnp.concatenate([h, x], axis=-1))


def subclassed():
    model = Subclassed()
    model.build((None, 3))
    return model


def functional():
    x = Input((3,))
    h = layers.Dense(4, activation="tanh", name="hidden")(x)
    h = layers.BatchNormalization(name="norm")(Block(5)(h))
    return Model(x, layers.Dense(1, name="out")(ops.concatenate([h, x], axis=-1)))


def sequential(first=()):
    row = [layers.Dense(4, activation="tanh", name="hidden"), Block(5), layers.BatchNormalization(name="norm"), layers.Dense(1, name="out")]
    return Sequential([*first, *row])


def lazy():
    model = sequential()
    model.build((None, 3))
    return model


MODELS = {"subclassed": subclassed, "functional": functional, "Sequential": lambda: sequential([Input((3,))]), "lazy Sequential": lazy}
of_each_kind = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def hidden_by_hand(model, x):
    layer = model.get_layer("hidden")
    return np.tanh(x @ layer.kernel.numpy() + layer.bias.numpy())


@of_each_kind
def test_inner_outputs_make_a_model_that_shares_weights_and_trains(make):
    model = make()
    x, y = random_data(0, (40, 3), (40, 4))
    part = Model(model.inputs, model.get_layer("hidden").output)
    np.testing.assert_allclose(part.predict(x, verbose=0), hidden_by_hand(model, x), atol=1e-6)
    np.testing.assert_allclose(part(x), hidden_by_hand(model, x), atol=1e-6)
    before = model.get_weights()
    part.compile(optimizer=pellucid.optimizers.SGD(0.5), loss="mse")
    losses = part.fit(x, y, epochs=4, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    changed = [i for i, (a, b) in enumerate(zip(before, model.get_weights(), strict=True)) if not np.array_equal(a, b)]
    assert changed == [0, 1] and [w.shape for w in part.weights] == [(3, 4), (4,)]  # those of the hidden layer alone
    np.testing.assert_allclose(part.predict(x[:7], verbose=0), hidden_by_hand(model, x[:7]), atol=1e-6)
    assert [run.kind for run in part.ledger] == ["capture", "eager"] and model.ledger.call_count <= 1


@of_each_kind
def test_a_model_of_inner_outputs_shows_what_is_inside(make, capsys):
    model = make()
    x, _ = random_data(0, (5, 3), (5, 1))
    part = Model(model.inputs, model.get_layer("norm").output)
    part.summary()
    assert part.graph.outputs == (None, 5)
    paths = [n.path for n in part.graph.calls]
    assert len(paths) == 5 and paths[0] == "hidden" and paths[-1] == "norm" and paths[2].endswith("dense")
    assert "hidden (Dense)" in capsys.readouterr().out
    np.testing.assert_allclose(part.activations(x, "hidden"), hidden_by_hand(model, x), atol=1e-6)
    part.explain()
    assert "captured for the first time" in capsys.readouterr().out


@of_each_kind
def test_the_ends_of_models(make):
    model = make()
    assert model.input_shape == (None, 3) and model.output_shape == (None, 1)
    assert [t.shape for t in model.inputs] == [(None, 3)] and [t.shape for t in model.outputs] == [(None, 1)]
    assert model.input is model.inputs[0] and model.output is model.outputs[0]
    assert len(model.layers) == 4 and model.get_layer(index=0) is model.get_layer("hidden")
    hidden, out = model.get_layer("hidden"), model.get_layer(index=-1)
    assert hidden.input is model.input and hidden.output.shape == (None, 4)
    assert out.input.shape[-1] in (5, 8)
    x, _ = random_data(0, (6, 3), (6, 1))
    whole = Model(model.inputs, model.outputs)
    np.testing.assert_allclose(whole.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


@of_each_kind
def test_one_model_of_several_inner_values_draws_random_numbers_once(make):
    model = make()
    x, _ = random_data(0, (64, 3), (64, 1))
    dropped, normed = model.get_layer(index=1), model.get_layer("norm")
    part = Model(model.inputs, {"dropped": dropped.output, "again": dropped.output, "normed": normed.output})
    moved = normed.moving_mean.numpy()
    values = part(x, training=True)
    np.testing.assert_array_equal(values["dropped"], values["again"])
    d = np.asarray(values["dropped"])
    np.testing.assert_allclose(values["normed"], (d - d.mean(0)) / np.sqrt(d.var(0) + 1e-3), atol=1e-4)
    np.testing.assert_allclose(normed.moving_mean.numpy(), moved * 0.99 + d.mean(0) * 0.01, atol=1e-6)  # moved once


@of_each_kind
def test_new_layers_go_on_from_an_inner_output(make):
    model = make()
    x, y = random_data(0, (40, 3), (40, 2))
    head = layers.Dense(2, name="head")
    tuned = Model(model.input, head(model.get_layer("hidden").output * 2))
    model.get_layer("hidden").trainable = False
    frozen = model.get_weights()
    tuned.compile("sgd", "mse")
    tuned.fit(x, y, verbose=0)
    for a, b in zip(frozen, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = 2 * hidden_by_hand(model, x) @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(tuned.predict(x, verbose=0), expected, atol=1e-5)
    assert [n.path for n in tuned.graph.calls] == ["hidden", "head"]


def test_layers_deep_inside_have_ends_too():
    for model in (subclassed(), functional()):
        block = model.layers[1]
        part = Model(model.inputs, [block.dense.output, block.dense.input])
        x, _ = random_data(0, (6, 3), (6, 1))
        dense, hidden = part.predict(x, verbose=0)
        expected = hidden_by_hand(model, x)
        np.testing.assert_allclose(hidden, expected, atol=1e-6)
        np.testing.assert_allclose(dense, np.maximum(expected @ block.dense.kernel.numpy() + block.dense.bias.numpy(), 0), atol=1e-6)
        assert model.get_layer(block.dense.path) is block.dense


def test_several_inputs_and_outputs_keep_their_structure():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.join, self.a, self.b = layers.Concatenate(), layers.Dense(2), layers.Dense(3)

        def call(self, inputs):
            joined = self.join([inputs["wide"], inputs["deep"]])
            return {"one": self.a(joined), "two": self.b(joined)}

    model = Two()
    x = dict(zip(("wide", "deep"), random_data(0, (8, 2), (8, 5)), strict=True))
    model.predict(x, verbose=0)
    assert {k: t.shape for k, t in model.input.items()} == {"wide": (None, 2), "deep": (None, 5)}
    assert {k: t.shape for k, t in model.output.items()} == {"one": (None, 2), "two": (None, 3)}
    assert [t.shape for t in model.join.input] == [(None, 2), (None, 5)] and model.a.input is model.join.output
    part = Model(model.inputs, model.join.output)
    np.testing.assert_array_equal(part.predict([x["deep"], x["wide"]], verbose=0), np.hstack([x["wide"], x["deep"]]))  # sorted by key


def test_a_changed_attribute_of_the_model_counts_in_models_of_its_inner_values():
    class Scaled(Model):
        def __init__(self):
            super().__init__()
            self.factor, self.same, self.out = 2.0, layers.Identity(), layers.Dense(1)

        def call(self, x):
            return self.out(self.same(x * self.factor))

    model = Scaled()
    ones = np.ones((2, 3), "float32")
    model.predict(ones, verbose=0)
    part = Model(model.inputs, model.same.output)
    np.testing.assert_array_equal(part.predict(ones, verbose=0), 2 * ones)
    model.factor = 3.0
    np.testing.assert_array_equal(part.predict(ones, verbose=0), 3 * ones)
    assert part.inputs == model.inputs  # the same symbolic tensors as before the new capture


def test_a_list_of_one_is_that_one_as_in_keras():
    shapes = []
    for k in (pellucid, keras):
        x = k.Input((3,))
        model = k.Model([x], [k.layers.Dense(2)(x)])
        outputs = model.predict([np.ones((4, 3))], verbose=0)
        shapes.append((model.input_shape, model.output_shape, outputs.shape))
    assert shapes[0] == shapes[1]


def test_users_attributes_may_have_these_names():
    class Mine(Model):
        def __init__(self):
            super().__init__()
            self.input, self.output, self.layers = layers.Dense(2), layers.Dense(1), [layers.Dense(3)]

        def call(self, x):
            return self.output(self.layers[0](self.input(x)))

    model = Mine()
    assert model.predict(np.ones((4, 3)), verbose=0).shape == (4, 1) and len(model.weights) == 6
    assert model.output_shape == (None, 1) and model.input.units == 2 and len(model.get_layer(index=1).weights) == 2


# ---- Errors ----


def test_before_there_is_a_graph():
    model = Subclassed()
    for what in ("inputs", "outputs", "input_shape", "output_shape", "input", "output"):
        with pytest.raises(NotBuiltError, match=r"'subclassed' has seen no inputs yet.*model\.build\(\(None"):
            getattr(model, what)
    assert not hasattr(model, "inputs")
    with pytest.raises(NotBuiltError, match=r"output of layer 'hidden' does not exist yet: no graph of model 'subclassed'.*model\.build"):
        _ = model.hidden.output
    with pytest.raises(NotBuiltError, match=r"input of layer 'dense.*called on no symbolic tensor and is in no model"):
        _ = layers.Dense(2).input
    with pytest.raises(NotBuiltError, match="'sequential' has seen no inputs yet"):
        _ = sequential().inputs


def test_a_layer_called_twice_has_no_one_output():
    class Twice(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(self.dense(x))

    model = Twice()
    model.build((None, 3))
    with pytest.raises(AttributeError, match=r"'dense' is not one thing.*'twice' calls the layer 2 times.*submodel\('dense#2'\)"):
        _ = model.dense.output
    shared, x = layers.Dense(3, name="shared"), Input((3,))
    shared(shared(x))
    with pytest.raises(AttributeError, match=r"input of layer 'shared' is not one thing.*symbolic tensors 2 times"):
        _ = shared.input


def test_unknown_layers_and_wrong_use_of_get_layer():
    model = subclassed()
    with pytest.raises(ValueError, match=r"no layer 'hiden' in 'subclassed'. Did you mean 'hidden'"):
        model.get_layer("hiden")
    with pytest.raises(ValueError, match=r"index=9; the model 'subclassed' has 4 layers"):
        model.get_layer(index=9)
    with pytest.raises(ValueError, match=r"name=None, index=None; expected one of them"):
        model.get_layer()


def test_inner_values_that_cannot_be_had():
    class Looping(Model):
        def __init__(self):
            super().__init__()
            self.cell = layers.Dense(3)

        def call(self, x):
            return ops.fori_loop(0, 2, lambda i, c: self.cell(c), x)

    class Difference(layers.Layer):
        def call(self, pair):
            return pair[0] - pair[1]

    class Alike(Model):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.minus = layers.Dense(2), layers.Dense(2), Difference()

        def call(self, x):
            return self.minus([self.a(x), self.b(x)])

    looping, alike = Looping(), Alike()
    looping.build((None, 3))
    alike.build((None, 3))
    with pytest.raises(ValueError, match="'cell' does not leave the loop"):
        _ = looping.cell.output
    with pytest.raises(ValueError, match=r"What 'minus' takes cannot be told.*a, b.*outputs of those"):
        _ = alike.minus.input
    with pytest.raises(ValueError, match=r"depend on .*not among the inputs.*`inputs` of the model"):
        Model(Input((3,)), alike.a.output)
    model = subclassed()
    namesake = layers.Dense(1, name="hidden")(model.hidden.output)
    with pytest.raises(ValueError, match=r"two layers are named 'hidden'"):
        Model(model.inputs, namesake)
