"""All layers, each by at least one case: a module a family. ``CASES`` has all of them.

In each run of the tests there is the first case of each class, where one number of spatial axes stands for all. The others are slow.
"""

import dataclasses
import importlib
import pkgutil
import re

from tests.layers.case import Case

CASES: dict[str, Case] = {}
for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    for _name, _case in importlib.import_module(_module.name).CASES.items():
        assert _name not in CASES, f"there are two cases {_name!r}"
        _class = re.split("[ ,]", _name)[0]
        _others = any(_class == re.split("[ ,]", n)[0] for n in CASES) or re.search("[13]D", _class) is not None
        CASES[_name] = dataclasses.replace(_case, slow=True) if _others else _case
