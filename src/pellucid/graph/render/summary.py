"""The table of ``model.summary()``."""

from __future__ import annotations

import io
from typing import Any

from pellucid.core.layer import Layer
from pellucid.graph.graph import Graph


def summary_text(
    layer: Layer, graph: Graph | None, width: int | None = None, expand_nested: bool = True, show_trainable: bool = False
) -> str:
    """One row for each layer call, nested ones indented, with shapes (None is the batch), connections and parameters."""
    # rich is imported when the first table is drawn: it would be a tenth of the time of `import pellucid`
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Model: {layer.name!r}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column, right in (("Layer (type)", False), ("Output shape", False), ("Connected to", False), ("Param #", True)):
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    if show_trainable:
        table.add_column("Trainable")
    called: set[Layer] = set()
    if graph is not None:
        for node in graph.nodes:
            if node.layer is None or (node.depth and not expand_nested):
                called.update([node.layer] if node.layer else [])
                continue
            shape = ", ".join(str(s.shape) for s in node.outputs)
            count = f"{node.parameters:,}" if node.layer not in called else "shared"
            called.add(node.layer)
            step = node.path if not node.depth else "  " * node.depth + node.path.split("/", node.depth)[-1]
            row = [f"{step} ({node.kind})", shape, ", ".join(map(_short, node.connected_to)), count]
            table.add_row(*row, *(["yes" if node.layer.trainable else "no"] if show_trainable else []))
    for other in layer._flatten_layers()[1:]:
        if other not in called:
            row = [
                f"{other.path} ({type(other).__name__})",
                "not called" if graph else "not built",
                "",
                f"{_count(other.weights):,}" if other.built else "?",
            ]
            table.add_row(*row, *(["yes" if other.trainable else "no"] if show_trainable else []))
    out = io.StringIO()
    Console(file=out, width=width or 100, color_system=None, legacy_windows=False, emoji=False, markup=False, highlight=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n" + _totals(layer)


def _short(source: str) -> str:
    return source.replace("@", " at ")


def _totals(layer: Layer) -> str:
    trainable, others = _count(layer.trainable_weights), _count(layer.non_trainable_weights)
    size = sum(v.size * v.dtype.itemsize for v in layer.weights)
    return f"Total params: {trainable + others:,} ({_size(size)}), trainable: {trainable:,}, not trainable: {others:,}"


def _count(variables: list[Any]) -> int:
    return sum(v.size for v in variables)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1024 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return ""
