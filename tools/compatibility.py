"""Write docs/compatibility.md: which of Keras's public names Pellucid has, module by module.

    python tools/compatibility.py

A name is present if it can be reached under Keras's path, with ``pellucid`` for ``keras``. That it also does what
Keras's does is what the tests of parity say. Needs Keras.
"""

from __future__ import annotations

import importlib
import os
import pathlib
from collections.abc import Iterator
from types import ModuleType

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras

import pellucid

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "compatibility.md"
# Keras's own code, and modules that it keeps for Keras 1 and 2.
LEFT_OUT = {"keras.src", "keras.legacy", "keras.optimizers.legacy", "keras.utils.legacy"}
# Their submodules hold a function or two for each architecture: one line for all.
WITHOUT_SUBMODULES = {"keras.applications"}

INTRODUCTION = """# Keras's names

Which public names of Keras {version} Pellucid has: **{present} of {total}**. `import pellucid as keras`, or
`pellucid.install_as_keras()`, and code that uses only these finds them all. Aliases count as names (`mse`, `MSE`, …), and so
does a function that Keras has in two places (`keras.ops.relu`, `keras.ops.nn.relu`).

`python tools/compatibility.py` writes this page, and a test checks that it is up to date.

| module | present | of | |
|---|--:|--:|---|
"""


def modules(parent: ModuleType = keras) -> Iterator[ModuleType]:
    """Keras's public modules, parents first."""
    yield parent
    if parent.__name__ in WITHOUT_SUBMODULES:
        return
    for name, value in sorted(vars(parent).items()):
        path = f"{parent.__name__}.{name}"
        if isinstance(value, ModuleType) and value.__name__ == path and path not in LEFT_OUT and not name.startswith("_"):
            yield from modules(value)


def names(module: ModuleType) -> list[str]:
    """The public names of a module, its submodules left out."""
    return sorted((n for n, v in vars(module).items() if not n.startswith("_") and not isinstance(v, ModuleType)), key=str.lower)


def ours(path: str) -> ModuleType | None:
    """Pellucid's module for one of Keras, or None."""
    try:
        return importlib.import_module(pellucid.__name__ + path.removeprefix("keras"))
    except ModuleNotFoundError:
        return None


def quoted(found: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in found)


def page() -> str:
    """The text of the page."""
    rows, sections, present, total = [], [], 0, 0
    for module in modules():
        theirs, here = names(module), ours(module.__name__)
        if not theirs:
            continue
        has = [name for name in theirs if hasattr(here, name)]
        lacks = [name for name in theirs if name not in has]
        present, total = present + len(has), total + len(theirs)
        anchor = module.__name__.replace(".", "")
        rows.append(f"| [{module.__name__}](#{anchor}) | {len(has)} | {len(theirs)} | {'all' if not lacks else '' if has else 'none'} |")
        parts = [f"## {module.__name__}"]
        parts += [f"Absent: {quoted(lacks)}."] if lacks else []
        parts += [f"Present: {quoted(has)}."] if has else []
        sections.append("\n\n".join(parts))
    return (
        INTRODUCTION.format(version=keras.__version__, present=present, total=total)
        + "\n".join(rows)
        + "\n\n"
        + "\n\n".join(sections)
        + "\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
