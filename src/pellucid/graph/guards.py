"""Guards: which Python values did ``call`` read, and have they changed since?

For the time of a capture ``Layer`` gets a ``__getattribute__`` that records reads of attributes on the capturing thread. Globals,
closure variables and defaults of arguments are those that the code names which ran (``watch``). Each dispatch has a quick look at
them; what that leaves out, arrays and large containers, is looked into once an epoch, and in each call of ``fit``, ``evaluate``
and ``predict`` (``look``).

Nearly always nothing has changed, and identities show it: an attribute of a layer is looked at only after some attribute of
some layer was written, everything else takes less than 0.1 us an entry at each dispatch.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Place
from pellucid.core.layer import Layer, is_building
from pellucid.core.tree import INTERNAL
from pellucid.graph import watch
from pellucid.graph.inside import CLOSED, PLAIN, Named, is_users
from pellucid.graph.look import SMALL, Look, differences, shown
from pellucid.graph.watch import Reach

_NUMBER = re.compile(r"(np\.\w+\()?[-+]?(\d|inf|nan)[\w.+-]*\)?")  # as Python and NumPy show one


# ---- Guards ----


class Guard:
    """One value that a graph depends on, and what it was.

    Args:
        value: of now; ``...`` where there is none.
        named: the fields that matter of objects in it.
        effects: where ``call`` is about to run, and what it does to the value will be told of or undone: "tell" or "undo".
    """

    __slots__ = ("_inner_seen", "_seen", "inner", "look", "place", "value")

    def __init__(self, value: Any, named: Named | None = None, effects: str | None = None):
        self.value = value
        self.place: Place | None = None  # of the user's line that assigned it since
        self.look: Look | None = None
        self.inner: Look | None = None  # into what the quick look leaves out
        self._seen: Any = None
        self._inner_seen: Any = None
        if not isinstance(value, (*PLAIN, *CLOSED)):
            look = Look(named, most_bytes=SMALL, effects=effects) if effects else Look(named)
            self._keep(look, look.content(value))
            if not effects and self.look is not None and self.look.partial:
                self.inner = Look(named, float("inf"), float("inf"))
                self._inner_seen = self.inner.content(value)

    def _keep(self, look: Look, seen: Any) -> None:
        self.look, self._seen = None if look.sees_nothing else look, seen

    def label(self, inside: str = "") -> str:
        """How a sentence names it, or a part of it such as ``[0]``."""
        raise NotImplementedError

    def name(self) -> str:
        """The same, without quotes."""
        return self.label().replace("`", "")

    @property
    def shown(self) -> str:
        """What it was, in short."""
        return shown(self.seen, "not set")

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
        """Whether a quick look finds another content. Equal values in other objects are noted as the ones to expect."""
        now = self.now()
        if now is self.value and (self.look is None or self.look.unchanged()):
            return False
        look = Look() if self.look is None else self.look.again()
        seen = look.content(now)
        if seen != self.seen:
            return True
        self.value = now
        if self.look is not None:
            self._keep(look, seen)
        return False

    def changed_inside(self) -> bool:
        """Whether what a quick look leaves out has another content."""
        return self.inner is not None and not self.inner.unchanged() and self.inner.again().content(self.now()) != self._inner_seen

    def differences(self) -> list[tuple[str, str, str]]:
        """(the part that differs, what it was, what it is), at least one."""
        look, seen = (self.look or Look(), self.seen) if self.inner is None else (self.inner, self._inner_seen)
        now = look.again().content(self.now())
        return differences(seen, now) or [("", shown(seen, "not set"), shown(now, "<deleted>"))]

    def is_number(self) -> bool:
        """Whether numbers have changed, which a Variable could hold: not what a Python ``if`` reads."""
        _, before, now = self.differences()[0]
        return before == now or all(_NUMBER.fullmatch(text) for text in (before, now))

    def sentence(self) -> str:
        """``self.alpha changed from 0.5 to 0.9 at train.py:41``"""
        at = f" at {self.place}" if self.place else ""
        part, before, now = self.differences()[0]
        if before != now:
            return f"{self.label(part)} changed from {before} to {now}{at}"
        return f"the content of {self.label(part)} changed" if self.changed_inside() else f"{self.label(part)} changed{at}"


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
        return (types.MethodType(getattr, cls), self.attribute, self.value) if self.of_class else None


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
    """A global, a closure variable, a module, a class or the default of an argument that the code names."""

    __slots__ = ("file", "holder", "key", "kind")

    def __init__(self, kind: str, key: str, file: str, holder: Any, *args: Any):
        self.kind, self.key, self.file, self.holder = kind, key, file, holder
        super().__init__(self.now(), *args)

    def label(self, inside: str = "") -> str:
        function = f" of {self.holder.__name__}" if isinstance(self.holder, types.FunctionType) else ""
        return f"{self.kind} `{self.key}{inside}`{function} ({os.path.basename(self.file)})"

    def now(self) -> Any:
        if isinstance(self.holder, types.CellType):
            try:
                return self.holder.cell_contents
            except ValueError:  # it is empty
                return ...
        if isinstance(self.holder, types.FunctionType):
            return watch.defaults_of(self.holder).get(self.key, ...)
        return self.holder.get(self.key, ...)

    def put(self, value: Any) -> None:
        if isinstance(self.holder, types.CellType):
            self.holder.cell_contents = value
        elif isinstance(self.holder, types.FunctionType):
            watch.put_default(self.holder, self.key, value)
        elif value is ...:
            self.holder.pop(self.key, None)
        else:
            self.holder[self.key] = value

    def entry(self) -> tuple[Callable[[str, Any], Any], str, Any] | None:
        if isinstance(self.holder, types.CellType):
            return functools.partial(getattr, self.holder), "cell_contents", self.value
        if isinstance(self.holder, types.FunctionType):
            if self.key in (self.holder.__kwdefaults__ or ()):
                return types.MethodType(watch.keyword_default, self.holder), self.key, self.value
            return types.MethodType(getattr, self.holder), "__defaults__", self.holder.__defaults__  # equal to those of the others
        if isinstance(self.holder, watch.Environment):
            return self.holder.stored, self.key, self.holder.stored(self.key, ...)
        return self.holder.get, self.key, self.value


class Guards:
    """All values that one capture read."""

    def __init__(self, guards: Sequence[Guard], version: int):
        self.guards = list(guards)
        self._version = version
        self._note()

    def _note(self) -> None:
        """Joins the identities of what can change without a write to a layer, so that one loop compares them."""
        together, entries = Look(), [g.entry() for g in self.guards]
        together.fields += {(e[0], e[1], id(e[2])): e for e in entries if e is not None}.values()
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
            contents: whether arrays and large containers are looked into, too.
        """
        changed = self._changes()
        if contents:
            changed += [g for g in self._inside if g not in changed and g.changed_inside()]
        return changed

    def changed_inside(self) -> bool:
        """Whether the content of an array or large container changed."""
        return any(g.changed_inside() for g in self._inside)

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
        found += [*variable_guards(reach, named, ran=True), *class_guards((layer for layer, _ in wanted.values()), named)]
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
        elif (hasattr(type(value), "__get__") and type(value) is not types.FunctionType) or not is_users(_definer(layer, name)):
            return None  # properties are guarded by what they read; the library's own classes do not change
    known = layer._state.guards
    guard = known.get(name)
    if guard is None or guard.value is not value or guard.look is not None or guard.of_class:
        # the library itself reads the fields of a regularizer
        guard = known[name] = AttributeGuard(layer, name, value, None if name == "activity_regularizer" else named)
    guard.place = None
    return guard


