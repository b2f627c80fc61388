"""The pages of the documentation run: their code as written, and their output as printed."""

import contextlib
import io
import os
import pathlib
import re
import subprocess
import sys
import warnings

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [p for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if "```python" in p.read_text()]
BLOCK = re.compile(r"```(python|text|console)\n(.*?)```", re.DOTALL)


def blocks(page):
    """(code, the output that follows it or None) for each block of Python of a page, and for each command ("$ …")."""
    found = BLOCK.findall(page.read_text())
    for (kind, code), after in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "python":
            yield code, after[1] if after[0] == "text" else None
        elif kind == "console":
            command, _, output = code.partition("\n")
            yield command, output


def output_of(code, file, names):
    """What a block prints. One that begins with the name of a file is written to that file."""
    if code.startswith("$ "):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-m", *code.removeprefix("$ ").split()]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    if named := re.match(r"# (\w+\.py)\n", code):
        pathlib.Path(named[1]).write_text(code)
        return ""
    file.parent.mkdir()
    file.write_text(code)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, str(file), "exec"), names)
    return printed.getvalue()


def comparable(text):
    """Times, losses and memory differ between machines: numbers with a fraction, units of time and runs of spaces are folded."""
    text = re.sub(r"\d+(\.\d+)?(e-?\d+)? ?(ms|µs|s)\b", "#s", text)
    text = re.sub(r"-?\d+\.\d+(e-?\d+)?", "#", text)
    text = re.sub(r"[\d,]+ dollars", "# dollars", text)
    text = re.sub(r"about [\d,]+ rows", "about # rows", text)  # that fit into the memory
    text = re.sub(r"[\d#]+ [KMG]?B\b", "# B", text)
    text = re.sub(r"[\d#]+ [kMG]FLOP\b", "# FLOP", text)  # as the version of XLA counts them
    return [re.sub(r"[\s─]+", " ", line).strip() for line in text.splitlines() if line.strip(" ─")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_code_of_the_page_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, (code, expected) in enumerate(blocks(page)):
        printed = output_of(code, tmp_path / str(number) / "model.py", names)
        if expected is not None:
            assert comparable(printed) == comparable(expected), f"block {number} of {page.name} printed:\n{printed}"


def test_the_index_names_every_page_and_every_example():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {f"({page.name})" for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"}
    examples = {f"(../examples/{example.name})" for example in (ROOT / "examples").glob("*.py")}
    assert not {link for link in pages | examples if link not in index}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_links_of_the_page_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
