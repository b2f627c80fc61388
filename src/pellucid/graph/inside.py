"""What is inside a value: the parts by which it can change while it stays the same object.

One description for the three who ask: a look compares the parts (``look``), what ``call`` did to them is undone where a side
effect is an error, and traced values that were kept in them are replaced (``effects``).
"""

from __future__ import annotations

import array
import collections
import contextlib
import enum
import functools
import hashlib
import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from pellucid.core import jax_compat
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.core.weakly import cached_weakly

PLAIN = (int, float, complex, str, bytes, bool, type(None), enum.Enum, np.generic)
CLOSED = (Layer, Variable, types.BuiltinFunctionType, types.EllipsisType)  # compared by identity: others watch what is inside
SEQUENCES = (list, tuple, set, frozenset, collections.deque)
MAPPINGS = (dict, types.MappingProxyType)
BUFFERS = (np.ndarray, bytearray, memoryview, array.array)
_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)
_WRAPPERS = (collections.UserDict, collections.UserList, collections.ChainMap)  # likewise; their fields hold the user's items


class Field(NamedTuple):
    """A field of an object, module, class or function: who has it, how to read it by name, and its value."""

    owner: Any
    read: Callable[[str, Any], Any]
    name: str
    value: Any


def is_namespace(kind: type) -> bool:
    """Whether a class is one of the standard library whose objects hold a user's fields."""
    return kind is types.SimpleNamespace or kind is getattr(sys.modules.get("argparse"), "Namespace", None)


class Named(NamedTuple):
    """The fields of objects that some code reads."""

    fields: frozenset[str]
    all: bool  # it may read others, too, for example by getattr


@functools.lru_cache(maxsize=4096)
def _is_users_module(name: str) -> bool:
    if name == "__main__":
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    return name.split(".")[0] not in sys.stdlib_module_names if file is None else jax_compat.is_users_file(file)


def is_users(value: Any) -> bool:
    """Whether a user wrote a class or a module."""
    return _is_users_module(value.__name__ if isinstance(value, types.ModuleType) else value.__module__)


def is_generator(value: Any) -> bool:
    """Whether it draws random numbers, for NumPy or for Python."""
    return issubclass(type(value), _GENERATORS)


def attributes_of(value: Any) -> dict[str, Any]:
    """The ``__dict__`` of an object, whatever its class does to find attributes; an empty one where it has none."""
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}


# ---- Fields ----


def fields_of(value: Any, named: Named | None, known: bool = False) -> tuple[list[Field], list[dict[str, Any]]]:
    """The fields of a value that matter, and the dictionaries that grow with a new one. Both are empty where it has none.

    Args:
        named: that the code reads; None for all fields of objects, and none of modules and classes.
        known: whether a function without attributes counts: it may get some.
    """
    if isinstance(value, types.MethodType):
        return [Field(value, functools.partial(getattr, value), "__self__", value.__self__)], []
    if isinstance(value, types.FunctionType):
        return _of_function(value, named) if known or value.__dict__ else ([], [])
    if isinstance(value, types.ModuleType | type):
        return _of_namespace(value, named) if named is not None and is_users(value) else ([], [])
    return _of_object(value, named)


def _of_function(value: types.FunctionType, named: Named | None) -> tuple[list[Field], list[dict[str, Any]]]:
    if not jax_compat.is_users_file(value.__code__.co_filename):
        return [], []
    space = value.__dict__
    return [Field(value, space.get, k, v) for k, v in space.items() if k[:2] != "__" and (named is None or k in named.fields)], [space]


def users_classes(kind: Any) -> list[type]:
    """Where an attribute of a class may be found, as far as a user wrote it: the class, its bases, its metaclass."""
    return [c for c in (*kind.__mro__, *type(kind).__mro__) if is_users(c)]


def _of_namespace(value: Any, named: Named) -> tuple[list[Field], list[dict[str, Any]]]:
    owners = [value] if isinstance(value, types.ModuleType) else users_classes(value)
    found: dict[str, Field] = {}
    for owner in owners:
        space = vars(owner)
        for name in named.fields & space.keys() if len(space) > len(named.fields) else [n for n in space if n in named.fields]:
            if name not in found and name[:2] != "__":
                found[name] = Field(owner, space.get, name, space[name])
    return [found[name] for name in sorted(found)], [vars(owner) for owner in owners]  # type: ignore[misc]


def _of_object(value: Any, named: Named | None) -> tuple[list[Field], list[dict[str, Any]]]:
    kind: Any = type(value)
    package = kind.__module__.split(".")[0]
    if package in ("jax", "jaxlib", "optax"):
        return [], []
    wanted = None if named is None or named.all or kind in _WRAPPERS else named.fields
    if named is not None and not is_users(kind) and kind not in _WRAPPERS and not is_namespace(kind):
        if package in sys.stdlib_module_names or not hasattr(kind, "__getattr__"):
            return [], []
        wanted = None  # an object for settings from some package, whose fields are in dicts of its own
    attributes, slot = attributes_of(value), functools.partial(slot_of, value)
    slots = [Field(value, slot, name, slot(name, ...)) for name in _slots(kind)]  # `...` where one is empty
    fields = [*slots, *(Field(value, attributes.get, name, v) for name, v in attributes.items())]
    return [f for f in fields if wanted is None or f.name in wanted], [attributes] if kind.__dictoffset__ else []


