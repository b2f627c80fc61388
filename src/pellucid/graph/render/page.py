"""A picture as one HTML page that works offline, and as part of a notebook."""

from __future__ import annotations

import html
import json
from typing import Any

from pellucid.graph.render.description import Picture
from pellucid.graph.render.scripts import asset, dagre
from pellucid.graph.render.svg import settings

# The page needs nothing from anywhere; so that it cannot even ask.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"


def page(picture: Picture, expand_nested: bool | None = None, **options: Any) -> str:
    """The text of an HTML file.

    Args:
        picture: to show.
        expand_nested: whether layers are open at first: all, none, or as many as leave the first sight readable (None).
        options: see ``pellucid.graph.render.save``.
    """
    how = settings(picture, expand_nested=bool(expand_nested), **options) | {"auto": expand_nested is None}
    data = json.dumps({"picture": picture.as_dict(), "settings": how}).replace("<", "\\u003c")
    title = html.escape(picture.kind)
    totals = f"{picture.parameters:,} parameters · {picture.flops:,.0f} FLOPs a row"
    scripts = "\n".join(f"<script>\n{s}</script>" for s in (dagre(), asset("picture.js"), asset("viewer.js")))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{title}</title>
<style>
{asset("picture.css")}{asset("viewer.css")}</style>
</head>
<body>
<header>
<h1>{title}</h1><span class="totals">{totals}</span>
<div class="search"><input id="search" type="search" placeholder="Search" aria-label="Search nodes" autocomplete="off">
<ul class="found" id="found"></ul></div>
<button id="zoom-out" aria-label="Zoom out">−</button><button id="zoom-in" aria-label="Zoom in">+</button><button id="fit">Fit</button>
<button id="expand">Expand all</button><button id="collapse">Collapse all</button><button id="theme" aria-label="Light or dark">◐</button>
</header>
<main><svg id="canvas" role="group" aria-label="Graph"></svg><aside id="panel" aria-live="polite" hidden></aside></main>
<script type="application/json" id="picture">{data}</script>
{scripts}
</body>
</html>
"""


def inline(picture: Picture) -> str:
    """The page inside a frame, for notebooks and reports: its styles and scripts stay apart from theirs."""
    height = min(600, max(300, 110 * len(picture.children())))
    frame = "width:100%;border:1px solid #8886;border-radius:8px"
    document = html.escape(page(picture), quote=True)
    title = html.escape(f"Graph of {picture.kind}", quote=True)
    return f'<iframe srcdoc="{document}" title="{title}" sandbox="allow-scripts" style="{frame};height:{height}px" loading="lazy"></iframe>'
