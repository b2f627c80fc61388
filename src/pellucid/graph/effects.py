"""Side effects of ``call`` seen during a capture: what a compiled step will not repeat.

Calls are heard while ``call`` runs (``watch``): the clock, files, the network, random numbers, layers and variables that are made.
What else changed is seen by comparison: attributes, lists, dicts and sets of the layers, globals and closure variables, and the
states of random generators are looked at before the run and after it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import re
import sys
import threading
import types
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pellucid.core import jax_compat
from pellucid.core.hooks import Hooks
from pellucid.core.jax_compat import Place, user_place
from pellucid.core.layer import Layer, is_building
from pellucid.core.tree import INTERNAL
from pellucid.core.variable import Variable
from pellucid.errors import SideEffectError, SideEffectWarning
from pellucid.graph import source, watch
from pellucid.graph.guards import AttributeGuard, Guard, VariableGuard, class_guards, variable_guards
from pellucid.graph.inside import Named, is_generator, is_users, put
from pellucid.graph.kept import RETURN, Replacing
from pellucid.graph.watch import Reach

_ONCE = "once, while `call` was captured"
_STATE = "Keep state in a Variable (self.add_weight(..., trainable=False)) and assign to that."
_KEPT = "{} keeps a value that exists only inside the capture; it cannot be used later."


@dataclasses.dataclass(frozen=True)
class Effect:
    """One side effect: its kind, its place in the user's code, what happens and what to write instead."""

    kind: str
    place: Place
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} {self.cure}"


class _Kind(NamedTuple):
    name: str
    what: str
    cure: str


_CLOCK = _Kind(
    "clock",
    f"`{{}}` read the clock {_ONCE}; compiled steps keep that time.",
    "Read it in a callback, or pass the time to `call` as an input.",
)
_RANDOM = _Kind(
    "random",
    f"`{{}}` drew {_ONCE}; compiled steps repeat what it gave.",
    "Draw with pellucid.random and a SeedGenerator made in __init__: it draws anew on every step.",
)
_FILE = _Kind("file", f"`{{}}` wrote to a file {_ONCE}; compiled steps do not repeat it.", "Do it in a callback.")
_NETWORK = _Kind("network", f"`{{}}` used the network {_ONCE}; compiled steps do not repeat it.", "Do it in a callback.")
_PROCESS = _Kind("process", f"`{{}}` started a program {_ONCE}; compiled steps do not repeat it.", "Do it in a callback.")
_LOG = _Kind("logging", f"`{{}}` logged {_ONCE}; compiled steps do not repeat it.", "Use pellucid.print(...) to print on every step.")
_PRINT = _Kind("print", f"print ran {_ONCE}; compiled steps do not repeat it.", "Use pellucid.print(...) to print on every step.")


def _table() -> dict[tuple[str, str], _Kind]:
    """(module, name) of functions of Python's library and NumPy -> what they do."""
    clocks = "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns thread_time sleep ctime"
    kinds = {
        ("time", f"{clocks} localtime gmtime"): _CLOCK,
        ("datetime", "datetime.now datetime.utcnow datetime.today date.today"): _CLOCK,
        ("posix nt os", "urandom getrandom"): _RANDOM,
        ("uuid", "uuid1 uuid4"): _RANDOM,
        ("numpy.random", "seed"): _RANDOM,
        ("secrets", "randbelow token_bytes token_hex token_urlsafe"): _RANDOM,
        ("posix nt os", "remove unlink rename replace mkdir makedirs rmdir removedirs symlink link truncate write"): _FILE,
        ("shutil", "copy copy2 copyfile copytree move rmtree"): _FILE,
        ("_pickle pickle json", "dump"): _FILE,
        ("numpy", "save savez savez_compressed savetxt"): _FILE,
        ("posix nt os", "system popen"): _PROCESS,
        ("subprocess", "run call check_call check_output Popen Popen.__init__"): _PROCESS,
        ("logging", "debug info warning warn error exception critical log"): _LOG,
    }
    return {(module, name): kind for (modules, names), kind in kinds.items() for module in modules.split() for name in names.split()}


