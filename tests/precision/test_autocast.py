"""What is cast in a layer of mixed precision: inputs and trained weights, once each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops
from tests.precision.helpers import CLASSES, casts, classifier, data, reads, train_programs

BOTH = pytest.mark.parametrize("k", [keras, pellucid], ids=["keras", "pellucid"])
MIXED = pytest.mark.parametrize("policy, dtype", [("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")])


class Probe(layers.Layer):
    """Notes the types that ``call`` sees."""

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1],), "ones", name="w")
        self.kept = self.add_weight((), "ones", name="kept", autocast=False)
        self.state = self.add_weight((), "zeros", trainable=False, name="state")
        self.count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")

    def call(self, x, more=None):
        seen = {"x": x, "more": more, "w": self.w, "value": self.w.value, "kept": self.kept, "state": self.state, "count": self.count}
        found = {name: str(v.dtype) for name, v in seen.items() if v is not None}
        found["product"] = str((self.w * 2).dtype)
        found["jnp"] = str(jnp.add(self.w, self.w).dtype)
        pellucid.testing.seen = found
        return x * self.w


@MIXED
@pytest.mark.parametrize("captured", [False, True], ids=["eager", "captured"])
def test_inputs_and_trained_weights_are_cast_and_state_is_not(policy, dtype, captured):
    layer = Probe(dtype=policy)
    x = np.ones((2, 3), "float32")
    y = layer(pellucid.Input((3,)), more=pellucid.Input((3,))) if captured else layer(x, more=jnp.ones(2))
    half = dict.fromkeys(("x", "more", "w", "value", "product", "jnp"), dtype)
    assert pellucid.testing.seen == {**half, "kept": "float32", "state": "float32", "count": "int32"}
    assert str(y.dtype) == dtype
    assert {str(w.dtype) for w in layer.weights} == {"float32", "int32"}  # outside of `call` they are what they are
    assert layer.w.value.dtype == "float32" and layer.w.numpy().dtype == "float32"


@BOTH
@pytest.mark.parametrize("given", ["float16", "float32", "int32", "bool"])
def test_floats_become_what_a_layer_computes_in_and_others_stay(k, given):
    x = k.ops.convert_to_tensor(np.ones((2, 3), given))
    identity = k.layers.Identity
    assert str(identity(dtype="mixed_bfloat16")(x).dtype) == ("bfloat16" if "float" in given else given)
    assert str(identity(dtype="float32")(x).dtype) == ("float32" if "float" in given else given)
    assert str(identity(dtype="mixed_bfloat16", autocast=False)(x).dtype) == given


def test_autocast_false_leaves_inputs_and_weights():
    layer = Probe(dtype="mixed_bfloat16", autocast=False)
    assert layer(np.ones((2, 3), "float32")).dtype == "float32"
    assert set(pellucid.testing.seen.values()) == {"float32", "int32"}


def test_a_layer_inside_another_has_a_policy_of_its_own():
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.inner = layers.Dense(2, dtype="float32")

        def build(self, shape):
            self.w = self.add_weight((), "ones")

        def call(self, x):
            y = self.inner(x)
            return y, self.w.value, x

    y, w, x = Outer()(np.ones((2, 3), "float32"))
    assert (y.dtype, w.dtype, x.dtype) == ("float32", "bfloat16", "bfloat16")


def test_what_a_layer_assigns_keeps_its_own_precision():
    class Counter(layers.Layer):
        def build(self, shape):
            self.total = self.add_weight((), "zeros", trainable=False)
            self.w = self.add_weight((), "ones")

        def call(self, x):
            self.total.assign_add(1.0)
            self.w.assign_add(1.0)
            return x

    layer = Counter(dtype="mixed_bfloat16")
    for _ in range(300):
        layer(np.ones(1, "float32"))
    assert float(layer.total) == 300 and float(layer.w) == 301  # bfloat16 would stop at 256


# ---- Counts of casts ----


def test_the_graph_reads_each_weight_once_and_casts_the_input_once():
    class Twice(pellucid.Model):
        def __init__(self):
            super().__init__(dtype="mixed_bfloat16")
            self.shared, self.head = layers.Dense(6, dtype="mixed_bfloat16"), layers.Dense(1, dtype="float32")

        def build(self, shape):
            self.scale = self.add_weight((6,), "ones", name="scale")

        def call(self, x):
            for _ in range(3):
                x = self.shared(x) * self.scale + self.scale
            return self.head(ops.scan(lambda c, _: (c * self.scale, None), x, length=2)[0])

    model = Twice()
    model.compile("sgd", "mse")
    x = np.ones((8, 6), "float32")
    model.fit(x, x[:, :1], verbose=0)
    halves = {"shared/kernel", "shared/bias", "scale"}
    weights = {("head/kernel", "float32"), ("head/bias", "float32"), *((path, "bfloat16") for path in halves)}
    found = [(path.removeprefix("twice/"), dtype) for path, dtype in reads(model.graph.jaxpr)]
    assert sorted(found) == sorted(weights)
    assert len(casts(model.graph.jaxpr, "bfloat16")) == 1 and len(casts(model.graph.jaxpr, "float32")) == 1  # the head's input
    (program,) = train_programs(model)
    cast = casts(program.step.jaxpr, "bfloat16")
    assert [cast.count(shape) for shape in ((6, 6), (6,), (8, 6))] == [
        1,
        2,
        2,
    ]  # kernel; bias and scale; the input, and the gradient from the head
    assert cast.count((8, 6)) + cast.count((6, 6)) + cast.count((6,)) + cast.count((8, 1)) == len(cast)
    back = casts(program.step.jaxpr, "float32")
    assert [back.count(shape) for shape in ((6, 6), (6,))] == [1, 2]  # gradients reach the weights in float32
    assert model.ledger.call_count == 1


def test_a_float32_model_has_no_casts_and_the_equations_it_had():
    model = classifier(pellucid, "float32")
    model.compile("adam", "mse")
    x, _ = data()
    model.fit(x, x[:, :CLASSES], batch_size=32, verbose=0)
    (program,) = train_programs(model)
    jaxpr = program.step.jaxpr
    assert not [shape for to in ("float32", "bfloat16", "float16") for shape in casts(jaxpr, to) if shape not in ((), (1,))]


def test_gradients_of_a_cast_weight_in_every_nesting_reach_the_float32_weight():
    w = pellucid.Variable(np.full(3, 2.0, "float32"))

    class Nested(layers.Layer):
        def __init__(self, how):
            super().__init__(dtype="mixed_bfloat16")
            self.w, self.how = w, how

        def call(self, x):
            return self.how(lambda y: y * self.w, x)

    ways = {
        "plain": lambda f, x: f(x),
        "jit": lambda f, x: jax.jit(f)(x),
        "remat": lambda f, x: jax.checkpoint(f)(x),
        "scan": lambda f, x: ops.scan(lambda c, _: (f(c), None), x, length=1)[0],
        "cond": lambda f, x: ops.cond(jnp.sum(x) > 0, f, lambda y: y, x),
        "twice": lambda f, x: f(x) + jax.jit(f)(x) - f(x),
    }
    x = jnp.arange(1.0, 4.0)
    for name, how in ways.items():
        layer = Nested(how)
        model = pellucid.Sequential([pellucid.Input((3,), batch_size=1), layer])  # captured, and run by its graph
        for call in (layer, model):
            _, (gradient,) = pellucid.value_and_grad(lambda call=call: call(x[None]).astype("float32").sum(), [w])()
            assert gradient.dtype == "float32" and gradient.tolist() == [1.0, 2.0, 3.0], name


# ---- Training, as Keras does it ----

TOLERANCE = {"mixed_bfloat16": 0.02, "mixed_float16": 0.003}  # a few units in the last place, over 20 steps


@pytest.mark.parametrize(
    "policy, steps",
    [
        ("mixed_bfloat16", "fit"),
        ("mixed_float16", "own"),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("mixed_float16", "fit"), ("mixed_bfloat16", "own"))),
    ],
)
def test_twenty_steps_agree_with_keras(policy, steps):
    x, y = data()
    models, histories = {}, {}
    for k in (keras, pellucid):
        model = classifier(k, policy)
        loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(k.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
        if steps == "own" and k is pellucid:
            model = classifier(own_training(), policy)
            model.compile(k.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
        histories[k] = model.fit(x, y, batch_size=32, epochs=20, shuffle=False, verbose=0).history
        models[k] = model
    ours, theirs = models[pellucid], models[keras]
    assert {str(w.dtype) for w in ours.weights} == {"float32"}
    assert ours.ledger.call_count == 2  # one of them the eager call that made the weights
    np.testing.assert_allclose(histories[pellucid]["loss"], histories[keras]["loss"], rtol=TOLERANCE[policy])
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=TOLERANCE[policy], atol=TOLERANCE[policy])
    assert ours.predict(x, verbose=0).dtype == "float32"
    if policy == "mixed_float16":
        assert isinstance(ours.optimizer, pellucid.optimizers.LossScaleOptimizer)
        assert float(ours.optimizer.dynamic_scale) == float(np.asarray(theirs.optimizer.dynamic_scale))


def own_training():
    """Pellucid with a model whose train_step is the user's."""

    class Model(pellucid.Model):
        def train_step(self, batch):
            x, y = batch

            def scaled():
                y_pred = self(x, training=True)
                loss = self.compute_loss(x, y, y_pred)
                return self.optimizer.scale_loss(loss), (loss, y_pred)

            (_, (loss, y_pred)), grads = pellucid.value_and_grad(scaled, self.trainable_variables, has_aux=True)()
            self.optimizer.apply(grads, self.trainable_variables)
            for metric in self.metrics:
                metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    class Library:
        layers = pellucid.layers

    Library.Model = Model
    return Library


