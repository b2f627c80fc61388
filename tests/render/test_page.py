"""The page, in a browser without a window: every node, opening and closing, the panel, hostile names, frames."""

from __future__ import annotations

import html
import json
import re

import pytest

from pellucid.graph.render.description import describe
from pellucid.graph.render.page import inline, page
from tests.render.helpers import HOSTILE, browse, deep, hostile, needs_browser, opened, paths, shown, transformer, wide_and_deep

CLICK = "document.querySelector({selector!r}).dispatchEvent(new MouseEvent({event!r}, {{bubbles: true}}));"


def click(selector, event="click"):
    return CLICK.format(selector=selector, event=event)


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("make", [wide_and_deep, transformer, deep, hostile])
def test_the_page_shows_every_node_and_reports_no_errors(make):
    graph = make()
    dom, console = opened(graph, "#open=*")
    assert sorted(shown(dom)) == sorted(paths(graph))
    assert console == []


@needs_browser
@pytest.mark.slow
def test_layers_open_and_close():
    graph = transformer()
    dom, _ = opened(graph, "#open=")
    assert sorted(shown(dom)) == sorted(path for path in paths(graph) if not graph[path].depth)
    dom, console = opened(graph, "#open=", click('[data-path="blocks/0"] .sign') + click('[data-path="blocks/0/attention"]', "dblclick"))
    inside = {n.path for n in graph.nodes if n.parent in ("blocks/0", "blocks/0/attention")}
    assert inside <= set(shown(dom)) and "blocks/1/up" not in shown(dom)
    assert console == []
    dom, _ = opened(graph, "#open=*", click("#collapse"))
    assert not [path for path in shown(dom) if graph[path].depth]
    dom, _ = opened(graph, "#open=", click("#expand"))
    assert set(shown(dom)) == set(paths(graph))


@needs_browser
@pytest.mark.slow
def test_a_click_shows_shapes_types_parameters_work_and_the_line():
    dom, console = opened(wide_and_deep(), "", click('[data-path="hidden1"]'))
    panel = html.unescape(re.sub(r"<[^>]+>", " ", dom.split('id="panel"')[1].split("</aside>")[0]))
    for part in ("hidden1", "Dense", "(None, 6) float32", "(None, 30) float32", "210", "relu", "helpers.py:", "hidden1/kernel", "(6, 30)"):
        assert part in panel
    assert "hidden = self.hidden2(self.hidden1(deep))" in panel
    assert f"{wide_and_deep()['hidden1'].flops:,.0f}" in panel
    assert console == []


@needs_browser
@pytest.mark.slow
def test_search_opens_what_is_around_a_hit_and_selects_it():
    script = "search.value = 'ATTENTION/QUERY'; search.dispatchEvent(new Event('input'));" + click("#found button")
    dom, console = opened(transformer(), "#open=", script)
    assert "blocks/0/attention/query" in shown(dom) and "blocks/1/attention/query" not in shown(dom)
    assert re.search(r'class="box[^"]* selected" data-path="blocks/0/attention/query"', dom)
    assert console == []


@needs_browser
@pytest.mark.slow
def test_zoom_and_pan_move_the_view():
    read = r'<g id="view" transform="translate\(([-\d.]+) ([-\d.]+)\) scale\(([-\d.]+)\)"'
    before = [float(n) for n in re.search(read, opened(wide_and_deep())[0]).groups()]
    drag = "".join(
        f"canvas.dispatchEvent(new PointerEvent('{name}', {{bubbles: true, pointerId: 1, clientX: {x}, clientY: {x}}}));"
        for name, x in (("pointerdown", 300), ("pointermove", 340), ("pointerup", 340))
    )
    capture = "canvas.setPointerCapture = () => {};"  # a pointer that no device moves cannot be captured
    moved = [float(n) for n in re.search(read, opened(wide_and_deep(), "", capture + drag)[0]).groups()]
    assert moved == [before[0] + 40, before[1] + 40, before[2]]
    zoomed = [float(n) for n in re.search(read, opened(wide_and_deep(), "", click("#zoom-in"))[0]).groups()]
    assert zoomed[2] > before[2]


@needs_browser
@pytest.mark.slow
def test_hostile_names_stay_text_in_the_page_and_in_the_panel():
    script = "[...document.querySelectorAll('[data-path]')][1].dispatchEvent(new MouseEvent('click', {bubbles: true}));"
    dom, console = opened(hostile(), "", script)
    assert HOSTILE in shown(dom)
    assert not re.search(r"<b [^>]*onclick", dom)
    assert "&lt;/script&gt;" in dom.split('id="panel"')[1]  # the line of the source, which names it too
    assert console == []


@needs_browser
@pytest.mark.slow
def test_light_and_dark():
    assert 'data-theme="dark"' in opened(wide_and_deep(), "#theme=dark")[0]
    assert 'data-theme="light"' in opened(wide_and_deep(), "#theme=dark", click("#theme"))[0]


@needs_browser
@pytest.mark.slow
def test_the_frame_shows_the_graph_inside_another_page():
    frame = inline(describe(wide_and_deep())).replace("allow-scripts", "allow-scripts allow-same-origin")
    script = "document.title = document.querySelector('iframe').contentDocument.querySelectorAll('[data-path]').length;"
    dom, console = browse(f"<!doctype html><html><body>{frame}</body></html>", "", script)
    assert "<title>9</title>" in dom
    assert [line for line in console if "allow-same-origin" not in line] == []  # the browser warns of what only this test adds


def test_the_page_needs_nothing_from_anywhere():
    text = page(describe(transformer()))
    assert "default-src 'none'" in text
    assert not re.findall(r'(?:src|href)="', text)
    assert not [url for url in re.findall(r"https?://[^\s\"'`]+", text) if "www.w3.org" not in url]
    assert "Chris Pettitt" in text  # dagre's licence goes with it


def test_the_data_of_the_page_cannot_end_their_script():
    text = page(describe(hostile()))
    data = text.split('<script type="application/json" id="picture">')[1].split("</script>")[0]
    assert json.loads(data)["picture"]["boxes"][1]["path"] == HOSTILE


def test_the_frame_is_no_higher_than_a_notebook_can_bear():
    heights = [int(re.search(r"height:(\d+)px", inline(describe(g)))[1]) for g in (hostile(), deep())]
    assert 200 <= heights[0] <= heights[1] <= 600
