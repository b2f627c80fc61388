"""`model.profile`: parts sum to the step, every layer is found, and nothing is changed."""

from __future__ import annotations

import contextlib
import json
import time

import jax
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.training.data.filling import JOINED
from pellucid.training.profiling import measure, profiler
from pellucid.training.profiling.advice import advice, duration, sentence
from pellucid.training.profiling.limits import Limits
from pellucid.training.profiling.result import Cost, Part, StepProfile
from pellucid.training.profiling.table import profile_text, rows
from tests.graph.helpers import normal

pytestmark = pytest.mark.compiles_anew  # with the names of this model


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner, self.norm = layers.Dense(32, activation="gelu"), layers.BatchNormalization()

    def call(self, x):
        return x + self.norm(self.inner(x))


class Net(pellucid.Model):
    runs = 0

    def __init__(self):
        super().__init__()
        self.hidden, self.block, self.drop, self.out = layers.Dense(32), Block(), layers.Dropout(0.5), layers.Dense(3)

    def call(self, x):
        type(self).runs += 1
        return self.out(self.drop(self.block(self.hidden(x))))


def data(rows=256):
    return normal(rows, 64), np.arange(rows) % 3


def compiled(model, **options):
    loss = pellucid.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], **options)
    return model


@pytest.fixture(scope="module", autouse=True)
def short_passes():
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(measure, "_PASS", 0.02)
        yield


@pytest.fixture(scope="module")
def fitted():
    model = compiled(Net())
    with pytest.warns(pellucid.errors.SideEffectWarning):  # it counts its runs
        model.fit(*data(), epochs=2, verbose=0)
    model.predict(data()[0], verbose=0)
    return model


@pytest.fixture(scope="module")
def profiled(fitted):
    state = [np.array(v.array) for v in state_of(fitted)]
    before = (state, Net.runs, len(fitted.ledger), len(fitted.ledger.programs), fitted.history.history["loss"])
    return fitted.profile(*data()), before


def state_of(model):
    metrics = model._machine.objective.variables
    return [*model.variables, *model.optimizer.variables, *metrics]


def seconds(step, *names):
    return sum(p.forward.seconds + p.gradient.seconds for p in step.parts if not names or p.path in names)


def test_every_layer_is_found_forward_and_gradient_and_the_parts_sum_to_the_step(profiled):
    found, _ = profiled
    step = found.train
    assert [p.path for p in step.parts if p.kind] == ["hidden", "block", "block/inner", "block/norm", "drop", "out"]
    assert [p.kind for p in step.parts if p.kind] == ["Dense", "Block", "Dense", "BatchNormalization", "Dropout", "Dense"]
    parts = {p.path: p for p in step.parts}
    for path in ("hidden", "block/inner", "block/norm", "out"):
        assert parts[path].forward.seconds > 0 and parts[path].gradient.seconds > 0, path
    assert parts["drop"].forward.seconds > 0
    assert {"loss", "optimizer", "metrics", "dispatch"} <= set(parts)
    assert seconds(step) == pytest.approx(step.seconds, rel=0.05)
    assert all(p.gradient.seconds == 0 for p in found.predict.parts)
    assert seconds(found.predict) == pytest.approx(found.predict.seconds, rel=0.05)


def test_flops_are_those_of_the_model_and_rates_below_what_the_machine_reaches(profiled):
    found, _ = profiled
    parts = {p.path: p for p in found.train.parts}
    product = 2 * 32 * 64 * 32  # of 32 rows: 64 features to 32 units
    assert product <= parts["hidden"].forward.flops <= 1.1 * product
    assert product <= parts["hidden"].gradient.flops <= 1.1 * product  # no gradient of the inputs
    assert parts["hidden"].forward.bytes >= 4 * (32 * 64 + 64 * 32 + 32 * 32)
    inside = found.train.whole(parts["block"])[0]
    assert inside.flops == pytest.approx(sum(parts[p].forward.flops for p in ("block", "block/inner", "block/norm")))
    assert found.limits.flops > 1e8 and found.limits.bytes > 1e8


