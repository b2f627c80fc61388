"""Weights of models in files: from one library to the other, and back into this one."""

from __future__ import annotations

import dataclasses
import os

import h5py
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, saving
from tests.saving.both import arrays_of, keras_loads, keras_saves, quiet

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def block(k):
    class Block(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.first, self._second = k.layers.Dense(4), k.layers.Dense(4)
            self.seeds = k.random.SeedGenerator(1)

        def build(self, input_shape):
            self.scale = self.add_weight((4,), "ones", name="scale", trainable=False)
            self.shift = self.add_weight((4,), "zeros", name="shift")
            self.first.build(input_shape)
            self._second.build(input_shape)

        def call(self, x):
            return self._second(self.first(x)) * self.scale + self.shift

    return Block()


def in_attributes(k):
    class Held(k.Model):
        def __init__(self):
            super().__init__()
            self.zed = k.layers.Dense(4)  # comes after "layers"
            self.blocks = [block(k), block(k), k.layers.Dense(4)]
            self.named = {"b": k.layers.Dense(4), "a": k.layers.Dense(4)}
            self.a_nest = [[k.layers.Dense(4)], (k.layers.Dense(4), {"x": k.layers.Dense(4)})]
            self.nest = [[k.layers.Dense(4)]]
            self.same = self.blocks[2]
            self._last = k.layers.Dense(4)
            self.drop, self.norm = k.layers.Dropout(0.5), k.layers.BatchNormalization()
            self.factor = k.Variable(1.0, name="factor")

        @property
        def any_block(self):  # before "blocks" in the alphabet
            return self.blocks[1]

        @property
        def broken(self):
            raise RuntimeError("not now")

        def call(self, x, training=None):
            found = [*self.blocks, *self.named.values(), self.a_nest[0][0], self.a_nest[1][0], self.a_nest[1][1]["x"], self.nest[0][0]]
            for layer in found:
                x = x + layer(x)
            return self._last(self.zed(self.norm(self.drop(self.same(x), training=training), training=training))) * self.factor

    model = Held()
    model(X)
    return model


def functional(k):
    inner = k.Sequential([k.Input((4,)), k.layers.Dense(3, activation="tanh"), k.layers.Dropout(0.1), k.layers.Dense(4)])
    a = k.Input((4,))
    middle = k.Model(a, k.layers.Dense(4)(a))
    x = k.Input((4,))
    shared = k.layers.Dense(4, activation="tanh")
    y = middle(inner(x)) + x
    y = shared(shared(y))
    y = k.layers.Concatenate()([k.layers.Dense(2)(y), k.layers.BatchNormalization()(y)])
    return k.Model(x, k.layers.Dense(1)(y))


def functional_class(k):
    class Own(k.Model):
        def __init__(self):
            x = k.Input((4,))
            first, second = k.layers.Dense(4), k.layers.Dense(2)
            super().__init__(x, second(first(x)))
            self.b, self.a = first, second

    return Own()


MODELS = {
    "Sequential": lambda k: k.Sequential([k.Input((4,)), k.layers.Dense(3), k.layers.BatchNormalization(), k.layers.Dense(2)]),
    "functional": functional,
    "subclass of functional": functional_class,
    "subclass": in_attributes,
}


def shaken(model, seed):
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(generator.normal(size=variable.shape).astype("float32"))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_a_file_goes_from_one_library_to_the_other(name, tmp_path):
    theirs, ours, path = shaken(MODELS[name](keras), 1), shaken(MODELS[name](pellucid), 2), tmp_path / "m.weights.h5"
    keras_saves(theirs, path)
    places = list(arrays_of(path))
    assert ours.load_weights(path).complete
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-5, atol=1e-5)
    shaken(ours, 3).save_weights(path)
    assert list(arrays_of(path)) == places
    keras_loads(theirs, path)
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_safetensors_come_back_by_the_names_of_weights(name, tmp_path):
    ours, other = shaken(MODELS[name](pellucid), 1), shaken(MODELS[name](pellucid), 2)
    ours.save_weights(tmp_path / "m.safetensors")
    report = other.load_weights(tmp_path / "m.safetensors")
    assert report.complete and len(report.loaded) == len(ours.weights)
    assert any(place.endswith("dense/kernel") for place in report.loaded)
    np.testing.assert_array_equal(ours(X), other(X))


