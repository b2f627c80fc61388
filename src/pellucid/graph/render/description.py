"""What all drawings of a graph share: its nodes and edges as plain data.

A drawing is a view of a ``Picture``: nothing behind this file looks at layers, equations or source files.
"""

from __future__ import annotations

import dataclasses
import linecache
from typing import TYPE_CHECKING, Any

from pellucid.core.jax_compat import Place
from pellucid.graph.nodes import Counted, Node, TensorSpec

if TYPE_CHECKING:
    from pellucid.graph.graph import Graph


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight, for the list beside a node."""

    path: str
    shape: str
    dtype: str
    trainable: bool


@dataclasses.dataclass(frozen=True)
class Box:
    """A node as it is drawn.

    Attributes:
        path: of the node, unique.
        name: last step of the path.
        kind: class of the layer, or name of the operation, "Input" or "Output".
        role: "input", "output", "layer" or "operation".
        parent: path of the layer call around it, or an empty text.
        depth: number of layer calls around it.
        inputs, outputs: shapes and data types, as pairs of texts.
        parameters, flops, bytes: as a node has them.
        trainable: of a layer; None for anything else.
        activation: name of a layer's activation, or an empty text.
        shared: whether the layer was called before, or all weights that are used have been used before.
        results: paths of the boxes directly inside that give the outputs.
        weights: of a layer, or those that an operation reads.
        place: file and line of the user's call, such as ``model.py:12``, or an empty text.
        file: the whole path of that file.
        line: its text.
    """

    path: str
    name: str
    kind: str
    role: str
    parent: str = ""
    depth: int = 0
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    parameters: int = 0
    flops: float = 0.0
    bytes: int = 0
    trainable: bool | None = None
    activation: str = ""
    shared: bool = False
    results: tuple[str, ...] = ()
    weights: tuple[Weight, ...] = ()
    place: str = ""
    file: str = ""
    line: str = ""


@dataclasses.dataclass(frozen=True)
class Arrow:
    """All values that one box gives another, with their shapes and data types as texts."""

    source: str
    target: str
    values: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """The shapes."""
        return ", ".join(dict.fromkeys(shape for shape, _ in self.values))


@dataclasses.dataclass(frozen=True)
class Uncalled:
    """A layer that was created and never called; ``parameters`` is None where it has no weights yet."""

    path: str
    kind: str
    parameters: int | None


@dataclasses.dataclass(frozen=True)
class Picture:
    """A graph as it is drawn: boxes in the order in which they ran, inputs first and outputs last."""

    name: str
    kind: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    uncalled: tuple[Uncalled, ...]
    parameters: int
    flops: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "_children", children := {})
        for box in self.boxes:
            children.setdefault(box.parent, []).append(box)

    def children(self, path: str = "") -> list[Box]:
        """The boxes directly inside one, or at the top level."""
        return self._children.get(path, [])  # type: ignore[attr-defined]

    def as_dict(self) -> dict[str, Any]:
        """Lists, dicts, texts and numbers, as JSON can hold them."""
        return dataclasses.asdict(self)

    def leaf_arrows(self) -> list[Arrow]:
        """The arrows as one sees them when every box is open: between boxes that hold no others."""
        boxes = {box.path: box for box in self.boxes}
        found: dict[tuple[str, str], tuple] = {}
        taken = {(a.source, a.target) for a in self.arrows}
        for arrow in self.arrows:
            inner = self.children(arrow.target)
            if any((arrow.source, box.path) in taken for box in inner):
                continue  # goes on to a box inside
            for source in self._ends(boxes[arrow.source], boxes):
                found[source, arrow.target] = tuple(dict.fromkeys([*found.get((source, arrow.target), ()), *arrow.values]))
        return [Arrow(source, target, values) for (source, target), values in found.items()]

    def _ends(self, box: Box, boxes: dict[str, Box]) -> list[str]:
        if not box.results or not self.children(box.path):
            return [box.path]
        return list(dict.fromkeys(end for path in box.results for end in self._ends(boxes[path], boxes)))


def describe(graph: Graph) -> Picture:
    """The picture of a graph."""
    seen, counted = set[Any](), Counted(graph.nodes)
    boxes = [_box(n, "input") for n in graph.input_nodes]
    for node in graph.nodes:
        shared = node.layer in seen or bool(node.parameters and not counted.new[node.path])
        boxes.append(_box(node, "operation" if node.layer is None else "layer", shared))
        seen.update([node.layer] if node.layer is not None else [])
    boxes += [_box(n, "output") for n in graph.output_nodes]
    merged: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for edge in graph.edges:
        merged.setdefault((edge.source.path, edge.target.path), []).append(_texts(TensorSpec(edge.shape, edge.dtype)))
    uncalled = [Uncalled(x.path, type(x).__name__, sum(w.size for w in x.weights) if x.built else None) for x in graph.uncalled]
    return Picture(
        name=graph.layer.name,
        kind=type(graph.layer).__name__,
        boxes=tuple(boxes),
        arrows=tuple(Arrow(source, target, tuple(values)) for (source, target), values in merged.items()),
        uncalled=tuple(uncalled),
        parameters=sum(w.size for w in graph.layer.weights),
        flops=sum(n.flops for n in graph.children()),
    )


def check_rankdir(rankdir: str, where: str = "save") -> None:
    """Raises a ValueError for an unknown direction."""
    if rankdir not in ("TB", "BT", "LR", "RL"):
        raise ValueError(f"{where}: rankdir={rankdir!r}; expected 'TB' (downwards), 'BT', 'LR' (to the right) or 'RL'.")


def _box(node: Node, role: str, shared: bool = False) -> Box:
    layer, place = node.layer, node.source
    activation = getattr(layer, "activation", None)
    return Box(
        path=node.path,
        name=node.name,
        kind=node.kind,
        role=role,
        parent=node.parent,
        depth=node.depth,
        inputs=tuple(map(_texts, node.inputs)),
        outputs=tuple(map(_texts, node.outputs)),
        parameters=node.parameters,
        flops=node.flops,
        bytes=node.bytes,
        trainable=None if layer is None else layer.trainable,
        activation=getattr(activation, "__name__", "") if callable(activation) else "",
        shared=shared,
        results=tuple(node.results),
        weights=tuple(_weight(v) for v in node.weights),
        place=str(place) if place else "",
        file=place.file if place else "",
        line=_line(place) if place else "",
    )


def _weight(variable: Any) -> Weight:
    return Weight(variable.path, str(tuple(variable.shape)), str(variable.dtype), variable.trainable)


def _texts(spec: TensorSpec) -> tuple[str, str]:
    return str(spec.shape), spec.dtype


def _line(place: Place) -> str:
    return linecache.getline(place.file, place.line).strip()
