"""Looks: what is compared of a value, to tell whether it has changed.

Plain values and containers are compared by content, of other objects the fields that some code names. Identities show nearly
always that nothing has changed: a look notes them, and ``unchanged`` compares those alone, at less than 0.1 us each.

A quick look takes buffers and containers of more than 1,000 items by their identity and length; ``partial`` says that it did. A
thorough look goes into these, too: that is done once an epoch, and in each call of ``fit``, ``evaluate`` and ``predict``.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pellucid.graph import inside
from pellucid.graph.inside import BUFFERS, CLOSED, MAPPINGS, PLAIN, SEQUENCES, Named

SMALL = 2**16  # bytes of a buffer that is cheap to compare
LARGE = 1000  # items of a container, beyond which a quick look does not go into it
_FLOATS = (float, complex, np.inexact)
_RAW = frozenset({int, str, bytes, type(None)})  # that are equal only to their like
_CLASS = "__class__"  # the part of an object that it has from its class
_DEPTH = 32
_MOST = 10_000  # values of one look, ten times as many of a thorough one; what comes after them is compared by identity


class Same:
    """Compares by identity, and keeps its object alive so that the identity stays its own."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.value)


class _Plain(NamedTuple):
    kind: type
    value: Any  # the text of a float: 0.0 and -0.0 differ, NaN and NaN do not

    def __repr__(self) -> str:
        return self.value if issubclass(self.kind, _FLOATS) else repr(self.value)


class _Buffer(NamedTuple):
    buffer: Same
    digest: bytes

    def __repr__(self) -> str:
        return repr(self.buffer)


class _Again(NamedTuple):
    """What this look has met before: objects that hold one another."""

    number: int

    def __repr__(self) -> str:
        return "..."


class _Long:
    """Of a long container: the items, compared by identity and, where they are plain values, by content."""

    def __init__(self, kind: type, items: tuple):
        self.kind, self.items = kind, items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Long) and self.kind is other.kind and len(self.items) == len(other.items) and not self.changed(other)

    __hash__ = None  # type: ignore[assignment]

    def changed(self, other: _Long) -> list[int]:
        """The numbers of the items that differ."""
        pairs = enumerate(zip(self.items, other.items, strict=False))
        plain = lambda a, b: isinstance(a, PLAIN) and isinstance(b, PLAIN) and _plain(a) == _plain(b)
        return [i for i, (a, b) in pairs if a is not b and not plain(a, b)]

    def __repr__(self) -> str:
        return f"{self.kind.__name__} of {len(self.items)}"


class Parts(NamedTuple):
    """Of a container or an object: its type, or itself where that matters, and (how to name a part, content) of each part."""

    kind: type | Same
    parts: list[tuple[Any, Any]]
    form: str  # "items", "entries" or "fields"

    def is_a(self, *kinds: type) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, kinds)

    def __repr__(self) -> str:
        if not isinstance(self.kind, type):
            return repr(self.kind)
        if self.form == "fields":
            return f"{self.kind.__name__}({', '.join(f'{name}={value!r}' for name, value in self.parts if name != _CLASS)})"
        if self.form == "entries":
            return f"{{{', '.join(f'{key!r}: {value!r}' for key, value in self.parts)}}}"
        inner = ", ".join(repr(value) for _, value in self.parts)
        if self.is_a(tuple):
            return f"({inner},)" if len(self.parts) == 1 else f"({inner})"
        if self.is_a(set, frozenset):
            return f"{{{inner}}}" if inner else "set()"
        return f"[{inner}]"