def test_the_weights_of_one_layer_are_saved_by_the_function(tmp_path):
    one, other = layers.Dense(3), layers.Dense(3)
    one.build((None, 4))
    other.build((None, 4))
    saving.save_weights(one, tmp_path / "d.safetensors")
    assert saving.load_weights(other, tmp_path / "d.safetensors").loaded == {
        "kernel": f"{other.name}/kernel",
        "bias": f"{other.name}/bias",
    }
    np.testing.assert_array_equal(one.kernel, other.kernel)


def test_weights_of_a_model_that_keras_saved_are_read(tmp_path):
    theirs, ours = shaken(MODELS["Sequential"](keras), 1), MODELS["Sequential"](pellucid)
    with quiet():
        theirs.save(tmp_path / "m.keras")
    assert ours.load_weights(tmp_path / "m.keras").complete
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-5, atol=1e-5)
    (tmp_path / "n.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"n\.keras' is no archive of a Keras model"):
        ours.load_weights(tmp_path / "n.keras")


@pytest.mark.parametrize("ending", ["weights.h5", "safetensors"])
def test_bfloat16_keeps_its_bits(ending, tmp_path):
    make = lambda k: k.Sequential([k.Input((4,)), k.layers.Dense(3, dtype="bfloat16")])
    one, other = make(pellucid), make(pellucid)
    one.save_weights(tmp_path / f"m.{ending}")
    other.load_weights(tmp_path / f"m.{ending}")
    np.testing.assert_array_equal(one.layers[0].kernel.numpy(), other.layers[0].kernel.numpy())
    wide = pellucid.Sequential([pellucid.Input((4,)), layers.Dense(3)])
    wide.load_weights(tmp_path / f"m.{ending}")  # as another type it is cast
    assert wide.layers[0].kernel.dtype == "float32"
    np.testing.assert_array_equal(jnp.asarray(wide.layers[0].kernel, "bfloat16"), one.layers[0].kernel)


def test_bfloat16_goes_to_keras_and_back(tmp_path):
    make = lambda k: k.Sequential([k.Input((4,)), k.layers.Dense(3, dtype="bfloat16")])
    ours, theirs = make(pellucid), make(keras)
    ours.save_weights(tmp_path / "m.weights.h5")
    keras_loads(theirs, tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(ours.layers[0].kernel, theirs.layers[0].kernel.value)
    keras_saves(theirs, tmp_path / "n.weights.h5")
    ours.layers[0].kernel.assign(jnp.zeros((4, 3)))
    ours.load_weights(tmp_path / "n.weights.h5")
    np.testing.assert_array_equal(ours.layers[0].kernel, theirs.layers[0].kernel.value)


def test_the_order_in_a_file_does_not_depend_on_what_is_trained_now(tmp_path):
    model = MODELS["Sequential"](pellucid)
    model.save_weights(tmp_path / "m.weights.h5")
    before = model.get_weights()
    model.layers[1].gamma.trainable = False
    model.set_weights([w + 1 for w in before])
    model.load_weights(tmp_path / "m.weights.h5")
    model.layers[1].gamma.trainable = True
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_in_dataclasses_are_saved_too(tmp_path):
    @dataclasses.dataclass
    class Pair:
        one: layers.Dense
        two: layers.Dense

    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.pair = Pair(layers.Dense(2), layers.Dense(3))

        def call(self, x):
            return self.pair.two(self.pair.one(x))

    a, b = Model(), Model()
    a.build((None, 4))
    b.build((None, 4))
    a.save_weights(tmp_path / "m.weights.h5")
    assert next(iter(arrays_of(tmp_path / "m.weights.h5"))) == "layers/dense/vars/0"
    assert b.load_weights(tmp_path / "m.weights.h5").complete
    np.testing.assert_array_equal(a(X), b(X))


def test_adapted_statistics_go_to_keras_and_back(tmp_path):
    ours, theirs = layers.Normalization(), keras.layers.Normalization()
    ours.adapt(X)
    theirs.adapt(2 * X)
    keras_saves(theirs, tmp_path / "theirs.weights.h5")
    saving.save_weights(ours, tmp_path / "ours.weights.h5")
    assert saving.load_weights(ours, tmp_path / "theirs.weights.h5").complete
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-5, atol=1e-5)
    keras_loads(theirs, tmp_path / "ours.weights.h5")
    np.testing.assert_allclose(np.asarray(theirs(X)).std(0), 1, rtol=1e-5)
    given = pellucid.Sequential([pellucid.Input((4,)), layers.Normalization(mean=1.0, variance=4.0)])
    given.save_weights(tmp_path / "given.weights.h5")
    assert given.weights == [] and arrays_of(tmp_path / "given.weights.h5") == {}
    np.testing.assert_allclose(given(X), (X - 1) / 2, rtol=1e-5)


def own_form(k, broken=False):
    class Table(k.layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1],), "ones", name="w")
            self.inner = k.layers.Dense(2)
            self.inner.build(input_shape)

        def call(self, x):
            return self.inner(x * self.w)

        def save_own_variables(self, store):
            super().save_own_variables(store)
            store["more"] = np.arange(3)

        def load_own_variables(self, store):
            self.w.assign(store["0"])
            self.inner.kernel.assign(np.full((4, 2), 7.0))
            if broken:
                raise RuntimeError("no luck")
            self.more = np.asarray(store["more"])

    return k.Sequential([k.Input((4,)), Table(), k.layers.Dense(2)])


