"""Drawings as files: the ending of the name says which format."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.core.checks import check_flags, check_path
from pellucid.core.files import write_whole
from pellucid.graph.render.description import Picture, describe
from pellucid.graph.render.dot import dot
from pellucid.graph.render.mermaid import mermaid
from pellucid.graph.render.model_explorer import collection
from pellucid.graph.render.page import inline, page
from pellucid.graph.render.png import png
from pellucid.graph.render.svg import svg

if TYPE_CHECKING:
    from pellucid.graph.graph import Graph


def save(graph: Graph, path: str | os.PathLike, format: str | None = None, **options: Any) -> str:
    """Writes a drawing of a graph. Where that fails, the file that was there before stays as it is.

    Args:
        graph: to draw.
        path: of the file; its ending says the format: ``.svg``, ``.png``, ``.html``, ``.mmd`` (Mermaid), ``.dot``, ``.json``,
            ``.model_explorer.json`` (for Google's Model Explorer).
        format: "svg", "png", "html", "mmd", "dot", "json" or "model_explorer", where the ending does not say it.
        options: for svg, png and html: ``rankdir`` ("TB" downwards, "BT", "LR" to the right, "RL"), ``expand_nested`` (whether layers
            show what is inside), ``show_shapes``, ``show_dtype``, ``show_layer_names``, ``show_layer_activations``,
            ``show_trainable``; for png also ``dpi``; for mmd and dot ``rankdir`` and ``show_shapes``.

    Returns:
        The path.

    Raises:
        ValueError: for an unknown format or direction.
        TypeError: for an option that the format does not have.
        ImportError: for svg and png, where ``pellucid[plot]`` is not installed.
        OSError: where the file cannot be written.
    """
    name = format_of(path, format)
    if unknown := set(options) - OPTIONS[name]:
        raise TypeError(f"save: unknown option {min(unknown)!r}; {name} takes: {', '.join(sorted(OPTIONS[name])) or 'none'}.")
    check_flags("save", **{key: value for key, value in options.items() if key not in ("rankdir", "dpi")})
    content = WRITERS[name](describe(graph), **options)
    write_whole(path, content)
    return os.fspath(path)


def html(graph: Graph, **options: Any) -> str:
    """A page that works offline; options as ``save`` has them."""
    return page(describe(graph), **options)


def notebook(graph: Graph) -> str:
    """HTML that shows a graph inside a notebook or another page."""
    return inline(describe(graph))


def format_of(path: str | os.PathLike, format: str | None = None) -> str:
    """The format of a file, from its name where ``format`` is None.

    Raises:
        ValueError: for an unknown one.
    """
    name = check_path("save", "path", path, "the name of a file, such as 'model.svg'").lower()
    if format is not None:
        if not isinstance(format, str) or format not in WRITERS:
            raise ValueError(f"save: format={format!r}; expected one of {', '.join(WRITERS)}.")
        return format
    ending = "model_explorer" if name.endswith(".model_explorer.json") else pathlib.Path(name).suffix.lstrip(".")
    if ending not in WRITERS or (ending == "model_explorer" and not name.endswith(".json")):
        endings = ", ".join(f".{w}" for w in WRITERS if w != "model_explorer")
        raise ValueError(
            f"save: path={os.fspath(path)!r}; expected a name that ends in {endings} or .model_explorer.json, or format='svg'."
        )
    return ending


def check_dpi(dpi: Any, where: str = "save") -> None:
    """Raises a ValueError for what is no number of points."""
    if isinstance(dpi, bool) or not isinstance(dpi, int | float | np.number) or not 0 < dpi < float("inf"):
        raise ValueError(f"{where}: dpi={dpi!r}; expected a positive number, such as 192 (twice the size of the svg).")


def _as_json(picture: Picture) -> str:
    return json.dumps({"format": "pellucid graph", "version": 1} | picture.as_dict(), indent=1, ensure_ascii=False) + "\n"


def _as_model_explorer(picture: Picture) -> str:
    return json.dumps(collection(picture), indent=1, ensure_ascii=False) + "\n"


def _as_png(picture: Picture, dpi: float = 192, **options: Any) -> bytes:
    check_dpi(dpi)
    return png(svg(picture, **options), float(dpi))


WRITERS: dict[str, Callable[..., str | bytes]] = {
    "svg": svg,
    "png": _as_png,
    "html": page,
    "mmd": mermaid,
    "dot": dot,
    "json": _as_json,
    "model_explorer": _as_model_explorer,
}

_DRAWN = frozenset(
    {"rankdir", "expand_nested", "show_shapes", "show_dtype", "show_layer_names", "show_layer_activations", "show_trainable"}
)  # fmt: skip
# What each format lets one choose.
OPTIONS: dict[str, frozenset[str]] = {
    "svg": _DRAWN,
    "png": _DRAWN | {"dpi"},
    "html": _DRAWN,
    "mmd": frozenset({"rankdir", "show_shapes"}),
    "dot": frozenset({"rankdir", "show_shapes"}),
    "json": frozenset(),
    "model_explorer": frozenset(),
}
