"""Guards: which Python values did ``call`` read, and have they changed since?

For the time of a capture ``Layer`` gets a ``__getattribute__`` that records reads of attributes on the capturing thread. Globals
and closure variables are those that the code names which ran (``watch``). Plain values and containers are compared by content,
of other objects the fields that this code names; layers, functions, classes and arrays are compared by identity, and NumPy
arrays by content where ``contents=True`` asks for it: once an epoch, and in each call of ``fit``, ``evaluate`` and ``predict``.

Nearly always nothing has changed, and identities show it: an attribute of a layer is looked at only after some attribute of
some layer was written, everything else takes less than 0.1 us an entry at each dispatch.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import functools
import hashlib
import operator
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Place
from pellucid.core.layer import INTERNAL, Layer, is_building
from pellucid.core.variable import Variable
from pellucid.graph import watch
from pellucid.graph.watch import Named, Reach

PLAIN = (int, float, complex, str, bytes, bool, type(None), enum.Enum, np.generic)
_FLOATS = (float, complex, np.inexact)
_BY_IDENTITY = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, Layer, Variable)
_SEQUENCES = (list, tuple, set, frozenset, collections.deque)
_DEPTH = 5
_SMALL = 2**16  # bytes of a NumPy array that is cheap to compare
_LARGE = 1000  # containers longer than this are compared by identity and length
_NUMBER = re.compile(r"(np\.\w+\()?[-+]?(\d|inf|nan)[\w.+-]*\)?")  # as Python and NumPy show one
_MOST = 10_000  # values of one look; what comes after them is compared by identity


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


class _Plain(NamedTuple):
    kind: type
    value: Any  # the text of a float: 0.0 and -0.0 differ, NaN and NaN do not

    def __repr__(self) -> str:
        return self.value if issubclass(self.kind, _FLOATS) else repr(self.value)


class _Parts(NamedTuple):
    """Of a container or an object: its type, and (how to name a part, content) of each part."""

    kind: type
    parts: list[tuple[Any, Any]]
    form: str  # "items", "entries" or "fields"

    def __repr__(self) -> str:
        if self.form == "fields":
            return f"{self.kind.__name__}({', '.join(f'{name}={value!r}' for name, value in self.parts)})"
        if self.form == "entries":
            return f"{{{', '.join(f'{key!r}: {value!r}' for key, value in self.parts)}}}"
        inner = ", ".join(repr(value) for _, value in self.parts)
        if issubclass(self.kind, tuple):
            return f"({inner},)" if len(self.parts) == 1 else f"({inner})"
        if issubclass(self.kind, set | frozenset):
            return f"{{{inner}}}" if inner else "set()"
        return f"[{inner}]"


class Look:
    """One look at values: gives their contents, and notes the identities by which a later look can tell that nothing changed.

    Args:
        named: the fields of objects, modules and classes that matter; None for all fields of objects, and no others.
        digest: the largest NumPy array whose content is noted, in bytes.
    """

    __slots__ = ("_left", "_parents", "arrays", "digest", "fields", "generators", "items", "lengths", "named")

    def __init__(self, named: Named | None = None, digest: float = 0):
        self.named, self.digest = named, digest
        self.fields: list[tuple[Callable[[str, Any], Any], str, Any]] = []
        self.items: list[tuple[Any, tuple]] = []
        self.lengths: list[tuple[Any, int]] = []
        self.arrays: list[tuple[np.ndarray, bytes]] = []
        self.generators: list[Any] = []
        self._left = _MOST
        self._parents: set[int] = set()

    def unchanged(self) -> bool:
        """Whether the same objects are still at the same places. False is no proof of a change."""
        try:
            return (
                all(read(name, ...) is value for read, name, value in self.fields)
                and all(len(held) == length for held, length in self.lengths)
                and all(len(held) == len(items) and all(map(operator.is_, held, items)) for held, items in self.items)
            )
        except (ValueError, RuntimeError):  # a cell was emptied, a container changed meanwhile
            return False

    def arrays_changed(self) -> bool:
        """Whether a NumPy array has another content."""
        return any(_digest(array) != before for array, before in self.arrays)

    def content(self, value: Any, depth: int = _DEPTH) -> Any:
        """What to compare of a value: equal contents mean that ``call`` would read the same."""
        if isinstance(value, PLAIN):
            return _plain(value)
        if isinstance(value, np.ndarray):
            if value.nbytes <= self.digest and value.flags.writeable:
                self.arrays.append((value, _digest(value)))
            return _Same(value)
        self._left -= 1
        if isinstance(value, _BY_IDENTITY) or not depth or self._left < 0 or id(value) in self._parents:
            return _Same(value)
        self._parents.add(id(value))  # an object that holds itself
        try:
            return self._parts(value, depth - 1)
        finally:
            self._parents.discard(id(value))

    def _parts(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if isinstance(value, (*_SEQUENCES, dict)) and len(value) > _LARGE:
            self.lengths.append((value, len(value)))
            return _Same(value), len(value)
        if isinstance(value, _SEQUENCES):
            self.items.append((value, tuple(value)))
            return _Parts(kind, [(i, self.content(v, depth)) for i, v in enumerate(value)], "items")
        if isinstance(value, dict):
            self.items += [(value, tuple(value)), (value.values(), tuple(value.values()))]
            entries = [(k if isinstance(k, PLAIN) else _Same(k), self.content(v, depth)) for k, v in value.items()]
            return _Parts(kind, entries, "entries")
        if isinstance(value, functools.partial):
            return _Parts(kind, [(i, self.content(v, depth)) for i, v in enumerate((value.func, value.args, value.keywords))], "items")
        if isinstance(value, types.ModuleType | type):
            return self._namespace(value, depth)
        return self._object(value, depth)

    def _namespace(self, value: Any, depth: int) -> Any:
        """A module or class of the user's: the values in it that the code names."""
        if self.named is None or not watch.is_users(value):
            return _Same(value)
        spaces = [vars(value)] if isinstance(value, types.ModuleType) else [vars(c) for c in value.__mro__ if watch.is_users(c)]
        found: dict[str, Any] = {}
        for space in spaces:
            self.lengths.append((space, len(space)))
            for name in self.named.fields:
                if name in space and name not in found and name[:2] != "__":
                    found[name] = space[name]
                    self.fields.append((space.get, name, space[name]))
        fields = [(name, self.content(v, depth if not isinstance(v, types.ModuleType | type) else 0)) for name, v in found.items()]
        return _Same(value), _Parts(types.ModuleType, fields, "fields")

    def _object(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if watch.is_generator(value):
            self.generators.append(value)
            return _Same(value)
        if kind.__module__.split(".")[0] in ("jax", "jaxlib", "optax"):
            return _Same(value)
        names = None if self.named is None or self.named.all else self.named.fields
        if self.named is not None and not watch.is_users(kind) and kind not in watch.NAMESPACES:
            if kind.__module__.split(".")[0] in sys.stdlib_module_names or not hasattr(kind, "__getattr__"):
                return _Same(value)
            names = None  # an object for settings from some package, whose fields are in dicts of its own
        attributes, read = watch.fields_of(value), functools.partial(_field, value)
        fields = {name: v for name in _slots(value) if (v := _field(value, name, ...)) is not ...}
        self.fields += [(read, name, v) for name, v in fields.items() if names is None or name in names]
        self.lengths.append((attributes, len(attributes)))
        self.fields += [(attributes.get, name, v) for name, v in attributes.items() if names is None or name in names]
        fields.update(attributes)
        if not fields:
            return _Same(value)
        parts = [(name, self.content(v, depth)) for name, v in fields.items() if names is None or name in names]
        return _Parts(kind, parts, "fields")


def content(value: Any) -> Any:
    """What to compare of a value whose reader is not known: all fields of an object, and the content of a small NumPy array."""
    look = Look(digest=_SMALL)
    found = look.content(value)
    return (found, [digest for _, digest in look.arrays]) if look.arrays else found


def _plain(value: Any) -> _Plain:
    return _Plain(type(value), repr(value) if isinstance(value, _FLOATS) else value)


def _digest(array: np.ndarray) -> bytes:
    try:
        data: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    except (TypeError, ValueError):  # of objects
        data = array.tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()


def _field(value: Any, name: str, default: Any) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return default


def _slots(value: Any) -> list[str]:
    slots = [vars(c).get("__slots__", ()) for c in type(value).__mro__]
    return [name for some in slots for name in ((some,) if isinstance(some, str) else some) if name not in ("__dict__", "__weakref__")]


# ---- Guards ----


class Guard:
    """One value that a graph depends on, and what it was."""

    __slots__ = ("_seen", "look", "place", "value")

    def __init__(self, value: Any, named: Named | None = None, digest: float = float("inf")):
        self.value = value
        self.place: Place | None = None  # of the user's line that assigned it since
        self.look: Look | None = None
        self._seen: Any = None
        if not isinstance(value, (*PLAIN, *_BY_IDENTITY, types.EllipsisType)):
            self.look = Look(named, digest)
            self._seen = self.look.content(value)

    def label(self, inside: str = "") -> str:
        """How a sentence names it, or a part of it such as ``[0]``."""
        raise NotImplementedError

    def name(self) -> str:
        """The same, without quotes."""
        return self.label().replace("`", "")

    @property
    def shown(self) -> str:
        """What it was, in short."""
        return _shown(self.seen, "not set")

    def now(self) -> Any:
        """The value of this moment; ``...`` where there is none."""
        raise NotImplementedError

    def put(self, value: Any) -> None:
        """Assigns it, with no notice of it."""
        raise NotImplementedError

    def entry(self) -> tuple[Callable[[str, Any], Any], str, Any] | None:
        """(read, name, value) to compare at each dispatch; None where only a write to a layer replaces it."""
        return None

    @property
    def seen(self) -> Any:
        """The content that it had."""
        return self._seen if self.look is not None else Look().content(self.value)

    def changed(self) -> bool:
        """Whether the content is another one. Equal values in other objects are noted as the ones to expect."""
        now = self.now()
        if now is self.value and (self.look is None or self.look.unchanged()):
            return False
        look = Look(None if self.look is None else self.look.named)
        seen = look.content(now)
        if seen != self.seen:
            return True
        self.value = now
        if self.look is not None:
            look.arrays = self.look.arrays  # the same objects, which are looked into once an epoch
            self.look, self._seen = look, seen
        return False

    def arrays_changed(self) -> bool:
        """Whether the content of a NumPy array changed."""
        return self.look is not None and self.look.arrays_changed()

    def difference(self) -> tuple[str, str, str]:
        """(the part that differs, what it was, what it is)"""
        named = None if self.look is None else self.look.named
        return difference(self.seen, Look(named).content(self.now()))

    def is_number(self) -> bool:
        """Whether numbers have changed, which a Variable could hold: not what a Python ``if`` reads."""
        return self.arrays_changed() or all(_NUMBER.fullmatch(text) for text in self.difference()[1:])

    def sentence(self) -> str:
        """``self.alpha changed from 0.5 to 0.9 at train.py:41``"""
        at = f" at {self.place}" if self.place else ""
        part, before, now = self.difference()
        if before == now:
            return f"{self.label(part)} changed{at}" if not self.arrays_changed() else f"the content of an array in {self.label()} changed"
        return f"{self.label(part)} changed from {before} to {now}{at}"


class AttributeGuard(Guard):
    """An attribute of a layer, its own or its class's."""

    __slots__ = ("attribute", "of_class", "owner")

    def __init__(self, owner: Layer, attribute: str, value: Any, *args: Any):
        super().__init__(value, *args)
        self.owner, self.attribute = owner, attribute
        self.of_class = attribute not in vars(owner) and value is not ... and attribute != "trainable"

    def label(self, inside: str = "") -> str:
        owner = "self" if self.owner._state.owner is None else self.owner.path
        return f"`{owner}.{self.attribute}{inside}`"

    def now(self) -> Any:
        return attribute_of(self.owner, self.attribute)

    def put(self, value: Any) -> None:
        object.__setattr__(self.owner, self.attribute, value)

    def entry(self) -> tuple[Callable[[str, Any], Any], str, Any] | None:
        cls: Any = type(self.owner)
        return (_reader(cls), self.attribute, self.value) if self.of_class else None


@functools.lru_cache(maxsize=1024)
def _reader(cls: Any) -> Callable[[str, Any], Any]:
    return functools.partial(getattr, cls)


class KeysGuard(Guard):
    """The names of all attributes of a layer, where ``call`` looked into its ``__dict__``."""

    __slots__ = ("owner",)

    def __init__(self, owner: Layer):
        super().__init__(None)
        self.owner, self.value = owner, vars(owner)
        self.look, self._seen = Look(), set(vars(owner))
        self.look.items.append((vars(owner), tuple(vars(owner))))

    def changed(self) -> bool:
        return set(vars(self.owner)) != self._seen

    def is_number(self) -> bool:
        return False

    def sentence(self) -> str:
        name = sorted(set(vars(self.owner)) ^ self._seen)[0]
        owner = "self" if self.owner._state.owner is None else self.owner.path
        return f"`{owner}.{name}` was {'deleted' if name in self._seen else 'not there before'}"


class VariableGuard(Guard):
    """A global, a closure variable or a module that the code names."""

    __slots__ = ("file", "holder", "key", "kind")

    def __init__(self, kind: str, key: str, file: str, holder: Any, *args: Any):
        self.kind, self.key, self.file, self.holder = kind, key, file, holder
        super().__init__(self.now(), *args)

    def label(self, inside: str = "") -> str:
        return f"{self.kind} `{self.key}{inside}` ({os.path.basename(self.file)})"

    def now(self) -> Any:
        if not isinstance(self.holder, types.CellType):
            return self.holder.get(self.key, ...)
        try:
            return self.holder.cell_contents
        except ValueError:  # it is empty
            return ...

    def put(self, value: Any) -> None:
        if isinstance(self.holder, types.CellType):
            self.holder.cell_contents = value
        else:
            self.holder[self.key] = value

    def entry(self) -> tuple[Callable[[str, Any], Any], str, Any] | None:
        if isinstance(self.holder, types.CellType):
            return functools.partial(getattr, self.holder), "cell_contents", self.value
        return self.holder.get, self.key, self.value


def difference(before: Any, now: Any) -> tuple[str, str, str]:
    """The innermost part in which two contents differ, and what it was and is."""
    if isinstance(before, tuple) and isinstance(now, tuple) and len(before) == len(now) == 2 and isinstance(before[0], _Same):
        before, now = (before[1], now[1]) if before[0] == now[0] else (before[0], now[0])  # of a module or class
    if isinstance(before, _Parts) and isinstance(now, _Parts) and before.kind is now.kind:
        old, new = ({str(k): (k, v) for k, v in c.parts} for c in (before, now))
        if before.form == "fields" or (old.keys() == new.keys() and not issubclass(before.kind, set | frozenset | functools.partial)):
            for key in [*old, *(k for k in new if k not in old)]:
                _, a = old.get(key, (None, ...))
                _, b = new.get(key, (None, ...))
                if a != b:
                    part, *texts = difference(a, b)
                    name = f".{key}" if before.form == "fields" else f"[{(old.get(key) or new[key])[0]!r}]"
                    return f"{name}{part}", *texts  # type: ignore[return-value]
    return "", _shown(before, "not set"), _shown(now, "<deleted>")


def _shown(content: Any, missing: str) -> str:
    text = missing if content is ... or (isinstance(content, _Same) and content.value is ...) else repr(content)
    return text if len(text) <= 60 else text[:57] + "..."


class Guards:
    """All values that one capture read."""

    def __init__(self, guards: Sequence[Guard], version: int):
        self.guards = list(guards)
        self._version = version
        self._note()

    def _note(self) -> None:
        """Joins the identities of what can change without a write to a layer, so that one loop compares them."""
        together, entries = Look(), [g.entry() for g in self.guards]
        together.fields += {(id(e[0]), e[1], id(e[2])): e for e in entries if e is not None}.values()
        self._inside = [g for g, entry in zip(self.guards, entries, strict=True) if entry is not None or g.look is not None]
        for guard in self._inside:
            if guard.look is not None:
                together.fields += guard.look.fields
                together.items += guard.look.items
                together.lengths += guard.look.lengths
        self._together = together

    def including(self, others: list[Guards]) -> Guards:
        """These guards and those of other graphs."""
        if not others:
            return self
        every = dict.fromkeys(g for guards in (self, *others) for g in guards.guards)
        return Guards(list(every), min(g._version for g in (self, *others)))

    def changes(self, contents: bool = True) -> list[Guard]:
        """Those that have changed.

        Args:
            contents: whether the contents of NumPy arrays are compared, too.
        """
        changed = self._changes()
        if contents:
            changed += [g for g in self._inside if g not in changed and g.arrays_changed()]
        return changed

    def arrays_changed(self) -> bool:
        """Whether the content of a NumPy array changed."""
        return any(g.arrays_changed() for g in self._inside)

    def _changes(self) -> list[Guard]:
        version = Layer.version
        if version == self._version:
            if self._together.unchanged():
                return []
            changed = [g for g in self._inside if g.changed()]
        else:
            changed = [g for g in self.guards if g.changed()]
        if not changed:
            self._version = version
            self._note()
        return changed


# ---- What was read ----


class Reads:
    """The attributes of layers that were read, and the layers whose ``__dict__`` was."""

    def __init__(self) -> None:
        self.attributes: dict[tuple[int, str], tuple[Layer, str]] = {}
        self.dicts: dict[int, Layer] = {}


@contextlib.contextmanager
def watching() -> Iterator[Reads]:
    """Notes what of layers is read inside, apart from reads during a ``build``."""
    reads = Reads()
    if not watch.enabled:
        yield reads
        return
    attributes, thread, found = reads.attributes, threading.get_ident(), object.__getattribute__

    def reading(layer: Layer, name: str) -> Any:
        # noted before it is found: what is looked for in vain may come later
        if name[:2] != "__":
            key = (id(layer), name)
            if key not in attributes and name not in INTERNAL and threading.get_ident() == thread and not is_building():
                attributes[key] = (layer, name)
        elif name == "__dict__" and not jax_compat.is_library_file(sys._getframe(1).f_code.co_filename):
            reads.dicts[id(layer)] = layer
        return found(layer, name)

    before = vars(Layer).get("__getattribute__")  # of a capture around this one
    Layer.__getattribute__ = reading  # type: ignore[method-assign, assignment]
    try:
        yield reads
    finally:
        if before is None:
            del Layer.__getattribute__
        else:
            Layer.__getattribute__ = before  # type: ignore[method-assign]


def guards_of(reads: Reads, reach: Reach | None) -> Guards:
    """Guards for what was read, with the contents of now: what ``call`` wrote itself is no change."""
    version = Layer.version  # before the contents: what another thread writes meanwhile counts as a change
    named = None if reach is None else reach.named(ran=True)
    wanted = dict(reads.attributes)
    for layer in reads.dicts.values():
        wanted.update({(id(layer), name): (layer, name) for name in vars(layer) if name not in INTERNAL})
    found: list[Guard] = [g for layer, name in wanted.values() if (g := _attribute_guard(layer, name, named)) is not None]
    found += [KeysGuard(layer) for layer in reads.dicts.values()]
    if reach is not None:
        found += variable_guards(reach, named, ran=True)
    return Guards(found, version)


def attribute_of(layer: Layer, name: str) -> Any:
    """The value of an attribute: the layer's own, else the constant or method of its class; ``...`` where there is none."""
    attributes = vars(layer)
    if name in attributes:
        return attributes[name]
    if name == "trainable":
        return layer._state.trainable
    return next((vars(c)[name] for c in type(layer).__mro__ if name in vars(c)), ...)


def _attribute_guard(layer: Layer, name: str, named: Named | None) -> Guard | None:
    value = attribute_of(layer, name)
    if name not in vars(layer) and name != "trainable":
        if value is ...:
            if getattr(layer, name, ...) is not ...:  # a __getattr__ of the user's answers
                return None
        elif not isinstance(value, (*PLAIN, list, tuple, dict, set, types.FunctionType)) or not watch.is_users(_definer(layer, name)):
            return None  # properties are guarded by what they read; the library's own classes do not change
    known = layer._state.guards
    guard = known.get(name)
    if guard is None or guard.value is not value or guard.look is not None or guard.of_class:
        guard = known[name] = AttributeGuard(layer, name, value, named)
    guard.place = None
    return guard


def _definer(layer: Layer, name: str) -> type:
    return next(c for c in type(layer).__mro__ if name in vars(c))


def variable_guards(reach: Reach, named: Named | None, ran: bool, digest: float = float("inf")) -> list[Guard]:
    """Guards for the globals, closure variables and imported modules that the user's code names.

    Args:
        reach: the code.
        named: the fields that it names.
        ran: whether only code that ran counts.
        digest: the largest NumPy array whose content is noted.
    """
    found = {}
    for kind, name, file, holder in reach.variables(ran):
        if (kind, name, id(holder)) not in found:
            guard = VariableGuard(kind, name, file, holder, named, digest)
            if not jax_compat.is_tracer(guard.value):
                found[kind, name, id(holder)] = guard
    return list(found.values())


__all__ = ["PLAIN", "AttributeGuard", "Guard", "Guards", "Look", "VariableGuard", "content", "difference", "guards_of"]