def _definer(layer: Layer, name: str) -> type:
    return next(c for c in type(layer).__mro__ if name in vars(c))


def class_guards(layers: Iterable[Layer], named: Named | None, effects: str | None = None) -> list[Guard]:
    """Guards for what the user's classes of layers hold, which ``type(self)`` and class methods read."""
    found = []
    for cls in dict.fromkeys(cls for kind in dict.fromkeys(map(type, layers)) for cls in kind.__mro__ if is_users(cls)):
        file = getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__
        found.append(VariableGuard("class", cls.__name__, file, {cls.__name__: cls}, named, effects))
    return [guard for guard in found if guard.look is not None]


def variable_guards(reach: Reach, named: Named | None, ran: bool, effects: str | None = None) -> list[Guard]:
    """Guards for the globals, closure variables, defaults and imported modules that the user's code names.

    Args:
        reach: the code.
        named: the fields that it names.
        ran: whether only code that ran counts.
        effects: see ``Guard``.
    """
    found = {}
    for kind, name, file, holder in reach.variables(ran):
        if (kind, name, id(holder)) not in found:
            guard = VariableGuard(kind, name, file, holder, named, effects)
            if not jax_compat.is_tracer(guard.value):
                found[kind, name, id(holder)] = guard
    return list(found.values())
