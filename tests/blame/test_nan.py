"""compile(nan="raise"): which operation was not finite, and that the weights are the last good ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import callbacks, layers
from pellucid.training import programs
from pellucid.training.data import Block
from pellucid.training.nonfinite import Watch
from tests.blame.helpers import Net, data, line_of, state
from tests.cases import some_slow


def log(x):
    return jnp.log(x)


def root(x):
    return jnp.sqrt(jnp.maximum(x, 0.0))


def quotient(x):
    return (x - x) / (x - x)


def masked_root(x):
    return jnp.where(x > 0, jnp.sqrt(x), 0.0)


def running_log(x):
    def turn(carry, row):
        carry = jnp.log(carry + row)
        return carry, carry

    return jax.lax.scan(turn, jnp.ones(x.shape[:1]), x.T)[1].T


@jax.jit
def users_jit(x):
    return jnp.log(x)


def through_jit(x):
    return users_jit(x)


def until_it_overflows(x):
    return jax.lax.while_loop(lambda s: s[0] < 8, lambda s: (s[0] + 1, jnp.exp(s[1])), (0, x))[1]


def outside_of_the_table(x):
    return x + jnp.take(jnp.arange(3.0), jnp.full(x.shape[0], 7))[:, None]


def whole_row_masked(x):
    return jax.nn.softmax(jnp.where(x > 9, x, -jnp.inf))


def twice_with_a_derivative_of_its_own(x):
    y = jax.scipy.special.xlogy(2.0, x + 10)
    return y + jax.scipy.special.xlogy(2.0, x)


def blame_of(model, x, y, **options):
    with pytest.raises(pellucid.NonFiniteError) as raised:
        model.fit(x, y, verbose=0, **options)
    return raised.value


@pytest.mark.parametrize(
    "function, values, operation, phase, text",
    some_slow(
        [
            (log, {"row_70": -1.0}, "log", "forward", "jnp.log"),
            (quotient, {}, "div", "forward", "(x - x)"),
            (root, {"row_70": 0.0}, "div", "gradient", "jnp.sqrt"),
            (masked_root, {"row_70": 0.0}, "div", "gradient", "jnp.sqrt"),
            (through_jit, {"row_70": -1.0}, "log", "forward", None),
            (running_log, {"row_70": -5.0}, "log", "forward", "jnp.log"),
            (outside_of_the_table, {}, "gather", "forward", "jnp.take"),
            (whole_row_masked, {}, "sub", "forward", "jax.nn.softmax"),
        ],
        [(quotient, {}, "div", "forward", "(x - x)"), (masked_root, {"row_70": 0.0}, "div", "gradient", "jnp.sqrt")],
    ),
)
def test_the_operation_its_layer_and_its_line_are_named(function, values, operation, phase, text):
    x, y = data(**values)
    model = Net(function)
    model.compile("sgd", "mse", nan="raise")
    error = blame_of(model, x, y, shuffle=False)
    blame = error.blame
    assert (blame.operation, blame.phase, blame.layer) == (operation, phase, "block/operation")
    source = users_jit.__wrapped__ if text is None else function
    assert blame.place.file == __file__
    assert blame.place.line == line_of(source, text or "jnp.log")
    assert f"test_nan.py:{blame.place.line}" in str(error)
    assert "fit: epoch 1, batch" in str(error)
    assert "block/operation" in str(error)


# ---- Forward pass or gradient ----


def hidden_quotient(x):
    z = x * 0.0 / jnp.maximum(x, 0.0)  # 0 / 0 where x is below zero
    return jnp.where(jnp.isnan(z), 0.0, z)


def of_each_row(function):
    def rows(x):
        return jax.lax.scan(lambda carry, row: (carry, function(row)), 0.0, x)[1]

    return rows


def on_condition(function):
    return lambda x: jax.lax.cond(x.sum() > -1e9, function, lambda x: x, x)


PLACES = {"plain": lambda f: f, "jit": jax.jit, "scan": of_each_row, "cond": on_condition, "checkpoint": jax.checkpoint}


@pytest.mark.parametrize("where", some_slow(PLACES, ["plain", "scan"]))
@pytest.mark.parametrize("function, phase, text", [(hidden_quotient, "forward", "z = x * 0.0"), (root, "gradient", "jnp.sqrt")])
def test_what_a_mask_hides_is_of_the_forward_pass_and_what_only_the_gradient_computes_is_not(where, function, phase, text):
    model = Net(PLACES[where](function))
    model.compile("sgd", "mse", nan="raise")
    error = blame_of(model, *data(row_70=-1.0 if phase == "forward" else 0.0), shuffle=False)
    blame = error.blame
    assert (blame.operation, blame.phase, blame.reached) == ("div", phase, "a gradient")
    assert blame.place.line == line_of(function, text)
    assert "a gradient is not finite. First not finite: operation `div` in the " in str(error)
    assert ("A division by zero" if phase == "forward" else "its gradient at 0 is infinite") in str(error)


def test_a_division_by_zero_behind_a_batch_normalization_is_of_the_forward_pass():
    class Normed(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.out = layers.Dense(3, use_bias=False), layers.BatchNormalization(), layers.Dense(1)

        def call(self, x, training=None):
            z = self.norm(jnp.exp(self.first(x) / jnp.abs(x).sum(-1, keepdims=True)), training=training)
            return self.out(jnp.where(jnp.isnan(z), 0.0, z))

    x, y = data()
    x[40] = 0
    model = Normed()
    model.compile("sgd", "mse", nan="raise")
    blame = blame_of(model, x, y, shuffle=False).blame
    assert (blame.operation, blame.phase, blame.place.line) == ("div", "forward", line_of(Normed.call, "jnp.exp"))


def test_in_a_step_of_the_users_own_a_gradient_is_one_even_where_its_norm_is_logged():
    class Own(Net):
        def train_step(self, data):
            x, y = data
            weights = self.trainable_variables
            loss, grads = pellucid.value_and_grad(lambda: ((self(x, training=True) - y) ** 2).mean(), weights)()
            self.optimizer.apply(grads, weights)
            return {"loss": loss, "norm": sum((g**2).sum() for g in grads)}

    for function, phase in ((root, "gradient"), (hidden_quotient, "forward")):
        model = Own(function)
        model.compile("sgd", nan="raise")
        assert blame_of(model, *data(row_70=0.0 if phase == "gradient" else -1.0), shuffle=False).blame.phase == phase


def test_the_batch_and_what_went_into_the_operation_are_told():
    x, y = data(row_70=-1.0)
    model = Net(log)
    model.compile(pellucid.optimizers.SGD(0.0), "mse", nan="raise")
    error = blame_of(model, x, y, shuffle=False)  # 32 rows a batch: row 70 is in the third
    assert "epoch 1, batch 3" in str(error)
    (told,) = error.blame.inputs
    batch = x[64:96]
    assert told.shape == (32, 3)
    np.testing.assert_allclose([told.minimum, told.maximum, told.mean], [-1.0, batch.max(), batch.mean()], rtol=1e-6)
    assert told.not_finite == 0
    np.testing.assert_allclose(error.blame.output.not_finite, 1 / 96)


def test_a_while_loop_tells_the_turn():
    x, y = data()
    model = Net(lambda x: jax.lax.stop_gradient(until_it_overflows(x)))
    model.compile("sgd", "mse", nan="raise")
    blame = blame_of(model, x, y, shuffle=False).blame
    turns, value = 0, float(x[:32].max())
    while value < 88.7:  # beyond, exp overflows
        turns, value = turns + 1, float(np.exp(value))
    assert (blame.operation, blame.turn) == ("exp", turns)


def test_a_users_loss_is_named():
    def steep(y_true, y_pred):
        return jnp.exp(jnp.abs(y_pred) + 200.0)

    model = Net()
    model.compile("sgd", steep, nan="raise")
    blame = blame_of(model, *data()).blame
    assert (blame.operation, blame.phase, blame.loss, blame.layer) == ("exp", "forward", "steep", None)
    assert blame.place.line == line_of(steep, "jnp.exp")


def test_a_loss_of_the_library_is_named_without_a_line():
    model = Net(lambda x: x * 1e30)
    model.compile("sgd", "mse", nan="raise")
    blame = blame_of(model, *data()).blame
    assert (blame.operation, blame.loss, blame.place) == ("square", "mean_squared_error", None)
    assert "learning rate" in blame.advice


@pytest.mark.filterwarnings("ignore::pellucid.DataWarning")
def test_the_data_are_blamed_where_they_hold_nan():
    model = Net()
    model.compile("sgd", "mse", nan="raise")
    error = blame_of(model, *data(row_40=np.nan), shuffle=False)
    assert error.blame.operation == "input"
    assert "epoch 1, batch 2" in str(error)
    assert "x: float32" in str(error)


def test_a_weight_is_blamed_that_was_not_finite_before():
    model = Net()
    model.compile("sgd", "mse", nan="raise")
    model.build((None, 3))
    model.out.kernel.assign(np.full((3, 1), np.inf, "float32"))
    error = blame_of(model, *data())
    assert error.blame.operation == "weight"
    assert "'out/kernel'" in str(error)


def test_an_update_that_overflows_is_blamed():
    model = Net()
    model.compile(pellucid.optimizers.SGD(3e38), "mse", nan="raise")
    x, y = data()
    assert blame_of(model, x, 1e6 * y).blame.phase == "update"
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_infinities_that_a_mask_puts_in_and_takes_out_are_no_error():
    model = Net(lambda x: jax.nn.softmax(jnp.where(x < x.max(-1, keepdims=True), x, -jnp.inf)))
    model.compile("sgd", "mse", nan="raise")
    history = model.fit(*data(), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


# ---- The weights ----


@pytest.mark.parametrize(
    "form, batch_size",
    some_slow(
        [("loop", 32), ("loop", 8), ("single", 32), ("recycled", 8), ("eager", 32), ("callback", 32), ("printing", 32)],
        [("loop", 8), ("single", 32), ("eager", 32)],
    ),
)
def test_state_is_that_before_the_bad_batch(form, batch_size, monkeypatch):
    if form == "recycled":
        monkeypatch.setattr(programs, "PACKED_BYTES", 0)
    x, y = data(row_70=-1.0)
    options = {"steps_per_execution": 1} if form == "single" else {"run_eagerly": True} if form == "eager" else {}
    listener = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None) if form == "callback" else None

    def printing(x):
        pellucid.print("step")
        return jnp.log(x)

    def trained(rows, **more):
        pellucid.utils.set_random_seed(3)
        model = Net(printing if form == "printing" else log, dropout=0.3)
        model.compile(pellucid.optimizers.SGD(0.01, momentum=0.9), "mse", **options, **more)
        fit = lambda: model.fit(x[:rows], y[:rows], batch_size, verbose=0, shuffle=False, callbacks=listener)
        return model, fit

    good_rows = 70 // batch_size * batch_size
    good, fit = trained(good_rows)
    fit()
    model, fit = trained(100, nan="raise")
    with pytest.raises(pellucid.NonFiniteError, match=f"batch {good_rows // batch_size + 1}:.*`log`"):
        fit()
    for wanted, found in zip(state(good), state(model), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)
    x[70] = 1.0  # usable and trainable
    assert np.isfinite(fit().history["loss"]).all()
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_many_epochs_with_recycled_arrays_train_as_without(monkeypatch):
    monkeypatch.setattr(programs, "PACKED_BYTES", 0)
    held = []

    def trained(nan):
        pellucid.utils.set_random_seed(3)
        model = Net(log, dropout=0.3)
        model.compile(pellucid.optimizers.SGD(0.01, momentum=0.9), "mse", nan=nan, steps_per_execution=2)
        keep = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: held.append((model.out.kernel.value, model.out.kernel.numpy())))
        model.fit(*data(), epochs=5, verbose=0, callbacks=[keep])
        return state(model)

    for wanted, found in zip(trained(None), trained("raise"), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for array, copy in held:  # an array that a user holds is never written into
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("eagerly", [False, True])
def test_train_on_batch(eagerly):
    x, y = data(32)
    model = Net(log)
    model.compile("sgd", "mse", nan="raise", run_eagerly=eagerly)
    model.train_on_batch(x, y)
    before = state(model)
    with pytest.raises(pellucid.NonFiniteError, match="train_on_batch: this batch: the loss is not finite.*`log`"):
        model.train_on_batch(-x, y)
    for wanted, found in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert np.isfinite(model.train_on_batch(x, y))


def test_an_infinite_evaluation_before_is_not_blamed():
    x, y = data(32)
    model = Net(log)
    model.compile("sgd", "mse", nan="raise")
    model.train_on_batch(x, y)
    assert not np.isfinite(model.test_on_batch(-x, y))  # its means go on in the next batch
    model.train_on_batch(x, y)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_weights_are_put_back_where_training_ends_before_the_check_is_seen():
    x, y = data(32)
    model = Net(log)
    model.compile(pellucid.optimizers.SGD(0.01, momentum=0.9), "mse", nan="raise", steps_per_execution=1)
    model.fit(x, y, verbose=0)
    (program,) = model._machine._programs.values()
    watch, states = Watch("fit"), []
    for rows in (x, -x, x):
        states.append(state(model))
        watch.dispatch(program, Block([jnp.asarray(rows), jnp.asarray(y)], 32, 1, 32), 0, 1)
    assert not all(np.isfinite(w).all() for w in model.get_weights())
    watch.abandon()
    for wanted, found in zip(states[1], state(model), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_call_runs_once_and_training_stays_compiled():
    x, y = data(row_70=-1.0)
    model = Net(log)
    model.compile("sgd", "mse", nan="raise")
    blame_of(model, x, y, shuffle=False)
    assert model.ledger.call_count == 1
    assert [(p.purpose, p.loop) for p in model.ledger.programs] == [("train", True)]


def test_a_batch_normalization_keeps_its_means():
    class Normed(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.norm, self.out = layers.BatchNormalization(), layers.Dense(1)

        def call(self, x):
            return self.out(self.norm(jnp.log(x)))

    model = Normed()
    model.compile("sgd", "mse", nan="raise")
    x, y = data(row_99=-1.0)
    model.fit(x[:64], y[:64], verbose=0)
    blame = blame_of(model, x, y, epochs=2).blame
    assert (blame.operation, blame.layer) == ("log", None)
    assert all(np.isfinite(w).all() for w in model.get_weights())


# ---- Other variables ----


class Hides(pellucid.Model):
    """Its normalization sees numbers too large to square, and nothing of that reaches the loss."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = layers.BatchNormalization(center=False, scale=False), layers.Dense(1)

    def call(self, x, training=None):
        hidden = self.norm(x * 1e10, training=training)
        return self.out(jnp.minimum(x, 1.0) + 0 * jnp.nan_to_num(hidden))


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 1}, {"run_eagerly": True}])
@pytest.mark.parametrize("packed", some_slow([2**20, 0], [2**20]))
def test_moving_statistics_that_are_not_finite_are_no_good_weights(options, packed, monkeypatch):
    monkeypatch.setattr(programs, "PACKED_BYTES", packed)
    x, y = data(row_70=1e20)
    model = Hides()
    model.compile(pellucid.optimizers.SGD(0.01, momentum=0.9), "mse", nan="raise", **options)
    model.fit(x[:64], y[:64], shuffle=False, verbose=0)
    before = state(model)
    error = blame_of(model, x[64:96], y[64:96], shuffle=False)
    assert "the variable 'norm/moving_variance' is not finite" in str(error)
    assert (error.blame.phase, error.blame.layer, error.blame.place.line) == ("forward", "norm", line_of(Hides.call, "self.norm"))
    for wanted, found in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_an_optimizers_state_that_overflows_is_told():
    model = Net()
    model.compile(pellucid.optimizers.RMSprop(1e-3), lambda y, p: 1e22 * p.mean(), nan="raise")  # its square is beyond float32
    blame = blame_of(model, *data()).blame
    assert blame.phase == "update" and "velocity" in blame.reached


