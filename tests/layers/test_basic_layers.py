"""What the tables do not say of the basic layers: masks of several inputs, numbers out of range, configs of functions, errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.errors import ShapeError
from tests.layers.case import normal

SERIES, OTHER = normal(4, 3, 5), normal(4, 3, 5)
STEPS = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]], bool)
OTHER_STEPS = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 1], [1, 1, 0]], bool)
MERGING = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"]


@pytest.mark.parametrize("name", MERGING)
@pytest.mark.parametrize("masks", [(STEPS, OTHER_STEPS), (None, OTHER_STEPS), (STEPS, None), (None, None)])
def test_merging_layers_count_padding_as_keras_does(name, masks):
    options = {"axes": 2} if name == "Dot" else {}
    ours, theirs = (getattr(k.layers, name)(**options) for k in (pellucid, keras))
    given = [jnp.asarray(SERIES), jnp.asarray(OTHER)]
    masks = [None if m is None else jnp.asarray(m) for m in masks]
    tensors = [jnp.array(x) for x in given]
    for x, mask in zip(tensors, masks, strict=True):
        if mask is not None:
            keras.src.backend.set_keras_mask(x, mask)
    theirs_out = theirs(tensors)
    takes_mask = name in ("Multiply", "Maximum", "Minimum")
    ours_out = ours(given, mask=masks) if takes_mask and any(m is not None for m in masks) else ours(given)
    np.testing.assert_allclose(ours_out, theirs_out, rtol=1e-5, atol=1e-6)
    mine, other = (layer.compute_mask(given, masks) for layer in (ours, theirs))
    assert (mine is None) == (other is None)
    if mine is not None:
        np.testing.assert_array_equal(mine, other)


def test_functions_merge_as_layers_do():
    for name in MERGING:
        options = {"axes": 2} if name == "Dot" else {}
        merged = getattr(layers, name.lower())([SERIES, OTHER], **options)
        np.testing.assert_array_equal(merged, getattr(layers, name)(**options)([SERIES, OTHER]))


@pytest.mark.parametrize("numbers", [[0, 4, 5, 9], [-1, -5, -6, 2]])
def test_embeddings_of_numbers_out_of_range_are_those_of_keras(numbers):
    ours, theirs = layers.Embedding(5, 3), keras.layers.Embedding(5, 3)
    x = jnp.asarray(numbers)
    ours(x), theirs(x)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(ours(x), theirs(x))


def test_embeddings_begin_with_given_vectors_and_learn_those_that_are_used():
    given = normal(5, 3)
    layer = layers.Embedding(5, 3, weights=[given])
    np.testing.assert_array_equal(layer.embeddings, given)
    assert "weights" not in layer.get_config()
    loss = lambda values: layer.stateless_call(values, [], jnp.array([[1, 1, 4]]))[0].sum()
    (gradient,) = jax.grad(loss)([layer.embeddings.value])
    np.testing.assert_array_equal(gradient, np.array([0, 2, 0, 0, 1])[:, None] * np.ones((5, 3)))


def test_a_layer_of_a_lambda_goes_from_one_library_to_the_other():
    ours, theirs = (k.layers.Lambda(lambda x, p=2: x**p, mask=lambda x, m: m, name="square") for k in (pellucid, keras))
    read = keras.layers.Lambda.from_config(ours.get_config(), safe_mode=False)
    np.testing.assert_array_equal(read(SERIES), SERIES**2)
    config = theirs.get_config()
    with pytest.raises(ValueError, match="safe_mode=False"):
        layers.deserialize({"module": "keras.layers", "class_name": "Lambda", "config": config, "registered_name": None})
    again = pellucid.saving.deserialize_keras_object(
        {"module": "keras.layers", "class_name": "Lambda", "config": config, "registered_name": None}, safe_mode=False
    )
    np.testing.assert_array_equal(again(SERIES), SERIES**2)


def test_a_lambda_gets_mask_and_training_where_it_takes_them():
    seen = {}

    def watch(x, mask, training):
        seen.update(mask=mask, training=training)
        return x

    layers.Lambda(watch, mask=lambda x, mask: mask)(SERIES, mask=STEPS, training=True)
    assert seen["training"] is True and seen["mask"] is not None


def test_batch_renormalization_trains_as_in_keras():
    ours, theirs = (k.layers.BatchNormalization(renorm=True, renorm_momentum=0.8, momentum=0.8) for k in (pellucid, keras))
    for step in range(3):
        x = jnp.asarray(SERIES + step)
        np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=1e-4, atol=1e-5)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine, other.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, axis", [("LayerNormalization", (1, 2)), ("RMSNormalization", -1), ("UnitNormalization", 1)])
def test_normalization_of_zeros_has_finite_gradients(name, axis):
    layer = getattr(layers, name)(axis=axis)
    gradient = jax.grad(lambda x: layer(x).sum())(jnp.zeros((2, 3, 4)))
    assert np.isfinite(gradient).all()


WRONG = {
    "Add of an array": (lambda: layers.Add()(SERIES), ["Add 'add'", "expected a list of arrays"]),
    "Subtract of three": (lambda: layers.Subtract()([SERIES] * 3), ["Subtract", "3 arrays", "expected 2"]),
    "masks": (lambda: layers.Multiply()([SERIES, OTHER], mask=[None]), ["Multiply", "1 masks for 2 arrays"]),
    "Dot axes": (lambda: layers.Dot(axes=(1, 2, 3)), ["axes=(1, 2, 3)", "two of them"]),
    "Dot of the batch": (lambda: layers.Dot(axes=0)([SERIES, OTHER]), ["axes=0", "not the first"]),
    "Dot of other sizes": (lambda: layers.Dot(axes=(1, 2))([SERIES, OTHER]), ["(4, 3, 5)", "axes of one size"]),
    "Permute": (lambda: layers.Permute((0, 1)), ["dims=(0, 1)", "each of 1, 2"]),
    "Permute of a table": (lambda: layers.Permute((2, 1))(SERIES[0]), ["Permute", "expected 3 axes"]),
    "RepeatVector": (lambda: layers.RepeatVector(0), ["RepeatVector: n=0", "positive whole number"]),
    "RepeatVector of a series": (lambda: layers.RepeatVector(2)(SERIES), ["RepeatVector", "expected two axes"]),
    "Flatten": (lambda: layers.Flatten("last"), ["data_format='last'", "channels_first"]),
    "Embedding": (lambda: layers.Embedding(0, 3), ["Embedding: input_dim=0", "positive whole number"]),
    "Lambda": (lambda: layers.Lambda("square"), ["Lambda: function='square'", "expected a function"]),
    "LeakyReLU": (lambda: layers.LeakyReLU(negative_slope=-1), ["LeakyReLU: negative_slope=-1", "at least zero"]),
    "ReLU": (lambda: layers.ReLU(max_value=-1.0), ["ReLU: max_value=-1.0", "at least zero"]),
    "Softmax": (lambda: layers.Softmax()(SERIES, mask=STEPS[:, :2]), ["Softmax", "(4, 2)", "that broadcasts"]),
    "GroupNormalization": (lambda: layers.GroupNormalization(groups=0), ["groups=0", "-1 for one a feature"]),
    "groups": (lambda: layers.GroupNormalization(groups=2)(SERIES), ["5 features", "multiple of groups=2"]),
    "LayerNormalization": (lambda: layers.LayerNormalization(axis="last"), ["axis='last'", "whole number"]),
    "synchronized": (lambda: layers.BatchNormalization(synchronized=True), ["synchronized=True", "all devices"]),
    "renorm_clipping": (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"max": 1}), ["{'max': 1}", "'dmax' only"]),
    "rmax below rmin": (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmin": 2, "rmax": 1}), ["not below 'rmin'"]),
    "negative dmax": (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1}), ["no negative 'dmax'"]),
    "mask of a batch": (lambda: layers.BatchNormalization()(SERIES, mask=STEPS[:, 0]), ["a mask with 1 axes", "one axis less"]),
    "equation": (lambda: layers.EinsumDense("ab,bc", 3), ["equation='ab,bc'", "expected the form"]),
    "equation's axes": (lambda: layers.EinsumDense("ab,bc->ac", 3)(SERIES), ["numbers of axes do not fit"]),
    "equation's output": (lambda: layers.EinsumDense("abc,cd->abe", (3, 2))(SERIES), ["axis 'e'", "none of the inputs or the kernel"]),
    "equation's kernel": (lambda: layers.EinsumDense("abc,cde->abd", (3, 2))(SERIES), ["axis 'e'", "none of the inputs or outputs"]),
    "equation's sizes": (lambda: layers.EinsumDense("abc,cd->abd", (7, 2))(SERIES), ["axis 'b'", "size 3", "and 7"]),
    "equation's unknown size": (lambda: layers.EinsumDense("abc,cd->abd", (3, None))(SERIES), ["axis 'd'", "not known"]),
    "bias_axes": (lambda: layers.EinsumDense("abc,cd->abd", (3, 2), bias_axes="x")(SERIES), ["bias_axes='x'", "no axis of the output"]),
    "adapting what is given": (lambda: layers.Normalization(mean=0.0, variance=1.0).adapt(SERIES), ["adapt", "were given"]),
    "ops.normalize": (lambda: pellucid.ops.normalize(SERIES, order=0), ["order=0", "positive whole number"]),
    "ops.moments": (lambda: pellucid.ops.moments(SERIES, 0, synchronized=True), ["synchronized=True"]),
    "an axis beyond": (lambda: pellucid.ops.layer_normalization(SERIES, axis=3), ["axis=3", "from -3 to 2"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name):
    make, words = WRONG[name]
    with pytest.raises((ValueError, TypeError, NotImplementedError)) as error:
        make()
    for word in words:
        assert word in str(error.value), str(error.value)


def test_spectral_normalization_trains_compiled_as_it_does_eagerly():
    def fitted(eagerly):
        pellucid.utils.set_random_seed(1)
        model = pellucid.Sequential([layers.SpectralNormalization(layers.Dense(4), power_iterations=3), layers.Dense(2)])
        model.compile("sgd", "mse", run_eagerly=eagerly)
        losses = model.fit(SERIES[:, 0], OTHER[:, 0, :2], batch_size=2, epochs=3, shuffle=False, verbose=0).history["loss"]
        return losses, model.get_weights()

    compiled, eager = fitted(False), fitted(True)
    np.testing.assert_allclose(compiled[0], eager[0], rtol=1e-5)
    for a, b in zip(compiled[1], eager[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_vectors_of_a_normalized_embedding_are_no_whole_numbers():
    layer = layers.SpectralNormalization(layers.Embedding(6, 3))
    assert layer(np.array([[1, 2]])).dtype == "float32"  # Keras gives them the type of the inputs: all are zero


def test_a_layer_without_a_kernel_has_no_spectral_norm():
    with pytest.raises(ValueError, match="neither a kernel nor embeddings"):
        layers.SpectralNormalization(layers.ReLU())(SERIES)


@pytest.mark.parametrize("kind", ["functional", "sequential", "nested"])
def test_penalties_on_outputs_count_in_any_kind_of_model(kind):
    def make(k):
        penalised = k.layers.Dense(4, activity_regularizer="l2", kernel_regularizer="l2")
        if kind == "sequential":
            return k.Sequential([k.Input((5,)), penalised, k.layers.Dense(2)])
        x = k.Input((5,))
        inner = k.Model(x, penalised(x)) if kind == "nested" else penalised
        return k.Model(x, k.layers.Dense(2)(inner(x)))

    ours, theirs = make(pellucid), make(keras)
    theirs.set_weights(ours.get_weights())
    histories = []
    for model in (ours, theirs):
        model.compile("sgd", "mse")
        histories.append(model.fit(SERIES[:, 0], OTHER[:, 0, :2], batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-5)


@pytest.mark.slow
def test_a_model_of_masked_sequences_trains_as_in_keras():
    numbers = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [3, 1, 2, 4], [2, 2, 0, 0], [1, 4, 4, 0]], "int32")
    targets = normal(5, 2)

    def make(k):
        class Model(k.Model):
            def __init__(self):
                super().__init__()
                self.left = k.layers.Embedding(5, 3, mask_zero=True, embeddings_regularizer="l2")
                self.right = k.layers.Embedding(5, 3, mask_zero=True)
                self.joined = k.layers.Maximum()
                self.norm = k.layers.BatchNormalization(momentum=0.8)
                self.lstm = k.layers.LSTM(4, kernel_regularizer=k.regularizers.L1L2(0.01, 0.02))
                self.out = k.layers.Dense(2, activity_regularizer="l2")

            def call(self, x, training=None):
                y = self.joined([self.left(x), self.right(x)])
                return self.out(self.lstm(self.norm(y, training=training)))

        return Model()

    ours, theirs = make(pellucid), make(keras)
    ours.capture(numbers)
    theirs(numbers)
    theirs.set_weights(ours.get_weights())
    histories = []
    for model in (ours, theirs):
        model.compile("sgd", "mse")
        model.optimizer.learning_rate = 0.1
        options = {"batch_size": 2, "epochs": 3, "shuffle": False, "verbose": 0}
        histories.append(model.fit(numbers, targets, validation_data=(numbers, targets), **options).history)
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(histories[0][key], histories[1][key], rtol=1e-4)
    assert ours.ledger.call_count == 1


def test_the_mean_over_no_steps_is_zero():
    layer, x = layers.GlobalAveragePooling1D(), jnp.ones((2, 3, 4))
    mask = jnp.array([[True, True, False], [False, False, False]])
    assert layer(x, mask=mask)[:, 0].tolist() == [1.0, 0.0]
    assert jnp.isfinite(jax.grad(lambda x: layer(x, mask=mask).sum())(x)).all()


@pytest.mark.parametrize(
    "layer",
    [layers.Normalization(axis=5), layers.PReLU(shared_axes=[5]), layers.UnitNormalization(axis=5), layers.Dot(axes=5)],
    ids=lambda layer: type(layer).__name__,
)
def test_an_axis_that_there_is_not_is_refused(layer):
    with pytest.raises(ShapeError, match=r"axis=.*5.* of an array with 3 axes; expected numbers from -3 to 2"):
        layer([SERIES, OTHER] if isinstance(layer, layers.Dot) else SERIES)


@pytest.mark.compiles_anew
def test_a_layer_called_on_data_compiles_no_more_than_it_computes(tmp_path):
    scaler = layers.Normalization()
    scaler.adapt(np.ones((3, 2), "float32"))
    pellucid.config.compilation_cache(tmp_path)
    try:
        x = np.ones((311, 2))
        y = scaler(x)
        x[:] = 7  # what was given may be changed: it is not looked at again
        assert [p.name.split("-")[0] for p in tmp_path.rglob("*.program")] == ["jit__standardized"]
        np.testing.assert_array_equal(y, np.zeros((311, 2)))
    finally:
        pellucid.config.compilation_cache("off")
