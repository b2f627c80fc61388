"""The table of ``model.summary()``."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pellucid.core import dtypes
from pellucid.core.checks import check_flags, check_whole
from pellucid.core.layer import Layer
from pellucid.graph.nodes import Counted, Node

if TYPE_CHECKING:
    from pellucid.graph.graph import Graph

_UNBUILT = (
    "`call` was not captured yet, so shapes and connections are not known. Give the shape of the inputs,\n"
    "`model.summary(input_shape=(None, …))`, or build the model, or use it once."
)


class _Row(NamedTuple):
    """A row of the table: all columns, as texts."""

    name: str
    shape: str = ""
    sources: str = ""
    parameters: str = ""
    flops: str = ""
    trainable: str = ""


def summary_text(
    layer: Layer,
    graph: Graph | None,
    width: int | None = None,
    expand_nested: bool = True,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
    optimizer_state: tuple[int, int] | None = None,
) -> str:
    """One row for each layer call and operation, nested ones indented, and the totals.

    Args:
        layer: that is described.
        graph: what its ``call`` did, or None before a capture.
        width: of the table, 100 by default.
        expand_nested: whether what is inside layers has rows.
        show_trainable: whether a column says what is trainable.
        layer_range: the first and the last row at the model's own level, as regular expressions.
        optimizer_state: number of elements and bytes, None where there is no optimizer.

    Raises:
        ValueError: for a ``layer_range`` that fits no rows, a width that is none, what is neither true nor false.
    """
    check_flags("summary", expand_nested=expand_nested, show_trainable=show_trainable)
    width = 100 if width is None else check_whole("summary", "line_length", width)
    if layer_range is not None and graph is None:
        raise ValueError(
            f"summary: layer_range={layer_range!r}, and `call` was not captured yet; expected input_shape, too, or a built model."
        )
    counted = Counted([] if graph is None else graph.nodes)
    rows = [] if graph is None else _rows(graph, _chosen(graph, layer_range), expand_nested, counted)
    others = layer._flatten_layers()[1:] if graph is None else graph.uncalled
    rows += [_other(x, "not built" if graph is None else "not called", counted) for x in others]
    parts = [_table(f"Model: {layer.name!r}", rows, width, show_trainable, flops=graph is not None)]
    if graph is None:
        parts.append(_UNBUILT)
    parts.append(_totals(layer, graph, optimizer_state))
    return "\n\n".join(parts)


def _rows(graph: Graph, chosen: list[Node], expand_nested: bool, counted: Counted) -> list[_Row]:
    kept = {n.path for n in chosen}
    rows = [_Row(f"{n.path} (Input)", _shapes(n)) for n in graph.input_nodes if n.path in kept]
    called: set[Layer] = set()
    around: dict[str, str] = {}  # the node at the model's own level that each one is inside of
    for node in graph.nodes:
        around[node.path] = around.get(node.parent, node.path)
        if around[node.path] in kept and (expand_nested or not node.depth):
            rows.append(_row(node, _number(node.parameters, counted.new[node.path], node.layer in called)))
        called.update([node.layer] if node.layer is not None else [])
    return rows


def _row(node: Node, count: str) -> _Row:
    step = "  " * node.depth + node.name
    sources = ", ".join(_seen_from(node, path) for path in node.connected_to)
    flops = compact(node.flops)
    if node.layer is None:
        return _Row(f"{'  ' * node.depth}· {node.name}", _shapes(node), sources, count if node.parameters else "", flops)
    return _Row(f"{step} ({node.kind})", _shapes(node), sources, count, flops, "yes" if node.layer.trainable else "no")


def _number(parameters: int, new: int, called_before: bool = False) -> str:
    """What is new, and whether there are others, which a row above has."""
    if called_before or (parameters and not new):
        return "shared"
    return f"{new:,}" if new == parameters else f"{new:,} + shared"


def _other(layer: Layer, state: str, counted: Counted) -> _Row:
    around = set(itertools.accumulate(layer.path.split("/"), "{}/{}".format))
    count = _number(_count(layer.weights), counted.add(layer.path, layer.weights, around)) if layer.built else "?"
    return _Row(f"{layer.path} ({type(layer).__name__})", state, "", count, "", "yes" if layer.trainable else "no")


def _chosen(graph: Graph, layer_range: Sequence[str] | None) -> list[Node]:
    """The nodes at the model's own level that have rows: all, or those from the first that fits to the last that does."""
    nodes = [*graph.input_nodes, *graph.children()]
    if layer_range is None:
        return nodes
    first, last = ([i for i, n in enumerate(nodes) if pattern.fullmatch(n.path)] for pattern in _patterns(layer_range))
    for found, wanted in ((first, layer_range[0]), (last, layer_range[1])):
        if not found:
            raise ValueError(f"summary: layer_range has {wanted!r}; the layers are: {', '.join(n.path for n in nodes)}.")
    if first[0] > last[-1]:
        raise ValueError(f"summary: layer_range={tuple(layer_range)!r}; {layer_range[0]!r} is called after {layer_range[1]!r}.")
    return nodes[first[0] : last[-1] + 1]


