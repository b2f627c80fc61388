"""Watching the run of ``call``: which of the user's code it reaches, what that code names, which functions it calls.

The code is found before the run, from the layers on: functions and methods by the names that other code of the user's holds. From
Python 3.12 on ``sys.monitoring`` then reports the calls that this code makes, those into C included, and the code that it did
not know; the code of libraries is not instrumented, so that a capture takes about as long as without. In Python 3.11 nothing
reports calls at such a price: ``sys.setprofile`` is used only where the code names something worth it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import dis
import functools
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from pellucid.core import jax_compat, mode
from pellucid.core.jax_compat import Place
from pellucid.core.layer import Layer
from pellucid.core.tree import INTERNAL
from pellucid.core.variable import Variable
from pellucid.graph.inside import Named, attributes_of, is_generator, is_namespace, is_users
from pellucid.graph.look import LARGE

enabled = True  # False captures without looking at reads and side effects, to measure what looking costs

_ANY_FIELD = {
    "getattr",
    "vars",
    "__dict__",
    "asdict",
    "astuple",
    "fields",
    "attrgetter",
    "replace",
    "copy",
    "deepcopy",
}  # read fields by no name
_ENVIRONMENT_NAMES = {"environ", "getenv"}
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)
_WRAPPERS = ("jax", "jaxlib", "functools", "contextlib")  # whose callables have `__wrapped__`
_CHANGES = "append extend insert add update pop popitem popleft remove discard clear setdefault sort reverse appendleft fill put"
MUTATORS = frozenset(_CHANGES.split())


def defaults_of(function: types.FunctionType) -> dict[str, Any]:
    """The defaults of a function's arguments, by name."""
    code, given = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    return dict(zip(names[len(names) - len(given) :], given, strict=False)) | (function.__kwdefaults__ or {})


def keyword_default(function: types.FunctionType, name: str, default: Any) -> Any:
    """The default of an argument that is given by keyword alone."""
    return (function.__kwdefaults__ or {}).get(name, default)


def put_default(function: types.FunctionType, name: str, value: Any) -> None:
    """Replaces the default of an argument that has one."""
    if function.__kwdefaults__ and name in function.__kwdefaults__:
        function.__kwdefaults__[name] = value
        return
    defaults = {**defaults_of(function), name: value}
    count = len(function.__defaults__ or ())
    function.__defaults__ = tuple(list(defaults.values())[:count])


class Environment:
    """The environment variables of this process."""

    def get(self, name: str, default: Any = None) -> Any:
        return os.environ.get(name, default)

    def stored(self, name: str, default: Any) -> Any:
        """The object that holds a value: the same one until it is assigned anew."""
        stored = getattr(os.environ, "_data", None)
        return default if stored is None else stored.get(os.environ.encodekey(name), default)  # type: ignore[attr-defined]

    def __setitem__(self, name: str, value: str) -> None:
        os.environ[name] = value

    def pop(self, name: str, default: Any) -> Any:
        return os.environ.pop(name, default)


_ENVIRONMENT = Environment()


# ---- What code names ----


class Load(NamedTuple):
    """A dotted expression in code: ``self.log.append`` has the names ("log", "append") and no variable."""

    line: int
    variable: str | None  # a global or closure variable that it begins with
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Text:
    """What the bytecode of a function says."""

    loads: tuple[Load, ...]
    stores: tuple[tuple[int, str, str], ...]  # (line, "global", "attribute" or "item", name)
    globals: frozenset[str]
    attributes: frozenset[str]  # those that it reads, and its strings, which may be names of attributes
    strings: frozenset[str]
    modules: frozenset[str]  # that it imports

    def lines_of(self, name: str) -> list[int]:
        """The lines that load a variable or attribute."""
        return [load.line for load in self.loads if load.variable == name or name in load.names]

    @functools.cached_property
    def changing(self) -> set[int]:
        """The lines that change the inside of something."""
        calls = {load.line for load in self.loads if load.names and load.names[-1] in MUTATORS}
        return calls | {line for line, kind, _ in self.stores if kind != "global"}


_VARIABLES = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"}
_STORES = {
    "STORE_GLOBAL": "global",
    "DELETE_GLOBAL": "global",
    "STORE_DEREF": "global",
    "STORE_ATTR": "attribute",
    "DELETE_ATTR": "attribute",
    "STORE_SUBSCR": "item",
    "DELETE_SUBSCR": "item",
    "STORE_SLICE": "item",
}


