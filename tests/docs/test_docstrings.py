"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import pellucid

MODULES = [m.name for m in pkgutil.walk_packages(pellucid.__path__, "pellucid.") if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", ["pellucid", *MODULES])
def test_examples_in_docstrings_print_what_they_say(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_public_classes_and_functions_have_docstrings():
    missing = [
        f"{part.__name__}.{name}"
        for part in (
            pellucid,
            pellucid.layers,
            pellucid.losses,
            pellucid.metrics,
            pellucid.optimizers,
            pellucid.initializers,
            pellucid.callbacks,
        )
        for name in getattr(part, "__all__", dir(part))
        if not name.startswith("_") and callable(getattr(part, name)) and not (getattr(part, name).__doc__ or "").strip()
    ]
    assert not missing