def _patterns(layer_range: Any) -> list[re.Pattern]:
    pair = isinstance(layer_range, list | tuple) and len(layer_range) == 2 and all(isinstance(x, str) for x in layer_range)
    if not pair:
        raise ValueError(f"summary: layer_range={layer_range!r}; expected the names of the first and the last layer, such as ('a', 'b').")
    try:
        return [re.compile(x) for x in layer_range]
    except re.error as error:
        raise ValueError(
            f"summary: layer_range={layer_range!r} holds no regular expression ({error}); expected names or patterns, such as 'block.*'."
        ) from None


def _table(title: str, rows: Iterable[_Row], width: int, show_trainable: bool, flops: bool) -> str:
    columns = [("Layer (type)", "left"), ("Output shape", "left"), ("Connected to", "left"), ("Param #", "right"), ("FLOPs", "right")]
    columns.append(("Trainable", "left"))
    shown = [True, True, True, True, flops, show_trainable]
    cut = lambda values: [value for value, show in zip(values, shown, strict=True) if show]
    return table_text(title, cut(columns), [cut(row) for row in rows], width)


def table_text(title: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], width: int, close: bool = False) -> str:
    """A table as plain text.

    Args:
        title: above it.
        columns: heading and side ("left" or "right") of each.
        rows: a text for each column.
        width: in characters, at most.
        close: whether the columns are close to each other.
    """
    # rich is imported when the first table is drawn: it would be a tenth of the time of `import pellucid`
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=close)
    for column, justify in columns:
        table.add_column(column, justify=justify, overflow="fold", no_wrap=justify == "right")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False, emoji=False, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).rstrip()


def _totals(layer: Layer, graph: Graph | None, optimizer_state: tuple[int, int] | None) -> str:
    lines = [
        f"{kind} params: {_count(weights):,} ({size_text(_bytes(weights))})"
        for kind, weights in (
            ("Total", layer.weights),
            ("Trainable", layer.trainable_weights),
            ("Non-trainable", layer.non_trainable_weights),
        )
    ]
    if optimizer_state is not None:
        lines.append(f"Optimizer state: {optimizer_state[0]:,} ({size_text(optimizer_state[1])})")
    if graph is not None:
        sizes = [f"{name.replace('_', ' ')} {graph.present[name]}" for name in graph.signature.lengths]
        of = f" of {' and '.join(sizes)}" if sizes else ""
        lines.append(f"FLOPs, a row{of}: {sum(n.flops for n in graph.children()):,.0f}")
    return "\n".join(lines)


def _seen_from(node: Node, path: str) -> str:
    """A source beside a node by its own name, one from outside by its path."""
    prefix = f"{node.parent}/" if node.parent else ""
    return path.removeprefix(prefix)


def _shapes(node: Node) -> str:
    usual = dtypes.floatx()  # other floats are worth a word
    shapes = [f"{s.shape} {s.dtype}" if s.dtype in dtypes.FLOATS and s.dtype != usual else str(s.shape) for s in node.outputs]
    return "\n".join(shapes) + (" masked" if node.masks else "")


def _count(variables: Iterable[Any]) -> int:
    return sum(v.size for v in variables)


def _bytes(variables: Iterable[Any]) -> int:
    return sum(v.size * v.dtype.itemsize for v in variables)


def compact(number: float) -> str:
    """A number with at most five digits: 9,876, 98.8k, 1.23M, 45.6G."""
    if number < 10_000:
        return f"{number:,.0f}"
    for unit in ("k", "M", "G", "T"):
        number /= 1000
        if number < 999.5:
            return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}{unit}"
    return f"{number:,.0f}T"


def size_text(count: float) -> str:
    """Bytes as a text: 512 B, 4.71 KB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:,.2f} {unit}"
        count /= 1024
    return ""
