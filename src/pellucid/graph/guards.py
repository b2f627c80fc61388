"""Guards: which Python values did ``call`` read, and have they changed since?

For the time of a capture ``Layer`` gets a ``__getattribute__`` that records reads of attributes on the capturing thread.
Plain values and containers are kept by content, everything else (layers, functions, arrays) by identity.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import threading
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from pellucid.core.layer import INTERNAL, Layer, is_building
from pellucid.core.variable import Variable

PLAIN = (int, float, complex, str, bytes, bool, type(None), enum.Enum, np.generic)
_BY_IDENTITY = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, Layer, Variable, np.ndarray)
_DEPTH = 5
_SMALL = 2**16  # bytes of a NumPy array whose content is compared; larger ones are compared by identity
_LARGE = 1000  # containers longer than this are compared by identity and length


class _Same:
    """Compares by identity, and keeps its object alive so that the identity stays its own."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.value)


def content(value: Any, depth: int = _DEPTH) -> Any:
    """What to compare of a value: equal contents mean that ``call`` would read the same."""
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, np.ndarray) and value.nbytes <= _SMALL:
        return _Same(value), value.tobytes()
    if isinstance(value, _BY_IDENTITY) or not depth:
        return _Same(value)
    if isinstance(value, list | tuple | set | frozenset):
        if len(value) > _LARGE:
            return _Same(value), len(value)
        return type(value), [content(v, depth - 1) for v in value]
    if isinstance(value, dict):
        if len(value) > _LARGE:
            return _Same(value), len(value)
        return dict, [(_Same(k) if not isinstance(k, PLAIN) else k, content(v, depth - 1)) for k, v in value.items()]
    if isinstance(value, functools.partial):
        return type(value), [content(v, depth - 1) for v in (value.func, value.args, value.keywords)]
    if type(value).__module__.split(".")[0] in ("jax", "jaxlib", "optax"):
        return _Same(value)
    fields = _fields(value)
    return (type(value), [(name, content(v, depth - 1)) for name, v in fields.items()]) if fields else _Same(value)


def _fields(value: Any) -> dict[str, Any]:
    slots = [name for c in type(value).__mro__ for name in _names(vars(c).get("__slots__", ()))]
    return {**{name: getattr(value, name) for name in slots if hasattr(value, name)}, **getattr(value, "__dict__", {})}


def _names(slots: Any) -> Any:
    return (slots,) if isinstance(slots, str) else slots


def _can_change_inside(value: Any) -> bool:
    return isinstance(value, np.ndarray) or not isinstance(value, (*PLAIN, *_BY_IDENTITY))


@dataclasses.dataclass
class Guard:
    """One attribute that a graph depends on."""

    owner: Layer
    attribute: str
    seen: Any
    shown: str
    inside: bool  # whether it can change without an assignment to the attribute

    def name(self) -> str:
        owner = self.owner
        return f"self.{self.attribute}" if owner._state.owner is None else f"{owner.path}.{self.attribute}"

    def changed(self) -> bool:
        return content(getattr(self.owner, self.attribute, ...)) != self.seen

    def sentence(self) -> str:
        """``self.alpha changed from 0.5 to 0.9``"""
        now = getattr(self.owner, self.attribute, "<deleted>")
        return f"`{self.name()}` changed from {self.shown} to {_shown(now)}"


def _shown(value: Any) -> str:
    text = "not set" if value is ... else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Guards:
    """All attributes that one capture read."""

    def __init__(self, guards: list[Guard], version: int):
        self.guards = guards
        self._inside = [g for g in guards if g.inside]
        self._version = version

    def including(self, others: list[Guards]) -> Guards:
        """These guards and those of other graphs."""
        every = {(id(g.owner), g.attribute): g for guards in (self, *others) for g in guards.guards}
        return Guards(list(every.values()), min(g._version for g in (self, *others)))

    def changes(self) -> list[Guard]:
        """Those that have changed. While no attribute of any layer was written, only containers and objects are compared."""
        version = Layer.version
        if version == self._version:
            return [g for g in self._inside if g.changed()]
        changed = [g for g in self.guards if g.changed()]
        if not changed:
            self._version = version
        return changed


@contextlib.contextmanager
def watching() -> Iterator[dict[tuple[int, str], tuple[Layer, str]]]:
    """Fills a table with the attributes of layers that are read inside, apart from reads during a ``build``."""
    reads: dict[tuple[int, str], tuple[Layer, str]] = {}
    thread = threading.get_ident()

    def reading(layer: Layer, name: str) -> Any:
        # noted before it is found: what is looked for in vain may come later
        if name[:2] != "__" and name not in INTERNAL and threading.get_ident() == thread and not is_building():
            reads.setdefault((id(layer), name), (layer, name))
        return object.__getattribute__(layer, name)

    before = vars(Layer).get("__getattribute__")  # of a capture around this one
    Layer.__getattribute__ = reading  # type: ignore[method-assign, assignment]
    try:
        yield reads
    finally:
        if before is None:
            del Layer.__getattribute__
        else:
            Layer.__getattribute__ = before  # type: ignore[method-assign]


def guards_of(reads: dict[tuple[int, str], tuple[Layer, str]]) -> Guards:
    """Guards for what was read, with the contents that the attributes have now: what ``call`` wrote itself is no change."""
    found = []
    version = Layer.version  # before the contents: what another thread writes meanwhile counts as a change
    for layer, name in reads.values():
        attributes = vars(layer)
        if name in attributes:
            value = attributes[name]
        elif name == "trainable":
            value = layer.trainable
        else:  # a class's own constant is data; methods, properties and what is gone are not
            value = next((vars(c)[name] for c in type(layer).__mro__ if name in vars(c)), ...)
            absent = value is ... and getattr(layer, name, ...) is ...  # else a __getattr__ of the user's answers
            if not absent and not isinstance(value, (*PLAIN, list, tuple, dict, set)):
                continue
        inside = _can_change_inside(value) or name not in attributes  # a write to a class raises no version number
        found.append(Guard(layer, name, content(value), _shown(value), inside))
    return Guards(found, version)
