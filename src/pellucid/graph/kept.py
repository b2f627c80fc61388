"""Traced values that ``call`` kept somewhere: they are none after the capture, and their use is a clear error."""

from __future__ import annotations

from typing import Any

from pellucid.core import jax_compat, operators
from pellucid.core.jax_compat import Place
from pellucid.errors import KeptValueError
from pellucid.graph.inside import Named, parts_of

RETURN = "Return it from `call`, or assign it to a Variable made in build."
_DEPTH = 6


class KeptValue:
    """Stands where ``call`` kept a traced value. Its use raises ``KeptValueError``."""

    def __init__(self, name: str, place: Place):
        self._text = f"`{name}`, kept at {place}"

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise KeptValueError(
            f"{self._text}, is no value: it existed only while `call` was captured, when there was nothing but its shape and type. "
            + RETURN
        )

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self._fail()

    def __repr__(self) -> str:
        return f"<a value of the capture: {self._text}>"

    def __format__(self, form: str) -> str:
        return self._fail() if form else repr(self)


_others = "array bool float int complex index iter next reversed len contains getitem setitem call round trunc floor ceil"
for _method in [*operators.METHODS, *(f"__{name}__" for name in _others.split())]:
    setattr(KeptValue, _method, KeptValue._fail)

jax_compat.register_array_type(KeptValue, KeptValue._fail, KeptValue._fail)


class Replacing:
    """Puts a ``KeptValue`` in the place of each traced value, wherever it is inside a value.

    Args:
        place: the line that kept them.
        named: the fields of modules and classes that are looked at.
    """

    def __init__(self, place: Place, named: Named | None):
        self._place, self._named = place, named
        self.kept: list[str] = []  # how to name what was found
        self._met: list[Any] = []

    def __call__(self, value: Any, name: str, depth: int = _DEPTH) -> Any:
        """The value, or what takes its place."""
        if jax_compat.is_tracer(value):
            self.kept.append(name)
            return KeptValue(name, self._place)
        if not depth or any(value is met for met in self._met):
            return value
        if isinstance(value, tuple):
            new = [self(v, f"{name}[{i}]", depth - 1) for i, v in enumerate(value)]
            if all(a is b for a, b in zip(new, value, strict=True)):
                return value
            return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
        self._met.append(value)
        for step, part, put in parts_of(value, self._named):
            if (new_part := self(part, f"{name}{step}", depth - 1)) is not part:
                put(new_part)
        return value