_KINDS = _table()
_NETWORK_MODULES = ("socket", "_socket", "urllib.request", "http.client", "smtplib", "ftplib", "requests", "httpx", "aiohttp")
_PATH_WRITES = {"write_text", "write_bytes", "touch", "mkdir", "unlink", "rename", "replace", "rmdir", "symlink_to"}
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "critical": 50}
_WORTH_A_PROFILE = _PATH_WRITES | {"write", "writelines", *_LEVELS}  # methods of objects that names do not lead to


def kind_of(function: Any, argument: Any) -> tuple[_Kind, str] | None:
    """(what a function does that compiled steps will not repeat, its name); None for nearly all functions.

    Args:
        function: that is called, or what has its ``__module__`` and ``__qualname__``.
        argument: the first one: of a method the object, unless the function holds it.
    """
    owner: Any = getattr(function, "__self__", None) if type(function) in _BOUND else argument
    name, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    if not isinstance(name, str):
        return None
    if isinstance(module, str) and module.startswith("numpy.lib"):
        module = "numpy"
    short = name.rsplit(".", 1)[-1]
    if is_generator(owner):
        state = short[:1] == "_" or "state" in short or short in ("bit_generator", "spawn")
        return None if state or not hasattr(type(owner), short) else (_RANDOM, _drawing(owner, short))
    if type(owner) is types.ModuleType:  # of a function in C
        module = module or owner.__name__
    if type(owner) is type or (isinstance(owner, type) and module is None):
        module = module or owner.__module__.split(".")[0]
        name = next((f"{c.__name__}.{short}" for c in owner.__mro__ if (c.__module__, f"{c.__name__}.{short}") in _KINDS), name)
    if not isinstance(module, str):
        return None
    if short in _LEVELS and module == "logging" and type(owner).__module__ == "logging":
        return (_LOG, f"logging.Logger.{short}") if owner.isEnabledFor(_LEVELS[short]) else None
    if short in _PATH_WRITES and module.startswith("pathlib"):
        return _FILE, f"pathlib.Path.{short}"
    if short in ("close", "shutdown", "settimeout", "setsockopt"):
        return None
    if module.startswith(_NETWORK_MODULES) and module.split(".")[0] in {m.split(".")[0] for m in _NETWORK_MODULES}:
        return _NETWORK, f"{module.lstrip('_')}.{name.removesuffix('.__init__')}"
    kind = _KINDS.get((module, name))
    return None if kind is None else (kind, f"{module.lstrip('_').replace('posix', 'os')}.{name}")


_BOUND = (types.BuiltinFunctionType, types.MethodType)


def _drawing(generator: Any, name: str) -> str:
    if generator is _numpy_generator():
        return f"numpy.random.{name}"
    return f"random.{name}" if generator is random._inst else f"{type(generator).__name__}.{name}"  # type: ignore[attr-defined]


def _owner(function: Any) -> Any:
    return _numpy_generator() if function is np.random.seed else getattr(function, "__self__", None)


def _numpy_generator() -> Any:
    return np.random.mtrand._rand  # type: ignore[attr-defined]


