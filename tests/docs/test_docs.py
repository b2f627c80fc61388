"""The pages of the documentation run: their code as written, and their output as printed."""

import contextlib
import io
import pathlib
import re
import warnings

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [p for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if "```python" in p.read_text()]
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def blocks(page):
    """(code, the output that follows it or None) for each block of Python of a page."""
    found = BLOCK.findall(page.read_text())
    for (kind, code), after in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "python":
            yield code, after[1] if after[0] == "text" else None


def comparable(text):
    """Times and losses differ between machines: numbers with a fraction, units of time and runs of spaces are folded."""
    text = re.sub(r"\d+(\.\d+)?(e-?\d+)? ?(ms|µs|s)\b", "#s", text)
    text = re.sub(r"-?\d+\.\d+(e-?\d+)?", "#", text)
    text = re.sub(r"[\d,]+ dollars", "# dollars", text)
    return [re.sub(r"[\s─]+", " ", line).strip() for line in text.splitlines() if line.strip(" ─")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_code_of_the_page_prints_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, (code, expected) in enumerate(blocks(page)):
        file = tmp_path / "model.py"
        file.write_text(code)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(code, str(file), "exec"), names)
        if expected is not None:
            assert comparable(printed.getvalue()) == comparable(expected), f"block {number} of {page.name} printed:\n{printed.getvalue()}"
