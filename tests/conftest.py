"""For every test: names count from the beginning, and draws repeat."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pellucid.core import dtypes, naming
from pellucid.utils import set_random_seed

# a shell that starts the tests in the background has them ignore Ctrl-C, and their subprocesses, too
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def fresh_names_and_seed() -> Iterator[None]:
    naming.reset_names()
    set_random_seed(0)
    floatx = dtypes.floatx()
    yield
    dtypes.set_floatx(floatx)