def test_the_slowest_instructions_are_named_with_what_they_belong_to(profiled):
    found, _ = profiled
    listed = found.train.instructions
    assert [i.seconds for i in listed] == sorted((i.seconds for i in listed), reverse=True)
    assert {i.part for i in listed} <= {p.path for p in found.train.parts} and {i.phase for i in listed} == {"forward", "gradient"}
    product = next(i for i in listed if i.kind == "dot" and i.part == "hidden" and i.phase == "forward")
    assert product.times == 1 and product.bytes >= 4 * 64 * 32 and "jvp(hidden)" in product.scope
    assert sum(i.seconds for i in listed) <= found.train.seconds


def test_nothing_is_changed_and_call_runs_no_more(profiled, fitted):
    _, (state, runs, told, programs, history) = profiled
    assert all(np.array_equal(a, np.array(v.array)) for a, v in zip(state, state_of(fitted), strict=True))
    assert (Net.runs, len(fitted.ledger), len(fitted.ledger.programs)) == (runs, told, programs)
    assert fitted.history.history["loss"] == history


@pytest.mark.slow
def test_training_goes_on_as_if_there_had_been_no_profile():
    def losses(profiles):
        pellucid.utils.set_random_seed(3)
        model = pellucid.Sequential([pellucid.Input((64,)), layers.Dense(8), layers.Dropout(0.5), layers.Dense(3)])
        compiled(model).fit(*data(64), verbose=0)
        if profiles:
            model.profile(*data(64))
        return model.fit(*data(64), epochs=2, verbose=0).history["loss"]

    assert losses(True) == losses(False)


def test_it_prints_a_table_that_fits_and_is_plain_data(profiled):
    found, _ = profiled
    text = str(found)
    assert "A step of training, 32 rows" in text and "A step of prediction, 32 rows" in text and "Slowest:" in text
    for width in (60, 80, 120):
        text = profile_text(found.model, found.device, found.dtype, found.limits, found.measured, found.advice, width)
        assert max(map(len, text.splitlines())) <= width
        assert any(line.strip().startswith("inner") for line in text.splitlines())
    again = json.loads(json.dumps(found.to_dict()))
    assert again["train"]["batch_size"] == 32 and again["limits"]["flops"] == found.limits.flops
    assert [p["path"] for p in again["train"]["parts"]] == [p.path for p in found.train.parts]
    assert 1 <= len(again["advice"]["train"]) <= 5


@pytest.mark.slow
def test_a_step_as_long_as_fit_takes_for_one(fitted):
    x, y = data(4096)
    for _ in range(3):  # others may use the machine
        found = fitted.profile(x, y)
        times = []
        for _ in range(4):
            started = time.perf_counter()
            fitted.fit(x, y, verbose=0)
            times.append((time.perf_counter() - started) / 128)
        if min(times) / 2 < found.train.seconds < 2 * min(times):
            return
    pytest.fail(f"fit takes {min(times)} s a step, profile said {found.train.seconds}")


def test_without_compile_only_prediction_is_measured():
    model = pellucid.Sequential([pellucid.Input((64,)), layers.Dense(3)])
    found = model.profile(data()[0])
    assert found.train is None and found.predict.batch_size == 32
    assert "The model is not compiled, so that only prediction was measured." in str(found)