class Look:
    """One look at values: gives their contents, and notes the identities by which a later look can tell that nothing changed.

    Args:
        named: the fields of objects, modules and classes that matter; None for all fields of objects, and no others.
        most_items: the longest container to go into.
        most_bytes: the largest buffer to go into.
        effects: what comes of a change: "tell" looks at all that can be told, "undo" also notes what it takes to ``restore`` it.
    """

    __slots__ = (
        "_left",
        "_met",
        "_undo",
        "buffers",
        "effects",
        "fields",
        "found",
        "generators",
        "items",
        "lengths",
        "most_bytes",
        "most_items",
        "named",
        "partial",
    )

    def __init__(self, named: Named | None = None, most_items: float = LARGE, most_bytes: float = 0, effects: str | None = None):
        self.named, self.most_items, self.most_bytes = named, most_items, most_bytes
        self.fields: list[tuple[Callable[[str, Any], Any], str, Any]] = []
        self.items: list[tuple[Any, tuple]] = []
        self.lengths: list[tuple[Any, int]] = []
        self.buffers: list[tuple[Any, bytes]] = []
        self.generators: list[Any] = []
        self.partial = False
        self.found: Any = None  # the content of all
        self._left = _MOST if most_items <= LARGE else 10 * _MOST
        self._met: dict[int, int] = {}
        self.effects = effects
        self._undo: list[Callable[[], None]] = []

    def again(self) -> Look:
        """Another look of this kind."""
        return Look(self.named, self.most_items, self.most_bytes, self.effects and "tell")

    @property
    def sees_nothing(self) -> bool:
        """Whether nothing that it saw can change without an assignment."""
        return not (self.fields or self.items or self.lengths or self.buffers or self.generators or self.partial)

    def unchanged(self) -> bool:
        """Whether the same objects are still at the same places. False is no proof of a change."""
        try:
            return (
                all(read(name, ...) is value for read, name, value in self.fields)
                and all(len(held) == length for held, length in self.lengths)
                and all(len(held) == len(items) and all(map(operator.is_, held, items)) for held, items in self.items)
                and all(inside.digest(buffer) == before for buffer, before in self.buffers)
            )
        except (ValueError, RuntimeError):  # a cell was emptied, a container changed meanwhile
            return False

    def restore(self) -> None:
        """Makes everything be as it was seen."""
        for undo in self._undo:
            undo()

    # ---- Contents ----

    def content(self, value: Any, depth: int = _DEPTH) -> Any:
        """What to compare of a value: equal contents mean that ``call`` would read the same."""
        if isinstance(value, PLAIN):
            return _plain(value)
        self._left -= 1
        if isinstance(value, CLOSED):
            return Same(value)
        if not depth or self._left < 0:
            self.partial = True
            return Same(value)
        if not isinstance(value, tuple | frozenset):  # those that are equal may be one object
            if id(value) in self._met:
                return _Again(self._met[id(value)])
            self._met[id(value)] = len(self._met)
        if self.effects == "undo" and (undo := inside.copied(value, self.named, SMALL)) is not None:
            self._undo.append(undo)
        if isinstance(value, BUFFERS):
            return self._buffer(value, depth - 1)
        if isinstance(value, SEQUENCES + MAPPINGS):
            return self._container(value, depth - 1)
        if isinstance(value, functools.partial):
            return Parts(
                type(value), [(i, self.content(v, depth - 1)) for i, v in enumerate((value.func, value.args, value.keywords))], "items"
            )
        if inside.is_generator(value):
            self.generators.append(value)
            return Same(value)
        return self._object(value, depth - 1)

    def _buffer(self, value: Any, depth: int) -> Any:
        if inside.size_of(value) > self.most_bytes:
            self.partial = True
            return Same(value)
        if isinstance(value, np.ndarray) and value.dtype == object:
            return self._container(inside.Flat(value), depth)
        found = inside.digest(value)
        self.buffers.append((value, found))
        return _Buffer(Same(value), found)

    def _container(self, value: Any, depth: int) -> Any:
        mapping = isinstance(value, MAPPINGS)
        if len(value) > self.most_items:
            self.partial = True
            if self.effects is None:
                self.lengths.append((value, len(value)))
                return Same(value), len(value)
            items = tuple(value.values() if mapping else value)
            self.items.append((value.values() if mapping else value, items))
            return _Long(type(value), items), Same(value)
        if not isinstance(value, tuple | frozenset):
            self.items.append((value, tuple(value)))
        if mapping:
            self.items.append((value.values(), tuple(value.values())))
            return Parts(type(value), [(k if isinstance(k, PLAIN) else Same(k), self._item(v, depth)) for k, v in value.items()], "entries")
        return Parts(type(value), [(i, self._item(v, depth)) for i, v in enumerate(value)], "items")

    def _item(self, value: Any, depth: int) -> Any:
        return value if type(value) in _RAW else self.content(value, depth)

    def _object(self, value: Any, depth: int) -> Any:
        fields, spaces = inside.fields_of(value, self.named, known=self.effects is not None)
        self.lengths += [(space, len(space)) for space in spaces]
        self.fields += [(field.read, field.name, field.value) for field in fields]
        itself = isinstance(value, types.ModuleType | type | types.FunctionType)
        parts = [(field.name, self.content(field.value, depth)) for field in fields]
        if self.named is not None and not itself and inside.is_users(type(value)):
            parts.append((_CLASS, self.content(type(value), depth)))
        if not parts and not spaces:
            return Same(value)
        if isinstance(value, types.MethodType):
            return Parts(Same(value.__func__), parts, "fields")
        return Parts(Same(value) if itself else type(value), parts, "fields")


def look_at(value: Any) -> Look:
    """A look at a value whose reader is not known: all fields of an object, and the content of a small buffer."""
    look = Look(most_bytes=SMALL)
    look.found = look.content(value)
    return look


def content(value: Any) -> Any:
    """What to compare of a value whose reader is not known."""
    return look_at(value).found


def _plain(value: Any) -> _Plain:
    return _Plain(type(value), repr(value) if isinstance(value, _FLOATS) else value)


# ---- Differences ----


def differences(before: Any, now: Any) -> list[tuple[str, str, str]]:
    """(the innermost part, what it was, what it is) of each part in which two contents differ."""
    if before == now:
        return []
    if isinstance(before, Parts) and isinstance(now, Parts) and before.kind == now.kind:
        old, new = ({str(k): (k, v) for k, v in c.parts} for c in (before, now))
        if before.form == "fields" or (old.keys() == new.keys() and not before.is_a(set, frozenset, functools.partial)):
            found = []
            for key in [*old, *(k for k in new if k not in old)]:
                a, b = old.get(key, (None, ...))[1], new.get(key, (None, ...))[1]
                name = f".{key}" if before.form == "fields" else f"[{(old.get(key) or new[key])[0]!r}]"
                name = "" if key == _CLASS else name
                found += [(name + part, was, now) for part, was, now in differences(a, b)]
            return found
    return [("", shown(before, "not set"), shown(now, "<deleted>"))]


def shown(content: Any, missing: str) -> str:
    """A content in short."""
    text = missing if content is ... or (isinstance(content, Same) and content.value is ...) else repr(content)
    return text if len(text) <= 60 else text[:57] + "..."
