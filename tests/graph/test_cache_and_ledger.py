"""Which graph serves, why ``call`` ran again, and what the ledger says about it."""

from __future__ import annotations

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid import layers
from pellucid.graph.ledger import Ledger, Program, Reason, Run
from tests.graph.helpers import Net, integers, normal, spec


def identity(m, x, t):
    return jax.tree.map(lambda a: a * 1, x)


# name: (first inputs, second inputs, sentence of the second capture)
DIFFERENCES = {
    "rank": (spec(4, 3), spec(4, 5, 3), "the input has 3 axes, before 2"),
    "feature size": (spec(4, 3), spec(4, 7), "the input has 7 features, before 3"),
    "dtype": (spec(4, 3), spec(4, 3, dtype="int32"), "the input has dtype int32, before float32"),
    "one of several": ([spec(4, 3), spec(4, 2)], [spec(4, 3), spec(4, 5)], "input 2 has 5 features, before 2"),
    "in a dict": ({"a": spec(4, 3), "b": spec(4)}, {"a": spec(4, 3, 1), "b": spec(4)}, "input 'a' has 3 axes, before 2"),
    "two at once": (
        [spec(4, 3), spec(4, 2)],
        [spec(4, 1), spec(4, 2, dtype="int32")],
        "input 1 has 1 feature, before 3 and input 2 has dtype int32, before float32",
    ),
    "structure": ([spec(4, 3), spec(4, 3)], {"a": spec(4, 3)}, "the structure of the inputs is {'a': *}, before [*, *]"),
    "a tuple for a list": ([spec(4, 3), spec(4, 3)], (spec(4, 3), spec(4, 3)), "the structure of the inputs is (*, *), before [*, *]"),
    "scalar": (spec(4), spec(), "the input has 0 axes, before 1"),
}


