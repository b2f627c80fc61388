"""Whatever is wrong is named, and costs nothing: the weights stay what they were, and training goes on with good data."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.errors import DataWarning
from tests.cases import some_slow
from tests.training.twins import random_data

X, Z, Y = random_data(7, (12, 3), (12, 4), (12, 1))
NAN = np.where(np.arange(36).reshape(12, 3) % 9 == 0, np.nan, X)


class One(pellucid.Model):
    def __init__(self, units=1):
        super().__init__()
        self.out = layers.Dense(units)

    def call(self, inputs):
        return self.out(inputs)


class Two(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Dense(1), layers.Dense(1)

    def call(self, inputs):
        a, b = inputs
        return self.left(a), self.right(b)


class Named(Two):
    def call(self, inputs):
        left, right = super().call(inputs)
        return {"left": left, "right": right}


def trained(model, x, y):
    model.compile(optimizer=pellucid.optimizers.SGD(0.01, momentum=0.9), loss="mse")
    model.fit(x, y, verbose=0)
    return model


@pytest.fixture(scope="module")
def models():
    """Trained models by name, with the data that they were trained on."""
    made = {"one": (One(), X, Y), "two": (Two(), [X, Z], [Y, Y]), "named": (Named(), [X, Z], {"left": Y, "right": Y})}
    return {name: (trained(*args), *args[1:]) for name, args in made.items()}


def unharmed(model, x, y, wrong, error, *words, fits_after=True):
    """``wrong`` raises an error that has the words; the model is as good as before."""
    before = model.get_weights()
    with pytest.raises(error) as caught:
        wrong(model)
    message = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert all(word in message for word in words), message
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    if fits_after:
        (loss,) = model.fit(x, y, verbose=0).history["loss"]
        assert np.isfinite(loss) and not np.array_equal(before[0], model.get_weights()[0])


ANY = (pellucid.CaptureError, ValueError, TypeError)

# which model, arguments of fit that differ from good ones, the error, words of its message
FIT = {
    "one array in x for two": ("two", {"x": [X]}, ANY, ["Two.call", ", 3)]", "test_bad_input.py"]),
    "three arrays in x for two": ("two", {"x": [X, Z, X]}, ANY, ["Two.call", ", 4), "]),
    "an array in x for a list": ("two", {"x": X}, ANY, ["Two.call"]),
    "a list in x for an array": ("one", {"x": [X, Z]}, ANY, ["Dense", "(None, 3)", "(None, 4)"]),
    "other features than before": ("one", {"x": Z}, ANY, ["'out'", "3", "4"]),
    "one array in y for two": ("two", {"y": Y}, ValueError, ["y holds 1", "2 outputs", "left, right"]),
    "three arrays in y for two": ("two", {"y": [Y, Y, Y]}, ValueError, ["y holds 3", "2 outputs"]),
    "two arrays in y for one": ("one", {"y": [Y, Y]}, ValueError, ["y holds 2", "out"]),
    "no y": ("one", {"y": None}, ValueError, ["y has no target", "'out'"]),
    "y names an unknown output": ("two", {"y": {"left": Y, "rigth": Y}}, ValueError, ["'rigth'", "'right'"]),
    "y lacks an output": ("two", {"y": {"left": Y}}, ValueError, ["no target", "'right'"]),
    "y names an output that the dict lacks": ("named", {"y": {"left": Y, "rihgt": Y}}, ValueError, ["'rihgt'", "'right'"]),
    "y with one column for two": ("one", {"y": np.ones((12, 2))}, ValueError, ["(12, 2)", "(12, 1)", "mean_squared_error"]),
    "fewer rows in y": ("one", {"y": Y[:5]}, ValueError, ["x has 12 rows", "y has 5"]),
    "fewer rows in one of x": ("two", {"x": [X, Z[:5]]}, ValueError, ["x[0] has 12 rows", "x[1] has 5"]),
    "fewer weights than rows": ("one", {"sample_weight": np.ones(3)}, ValueError, ["sample_weight has 3"]),
    "weights of a wrong shape": ("one", {"sample_weight": np.ones((12, 3))}, ValueError, ["sample_weight", "(12, 3)"]),
    "too many weights": ("one", {"sample_weight": [np.ones(12), np.ones(12)]}, ValueError, ["sample_weight holds 2"]),
    "weights name an unknown output": ("two", {"sample_weight": {"lfet": np.ones(12)}}, ValueError, ["'lfet'", "'left'"]),
    "no rows": ("one", {"x": X[:0], "y": Y[:0]}, ValueError, ["x is empty", "(0, 3)"]),
    "no x": ("one", {"x": None}, ValueError, ["x=None"]),
    "an empty list": ("one", {"x": []}, ValueError, ["x holds no array"]),
    "a number": ("one", {"x": 3.0}, ValueError, ["x is a single number"]),
    "objects": ("one", {"x": X.astype(object)}, ValueError, ["x has dtype object", "astype"]),
    "strings": ("one", {"x": X.astype(str)}, ValueError, ["x has dtype <U"]),
    "object targets": ("one", {"y": Y.astype(object)}, ValueError, ["y has dtype object"]),
    "dates": ("one", {"x": np.zeros((12, 3), "datetime64[s]")}, ValueError, ["x has dtype datetime64"]),
    "a ragged list": ("one", {"x": [[1.0, 2.0], [3.0]]}, ValueError, ["x[0][0]"]),
    **{f"batch_size={v!r}": ("one", {"batch_size": v}, ValueError, [f"batch_size={v!r}"]) for v in (0, -1, 2.5, "8", True)},
    **{f"epochs={v!r}": ("one", {"epochs": v}, ValueError, [f"epochs={v!r}"]) for v in (0, -2, 1.5, None, "3")},
    **{f"validation_split={v!r}": ("one", {"validation_split": v}, ValueError, [f"validation_split={v!r}"]) for v in (1.0, -0.1, "half")},
    "validation_split leaves no rows": ("one", {"validation_split": 0.99}, ValueError, ["validation_split=0.99", "12 rows"]),
    **{f"verbose={v!r}": ("one", {"verbose": v}, ValueError, [f"verbose={v!r}"]) for v in (3, -1, "yes")},
    **{f"initial_epoch={v!r}": ("one", {"initial_epoch": v, "epochs": 3}, ANY, [f"initial_epoch={v!r}"]) for v in (-1, "1", 0.5)},
    **{
        f"validation_freq={v!r}": ("one", {"validation_freq": v, "validation_data": (X, Y)}, ANY, [f"validation_freq={v!r}"])
        for v in (0, -1, "2", [1.5], [1, "a"], [0], {True})
    },
    **{
        f"validation_batch_size={v!r}": (
            "one", {"validation_batch_size": v, "validation_data": (X, Y)}, ValueError, [f"validation_batch_size={v!r}"],
        )
        for v in (0, -1, 2.5)
    },
    "a number among the callbacks": ("one", {"callbacks": [5]}, TypeError, ["callbacks", "5"]),
    "a function among the callbacks": ("one", {"callbacks": [print]}, TypeError, ["callbacks", "print"]),
    "callbacks is a number": ("one", {"callbacks": 5}, TypeError, ["callbacks"]),
    "a callback's class": ("one", {"callbacks": [pellucid.callbacks.EarlyStopping]}, TypeError, ["callbacks", "EarlyStopping"]),
    "validation_data without targets": ("one", {"validation_data": (X,)}, ValueError, ["validation_data", "(x, y)"]),
    "validation_data is an array": ("one", {"validation_data": X}, ValueError, ["validation_data", "ndarray"]),
    "validation_data of four": ("one", {"validation_data": (X, Y, Y, Y)}, ValueError, ["validation_data", "(x, y)"]),
    "validation_data is a dict": ("one", {"validation_data": {"x": X, "y": Y}}, ValueError, ["validation_data", "dict"]),
    "fewer rows in validation targets": ("one", {"validation_data": (X, Y[:3])}, ValueError, ["validation_data", "y has 3"]),
    "validation targets for two": ("one", {"validation_data": (X, [Y, Y])}, ValueError, ["y holds 2"]),
    "validation targets of a wrong shape": ("one", {"validation_data": (X, np.ones((12, 2)))}, ValueError, ["(12, 2)", "(12, 1)"]),
    "validation inputs of a wrong shape": ("one", {"validation_data": (Z, Y)}, ANY, ["'out'", "(None, 4)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", FIT)
def test_fit_names_what_is_wrong_and_harms_nothing(models, case):
    name, arguments, error, words = FIT[case]
    model, x, y = models[name]
    unharmed(model, x, y, lambda m: m.fit(**{"x": x, "y": y, "verbose": 0, **arguments}), error, *words)


# arguments of compile that differ from good ones, the error, words of its message; for the model with two outputs
COMPILE = {
    "unknown loss": ({"loss": "msee"}, ValueError, ["'msee'", "'mse'"]),
    "unknown loss in a list": ({"loss": ["mse", "mean_sqared_error"]}, ValueError, ["'mean_sqared_error'", "'mean_squared_error'"]),
    "no loss": ({"loss": 5}, TypeError, ["5", "loss"]),
    "unknown optimizer": ({"optimizer": "addam"}, ValueError, ["'addam'", "'adam'"]),
    "no optimizer": ({"optimizer": 5}, TypeError, ["5", "optimizer"]),
    "unknown metric": ({"metrics": [["acuracy"], []]}, ValueError, ["'acuracy'", "ccuracy"]),
    "unknown weighted metric": ({"weighted_metrics": [["maee"], []]}, ValueError, ["'maee'", "Did you mean"]),
    **{f"steps_per_execution={v!r}": ({"steps_per_execution": v}, ValueError, [f"steps_per_execution={v!r}"]) for v in (0, -1, 1.5, "a")},
    "steps_per_execution=True": ({"steps_per_execution": True}, ValueError, ["steps_per_execution=True"]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPILE)
def test_compile_names_what_is_wrong_and_keeps_the_old_settings(models, case):
    arguments, error, words = COMPILE[case]
    model, x, y = models["two"]
    optimizer, loss = model.optimizer, model.loss
    unharmed(model, x, y, lambda m: m.compile(**{"optimizer": "sgd", "loss": "mse", **arguments}), error, *words)
    assert model.optimizer is optimizer and model.loss == loss


# what only the outputs can tell: known when fit sees them
AT_FIT = {
    "loss list too short": ({"loss": ["mse"]}, ["loss has 1", "left, right"]),
    "loss list too long": ({"loss": ["mse"] * 3}, ["loss has 3", "expected 2"]),
    "loss for an unknown output": ({"loss": {"left": "mse", "rigth": "mse"}}, ["'rigth'", "'right'"]),
    "loss_weights too short": ({"loss_weights": [1.0]}, ["loss_weights has 1"]),
    "loss_weights is a number": ({"loss_weights": 0.5}, ["loss_weights=0.5"]),
    "loss_weights for an unknown output": ({"loss_weights": {"z": 1.0}}, ["loss_weights", "'z'"]),
    "loss_weights of text": ({"loss_weights": ["a", "b"]}, ["loss_weights", "'a'"]),
    "metrics for an unknown output": ({"metrics": {"z": "mae"}}, ["metrics", "'z'"]),
    "metrics for too many outputs": ({"metrics": [["mae"], ["mae"], ["mae"]]}, ["metrics has 3"]),
    "no loss at all": ({"loss": None}, ["loss=None"]),
}


@pytest.mark.parametrize("case", AT_FIT)
def test_settings_that_do_not_fit_the_outputs_are_named(models, case):
    arguments, words = AT_FIT[case]
    model, x, y = models["two"]

    def wrong(model):
        model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
        model.fit(x, y, verbose=0)

    unharmed(model, x, y, wrong, ValueError, *words, fits_after=False)


OTHERS = {
    "evaluate with batch_size=0": (lambda m: m.evaluate(X, Y, batch_size=0, verbose=0), ValueError, ["evaluate", "batch_size=0"]),
    "evaluate without targets": (lambda m: m.evaluate(X, verbose=0), ValueError, ["no target"]),
    "evaluate of no rows": (lambda m: m.evaluate(X[:0], Y[:0], verbose=0), ValueError, ["evaluate", "empty"]),
    "predict with batch_size=-1": (lambda m: m.predict(X, batch_size=-1, verbose=0), ValueError, ["predict", "batch_size=-1"]),
    "predict of other features": (lambda m: m.predict(Z, verbose=0), ANY, ["'out'", "(None, 4)"]),
    "predict of strings": (lambda m: m.predict(X.astype(str), verbose=0), ValueError, ["predict", "<U"]),
    "train_on_batch of unequal rows": (lambda m: m.train_on_batch(X, Y[:3]), ValueError, ["train_on_batch", "y has 3"]),
    "test_on_batch of nothing": (lambda m: m.test_on_batch(None, Y), ValueError, ["test_on_batch", "x=None"]),
    "predict_on_batch of objects": (lambda m: m.predict_on_batch(X.astype(object)), ValueError, ["predict_on_batch", "object"]),
    "set_weights too few": (lambda m: m.set_weights(m.get_weights()[:1]), ValueError, ["got 1 arrays", "expected 2"]),
    "set_weights of a wrong shape": (lambda m: m.set_weights([np.zeros((3, 1)), np.zeros(2)]), ValueError, ["bias", "(2,)", "(1,)"]),
    "set_weights of strings": (
        lambda m: m.set_weights([np.zeros((3, 1)), np.array(["a"])]),
        ValueError,
        ["bias", "<U1", "expected numbers"],
    ),
    "unknown activation": (lambda m: layers.Dense(1, activation="rellu"), ValueError, ["'rellu'", "'relu'"]),
    "unknown initializer": (lambda m: layers.Dense(1, kernel_initializer="glorot_unifrm"), ValueError, ["'glorot_uniform'"]),
    "unknown initializer of a weight": (lambda m: layers.Layer().add_weight((1,), "zeross"), ValueError, ["'zeross'", "eros"]),
    "unknown argument of a layer": (lambda m: layers.Dense(1, actvation="relu"), TypeError, ["actvation"]),
    "units that are no number": (lambda m: layers.Dense("3"), ValueError, ["units='3'"]),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_calls_name_what_is_wrong(models, case):
    wrong, error, words = OTHERS[case]
    unharmed(*models["one"], wrong, error, *words)


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_before_compile_the_error_says_to_compile(method):
    with pytest.raises(ValueError, match=rf"{method}.*model\.compile"):
        getattr(One(), method)(X, Y)


def test_call_that_returns_nothing_is_told_so():
    class Forgetful(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(1)

        def call(self, inputs):
            self.out(inputs)

    model = Forgetful()
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(ValueError, match="returned None.*return"):
        model.fit(X, Y, verbose=0)
    assert model.weights == []


def test_call_that_fails_at_first_leaves_nothing_half_built():
    class Failing(One):
        fails = True

        def call(self, inputs):
            y = self.out(inputs)
            if self.fails:
                raise RuntimeError("not yet")
            return y

    model = Failing()
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(RuntimeError, match="not yet"):
        model.fit(X, Y, verbose=0)
    assert model.weights == [] and not model.out.built
    model.fails = False
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][0]) and len(model.weights) == 2


# ---- NaN ----


def test_nan_is_counted_and_named(models):
    model, x, y = models["one"]
    for arguments, words in (({"x": NAN}, "x holds 4 NaN in 36"), ({"y": np.full((12, 1), np.nan)}, "y holds 12 NaN in 12")):
        with pytest.warns(DataWarning, match=words):
            model.evaluate(**{"x": x, "y": y, "verbose": 0, **arguments})
    with pytest.warns(DataWarning, match=r"x\[1\] holds 1 NaN"):
        Two().predict([X, np.where(np.arange(48).reshape(12, 4) == 5, np.nan, Z)], verbose=0)


@pytest.mark.parametrize("make", [np.asarray, jax.numpy.asarray], ids=["NumPy", "JAX"])
def test_infinities_are_counted_and_named_too(models, make):
    model, x, y = models["one"]
    infinite = np.where(np.arange(36).reshape(12, 3) < 2, [np.inf, -np.inf, 0], X)  # their sum is NaN
    with pytest.warns(DataWarning, match="x holds 2 inf in 36 values"):
        model.evaluate(make(infinite), y, verbose=0)
    with pytest.warns(DataWarning, match="y holds 1 NaN and 1 inf in 12 values"):
        model.evaluate(x, make(np.where(np.arange(12)[:, None] < 2, [[np.nan], [np.inf]] * 6, y)), verbose=0)


def test_large_finite_values_are_not_told_of(models):
    model, x, y = models["one"]
    model.predict(np.where(np.arange(36).reshape(12, 3) < 3, 3e38, X).astype("float32"), verbose=0)


# ---- Failures in the middle ----


def after_failure(model, fail, error):
    """Runs ``fail``; returns the weights right after it. The model must go on training, from there."""
    with pytest.raises(error):
        fail()
    weights = model.get_weights()
    assert all(np.isfinite(w).all() for w in weights)
    first, second = model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert second < first
    return weights


def steps(model, batches):
    """The weights after training on the given batches of four rows."""
    for batch in batches:
        model.train_on_batch(X[4 * batch : 4 * batch + 4], Y[4 * batch : 4 * batch + 4])
    return model.get_weights()


def pair():
    """Two compiled models with equal weights."""
    models = One(), One()
    for model in models:
        model.build((None, 3))
        model.compile(optimizer=pellucid.optimizers.SGD(0.02), loss="mse")
    models[1].set_weights(models[0].get_weights())
    return models


@pytest.mark.parametrize(
    "hook, batches, error",
    [
        ("on_train_batch_end", [0, 1, 2, 0], RuntimeError),
        ("on_train_batch_end", [0, 1, 2, 0], KeyboardInterrupt),
        ("on_epoch_end", [0, 1, 2], KeyboardInterrupt),
    ],
)
def test_callback_that_raises_leaves_the_last_good_weights(hook, batches, error):
    class Raises(pellucid.callbacks.Callback):
        seen = 0

    def raising(self, number, logs=None):
        self.seen += 1
        if hook == "on_epoch_end" or self.seen == 4:
            raise error("stop here")

    setattr(Raises, hook, raising)
    model, other = pair()
    weights = after_failure(model, lambda: model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, callbacks=[Raises()], verbose=0), error)
    for a, b in zip(weights, steps(other, batches), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_loss_function_that_raises_harms_nothing(models):
    def broken(y_true, y_pred):
        raise ArithmeticError("in the loss")

    model, x, y = models["one"]

    def wrong(model):
        model.compile(optimizer="sgd", loss=broken)
        model.fit(x, y, verbose=0)

    unharmed(model, x, y, wrong, ArithmeticError, "in the loss", fits_after=False)
    model.compile(optimizer="sgd", loss="mse")
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])


class FailsOnHost(One):
    """Calls back to Python in every step; the fourth time Python raises."""

    def __init__(self, form):
        super().__init__()
        self.form, self.runs = form, [0]

    def call(self, inputs):
        def on_host(value):
            runs[0] += 1
            if runs[0] == 4:
                raise RuntimeError("on the host")
            return value

        runs = self.runs
        y = self.out(inputs)
        if self.form == "print":
            pellucid.print(y.sum(), output_stream=Stream(on_host))
        elif self.form == "debug":
            jax.debug.callback(on_host, y)
        elif self.form == "pure":
            y = y + 0 * jax.lax.stop_gradient(jax.pure_callback(on_host, jax.ShapeDtypeStruct(y.shape, y.dtype), jax.lax.stop_gradient(y)))
        return y


class Stream:
    def __init__(self, on_write):
        self.on_write = on_write

    def write(self, text):
        if text.strip():
            self.on_write(text)

    def flush(self):
        pass


@pytest.mark.parametrize(
    "form, steps_per_execution", some_slow([("print", 3), ("debug", 1), ("pure", 1), ("pure", 3)], [("print", 3), ("pure", 1)])
)
def test_python_that_raises_inside_a_step_leaves_the_last_good_weights(form, steps_per_execution):
    model = FailsOnHost(form)
    model.compile(optimizer=pellucid.optimizers.SGD(0.02), loss="mse", steps_per_execution=steps_per_execution)
    model.build((None, 3))
    with pytest.raises(Exception, match="on the host"):
        model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    weights = model.get_weights()
    assert all(np.isfinite(w).all() for w in weights)
    first, second = model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert second < first


def test_ctrl_c_in_the_middle_of_fit_leaves_a_model_that_trains():
    script = """
        import sys, threading
        import numpy as np
        import pellucid

        class Model(pellucid.Model):
            def __init__(self):
                super().__init__()
                self.out = pellucid.layers.Dense(1)
            def call(self, inputs):
                return self.out(inputs)

        class Tells(pellucid.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 3:
                    print("training", flush=True)

        x = np.random.default_rng(0).normal(size=(2000, 3)).astype("float32")
        y = x.sum(1, keepdims=True)
        model = Model()
        model.compile(optimizer=pellucid.optimizers.SGD(1e-3, momentum=0.9), loss="mse")
        try:
            model.fit(x, y, epochs=10**7, callbacks=[Tells()], verbose=0)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert all(np.isfinite(w).all() for w in model.get_weights())
        loss = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        assert loss[-1] < 1.0 and model.predict(x[:5], verbose=0).shape == (5, 1)
        print("trained again", flush=True)
    """
    source = pathlib.Path(__file__).parents[2] / "src"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(source)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert out == "interrupted\ntrained again\n" and process.returncode == 0, errors


@pytest.mark.parametrize("argument", ["batch_size", "steps_per_epoch", "validation_steps", "validation_batch_size"])
def test_counts_of_fit_are_whole_and_positive_or_none(argument):
    model = pellucid.Sequential([pellucid.layers.Dense(np.int64(1))])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=rf"fit: {argument}=1.5; expected a positive whole number or None\."):
        model.fit(X, Y, verbose=0, **{argument: 1.5})
    with pytest.raises(ValueError, match=r"fit: initial_epoch=-1; expected a whole number of at least 0\."):
        model.fit(X, Y, verbose=0, initial_epoch=-1)
    with pytest.raises(ValueError, match=r"Dense: units=True; expected a positive whole number\."):
        pellucid.layers.Dense(True)
