"""The examples in docstrings run."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import pellucid

MODULES = [m.name for m in pkgutil.walk_packages(pellucid.__path__, "pellucid.") if not m.name.endswith("__main__")]


class Finder(doctest.DocTestFinder):
    """Finds the examples of wrapped functions, too."""

    def _from_module(self, module, object):
        return super()._from_module(module, inspect.unwrap(object) if inspect.isfunction(object) else object)


@pytest.mark.parametrize("name", ["pellucid", *MODULES])
def test_examples_in_docstrings_print_what_they_say(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for example in Finder().find(module, name):
        runner.run(example)
    assert runner.failures == 0


def test_examples_of_functions_that_a_decorator_wraps_are_found():
    found = {example.name for example in Finder().find(pellucid.ops.core, "core")}
    assert "core.scatter" in found


def test_public_classes_and_functions_have_docstrings():
    missing = [
        f"{part.__name__}.{name}"
        for part in (
            pellucid,
            pellucid.layers,
            pellucid.losses,
            pellucid.metrics,
            pellucid.ops,
            pellucid.optimizers,
            pellucid.initializers,
            pellucid.callbacks,
        )
        for name in getattr(part, "__all__", dir(part))
        if not name.startswith("_") and callable(getattr(part, name)) and not (getattr(part, name).__doc__ or "").strip()
    ]
    assert not missing
