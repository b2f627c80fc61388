"""For every test: names count from the beginning, and draws repeat."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pellucid import config
from pellucid.core import compilation_cache, dtypes, naming
from pellucid.utils import set_random_seed

# a shell that starts the tests in the background has them ignore Ctrl-C, and their subprocesses, too
signal.signal(signal.SIGINT, signal.default_int_handler)

# tests compile for themselves, in subprocesses too, and leave nothing in the folder of whoever runs them
os.environ[compilation_cache.VARIABLE] = "off"
config.compilation_cache("off")


@pytest.fixture(autouse=True)
def fresh_names_and_seed() -> Iterator[None]:
    naming.reset_names()
    set_random_seed(0)
    floatx = dtypes.floatx()
    yield
    dtypes.set_floatx(floatx)
