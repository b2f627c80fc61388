"""Every public class of the library is written as plain data and read again; a new class is tested by being there."""

from __future__ import annotations

import inspect
import json

import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import initializers, layers, losses, metrics, saving
from pellucid.metrics import MeanMetricWrapper, MeanOfLoss

NEEDED = {  # arguments without a default
    "Activation": ("tanh",),
    "Dense": (3,),
    **{f"{kind}Dropout{n}": (0.5,) for kind, n in (("", ""), ("Alpha", ""), ("Gaussian", ""), *(("Spatial", f"{d}D") for d in (1, 2, 3)))},
    "GaussianNoise": (0.5,),
    "Reshape": ((2, 3),),
    "FunctionLoss": (losses.huber,),
    "MeanMetricWrapper": (losses.huber,),
    "MeanOfLoss": (losses.Huber(2.0),),
    **dict.fromkeys(("IoU", "OneHotIoU"), (3, [1])),
    **dict.fromkeys(("MeanIoU", "OneHotMeanIoU"), (3,)),
    **dict.fromkeys(("PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity"), (0.5,)),
}
BASES = {"Layer", "Loss", "Metric", "Initializer", "RandomInitializer"}
OTHER = {  # other values than the defaults, by the arguments' names; what is missing here is changed by its type
    **{"activation": "relu", "axis": 1, "noise_shape": (1, 6), "reduction": "sum", "dtype": "float16", "seed": 3, "curve": "PR"},
    **{"average": "macro", "mode": "fan_out", "distribution": "uniform", "summation_method": "minoring", "class_aggregation": None},
    **{"thresholds": [0.2, 0.7], "mean": [1.0], "variance": [2.0], "max_value": 6.0, "name": "mine", "data_format": "channels_first"},
    **{"threshold": 0.25, "kernel_initializer": initializers.HeNormal(seed=1), "target_shape": (3, 2), "input_axes": [0]},
    **{"output_axes": [1], "ignore_class": 2, "top_k": 2, "class_id": 1, "bias_initializer": initializers.Constant(0.5)},
    **{"label_weights": [0.5, 0.5], "rate": 0.25},
}
LEFT = {"num_labels", "alpha"}  # need others beside them, or are a number or a list


def public(module):
    found = {n: c for n, c in vars(module).items() if isinstance(c, type) and c.__module__.startswith("pellucid") and not n.startswith("_")}
    return [c for n, c in found.items() if n == c.__name__ and n not in BASES]


CLASSES = [c for module in (losses, metrics, initializers) for c in public(module)]  # of layers see tests/layers
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: f"{c.__module__.split('.')[1]}.{c.__name__}")


def other_value(name, default):
    if name in OTHER:
        return OTHER[name]
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int) else default / 2 + 0.125 if isinstance(default, float) else default