def test_what_was_not_finite_before_and_states_of_metrics_may_be_anything():
    class Infinite(pellucid.metrics.Metric):
        def __init__(self):
            super().__init__(name="infinite")
            self.total = self.add_variable((), "zeros", name="total")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign(self.total + jnp.inf)

        def result(self):
            return self.total * 1.0

    class Least(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(1)
            self.least = self.add_weight((2,), lambda shape, dtype=None: jnp.array([jnp.inf, 0.0]), trainable=False)

        def call(self, x):
            self.least.assign(self.least * 1.5)
            return self.out(x)

    for eagerly in (False, True):
        model = Least()
        model.compile("sgd", "mse", metrics=[Infinite()], nan="raise", run_eagerly=eagerly)
        history = model.fit(*data(), epochs=2, verbose=0).history
        assert np.isinf(history["infinite"]).all() and np.isfinite(history["loss"]).all()


# ---- Arguments ----


def test_other_values_of_nan_are_refused():
    with pytest.raises(ValueError, match="compile: nan='stop'; expected 'raise'"):
        Net().compile("sgd", "mse", nan="stop")


def test_without_it_training_goes_on():
    x, y = data(row_70=-1.0)
    model = Net(log)
    model.compile("sgd", "mse")
    assert np.isnan(model.fit(x, y, verbose=0).history["loss"][0])


def test_eager_python_that_cannot_be_captured_is_told_without_the_operation():
    def by_value(x):
        return jnp.log(x) if float(jax.lax.stop_gradient(x).sum()) < 1e9 else x

    x, y = data(32)
    model = Net()
    model.compile("sgd", "mse", nan="raise", run_eagerly=True)
    model.build((None, 3))
    model.block.operation.function = by_value
    with pytest.raises(pellucid.NonFiniteError, match="the loss is not finite") as raised:
        model.train_on_batch(-x, y)
    assert raised.value.blame is None
    assert raised.value.__cause__ is not None


def test_of_two_calls_of_a_function_with_a_derivative_of_its_own_the_one_that_failed_is_named():
    x, y = data(row_70=-1.0)
    model = Net(twice_with_a_derivative_of_its_own)
    model.compile("sgd", "mse", nan="raise")
    error = blame_of(model, x, y, shuffle=False)
    assert error.blame.operation == "log"
    assert f"test_nan.py:{line_of(twice_with_a_derivative_of_its_own, 'return')}" in str(error), str(error)