@pytest.mark.slow
def test_a_step_of_ones_own_has_the_layers_of_its_models():
    class Own(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = layers.Dense(16, activation="relu"), layers.Dense(3)

        def call(self, x):
            return self.out(self.hidden(x))

        def train_step(self, data):
            x, y = data
            loss_fn = lambda: self.compute_loss(x, y, self(x, training=True))
            loss, grads = pellucid.value_and_grad(loss_fn, self.trainable_variables)()
            self.optimizer.apply(grads, self.trainable_variables)
            return {"loss": loss}

    found = compiled(Own()).profile(*data(), batch_size=64)
    paths = [p.path for p in found.train.parts if p.kind]
    assert [p.rpartition("/")[2] for p in paths][-2:] == ["hidden", "out"] and found.train.batch_size == 64
    parts = {p.path.rpartition("/")[2]: p for p in found.train.parts}
    assert parts["hidden"].forward.seconds > 0 and parts["hidden"].gradient.seconds > 0 and parts["optimizer"].forward.seconds > 0


@pytest.mark.slow
def test_batches_that_iterate_and_weights_and_checks_are_measured_too():
    class Batches(pellucid.utils.PyDataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            x, y = data(16)
            return x, y, np.ones(16, "float32")

    model = compiled(pellucid.Sequential([pellucid.Input((64,)), layers.Dense(3)]), nan="raise")
    found = model.profile(Batches())
    assert found.train.batch_size == 16 and "check of finite values" in [p.path for p in found.train.parts]
    assert seconds(found.train) == pytest.approx(found.train.seconds, rel=0.05)


@pytest.mark.slow
def test_a_program_that_was_kept_by_another_model_is_read_with_the_names_of_this_one(tmp_path):
    def profiled_with(first, second):
        model = pellucid.Sequential(
            [pellucid.Input((64,)), layers.Dense(32, activation="tanh", name=first), layers.Dense(32, activation="tanh", name=second)]
        )
        model.compile("sgd", "mse")
        found = model.profile(normal(64, 64), normal(64, 32))
        assert all(p.forward.seconds > 0 for p in found.train.parts if p.kind)
        return model.ledger.programs[0].from_cache

    try:
        pellucid.config.compilation_cache(str(tmp_path))
        assert not profiled_with("a", "b")
        assert profiled_with("c", "a")
    finally:
        pellucid.config.compilation_cache("off")


def test_a_generator_that_ends_too_early_is_told():
    model = compiled(pellucid.Sequential([pellucid.Input((64,)), layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"profile: the data came to an end.*Pass arrays"):
        model.profile(iter([data(8)]))


class WithoutLength:
    def __len__(self):
        raise RuntimeError("unknown")

    def __iter__(self):
        return iter([data(8)] * 3)


class Endless(pellucid.utils.PyDataset):
    @property
    def num_batches(self):
        return None

    def __len__(self):
        return 2**40

    def __getitem__(self, index):
        return data(8)


class Some(WithoutLength):
    def __len__(self):
        return 3


@pytest.mark.parametrize(
    "given, steps", [(data(8)[0], None), (Some(), None), (WithoutLength(), JOINED), (Endless(), JOINED), (iter([data(8)]), JOINED)]
)
def test_of_what_may_have_no_end_some_batches_are_measured(fitted, monkeypatch, given, steps):
    def taken(*args, **kwargs):
        raise LookupError(args[5])

    monkeypatch.setattr(profiler, "source_of", taken)
    with pytest.raises(LookupError) as told:
        fitted.profile(given)
    assert told.value.args == (steps,)


# ---- What cannot be done ----


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True, "32"])
def test_a_batch_size_that_is_none_is_refused(fitted, batch_size):
    with pytest.raises(ValueError, match=rf"profile: batch_size={batch_size!r}; expected a positive whole number"):
        fitted.profile(*data(), batch_size=batch_size)


def test_data_that_do_not_fit_are_refused_as_fit_does(fitted):
    x, y = data()
    with pytest.raises(pellucid.errors.DataError, match="profile: x has 256 rows and y has 200"):
        fitted.profile(x, y[:200])
    with pytest.raises(pellucid.errors.DataError, match="profile: x=None"):
        fitted.profile(None)


def test_eager_steps_have_no_program(fitted):
    model = compiled(pellucid.Sequential([pellucid.Input((64,)), layers.Dense(3)]), run_eagerly=True)
    with pytest.raises(ValueError, match=r"profile: compile\(run_eagerly=True\).*expected run_eagerly=False"):
        model.profile(*data())


def test_a_profiler_that_is_in_use_is_told_and_everything_put_back(fitted, tmp_path):
    before = [np.array(v.array) for v in state_of(fitted)]
    quick = jax.profiler.ProfileOptions()
    quick.python_tracer_level = quick.host_tracer_level = 0
    with (
        jax.profiler.trace(str(tmp_path), profiler_options=quick),
        pytest.raises(RuntimeError, match="profile: JAX's profiler cannot be started.*in use already"),
    ):
        fitted.profile(*data())
    assert all(np.array_equal(a, np.array(v.array)) for a, v in zip(before, state_of(fitted), strict=True))


def test_a_profiler_that_tells_nothing_is_told(fitted, monkeypatch):
    monkeypatch.setattr(jax.profiler, "start_trace", lambda *args, **kwargs: None)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
    with pytest.raises(RuntimeError, match="profile: JAX's profiler told nothing of the operations on this 'cpu' device"):
        fitted.profile(*data())


def test_ctrl_c_in_a_profile_puts_everything_back(fitted, monkeypatch):
    before = [np.array(v.array) for v in state_of(fitted)]

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(jax.profiler, "start_trace", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        fitted.profile(*data())
    assert all(np.array_equal(a, np.array(v.array)) for a, v in zip(before, state_of(fitted), strict=True))


# ---- What the sentences say ----

LIMITS = Limits(100e9, 50e9)


def step_of(*parts, purpose="train"):
    return StepProfile(purpose, 32, 0.010, 0.011, 100, 30, 1, 12.0, tuple(parts))


def test_a_sentence_says_what_bounds_a_part_and_what_helps():
    def said(cost, path="conv", kind="Conv2D", phase="gradient"):
        part = Part(path, kind, 0, Cost(), cost)
        return sentence(step_of(part), part, phase, cost, LIMITS)

    assert "the gradient of conv (Conv2D): 5 ms, 50% of the step. It computes 80 of the 100 GFLOP/s" in said(Cost(5e-3, 4e8, 1e6, 1, "dot"))
    assert "It computes 110 GFLOP/s, as many as this machine reaches: only less" in said(Cost(1e-3, 1.1e8, 1e6, 1, "dot"))
    assert "It moves 40.0 of the 50.0 GB/s" in said(Cost(5e-3, 1e6, 2e8, 3, "add"))
    assert "400 small operations, 10 µs each" in said(Cost(4e-3, 1e6, 1e6, 400, "add"))
    slow = said(Cost(5e-3, 1e6, 1e6, 1, "select-and-scatter"))
    assert "Neither arithmetic nor memory is at its limit" in slow and "`select-and-scatter`" in slow and "stride a convolution" in slow
    assert said(Cost(1e-3), "dispatch", "", "forward").startswith("dispatch: 1 ms, 10% of the step. The device waits")
    assert "larger batches do it less often" in said(Cost(1e-3, 1e6, 1e6), "optimizer", "", "forward")


def test_the_slowest_parts_are_told_once_each_and_trifles_are_not():
    parts = [Part(f"d{i}", "Dense", 0, Cost(s), Cost(s / 2)) for i, s in enumerate((4e-3, 1e-3, 1e-5))]
    told = advice(step_of(*parts), LIMITS)
    assert [t.split(" (")[0] for t in told] == ["d0", "the gradient of d0", "d1", "the gradient of d1"]


def test_rows_of_layers_hold_what_is_inside_them_and_the_last_is_the_step():
    outer = Part("block", "Block", 0, Cost(1e-3, 10), Cost())
    inner = Part("block/dense", "Dense", 1, Cost(2e-3, 1e9), Cost(4e-3, 2e9))
    other = Part("optimizer", "", 0, Cost(3e-3), Cost())
    table = rows(step_of(outer, inner, other))
    assert [row[0] for row in table] == ["block (Block)", "  dense (Dense)", "optimizer", "step"]
    assert table[0][1:5] == ["3.00", "4.00", "7.00", "70.0%"]
    assert table[1][1:] == ["2.00", "4.00", "6.00", "60.0%", "3.00G", "500", ""]
    assert table[3][3:5] == ["10.0", "100.0%"]


@pytest.mark.parametrize("seconds, text", [(1.234, "1.23 s"), (0.01, "10 ms"), (99.9996e-3, "100 ms"), (3.21e-6, "3.21 µs")])
def test_durations_have_three_digits_and_a_unit(seconds, text):
    assert duration(seconds) == text
