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


def pytest_configure(config: pytest.Config) -> None:
    if compile_once.start():
        config.add_cleanup(compile_once.end)


def pytest_collection_finish() -> None:
    """What is imported and collected by now stays: no collection of garbage need look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def equal_programs_compiled_once() -> None:
    compile_once.use()


@pytest.fixture(autouse=True)
def fresh_names_and_seed() -> Iterator[None]:
    naming.reset_names()
    set_random_seed(0)
    floatx = dtypes.floatx()
    yield
    dtypes.set_floatx(floatx)
