"""Cases of a test of which a few run each time, and the others with the slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some_slow(cases: Iterable[Any], kept: Iterable[Any]) -> list[Any]:
    """The cases as parameters of a test; those that are not kept are marked as slow. A case is a value or a tuple of values."""
    cases, kept = list(cases), list(kept)
    assert all(case in cases for case in kept), "a case that is kept is none of the cases"
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in kept else pytest.mark.slow) for case in cases]
