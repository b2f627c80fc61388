"""What layers tell of themselves before they run: the shapes of their outputs, what they ask of their inputs, their metrics."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.core.frame import active_frame

X = np.ones((4, 3), "float32")


class Block(layers.Layer):
    """Has no build of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(5), layers.Dense(2)

    def call(self, x, scale=None):
        y = self.second(self.first(x))
        return {"y": y, "pair": [x, y if scale is None else y * scale]}


def test_a_layer_that_is_not_built_tells_its_shapes_and_stays_as_it_was():
    block = Block()
    expected = {"y": (None, 2), "pair": [(None, 3), (None, 2)]}
    assert block.compute_output_shape((None, 3)) == expected
    assert not block.built and not block.first.built and block.weights == []
    assert block.compute_output_shape((None, 3), scale_shape=(None, 2)) == expected
    assert block.path == "block" and block.first.path == "first"
    assert active_frame() is None


def test_the_same_weights_are_drawn_whether_shapes_were_asked_for_or_not():
    pellucid.utils.set_random_seed(3)
    first = Block()
    first(X)
    pellucid.utils.set_random_seed(3)
    second = Block()
    second.compute_output_shape((None, 3))
    second(X)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_ledger_tells_of_a_run_for_shapes_and_a_graph_is_used_where_there_is_one():
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def call(self, x):
            return self.block(x)["y"]

    model = Model()
    assert model.compute_output_shape((None, 3)) == (None, 2)
    assert model.ledger.call_count == 1 and "neither its graph nor weights were kept" in model.ledger[0].sentence
    model.predict(X, verbose=0)
    assert model.ledger.call_count == 2
    assert model.compute_output_shape((None, 3)) == (None, 2)
    assert model.ledger.call_count == 2
    assert model.compute_output_shape((7, 3)) == (7, 2)


def test_output_specs_tell_types_and_are_connected_with_nothing():
    layer = layers.Dense(4, dtype="mixed_bfloat16")
    told = layer.compute_output_spec(pellucid.Input((3,)))
    assert told.shape == (None, 4) and told.dtype == "bfloat16" and told.step is None
    with pytest.raises(pellucid.NotBuiltError):
        _ = layer.output
    layer(X)
    assert layer.compute_output_spec(pellucid.Input((3,))).shape == (None, 4)
    with pytest.raises(pellucid.NotBuiltError):
        _ = layer.output


def test_a_build_may_ask_for_shapes():
    class Stack(layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [layers.Dense(6), layers.Dense(2)]

        def build(self, input_shape):
            for part in self.parts:
                part.build(input_shape)
                input_shape = part.compute_output_shape(input_shape)
            self.told = input_shape

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    model = pellucid.Sequential([Stack()])
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((4, 2), "float32"), verbose=0)
    assert model.layers[0].told == (None, 2) and len(model.weights) == 4


def test_an_error_in_call_is_told_and_leaves_no_weights():
    class Wrong(Block):
        def call(self, x):
            return super().call(x)["y"] @ x

    layer = Wrong()
    with pytest.raises(TypeError) as error:
        layer.compute_output_shape((None, 3))
    assert any("in layer" in note for note in error.value.__notes__) and layer.weights == []


# ---- What a layer asks of its inputs ----

WRONG = {
    "ndim": ({"ndim": 3}, X, "ndim=3"),
    "min_ndim": ({"min_ndim": 3}, X, "min_ndim=3"),
    "max_ndim": ({"max_ndim": 1}, X, "max_ndim=1"),
    "axes": ({"axes": {-1: 4}}, X, "size 4 of axis -1"),
    "dtype": ({"dtype": "int32"}, X, "dtype='int32', and it is 'float32'"),
    "shape": ({"shape": (None, 4)}, X, r"shape=\(None, 4\)"),
    "shape of other rank": ({"shape": (None, 3, 1)}, X, "ndim=3"),
    "no array": ({"ndim": 2}, None, "expected an array"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_input_that_is_not_as_a_layer_asks_is_refused(name):
    import keras

    options, x, expected = WRONG[name]
    ours, theirs = layers.Identity(), keras.layers.Identity()
    ours.input_spec, theirs.input_spec = layers.InputSpec(**options), keras.layers.InputSpec(**options)
    with pytest.raises(pellucid.ShapeError, match=f"Layer 'identity' \\(Identity\\) got .*{expected}"):
        ours(x)
    with pytest.raises(ValueError, match="layer"):
        theirs(x)


@pytest.mark.parametrize(
    "options, x",
    [
        ({"shape": (None, 3)}, X),
        ({"shape": (None, 3, 1), "allow_last_axis_squeeze": True}, X),
        ({"ndim": 2, "axes": {1: 3, 0: None}, "dtype": "float32"}, X),
    ],
)
def test_an_input_that_is_as_a_layer_asks_goes_through(options, x):
    layer = layers.Identity()
    layer.input_spec = layers.InputSpec(**options)
    np.testing.assert_array_equal(layer(x), x)
    again = layers.InputSpec.from_config(layer.input_spec.get_config())
    assert again.get_config() == layer.input_spec.get_config()


def test_several_inputs_are_checked_by_place_and_by_name():
    layer = layers.Add()
    layer.input_spec = [layers.InputSpec(ndim=2), layers.InputSpec(ndim=3)]
    with pytest.raises(pellucid.ShapeError, match="got 1 inputs; expected 2"):
        layer([X])
    with pytest.raises(pellucid.ShapeError, match="expected ndim=3"):
        layer([X, X])
    named = layers.Identity()
    named.input_spec = [layers.InputSpec(ndim=2, name="a"), layers.InputSpec(ndim=2, name="b", optional=True)]
    named({"b": X, "a": X})
    with pytest.raises(pellucid.ShapeError, match="expected one 'b', too"):
        named({"a": X})


# ---- Metrics, weights ----


def test_layers_have_the_metrics_in_their_attributes():
    class Counting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.mean = pellucid.metrics.Mean()
            self.inner = layers.Dense(1)
            self.scale = self.add_variable((2,), "ones", name="scale")

        def call(self, x):
            return x

    layer = Counting()
    assert layer.metrics == [layer.mean] and layer.metrics_variables == layer.mean.variables
    assert layer.scale.name == "scale" and layer.inner.metrics == []


ABSENT = {"add_metric", "quantize", "quantized_build", "quantized_call", "rematerialized_call"}  # Keras refuses the first; no quantization


def test_layers_have_the_public_members_of_keras():
    import keras

    theirs = {name for name in dir(keras.layers.Layer) if not name.startswith("_")}
    assert theirs - set(dir(layers.Layer)) == ABSENT


def test_weights_take_the_arguments_of_keras_in_its_order():
    import inspect

    import keras

    ours, theirs = (list(inspect.signature(k.layers.Layer.add_weight).parameters) for k in (pellucid, keras))
    assert ours == [name for name in theirs if name != "args"]
    with pytest.raises(NotImplementedError, match="overwrite_with_gradient=True; expected False"):
        layers.Layer().add_weight((1,), overwrite_with_gradient=True)
