"""Who called, what differs, which programs follow, and what is counted: also under threads and after errors."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.core import jax_compat
from pellucid.errors import CaptureBudgetError
from pellucid.graph import cache
from pellucid.graph.ledger import Ledger, Reason, Run
from pellucid.testing import assert_captures
from tests.graph.helpers import Net, normal

counts = pytest.mark.filterwarnings("ignore::pellucid.errors.SideEffectWarning")  # `call` counts its own runs


def line_of(function, offset=1):
    return f"test_ledger_reasons.py:{function.__code__.co_firstlineno + offset}"


def scaled(m, x, t):
    return x * m.alpha


def by_mode(m, x, t):
    return x * 2 if t else x


class Branching(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, x, training=None):
        y = self.out(x)
        return y * 2 if training else y


# ---- Callers ----


def test_each_run_says_what_needed_it_and_from_which_line():
    uses = {
        "fit": lambda net, x: net.fit(x, x, verbose=0),
        "evaluate": lambda net, x: net.evaluate(x, x, verbose=0),
        "predict": lambda net, x: net.predict(x, verbose=0),
        "build": lambda net, x: net.build((None, 3)),
        "summary": lambda net, x: net.summary(input_shape=(None, 3), print_fn=lambda text: None),
        "capture": lambda net, x: net.capture(x),
        "train_on_batch": lambda net, x: net.train_on_batch(x, x),
    }
    for caller, use in uses.items():
        net = Net(lambda m, x, t: m.out(x), out=layers.Dense(3))
        net.compile(optimizer="sgd", loss="mse")
        use(net, normal(4, 3))
        (run,) = net.ledger
        assert (run.kind, run.reason, run.caller, run.raised) == ("capture", Reason.FIRST, caller, None)
        assert str(run.place) == line_of(use, 0)
        assert run.sentence == "captured for the first time, which also made the weights"
        assert run.graph is net.graph and run.seconds > 0


def test_a_first_run_made_the_weights_where_some_were_made():
    scale = layers.Normalization()
    scale.adapt(normal(4, 3))  # has weights already
    net = Net(lambda m, x, t: m.out(m.drop(m.scale(x), training=t)), out=layers.Dense(3), drop=layers.Dropout(0.5), scale=scale)
    net.build((None, 3))
    assert net.ledger[0].sentence == "captured for the first time, which also made the weights"
    scaled = Net(lambda m, x, t: m.scale(x), scale=scale)
    scaled.build((None, 3))
    assert scaled.ledger[0].sentence == "captured for the first time"


def test_a_dict_of_one_input_keeps_its_key_in_the_signature():
    net = Net(lambda m, x, t: x["wide"] * 2)
    net.predict({"wide": normal(4, 3)}, verbose=0)
    assert net.ledger[0].signature == "{'wide': (None, 3) float32}"


# ---- Sentences ----


def test_another_number_of_features_is_told_by_the_inputs_name():
    net = Net(lambda m, x, t: x["A"].sum(-1) + x["B"].sum(-1))
    net.predict({"A": normal(4, 2), "B": normal(4, 6)}, verbose=0)
    net.predict({"A": normal(4, 2), "B": normal(4, 7)}, verbose=0)
    assert net.ledger[1].sentence == "captured again because input 'B' has 7 features, before 6"


def test_the_second_mode_is_a_second_capture_that_names_the_line():
    model = Branching()
    model.compile(optimizer="sgd", loss="mse")
    model.fit(normal(8, 3), normal(8, 1), verbose=0)
    model.predict(normal(8, 3), verbose=0)
    assert [run.training for run in model.ledger] == [True, False]
    place = line_of(Branching.call, 2)
    assert model.ledger[1].sentence == f"captured a second time because `call` branches on `training` at {place}, and training is False now"


def test_a_graph_that_was_dropped_with_a_changed_attribute_is_remembered():
    net = Net(scaled, alpha=0.5)
    net.capture((None, 3))
    net.capture((None, 2))
    net.alpha = 0.9
    net.capture((None, 3))  # drops both
    net.capture((None, 2))
    assert [run.reason for run in net.ledger] == [Reason.FIRST, Reason.INPUTS, Reason.ATTRIBUTE, Reason.ATTRIBUTE]
    assert net.ledger[3].sentence.startswith("captured again because `self.alpha` changed from 0.5 to 0.9")


def test_a_variable_is_the_cure_for_numbers_alone():
    def chosen(m, x, t):
        return x * m.alpha if m.alpha < 0.6 else -x if m.mode == "minus" else x

    net = Net(chosen, alpha=0.5, mode="plus")
    for change in ({}, {"alpha": np.float32(0.9)}, {"mode": "minus"}):
        for name, value in change.items():
            setattr(net, name, value)
        net.capture((None, 3))
    assert net.ledger[1].sentence.endswith("; make it a Variable to avoid this")
    assert "`self.mode` changed from 'plus' to 'minus'" in net.ledger[2].sentence
    assert "Variable" not in net.ledger[2].sentence


def test_graphs_beyond_the_limit_are_dropped_and_come_back_with_that_reason(monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 3)
    net = Net(lambda m, x, t: x * 2)
    graphs = [weakref.ref(net.capture((None, n))) for n in (1, 2, 3)]
    net.capture((None, 1))  # used last
    net.capture((None, 4))
    gc.collect()
    assert [graph() is None for graph in graphs] == [False, True, False]
    assert net.ledger[1].graph is None and net.ledger[1].captured
    net.capture((None, 2))
    assert net.ledger[-1].reason is Reason.DROPPED
    assert net.ledger[-1].sentence == "captured again because its graph was dropped: a model keeps the 3 graphs that it used last"
    assert len(net._machine.captures.graphs) == 3 and net.graph is net._machine.captures.graphs[-1]


def test_many_captures_keep_few_graphs_and_few_traces():
    net = Net(lambda m, x, t: jnp.tanh(m.out(x.sum(-1, keepdims=True))), out=layers.Dense(2, activation="relu"))
    held = []
    for n in range(1, 60):
        held.append(weakref.ref(net.capture((None, n))))
    gc.collect()
    assert sum(graph() is not None for graph in held) == cache.KEPT == len(net._machine.captures.graphs)
    assert len(net.ledger) == 59 and len(net.ledger.captures) == 59


def test_traces_that_jax_would_keep_for_ever_are_forgotten():
    traces = jax_compat.partial_eval.trace_to_jaxpr
    net = Net(lambda m, x, t: jnp.tanh(x * 2), alpha=0)
    net.capture((None, 1))
    assert traces.cache_info().currsize > 0
    jax_compat.forget_old_traces(most=0)
    assert traces.cache_info().currsize == 0
    net.capture((None, 2))  # and nothing breaks
    np.testing.assert_allclose(net.predict(np.ones((2, 2), "float32"), verbose=0), np.tanh(2 * np.ones((2, 2))), rtol=1e-5)


# ---- Programs ----


def test_programs_say_why_they_are_compiled_and_in_which_run_their_graph_was_captured():
    class Normalized(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.bn1 = layers.BatchNormalization()
            self.out = layers.Dense(1)

        def call(self, x):
            return self.out(self.bn1(x))

    model = Normalized()
    model.compile(optimizer="sgd", loss="mse")
    x, y = normal(90, 3), normal(90, 1)
    model.fit(x, y, batch_size=64, verbose=0)
    place = line_of(Normalized.call)
    whole, tail = model.ledger.programs
    assert whole.reason == "compiled for training in fit"
    assert tail.reason == (
        f"compiled again for the last batch of 26 rows, because BatchNormalization 'bn1' couples rows ({place}); `call` did not run"
    )
    assert [(p.batch_size, p.purpose, p.training) for p in (whole, tail)] == [(64, "train", True), (26, "train", True)]
    assert all(p.lowering > 0 and p.compiling > 0 and p.tracing > 0 for p in (whole, tail))
    (run,) = model.ledger
    assert run.programs == [whole, tail]
    assert run.compiling == pytest.approx(whole.compiling + tail.compiling)
    model.predict(x[:5], verbose=0)
    assert (model.ledger.programs[-1].reason, model.ledger.programs[-1].training) == ("compiled for prediction in predict", False)


# what is done before the second use: words of the second program's reason
CHANGES = {
    "another batch size": (lambda m: None, dict(batch_size=4), "because batches have 4 rows, before 8"),
    "compiled again": (lambda m: m.compile(optimizer="sgd", loss="mae"), {}, "because `compile` was called again"),
    "an attribute": (lambda m: setattr(m, "alpha", 3.0), {}, "because it computes another graph, that of run 2 of `call`"),
    "a frozen layer": (lambda m: setattr(m.out, "trainable", False), {}, "because 'out/bias', 'out/kernel' are no longer trained"),
    "a momentum": (
        lambda m: setattr(m.optimizer, "momentum", 0.5),
        {},
        "because a number or setting that losses, metrics or the optimizer",
    ),
}


@pytest.mark.parametrize(("change", "arguments", "words"), CHANGES.values(), ids=CHANGES)
def test_programs_that_are_compiled_again_say_what_changed(change, arguments, words):
    net = Net(lambda m, x, t: m.out(m.hidden(x)) * m.alpha, hidden=layers.Dense(2), out=layers.Dense(1), alpha=1.0)
    net.compile(optimizer=pellucid.optimizers.SGD(0.01, momentum=0.9), loss="mse", steps_per_execution=1)
    x, y = normal(16, 3), normal(16, 1)
    net.fit(x, y, batch_size=8, verbose=0)
    change(net)
    net.fit(x, y, **{"batch_size": 8, "verbose": 0, **arguments})
    first, second = net.ledger.programs
    assert first.reason == "compiled for training in fit"
    assert second.reason.startswith("compiled again for training in fit, ") and words in second.reason


def test_programs_that_are_never_dispatched_are_not_listed():
    net = Net(lambda m, x, t: m.out(x), out=layers.Dense(1))
    net.compile(optimizer="sgd", loss="mse")

    class Stops(pellucid.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise KeyError("stop")

    with pytest.raises(KeyError):
        net.fit(normal(8, 3), normal(8, 1), verbose=0, callbacks=[Stops()])
    assert net.ledger.programs == [] and net.ledger.call_count == 1


def test_a_second_capture_that_computes_the_same_keeps_its_programs():
    def call(m, x, t):
        return m.out(x) if m.verbosity >= 0 else x

    net = Net(call, out=layers.Dense(2, activation="relu"), verbosity=1)
    before = net.predict(normal(4, 3), verbose=0)
    graph = net.graph
    net.verbosity = 2
    np.testing.assert_array_equal(net.predict(normal(4, 3), verbose=0), before)
    assert net.graph is graph and len(net.ledger.programs) == 1
    assert net.ledger.call_count == 2 and net.ledger[1].graph is graph
    assert net.ledger[1].sentence.endswith("; it computes what it did before, so that its programs stay")
    net.predict(normal(4, 3), verbose=0)
    assert net.ledger.call_count == 2  # the new value is the one that is guarded now


# ---- Counting ----


@counts
def test_eight_threads_that_predict_make_one_run_and_one_program():
    calls = []

    def call(m, x, t):
        calls.append(1)
        return m.out(x)

    net = Net(call, out=layers.Dense(2))
    x, barrier = normal(6, 3), threading.Barrier(8)

    def predict(_):
        barrier.wait()
        return net.predict(x, verbose=0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(predict, range(8)))
    assert len(calls) == net.ledger.call_count == len(net.ledger) == 1
    assert len(net.ledger.programs) == 1


def test_eight_threads_that_call_the_model_are_all_counted():
    net = Net(lambda m, x, t: x * 2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: net(normal(4, 3)), range(80)))
    assert net.ledger.call_count == 80 and [run.count for run in net.ledger] == [80]


def broken_second(m, x, t):
    if m.broken:
        raise KeyError("no")
    return m.out(x)


@pytest.mark.parametrize("eagerly", [False, True])
def test_runs_that_raise_are_counted_and_say_so(eagerly):
    net = Net(broken_second, out=layers.Dense(1), broken=True)
    net.compile(optimizer="sgd", loss="mse", run_eagerly=eagerly)
    x, y = normal(4, 3), normal(4, 1)
    for _ in range(2):
        with pytest.raises(KeyError):
            net.fit(x, y, verbose=0)
    assert net.ledger.call_count == 2
    assert {run.raised for run in net.ledger} == {"KeyError"} and net.ledger.captures == []
    assert net.ledger[0].sentence.endswith(", and it raised KeyError")
    net.broken = False
    runs = net.ledger.call_count
    net.fit(x, y, verbose=0)
    assert net.ledger.call_count > runs and net.ledger[-1].raised is None
    assert net.ledger[-1].signature == "(None, 3) float32"


def test_calls_in_the_users_own_gradient_are_the_users_runs():
    net = Net(lambda m, x, t: m.out(x), out=layers.Dense(1))
    net.build((None, 3))
    x = normal(4, 3)
    for _ in range(3):
        pellucid.value_and_grad(lambda: (net(x) ** 2).mean(), net.trainable_variables)()
    assert [(run.kind, run.reason, run.count) for run in net.ledger] == [("capture", Reason.FIRST, 1), ("eager", Reason.USER, 3)]


def test_a_nested_models_runs_belong_to_the_outer_one():
    inner = Net(lambda m, x, t: m.out(x), out=layers.Dense(2))

    class Outer(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def call(self, x):
            return self.inner(x) + self.inner(x)

    outer = Outer()
    outer.predict(normal(4, 3), verbose=0)
    outer(normal(4, 3))
    assert (outer.ledger.call_count, len(inner.ledger), inner.ledger.nested) == (2, 0, {"Outer": 4})
    assert inner.ledger.story().splitlines() == [
        "`call` of Net has not run by itself.",
        "  It ran 4 times as part of Outer, whose ledger tells why.",
    ]
    inner.predict(normal(4, 3), verbose=0)
    assert [run.caller for run in inner.ledger] == ["predict"] and inner.ledger.as_dict()["nested"] == {"Outer": 4}


def test_call_sites_that_alternate_do_not_grow_the_ledger():
    net = Net(lambda m, x, t: x)
    for _ in range(20):
        net(normal(4, 3))
        net(normal(4, 2))
        net(normal(4, 3))
    assert [run.count for run in net.ledger] == [20, 20, 20] and net.ledger.call_count == 60


def test_a_very_long_ledger_lists_the_newest_and_counts_all():
    ledger = Ledger("M")
    for n in range(10_000):
        ledger.add(Run("capture", Reason.INPUTS, f"sentence {n}", "fit", "x", None))
    assert len(ledger) < 5_000 and ledger.call_count == ledger.capture_count == 10_000
    assert ledger[-1].sentence == "sentence 9999"
    assert len(ledger.story().splitlines()) < 80 and "more runs" in ledger.story()
    assert len(str(ledger).splitlines()) < 80


# ---- The budget ----


@counts
def test_a_budget_stops_the_capture_that_exceeds_it_before_call_runs():
    calls = []

    def call(m, x, t):
        calls.append(1)
        return m.out(x.sum(-1, keepdims=True))

    net = Net(call, out=layers.Dense(1))
    net.compile(optimizer="sgd", loss="mse", max_captures=1)
    net.fit(normal(8, 3), normal(8, 1), verbose=0)
    weights = net.get_weights()
    with pytest.raises(CaptureBudgetError, match="again because the input has 7 features, before 3") as caught:
        net.predict(normal(4, 7), verbose=0)
    assert "`call` of Net would be captured again" in str(caught.value) and "max_captures=1" in str(caught.value)
    assert len(calls) == len(net.ledger) == 1
    for before, after in zip(weights, net.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    net.fit(normal(8, 3), normal(8, 1), verbose=0)
    net.compile(optimizer="sgd", loss="mse")
    net.predict(normal(4, 7), verbose=0)
    assert len(calls) == 2


@counts
def test_a_size_that_call_needs_counts_against_the_budget():
    calls = []

    def call(m, x, t):
        calls.append(1)
        return x * float(len(range(x.shape[0])))

    net = Net(call)
    net.compile(loss="mse", max_captures=1)
    with pytest.raises(CaptureBudgetError, match=f"once more for batches of 4, because {line_of(call, 2)} needs to know the size"):
        net.predict(normal(4, 3), verbose=0)
    assert len(calls) == net.ledger.call_count == 1


def test_a_capture_that_raised_may_be_tried_again_within_the_budget():
    net = Net(broken_second, out=layers.Dense(1), broken=True)
    net.compile(loss="mse", max_captures=1)
    with pytest.raises(KeyError):
        net.predict(normal(4, 3), verbose=0)
    net.broken = False
    assert net.predict(normal(4, 3), verbose=0).shape == (4, 1)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.0, "one"])
def test_a_budget_that_is_no_number_is_refused(wrong):
    with pytest.raises(ValueError, match="max_captures="):
        Net(scaled, alpha=1.0).compile(loss="mse", max_captures=wrong)


# ---- assert_captures ----


def test_assert_captures_passes_within_its_number():
    net = Net(scaled, alpha=1.0)
    with assert_captures(net, exactly=1):
        net.predict(normal(4, 3), verbose=0)
    with assert_captures(net, at_most=1):
        net.predict(normal(7, 3), verbose=0)
    with assert_captures(net, exactly=0):
        net(normal(4, 3))


def test_assert_captures_tells_each_reason():
    net = Net(scaled, alpha=1.0)

    def captures_twice():
        with assert_captures(net, at_most=1):
            net.predict(normal(4, 3), verbose=0)
            net.predict(normal(4, 5), verbose=0)

    with pytest.raises(AssertionError) as caught:
        captures_twice()
    assert str(caught.value).splitlines() == [
        "`call` of Net was captured 2 times; expected at most 1.",
        "  1. in predict: captured for the first time",
        "  2. in predict: captured again because the input has 5 features, before 3",
    ]
    with pytest.raises(AssertionError, match=r"was captured not at all; expected exactly 1\.$"), assert_captures(net, exactly=1):
        net.predict(normal(4, 3), verbose=0)


@pytest.mark.parametrize("given", [{}, {"at_most": 1, "exactly": 1}])
def test_assert_captures_takes_one_number(given):
    with pytest.raises(ValueError, match="expected one of the two"), assert_captures(Net(scaled, alpha=1.0), **given):
        pass


# ---- Views ----


def test_everything_is_plain_data():
    net = Net(lambda m, x, t: print("seen") or m.out(x), out=layers.Dense(1))
    with pytest.warns(pellucid.SideEffectWarning):
        net.predict(normal(4, 3), verbose=0)
    data = json.loads(json.dumps(net.explain(as_dict=True)))
    (run,), (program,) = data["runs"], data["programs"]
    assert run["effects"][0]["kind"] == "print" and run["effects"][0]["file"] == __file__
    assert run["compiling"] == program["compiling"] > 0 and program["training"] is False
    assert data["model"] == "Net"


def test_a_table_fits_the_terminal(monkeypatch):
    net = Net(lambda m, x, t: x * 2)
    net.predict(normal(4, 3), verbose=0)
    for columns in (80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = str(net.ledger).splitlines()
        assert max(map(len, lines)) <= columns
        assert "`call` of Net ran once" in lines[0] and any("capture" in line and "predict" in line for line in lines)


def test_a_notebook_gets_html_in_which_everything_is_escaped():
    ledger = Ledger("<b>M</b>")
    ledger.add(Run("eager", Reason.USER, "<script>", "a & b", "(None, 3)", None))
    page = ledger._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "a &amp; b" in page and "<b>" not in page
    assert page.count("<table>") == 1


def test_a_side_effect_is_told_once_in_a_story():
    def call(m, x, t):
        print("seen")
        return x * m.alpha

    net = Net(call, alpha=1.0)
    with pytest.warns(pellucid.SideEffectWarning):
        net.capture((None, 3))
    net.alpha = 2.0
    net.capture((None, 3))  # warnings are errors here
    assert net.ledger.story().count("Side effect at") == 1
    assert [len(run.effects) for run in net.ledger] == [1, 1]
