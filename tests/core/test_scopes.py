"""Scopes of Keras: other values for variables, names, devices; and which things are symbolic."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import backend, layers, utils


def test_a_scope_makes_a_function_of_variables_pure():
    layer = layers.BatchNormalization()
    x = np.arange(6.0, dtype="float32").reshape(3, 2)
    layer.build(x.shape)
    before = [v.numpy().copy() for v in layer.variables]

    @jax.jit
    def pure(values, x):
        with pellucid.StatelessScope(zip(layer.variables, values)) as scope:
            y = layer(x, training=True)
        return y, [scope.get_current_value(v) for v in layer.variables]

    y, after = pure(before, x)
    np.testing.assert_allclose(y, layer.stateless_call(before[:2], before[2:], x, training=True)[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(after[2], before[2])
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_what_is_assigned_in_a_scope_stays_in_it():
    v, other = pellucid.Variable(1.0), pellucid.Variable(2.0)
    with pellucid.StatelessScope([(v, 5.0)]) as scope:
        assert float(v.value) == 5.0 and float(other.value) == 2.0
        scope.add_update((v, 7.0))
        other.assign(3.0)
        assert float(scope.get_current_value(v)) == 7.0
    assert (float(v.value), float(other.value)) == (1.0, 2.0)
    assert (float(scope.get_current_value(v)), float(scope.get_current_value(other))) == (7.0, 3.0)
    assert pellucid.StatelessScope().get_current_value(v) is None


def test_losses_are_collected_where_that_is_asked():
    layer = layers.ActivityRegularization(l2=1.0)
    with pellucid.StatelessScope(collect_losses=True) as scope:
        layer(np.ones((1, 2), "float32"))
    assert [float(loss) for loss in scope.losses] == [2.0]


@pytest.mark.parametrize(
    "update, says", [((3, 1.0), "3 is no Variable"), ((pellucid.Variable(1.0), [1.0, 2.0]), r"has shape \(\), its value \(2,\)")]
)
def test_what_is_no_variable_or_does_not_fit_is_told_of(update, says):
    with pytest.raises(ValueError, match=says):
        pellucid.StatelessScope([update])


def test_names_are_in_the_program():
    def named(x):
        with pellucid.name_scope("encoder"):
            return jnp.tanh(x)

    assert "encoder" in jax.jit(named).lower(1.0).as_text(debug_info=True)


def test_arrays_are_made_on_the_device_of_the_scope():
    with pellucid.device("cpu:0"):
        assert jnp.ones(2).devices() == {jax.devices("cpu")[0]}
    with pytest.raises(ValueError, match="there is no 'tpu:7' here; expected one of cpu:0"), pellucid.device("tpu:7"):
        pass


def test_symbolic_tensors_are_keras_tensors():
    x = pellucid.Input((3,))
    assert isinstance(x, pellucid.KerasTensor) and backend.is_keras_tensor(x) and utils.is_keras_tensor(layers.Dense(2)(x))
    assert not utils.is_keras_tensor(np.ones(2))
    made = pellucid.KerasTensor((None, 2))
    assert made.shape == (None, 2) and made.dtype == "float32"
    assert pellucid.version() == pellucid.__version__


@pytest.mark.parametrize(
    "types",
    [("int32", float), ("int32", "bfloat16"), (int, "float32"), ("uint8", "int8"), ("bool", int), ("float16", "bfloat16"), ()],
)
def test_the_type_of_a_result_is_that_of_keras(types):
    assert backend.result_type(*types) == keras.backend.result_type(*types)
    assert backend.result_type(np.ones(1, "int32"), jnp.ones(1, "float16")) == "float16"


def test_an_input_has_keras_arguments_and_is_a_layer_by_name():
    same = pellucid.Input(batch_shape=(None, 3), name="x", sparse=False)
    assert layers.Input is pellucid.Input and pellucid.Input(tensor=same) is same
    model = pellucid.Sequential([layers.InputLayer(shape=(3,)), layers.Dense(2)])
    assert model.output_shape == (None, 2)
    with pytest.raises(ValueError, match="Input: sparse=True"):
        pellucid.Input((3,), sparse=True)


def test_activations_take_symbolic_tensors_and_their_models_have_configs():
    x = pellucid.Input((4,))
    for function in (
        pellucid.activations.relu,
        pellucid.activations.softmax,
        pellucid.activations.softsign,
        pellucid.activations.tanh_shrink,
    ):
        model = pellucid.Model(x, function(x))
        given = np.linspace(-2, 2, 8, dtype="float32").reshape(2, 4)
        again = pellucid.Model.from_config(model.get_config())
        np.testing.assert_allclose(again(given), function(given), rtol=1e-6)
    leaky = pellucid.activations.relu(x, negative_slope=0.1, max_value=2.0, threshold=0.5)
    np.testing.assert_allclose(pellucid.Model(x, leaky)(given), keras.activations.relu(given, 0.1, 2.0, 0.5), rtol=1e-6)
