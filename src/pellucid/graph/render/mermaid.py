"""A picture as a Mermaid flowchart, which GitHub, GitLab and many editors draw."""

from __future__ import annotations

from pellucid.graph.render.description import Box, Picture, check_rankdir

_SHAPES = {"input": ("([", "])"), "output": ("([", "])"), "operation": ("(", ")"), "layer": ("[", "]")}
_STYLES = (
    "classDef layer fill:#e3edfb,stroke:#5b8bd0,color:#1f2937",
    "classDef operation fill:#ffffff,stroke:#9ca3af,color:#1f2937",
    "classDef end_ fill:#e4f3ec,stroke:#4c9f7d,color:#1f2937",
    "classDef uncalled fill:#fdf1e3,stroke:#cf8a3c,stroke-dasharray:4 3,color:#1f2937",
)


def mermaid(picture: Picture, rankdir: str = "TB", show_shapes: bool = True) -> str:
    """The text of a Mermaid file.

    Args:
        picture: to draw.
        rankdir: "TB", "BT", "LR" or "RL".
        show_shapes: whether edges have shapes.
    """
    check_rankdir(rankdir)
    ids = {box.path: f"n{i}" for i, box in enumerate(picture.boxes)}
    lines = [f"flowchart {rankdir}"]

    def put(parent: str, indent: str) -> None:
        for box in picture.children(parent):
            if picture.children(box.path):
                lines.append(f'{indent}subgraph {ids[box.path]}["{_text(_title(box, " "))}"]')  # room for one line
                put(box.path, indent + "  ")
                lines.append(f"{indent}end")
            else:
                left, right = _SHAPES[box.role]
                kind = "end_" if box.role in ("input", "output") else box.role
                lines.append(f'{indent}{ids[box.path]}{left}"{_text(_title(box))}"{right}:::{kind}')

    put("", "  ")
    for arrow in picture.leaf_arrows():
        label = f'|"{_text(arrow.label)}"|' if show_shapes and arrow.label else ""
        lines.append(f"  {ids[arrow.source]} -->{label} {ids[arrow.target]}")
    if picture.uncalled:
        lines.append('  subgraph uncalled["never called"]')
        lines += [f'    u{i}["{_text(f"{x.path}<br>{x.kind}")}"]:::uncalled' for i, x in enumerate(picture.uncalled)]
        lines.append("  end")
    return "\n".join([*lines, *(f"  {style}" for style in _STYLES)]) + "\n"


def _title(box: Box, between: str = "<br>") -> str:
    return box.name if box.role == "operation" or box.kind == box.name else f"{box.name}{between}{box.kind}"


def _text(text: str) -> str:
    """Mermaid takes entities by number, and would read Markdown and tags in anything else."""
    parts = text.split("<br>")
    return "<br>".join("".join(c if c.isalnum() or c in " _.,()/-" else f"#{ord(c)};" for c in part) for part in parts)
