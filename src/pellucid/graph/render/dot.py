"""A picture in the DOT language of Graphviz."""

from __future__ import annotations

from pellucid.graph.render.description import Box, Picture, check_rankdir

_COLORS = {
    "input": ("#e4f3ec", "#4c9f7d"),
    "output": ("#e4f3ec", "#4c9f7d"),
    "operation": ("#ffffff", "#9ca3af"),
    "layer": ("#e3edfb", "#5b8bd0"),
}


def dot(picture: Picture, rankdir: str = "TB", show_shapes: bool = True) -> str:
    """The text of a DOT file.

    Args:
        picture: to draw.
        rankdir: "TB", "BT", "LR" or "RL".
        show_shapes: whether edges have shapes.
    """
    check_rankdir(rankdir)
    lines = [
        f"digraph {_quoted(picture.kind)} {{",
        f'  rankdir={rankdir}; fontname="Helvetica"; compound=true;',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, color="#64748b"];',
    ]

    def put(parent: str, indent: str) -> None:
        for box in picture.children(parent):
            if picture.children(box.path):
                lines.append(f"{indent}subgraph {_quoted('cluster_' + box.path)} {{ label={_quoted(_title(box))}; style=rounded;")
                put(box.path, indent + "  ")
                lines.append(f"{indent}}}")
            else:
                fill, border = _COLORS[box.role]
                lines.append(f'{indent}{_quoted(box.path)} [label={_quoted(_title(box))}, fillcolor="{fill}", color="{border}"];')

    put("", "  ")
    for arrow in picture.leaf_arrows():
        label = f" [label={_quoted(arrow.label)}]" if show_shapes else ""
        lines.append(f"  {_quoted(arrow.source)} -> {_quoted(arrow.target)}{label};")
    for layer in picture.uncalled:
        title = _quoted(f"{layer.path}\n{layer.kind}, never called")
        lines.append(f'  {_quoted("uncalled " + layer.path)} [label={title}, style="rounded,dashed", color="#cf8a3c"];')
    return "\n".join([*lines, "}"]) + "\n"


def _title(box: Box) -> str:
    return box.name if box.role == "operation" or box.kind == box.name else f"{box.name}\n{box.kind}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
