"""The command ``pellucid``: run a script on Pellucid, tell the story of its models, draw a model."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import os
import pathlib
import runpy
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jax
import numpy as np

from pellucid.core.explain import cut_to_users_frames, filters_tracebacks
from pellucid.errors import did_you_mean
from pellucid.graph.graph import Graph
from pellucid.graph.render.files import format_of
from pellucid.models import Model
from pellucid.training.machine import Machine
from pellucid.utils.aliases import install_as_keras

_ROWS = 32  # of a batch whose size is not said
_BATCHES = 16  # that stand for those of a generator


class _UsageError(Exception):
    """What was typed cannot be done."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 where code of the user's failed, 2 where what was typed cannot be done."""
    parser, _ = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return options.command(options)
    except _UsageError as error:
        print(f"pellucid {options.name}: {error}", file=sys.stderr)
        return 2
    except (Exception, KeyboardInterrupt) as error:
        if not filters_tracebacks() or not cut_to_users_frames(error):
            raise
        sys.stdout.flush()
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1


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
        (
            "profile",
            profile,
            "run a script, then measure where a step's time goes in each model that it fits, on the data of its first fit",
        ),
    ):
        scripts = commands.add_parser(name, help=about, description=about)
        scripts.add_argument("script", help="the file")
        rest = scripts.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script gets as its own arguments")
        rest.required = False  # an error that says what is missing does not name it
        scripts.set_defaults(command=command, name=name)
    about = "capture a model without any data, and print its summary or draw it"
    draws = commands.add_parser("graph", help=about, description=about)
    draws.add_argument(
        "model",
        metavar="MODULE:MODEL",
        help="a Model, a class of models that needs no arguments, or a function that makes one; of a module or a file (models.py:Net)",
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
    draws.set_defaults(command=graph, name="graph")
    return parser, list(commands.choices)


def run(options: argparse.Namespace) -> int:
    """``pellucid run script.py``"""
    _run_script(options.script, options.arguments)
    return 0


def explain(options: argparse.Namespace) -> int:
    """``pellucid explain script.py``: the story of each model, also where the script fails in the end."""
    made: list[Machine] = []
    Machine.witnesses.append(made)
    failed = True
    try:
        _run_script(options.script, options.arguments)
        failed = False
    except SystemExit as end:
        failed = bool(end.code)
        raise
    finally:
        Machine.witnesses.remove(made)
        told = [m for m in made if len(m.captures.ledger)]
        for machine in told:
            print(f"\n{machine.captures.ledger.story(type(machine.layer).__name__)}")
        if not told and not failed:
            print("\nNo model ran.")
    return 0


def profile(options: argparse.Namespace) -> int:
    """``pellucid profile script.py``: where the time of a step goes, of each model that the script fits."""
    fits: dict[Machine, tuple] = {}
    told = lambda machine, x, source: fits.setdefault(machine, _data_again(x, source))
    Machine.on_fit.append(told)
    leaving = None
    try:
        _run_script(options.script, options.arguments)
    except SystemExit as end:
        if end.code:
            raise
        leaving = end
    finally:
        Machine.on_fit.remove(told)
    if not fits:
        raise _UsageError(f"{options.script!r} fitted no model, so that there is no step to measure; expected a script that calls fit.")
    for machine, data in fits.items():
        with _as_usage(ValueError, RuntimeError):  # such as run_eagerly=True
            print(f"\n{machine.layer.profile(*data)}", flush=True)  # type: ignore[attr-defined]
    if leaving is not None:
        raise leaving
    return 0


def _data_again(x: Any, source: Any) -> tuple[Any, Any, int | None, Any]:
    """What ``model.profile`` takes for what ``fit`` got. A generator's batches are gone then: its first one is taken often."""
    if source.streams and not hasattr(x, "__next__"):
        return x, None, None, None
    sample = source.sample
    if source.streams:
        sample = jax.tree.map(lambda a: np.concatenate([np.asarray(a)] * _BATCHES), sample.tree())
        return sample[0], sample[1], source.batch_size, sample[2]
    return sample.x, sample.y, source.batch_size, sample.sample_weight


def _run_script(script: str, arguments: list[str]) -> None:
    if not pathlib.Path(script).is_file():
        raise _UsageError(f"there is no file {script!r}.")
    install_as_keras()
    sys.argv = [script, *arguments]
    sys.path[0] = str(pathlib.Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")


def graph(options: argparse.Namespace) -> int:
    """``pellucid graph module:Model --input 32,784 -o model.svg``"""
    inputs = _inputs(options.input)
    if options.output is not None:
        with _as_usage(ValueError):
            format_of(options.output)
    model = _model(options.model)
    found: Graph = model.capture(inputs)
    if options.output is None:
        model.summary()
    else:
        with _as_usage(OSError, ImportError):
            found.save(options.output)
        print(options.output)
    return 0


@contextlib.contextmanager
def _as_usage(*errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise _UsageError(str(error)) from None


def _inputs(texts: list[str]) -> Any:
    """One shape, a list of them, or a dict where they have names."""
    named = [text.rpartition("=")[0].strip() for text in texts]
    shapes = [_shape(text) for text in texts]
    if all(named):
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise _UsageError(f"--input {' --input '.join(texts)}: the name {twice!r} is there twice; expected one shape for each input.")
        return dict(zip(named, shapes, strict=True))
    if any(named):
        raise _UsageError(f"--input {' --input '.join(texts)}: expected a name for each input, or for none.")
    return shapes[0] if len(shapes) == 1 else shapes


def _shape(text: str) -> Any:
    sizes, _, dtype = text.rpartition("=")[2].partition(":")
    try:
        shape = tuple(None if size.strip() in ("None", "?") else int(size) for size in sizes.strip("() ,").split(","))
        return jax.ShapeDtypeStruct((shape[0] or _ROWS, *shape[1:]), dtype.strip()) if dtype else shape
    except (ValueError, TypeError):
        raise _UsageError(f"--input {text!r}: expected whole numbers, such as 32,784 (or None,784 or 32,10:int32).") from None


def _model(text: str) -> Model:
    """The model that MODULE:MODEL names, made where it is a class or a function."""
    module, _, name = text.rpartition(":")
    if not module or not name:
        raise _UsageError(f"{text!r}: expected MODULE:MODEL, such as models:Net or models.py:Net.")
    install_as_keras()
    found: Any = _file(pathlib.Path(module)) if module.endswith(".py") or os.sep in module else _module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            models = [n for n, value in inspect.getmembers(found, _is_model)]
            raise _UsageError(f"{text!r}: {module!r} has no {part!r}. {did_you_mean(part, models) if models else 'It has no model.'}")
        found = getattr(found, part)
    if isinstance(found, Model):
        return found
    expected = "expected a Model, a class of models that needs no arguments, or a function that makes one"
    if not callable(found) or (isinstance(found, type) and not _is_model(found)):
        what = f"the class {found.__name__}, which is no Model" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise _UsageError(f"{text!r} is {what}; {expected}.")
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise _UsageError(f"{text!r} cannot be called without arguments ({error}); {expected}.") from None
    model = found()
    if not isinstance(model, Model):
        raise _UsageError(f"{text!r} returned a value of type {type(model).__name__}; {expected}.")
    return model


def _is_model(value: Any) -> bool:
    return isinstance(value, Model) or (isinstance(value, type) and issubclass(value, Model))


def _module(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):  # it is one that the user's module imports
            raise
        raise _UsageError(f"{error}: expected a module, or a file such as models.py, in {os.getcwd()}.") from None


def _file(path: pathlib.Path) -> ModuleType:
    """The module in a file, which may be part of a package."""
    if not path.is_file():
        raise _UsageError(f"there is no file {str(path)!r}.")
    path = path.resolve()
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").is_file():
        folder, names = folder.parent, [folder.name, *names]
    sys.path.insert(0, str(folder))
    name = ".".join(names)
    module = importlib.import_module(name)
    if pathlib.Path(module.__file__ or "").resolve() != path:
        raise _UsageError(f"{str(path)!r} has the name of another module, {name!r} ({module.__file__}): give the file another name.")
    return module