@pytest.mark.parametrize(("first", "second", "sentence"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_new_signature_is_a_reason_and_says_what_differs(first, second, sentence):
    net = Net(identity)
    one = net._machine.captures.graph_for(first, 4, False, "test")
    other = net._machine.captures.graph_for(second, 4, False, "test")
    assert one is not other
    assert [run.reason for run in net.ledger] == [Reason.FIRST, Reason.INPUTS]
    assert net.ledger[1].sentence == f"captured again because {sentence}"
    for inputs, graph in ((first, one), (second, other)):  # both stay
        assert net._machine.captures.graph_for(inputs, 4, False, "test") is graph
    assert net.ledger.call_count == 2


SAME = {
    "another size": ((spec(4, 3), spec(9, 3)), 1),
    "arrays for specs": ((spec(4, 3), normal(4, 3), jnp.ones((7, 3))), 1),
    "shapes for specs": ((spec(4, 3), (None, 3), (7, 3)), 1),
    "float16 differs": ((spec(4, 3), spec(4, 3, dtype="float16"), spec(4, 3)), 2),
}


@pytest.mark.parametrize(("inputs", "captures"), SAME.values(), ids=SAME)
def test_equal_signatures_are_served_by_one_graph(inputs, captures):
    net = Net(identity)
    for x in inputs:
        net.capture(x)
    assert net.ledger.call_count == captures


def test_a_model_used_in_every_way_runs_call_once_and_says_so():
    net = Net(lambda m, x, t: m.out(x), out=layers.Dense(1))
    net.compile(optimizer="sgd", loss="mse")
    x, y = normal(22, 3), normal(22, 1)
    net.build((None, 3))
    net.fit(x, y, batch_size=8, verbose=0, validation_data=(x[:5], y[:5]))
    net.evaluate(x[:3], y[:3], verbose=0)
    net.predict(x[:1], verbose=0)
    net.train_on_batch(x[:2], y[:2])
    assert net.ledger.call_count == len(net.ledger) == 1
    assert "ran once" in net.ledger.story("Net") and "build" in net.ledger.story("Net")


def test_the_users_own_calls_are_counted_and_told_by_their_line():
    net = Net(identity)
    here = sys._getframe().f_lineno
    for _ in range(3):
        net(normal(4, 3))
    net.predict(normal(4, 3), verbose=0)
    assert net.ledger.call_count == 4
    assert [(r.kind, r.reason, r.count) for r in net.ledger] == [("eager", Reason.USER, 3), ("capture", Reason.FIRST, 1)]
    place = f"test_cache_and_ledger.py:{here + 2}"
    assert (net.ledger[0].caller, str(net.ledger[0].place)) == (place, place)
    assert (net.ledger[0].signature, net.ledger[0].training) == ("(None, 3) float32", None)
    assert f"1. At {place}: you called the model, which computes at once, 3 times (" in net.ledger.story()


@pytest.mark.filterwarnings("ignore:closure variable `runs`:pellucid.SideEffectWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda net, x: net(x),
        lambda net, x: net.predict(x, verbose=0),
        lambda net, x: net.capture(x),
        lambda net, x: net.predict_on_batch(x),
    ],
    ids=["call", "predict", "capture", "predict_on_batch"],
)
def test_runs_that_raise_are_counted(use):
    runs = []

    def call(m, x, t):
        runs.append(1)
        if m.broken:
            raise KeyError("no")
        return x

    net = Net(call, broken=True)
    x = normal(4, 3)
    for broken in (True, True, False):
        net.broken = broken
        try:
            use(net, x)
        except KeyError:
            assert broken
    assert net.ledger.call_count == len(runs) == 3


def test_counts_of_runs_that_succeed_are_exact_after_runs_that_raise():
    net = Net(lambda m, x, t: m.dense(x), dense=layers.Dense(2))
    net.predict(normal(4, 3), verbose=0)
    for _ in range(2):
        with pytest.raises(ValueError, match="features"):
            net.predict(normal(4, 5), verbose=0)
    net.predict(normal(4, 3), verbose=0)
    assert len(net.ledger.captures) == 1


def test_the_reason_is_the_attribute_that_changed_whichever_mode_came_last():
    def call(m, x, t):
        return x * m.alpha if t else x

    net = Net(call, alpha=1.0)
    net.capture(spec(4, 3), training=True)
    net.capture(spec(4, 3), training=False)
    net.alpha = 2.0
    net.capture(spec(4, 3), training=True)
    assert net.ledger[2].reason is Reason.ATTRIBUTE


def test_graphs_whose_attributes_changed_are_dropped():
    net = Net(lambda m, x, t: x * m.alpha, alpha=0)
    for alpha in range(5):
        net.alpha = alpha
        net.capture(spec(4, 3))
        net.capture(spec(4, 2))
    assert len(net._machine.captures.graphs) == 2
    assert net.ledger.call_count == 10


# ---- The ledger as data and as text ----


def test_the_ledger_as_data_is_plain():
    net = Net(lambda m, x, t: x * 2 if x.shape[0] > 5 else x)
    for n in (4, 7):
        net.predict(normal(n, 3), batch_size=n, verbose=0)
    data = json.loads(json.dumps(net.ledger.as_dict()))
    assert data["call_count"] == 2
    first, second = data["runs"]
    assert (first["kind"], first["reason"], first["caller"], first["signature"]) == ("capture", "FIRST", "predict", "(None, 3) float32")
    assert (second["reason"], second["training"], second["count"], second["effects"]) == ("SIZE", None, 1, [])
    assert first["seconds"] > 0
    assert [p["purpose"] for p in data["programs"]] == ["predict", "predict"]
    assert {p["batch_size"] for p in data["programs"]} == {4, 7}
    assert net.explain(as_dict=True)["call_count"] == 2


def test_the_story_tells_runs_reasons_and_programs(capsys):
    net = Net(lambda m, x, t: x * 2)
    assert net.ledger.story("Net") == "`call` of Net has not run yet."
    net.predict(normal(4, 3), verbose=0)
    net.predict(normal(4, 2), verbose=0)
    net.explain()
    text = capsys.readouterr().out
    for words in (
        "`call` of Net ran 2 times",
        "In predict (test_cache_and_ledger.py:",
        "captured again because the input has 2 features, before 3",
        "2 programs were compiled",
        "compiled again for prediction in predict, because it computes another graph, that of run 2 of `call`",
    ):
        assert words in text


def run(kind="eager", reason=Reason.USER, caller="here", seconds=0.5, training=False):
    return Run(kind, reason, "a sentence", caller, "(None, 3) float32", training, seconds)


def test_equal_eager_runs_between_two_captures_are_one_entry_with_a_count():
    ledger = Ledger()
    for entry in (run(), run(), run(caller="there"), run(), run("capture", Reason.FIRST), run("capture", Reason.FIRST), run(training=True)):
        ledger.add(entry)
    assert [r.count for r in ledger] == [3, 1, 1, 1, 1]
    assert ledger[0].seconds == 1.5
    assert (ledger.call_count, len(ledger), len(ledger.captures)) == (7, 5, 2)


def test_programs_are_listed_beside_the_runs():
    ledger = Ledger()
    program = ledger.add_program(Program("train", 32, "training in fit", loop=True))
    assert ledger.programs == [program]
    (data,) = ledger.as_dict()["programs"]
    assert (data["purpose"], data["batch_size"], data["reason"], data["loop"]) == ("train", 32, "training in fit", True)
    assert "many steps in one dispatch" in ledger.story()


# ---- Shapes that capture and build take ----

SHAPES = {
    "tuple": ((None, 3), (None, 3)),
    "list of numbers": ([None, 3], (None, 3)),
    "fixed batch": ((8, 3), (None, 3)),
    "list of shapes": ([(None, 3), (None, 2)], [(None, 3), (None, 2)]),
    "dict of shapes": ({"a": (None, 3), "b": (None,)}, {"a": (None, 3), "b": (None,)}),
    "spec": (spec(4, 3, dtype="int32"), (None, 3)),
    "NumPy sizes": ((None, np.int64(3)), (None, 3)),
}


@pytest.mark.parametrize(("given", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes_are_given_in_any_structure(given, expected):
    net = Net(identity)
    net.build(given)
    assert net.graph.outputs == expected
    assert net.built


@pytest.mark.parametrize(
    ("given", "error", "words"), [((None, -1, 4), ValueError, "which holds -1"), ("abc", TypeError, "input_shape='abc'; expected")]
)
def test_what_is_no_shape_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        Net(identity).build(given)


def test_integer_inputs_are_captured_with_their_dtype():
    net = Net(lambda m, x, t: jnp.take(jnp.asarray(m.table), x, axis=0), table=normal(5, 2))
    assert net.capture(integers(4, 3)).outputs == (None, 3, 2)
    assert net.graph.output_specs(4).dtype == jnp.float32
