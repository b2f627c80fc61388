"""Masks go from layer to layer, into losses and metrics, as in Keras: in models of every kind, captured once and in eager code."""

import gc

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, losses, metrics, ops
from pellucid.core import masks
from tests.cases import some_slow
from tests.masks.models import MODELS, TARGETS, TOKENS, functional, layers_of, nested, subclassed, with_block

LOSSES = {"optimizer": "sgd", "loss": "mse", "metrics": ["mae"], "weighted_metrics": ["mse"]}
quiet_keras = pytest.mark.filterwarnings("ignore:Layer '.*:UserWarning:keras")


def trained(k, make, **fit):
    model = make(k)
    model.compile(**LOSSES)
    history = model.fit(TOKENS, TARGETS, batch_size=3, epochs=2, shuffle=False, verbose=0, **fit).history
    return model, history


@quiet_keras
@pytest.mark.parametrize("make", some_slow(MODELS, [subclassed, nested]))
def test_training_and_outputs_are_those_of_keras(make):
    ours, history = trained(pellucid, make)
    theirs, expected = trained(keras, make)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    given = [model.evaluate(TOKENS, TARGETS, verbose=0) for model in (ours, theirs)]
    np.testing.assert_allclose(*given, rtol=1e-5)  # in Keras's fit, metrics count padding: the gradient loses the mask there
    np.testing.assert_allclose(ours(TOKENS), theirs(TOKENS), rtol=1e-5)
    np.testing.assert_allclose(ours.predict(TOKENS, verbose=0), theirs(TOKENS), rtol=1e-5)
    assert len([run for run in ours.ledger if run.kind == "capture"]) == 1
    (program,) = [p for p in ours.ledger.programs if p.purpose == "train"]
    assert "padded" in program.reason  # a mask couples no rows


def test_what_is_padding_has_no_influence_on_training():
    rows = np.concatenate([TARGETS, TARGETS])
    histories = []
    for noise in (0.0, 1e3):
        model = subclassed(pellucid)
        model.compile(**LOSSES)
        targets = rows + noise * (np.concatenate([TOKENS, TOKENS]) == 0)[..., None]
        histories.append(model.fit(np.concatenate([TOKENS, TOKENS]), targets, batch_size=4, epochs=3, verbose=0, shuffle=False).history)
    assert histories[0] == histories[1]


def test_sample_weights_and_masks_multiply():
    model = subclassed(pellucid)
    model.compile(**LOSSES)
    weight = np.array([1.0, 0.0, 2.0, 1.0], "float32")
    loss, mae, mse = model.evaluate(TOKENS, TARGETS, sample_weight=weight, verbose=0)
    errors, real = np.asarray(model(TOKENS))[..., 0] - TARGETS[..., 0], TOKENS != 0
    factor = real * weight[:, None]
    np.testing.assert_allclose(loss, np.sum(errors**2 * factor) / np.sum(real), rtol=1e-5)
    np.testing.assert_allclose(mae, np.sum(np.abs(errors) * real) / np.sum(real), rtol=1e-5)
    np.testing.assert_allclose(mse, np.sum(errors**2 * factor) / np.sum(factor), rtol=1e-5)


@quiet_keras
def test_losses_and_metrics_of_an_array_with_a_mask_are_those_of_keras():
    mask = TOKENS != 0
    predictions = np.random.default_rng(0).uniform(0.1, 0.9, (4, 4, 3)).astype("float32")
    labels = np.arange(16).reshape(4, 4) % 3
    ours, theirs = jnp.asarray(predictions), jnp.asarray(predictions)
    masks.attach(ours, jnp.asarray(mask))
    keras.src.backend.set_keras_mask(theirs, jnp.asarray(mask))
    for name in ("SparseCategoricalCrossentropy",):
        for reduction in ("sum_over_batch_size", "sum", "none"):
            a = getattr(losses, name)(reduction=reduction)(labels, ours)
            b = getattr(keras.losses, name)(reduction=reduction)(labels, theirs)
            np.testing.assert_allclose(a, b, rtol=1e-5)
    for name in ("SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"):
        a, b = getattr(metrics, name)(), getattr(keras.metrics, name)()
        for weight in (None, np.array([[1.0], [2.0], [0.5], [1.0]])):
            a.update_state(labels, ours, sample_weight=weight)
            b.update_state(labels, theirs, sample_weight=weight)
        np.testing.assert_allclose(a.result(), b.result(), rtol=1e-5)