@functools.lru_cache(maxsize=4096)
def text_of(code: types.CodeType) -> Text:
    """Reads the bytecode of a function, without that of the functions inside it."""
    loads: list[Load] = []
    stores, variables, modules, chain = [], set(), set(), None
    for i in dis.get_instructions(code):
        line = (i.positions.lineno if i.positions else None) or code.co_firstlineno
        if i.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            chain = Load(line, chain.variable if chain else None, (*(chain.names if chain else ()), i.argval))
            continue
        if chain is not None and i.opname not in ("EXTENDED_ARG", "CACHE", "NOP"):
            loads.append(chain)
            chain = None
        if i.opname in _VARIABLES:
            chain = Load(line, i.argval, ())
            variables.update({i.argval} if i.opname in ("LOAD_GLOBAL", "LOAD_NAME") else ())
        elif i.opname in _STORES and (i.opname != "STORE_DEREF" or i.argval in code.co_freevars):
            stores.append((line, _STORES[i.opname], i.argval if isinstance(i.argval, str) else ""))
            variables.update({i.argval} if "GLOBAL" in i.opname else ())
        elif i.opname == "IMPORT_NAME":
            modules.add(i.argval)
    attributes = {name for load in loads for name in load.names}
    strings = {s for s in code.co_consts if isinstance(s, str) and s.isidentifier()}
    return Text(tuple(loads), tuple(stores), frozenset(variables), frozenset(attributes | strings), frozenset(strings), frozenset(modules))


# ---- Which code is reached ----


class Reached:
    """Code of the user's: where its globals are, and the functions that have it, which hold its closure variables."""

    def __init__(self, variables: dict[str, Any]):
        self.globals = variables
        self.functions: list[weakref.ref[types.FunctionType]] = []  # one made in the run ends with it, and with its traced values


