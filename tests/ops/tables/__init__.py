"""All functions of ``ops`` with calls of each: a module a family. ``CALLS`` has all of them.

``CALLS`` of a family: for each name its calls, each (arguments, options). ``STAY``: names of functions that cannot be traced with a
batch of unknown size, since the shape of what they give depends on values or on the number of rows.
"""

import importlib
import pkgutil

CALLS: dict[str, list] = {}
STAY: set[str] = set()
for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    _family = importlib.import_module(_module.name)
    for _name, _calls in _family.CALLS.items():
        assert _name not in CALLS, f"two tables have {_name!r}"
        CALLS[_name] = _calls
    STAY |= getattr(_family, "STAY", set())
