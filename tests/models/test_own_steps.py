"""Steps of the user's own: `train_step` and its like run once, as `call` does, and compute what the built-in steps compute."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers, losses, metrics, ops, optimizers
from tests.cases import some_slow
from tests.training.twins import random_data

X, Y = random_data(0, (70, 3), (70, 1))


class Counts:
    def __init__(self):
        self.call, self.train_step = itertools.count(), itertools.count()

    def __eq__(self, other):
        return (repr(self.call), repr(self.train_step)) == tuple(f"count({n})" for n in other)

    __hash__ = None


class Net(pellucid.Model):
    """Counts how often Python runs its methods, with iterators that stay the same objects."""

    def __init__(self, counts=None, rate=0.0):
        super().__init__()
        self.hidden, self.norm = layers.Dense(5, activation="relu"), layers.BatchNormalization()
        self.drop, self.out = layers.Dropout(rate, seed=1), layers.Dense(1)
        self.counts = counts or Counts()

    def call(self, x, training=None):
        next(self.counts.call)
        return self.out(self.drop(self.norm(self.hidden(x), training=training), training=training))


def stepping(base=Net):
    """A subclass with a `train_step` that does what the built-in one does."""

    class Stepping(base):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.mean = metrics.Mean(name="loss")

        def train_step(self, data):
            next(self.counts.train_step)
            x, y = data
            weights = self.trainable_variables

            def loss_of_weights():
                return ops.mean(ops.square(self(x, training=True) - y))

            loss, grads = pellucid.value_and_grad(loss_of_weights, weights)()
            self.optimizer.apply_gradients(zip(grads, weights))
            self.mean.update_state(loss, sample_weight=ops.shape(x)[0])
            return {"loss": self.mean.result()}

    return Stepping


def fixed(model, shape=(None, 3)):
    """A model with weights that depend on their places only."""
    if not model.built:
        model.build(shape)
        generator = np.random.default_rng(5)
        for variable in model.trainable_variables:
            variable.assign(generator.normal(size=variable.shape) / 2)
    return model


def trained(model, optimizer="sgd", epochs=3, rows=70, **options):
    fixed(model)
    model.compile(optimizer, "mse", **options)
    pellucid.utils.set_random_seed(6)
    history = model.fit(X[:rows], Y[:rows], epochs=epochs, verbose=0, validation_split=0.2)
    return history.history


def values(model):
    return [v.numpy() for v in model.variables]


@pytest.mark.parametrize(
    ("optimizer", "eagerly"),
    some_slow([("sgd", False), ("adam", False), ("sgd", True), ("adam", True)], [("sgd", False), ("adam", True)]),
)
def test_a_step_of_ones_own_computes_what_the_built_in_one_does(optimizer, eagerly):
    mine, built_in = stepping()(rate=0.3), Net(rate=0.3)
    histories = [trained(mine, optimizer, run_eagerly=eagerly), trained(built_in, optimizer)]
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(*(history[name] for history in histories), rtol=1e-5)
    for one, other in zip(values(mine), values(built_in), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_call_and_step_run_once_for_training_validation_evaluation_and_prediction():
    counts = Counts()
    model = stepping()(counts, rate=0.5)
    trained(model, epochs=4)  # 56 rows: the last batch has 24, and the validation 14
    model.evaluate(X, Y, batch_size=9, verbose=0)
    model.predict(X[:13], verbose=0)
    model.fit(X, Y, batch_size=20, verbose=0)
    assert counts == (1, 1)
    assert model.ledger.call_count == 1
    assert [(run.of, run.captured) for run in model.ledger] == [("call", True), ("train_step", True)]
    tail = next(p for p in model.ledger.programs if p.purpose == "train" and p.batch_size == 24)
    assert "because `train_step` may compute with all its rows; `train_step` did not run" in tail.reason
    assert "`train_step` captured for the first time" in model.ledger.story()


def test_a_step_is_captured_again_only_for_what_it_read():
    class Scaled(stepping()):
        def __init__(self, counts):
            super().__init__(counts)
            self.scale = 1.0

        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "scale": ops.ones(()) * self.scale}

    counts = Counts()
    model = Scaled(counts)
    assert trained(model)["scale"][-1] == 1.0
    model.optimizer.learning_rate = 0.5
    model.fit(X, Y, verbose=0)
    assert counts == (1, 1)
    model.scale = 3.0
    assert model.fit(X, Y, verbose=0).history["scale"] == [3.0]
    assert counts == (1, 2)
    assert "`self.scale` changed from 1.0 to 3.0" in model.ledger[-1].sentence
    assert f"that of run {len(model.ledger)} of `train_step`" in model.ledger.story()
    model.hidden.trainable = False
    before = model.hidden.kernel.numpy()
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.hidden.kernel.numpy(), before)
    assert "trainable" in model.ledger[-1].sentence


def test_what_an_optimizer_computes_with_may_be_assigned():
    model = stepping()()
    trained(model, optimizers.SGD(0.0, momentum=0.5))
    before = values(model)
    model.optimizer.momentum, model.optimizer.learning_rate = 0.0, 0.1
    model.fit(X, Y, verbose=0, batch_size=70, shuffle=False)
    assert [run.of for run in model.ledger] == ["call", "train_step", "train_step"]
    assert model.ledger[-1].sentence == (
        "captured again because a number or setting that losses, metrics or the optimizer hold has changed"
    )
    twin = Net()
    twin.build((None, 3))
    for variable, value in zip(twin.variables, before, strict=True):
        variable.assign(value)
    twin.compile(optimizers.SGD(0.1), "mse")
    twin.fit(X, Y, verbose=0, batch_size=70, shuffle=False)
    for one, other in zip(values(model), values(twin), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


# ---- The parts ----


class Twice(Net):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2 * super().compute_loss(x, y, y_pred, sample_weight, training)


def test_compute_loss_alone_may_be_the_users():
    one, other = Twice(), Net()
    histories = [trained(one, optimizers.SGD(0.01), metrics=["mae"]), trained(other, optimizers.SGD(0.02), metrics=["mae"])]
    np.testing.assert_allclose(histories[0]["loss"], 2 * np.array(histories[1]["loss"]), rtol=1e-5)
    for name in ("mae", "val_mae"):
        np.testing.assert_allclose(*(history[name] for history in histories), rtol=1e-5)
    np.testing.assert_allclose(histories[0]["val_loss"], 2 * np.array(histories[1]["val_loss"]), rtol=1e-5)
    assert one.ledger.call_count == 1


@pytest.mark.slow
def test_compute_metrics_alone_may_be_the_users():
    class Counting(Net):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            return {**super().compute_metrics(x, y, y_pred, sample_weight), "largest": ops.max(y_pred)}

    model = Counting()
    history = trained(model, metrics=["mae"])
    assert list(history) == ["loss", "mae", "largest", "val_loss", "val_mae", "val_largest"]
    plain = trained(Net(), metrics=["mae"])
    np.testing.assert_allclose(history["mae"], plain["mae"], rtol=1e-5)


def test_test_step_and_predict_step_may_be_the_users():
    class Asking(Net):
        def test_step(self, data):
            x, y = data
            return {"worst": ops.max(ops.abs(self(x, training=False) - y))}

        def predict_step(self, data):
            return -self(data, training=False)

    model = Asking()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    outputs = Net.__call__(model, X).__array__()
    logs = model.evaluate(X, Y, batch_size=70, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["worst"], abs(outputs - Y).max(), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, batch_size=32, verbose=0), -outputs, rtol=1e-5, atol=1e-6)
    assert model.ledger.call_count == 2  # with the one above, which computed at once


def test_metrics_that_call_updates_are_in_the_logs_and_start_anew_in_each_epoch():
    class Measuring(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out, self.size = layers.Dense(1), metrics.Mean(name="size")

        def call(self, x):
            self.size.update_state(ops.mean(ops.abs(x)))
            return self.out(x)

    model = Measuring()
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=35, epochs=2, verbose=0, validation_data=(2 * X, Y)).history
    np.testing.assert_allclose(history["size"], [abs(X).mean()] * 2, rtol=1e-5)
    np.testing.assert_allclose(history["val_size"], [2 * abs(X).mean()] * 2, rtol=1e-5)
    assert model.ledger.call_count == 1


# ---- Several models, optimizers and metrics ----


def adversaries(mean=ops.mean):
    class GAN(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.generator = pellucid.Sequential([layers.Dense(8, activation="relu"), layers.Dense(2)])
            self.judge = pellucid.Sequential([layers.Dense(8, activation="relu"), layers.Dense(1)])
            self.seed = pellucid.random.SeedGenerator(1)
            self.of_judge, self.of_generator = metrics.Mean(name="judge"), metrics.Mean(name="generator")

        def compile(self, judge_optimizer, generator_optimizer):
            super().compile()
            self.judge_optimizer, self.generator_optimizer = judge_optimizer, generator_optimizer

        @property
        def metrics(self):
            return [self.of_judge, self.of_generator]

        def train_step(self, real):
            rows = ops.shape(real)[0]
            noise = pellucid.random.normal((rows, 4), seed=self.seed)

            def judge_loss():
                scores = self.judge(ops.concatenate([self.generator(noise), real], axis=0))
                wanted = ops.concatenate([ops.zeros((rows, 1)), ops.ones((rows, 1))], axis=0)
                return mean(ops.square(scores - wanted))

            def generator_loss():
                return mean(ops.square(self.judge(self.generator(noise)) - 1))

            loss, grads = pellucid.value_and_grad(judge_loss, self.judge.trainable_variables)()
            self.judge_optimizer.apply_gradients(zip(grads, self.judge.trainable_variables))
            other, grads = pellucid.value_and_grad(generator_loss, self.generator.trainable_variables)()
            self.generator_optimizer.apply_gradients(zip(grads, self.generator.trainable_variables))
            self.of_judge.update_state(loss)
            self.of_generator.update_state(other)
            return {m.name: m.result() for m in self.metrics}

    return GAN()


def test_a_gan_runs_the_call_of_each_model_once_and_trains_both():
    model = adversaries()
    model.compile(optimizers.Adam(0.01), optimizers.SGD(0.01))
    history = model.fit(X[:, :2], epochs=3, verbose=0).history
    assert list(history) == ["judge", "generator"] and all(np.isfinite(history[name]).all() for name in history)
    for part in (model.generator, model.judge):
        assert part.ledger.call_count == 1 and "train_step" in part.ledger[0].caller
        assert part.ledger[0].sentence == "captured for the first time, which also made the weights"
    assert model.ledger.call_count == 0  # it has none
    assert "`call` of GAN was not needed." in (story := model.ledger.story("GAN"))
    assert "Other batch sizes read the captured graph: `train_step` does not run again for them." in story and "validation" not in story
    assert [run.of for run in model.ledger] == ["train_step"]
    before = values(model.generator), values(model.judge)
    model.fit(X[:, :2], verbose=0)
    assert len(model.ledger) == 1
    for part, old in zip((model.generator, model.judge), before, strict=True):
        assert any((a != b).any() for a, b in zip(values(part), old, strict=True))
    compiled = model.generator_optimizer.iterations.numpy()
    assert compiled == 4 * 3  # three epochs and one, of three batches


@pytest.mark.slow
def test_a_gan_computes_what_it_does_eagerly():
    def run(**options):
        pellucid.utils.set_random_seed(2)
        model = adversaries()
        model.generator.build((None, 4))
        model.judge.build((None, 2))
        pellucid.Model.compile(model, **options)
        model.judge_optimizer, model.generator_optimizer = optimizers.Adam(0.01), optimizers.SGD(0.01)
        return model.fit(X[:, :2], epochs=2, verbose=0).history, values(model)

    (compiled, weights), (eager, others) = run(), run(run_eagerly=True)
    for name in compiled:
        np.testing.assert_allclose(compiled[name], eager[name], rtol=1e-4)
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_distillation_leaves_the_teacher_as_it_is():
    class Distiller(pellucid.Model):
        def __init__(self, student, teacher):
            super().__init__()
            self.student, self.teacher = student, teacher
            self.distance = losses.MeanSquaredError()

        def call(self, x):
            return self.student(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 0.1 * super().compute_loss(x, y, y_pred, sample_weight) + self.distance(self.teacher(x, training=False), y_pred)

    teacher, student = Net(), Net()
    teacher.trainable = False
    teacher.build((None, 3))
    before = values(teacher)
    model = Distiller(student, teacher)
    model.compile(optimizers.SGD(0.1), "mse")
    history = model.fit(X, Y, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for one, other in zip(values(teacher), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert teacher.ledger.call_count == 1 and model.ledger.call_count == 1


def test_losses_that_nested_models_add_are_seen_by_the_step():
    class Encoder(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(2)

        def call(self, x):
            z = self.out(x)
            self.add_loss(0.5 * ops.mean(ops.square(z)))
            return z

    class Coder(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = Encoder(), layers.Dense(3)

        def call(self, x):
            return self.decoder(self.encoder(x))

    class ByHand(Coder):
        def train_step(self, data):
            weights = self.trainable_variables

            def loss_of_weights():
                out = self.decoder(self.encoder(data))
                (added,) = self.losses
                return ops.mean(ops.square(out - data)) + added

            loss, grads = pellucid.value_and_grad(loss_of_weights, weights)()
            self.optimizer.apply(grads, weights)
            return {"loss": loss}

    def run(model):
        fixed(model).compile(optimizers.SGD(0.1), "mse")
        return model.fit(X, X, batch_size=70, epochs=4, verbose=0).history["loss"]

    class OnItself(ByHand):
        def fit(self, x, y, **options):
            return super().fit(x, **options)

    class ThroughParts(Coder):
        def compute_metrics(self, *args):
            return super().compute_metrics(*args)

    built_in = run(Coder())
    np.testing.assert_allclose(run(OnItself()), built_in, rtol=1e-5)
    np.testing.assert_allclose(run(ThroughParts()), built_in, rtol=1e-5)


def test_a_gradient_with_respect_to_inputs():
    class Penalized(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(1, use_bias=False)

        def call(self, x):
            return self.out(x)

        def train_step(self, x):
            weights = self.trainable_variables

            def penalty():
                slopes = jax.grad(lambda x: self(x).sum())(x)
                return ops.mean(ops.sum(ops.square(slopes), axis=-1))

            value, grads = pellucid.value_and_grad(penalty, weights)()
            self.optimizer.apply(grads, weights)
            return {"penalty": value}

    model = Penalized()
    model.build((None, 3))
    kernel = model.out.kernel.numpy()
    model.compile(optimizers.SGD(0.1))
    penalty = model.fit(X, batch_size=70, verbose=0).history["penalty"][0]
    np.testing.assert_allclose(penalty, (kernel**2).sum(), rtol=1e-5)
    np.testing.assert_allclose(model.out.kernel.numpy(), 0.8 * kernel, rtol=1e-5)  # the slope is the kernel


# ---- The stateless form ----


def stateless(k, jax_tools=jax):
    class Stateless(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.norm = k.layers.Dense(4, activation="relu"), k.layers.BatchNormalization()
            self.out = k.layers.Dense(1)

        def call(self, x, training=None):
            return self.out(self.norm(self.hidden(x), training=training))

        def loss_and_updates(self, trainable, others, x, y, training=False):
            y_pred, others = self.stateless_call(trainable, others, x, training=training)
            return self.compute_loss(x, y, y_pred), (y_pred, others)

        def train_step(self, state, data):
            trainable, others, of_optimizer, of_metrics = state
            x, y = data
            compute = jax_tools.value_and_grad(self.loss_and_updates, has_aux=True)
            (loss, (y_pred, others)), grads = compute(trainable, others, x, y, training=True)
            trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, grads, trainable)
            logs, updated = {}, []
            for metric in self.metrics:
                own = of_metrics[len(updated) : len(updated) + len(metric.variables)]
                if metric.name == "loss":
                    own = metric.stateless_update_state(own, loss)
                else:
                    own = metric.stateless_update_state(own, y, y_pred)
                logs[metric.name] = metric.stateless_result(own)
                updated += own
            return logs, (trainable, others, of_optimizer, updated)

    return Stateless()


def test_the_stateless_form_of_keras_on_jax_gives_the_same_numbers():
    import keras

    theirs, ours = stateless(keras), stateless(pellucid)
    theirs(X)
    ours.build((None, 3))
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        mine.assign(np.asarray(other))
    for model in (theirs, ours):
        model.compile(optimizer="adam", loss="mse")
    options = {"batch_size": 35, "epochs": 4, "shuffle": False, "verbose": 0}
    histories = [model.fit(X, Y, **options).history for model in (ours, theirs)]
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-5)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), np.asarray(other), rtol=1e-4, atol=1e-6)
    assert ours.ledger.call_count == 1 and [run.of for run in ours.ledger] == ["call", "train_step"]


def test_the_stateless_form_of_a_prediction_gets_and_gives_what_keras_hands_on():
    import keras

    def negative(k):
        class Negative(type(stateless(k))):
            def predict_step(self, state, data):
                trainable, others = state
                outputs, others = self.stateless_call(trainable, others, data, training=False)
                return -outputs, others

        return Negative()

    theirs, ours = negative(keras), negative(pellucid)
    theirs(X)
    ours.build((None, 3))
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        mine.assign(np.asarray(other))
    theirs.compile()
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-6)


def test_a_state_of_another_form_is_refused():
    class Forgetful(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(1)

        def call(self, x):
            return self.out(x)

        def train_step(self, state, data):
            return {"loss": 0.0}, state[:2]

    model = Forgetful()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="train_step of Forgetful returned a state of 2 parts; expected 4"):
        model.fit(X, Y, verbose=0)


# ---- Mistakes ----


@pytest.mark.parametrize("returned, told", [(None, "returned None"), (1.0, "returned a float"), ([], "returned a list")])
@pytest.mark.parametrize("eagerly", [False, True])
def test_a_step_returns_logs(returned, told, eagerly):
    class Mute(Net):
        def train_step(self, data):
            return returned

    model = Mute()
    model.compile("sgd", "mse", run_eagerly=eagerly)
    with pytest.raises(TypeError, match=rf"train_step of Mute {told}; expected a dict of the logs"):
        model.fit(X, Y, verbose=0)


def test_side_effects_of_a_step_are_told():
    class Printing(stepping()):
        def train_step(self, data):
            print("stepping")
            return super().train_step(data)

    with pytest.warns(pellucid.SideEffectWarning, match="print ran once, while `train_step` was captured"):
        trained(Printing())


def test_a_step_that_raises_changes_nothing():
    class Failing(stepping()):
        def train_step(self, data):
            logs = super().train_step(data)
            if self.fails:
                raise RuntimeError("no")
            return logs

    model = Failing()
    model.fails = False
    trained(model)
    before = values(model)
    model.fails = True
    with pytest.raises(RuntimeError, match="no"):
        model.fit(X, Y, verbose=0)
    for one, other in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(one, other)
    model.fails = False
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


def test_what_is_not_finite_is_blamed_and_undone():
    class Rooted(stepping()):
        def call(self, x, training=None):
            return super().call(ops.sqrt(x), training=training)

    model = Rooted()
    x = abs(X)
    model.compile("sgd", "mse", nan="raise")
    model.fit(x, Y, verbose=0)
    before = values(model)
    x[40, 0] = -1.0
    with pytest.raises(pellucid.NonFiniteError, match="epoch 1, batch 2:.*`sqrt`"):
        model.fit(x, Y, verbose=0, shuffle=False, epochs=2)
    x[40, 0] = 1.0
    assert np.isfinite(values(model)[0]).all() and len(before) == len(values(model))
    assert np.isfinite(model.fit(x, Y, verbose=0).history["loss"]).all()


def test_single_batches():
    model, twin = stepping()(), Net()
    for m in (model, twin):
        m.build((None, 3))
        m.compile("sgd", "mse")
    for mine, other in zip(model.variables, twin.variables, strict=True):
        other.assign(mine.value)
    for rows in (20, 9):
        np.testing.assert_allclose(model.train_on_batch(X[:rows], Y[:rows]), twin.train_on_batch(X[:rows], Y[:rows]), rtol=1e-5)
    assert model.ledger.call_count == 1


class Penalised(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1, kernel_initializer="ones")

    def call(self, x):
        y = self.out(x)
        self.add_loss(2.0 * jnp.mean(y))
        return y


def test_losses_that_layers_add_count_in_compute_loss_and_updates():
    model, x, y = Penalised(), jnp.ones((4, 2)), jnp.zeros((4, 1))
    model.compile(loss="mse")
    model.build((None, 2))
    values = [v.value for v in model.trainable_variables]

    @jax.jit
    def step(values):
        return jax.value_and_grad(model.compute_loss_and_updates, has_aux=True)(values, [], [], x, y)

    with jax.checking_leaks():
        (loss, _), _ = step(values)
    assert float(loss) == 4.0 + 4.0
    assert model.losses == []
