"""Compares what a model's graph and ledger say with a truth that was written by hand, by reading the model.

A truth is a table, one row a node: path, kind, shapes of what it gives (of an output: of what it takes), and the nodes that feed
it. Inputs come first, outputs last; between them the nodes stand in the order in which they run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import graphlib
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest

import pellucid
from pellucid.errors import SideEffectWarning
from pellucid.graph.ledger import Reason

ONCE = {"build": [Reason.FIRST]}
STAGES = ("build", "fit", "evaluate", "predict")


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is known of a model from reading its code.

    Args:
        make: makes the model.
        inputs: shape of the inputs, or a structure of shapes, or of ``ShapeDtypeStruct``s.
        graph: the table.
        runs: for each of build, fit (20 rows by 8), evaluate (20 rows) and predict (7 rows), the reasons for which ``call`` runs.
        effects: (kind, text of the line) of the side effects.
        uncalled: paths of layers that are never called.
        training: the mode of the table.
        fit: "fast", "slow" (a test that is left out by default), or "no" where the outputs cannot be trained.
        gap: why the graph is not yet what is written here.
    """

    make: Callable[[], pellucid.Model]
    inputs: Any
    graph: str
    runs: dict[str, list[Reason]]
    effects: list[tuple[str, str]]
    uncalled: list[str]
    training: bool
    fit: str
    gap: str | None


class Truths:
    """The models of one file, each with its truth. Use ``about`` as a decorator of the model's class or of its maker."""

    def __init__(self) -> None:
        self.all: list[Truth] = []

    def about(
        self,
        inputs: Any,
        graph: str,
        runs: dict[str, list[Reason]] | None = None,
        effects: list[tuple[str, str]] | None = None,
        uncalled: list[str] | None = None,
        training: bool = False,
        fit: str = "slow",
        gap: str | None = None,
    ) -> Callable[[Any], Any]:
        def enter(make: Any) -> Any:
            self.all.append(Truth(make, inputs, graph, runs or ONCE, effects or [], uncalled or [], training, fit, gap))
            return make

        return enter

    def graphs(self) -> list[Any]:
        """A parameter for each truth, for the test that looks at the graph."""
        return [_param(t, [pytest.mark.xfail(strict=True, reason=t.gap)] if t.gap else []) for t in self.all]

    def uses(self) -> list[Any]:
        """A parameter for each truth whose model can be trained, for the test that trains and uses it."""
        return [_param(t, [pytest.mark.slow] if t.fit == "slow" else []) for t in self.all if t.fit != "no"]


def _param(truth: Truth, marks: list[Any]) -> Any:
    return pytest.param(truth, marks=marks, id=truth.make.__name__)


# ---- The table ----


@dataclasses.dataclass(frozen=True)
class Row:
    """One node, as written or as found."""

    path: str
    kind: str
    shapes: str
    fed_by: frozenset[str]


def rows_of(table: str) -> list[Row]:
    """The rows of a table such as ``add   add   (None, 3)   <- input, hidden``. Text after ``--`` is a remark."""
    rows = []
    for line in table.split("\n"):
        text, _, sources = line.split("--")[0].partition("<-")
        if text.strip():
            path, kind, *shapes = re.split(r"\s{2,}", text.strip())
            rows.append(Row(path, kind, " ".join(shapes), frozenset(s.strip() for s in sources.split(",") if s.strip())))
    return rows


def rows_found(graph: Any) -> list[Row]:
    """The same of a graph: its nodes, and what feeds them by its edges."""
    fed_by: dict[str, set[str]] = {}
    for edge in graph.edges:
        fed_by.setdefault(edge.target.path, set()).add(edge.source.path)
    rows = []
    for node in (*graph.input_nodes, *graph.nodes, *graph.output_nodes):
        specs = node.inputs if node.kind == "Output" else node.outputs
        rows.append(Row(node.path, node.kind, " ".join(str(s.shape) for s in specs), frozenset(fed_by.get(node.path, ()))))
    return rows


def as_table(rows: list[Row]) -> list[str]:
    """Rows as lines, so that pytest shows where two tables differ."""
    return [f"{r.path}  {r.kind}  {r.shapes}" + (f"  <- {', '.join(sorted(r.fed_by))}" if r.fed_by else "") for r in rows]


# ---- The checks ----


def check_graph(truth: Truth) -> None:
    """Nodes in their order, kinds, shapes, edges, layers that are never called, and side effects."""
    model = truth.make()
    with effects_shown() as shown:
        graph = model.capture(truth.inputs, training=truth.training)
    assert as_table(rows_found(graph)) == as_table(rows_of(truth.graph))
    assert [layer.path for layer in graph.uncalled] == truth.uncalled
    found = [(e.kind, _line_at(e.place.file, e.place.line)) for e in model.ledger[-1].effects]
    assert sorted(found) == sorted(truth.effects)
    assert sorted(_line_at(w.filename, w.lineno) for w in shown) == sorted(line for _, line in truth.effects)
    check_agreement(graph)


