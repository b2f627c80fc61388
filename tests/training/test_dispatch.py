"""Many steps in one dispatch, in any thread, with callbacks that use the model in between."""

import os
import pty
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.callbacks import Callback
from pellucid.training.programs import Action, interrupts_held
from tests.training.twins import random_data

X, Y = random_data(12, (24, 3), (24, 1))


class Line(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, inputs):
        return self.out(inputs)


def compiled(like=None, **arguments):
    model = Line()
    model.capture((None, 3))
    if like is not None:
        model.set_weights(like.get_weights())
    model.compile(**{"optimizer": pellucid.optimizers.SGD(0.05, momentum=0.9), "loss": "mse", **arguments})
    return model


def fit(model, **arguments):
    return model.fit(**{"x": X, "y": Y, "batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, **arguments}).history


def assert_equal_weights(a, b):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_epoch_longer_than_a_dispatch_is_exact():
    """1,201 steps go in three loops or more, and one step at a time."""
    x, y = random_data(1, (1201, 3), (1201, 1))
    loops = compiled(optimizer=pellucid.optimizers.SGD(0.001))
    single = compiled(like=loops, optimizer=pellucid.optimizers.SGD(0.001), steps_per_execution=1)
    a, b = (fit(m, x=x, y=y, batch_size=1) for m in (loops, single))
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
    for one, other in zip(loops.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert int(loops.optimizer.iterations) == 2402


def test_the_same_data_again_need_no_new_program():
    model = compiled()
    for _ in range(3):
        fit(model, validation_data=(X[:5], Y[:5]))
        model.predict(X, batch_size=4, verbose=0)
    assert [p.purpose for p in sorted(model.ledger.programs, key=lambda p: p.purpose)] == ["predict", "test", "train"]


# ---- Callbacks that use the model ----

USES = {
    "predict": lambda model: model.predict(X[:3], verbose=0),
    "evaluate": lambda model: model.evaluate(X, 9 * Y, verbose=0),
    "test_on_batch": lambda model: model.test_on_batch(X, 9 * Y),
    "get_weights": lambda model: model.get_weights(),
    "an eager call": lambda model: model(X[:2]),
    "summary": lambda model: model.summary(print_fn=lambda text: None),
}


@pytest.fixture(scope="module")
def undisturbed():
    """(weights before, history, weights after) of training where no callback uses the model, once there is one."""
    return []


@pytest.mark.parametrize(
    "use, hook",
    [
        *((use, "on_epoch_end") for use in USES),
        *((use, "on_train_batch_end") for use in USES if use != "summary"),
        ("evaluate", "on_train_batch_begin"),
    ],
)
def test_a_callback_that_uses_the_model_disturbs_nothing(use, hook, undisturbed):
    def using(self, number, logs=None):
        USES[use](self.model)

    model = compiled(metrics=["mae"])
    if not undisturbed:
        other = compiled(like=model, metrics=["mae"])
        undisturbed.append((model.get_weights(), fit(other, validation_data=(X, Y)), other.get_weights()))
    before, expected, weights = undisturbed[0]
    model.set_weights(before)
    history = fit(model, callbacks=[type("Using", (Callback,), {hook: using})()], validation_data=(X, Y))
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
    for mine, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_weights_set_after_a_batch_count_in_the_next():
    class Sets(Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.set_weights([np.full((3, 1), batch, "float32"), np.zeros(1, "float32")])

    model = compiled(optimizer=pellucid.optimizers.SGD(0.0))
    fit(model, epochs=1, callbacks=[Sets()])
    assert np.array_equal(model.get_weights()[0], np.full((3, 1), 5))


def test_another_fit_inside_a_callback_trains_and_lets_the_outer_one_go_on():
    class Nested(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                fit(self.model, epochs=1)

    model = compiled()
    expected = compiled(like=model)
    fit(model, epochs=2, callbacks=[Nested()])
    fit(expected, epochs=3)
    assert_equal_weights(model, expected)


# ---- Losses and metrics that compile is told ----


def test_a_metric_with_and_without_weights_has_two_names():
    weights = np.linspace(0, 2, 24, dtype="float32")
    model = compiled(optimizer=pellucid.optimizers.SGD(0.0), metrics=["mae"], weighted_metrics=["mae"])
    history = fit(model, epochs=1, sample_weight=weights)
    errors = np.abs(model.predict(X, verbose=0) - Y)[:, 0]
    assert list(history) == ["loss", "mae", "weighted_mae"]
    np.testing.assert_allclose(history["mae"], errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(history["weighted_mae"], np.average(errors, weights=weights), rtol=1e-5)


def test_a_model_may_train_on_the_losses_that_it_adds_alone():
    class Encoder(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.code, self.out = layers.Dense(1, use_bias=False), layers.Dense(3, use_bias=False)

        def call(self, inputs):
            y = self.out(self.code(inputs))
            self.add_loss(jnp.mean((y - inputs) ** 2))
            return y

    model = Encoder()
    model.compile(optimizer=pellucid.optimizers.SGD(0.05))
    first, *_, last = fit(model, y=None, epochs=20)["loss"]
    assert last < first
    y = model.predict(X, verbose=0)
    np.testing.assert_allclose(model.evaluate(X, verbose=0), np.mean((y - X) ** 2), rtol=1e-5)


def test_metrics_of_one_name_have_names_of_their_own():
    mae = pellucid.metrics.MeanAbsoluteError
    model = compiled(metrics=[mae(name="m"), mae(name="m"), mae(name="loss")], weighted_metrics=[mae(name="m"), mae(name="m")])
    history = fit(model, epochs=1)
    assert list(history) == ["loss", "m", "m_1", "loss_1", "weighted_m", "weighted_m_1"]
    assert history["m"] == history["m_1"] == history["weighted_m"]


def test_one_metric_object_for_two_uses_is_refused():
    metric = pellucid.metrics.MeanAbsoluteError(name="error")
    model = compiled(metrics=[metric], weighted_metrics=[metric])
    with pytest.raises(ValueError, match="compile: the metric object 'error' is given more than once"):
        fit(model)


@pytest.mark.parametrize("reduction", ["none", None])
@pytest.mark.parametrize("use", [fit, lambda model: model.evaluate(X, Y, verbose=0)], ids=["fit", "evaluate"])
def test_losses_that_are_not_reduced_are_named(use, reduction):
    model = compiled(loss=pellucid.losses.MeanSquaredError(reduction=reduction))
    before = model.get_weights()
    with pytest.raises(ValueError, match="the loss 'mean_squared_error' of output 'out' gives shape .*reduction='sum_over_batch_size'"):
        use(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


# ---- Data ----


def test_none_among_the_inputs_is_handed_on():
    class Optional(Line):
        def call(self, inputs):
            x, mask = inputs
            assert mask is None
            return self.out(x)

    model = Optional()
    model.compile(optimizer="sgd", loss="mse")
    assert np.isfinite(fit(model, x=(X, None))["loss"][0])


def test_tables_are_the_arrays_that_they_hold():
    class Table:
        def __init__(self, array):
            self.array = array

        def to_numpy(self):
            return self.array

    model = compiled(optimizer=pellucid.optimizers.SGD(0.0))
    np.testing.assert_allclose(fit(model, x=Table(X), y=Table(Y))["loss"], fit(model)["loss"], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool", "float16"])
def test_inputs_of_every_type_of_number(dtype):
    x = (np.arange(72).reshape(24, 3) % 5).astype(dtype)
    model = compiled(optimizer=pellucid.optimizers.SGD(0.0))
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(fit(model, x=x, epochs=1)["loss"], np.mean((x.astype("float32") @ kernel + bias - Y) ** 2), rtol=1e-3)


# ---- Threads and interrupts ----


def test_fit_works_in_a_thread_of_its_own():
    model = compiled()
    expected = compiled(like=model)
    thread = threading.Thread(target=fit, args=[model])
    thread.start()
    thread.join(60)
    fit(expected)
    assert_equal_weights(model, expected)


def test_ctrl_c_waits_for_the_end_of_what_must_not_be_cut():
    reached = []
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_held():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(1)
        for _ in range(100):
            pass
        reached.append(2)
    assert reached == [1, 2] and signal.getsignal(signal.SIGINT) is handler
    with interrupts_held():
        pass
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_users_own_handler_is_called_once_after_the_dispatch():
    calls = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        with interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            assert calls == []
        assert calls == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


# ---- A terminal ----


def test_in_a_terminal_a_bar_is_drawn_and_the_last_line_is_whole():
    script = """
        import numpy as np, pellucid
        class Line(pellucid.Model):
            def __init__(self):
                super().__init__()
                self.out = pellucid.layers.Dense(1)
            def call(self, inputs):
                return self.out(inputs)
        x = np.ones((640, 2), "float32")
        model = Line()
        model.compile(optimizer="sgd", loss="mse")
        model.fit(x, x[:, :1], epochs=2, validation_data=(x, x[:, :1]))
        model.evaluate(x, x[:, :1])
        print("the end")
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "TERM": "xterm", "COLUMNS": "160"}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, stdout=theirs, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    errors = process.communicate(timeout=60)[1]
    os.close(ours)
    assert process.returncode == 0 and errors == ""
    text = shown.decode()
    for words in ("Epoch 1/2", "Epoch 2/2", "20/20", "loss: ", "val_loss: ", "the end"):
        assert words in text
    assert text.rstrip().splitlines()[-1] == "the end"


def test_an_action_is_compiled_while_others_may_read_and_interrupt():
    """XLA may take long: neither the lock of the arrays nor Ctrl-C waits for it."""
    weight, free = pellucid.Variable([1.0]), []
    handler = signal.getsignal(signal.SIGINT)
    action = Action(lambda: weight.assign(weight * 2))
    pure = action._pure

    def traced(written, read):
        done = threading.Event()
        threading.Thread(target=lambda: (np.asarray(weight), done.set())).start()
        free.append(done.wait(5) and signal.getsignal(signal.SIGINT) is handler)
        return pure(written, read)

    action._jitted = jax.jit(traced, donate_argnums=0)
    action()
    action()
    assert free == [True] and weight.value.tolist() == [4.0]


def test_a_weight_added_after_fit_is_trained_by_the_next():
    model = compiled(optimizer=pellucid.optimizers.SGD(0.1, weight_decay=0.5))
    fit(model, epochs=1)
    extra = model.out.add_weight((), "ones", name="extra")
    fit(model, epochs=1)
    np.testing.assert_allclose(extra, 0.95 ** (len(X) / 4), rtol=1e-5)
