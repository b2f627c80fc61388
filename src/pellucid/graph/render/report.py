"""The page of ``model.report()``: the story of ``call``, the graph, the curves, the time, the profile, the most work."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pellucid.graph.nodes import Node

if TYPE_CHECKING:
    from pellucid.graph.graph import Graph
    from pellucid.graph.ledger import Ledger

_SLOWEST = 10  # rows of a table


def report(
    name: str,
    ledger: Ledger,
    graph: Graph | None,
    drawing: str,
    history: dict[str, list[float]],
    phases: dict[str, float],
    profiles: Sequence[dict[str, Any]] = (),
) -> str:
    """One HTML page that works offline.

    Args:
        name: of the model's class.
        ledger: of its runs.
        graph: the last one, or None before a capture.
        drawing: HTML that shows the graph.
        history: values by name of loss or metric, one an epoch.
        phases: seconds of the last ``fit`` by phase.
        profiles: tables of the last ``profile``: "title", "columns", "rows", "about", "advice".
    """
    effects = list(dict.fromkeys(str(effect) for run in ledger for effect in run.effects))
    sections = [
        ("When and why <code>call</code> ran", _story(ledger.story(name))),
        ("Side effects", _items(effects) if effects else "<p>No side effect was detected in <code>call</code>.</p>"),
        ("The graph", drawing or "<p>Nothing was captured yet: build the model, or fit it.</p>"),
        ("The last fit", _curves(history) if history else "<p>The model was not fitted yet.</p>"),
        ("Where the time went", _bars(phases, "s", 2) if phases else "<p>The model was not fitted yet.</p>"),
        ("The time of a step", "".join(map(_profile, profiles)) or "<p>Not measured yet: <code>model.profile(x, y)</code> does.</p>"),
        ("The most work, for one row", _work(graph) if graph is not None else "<p>Nothing was captured yet.</p>"),
    ]
    body = "\n".join(f"<section><h2>{title}</h2>\n{content}\n</section>" for title, content in sections)
    title = html.escape(name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>\n'
        f"<body><main><h1>{title}</h1>\n{body}\n</main></body></html>\n"
    )


def _story(text: str) -> str:
    """Its lines; where one is broken, it goes on below its own beginning."""
    lines = ((line, len(line) - len(line.lstrip()) + 2) for line in text.splitlines())
    spans = (f'<span style="padding-left:{n}ch;text-indent:-{n}ch">{html.escape(line)}\n</span>' for line, n in lines)
    return f"<pre>{''.join(spans)}</pre>"


def _items(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"


# ---- Curves ----

_WIDTH, _HEIGHT, _LEFT, _MARGIN = 420, 220, 64, 24


def _curves(history: dict[str, list[float]]) -> str:
    """A drawing for each loss and metric, with that of the validation in it."""
    names = [n for n in history if not (n.startswith("val_") and n.removeprefix("val_") in history)]
    return '<div class="curves">' + "".join(_curve(n, history[n], history.get(f"val_{n}", [])) for n in names) + "</div>"


def _curve(name: str, training: Sequence[Any], validation: Sequence[Any]) -> str:
    values = [float(v) for v in (*training, *validation) if _is_number(v)]
    if not values:
        return ""
    low, high, epochs = min(values), max(values), max(len(training), len(validation))
    bottom, top, right = _HEIGHT - _MARGIN, _MARGIN, _WIDTH - _MARGIN

    def at(value: float, first: float, last: float, start: float, end: float) -> float:
        return (start + end) / 2 if first == last else start + (end - start) * (value - first) / (last - first)

    def line(series: Sequence[Any], kind: str) -> str:
        points = [
            (at(epoch, 1, epochs, _LEFT, right), at(float(value), low, high, bottom, top))
            for epoch, value in enumerate(series, 1)
            if _is_number(value)
        ]
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in points)
        return f'<g class="{kind}"><polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>{dots}</g>'

    texts: list[tuple[float, float, str, str]] = []
    texts += [(_LEFT - 6, at(v, low, high, bottom, top) + 4, "end", f"{v:.4g}") for v in dict.fromkeys((high, low))]
    texts += [
        (at(e, 1, epochs, _LEFT, right), _HEIGHT - 6, "middle", f"epoch {e}" if e == 1 else str(e)) for e in dict.fromkeys((1, epochs))
    ]
    axes = f'<path class="axis" d="M{_LEFT} {top}V{bottom}H{right}"/>' + "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>' for x, y, anchor, text in texts
    )
    drawn = line(training, "training") + (line(validation, "validation") if validation else "")
    legend = '<span class="training">training</span>' + (' <span class="validation">validation</span>' if validation else "")
    title = html.escape(name)
    return (
        f'<figure><figcaption>{title} <small>{legend}</small></figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{title} by epoch">{axes}{drawn}</svg></figure>'
    )


def _is_number(value: Any) -> bool:
    try:
        return abs(float(value)) < float("inf")
    except (TypeError, ValueError):
        return False


# ---- Tables ----


def _bars(values: dict[str, float], unit: str, digits: int) -> str:
    total = sum(values.values()) or 1.0
    rows = [
        f'<tr><th>{html.escape(name)}</th><td class="number">{value:,.{digits}f} {unit}</td><td class="number">{value / total:.0%}</td>'
        f'<td class="bar"><i style="width:{100 * value / total:.1f}%"></i></td></tr>'
        for name, value in values.items()
    ]
    return f"<table>{''.join(rows)}</table>"


def _profile(given: dict[str, Any]) -> str:
    """Where the time of a step goes."""
    head = "".join(f"<th{' class=number' * (i > 0)}>{html.escape(c)}</th>" for i, c in enumerate(given["columns"]))
    body = "".join(
        f'<tr><th class="name">{html.escape(name)}</th>'
        + "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in cells)
        + "</tr>"
        for name, *cells in given["rows"]
    )
    told = "".join(f"<li>{html.escape(text)}</li>" for text in given["advice"])
    return (
        f"<h3>{html.escape(given['title'])}</h3><table><tr>{head}</tr>{body}</table>"
        f"<p>{html.escape(given['about'])} The slowest parts:</p><ol>{told}</ol>"
    )


def _work(graph: Graph) -> str:
    """The nodes that hold no others, by FLOPs, with the bytes of their outputs."""
    inner = {n.parent for n in graph.nodes}
    nodes: list[Node] = [n for n in graph.nodes if n.path not in inner]
    flops, size = sum(n.flops for n in nodes) or 1.0, sum(n.bytes for n in nodes) or 1
    rows = [
        f"<tr><th>{html.escape(n.path)}</th><td>{html.escape(n.kind)}</td>"
        + "".join(
            f'<td class="number">{cell}</td>'
            for cell in (f"{n.flops:,.0f}", f"{n.flops / flops:.0%}", f"{n.bytes:,}", f"{n.bytes / size:.0%}")
        )
        + f"<td>{html.escape(str(n.source or ''))}</td></tr>"
        for n in sorted(nodes, key=lambda n: (-n.flops, -n.bytes))[:_SLOWEST]
    ]
    head = "<tr><th>node</th><th>kind</th><th colspan=2>FLOPs</th><th colspan=2>bytes of outputs</th><th>line</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fbfbfa; --soft: #6b7382; --line: #dfe2e8; --one: #2563ad; --two: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --paper: #14171c; --soft: #98a1b0; --line: #2c323c; --one: #77b0f2;
  --two: #f0a36b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0; }
main { max-width: 72rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.8rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
pre { white-space: pre-wrap; font: 13px/1.5 ui-monospace, monospace; margin: 0; } pre span { display: block; }
code { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .9rem .2rem 0; font-variant-numeric: tabular-nums; }
th { font-weight: 500; } .number { text-align: right; } th.name { white-space: pre; } h3 { font-size: 1rem; font-weight: 500; }
td.bar { width: 20rem; } td.bar i { display: block; height: .7rem; background: var(--one); border-radius: 2px; }
.curves { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; } figcaption { color: var(--soft); }
svg { width: 370px; max-width: 100%; } svg text { font-size: 11px; fill: var(--soft); } .axis { fill: none; stroke: var(--line); }
polyline { fill: none; stroke-width: 2; } g.training { stroke: var(--one); fill: var(--one); }
g.validation { stroke: var(--two); fill: var(--two); } span.training { color: var(--one); } span.validation { color: var(--two); }
iframe { width: 100%; border: 1px solid var(--line); border-radius: 6px; }
"""
