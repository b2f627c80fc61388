"""Side effects of ``call`` seen during a capture: what a compiled step will not repeat.

Calls are heard while ``call`` runs (``watch``): the clock, files, the network, random numbers, layers and variables that are made.
What else changed is seen by comparison: attributes, lists, dicts and sets of the layers, globals and closure variables, and the
states of random generators are looked at before the run and after it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import random
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Place, user_place
from pellucid.core.layer import INTERNAL, Hooks, Layer, is_building
from pellucid.core.variable import Variable
from pellucid.errors import KeptValueError, SideEffectError, SideEffectWarning
from pellucid.graph import source, watch
from pellucid.graph.guards import AttributeGuard, Guard, VariableGuard, variable_guards
from pellucid.graph.watch import Reach

_ONCE = "once, while `call` was captured"
_STATE = "Keep state in a Variable (self.add_weight(..., trainable=False)) and assign to that."
_RETURN = "Return it from `call`, or assign it to a Variable made in build."
_KEPT = "{} keeps a value that exists only inside the capture; it cannot be used later."
_SMALL = 2**16  # bytes of a NumPy array that is cheap to compare


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
        function: that is called, or its code object.
        argument: the first one: of a method the object, unless the function holds it.
    """
    owner: Any = getattr(function, "__self__", None) if type(function) in _BOUND else argument
    name = getattr(function, "__qualname__", None) or getattr(function, "co_qualname", None)
    module = getattr(function, "__module__", None) or _module_of_code(function)
    if not isinstance(name, str):
        return None
    short = name.rsplit(".", 1)[-1]
    if watch.is_generator(owner):
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


def _module_of_code(function: Any) -> str | None:
    if not isinstance(function, types.CodeType):
        return None
    return next((n for n in ("logging", "pathlib", "subprocess", "socket", "uuid", "shutil") if f"/{n}" in function.co_filename), None)


def _drawing(generator: Any, name: str) -> str:
    if generator is _numpy_generator():
        return f"numpy.random.{name}"
    return f"random.{name}" if generator is random._inst else f"{type(generator).__name__}.{name}"  # type: ignore[attr-defined]


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
        self._written: dict[tuple[Layer, str], Place] = {}
        self.drawn: set[int] = set()  # ids of generators that were heard to draw
        self._order: dict[Place, int] = {}  # in which places were seen
        self._made: list[tuple[Layer | Variable, Place]] = []
        self._changed_at: dict[int, Place | None] = {}  # id of a container that a method changed

    # ---- While `call` runs ----

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

    def attribute_written(self, layer: Layer, name: str, value: Any) -> None:
        if threading.get_ident() == self._thread and not is_building() and layer in self._known:
            place = user_place(sys._getframe(2))
            if place is not None:
                self._order.setdefault(place, len(self._order))
                self._written.setdefault((layer, name), place)

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
            strict: whether to raise where something was seen.
        """
        if not watch.enabled:
            yield self
            return
        reach = self.reach = Reach(self._layers)
        before = self._state(reach)
        generators = _Generators(before)
        try:
            with self._hooks(), watch.calls(reach, self.heard, lambda: _is_worth_a_profile(reach)):
                yield self
            generators.tell(self, reach)
        finally:
            self._compare(before, reach)
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

    def _state(self, reach: Reach) -> list[Guard]:
        """What can change inside: the attributes of the user's layers, globals, closure variables."""
        named = reach.named(ran=False)
        attributes = [
            AttributeGuard(layer, name, value, named, _SMALL)
            for layer in dict.fromkeys((*self._layers, *reach.layers))
            if watch.is_users(type(layer))
            for name, value in vars(layer).items()
            if name not in INTERNAL
        ]
        return [*(g for g in attributes if g.look is not None), *variable_guards(reach, named, ran=False, digest=_SMALL)]

    def _compare(self, before: list[Guard], reach: Reach) -> None:
        made = {id(m) for m, _ in self._made}
        self._tell_made()
        for (layer, name), place in self._written.items():
            self._tell_attribute(layer, name, place, made)
        for guard in before:
            key = (guard.owner, guard.attribute) if isinstance(guard, AttributeGuard) else None
            if key not in self._written and (guard.changed() or guard.arrays_changed()):
                self._tell_change(guard, reach)
        functions = list(dict.fromkeys((p.file, p.function) for p in sorted(self._order, key=self._order.__getitem__)))
        in_order = sorted(self.found, key=lambda key: (functions.index((key[1].file, key[1].function)), key[1].line))
        self.found = {key: self.found[key] for key in in_order}

    def _tell_attribute(self, layer: Layer, name: str, place: Place, made: set[int]) -> None:
        """An attribute was assigned."""
        label, value = AttributeGuard(layer, name, None).label(), vars(layer).get(name)
        kept: list[str] = []
        new = _without_tracers(value, label.strip("`"), place, kept)
        if new is not value:
            object.__setattr__(layer, name, new)
        for where in kept:
            self.note("attribute", _KEPT.format(f"`{where}`"), _RETURN, place)
        if not kept and id(value) not in made:
            self.note("attribute", f"{label} was assigned {_ONCE}; compiled steps do not repeat it.", _STATE, place)

    def _tell_change(self, guard: Guard, reach: Reach) -> None:
        """A variable was assigned, or what is in it or in an attribute changed."""
        place, label, value = self._place_of(guard, reach), guard.label(), guard.now()
        part, was, now = guard.difference()
        kept: list[str] = []
        kind = f"{guard.kind} " if isinstance(guard, VariableGuard) else ""
        new = _without_tracers(value, label.split("`")[1], place, kept)
        if new is not value:
            guard.put(new)
        for where in kept:
            self.note("kept", _KEPT.format(f"{kind}`{where}`"), _RETURN, place)
        if not kept:
            happened = "was assigned" if not part and guard.value is not value else "changed"
            texts = f" from {was} to {now}" if was != now else ""
            self.note("change", f"{guard.label(part)} {happened}{texts} {_ONCE}; compiled steps do not repeat it.", _STATE, place)

    def _place_of(self, guard: Guard, reach: Reach) -> Place:
        """The line that changed it: known, or found by the names in the code, or that of `call`."""
        held = [held for held, _ in guard.look.items] if guard.look is not None else []
        known = next((place for x in held if (place := self._changed_at.get(id(x))) is not None), None)
        if known is not None:
            return known
        name = guard.attribute if isinstance(guard, AttributeGuard) else guard.key  # type: ignore[attr-defined]
        part = guard.difference()[0].rsplit(".", 1)
        inside = reach.line_that_changes(part[1]) if len(part) == 2 and part[1].isidentifier() else None
        return inside or reach.line_that_changes(name) or self.call_place()

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

    def warn(self) -> None:
        """One SideEffectWarning for each place, shown at the user's line."""
        for effect in self.found.values():
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

    def tell(self, effects: Effects, reach: Reach) -> None:
        """Notes draws that were not heard."""
        for key, (generator, name) in self.names.items():
            if key in effects.drawn or _state_of(generator) == self.before[key]:
                continue
            places = [(p, shown) for p, shown, v in reach.values() if getattr(v, "__self__", None) is generator]
            place = None if "." in name or name == "random" else reach.line_that_changes(name)
            if not places and name not in ("numpy.random", "random"):  # a library may draw from those
                places = [(place or effects.call_place(), name)]
            for place, shown in places[:1]:
                effects._note(_RANDOM, _drawing(generator, shown.rsplit(".", 1)[-1]) if "." in shown else shown, place)