def test_any_metric_that_takes_weights_leaves_padding_out():
    """Of Keras's, those of confusion matrices count it."""
    model = subclassed(pellucid)
    model.compile("sgd", "mse", metrics=[metrics.Precision(thresholds=0.0)])
    targets = (np.arange(16).reshape(4, 4, 1) % 2).astype("float32")
    precision = model.evaluate(TOKENS, targets, verbose=0)[1]
    hits, real = np.asarray(model(TOKENS))[..., 0] > 0, TOKENS != 0
    assert precision == pytest.approx((hits & real & (targets[..., 0] > 0)).sum() / (hits & real).sum())


# ---- What carries a mask, and what does not ----


def test_the_graph_shows_masks():
    model = subclassed(pellucid)
    graph = model.capture(TOKENS)
    named = {node.path: node for node in graph.nodes}
    assert all(str(named[path].masks[0]) == "(None, 4) bool" for path in ("table", "dense", "drop", "masked", "out"))
    arrows = [(e.source.path, e.target.path) for e in graph.edges if e.dtype == "bool" and "/" not in e.target.path]
    assert arrows == [("table", "dense"), ("dense", "drop"), ("drop", "masked"), ("masked", "out")]
    assert "with mask (None, 4)" in repr(named["table"])
    assert [node.kind for node in graph.nodes if node.path == "table/not_equal"] == ["not_equal"]
    np.testing.assert_array_equal(model.activations(TOKENS, ["table"])["table"], np.asarray(model.table(TOKENS)))


@pytest.mark.parametrize("name", ["add", "multiply", "tanh", "where"])
def test_elementwise_functions_of_ops_hand_masks_on(name):
    Table, Masked, _ = layers_of(pellucid)
    apply = {
        "add": lambda h: ops.add(h, 1.0),
        "multiply": lambda h: ops.multiply(h, h),
        "tanh": ops.tanh,
        "where": lambda h: ops.where(h > 0, h, -h),
    }[name]

    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.table, self.masked = Table(), Masked()

        def call(self, x):
            return self.masked(apply(self.table(x)))

    x = pellucid.Input((4,))
    for model in (Model(), pellucid.Model(x, Masked()(apply(Table()(x))))):
        expected = np.asarray(apply(jnp.asarray(model.predict(np.ones_like(TOKENS), verbose=0) * 0)))  # of the right shape
        outputs = model.predict(TOKENS, verbose=0)
        assert outputs.shape == expected.shape and (outputs[TOKENS == 0] == 0).all() and (outputs[TOKENS != 0] != 0).all()
        np.testing.assert_array_equal(model(TOKENS), outputs)


def test_two_masks_meet_where_both_are_real():
    a, b = jnp.ones((1, 3)), jnp.ones((1, 3))
    masks.attach(a, jnp.array([[True, True, False]]))
    masks.attach(b, jnp.array([[True, False, True]]))
    assert masks.mask_of(ops.add(a, b)).tolist() == [[True, False, False]]
    assert masks.mask_of(ops.sum(a)) is None


def test_a_mask_that_an_operator_loses_is_told_with_its_line():
    Table, Masked, _ = layers_of(pellucid)

    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.table, self.masked = Table(), Masked()

        def call(self, x):
            h = jnp.tanh(self.table(x)) * 2
            return self.masked(h)

    with pytest.warns(UserWarning, match=r"'masked' takes a mask, but .* ended at test_masks.py:\d+.*ops.add for \+"):
        Model().capture(TOKENS)


def test_a_layer_that_supports_no_masks_says_so_once():
    Table, _, _ = layers_of(pellucid)

    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.table, self.flatten = Table(), layers.Flatten()

        def call(self, x):
            return self.flatten(self.table(x))

    model = Model()
    with pytest.warns(UserWarning, match="'flatten' .Flatten. got an input with a mask.*supports_masking = True") as told:
        model.predict(TOKENS, verbose=0)
    assert len(told) == 1


def test_a_given_mask_counts_in_place_of_the_inputs_own():
    Table, Masked, _ = layers_of(pellucid)
    table, masked = Table(), Masked()
    h, given = table(TOKENS), jnp.asarray([[True, False, False, False]] * 4)
    assert (np.asarray(masked(h, mask=given))[:, 1:] == 0).all()
    np.testing.assert_array_equal(masks.mask_of(masked(h, mask=given)), given)
    np.testing.assert_array_equal(masks.mask_of(masked(h)), TOKENS != 0)


def test_arguments_named_after_others_get_the_masks_of_those():
    Table, _, _ = layers_of(pellucid)
    seen = {}

    class Pair(layers.Layer):
        def call(self, query, value, query_mask=None, value_mask=None, attention_mask=None):
            seen.update(query=query_mask, value=value_mask, attention=attention_mask)
            return query + value

    table = Table()
    with pytest.warns(UserWarning, match="does not support masks"):
        Pair()(table(TOKENS), jnp.ones((4, 4, 4)))
    np.testing.assert_array_equal(seen["query"], TOKENS != 0)
    assert seen["value"] is None and seen["attention"] is None