class Effects:
    """Notes the side effects of the capturing thread.

    Args:
        layer: that is captured. Attributes of layers made during the capture are nobody's state.
        of: what runs, for the messages: "call" or a step of the user's own.
    """

    def __init__(self, layer: Layer, of: str = "call") -> None:
        self._layer, self._of = layer, of
        self._layers = layer._flatten_layers()
        self._known = set(self._layers)
        self.found: dict[tuple[str, Place], Effect] = {}
        self.reach: Reach | None = None
        self._thread = threading.get_ident()
        self._written: dict[tuple[Layer, str], tuple[Place, Any]] = {}  # (the line, the value before)
        self.drawn: set[int] = set()  # ids of generators that were heard to draw
        self._order: dict[Place, int] = {}  # in which places were seen
        self._made: list[tuple[Layer | Variable, Place]] = []
        self._changed_at: dict[int, Place | None] = {}  # id of a container that a method changed

    # ---- While `call` runs ----

    def tells_a_bool(self) -> Place | None:
        """The line, if any, of the user's code within reach that tells a bool from other objects."""
        if self.reach is None:
            self.reach = Reach(self._layers)
        return self.reach.tells_a_bool()

    def note(self, kind: str, what: str, cure: str, place: Place | None) -> None:
        if place is not None:
            self._order.setdefault(place, len(self._order))
            here = f"`{self._of}`"
            self.found.setdefault((kind, place), Effect(kind, place, what.replace("`call`", here), cure.replace("`call`", here)))

    def _note(self, kind: _Kind, name: str, place: Place | None) -> None:
        self.note(kind.name, kind.what.format(name), kind.cure, place)

    def stream_written(self, errors: bool) -> None:
        """``sys.stdout`` or ``sys.stderr`` was written to."""
        if threading.get_ident() != self._thread:
            return
        frame: Any = sys._getframe(2)
        modules = set()
        while frame is not None and not jax_compat.is_users_file(frame.f_code.co_filename):
            if errors and jax_compat.is_library_file(frame.f_code.co_filename):
                return  # a message of JAX's or ours
            modules.add(frame.f_globals.get("__name__"))
            frame = frame.f_back
        if "warnings" not in modules:
            self._note(*((_LOG, "logging") if "logging" in modules else (_PRINT, "")), user_place(sys._getframe(2)))

    def attribute_written(self, layer: Layer, name: str) -> None:
        if threading.get_ident() == self._thread and not is_building() and layer in self._known:
            place = user_place(sys._getframe(2))
            if place is not None:
                self._order.setdefault(place, len(self._order))
                self._written.setdefault((layer, name), (place, vars(layer).get(name, ...)))

    def made(self, what: Layer | Variable) -> None:
        """A layer or Variable was made."""
        if threading.get_ident() == self._thread and not is_building():
            place = user_place(sys._getframe(2))
            if place is not None:
                self._made.append((what, place))

    def heard(self, function: Any, argument: Any, frame: Any) -> None:
        """The user's code calls a function."""
        if type(function) is types.MethodDescriptorType or type(function) is types.BuiltinFunctionType:
            name = function.__name__
            owner = argument if type(function) is types.MethodDescriptorType else function.__self__
            if name in watch.MUTATORS:
                place = self._changed_at.setdefault(id(owner), user_place(frame))
                if place is not None:
                    self._order.setdefault(place, len(self._order))
            elif name in ("write", "writelines") and issubclass(type(owner), io.IOBase) and not isinstance(owner, io.StringIO | io.BytesIO):
                return self._note(_FILE, f"{type(owner).__name__}.{name}", user_place(frame))
            if function is open:
                if source.may_write(frame):
                    self._note(_FILE, "open", user_place(frame))
                return None
        found = kind_of(function, argument)
        if found is not None:
            self.drawn.update({id(argument), id(getattr(function, "__self__", None))} if found[0] is _RANDOM else ())
            self._note(*found, user_place(frame))
        return None

    # ---- Before and after ----

    @contextlib.contextmanager
    def watching(self, strict: bool = False) -> Iterator[Effects]:
        """Sees what happens inside.

        Args:
            strict: whether to raise where something was seen, and to undo what was changed.
        """
        if not watch.enabled:
            yield self
            return
        reach = self.reach = Reach(self._layers)
        named = reach.named(ran=False)
        before = self._state(reach, named, "undo" if strict else "tell")
        generators = _Generators(before)
        returned = False
        try:
            with self._hooks(), watch.calls(reach, self.heard, lambda: _is_worth_a_profile(reach)):
                yield self
            returned = True
            generators.tell(self, reach)
        finally:
            self._compare(before, reach, named)
            if strict and (self.found or not returned):
                self._undo(before)
                generators.restore()
        if strict and self.found:
            raise SideEffectError("\n".join([f"`{self._of}` has side effects:", *map(str, self.found.values())]))

    @contextlib.contextmanager
    def _hooks(self) -> Iterator[None]:
        streams = sys.stdout, sys.stderr
        hooks = Hooks.attribute_written, Hooks.layer_made, Variable.made
        ours = _Listener(streams[0], self, False), _Listener(streams[1], self, True)
        sys.stdout, sys.stderr = ours  # type: ignore[assignment]
        Hooks.attribute_written, Hooks.layer_made, Variable.made = self.attribute_written, self.made, self.made
        try:
            yield
        finally:
            Hooks.attribute_written, Hooks.layer_made, Variable.made = hooks
            sys.stdout, sys.stderr = (b if now is o else now for now, o, b in zip((sys.stdout, sys.stderr), ours, streams, strict=True))

    def _state(self, reach: Reach, named: Named, effects: str) -> list[Guard]:
        """What can change inside: the attributes of the user's layers and of their classes, globals, closure variables, defaults."""
        layers = [layer for layer in dict.fromkeys((*self._layers, *reach.layers)) if is_users(type(layer))]
        attributes = [
            AttributeGuard(layer, name, value, named, effects)
            for layer in layers
            for name, value in vars(layer).items()
            if name not in INTERNAL
        ]
        return [
            *(g for g in attributes if g.look is not None),
            *variable_guards(reach, named, ran=False, effects=effects),
            *class_guards(layers, named, effects=effects),
        ]

    def _compare(self, before: list[Guard], reach: Reach, named: Named) -> None:
        made = {id(m) for m, _ in self._made}
        self._tell_made()
        for (layer, name), (place, _) in self._written.items():
            self._tell_attribute(layer, name, place, made, named)
        for guard in before:
            key = (guard.owner, guard.attribute) if isinstance(guard, AttributeGuard) else None
            if key not in self._written and guard.changed():
                self._tell_change(guard, reach, named)
        functions = list(dict.fromkeys((p.file, p.function) for p in sorted(self._order, key=self._order.__getitem__)))
        in_order = sorted(self.found, key=lambda key: (functions.index((key[1].file, key[1].function)), key[1].line))
        self.found = {key: self.found[key] for key in in_order}

    def _undo(self, before: list[Guard]) -> None:
        """Makes everything be as it was before the run."""
        for (layer, name), (_, value) in self._written.items():
            put(layer, name, value)
        for guard in before:
            if guard.now() is not guard.value:
                guard.put(guard.value)
            if guard.look is not None:
                guard.look.restore()

    def _tell_attribute(self, layer: Layer, name: str, place: Place, made: set[int], named: Named) -> None:
        """An attribute was assigned."""
        label, value = AttributeGuard(layer, name, None).label(), vars(layer).get(name)
        replacing = Replacing(place, named)
        new = replacing(value, label.strip("`"))
        if new is not value:
            object.__setattr__(layer, name, new)
        for where in replacing.kept:
            self.note("attribute", _KEPT.format(f"`{where}`"), RETURN, place)
        if not replacing.kept and id(value) not in made:
            self.note("attribute", f"{label} was assigned {_ONCE}; compiled steps do not repeat it.", _STATE, place)

    def _tell_change(self, guard: Guard, reach: Reach, named: Named) -> None:
        """A variable was assigned, or what is in it or in an attribute changed."""
        changes = [(*change, self._place_of(guard, change[0], reach)) for change in guard.differences()]
        label, value, kept = guard.label(), guard.now(), 0
        kind = f"{guard.kind} " if isinstance(guard, VariableGuard) else ""
        replacing = Replacing(changes[0][-1], named)
        new = replacing(value, label.split("`")[1])
        if new is not value:
            guard.put(new)
        kept = len(replacing.kept)
        for where in replacing.kept:
            self.note("kept", _KEPT.format(f"{kind}`{where}`"), RETURN, changes[0][-1])
        for part, was, now, place in changes if not kept else ():
            happened = "was assigned" if not part and guard.value is not value else "changed"
            texts = f" from {was} to {now}" if was != now else ""
            self.note("change", f"{guard.label(part)} {happened}{texts} {_ONCE}; compiled steps do not repeat it.", _STATE, place)

    def _place_of(self, guard: Guard, part: str, reach: Reach) -> Place:
        """The line that changed a part: known, or found by the names in the code, or that of `call`."""
        held = [held for held, _ in guard.look.items] if guard.look is not None else []
        known = next((place for x in held if (place := self._changed_at.get(id(x))) is not None), None)
        if known is not None:
            return known
        if isinstance(guard, VariableGuard) and isinstance(guard.holder, types.FunctionType):
            return watch.line_that_changes_something(guard.holder.__code__)
        name = guard.attribute if isinstance(guard, AttributeGuard) else guard.key  # type: ignore[attr-defined]
        names = [name, *re.findall(r"\.(\w+)", part)]
        return reach.line_that_changes(*names) or reach.line_that_changes(name) or self.call_place()

    def call_place(self) -> Place:
        """Where `call` begins."""
        code = type(self._layer).call.__code__
        return Place(code.co_filename, code.co_firstlineno, code.co_name)

    def _tell_made(self) -> None:
        variables = {id(v) for made, _ in self._made if isinstance(made, Layer) for v in made.variables}
        for made, place in self._made:
            if isinstance(made, Layer):
                outer = any(made in other._flatten_layers()[1:] for other, _ in self._made if isinstance(other, Layer))
                if made.variables and not outer:
                    what = f"{type(made).__name__} {made.name!r} was made in `call`: its weights are new in each capture and not trained."
                    self.note("layer", what, "Make it in __init__, as an attribute.", place)
            elif id(made) not in variables and not getattr(made, "transient", False):
                what = f"Variable {made.path!r} was made in `call`: it starts anew in each capture, and is not trained."
                self.note("variable", what, "Make it in build, with self.add_weight(...).", place)

    def warn(self, told: set[tuple[str, Place]]) -> None:
        """One SideEffectWarning for each place, shown at the user's line.

        Args:
            told: the places of earlier captures, which are left out; those of this one are added.
        """
        for key in [key for key in self.found if key not in told]:
            told.add(key)
            effect = self.found[key]
            warnings.warn_explicit(f"{effect.what} {effect.cure}", SideEffectWarning, effect.place.file, effect.place.line)