def changed(cls):
    """An object with other arguments than the defaults."""
    parameters = [p for p in inspect.signature(cls).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    given = {p.name: other_value(p.name, p.default) for p in parameters if p.default is not p.empty and p.name not in LEFT}
    return cls(*NEEDED.get(cls.__name__, ()), **given)


def through_json(data):
    return json.loads(json.dumps(data))


@each_class
def test_from_config_of_get_config_makes_an_equal_object(cls):
    for original in (cls(*NEEDED.get(cls.__name__, ())), changed(cls)):
        config = original.get_config()
        again = cls.from_config(through_json(config))
        assert type(again) is cls and through_json(again.get_config()) == through_json(config)
        required = {p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD}
        assert required <= set(config), "get_config leaves out arguments"


@each_class
def test_serialize_and_deserialize_make_an_equal_object(cls):
    original = changed(cls)
    data = saving.serialize_keras_object(original)
    again = saving.deserialize_keras_object(through_json(data))
    assert type(again) is cls and through_json(saving.serialize_keras_object(again)) == through_json(data)
    assert set(data) == {"module", "class_name", "config", "registered_name"} and data["module"].startswith("keras.")


@each_class
def test_the_arguments_arrive_in_the_config(cls):
    config, plain = changed(cls).get_config(), cls(*NEEDED.get(cls.__name__, ())).get_config()
    for name, parameter in inspect.signature(cls).parameters.items():
        value = other_value(name, parameter.default)
        plainly = isinstance(value, bool | int | float | str) and isinstance(parameter.default, bool | int | float | str)
        if plainly and name not in LEFT and name != "num_thresholds" and not name.endswith("initializer"):
            assert config[name] == value != plain[name], name


RULES = [c for c in public(pellucid.optimizers) if c.__name__ not in ("Optimizer", "OptaxOptimizer", "LossScaleOptimizer")]


@pytest.mark.parametrize("cls", RULES, ids=lambda c: c.__name__)
def test_optimizers_are_written_and_read(cls):
    original = cls(learning_rate=0.125)
    data = through_json(saving.serialize_keras_object(original))
    again = saving.deserialize_keras_object(data)
    assert type(again) is cls and again.get_config() == original.get_config() and data["module"] == "keras.optimizers"
    assert type(pellucid.optimizers.get(data)) is cls


class Scaled(layers.Layer):
    def __init__(self, factor, shift=0.0, activation=None, **layer_args):
        super().__init__(**layer_args)
        self.k, self.shift, self.activation = factor, shift, pellucid.activations.get(activation)

    def call(self, x):
        return self.activation(x * self.k + self.shift)


def test_a_users_layer_is_made_again_from_the_arguments_of_its_init():
    layer = Scaled(2.0, activation=pellucid.activations.relu, name="mine", trainable=False)
    config = layer.get_config()
    assert config == {"name": "mine", "trainable": False, "dtype": "float32", "factor": 2.0, "shift": 0.0, "activation": "relu"}
    again = saving.deserialize_keras_object(through_json(saving.serialize_keras_object(layer)))
    assert type(again) is Scaled and again.get_config() == config and not again.trainable
    np.testing.assert_array_equal(again(np.array([-1.0, 2.0])), [0.0, 4.0])


def test_objects_among_the_arguments_are_made_again():
    class Wrapped(layers.Layer):
        def __init__(self, inner, initializer, sizes, **layer_args):
            super().__init__(**layer_args)
            self.inner, self.initializer, self.sizes = inner, initializer, sizes

        def call(self, x):
            return self.inner(x)

    layer = Wrapped(layers.Dense(3, name="d"), initializers.Constant(2.0), {"a": [1, (2, 3)], "s": slice(1, None)})
    again = Wrapped.from_config(layer.get_config())
    assert again.inner.units == 3 and again.inner is not layer.inner and again.initializer.value == 2.0
    assert again.sizes == layer.sizes
    data = saving.serialize_keras_object(layer)
    found = saving.deserialize_keras_object(through_json(data), custom_objects={"Wrapped": Wrapped})
    assert type(found) is Wrapped and found.sizes == {"a": [1, [2, 3]], "s": slice(1, None)}


def test_a_users_get_config_adds_to_what_the_class_below_gives():
    class Noisy(layers.Dense):
        def __init__(self, units, noise, **layer_args):
            super().__init__(units, **layer_args)
            self.noise = noise

        def get_config(self):
            return {**super().get_config(), "noise": self.noise}

    layer = Noisy(4, noise=object, activation="relu", name="n")
    config = layer.get_config()
    assert config.pop("noise") is object and config == layers.Dense(4, activation="relu", name="n").get_config()
    assert Noisy.from_config({**config, "noise": 1}).units == 4

    class Own(layers.Layer):
        def __init__(self, thing, **layer_args):
            super().__init__(**layer_args)
            self.thing = thing

        def get_config(self):
            return {**super().get_config(), "thing": str(self.thing)}

    assert Own(object, name="o").get_config() == {"name": "o", "trainable": True, "dtype": "float32", "thing": "<class 'object'>"}


def test_users_losses_metrics_and_initializers():
    class Power(losses.Loss):
        def __init__(self, exponent, **loss_args):
            super().__init__(**loss_args)
            self.e = exponent

        def call(self, y_true, y_pred):
            return jnp.mean(jnp.abs(y_true - y_pred) ** self.e, axis=-1)

    class Above(metrics.Metric):
        def __init__(self, limit=1.0, name="above", **metric_args):
            super().__init__(name=name, **metric_args)
            self.count, self.lim = self.add_variable(), limit

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.count.assign_add(jnp.sum(y_pred > self.lim))

        def result(self):
            return self.count.value

    class Filled(initializers.Initializer):
        def __init__(self, number):
            self.n = number

        def __call__(self, shape, dtype=None):
            return np.full(shape, self.n, dtype)

    own = {"Power": Power, "Above": Above, "Filled": Filled}
    read = lambda thing: saving.deserialize_keras_object(through_json(saving.serialize_keras_object(thing)), own)
    zeros, twos = np.zeros((2, 1)), np.full((2, 1), 2.0)
    assert float(read(Power(3, reduction="sum"))(zeros, twos)) == 16.0
    assert float(read(Above(1.5))(zeros, twos)) == 2.0 and read(Above(1.5)).name == "above"
    dense = read(layers.Dense(2, kernel_initializer=Filled(7.0)))
    dense.build((None, 3))
    np.testing.assert_array_equal(dense.kernel.numpy(), np.full((3, 2), 7.0))


def test_a_mean_of_a_function_or_a_loss_computes_the_same_when_read():
    y_true, y_pred = np.zeros((4, 2)), np.arange(8.0).reshape(4, 2)
    for metric in (MeanMetricWrapper(losses.huber, delta=2.0), MeanOfLoss(losses.Huber(0.5)), metrics.get(losses.mean_squared_error)):
        again = saving.deserialize_keras_object(through_json(saving.serialize_keras_object(metric)))
        assert float(again(y_true, y_pred)) == float(metric(y_true, y_pred))
    loss = losses.FunctionLoss(losses.huber, delta=2.0)
    again = losses.deserialize(through_json(losses.serialize(loss)))
    assert float(again(y_true, y_pred)) == float(loss(y_true, y_pred))


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2.5, "text", [1, [2.0, None]], {"a": {"b": 1}}, slice(1, None, 2), slice(None), b"bytes\xff", ..., float, np.float32],
    ids=repr,
)
def test_plain_values(value):
    again = saving.deserialize_keras_object(through_json(saving.serialize_keras_object(value)))
    assert again == value and type(again) is type(value)