def _state_of(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    state = generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.bit_generator.state
    return _hashable(state)


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


# ---- Values that outlive the capture ----


class KeptValue:
    """Stands where ``call`` kept a traced value, which is none after the capture. Its use raises ``KeptValueError``."""

    def __init__(self, name: str, place: Place):
        self._text = f"`{name}`, kept at {place}"

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise KeptValueError(
            f"{self._text}, is no value: it existed only while `call` was captured, when there was nothing but its shape and type. "
            + _RETURN
        )

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self._fail()

    def __repr__(self) -> str:
        return f"<a value of the capture: {self._text}>"


def _fails(operators: str) -> None:
    for name in operators.split():
        setattr(KeptValue, f"__{name}__", KeptValue._fail)


_fails("array bool float int index iter len getitem call neg pos abs lt le gt ge")
_fails("add radd sub rsub mul rmul truediv rtruediv matmul rmatmul pow rpow floordiv rfloordiv mod rmod")


jax_compat.register_array_type(KeptValue, KeptValue._fail, KeptValue._fail)


def _without_tracers(value: Any, name: str, place: Place, kept: list[str], depth: int = 6) -> Any:
    """The value, or what takes its place; in containers and objects traced values are replaced where they are."""
    if jax_compat.is_tracer(value):
        kept.append(name)
        return KeptValue(name, place)
    if not depth or isinstance(value, Layer | Variable):
        return value
    again: Callable[[Any, str], Any] = lambda v, step: _without_tracers(v, f"{name}{step}", place, kept, depth - 1)
    if isinstance(value, tuple):
        new = [again(v, f"[{i}]") for i, v in enumerate(value)]
        if all(a is b for a, b in zip(new, value, strict=True)):
            return value
        return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
    if isinstance(value, list | collections.deque):
        items: Any = enumerate(list(value))
    elif isinstance(value, dict):
        items = list(value.items())
    elif watch.is_users(type(value)) or type(value) in watch.NAMESPACES:
        fields = watch.fields_of(value)
        for key, v in list(fields.items()):
            if (new := again(v, f".{key}")) is not v:
                fields[key] = new
        return value
    else:
        return value
    for key, v in items:
        if (new := again(v, f"[{key!r}]")) is not v:
            value[key] = new
    return value
