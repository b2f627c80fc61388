"""Models to draw, a reader of drawings, and a browser without a window."""

from __future__ import annotations

import dataclasses
import html
import itertools
import pathlib
import re
import shutil
import subprocess
import tempfile
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import pytest

import pellucid
from pellucid import layers
from pellucid.graph.render.description import describe
from pellucid.graph.render.page import page
from pellucid.graph.render.svg import svg

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed, which opens the pages")


class Attention(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.query, self.key, self.value, self.out = (layers.Dense(units) for _ in range(4))

    def call(self, x, mask):
        query, key, value = self.query(x), self.key(x), self.value(x)
        scores = jnp.einsum("btd,bsd->bts", query, key) + mask[:, None, :]
        return self.out(jax.nn.softmax(scores) @ value)


class Block(layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.attention, self.drop = Attention(units), layers.Dropout(0.1)
        self.up, self.down = layers.Dense(4 * units, activation="relu"), layers.Dense(units)

    def call(self, x, mask):
        x = x + self.drop(self.attention(x, mask))
        return x + self.down(self.up(x))


class Transformer(pellucid.Model):
    """Nested twice, with residuals, a mask that goes into every block, and a layer that is never called."""

    def __init__(self):
        super().__init__()
        self.embed, self.head, self.unused = layers.Dense(8), layers.Dense(2), layers.Dense(3)
        self.blocks = [Block(8), Block(8)]

    def call(self, inputs):
        x, mask = inputs
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(x.mean(axis=1))


class WideAndDeep(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.hidden1, self.hidden2 = layers.Dense(30, activation="relu"), layers.Dense(30, activation="relu")
        self.main_output, self.aux_output = layers.Dense(1), layers.Dense(1)

    def call(self, inputs):
        wide, deep = inputs
        hidden = self.hidden2(self.hidden1(deep))
        return self.main_output(layers.concatenate([wide, hidden])), self.aux_output(hidden)


class Deep(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.steps = [layers.Dense(4) for _ in range(60)]

    def call(self, x):
        for number, step in enumerate(self.steps):
            x = x + step(x) if number % 3 == 0 else step(x)
        return x


HOSTILE = "</script><b onclick=\"alert`'x'`\">&amp; ünï 漢字 #1; `\\n`]]>"


class Hostile(pellucid.Model):
    """Names that would break a page, a file or a format that does not escape them."""

    def __init__(self):
        super().__init__()
        self.part = layers.Dense(2, name=HOSTILE)

    def call(self, x):
        return self.part(x)  # </script> "quoted" & <b>


def transformer():
    return Transformer().capture((None, 5, 3), (None, 5))


def wide_and_deep():
    return WideAndDeep().capture((None, 5), (None, 6))


def deep():
    return Deep().capture((None, 4))


def hostile():
    return Hostile().capture((None, 3))


def paths(graph):
    return [n.path for n in (*graph.input_nodes, *graph.nodes, *graph.output_nodes)]


# ---- Reading a drawing ----


@dataclasses.dataclass
class Seen:
    """A box or frame with its corners on the sheet, and where it lies."""

    path: str
    parent: str
    x: float
    y: float
    w: float
    h: float

    def holds(self, x, y, margin=0.0):
        return self.x + margin < x < self.x + self.w - margin and self.y + margin < y < self.y + self.h - margin


@dataclasses.dataclass
class Wire:
    """An edge as it is drawn: points along it, on the sheet."""

    source: str
    target: str
    level: str
    points: list[tuple[float, float]]


@dataclasses.dataclass
class Sheet:
    width: float
    height: float
    boxes: dict[str, Seen]
    wires: list[Wire]
    texts: list[str]


def drawn(graph, **options):
    return read(svg(describe(graph), **options))


def read(text):
    """What an SVG shows, by walking its elements and adding up their translations."""
    root = ElementTree.fromstring(text)
    sheet = Sheet(float(root.get("width")), float(root.get("height")), {}, [], [])

    def walk(element, x, y, level):
        for child in element:
            tag, dx, dy, inside = child.tag.rpartition("}")[2], x, y, level
            if move := re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", child.get("transform", "")):
                dx, dy = x + float(move[1]), y + float(move[2])
            if tag == "g" and child.get("data-path") is not None:
                frame = next(r for r in child if r.tag.endswith("rect") and r.get("class") != "behind")
                inside = child.get("data-path")
                sheet.boxes[inside] = Seen(inside, level, dx, dy, float(frame.get("width")), float(frame.get("height")))
            if tag == "path" and child.get("class") == "wire":
                sheet.wires.append(Wire(child.get("data-source"), child.get("data-target"), level, _along(child.get("d"), dx, dy)))
            if tag == "text":
                sheet.texts.append("".join(child.itertext()))
            walk(child, dx, dy, inside)

    walk(root, 0.0, 0.0, "")
    return sheet


def _along(path, x, y):
    """Points along a path of straight lines and cubic curves."""
    points = []
    for command, numbers in re.findall(r"([MLC])([^MLC]*)", path):
        values = [float(n) for n in numbers.split()]
        ends = [(values[i] + x, values[i + 1] + y) for i in range(0, len(values), 2)]
        if command == "M":
            points += ends
        else:
            control = [points[-1], *ends]
            points += [_on_curve(control, step / 12) for step in range(1, 13)]
    return points


def _on_curve(control, t):
    """De Casteljau's construction of a point of a Bézier curve."""
    while len(control) > 1:
        control = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for a, b in itertools.pairwise(control)]
    return control[0]


# ---- The browser ----


def browse(document, fragment="", script=""):
    """The document's elements, as text, after its scripts and one of the test's ran; and what they wrote to the console."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "page.html"
        file.write_text(document.replace("</body>", f"<script>setTimeout(() => {{{script}}}, 300)</script></body>"), encoding="utf-8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile"]
        command += [
            "--window-size=1000,700",
            "--virtual-time-budget=3000",
            "--enable-logging=stderr",
            "--dump-dom",
            f"{file.as_uri()}{fragment}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


def opened(graph, fragment="", script="", **options):
    """The page of a graph in the browser."""
    return browse(page(describe(graph), **options), fragment, script)


def shown(dom):
    """The paths of the boxes on the page, in order."""
    return [html.unescape(path) for path in re.findall(r'data-path="([^"]*)"', dom.split('<svg id="canvas"')[1].split("</svg>")[0])]
