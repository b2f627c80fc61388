"""Files: which format a name means, and what is in those that are text."""

from __future__ import annotations

import json
import re
import struct
import sys

import pytest

from pellucid.graph import render
from pellucid.graph.render.description import describe
from pellucid.graph.render.png import png
from pellucid.graph.render.svg import svg
from tests.render.helpers import HOSTILE, hostile, paths, transformer, wide_and_deep

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def nested():
    return transformer()


@pytest.mark.parametrize(
    "name, start",
    [
        ("m.svg", "<svg "),
        ("m.SVG", "<svg "),
        ("m.html", "<!doctype html>"),
        ("m.mmd", "flowchart TB"),
        ("m.dot", "digraph "),
        ("m.json", '{\n "format": "pellucid graph"'),
        ("m.model_explorer.json", '{\n "label": "WideAndDeep"'),
    ],
)
def test_the_ending_says_the_format(tmp_path, name, start):
    path = tmp_path / name
    assert render.save(wide_and_deep(), path) == str(path)
    assert path.read_text(encoding="utf-8").startswith(start)


def test_the_format_can_be_said_apart_from_the_name(tmp_path):
    render.save(wide_and_deep(), tmp_path / "graph.json", format="model_explorer")
    assert "graphs" in json.loads((tmp_path / "graph.json").read_text())


def test_unknown_formats_and_options_are_refused(tmp_path):
    for name in ("m.pdf", "m", "m.model_explorer"):
        with pytest.raises(ValueError, match=r"\.svg, \.png, \.html, \.mmd, \.dot, \.json"):
            render.save(wide_and_deep(), tmp_path / name)
    with pytest.raises(ValueError, match="format='pdf'; expected one of svg, png"):
        render.save(wide_and_deep(), tmp_path / "m.svg", format="pdf")
    with pytest.raises(TypeError, match="unknown option 'dpi'; dot takes: rankdir, show_shapes"):
        render.save(wide_and_deep(), tmp_path / "m.dot", dpi=3)
    with pytest.raises(ValueError, match="rankdir='X'"):
        render.save(wide_and_deep(), tmp_path / "m.mmd", rankdir="X")
    assert list(tmp_path.iterdir()) == []


# ---- png ----


