"""All layers, each by at least one case: a module a family. ``CASES`` has all of them."""

import importlib
import pkgutil

from tests.layers.case import Case

CASES: dict[str, Case] = {}
for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    for _name, _case in importlib.import_module(_module.name).CASES.items():
        assert _name not in CASES, f"there are two cases {_name!r}"
        CASES[_name] = _case
