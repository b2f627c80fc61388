"""Objects by name: ``"glorot_uniform"``, ``"relu"``, ``"mse"``. Modules enter what they define; ``core`` only looks up."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pellucid.core import serialization
from pellucid.errors import did_you_mean


class Registry:
    """A table from names to classes or functions of one kind (initializer, activation, loss …).

    Args:
        kind: the word for error messages.
        make: turns an entry into what ``get`` returns, for example by calling a class.
        home: the package that enters the library's own objects. It is imported when something is looked up.
    """

    def __init__(self, kind: str, make: Callable[[Any], Any] = lambda entry: entry, home: str = "pellucid"):
        self.kind, self.home, self.make = kind, home, make
        self._entries: dict[str, Any] = {}

    @property
    def entries(self) -> dict[str, Any]:
        """All objects by name."""
        importlib.import_module(self.home)
        return self._entries

    def add(self, entry: Any, *names: str) -> Any:
        """Enters an object under its own name and others."""
        for name in (entry.__name__, *names):
            self._entries[name] = entry
        return entry

    def named(self, *names: str) -> Callable[[Any], Any]:
        """A decorator form of ``add``."""
        return lambda entry: self.add(entry, *names)

    def get(self, identifier: Any) -> Any:
        """The object for a name, a config ``{"class_name": …, "config": …}``, or a callable, which is itself."""
        if isinstance(identifier, str):
            own = serialization.get_registered_object(identifier)
            if own is not None:
                return self.make(own)
            if identifier not in self.entries:
                raise ValueError(f"There is no {self.kind} {identifier!r}. {did_you_mean(identifier, self.entries)}")
            return self.make(self.entries[identifier])
        if isinstance(identifier, dict) and "class_name" in identifier:
            name = identifier["class_name"]
            whole = name == "function" or "module" in identifier or "registered_name" in identifier
            if whole or serialization.get_registered_object(name) is not None:
                return serialization.deserialize_keras_object({"config": {}, **identifier})
            if name not in self.entries:
                raise ValueError(f"There is no {self.kind} {name!r}. {did_you_mean(name, self.entries)}")
            cls, config = self.entries[name], identifier.get("config", {})
            return cls.from_config(config) if hasattr(cls, "from_config") else cls(**config)
        if callable(identifier):
            return identifier() if isinstance(identifier, type) else identifier
        raise self._no_such(identifier)

    def check(self, identifier: Any) -> None:
        """Refuses what ``get`` would not find, without making anything: a draw of a seed, say.

        Raises:
            ValueError: for a name that is not there.
            TypeError: for what is no name.
        """
        if isinstance(identifier, str):
            if identifier not in self.entries and serialization.get_registered_object(identifier) is None:
                raise ValueError(f"There is no {self.kind} {identifier!r}. {did_you_mean(identifier, self.entries)}")
        elif not (isinstance(identifier, dict) and "class_name" in identifier) and not callable(identifier):
            raise self._no_such(identifier)

    def _no_such(self, identifier: Any) -> TypeError:
        names = ", ".join(sorted(self.entries)[:4])
        return TypeError(f"{identifier!r} is no {self.kind}; expected a name ({names} …) or a callable.")


def _made(entry: Any) -> Any:
    return entry() if isinstance(entry, type) else entry


initializers = Registry("initializer", _made, "pellucid.initializers")
activations = Registry("activation", home="pellucid.activations")
regularizers = Registry("regularizer", _made, "pellucid.regularizers")
constraints = Registry("constraint", _made, "pellucid.constraints")
