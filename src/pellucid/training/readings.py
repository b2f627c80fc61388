"""Readings: the plain Python values that losses, metrics and optimizers have, which a program holds as constants.

They are looked at before each dispatch, as the attributes are that ``call`` read: what has changed since makes another program.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pellucid.core import jax_compat
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.core.weakly import cached_weakly
from pellucid.graph.inside import PLAIN
from pellucid.graph.look import Look, content, look_at

_METHODS = ("call", "counted", "update_state", "result", "transformation", "__call__")  # by which the values of a step come about
_CONSTANT = (*PLAIN, Variable, Layer, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)  # as seen from outside
_DEPTH = 3  # a loss that calls a function that calls a function
_FEW = 32  # a longer list is one of data


class Readings:
    """What some losses, metrics, optimizers or functions compute with: equal contents mean that they would compute the same.

    Attributes, closure cells, globals and defaults are followed where the code is the user's; a library's own does not change.

    Args:
        values: the losses, metrics, optimizers, functions.
        more: gives further ones, such as the constraints of the present weights; asked again when a layer or variable has changed.

    Example:
        >>> from pellucid.training.readings import Readings
        >>> rate = [0.1]
        >>> readings = Readings([lambda step: rate[0] / (1 + step)])
        >>> readings.may_have_changed()
        False
        >>> rate[0] = 0.2
        >>> readings.may_have_changed()
        True
    """

    def __init__(self, values: Iterable[Any], more: Callable[[], list[Any]] = list):
        self._values, self._more, self._versions = list(values), more, (Layer.version, Variable.version)
        self._named: list[tuple[Mapping[str, Any], str, Any]] = []  # attributes and globals
        self._cells: list[tuple[types.CellType, Any]] = []
        self._sizes: list[tuple[dict[str, Any], int]] = []
        self._inside: list[tuple[Any, Look, Any]] = []  # what can change without an assignment
        self._seen: set[int] = set()
        self.content = [self._read(value, _DEPTH) for value in (*self._values, *more())]

    def again(self) -> Readings:
        """The readings of now."""
        return Readings(self._values, self._more)

    def may_have_changed(self) -> bool:
        """False where nothing has changed: the same objects are there, and those that are no constants have the same content."""
        return (
            (self._more is not list and self._versions != (Layer.version, Variable.version))
            or any(mapping.get(name, ...) is not value for mapping, name, value in self._named)
            or any(_contents(cell) is not value for cell, value in self._cells)
            or any(len(mapping) != size for mapping, size in self._sizes)
            or any(not look.unchanged() and content(value) != before for value, look, before in self._inside)
        )

    # ---- Reading ----

    def _read(self, value: Any, depth: int) -> Any:
        if isinstance(value, PLAIN) or not depth or id(value) in self._seen:
            return self._plain(value)
        if isinstance(value, types.MethodType):
            return self._read(value.__self__, depth), self._read(value.__func__, depth)
        if isinstance(value, types.FunctionType):
            self._seen.add(id(value))
            return content(value), self._read_by(value, depth)
        if isinstance(value, tuple | list) and len(value) <= _FEW and any(map(callable, value)):
            self._seen.add(id(value))
            return self._plain(value), [self._read(v, depth) for v in value]
        if isinstance(value, functools.partial):
            return [self._read(v, depth) for v in (value.func, *value.args, *value.keywords.values())]
        computes, names = _methods(type(value))
        if not computes or isinstance(value, Layer):
            wrapped = getattr(value, "__wrapped__", None)  # of a function that JAX has compiled
            return self._plain(value) if wrapped is None else (content(value), self._read(wrapped, depth))
        self._seen.add(id(value))
        methods = tuple(m for name in names if isinstance(m := getattr(type(value), name), types.FunctionType))
        return content(type(value)), self._fields(value, methods, depth), [self._read_by(m, depth) for m in methods]

    def _plain(self, value: Any) -> Any:
        look = look_at(value)
        if not isinstance(value, _CONSTANT) and not look.sees_nothing:
            self._inside.append((value, look, look.found))
        return look.found

    def _name(self, mapping: Mapping[str, Any], name: str, depth: int) -> Any:
        value = mapping.get(name, ...)
        self._named.append((mapping, name, value))
        return self._read(value, depth)

    def _fields(self, value: Any, methods: tuple, depth: int) -> list[Any]:
        """The attributes of an object, and those of its class that the user's methods name."""
        own, state = getattr(value, "__dict__", {}), getattr(type(value), "state_attributes", ())
        self._sizes.append((own, len(own)))
        named = {name for method in methods for name in _names(method.__code__)} - set(own)
        of_class = [(vars(c), name) for name in sorted(named) for c in type(value).__mro__ if name in vars(c)]
        fields = [*((own, name) for name in own if name not in state), *of_class]
        return [(name, self._name(mapping, name, depth)) for mapping, name in fields]

    def _read_by(self, function: types.FunctionType, depth: int) -> list[Any]:
        """What the code of a function may read."""
        cells = [(cell, _contents(cell)) for cell in function.__closure__ or ()]
        self._cells += cells
        if jax_compat.is_library_file(function.__code__.co_filename):  # what is the user's may be in the cells alone
            return [self._read(value, depth) for _, value in cells]
        names, known = _names(function.__code__), function.__globals__
        found = [*(value for _, value in cells), *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        layers = [v for v in (*found, *(known.get(name) for name in names)) if isinstance(v, Layer)]
        return [
            *(self._read(value, depth - 1) for value in found),
            *(self._name(known, name, depth - 1) for name in names if name in known),
            *(self._name(vars(layer), name, 0) for layer in layers for name in names),
        ]


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return ...


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names in a function's code and in that of the functions inside it: globals and attributes."""
    inner = [_names(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for names in inner for name in names)]))


@cached_weakly
def _methods(cls: type) -> tuple[bool, tuple[str, ...]]:
    """Whether a class computes something as losses, metrics and optimizers do; the names of those methods that the user wrote."""
    found = {name: m for name in _METHODS if isinstance(m := getattr(cls, name, None), types.FunctionType)}
    return bool(found), tuple(name for name, m in found.items() if not jax_compat.is_library_file(m.__code__.co_filename))