@pytest.mark.parametrize("ending", ["weights.h5", "safetensors"])
def test_layers_may_save_in_a_form_of_their_own(ending, tmp_path):
    one, other = shaken(own_form(pellucid), 1), shaken(own_form(pellucid), 2)
    one.save_weights(tmp_path / f"m.{ending}")
    report = other.load_weights(tmp_path / f"m.{ending}")
    assert report.complete and other.layers[0].more.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(one(X), other(X))
    broken = shaken(own_form(pellucid, broken=True), 3)
    before = broken.get_weights()
    with pytest.raises(RuntimeError, match="no luck") as raised:
        broken.load_weights(tmp_path / f"m.{ending}")
    assert "load_own_variables of layer" in raised.value.__notes__[0]
    for a, b in zip(broken.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.warns(UserWarning, match=r"1 failed.*\n.*load_own_variables of .*table.*: RuntimeError: no luck"):
        report = broken.load_weights(tmp_path / f"m.{ending}", skip_mismatch=True)
    np.testing.assert_array_equal(broken.layers[0].w.numpy(), before[0])
    np.testing.assert_array_equal(broken.layers[1].kernel, one.layers[1].kernel)


def test_an_error_in_one_layer_puts_back_what_others_have_loaded(tmp_path):
    fine, broken = own_form(pellucid).layers[0], own_form(pellucid, broken=True).layers[0]
    model = shaken(pellucid.Sequential([pellucid.Input((4,)), fine, pellucid.layers.Dense(4), broken]), 1)
    model.save_weights(tmp_path / "m.safetensors")
    before = shaken(model, 2).get_weights()
    with pytest.raises(RuntimeError, match="no luck"):
        model.load_weights(tmp_path / "m.safetensors")
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_with_a_form_of_their_own_go_to_keras_and_back(tmp_path):
    ours, theirs = shaken(own_form(pellucid), 1), own_form(keras)
    ours.save_weights(tmp_path / "m.weights.h5")
    keras_loads(theirs, tmp_path / "m.weights.h5")
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-5)
    keras_saves(theirs, tmp_path / "m.weights.h5")
    assert shaken(ours, 2).load_weights(tmp_path / "m.weights.h5").complete
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-5)


def test_the_name_of_a_layer_is_kept_beside_its_weights(tmp_path):
    pellucid.Sequential([pellucid.Input((4,)), layers.Dense(2, name="mine")]).save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert file["layers/dense/vars"].attrs["name"] == "mine"
    assert os.listdir(tmp_path) == ["m.weights.h5"]
