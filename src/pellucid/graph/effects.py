"""Side effects of ``call`` seen during a capture: what a compiled step will not repeat."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Place
from pellucid.core.layer import Hooks, Layer, is_building
from pellucid.errors import SideEffectWarning


@dataclasses.dataclass(frozen=True)
class Effect:
    """One side effect: its kind, its place in the user's code, what happens and what to write instead."""

    kind: str
    place: Place
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} {self.cure}"


class Effects:
    """Notes the side effects of the capturing thread.

    Args:
        layers: those that exist already; attributes of layers made during the capture are nobody's state.
    """

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = set(layers)
        self.found: dict[tuple[str, Place], Effect] = {}
        self._thread = threading.get_ident()

    def note(self, kind: str, what: str, cure: str) -> None:
        if threading.get_ident() != self._thread:
            return
        place = user_place(sys._getframe(2))
        if place is not None:
            self.found.setdefault((kind, place), Effect(kind, place, what, cure))

    def printed(self) -> None:
        self.note(
            "print",
            "print ran once, while `call` was captured; compiled steps do not repeat it.",
            "Use pellucid.print(...) to print on every step.",
        )

    def attribute_written(self, layer: Layer, name: str, value: Any) -> None:
        if threading.get_ident() != self._thread or is_building() or layer not in self._layers:
            return
        if jax_compat.is_tracer(value):
            what = f"`{layer.path}.{name}` keeps a value that exists only inside the capture; it cannot be used later."
            cure = "Return it from `call`, or assign it to a Variable made in build."
        else:
            what = f"`{layer.path}.{name}` was assigned once, while `call` was captured; compiled steps do not repeat it."
            cure = "Keep state in a Variable (self.add_weight(..., trainable=False)) and assign to that."
        self.note("attribute", what, cure)

    @contextlib.contextmanager
    def watching(self) -> Iterator[Effects]:
        """Sees what happens inside: prints through ``sys.stdout``, assignments to attributes of layers."""
        stdout = sys.stdout
        sys.stdout = _Listener(stdout, self)  # type: ignore[assignment]
        before, Hooks.attribute_written = Hooks.attribute_written, self.attribute_written
        try:
            yield self
        finally:
            Hooks.attribute_written = before
            if isinstance(sys.stdout, _Listener):
                sys.stdout = stdout

    def warn(self) -> None:
        """One SideEffectWarning for each place, shown at the user's line."""
        for effect in self.found.values():
            warnings.warn_explicit(f"{effect.what} {effect.cure}", SideEffectWarning, effect.place.file, effect.place.line)


class _Listener:
    """``sys.stdout`` during a capture: hands everything on, and tells of writes."""

    def __init__(self, stream: Any, effects: Effects):
        self._stream, self._effects = stream, effects

    def write(self, text: str) -> int:
        self._effects.printed()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def user_place(frame: Any) -> Place | None:
    """The nearest line, from a Python frame outwards, that a user wrote."""
    while frame is not None and jax_compat.is_library_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame and Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
