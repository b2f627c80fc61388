"""The files that drawings are made with: dagre, which lays out, and our own script and styles."""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def asset(name: str) -> str:
    """The text of a file of the folder ``assets``."""
    return resources.files("pellucid.graph.render").joinpath("assets", name).read_text(encoding="utf-8")


def dagre() -> str:
    """dagre as a script, with its licence, which goes wherever the script goes."""
    return asset("dagre.min.js.LEGAL.txt").strip().replace("@license", "@license dagre, MIT") + "\n" + asset("dagre.min.js")