def check_agreement(graph: Any) -> None:
    """What holds for every graph: no cycle, paths are unique, and nodes, edges and ``connected_to`` tell the same story."""
    nodes = [*graph.input_nodes, *graph.nodes, *graph.output_nodes]
    paths = [n.path for n in nodes]
    assert len(set(paths)) == len(paths)
    assert all(graph[path] is node for path, node in zip(paths, nodes, strict=True))
    for node in nodes:
        assert set(node.connected_to) == {e.source.path for e in graph.edges if e.target is node}
        assert node.parent == "" or node in graph.children(node.parent)
        assert node.depth == (graph[node.parent].depth + 1 if node.parent else 0)
    for edge in graph.edges:
        assert any(_carries(edge, spec) for spec in edge.source.outputs), f"{edge} is no output of {edge.source}"
        if edge.target.layer is None:
            assert (edge.shape, edge.dtype) in edge.target.inputs, f"{edge} is no input of {edge.target}"
    order = graphlib.TopologicalSorter({n.path: n.connected_to for n in nodes})
    order.prepare()  # raises where there is a cycle


def _carries(edge: Any, spec: Any) -> bool:
    """Whether an edge carries a value of a type, or a slice of it into a loop, or a stack of it out of one."""
    return edge.dtype == spec.dtype and edge.shape in (spec.shape, spec.shape[1:], (*edge.shape[:1], *spec.shape))


def check_use(truth: Truth) -> None:
    """How often, and why, ``call`` runs while a model is built, trained with a smaller last batch, evaluated and used."""
    model = truth.make()
    x = data_for(truth.inputs, 20)
    model.compile(optimizer="sgd", loss="mse")
    with effects_shown(), counting_runs(type(model).call) as ran:
        for stage in STAGES:
            entries = len(model.ledger)
            if stage == "build":
                model.build(truth.inputs)
                outputs = model.graph.outputs
                y = jax.tree.map(lambda s: random_array((20, *s[1:]), "float32"), outputs, is_leaf=_is_shape)
            elif stage == "fit":
                losses = model.fit(x, y, batch_size=8, verbose=0).history["loss"]
                assert np.all(np.isfinite(losses))
            elif stage == "evaluate":
                model.evaluate(x, y, batch_size=8, verbose=0)
            else:
                values = model.predict(jax.tree.map(lambda a: a[:7], x), verbose=0)
                assert jax.tree.map(lambda a: a.shape, values) == jax.tree.map(lambda s: (7, *s[1:]), outputs, is_leaf=_is_shape)
            expected = truth.runs.get(stage, [])
            assert (stage, [run.reason for run in list(model.ledger)[entries:]]) == (stage, expected)
            if ran is not None:
                assert (stage, len(ran)) == (stage, len(expected))
                ran.clear()
    assert model.ledger.call_count == sum(map(len, truth.runs.values()))


# ---- Helpers ----


def data_for(inputs: Any, rows: int) -> Any:
    """Random arrays for shapes, or for a structure of them."""
    if hasattr(inputs, "dtype"):
        return random_array((rows, *inputs.shape[1:]), inputs.dtype)
    if _is_shape(inputs):
        return random_array((rows, *inputs[1:]), "float32")
    if isinstance(inputs, dict):
        return {k: data_for(v, rows) for k, v in inputs.items()}
    return type(inputs)(data_for(v, rows) for v in inputs)


def random_array(shape: tuple, dtype: Any) -> np.ndarray:
    generator = np.random.default_rng(shape)
    if np.issubdtype(dtype, np.floating):
        return generator.normal(size=shape).astype(dtype)
    return generator.integers(0, 5, shape).astype(dtype)


@contextlib.contextmanager
def effects_shown() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings of side effects that are shown inside; all others are errors, as everywhere in the tests."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        warnings.simplefilter("always", SideEffectWarning)
        yield caught


@contextlib.contextmanager
def counting_runs(function: Callable) -> Iterator[list[None] | None]:
    """A list that grows by one where a function begins to run, whoever calls it; None before Python 3.12."""
    if sys.version_info < (3, 12):
        yield None
        return
    ran: list[None] = []
    events, tool = sys.monitoring.events, 3
    sys.monitoring.use_tool_id(tool, "pellucid's tests")
    sys.monitoring.register_callback(tool, events.PY_START, lambda *_: ran.append(None))
    sys.monitoring.set_local_events(tool, function.__code__, events.PY_START)
    try:
        yield ran
    finally:
        sys.monitoring.set_local_events(tool, function.__code__, 0)
        sys.monitoring.free_tool_id(tool)


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(d is None or isinstance(d, int) for d in x)


def _line_at(file: str, line: int) -> str:
    return linecache.getline(file, line).strip()


def ints(*shape: int | None) -> jax.ShapeDtypeStruct:
    """Inputs of whole numbers."""
    return jax.ShapeDtypeStruct(tuple(32 if d is None else d for d in shape), np.int32)
