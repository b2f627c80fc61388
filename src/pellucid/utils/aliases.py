"""``import keras`` that means Pellucid."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds ``keras`` and ``keras.x.y`` as ``pellucid`` and ``pellucid.x.y``."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name != "keras" and not name.startswith("keras."):
            return None
        own = "pellucid" + name.removeprefix("keras")
        ours = importlib.util.find_spec(own)
        if ours is None:
            raise ModuleNotFoundError(f"Keras is Pellucid here, which has no module {own!r} (imported as {name!r}).", name=name)
        return importlib.machinery.ModuleSpec(name, self, is_package=ours.submodule_search_locations is not None)

    def create_module(self, spec: Any) -> ModuleType:
        module = importlib.import_module("pellucid" + spec.name.removeprefix("keras"))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """The module has run already, under its own name, and keeps its own spec."""
        spec: Any = module.__spec__
        module.__spec__ = spec.loader_state


def install_as_keras() -> None:
    """Makes ``keras`` and its modules mean Pellucid from now on: ``from keras import layers`` imports ours.

    Raises:
        RuntimeError: if the real Keras has been imported before.
    """
    present = sys.modules.get("keras")
    if present is not None and present is not sys.modules["pellucid"]:
        raise RuntimeError("install_as_keras: Keras itself has been imported already; call pellucid.install_as_keras() before that.")
    if not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    importlib.import_module("keras")