@BOTH
def test_batch_normalization_computes_in_float32_and_gives_half_precision(k):
    norm = k.layers.BatchNormalization(dtype="mixed_float16", momentum=0.5)
    x = np.array([[300.0], [310.0], [320.0], [330.0]], "float16")  # squares overflow float16
    y = norm(x, training=True)
    assert str(y.dtype) == "float16" and np.isfinite(np.asarray(y)).all()
    np.testing.assert_allclose(np.asarray(norm.moving_variance), [0.5 + 0.5 * 125], rtol=1e-6)
    assert {str(w.dtype) for w in norm.weights} == {"float32"}
    np.testing.assert_allclose(np.asarray(y, "float32")[:, 0], (x[:, 0] - 315.0) / np.sqrt(125.001), rtol=2e-3)


def test_normalization_of_large_numbers_loses_nothing():
    norm = layers.Normalization(dtype="mixed_bfloat16")
    x = np.array([[100_000.0], [100_001.0], [100_002.0]])
    norm.adapt(x)
    y = norm(x)
    assert y.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(y, "float32")[:, 0], [-1.2247, 0, 1.2247], rtol=5e-3)


@pytest.mark.parametrize("metric", ["mse", "accuracy", "Precision"])
def test_losses_and_metrics_are_computed_in_float32(metric):
    from pellucid import losses, metrics

    y_true = (np.arange(4000) % 2).astype("float32")[:, None]
    y_pred = jnp.asarray(np.linspace(0, 1, 4000)[:, None], "bfloat16")
    made = metrics.get(metric)
    theirs = keras.metrics.get(metric)
    made.update_state(y_true, y_pred)
    theirs.update_state(y_true, np.asarray(y_pred, "float32"))
    result = made.result()
    assert result.dtype == "float32"
    np.testing.assert_allclose(result, theirs.result(), rtol=1e-5)
    loss = losses.MeanSquaredError()(y_true, y_pred)
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, keras.losses.MeanSquaredError()(y_true, np.asarray(y_pred, "float32")), rtol=1e-6)


def test_a_mixed_model_pads_rows_runs_call_once_and_shows_its_types():
    pellucid.config.set_dtype_policy("mixed_bfloat16")
    model = pellucid.Sequential([pellucid.Input((6,)), layers.Dense(4, activation="relu"), layers.Dense(1, dtype="float32")])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")
    with pellucid.testing.assert_captures(model, exactly=1):
        model.fit(x, x[:, :1], batch_size=32, verbose=0)
        whole = model.predict(x, batch_size=32, verbose=0)
    assert len(train_programs(model)) == 1  # the last batch, of 6 rows, is padded
    np.testing.assert_array_equal(whole[:7], model.predict(x[:7], verbose=0))
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    shown = "\n".join(lines)
    assert "(None, 4) bfloat16" in shown and "float32" not in shown