class _Generators:
    """The states of the random generators that `call` may use."""

    def __init__(self, guards: list[Guard]) -> None:
        self.names: dict[int, tuple[Any, str]] = {}
        for generator, name in ((_numpy_generator(), "numpy.random"), (random._inst, "random")):  # type: ignore[attr-defined]
            self.names[id(generator)] = generator, name
        for guard in guards:
            for generator in guard.look.generators if guard.look is not None else ():
                self.names.setdefault(id(generator), (generator, guard.label().split("`")[1].split(".")[-1]))
        self.before = {key: _state_of(generator) for key, (generator, _) in self.names.items()}

    def _drew(self) -> list[int]:
        return [key for key, (generator, _) in self.names.items() if _hashable(_state_of(generator)) != _hashable(self.before[key])]

    def tell(self, effects: Effects, reach: Reach) -> None:
        """Notes draws that were not heard: at each line that can have made them."""
        for key in self._drew():
            if key in effects.drawn:
                continue
            generator, name = self.names[key]
            places = [(p, shown) for p, shown, v in reach.values() if _owner(v) is generator and kind_of(v, None)]
            if not places and name not in ("numpy.random", "random"):  # a library may draw from those
                places = [(place, name) for place in reach.lines_of(name) or [effects.call_place()]]
            for place, shown in places:
                effects._note(_RANDOM, _drawing(generator, shown.rsplit(".", 1)[-1]) if "." in shown else shown, place)

    def restore(self) -> None:
        """Makes them draw again what they drew."""
        for key in self._drew():
            generator = self.names[key][0]
            if isinstance(generator, random.Random):
                generator.setstate(self.before[key])
            elif isinstance(generator, np.random.RandomState):
                generator.set_state(self.before[key])
            else:
                generator.bit_generator.state = self.before[key]


def _state_of(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.bit_generator.state


def _hashable(state: Any) -> Any:
    if isinstance(state, dict):
        return tuple((k, _hashable(v)) for k, v in state.items())
    return state.tobytes() if isinstance(state, np.ndarray) else state


def _is_worth_a_profile(reach: Reach) -> bool:
    if _WORTH_A_PROFILE & reach.named(ran=False).fields:
        return True
    return any(value is open or (callable(value) and kind_of(value, None) is not None) for _, _, value in reach.values())


# ---- Streams ----


class _Listener:
    """``sys.stdout`` or ``sys.stderr`` during a capture: hands everything on, and tells of writes."""

    def __init__(self, stream: Any, effects: Effects, errors: bool):
        self._stream, self._effects, self._errors = stream, effects, errors

    def write(self, text: str) -> int:
        self._effects.stream_written(self._errors)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