def test_a_functional_model_takes_a_mask():
    h = pellucid.Input((4, 4))
    _, Masked, _ = layers_of(pellucid)
    model = pellucid.Model(h, Masked()(h))
    x, mask = np.ones((2, 4, 4), "float32"), jnp.asarray([[True, True, False, False], [True, False, False, False]])
    np.testing.assert_array_equal(model(x, mask=mask)[..., 0], mask.astype("float32"))
    np.testing.assert_array_equal(model(x), 3 * x)


def test_a_step_of_ones_own_sees_the_mask_of_the_outputs():
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.inner = functional(pellucid)

        def call(self, x):
            return self.inner(x)

        def train_step(self, data):
            x, y = data

            def loss_fn():
                return self.compute_loss(x, y, self(x, training=True))

            loss, gradients = pellucid.value_and_grad(loss_fn, self.trainable_variables)()
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    own, built_in = Model(), functional(pellucid)
    found = []
    for model in (own, built_in):
        model.compile("sgd", "mse")
        found.append(model.fit(TOKENS, TARGETS, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_in_mixed_precision_a_cast_keeps_the_mask():
    Table, _, _ = layers_of(pellucid)
    pellucid.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = subclassed(pellucid)
        outputs = model.predict(TOKENS, verbose=0)
    finally:
        pellucid.config.set_dtype_policy("float32")
    assert (outputs[TOKENS == 0] == 0).all() and (outputs[TOKENS != 0] != 0).all()


def test_rematerialization_keeps_masks():
    with pellucid.RematScope("full"):
        again = with_block(pellucid)
    outputs = [model.predict(TOKENS, verbose=0) for model in (again, with_block(pellucid))]
    np.testing.assert_allclose(*outputs, rtol=1e-6)
    losses = []
    for model in (again, with_block(pellucid)):
        model.compile("sgd", "mse")
        losses.append(model.fit(TOKENS, TARGETS, batch_size=4, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_run_eagerly_trains_alike():
    histories = []
    for eagerly in (False, True):
        model = subclassed(pellucid)
        model.compile(**LOSSES, run_eagerly=eagerly)
        histories.append(model.fit(TOKENS, TARGETS, batch_size=2, epochs=2, shuffle=False, verbose=0).history)
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-5)


def test_masks_end_with_their_arrays():
    gc.collect()
    before = len(masks._known)
    x = jnp.ones((2, 3))
    masks.attach(x, x[..., 0] > 0)
    assert len(masks._known) == before + 1
    del x
    model = subclassed(pellucid)
    for _ in range(3):
        jax.block_until_ready(model(TOKENS))
    model.capture(TOKENS)
    gc.collect()
    assert len(masks._known) == before


@pytest.mark.parametrize("k", [keras, pellucid], ids=["keras", "pellucid"])
def test_a_mask_given_by_its_place_is_an_argument_like_any_other(k):
    """Whatever else has a mask in this process: nothing is warned of, and no mask goes on."""
    Table, _, _ = layers_of(k)
    table = Table()
    held = table(k.ops.convert_to_tensor(TOKENS)), table(k.Input((4,)))  # that have masks

    class Own(k.layers.Layer):
        def call(self, x, mask=None):
            return x * k.ops.expand_dims(k.ops.cast(mask, "float32"), -1)

    given = np.array([[True, False]])
    made = Own()(np.ones((1, 2, 3), "float32"), k.ops.convert_to_tensor(given))
    np.testing.assert_array_equal(made[..., 0], [[1, 0]])
    assert len(held) == 2


class Marks(layers.Layer):
    """Hands its inputs on as they are, and says which steps are padding."""

    def call(self, inputs):
        return inputs

    def compute_mask(self, inputs, previous_mask):
        return jnp.any(inputs != 0, axis=-1)


def test_an_input_that_is_handed_on_gets_no_mask_itself():
    x = jnp.ones((2, 3, 4))
    y = Marks()(x)
    assert masks.mask_of(y).shape == (2, 3)
    assert masks.mask_of(x) is None


@pytest.mark.parametrize("transform", [jax.jit, jax.eval_shape, jax.make_jaxpr], ids=lambda f: f.__name__)
def test_masks_of_traced_arrays_end_with_the_trace(transform):
    layer, x = Marks(), jnp.ones((2, 3, 4))
    gc.collect()
    before = len(masks._known)
    jax.eval_shape(layer, x) if transform is jax.eval_shape else transform(lambda x: layer(x).sum())(x)
    gc.collect()
    assert len(masks._known) == before
