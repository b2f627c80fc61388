"""Names of a package whose modules are imported at the first use of one of them, so that importing the package costs little."""

from __future__ import annotations

import dis
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any


def at_first_use() -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of the package that calls this: the names that it imports where only type checkers go.

    The names stand in the package as imports, once, for readers, type checkers and editors. Python does not run these lines, but
    compiles them: which name comes from where is read off the bytecode, when a name is asked for that is not there yet.

    Example of an ``__init__.py``::

        if TYPE_CHECKING:
            from pellucid.layers.core import Dense
        else:
            __getattr__, __dir__ = at_first_use()
    """
    frame = sys._getframe(1)
    code, names, package = frame.f_code, frame.f_globals, frame.f_globals["__name__"]

    @functools.cache
    def homes() -> dict[str, tuple[str, str]]:
        return _imports(code)

    def get(name: str) -> Any:
        if name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules.get(package))
        home, inside = homes()[name]
        if home == package:
            return importlib.import_module(f"{home}.{inside}")
        names[name] = getattr(importlib.import_module(home), inside)
        return names[name]

    return get, lambda: sorted({*names, *homes()})


def _imports(code: Any) -> dict[str, tuple[str, str]]:
    """(module, name in it) for each name that the statements ``from … import …`` of a code would bind."""
    found, module, name = {}, "", None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            module = instruction.argval
        elif instruction.opname == "IMPORT_FROM":
            name = instruction.argval
        elif instruction.opname == "STORE_NAME" and name is not None:
            found[instruction.argval], name = (module, name), None
    return found
