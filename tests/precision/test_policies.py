"""Policies: names, types, configs, and which layers have which, as in Keras."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.dtype_policies import DTypePolicy, DTypePolicyMap

BOTH = pytest.mark.parametrize("k", [keras, pellucid], ids=["keras", "pellucid"])
NAMES = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "int32")


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_is_that_of_keras(name):
    theirs, ours = keras.DTypePolicy(name), DTypePolicy(name)
    for attribute in ("name", "compute_dtype", "variable_dtype", "quantization_mode"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    assert repr(ours) == repr(theirs) and ours.get_config() == theirs.get_config()
    assert pellucid.dtype_policies.serialize(ours) == keras.dtype_policies.serialize(theirs)
    assert pellucid.dtype_policies.deserialize(keras.dtype_policies.serialize(theirs)) == ours
    assert pellucid.dtype_policies.get(keras.dtype_policies.serialize(theirs)) == pellucid.dtype_policies.get(name) == ours
    assert ours != DTypePolicy("float64") and hash(ours) == hash(DTypePolicy(name))


def public(*path):
    for k in (keras, pellucid):
        found = k
        for name in path:
            found = getattr(found, name)
        yield found


@pytest.mark.parametrize(
    "path",
    [
        ("DTypePolicy",),
        ("FloatDTypePolicy",),
        *(("dtype_policies", n) for n in ("DTypePolicy", "FloatDTypePolicy", "DTypePolicyMap", "get", "serialize", "deserialize")),
        *(("mixed_precision", n) for n in ("Policy", "DTypePolicy", "global_policy", "dtype_policy", "LossScaleOptimizer")),
        *(("mixed_precision", n) for n in ("set_global_policy", "set_dtype_policy")),
        *((place, n) for place in ("config", "backend") for n in ("floatx", "set_floatx")),
        *(("config", n) for n in ("dtype_policy", "set_dtype_policy")),
        ("optimizers", "LossScaleOptimizer"),
    ],
    ids=".".join,
)
def test_names_and_parameters_are_those_of_keras(path):
    theirs, ours = (inspect.signature(f).parameters.values() for f in public(*path))
    assert [(p.name, p.default) for p in theirs if p.kind is not p.VAR_KEYWORD] == [
        (p.name, p.default) for p in ours if p.kind is not p.VAR_KEYWORD
    ]


def test_compile_takes_auto_scale_loss_where_keras_does():
    theirs, ours = (list(inspect.signature(k.Model.compile).parameters) for k in (keras, pellucid))
    assert ours.index("auto_scale_loss") == theirs.index("auto_scale_loss")


@BOTH
def test_layers_take_the_global_policy_or_their_own(k):
    k.config.set_dtype_policy("mixed_bfloat16")
    made = k.layers.Dense(2), k.layers.Dense(2, dtype="float32"), k.layers.Dense(2, dtype=k.DTypePolicy("mixed_float16"))
    k.config.set_dtype_policy("float32")
    assert [(x.dtype_policy.name, x.dtype, x.variable_dtype, x.compute_dtype, x.input_dtype) for x in made] == [
        ("mixed_bfloat16", "float32", "float32", "bfloat16", "bfloat16"),
        ("float32", "float32", "float32", "float32", "float32"),
        ("mixed_float16", "float32", "float32", "float16", "float16"),
    ]
    assert k.layers.Dense(2).dtype_policy.name == "float32"


@pytest.mark.parametrize("place", [pellucid.config, pellucid.mixed_precision], ids=["config", "mixed_precision"])
def test_the_global_policy_is_set_and_read(place):
    assert place.dtype_policy() == DTypePolicy("float32")
    place.set_dtype_policy(DTypePolicy("mixed_float16"))
    assert place.dtype_policy().name == "mixed_float16" and DTypePolicy().name == "mixed_float16"
    pellucid.mixed_precision.set_global_policy("float16")
    assert pellucid.mixed_precision.global_policy().name == "float16"


def test_without_a_policy_floatx_is_it():
    pellucid.config.set_floatx("bfloat16")
    layer = layers.Dense(2)
    assert (layer.dtype_policy.name, layer(np.ones((1, 2), "float32")).dtype, layer.kernel.dtype) == ("bfloat16",) * 3


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16", "float16", "float32"])
def test_a_policy_survives_the_config_of_a_layer(name):
    config = layers.Dense(3, dtype=name).get_config()
    again = layers.Dense.from_config(config)
    assert again.dtype_policy == DTypePolicy(name) and config["dtype"] == name
    theirs = keras.layers.Dense.from_config(config)
    assert theirs.dtype_policy.name == name
    assert layers.Dense.from_config(theirs.get_config()).dtype_policy == DTypePolicy(name)


@pytest.mark.parametrize("make", ["sequential", "functional", "own"])
def test_policies_survive_the_config_of_a_model(make):
    def model(k):
        head = k.layers.Dense(1, dtype="float32", name="head")
        if make == "sequential":
            return k.Sequential([k.Input((3,)), k.layers.Dense(2, dtype="mixed_float16", name="body"), head])
        x = k.Input((3,))
        return k.Model(x, head(k.layers.Dense(2, dtype="mixed_float16", name="body")(x)))

    if make == "own":
        again = Own.from_config(Own(dtype="mixed_float16").get_config())
        assert again.dtype_policy.name == "mixed_float16"
        return
    for again in (
        pellucid.models.model_from_json(model(pellucid).to_json()),
        pellucid.models.model_from_json(model(keras).to_json()),
        pellucid.models.clone_model(model(pellucid)),
    ):
        assert [layer.dtype_policy.name for layer in again.layers if layer.weights] == ["mixed_float16", "float32"]
        assert again.predict(np.ones((2, 3)), verbose=0).dtype == "float32"


class Own(pellucid.Model):
    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units, self.body = units, layers.Dense(units)

    def call(self, x):
        return self.body(x)


# ---- Maps ----


@BOTH
def test_a_map_gives_each_path_its_policy(k):
    policies = k.dtype_policies.DTypePolicyMap(k.DTypePolicy("float32"))
    policies["encoder/0"], policies["encoder/.*"] = k.DTypePolicy("bfloat16"), k.DTypePolicy("float16")
    assert [policies[p].name for p in ("encoder/0", "encoder/1", "decoder")] == ["bfloat16", "float16", "float32"]
    assert (policies.name, policies.compute_dtype, len(policies), list(policies)) == (
        "map_float32",
        "float32",
        2,
        ["encoder/0", "encoder/.*"],
    )
    with pytest.raises(ValueError, match="encoder/0"):
        policies["encoder/0"] = k.DTypePolicy("float16")
    policies["encoder/../x"] = k.DTypePolicy("bfloat16")
    with pytest.raises(ValueError, match="matches"):
        policies["encoder/ab/x"]
    del policies["encoder/0"]
    assert "encoder/0" not in policies


def test_a_map_chooses_the_types_of_layers_by_their_paths():
    policies = DTypePolicyMap("mixed_bfloat16", {"net/head": "float32"})

    class Net(pellucid.Model):
        def __init__(self):
            super().__init__(name="net", dtype=policies)
            self.body, self.head = layers.Dense(2, dtype=policies), layers.Dense(1, dtype=policies)

        def call(self, x):
            return self.head(self.body(x))

    net = Net()
    policies["head"] = "float32"  # the path of a layer begins below its model
    assert net(np.ones((2, 3), "float32")).dtype == "float32"
    assert (net.body.compute_dtype, net.head.compute_dtype) == ("bfloat16", "float32")
    net.body.dtype_policy = "float16"
    assert (net.body.compute_dtype, net.head.compute_dtype) == ("float16", "float32")
    again = pellucid.dtype_policies.deserialize(pellucid.dtype_policies.serialize(policies))
    assert again == policies and "net/head" in repr(again)


# ---- Bad input ----


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: DTypePolicy("mixed_float61"), ValueError, ["mixed_float61", "Did you mean 'mixed_float16'?", "float32"]),
        (lambda: DTypePolicy(16), TypeError, ["name=16", "int", "mixed_bfloat16"]),
        (lambda: DTypePolicy("int8_from_float32"), ValueError, ["int8_from_float32", "quantization", "expected a policy of floats"]),
        (lambda: layers.Dense(2, dtype="bfloat"), ValueError, ["bfloat", "Did you mean 'bfloat16'?"]),
        (lambda: layers.Dense(2, dtype=object()), ValueError, ["not a data type"]),
        (lambda: pellucid.config.set_dtype_policy(3), ValueError, ["policy=3", "mixed_bfloat16"]),
        (lambda: pellucid.config.set_dtype_policy("mixed"), ValueError, ["'mixed'", "mixed_"]),
        (lambda: pellucid.config.set_floatx("int8"), ValueError, ["value='int8'", "float16, bfloat16, float32, float64"]),
        (lambda: pellucid.config.set_floatx("mixed_float16"), ValueError, ["set_dtype_policy('mixed_float16')"]),
        (lambda: DTypePolicyMap(DTypePolicyMap()), ValueError, ["default_policy", "no map"]),
        (lambda: DTypePolicyMap(policy_map=["a"]), TypeError, ["policy_map=['a']", "dict"]),
        (lambda: pellucid.dtype_policies.get({"class_name": "Zeros", "config": {}, "module": "keras.initializers"}), ValueError, ["Zeros"]),
        (lambda: setattr(layers.Dense(2), "dtype_policy", "f32"), ValueError, ["f32"]),
    ],
)
def test_what_is_no_policy_is_refused_by_name(call, error, words):
    with pytest.raises(error) as raised:
        call()
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert pellucid.config.dtype_policy().name == "float32"
