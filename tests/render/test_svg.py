"""The static drawing: what it shows, and that nothing lies over anything else."""

from __future__ import annotations

import itertools
import sys
from xml.etree import ElementTree

import pytest

import pellucid
from pellucid import layers
from pellucid.graph.render.description import Arrow, Box, Picture, describe
from pellucid.graph.render.svg import svg
from tests.render.helpers import HOSTILE, deep, drawn, hostile, paths, transformer, wide_and_deep

GRAPHS = {"wide and deep": wide_and_deep, "transformer": transformer, "60 layers": deep}


@pytest.fixture(scope="module", params=GRAPHS, ids=list(GRAPHS))
def graph(request):
    return GRAPHS[request.param]()


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_every_node_is_inside_its_layer_and_overlaps_no_other(graph, rankdir):
    sheet = drawn(graph, rankdir=rankdir)
    assert set(sheet.boxes) == set(paths(graph))
    for box in sheet.boxes.values():
        around = sheet.boxes.get(box.parent)
        assert box.parent == graph[box.path].parent
        if around is not None:
            assert around.holds(box.x, box.y) and around.holds(box.x + box.w, box.y + box.h)
        assert min(box.x, box.y) >= 0 and box.x + box.w <= sheet.width and box.y + box.h <= sheet.height
    for one, other in itertools.combinations(sheet.boxes.values(), 2):
        if one.parent == other.parent:
            apart = one.x + one.w <= other.x or other.x + other.w <= one.x or one.y + one.h <= other.y or other.y + other.h <= one.y
            assert apart, (one, other)


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_edges_touch_their_ends_and_cross_no_box(graph, rankdir):
    sheet = drawn(graph, rankdir=rankdir)
    for wire in sheet.wires:
        for path, point in ((wire.source, wire.points[0]), (wire.target, wire.points[-1])):
            here = path and graph[path].parent == wire.level
            box = sheet.boxes[path if here else wire.level]  # what comes from outside, or goes there, is at the layer's border
            assert box.holds(*point, -0.5) and not box.holds(*point, 0.5)
        beside = [b for b in sheet.boxes.values() if b.parent == wire.level]
        assert not [(wire.source, wire.target, b.path) for b in beside for p in wire.points if b.holds(*p, 1.0)]


def test_the_flow_goes_where_it_is_told_to():
    graph = wide_and_deep()
    ends = {}
    for rankdir in ("TB", "BT", "LR", "RL"):
        boxes = drawn(graph, rankdir=rankdir).boxes
        ends[rankdir] = [(boxes[p].x, boxes[p].y) for p in ("hidden1", "hidden2", "aux_output")]
    assert [y for _, y in ends["TB"]] == sorted(y for _, y in ends["TB"])
    assert [y for _, y in ends["BT"]] == sorted((y for _, y in ends["BT"]), reverse=True)
    assert [x for x, _ in ends["LR"]] == sorted(x for x, _ in ends["LR"])
    assert [x for x, _ in ends["RL"]] == sorted((x for x, _ in ends["RL"]), reverse=True)


def test_edges_of_the_drawing_are_those_of_the_graph(graph):
    sheet = drawn(graph)
    joined = {(w.source, w.target) for w in sheet.wires if w.target}
    assert joined == {(e.source.path, e.target.path) for e in graph.edges}
    inner = [(w.source, w.level) for w in sheet.wires if not w.target]  # what gives the output of an open layer
    assert {level for _, level in inner} == {n.parent for n in graph.nodes if n.parent}


def test_the_results_of_a_layer_are_what_its_call_returns():
    boxes = {b.path: b for b in describe(transformer()).boxes}
    assert boxes["blocks/0"].results == ("blocks/0/add#2",)
    assert boxes["blocks/0/attention"].results == ("blocks/0/attention/out",)


def test_a_layer_that_returns_two_values_has_two_results():
    class Two(layers.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(2), layers.Dense(3)

        def call(self, x):
            a = self.a(x)
            return a, self.b(a)

    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def call(self, x):
            return self.two(x)

    boxes = {b.path: b for b in describe(Net().capture((None, 4))).boxes}
    assert set(boxes["two"].results) == {"two/a", "two/b"}


def test_a_loop_over_a_layer_can_be_drawn():
    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.cell = layers.Dense(3)

        def call(self, x):
            return pellucid.ops.scan(lambda state, _: (self.cell(state), None), x, length=4)[0]

    graph = Net().capture((None, 3))
    assert "cell" in drawn(graph).boxes


def test_nested_layers_can_stay_closed():
    sheet = drawn(transformer(), expand_nested=False)
    assert set(sheet.boxes) == {"input_1", "input_2", "embed", "blocks/0", "blocks/1", "mean", "head", "output"}
    assert "+" in sheet.texts


def test_labels_say_shapes_types_parameters_and_what_was_never_called():
    texts = drawn(transformer()).texts
    assert {"(None, 5, 8)", "(None, 5)", "Dense · 72 params", "Never called", "unused", "Dense · not built"} <= set(texts)
    plain = drawn(transformer(), show_shapes=False, show_layer_names=False).texts
    assert "(None, 5, 8)" not in plain and "up" not in plain
    full = drawn(transformer(), show_dtype=True, show_layer_activations=True, show_trainable=True).texts
    assert {"(None, 5, 8) float32", "relu", "trainable"} <= set(full)


def test_a_second_call_is_marked_as_shared():
    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.shared = layers.Dense(3)

        def call(self, x):
            return self.shared(self.shared(x))

    assert {"Dense · 12 params", "Dense · shared"} <= set(drawn(Net().capture((None, 3))).texts)


def test_hostile_names_are_text():
    text = svg(describe(hostile()))
    root = ElementTree.fromstring(text)
    assert {e.tag.rpartition("}")[2] for e in root.iter()} <= {
        "svg", "title", "style", "rect", "defs", "marker", "path", "g", "text", "tspan", "circle"
    }  # fmt: skip
    assert HOSTILE in drawn(hostile()).boxes


def test_a_chain_of_a_thousand_layers_can_be_drawn():
    boxes = [Box(f"l{i}", f"l{i}", "Dense", "layer") for i in range(1000)]
    arrows = [Arrow(a.path, b.path, (("(None, 3)", "float32"),)) for a, b in itertools.pairwise(boxes)]
    text = svg(Picture("deep", "Deep", tuple(boxes), tuple(arrows), (), 0, 0.0))
    assert text.count('data-path="') == 1000


def test_an_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="rankdir='down'.*'TB'.*'LR'"):
        drawn(wide_and_deep(), rankdir="down")


def test_without_the_engine_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "quickjs", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install 'pellucid\[plot\]'.*\.html"):
        drawn(wide_and_deep())


def test_a_drawing_is_the_same_every_time():
    graph = transformer()
    assert svg(describe(graph)) == svg(describe(graph))