def slot_of(value: Any, name: str, default: Any) -> Any:
    """The value of a slot, whatever the object's class does to find attributes."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return default


@cached_weakly
def _slots(kind: Any) -> tuple[str, ...]:
    slots = [vars(c).get("__slots__", ()) for c in kind.__mro__]
    return tuple(name for some in slots for name in ((some,) if isinstance(some, str) else some) if name not in ("__dict__", "__weakref__"))


def put(owner: Any, name: str, value: Any) -> None:
    """Assigns a field, or deletes it where the value is ``...``, whatever the owner's class does on an assignment."""
    kind: Any = type if isinstance(owner, type) else object
    with contextlib.suppress(AttributeError, TypeError):
        if value is ...:
            kind.__delattr__(owner, name)
        else:
            kind.__setattr__(owner, name, value)


# ---- Parts ----


def parts_of(value: Any, named: Named | None) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """(how its name goes on, the part, what puts another one in its place) of each part that can be replaced."""
    if isinstance(value, list | collections.deque):
        for i, part in enumerate(list(value)):
            yield f"[{i}]", part, functools.partial(value.__setitem__, i)
    elif isinstance(value, dict):
        for key, part in list(value.items()):
            yield f"[{key!r}]", part, functools.partial(value.__setitem__, key)
    elif isinstance(value, np.ndarray):
        if value.dtype == object:
            for index, part in np.ndenumerate(value):
                yield f"[{', '.join(map(str, index))}]", part, functools.partial(value.__setitem__, index)
    elif not isinstance(value, (*PLAIN, *CLOSED, *BUFFERS, *SEQUENCES)):
        for field in fields_of(value, named)[0]:
            yield f".{field.name}", field.value, functools.partial(put, field.owner, field.name)


# ---- Undoing ----


def copied(value: Any, named: Named | None, limit: int) -> Callable[[], None] | None:
    """What makes a value be as it is now; its parts are kept as they are. None where it cannot change, or is too large a buffer.

    Args:
        limit: the largest buffer that is copied, in bytes.
    """
    if isinstance(value, list | collections.deque | set):
        return functools.partial(_refill, value, list(value), value.update if isinstance(value, set) else value.extend)
    if isinstance(value, dict):
        return functools.partial(_refill, value, dict(value), value.update)
    if isinstance(value, BUFFERS):
        if size_of(value) > limit or isinstance(value, memoryview) or (isinstance(value, np.ndarray) and not value.flags.writeable):
            return None
        return functools.partial(_rewrite, value, value.copy() if isinstance(value, np.ndarray) else value[:])
    if isinstance(value, tuple | frozenset | types.MethodType):
        return None
    fields, spaces = fields_of(value, named, known=True)
    owners = users_classes(value) if isinstance(value, type) else [value]
    return functools.partial(_reset, fields, list(zip(owners, map(set, spaces), strict=False)))


def _refill(value: Any, items: Any, fill: Callable[[Any], None]) -> None:
    value.clear()
    fill(items)


def _rewrite(value: Any, content: Any) -> None:
    with contextlib.suppress(ValueError, BufferError):  # it cannot be written to, so `call` did not
        value[... if isinstance(value, np.ndarray) else slice(None)] = content


def _reset(fields: list[Field], keys: Iterable[tuple[Any, set[str]]]) -> None:
    for owner, before in keys:
        for name in set(attributes_of(owner) if not isinstance(owner, type) else vars(owner)) - before:
            put(owner, name, ...)
    for field in fields:
        if field.read(field.name, ...) is not field.value:
            put(field.owner, field.name, field.value)


# ---- Buffers ----


class Flat:
    """The items of an array of objects, one after the other."""

    def __init__(self, array: np.ndarray):
        self._array = array

    def __len__(self) -> int:
        return self._array.size

    def __iter__(self) -> Iterator[Any]:
        return iter(self._array.flat)


def size_of(buffer: Any) -> int:
    """The bytes that ``digest`` looks at."""
    return _once(buffer).nbytes if isinstance(buffer, np.ndarray) else memoryview(buffer).nbytes


def digest(buffer: Any) -> bytes:
    """Tells contents of a buffer apart."""
    if not isinstance(buffer, np.ndarray):
        data: Any = memoryview(buffer).tobytes()
    else:
        try:
            data = np.ascontiguousarray(_once(buffer)).reshape(-1).view(np.uint8)
        except (TypeError, ValueError):  # of objects
            data = buffer.tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()


def _once(array: np.ndarray) -> np.ndarray:
    """An array without the repetitions by which it was broadcast."""
    if 0 in array.strides and array.size:
        return array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)]
    return array