def test_arrays_data_types_and_tuples():
    array = np.arange(6, dtype="int16").reshape(2, 3)
    for given, kind in ((array, np.ndarray), (jnp.ones((2,), "bfloat16"), pellucid.ops.convert_to_tensor([1.0]).__class__)):
        again = saving.deserialize_keras_object(through_json(saving.serialize_keras_object(given)))
        assert isinstance(again, kind) and again.dtype == given.dtype
        np.testing.assert_array_equal(again, given)
    assert saving.serialize_keras_object(np.float32(0.5)) == 0.5 and saving.serialize_keras_object(np.dtype("int8")) == "int8"
    assert saving.serialize_keras_object((1, (2, "a"))) == (1, (2, "a"))


def test_functions_are_found_by_name():
    for function in (pellucid.activations.relu, losses.huber, metrics.binary_accuracy, pellucid.ops.mean, jnp.tanh, public):
        data = through_json(saving.serialize_keras_object(function))
        if function is public:  # this module is imported by a name that pytest makes up
            with pytest.raises(ValueError, match=r"asks for the function 'public'.*custom_objects=\{'public'"):
                saving.deserialize_keras_object({**data, "module": "nowhere"})
            data = {**data, "module": "builtins"}
            assert saving.deserialize_keras_object(data, {"public": public}) is public
        else:
            assert saving.deserialize_keras_object(data) is function


