"""For every test: names count from the beginning, and draws repeat."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest

from pellucid import config
from pellucid.core import compilation_cache, dtypes, naming
from pellucid.utils import set_random_seed
from tests import compile_once

# a shell that starts the tests in the background has them ignore Ctrl-C, and their subprocesses, too
signal.signal(signal.SIGINT, signal.default_int_handler)

# tests keep nothing in the folder of whoever runs them, in subprocesses neither
os.environ[compilation_cache.VARIABLE] = "off"
config.compilation_cache("off")
programs = pytest.StashKey[compile_once.Programs]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[programs] = compile_once.programs_of_this_run(config.add_cleanup)


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: no collection of garbage need look through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Equal programs are compiled once, but for tests of what is compiled and kept, which are marked so."""
    compile_once.use(None if item.get_closest_marker("compiles_anew") else item.config.stash[programs])


@pytest.fixture(autouse=True)
def fresh_names_and_seed() -> Iterator[None]:
    naming.reset_names()
    set_random_seed(0)
    floatx = dtypes.floatx()
    yield
    dtypes.set_floatx(floatx)