def test_a_png_has_the_size_that_its_dpi_says(tmp_path):
    graph = wide_and_deep()
    width, height = (int(n) for n in re.search(r'width="(\d+)" height="(\d+)"', svg(describe(graph))).groups())
    for dpi in (96, 192):
        render.save(graph, tmp_path / "m.png", dpi=dpi)
        content = (tmp_path / "m.png").read_bytes()
        assert content.startswith(SIGNATURE)
        assert struct.unpack(">II", content[16:24]) == (width * dpi // 96, height * dpi // 96)


def test_without_fonts_a_png_would_have_no_text_and_is_refused():
    with pytest.raises(RuntimeError, match="No font was found"):
        png(svg(describe(wide_and_deep())), skip_system_fonts=True)


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install 'pellucid\[plot\]'"):
        png("<svg/>")


# ---- Mermaid and DOT ----

# The transformer's edges when every layer is open, for the second block, written by hand.
SECOND_BLOCK = {
    ("blocks/0/add#2", "blocks/1/attention/query"),
    ("blocks/0/add#2", "blocks/1/attention/key"),
    ("blocks/0/add#2", "blocks/1/attention/value"),
    ("blocks/0/add#2", "blocks/1/add"),
    ("input_2", "blocks/1/attention/getitem"),
    ("blocks/1/attention/query", "blocks/1/attention/einsum"),
    ("blocks/1/attention/key", "blocks/1/attention/einsum"),
    ("blocks/1/attention/einsum", "blocks/1/attention/add"),
    ("blocks/1/attention/getitem", "blocks/1/attention/add"),
    ("blocks/1/attention/add", "blocks/1/attention/softmax"),
    ("blocks/1/attention/softmax", "blocks/1/attention/matmul"),
    ("blocks/1/attention/value", "blocks/1/attention/matmul"),
    ("blocks/1/attention/matmul", "blocks/1/attention/out"),
    ("blocks/1/attention/out", "blocks/1/drop"),
    ("blocks/1/drop", "blocks/1/add"),
    ("blocks/1/add", "blocks/1/up"),
    ("blocks/1/up", "blocks/1/down"),
    ("blocks/1/add", "blocks/1/add#2"),
    ("blocks/1/down", "blocks/1/add#2"),
    ("blocks/1/add#2", "mean"),
}


def about_second_block(edges):
    return {e for e in edges if any(p.startswith("blocks/1/") for p in e)}


def test_with_all_layers_open_edges_join_what_computes(nested):
    assert about_second_block({(a.source, a.target) for a in describe(nested).leaf_arrows()}) == SECOND_BLOCK


def test_mermaid_has_every_node_once_and_the_edges_between_them(tmp_path, nested):
    render.save(nested, tmp_path / "m.mmd", rankdir="LR")
    text = (tmp_path / "m.mmd").read_text()
    assert text.startswith("flowchart LR\n")
    assert text.count("subgraph ") == text.count("\n" + " " * 2 + "end\n") + text.count(" " * 4 + "end\n") == 5  # 4 layers, never called
    names = [box.path for box in describe(nested).boxes]
    defined = re.findall(r"^\s+(?:subgraph )?n(\d+)[(\[]", text, re.MULTILINE)
    assert sorted(map(int, defined)) == list(range(len(names)))
    edges = {(names[int(a)], names[int(b)]) for a, b in re.findall(r'n(\d+) -->\|"[^"|]*"\| n(\d+)', text)}
    assert about_second_block(edges) == SECOND_BLOCK
    assert '"unused<br>Dense"' in text


def test_dot_has_clusters_and_edges(tmp_path, nested):
    render.save(nested, tmp_path / "m.dot")
    text = (tmp_path / "m.dot").read_text()
    assert text.count("{") == text.count("}")
    assert re.findall(r'subgraph "cluster_([^"]*)"', text) == ["blocks/0", "blocks/0/attention", "blocks/1", "blocks/1/attention"]
    assert about_second_block(set(re.findall(r'"([^"]*)" -> "([^"]*)" \[label="\(None', text))) == SECOND_BLOCK


def test_hostile_names_in_text_formats(tmp_path):
    for name in ("m.mmd", "m.dot", "m.json", "m.model_explorer.json"):
        render.save(hostile(), tmp_path / name)
    label = next(line for line in (tmp_path / "m.mmd").read_text().splitlines() if "Dense" in line)
    assert re.fullmatch(r'  n1\["[\w #;.,()/-]*<br>Dense"\]:::layer', label)
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)" -> "((?:[^"\\]|\\.)*)"', (tmp_path / "m.dot").read_text())
    assert [a.replace('\\"', '"').replace("\\\\", "\\") for a, _ in quoted] == ["input", HOSTILE]
    for name in ("m.json", "m.model_explorer.json"):
        assert json.loads((tmp_path / name).read_text(encoding="utf-8"))


# ---- JSON ----


def test_json_holds_nodes_edges_and_lines(tmp_path, nested):
    render.save(nested, tmp_path / "m.json")
    data = json.loads((tmp_path / "m.json").read_text())
    assert (data["format"], data["version"], data["kind"]) == ("pellucid graph", 1, "Transformer")
    assert [b["path"] for b in data["boxes"]] == paths(nested)
    block = next(b for b in data["boxes"] if b["path"] == "blocks/0")
    assert block["inputs"] == [["(None, 5, 8)", "float32"], ["(None, 5)", "float32"]]
    assert block["line"] == "x = block(x, mask)" and block["place"].startswith("helpers.py:")
    assert block["parameters"] == nested["blocks/0"].parameters and block["flops"] == nested["blocks/0"].flops
    assert {(a["source"], a["target"]) for a in data["arrows"]} == {(e.source.path, e.target.path) for e in nested.edges}
    assert [u["kind"] for u in data["uncalled"]] == ["Dense"]


def test_model_explorer_gets_leaves_namespaces_and_incoming_edges(tmp_path, nested):
    render.save(nested, tmp_path / "m.model_explorer.json")
    data = json.loads((tmp_path / "m.model_explorer.json").read_text())
    assert data["label"] == "Transformer"
    (graph,) = data["graphs"]
    nodes = {n["id"]: n for n in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"])
    assert set(nodes) == set(paths(nested)) - {"blocks/0", "blocks/0/attention", "blocks/1", "blocks/1/attention"}
    assert nodes["blocks/0/attention/query"]["namespace"] == "blocks.0/attention"
    assert nodes["embed"]["namespace"] == ""
    edges = {(e["sourceNodeId"], n["id"]) for n in graph["nodes"] for e in n["incomingEdges"]}
    assert about_second_block(edges) == SECOND_BLOCK
    attributes = {a["key"]: a["value"] for a in nodes["embed"]["attrs"]}
    assert attributes["parameters"] == "32" and attributes["source"].endswith("x = self.embed(x)")
    output = {a["key"]: a["value"] for a in nodes["embed"]["outputsMetadata"][0]["attrs"]}
    assert output["tensor_shape"] == "float32[None, 5, 8]"
    assert set(graph["groupNodeAttributes"]) == {"", "blocks.0", "blocks.0/attention", "blocks.1", "blocks.1/attention"}
    every = [v for n in graph["nodes"] for pair in n["attrs"] for v in pair.values()]
    assert all(isinstance(v, str) for v in every)  # the viewer takes texts only