def test_a_seed_generator_begins_again():
    layer = pellucid.random.SeedGenerator(5, name="g")
    again = saving.deserialize_keras_object(through_json(saving.serialize_keras_object(layer)))
    assert again.seed == 5 and again.state.name == "g"
    np.testing.assert_array_equal(again.state.numpy(), layer.state.numpy())


def test_a_built_layer_is_built_when_it_is_read():
    layer = layers.Dense(3)
    layer.build((None, 4))
    data = through_json(saving.serialize_keras_object(layer))
    assert data["build_config"] == {"input_shape": [None, 4]}
    again = saving.deserialize_keras_object(data)
    assert [w.shape for w in again.weights] == [(4, 3), (3,)]


# ---- Lambdas ----


def test_a_lambda_is_read_only_out_of_safe_mode():
    shift = 3.0
    layer = layers.Activation(lambda x, by=2.0: x * by + shift)
    data = through_json(saving.serialize_keras_object(layer))
    with pytest.raises(ValueError, match=r"holds a lambda, whose code would run here\. Pass safe_mode=False"):
        saving.deserialize_keras_object(data)
    with pytest.raises(ValueError, match="holds a lambda"):
        layers.Activation.from_config(data["config"])
    again = saving.deserialize_keras_object(data, safe_mode=False)
    np.testing.assert_array_equal(again(np.array([1.0, 2.0])), [5.0, 7.0])


# ---- Errors ----


def test_an_argument_that_is_no_plain_data_needs_a_get_config():
    thing = object()
    message = (
        r"Scaled: the argument factor=<object object at .*cannot be written as plain data.*"
        r"def get_config\(self\):\s+return \{\*\*super\(\)\.get_config\(\), 'factor': …\}.*def from_config"
    )
    with pytest.raises(NotImplementedError, match=f"(?s){message}"):
        Scaled(thing).get_config()
    with pytest.raises(NotImplementedError, match="the argument factor="):
        saving.serialize_keras_object(Scaled(pellucid.Variable(1.0)))


def test_what_cannot_be_written():
    with pytest.raises(TypeError, match=r"<object object at .* of type object cannot be written as plain data; expected numbers"):
        saving.serialize_keras_object(object())

    class Wrong(layers.Layer):
        def get_config(self):
            return [1]

    with pytest.raises(TypeError, match=r"get_config of Wrong returned \[1\]; expected a dict"):
        saving.serialize_keras_object(Wrong())


def test_classes_that_are_not_known():
    with pytest.raises(ValueError, match=r"asks for keras\.layers\.Dens, which does not exist here\. Did you mean 'Dense'"):
        saving.deserialize_keras_object({"module": "keras.layers", "class_name": "Dens", "config": {}, "registered_name": None})
    data = {"module": "my.project", "class_name": "Mine", "config": {}, "registered_name": "p>Mine"}
    with pytest.raises(ValueError, match=r"class 'Mine' of module 'my\.project'.*register_keras_serializable.*custom_objects=\{'p>Mine'"):
        saving.deserialize_keras_object(data)
    for module, name in (("os", "system"), ("subprocess", "Popen"), ("builtins", "eval")):
        with pytest.raises(ValueError, match=f"class '{name}' of module '{module}', which is not known"):
            saving.deserialize_keras_object({"module": module, "class_name": name, "config": {}, "registered_name": name})


def test_an_argument_that_is_not_offered():
    config = {**layers.Dense(3).get_config(), "lora_rank": 2, "quantization_config": None}
    with pytest.raises(ValueError, match=r"Dense: the config has lora_rank=2, an argument that is not offered here"):
        layers.Dense.from_config(config)
    assert layers.Dense.from_config({**config, "lora_rank": None}).units == 3
