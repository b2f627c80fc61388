"""The command ``pellucid``: run a script on Pellucid, tell the story of its models, draw a model."""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import runpy
import sys
from typing import Any

import jax

from pellucid.graph.graph import Graph
from pellucid.models import Model
from pellucid.training.machine import Machine
from pellucid.utils.aliases import install_as_keras

_ROWS = 32  # of a batch whose size is not said


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser, _ = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 1
    return options.command(options)


def commands() -> list[str]:
    """The names of the commands."""
    return _parser()[1]


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    parser = argparse.ArgumentParser(
        prog="pellucid",
        description="Keras scripts on Pellucid, and what `call` did in them.",
        epilog="`python -m pellucid script.py` is the same as `pellucid run script.py`.",
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    parser.set_defaults(command=None)
    for name, command, about in (
        ("run", run, "run a script that imports keras, with Pellucid in Keras's place"),
        ("explain", explain, "run a script, then print when and why `call` of each of its models ran"),
    ):
        scripts = commands.add_parser(name, help=about, description=about)
        scripts.add_argument("script", help="the file")
        scripts.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script gets as its own arguments")
        scripts.set_defaults(command=command)
    about = "capture a model without any data, and print its summary or draw it"
    draws = commands.add_parser("graph", help=about, description=about)
    draws.add_argument(
        "model", metavar="MODULE:MODEL", help="a Model, a class of models that needs no arguments, or a function that makes one"
    )
    draws.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="SHAPE",
        help="such as 32,784, the batch first; once for each input; name=32,784 makes a dict of inputs, 32,10:int32 says a data type",
    )
    draws.add_argument(
        "-o", "--output", metavar="FILE", help="a drawing: .svg, .html, .png, .mmd, .dot or .json; without it, the summary is printed"
    )
    draws.set_defaults(command=graph)
    return parser, list(commands.choices)


def run(options: argparse.Namespace) -> int:
    """``pellucid run script.py``"""
    _run_script(options.script, options.arguments)
    return 0


def explain(options: argparse.Namespace) -> int:
    """``pellucid explain script.py``: the story of each model, also where the script fails in the end."""
    made: list[Machine] = []
    Machine.witnesses.append(made)
    try:
        _run_script(options.script, options.arguments)
    finally:
        Machine.witnesses.remove(made)
        told = [m for m in made if len(m.captures.ledger)]
        print("\n".join(["", *(m.captures.ledger.story(type(m.layer).__name__) + "\n" for m in told)]) if told else "\nNo model ran.")
    return 0


def _run_script(script: str, arguments: list[str]) -> None:
    if not pathlib.Path(script).is_file():
        sys.exit(f"pellucid: there is no file {script!r}.")
    install_as_keras()
    sys.argv = [script, *arguments]
    sys.path[0] = str(pathlib.Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")


def graph(options: argparse.Namespace) -> int:
    """``pellucid graph module:Model --input 32,784 -o model.svg``"""
    try:
        inputs = _inputs(options.input)
        model = _model(options.model)
        found: Graph = model.capture(inputs)
        if options.output is not None:
            found.save(options.output)
    except (ValueError, TypeError, ImportError, OSError) as error:
        sys.exit(f"pellucid graph: {error}")
    if options.output is None:
        model.summary()
    else:
        print(options.output)
    return 0


def _inputs(texts: list[str]) -> Any:
    """One shape, a list of them, or a dict where they have names."""
    named = [text.rpartition("=")[0].strip() for text in texts]
    shapes = [_shape(text) for text in texts]
    if all(named):
        return dict(zip(named, shapes, strict=True))
    if any(named):
        raise ValueError(f"--input {' --input '.join(texts)}: expected a name for each input, or for none.")
    return shapes[0] if len(shapes) == 1 else shapes


def _shape(text: str) -> Any:
    sizes, _, dtype = text.rpartition("=")[2].partition(":")
    try:
        shape = tuple(None if size.strip() in ("None", "?") else int(size) for size in sizes.strip("() ,").split(","))
        return jax.ShapeDtypeStruct((shape[0] or _ROWS, *shape[1:]), dtype.strip()) if dtype else shape
    except (ValueError, TypeError):
        raise ValueError(f"--input {text!r}: expected whole numbers, such as 32,784 (or None,784 or 32,10:int32).") from None


def _model(text: str) -> Model:
    module, separator, name = text.partition(":")
    if not separator or not name:
        raise ValueError(f"{text!r}: expected MODULE:MODEL, such as models:Net or models.py:Net.")
    install_as_keras()
    sys.path.insert(0, os.getcwd())
    found: Any = importlib.import_module(module.removesuffix(".py").replace(os.sep, "."))
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{text!r}: {module!r} has no {part!r}.")
        found = getattr(found, part)
    model = found if isinstance(found, Model) else found()
    if not isinstance(model, Model):
        raise TypeError(f"{text!r} gave a {type(model).__name__}; expected a Model.")
    return model
