"""Which weights are where in a file: one walk from a layer, along attributes and containers, in Keras's order and with its names."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pellucid.core.tree import INTERNAL, Tree
from pellucid.core.variable import Variable
from pellucid.optimizers import Optimizer


@dataclasses.dataclass(frozen=True)
class Part:
    """What has weights of its own: a layer, or an optimizer.

    Args:
        path: where it is in the file: names of attributes and, in containers, of classes, joined by ``/``; "" for the root.
        owner: the layer or optimizer.
    """

    path: str
    owner: Any

    @property
    def of_own_form(self) -> bool:
        """Whether the class itself says what it saves and loads."""
        return any(getattr(type(self.owner), name) is not getattr(Tree, name) for name in ("save_own_variables", "load_own_variables"))

    @property
    def variables(self) -> list[Variable]:
        """The weights in the order of their numbers."""
        return self.owner._weights_on_file()

    @property
    def keys(self) -> list[str]:
        """Names of the weights, such as "kernel"; where they are not clear "0", "1" …"""
        names = [variable.path.removeprefix(f"{self.owner.path}/").replace("/", ".") for variable in self.variables]
        unclear = len(set(names)) < len(names) or any(name.isdigit() for name in names)
        return [str(number) for number in range(len(names))] if unclear else names


class Walk:
    """All parts of a layer, each once: where the walk meets it first.

    The walk goes through attributes in alphabetical order, private ones last, those of models through ``layers`` and ``optimizer``,
    too. In lists, tuples and dicts a layer is named after its class: ``blocks/dense``, ``blocks/dense_1``.

    Args:
        root: the layer that begins.
        skip: layers and optimizers that are left out, with all that is inside them.
    """

    def __init__(self, root: Tree, skip: Iterable[Any] = ()):
        self._skip = list(skip)
        self._found: dict[Any, Part] = {}
        self.skipped: list[str] = []  # paths
        self._enter(root, "")

    @property
    def parts(self) -> list[Part]:
        """In the order in which they were met."""
        return list(self._found.values())

    def leaves_out(self, path: str) -> bool:
        """Whether a path belongs to what was to be skipped."""
        return any(path == skipped or path.startswith(f"{skipped}/") for skipped in self.skipped)

    def _enter(self, owner: Any, path: str) -> None:
        if owner in self._found:
            return
        if any(owner is skipped for skipped in self._skip):
            self.skipped.append(path)
            return
        self._found[owner] = Part(path, owner)
        for name, value in _held_by(owner):
            self._follow(value, _join(path, name), set())
        if isinstance(owner, Tree):  # what Keras does not look into, such as dataclasses
            for name, child in owner._children():
                if isinstance(child, Tree):
                    self._enter(child, _join(path, name))

    def _follow(self, value: Any, path: str, seen: set[int]) -> None:
        if isinstance(value, Tree | Optimizer):
            self._enter(value, path)
        if not isinstance(value, list | tuple | dict) or id(value) in seen:
            return
        seen.add(id(value))
        counts: dict[str, int] = {}
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Tree | Optimizer | list | tuple | dict):
                name = "container" if isinstance(item, list | tuple | dict) else _class_name(item)
                number = counts.get(name, 0)
                counts[name] = number + 1
                self._follow(item, _join(path, f"{name}_{number}" if number else name), seen)


def _held_by(owner: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of what may hold layers, in Keras's order."""
    if isinstance(owner, Optimizer):
        yield "inner_optimizer", getattr(owner, "inner_optimizer", None)
        return
    listed = owner._listed_on_file()
    if listed is not None and listed[1]:
        yield "layers", listed[0]
    names = {name for name in vars(owner) if name not in INTERNAL}
    for cls in type(owner).__mro__:
        if not re.match(r"(pellucid\.(core|models)\.|builtins$)", cls.__module__):
            names |= {
                name for name, value in vars(cls).items() if isinstance(value, property | functools.cached_property | list | tuple | dict)
            }
    names |= set() if listed is None else {"layers", "optimizer"}
    for name in sorted(names, key=lambda name: f"~{name}" if name.startswith("_") else name):
        if name == "layers" and listed is not None:
            yield name, listed[0]
        elif not name.startswith("__"):
            with contextlib.suppress(Exception):  # a property of the user's that cannot be asked now
                yield name, getattr(owner, name)


def _class_name(item: Any) -> str:
    """``dense`` for a Dense: how Keras makes names of classes in its files."""
    entry = getattr(item, "_keras_entry", lambda: None)()
    name = re.sub(r"\W+", "", entry[1] if entry else type(item).__name__)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
