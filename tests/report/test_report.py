"""The page of `model.report`: one file, whole before and after `fit`, with everything escaped."""

from __future__ import annotations

import html.parser
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

import pellucid
from pellucid import layers
from tests.graph.helpers import normal

VOID = {"meta", "br", "circle", "polyline", "path", "rect", "line", "input", "use", "link", "img", "hr"}


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order; keeps headings, text and addresses that would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.text, self.fetched = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.fetched += [v for k, v in given.items() if k in ("src", "href", "data") and v and not v.startswith(("#", "data:"))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


class Net(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(8, activation="relu"), layers.Dense(1)

    def call(self, x):
        print("</pre><b>printed</b>")
        return self.out(self.hidden(x))


HEADINGS = [
    "When and why ",
    " ran",
    "Side effects",
    "The graph",
    "The last fit",
    "Where the time went",
    "The time of a step",
    "The most work, for one row",
]


def page_of(model, tmp_path):
    path = tmp_path / "report.html"
    assert model.report(path) == str(path)
    return Page(path.read_text(encoding="utf-8"))


def test_a_report_before_anything_ran_has_all_its_parts(tmp_path):
    page = page_of(Net(), tmp_path)
    assert page.headings == ["Net", *HEADINGS]
    assert "`call` of Net has not run yet." in "".join(page.text)


@pytest.mark.filterwarnings("ignore::pellucid.errors.SideEffectWarning")
def test_a_report_after_fit_tells_story_curves_times_work_and_effects_and_fetches_nothing(tmp_path):
    model = Net()
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    x, y = normal(40, 3), normal(40, 1)
    history = model.fit(x, y, epochs=3, validation_split=0.2, verbose=0).history
    page = page_of(model, tmp_path)
    text = "".join(page.text)
    assert page.headings == ["Net", *HEADINGS] and page.fetched == []
    assert model.ledger.story() in text
    for words in (
        "print ran once",
        "hidden",
        "training",
        "validation",
        "loss",
        "mae",
        *(f"{max(history[k] + history[f'val_{k}']):.4g}" for k in ("loss", "mae")),
    ):
        assert words in text
    phases = model._machine.phases.seconds()
    assert list(phases) == ["capture", "compile", "data", "callbacks", "validation", "steps"] and all(v >= 0 for v in phases.values())
    assert phases["capture"] == pytest.approx(model.ledger[0].seconds)
    assert phases["compile"] == pytest.approx(sum(p.seconds for p in model.ledger.programs))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pellucid.errors.SideEffectWarning")
def test_a_report_after_a_profile_has_its_tables(tmp_path):
    model = Net()
    model.compile(optimizer="sgd", loss="mse")
    assert "Not measured yet" in "".join(page_of(model, tmp_path).text)
    found = model.profile(normal(40, 3), normal(40, 1))
    text = "".join(page_of(model, tmp_path).text)
    for table in found.tables():
        assert table["title"] in text and table["about"] in text and all(sentence in text for sentence in table["advice"])
        assert all(cell in text for row in table["rows"] for cell in row)
    assert "hidden (Dense)" in text and "Not measured yet" not in text


@pytest.mark.filterwarnings("ignore::pellucid.errors.SideEffectWarning")
def test_one_epoch_is_one_point_in_the_middle(tmp_path):
    model = Net()
    model.compile(optimizer="sgd", loss="mse")
    loss = model.fit(normal(8, 3), normal(8, 1), verbose=0).history["loss"][0]
    text = "".join(page_of(model, tmp_path).text)
    assert text.count(f"{loss:.4g}") == 1 and text.count("epoch 1") == 1
    points = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', (tmp_path / "report.html").read_text())
    (x, y) = map(float, points[0])
    assert len(points) == 1 and 200 < x < 260 and 90 < y < 130  # of 420 by 220, with a margin for the numbers at the left


@pytest.mark.filterwarnings("ignore::pellucid.errors.SideEffectWarning")
def test_phases_do_not_count_what_is_inside_them_twice():
    class Slow(pellucid.callbacks.Callback):
        def on_test_end(self, logs=None):
            time.sleep(0.3)

    model = Net()
    model.compile(optimizer="sgd", loss="mse")
    started = time.perf_counter()
    model.fit(normal(40, 3), normal(40, 1), epochs=2, validation_split=0.2, callbacks=[Slow()], verbose=0)
    whole = time.perf_counter() - started
    seconds = model._machine.phases.seconds()
    assert seconds["callbacks"] >= 0.6 and seconds["validation"] > 0
    assert seconds["validation"] + seconds["callbacks"] < whole - seconds["compile"] - seconds["capture"]
    assert sum(seconds.values()) == pytest.approx(whole, rel=0.05)


def test_names_of_classes_and_files_are_escaped(tmp_path):
    model = type("<script>alert(1)</script>", (Net,), {})()
    with pytest.warns(pellucid.SideEffectWarning):
        model.build((None, 3))
    model.report(tmp_path / "report.html")
    assert "<script>alert(1)</script>" not in (tmp_path / "report.html").read_text()


FULL = """
import pathlib, resource, sys
import pellucid
from pellucid import layers

class Net(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1)
    def call(self, x):
        return self.out(x)

model = Net()
model.build((None, 3))
model.graph.save("warm.png")
pathlib.Path("warm.png").unlink()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # as a full disk: a file ends after so many bytes
save = {f"m.{ending}": model.graph.save for ending in ("svg", "html", "png", "json", "mmd", "dot")}
plot = {"plot.svg": lambda file: pellucid.utils.plot_model(model, file)}
for file, write in {**save, **plot, "report.html": model.report}.items():
    try:
        write(file)
    except OSError as error:
        print(error.filename)
"""


def test_where_the_disk_is_full_the_earlier_files_stay_whole(tmp_path):
    names = ["m.svg", "m.html", "m.png", "m.json", "m.mmd", "m.dot", "plot.svg", "report.html"]
    for name in names:
        (tmp_path / name).write_text("a good one")
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(pellucid.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == names, done.stderr
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict.fromkeys(names, "a good one")