class Reach:
    """The user's code that running layers can reach, as far as names tell; ``add`` takes what turns out later.

    Args:
        layers: that may run.
    """

    def __init__(self, layers: list[Layer]):
        self.codes: dict[types.CodeType, Reached] = {}
        self.ran: set[types.CodeType] | None = None  # None where nothing reports it
        self.layers: list[Layer] = []
        self._names = {"call"}
        self._spaces: list[Any] = []  # namespaces in which names are looked up
        self._seen: dict[Any, Any] = {}
        self._asking: Place | None = None
        self._looked_at = 0
        for layer in layers:
            self._visit(layer)
        self._follow_names()

    def add(self, value: types.FunctionType | type) -> list[types.CodeType]:
        """Reaches a function or class that is called. Returns the code that is new. Keeps no function: it may hold traced values."""
        before = len(self.codes)
        if isinstance(value, type):
            self._class(value, made=True)
        elif jax_compat.is_users_file(value.__code__.co_filename):
            self._code(value.__code__, value.__globals__).functions.append(weakref.ref(value))
        self._follow_names()
        return list(self.codes)[before:]

    def _follow_names(self) -> None:
        done: tuple = ()
        while done != (now := (len(self._names), len(self._spaces))):
            done = now
            for space in self._spaces:
                for name in self._names & space.keys():
                    self._visit(space[name])

    def _visit(self, value: Any, depth: int = 3) -> None:
        kind = type(value)
        if kind in (int, float, str, bool, type(None)) or id(value) in self._seen:
            return
        if isinstance(value, Variable | np.ndarray) or jax_compat.is_tracer(value):
            return
        self._seen[id(value)] = value  # alive, so that its id stays its own
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, types.MethodType):
            self._visit(value.__func__)
            self._visit(value.__self__)
        elif isinstance(value, list | tuple | set | frozenset | dict):
            if depth and len(value) <= LARGE:
                for v in list(value.values() if isinstance(value, dict) else value):
                    self._visit(v, depth - 1)
        elif isinstance(value, functools.partial | property | staticmethod | classmethod | functools.cached_property):
            for name in ("func", "args", "keywords", "fget", "__func__"):
                self._visit(getattr(value, name, None))
        elif isinstance(value, Layer):
            self._layer(value)
        elif isinstance(value, type):
            self._class(value, made=True)
        elif isinstance(value, types.ModuleType):
            if is_users(value):
                self._spaces.append(vars(value))
        elif kind.__module__.split(".")[0] in _WRAPPERS:
            self._visit(getattr(value, "__wrapped__", None))
        elif is_users(kind) or is_namespace(kind):
            self._spaces.append(attributes_of(value))
            self._class(kind, made=False)

    def _layer(self, layer: Layer) -> None:
        self.layers.append(layer)
        if not is_users(type(layer)):  # a function given to it may be the user's
            for value in vars(layer).values():
                if isinstance(value, _FUNCTIONS):
                    self._visit(value)
            return
        self._spaces.append({k: v for k, v in vars(layer).items() if k not in INTERNAL})
        self._class(type(layer), made=False)

    def _class(self, cls: type, made: bool) -> None:
        """Methods of a class of the user's: the special ones now, others where some code names them."""
        for c in cls.__mro__:
            if (id(c), made) in self._seen or not is_users(c):
                continue
            self._seen[id(c), made] = c
            self._spaces.append(vars(c))
            for name, value in vars(c).items():
                first = name in ("__init__", "__new__", "__post_init__")
                if name[:2] == "__" and isinstance(value, types.FunctionType) and (not first or (made and not issubclass(c, Layer))):
                    self._visit(value)

    def _function(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty one
                self._visit(cell.cell_contents)
        if jax_compat.is_users_file(function.__code__.co_filename):
            self._visit(function.__defaults__)
            self._code(function.__code__, function.__globals__).functions.append(weakref.ref(function))
        else:
            self._visit(getattr(function, "__wrapped__", None))

    def _code(self, code: types.CodeType, variables: dict[str, Any]) -> Reached:
        if code in self.codes:
            return self.codes[code]
        reached = self.codes[code] = Reached(variables)
        text = text_of(code)
        self._names |= text.attributes
        for name in text.globals:
            self._visit(variables.get(name))
        for name in text.modules:
            self._visit(sys.modules.get(name))
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                self._code(inner, variables)
        return reached

    # ---- What follows from it ----

    def tells_a_bool(self) -> Place | None:
        """The line, if any, that tells a bool from other objects; code is looked at once."""
        for code in list(self.codes)[self._looked_at :] if self._asking is None else ():
            self._asking = self._asking or mode.tells_a_bool(code)
        self._looked_at = len(self.codes)
        return self._asking

    def _those(self, ran: bool) -> dict[types.CodeType, Reached]:
        return self.codes if self.ran is None or not ran else {c: r for c, r in self.codes.items() if c in self.ran}

    def named(self, ran: bool) -> Named:
        """The fields that code which ran reads, or that all of the code reads and writes."""
        codes = self._those(ran)
        texts = list(map(text_of, codes))
        fields = frozenset(name for text in texts for name in text.attributes)
        if not ran:  # what may be written counts, too
            fields |= {name for text in texts for _, kind, name in text.stores if kind == "attribute"}
        return Named(fields, bool(_ANY_FIELD & frozenset(name for text in texts for name in (*text.attributes, *text.globals))))

    def variables(self, ran: bool) -> Iterator[tuple[str, str, str, Any]]:
        """(what it is, name, file, dict or cell) of the globals, closure variables and modules that the code names."""
        codes = self._those(ran)
        inner = {c for code in codes for c in code.co_consts if isinstance(c, types.CodeType)}
        for code, reached in codes.items():
            text = text_of(code)
            for name in text.globals:
                if name in reached.globals or not hasattr(reached.globals.get("__builtins__"), name):
                    yield "global", name, code.co_filename, reached.globals
            for name in text.modules:
                if name in sys.modules and is_users(sys.modules[name]):
                    yield "module", name, code.co_filename, sys.modules
            if _ENVIRONMENT_NAMES & (text.globals | text.attributes):
                for name in text.strings:
                    yield "environment variable", name, code.co_filename, _ENVIRONMENT
            if code in inner:  # it belongs to a function made in this run
                continue
            for function in [alive for reference in reached.functions if (alive := reference()) is not None]:
                for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
                    yield "closure variable", name, code.co_filename, cell
                for name in defaults_of(function):
                    yield "default", name, code.co_filename, function

    def values(self) -> Iterator[tuple[Place, str, Any]]:
        """(place, expression, value) of what the code loads from modules and classes, such as ``time.time``."""
        for code, reached in self.codes.items():
            for load in text_of(code).loads:
                value = reached.globals.get(load.variable) if load.variable else None
                for name in load.names:
                    value = getattr(value, name, None) if isinstance(value, types.ModuleType | type) or is_generator(value) else None
                if value is None and load.variable == "open":
                    value = open
                if value is not None:
                    yield Place(code.co_filename, load.line, code.co_name), ".".join((load.variable or "", *load.names)), value

    def line_that_changes(self, *names: str) -> Place | None:
        """The line that most likely changed a variable or attribute, or what is inside it.

        Args:
            names: on the way to it, ``("config", "count")`` for ``self.config.count``: the line that has most of them counts.
        """
        codes = sorted(self.codes, key=lambda code: self.ran is not None and code not in self.ran)
        for wanted in (_stores, _changes, _names):
            found = [
                (sum(line in text_of(code).lines_of(name) for name in names[:-1]), Place(code.co_filename, line, code.co_name))
                for code in codes
                for line in wanted(text_of(code), names[-1])
            ]
            if found:
                return max(found, key=lambda scored: scored[0])[1]  # the first of equals
        return None

    def lines_of(self, name: str) -> list[Place]:
        """The lines that load a variable or attribute."""
        return [Place(code.co_filename, line, code.co_name) for code in self.codes for line in dict.fromkeys(text_of(code).lines_of(name))]


def line_that_changes_something(code: types.CodeType) -> Place:
    """The first line of a function that changes the inside of something, or the one with which it begins."""
    return Place(code.co_filename, min(text_of(code).changing, default=code.co_firstlineno), code.co_name)


def _stores(text: Text, name: str) -> list[int]:
    return [line for line, kind, stored in text.stores if stored == name and kind in ("global", "attribute")]


def _changes(text: Text, name: str) -> list[int]:
    lines = text.lines_of(name)
    return [line for line in lines if line in text.changing] or (sorted(text.changing) if lines else [])


def _names(text: Text, name: str) -> list[int]:
    return text.lines_of(name)


# ---- Which functions are called ----


Heard = Callable[[Any, Any, Any], None]  # (what is called, its first argument, the caller's Python frame)
_monitoring: Any = getattr(sys, "monitoring", None)  # from Python 3.12 on
_MISSING: Any = getattr(_monitoring, "MISSING", object())
_open: list[_Monitor] = []  # captures inside captures; the innermost hears
_tool: int | None = None


class _Monitor:
    def __init__(self, reach: Reach, heard: Heard):
        self.reach, self.heard, self.thread = reach, heard, threading.get_ident()
        self.codes: list[types.CodeType] = []
        self.classes: set[type] = set()

    def instrument(self, codes: list[types.CodeType]) -> None:
        events = _monitoring.events
        for code in codes:
            _monitoring.set_local_events(_tool, code, events.CALL | events.PY_START)
        self.codes += codes

    def release(self) -> None:
        kept = {code for monitor in _open for code in monitor.codes}
        for code in self.codes:
            if code not in kept:
                _monitoring.set_local_events(_tool, code, 0)


def _on_start(code: types.CodeType, _: int) -> None:
    if _open and _open[-1].thread == threading.get_ident():
        ran = _open[-1].reach.ran
        if ran is not None:
            ran.add(code)


def _on_call(code: types.CodeType, _: int, function: Any, argument: Any) -> None:
    if not _open or _open[-1].thread != threading.get_ident():
        return
    monitor = _open[-1]
    for given in (function, argument):
        value: Any = given.__func__ if type(given) is types.MethodType else given
        kind, known = type(value), monitor.reach
        if (kind is types.FunctionType and value.__code__ not in known.codes) or (kind is type and value not in monitor.classes):
            monitor.classes.update({value} if kind is type else ())
            monitor.instrument(known.add(value))
    monitor.heard(function, argument, sys._getframe(1))


@contextlib.contextmanager
def calls(reach: Reach, heard: Heard, worth_a_profile: Callable[[], bool]) -> Iterator[None]:
    """Tells of the calls that the user's code makes inside, on this thread.

    An active profiler or debugger is left in place: where no tool of ``sys.monitoring`` is free (in Python 3.11, where a profile
    function is set) nothing is told.
    """
    if sys.version_info < (3, 12):
        with _profile(reach, heard) if worth_a_profile() and sys.getprofile() is None else contextlib.nullcontext():
            yield
        return
    if not _acquire():
        yield
        return
    monitor = _Monitor(reach, heard)
    reach.ran = set()
    _open.append(monitor)
    monitor.instrument(list(reach.codes))
    try:
        yield
    finally:
        _open.remove(monitor)
        monitor.release()
        _free()


def _acquire() -> bool:
    global _tool
    if _open:
        return True
    _tool = next((number for number in (4, 3) if _monitoring.get_tool(number) is None), None)
    if _tool is None:
        return False
    _monitoring.use_tool_id(_tool, "pellucid")
    _monitoring.register_callback(_tool, _monitoring.events.PY_START, _on_start)
    _monitoring.register_callback(_tool, _monitoring.events.CALL, _on_call)
    return True


def _free() -> None:
    global _tool
    if not _open and _tool is not None:
        _monitoring.register_callback(_tool, _monitoring.events.PY_START, None)
        _monitoring.register_callback(_tool, _monitoring.events.CALL, None)
        _monitoring.free_tool_id(_tool)
        _tool = None


@contextlib.contextmanager
def _profile(reach: Reach, heard: Heard) -> Iterator[None]:
    def event(frame: types.FrameType, what: str, function: Any) -> None:
        if what == "c_call" and frame.f_code in reach.codes:
            heard(function, _MISSING, frame)
        elif what == "call" and frame.f_back is not None and frame.f_back.f_code in reach.codes:
            called = types.SimpleNamespace(__module__=frame.f_globals.get("__name__"), __qualname__=frame.f_code.co_qualname)
            heard(called, frame.f_locals.get("self", _MISSING) if frame.f_code.co_argcount else _MISSING, frame.f_back)

    sys.setprofile(event)
    try:
        yield
    finally:
        sys.setprofile(None)
