"""Names: ``Dense`` becomes ``dense``, the next one ``dense_1``."""

from __future__ import annotations

import collections
import re

_counts: collections.Counter[str] = collections.Counter()


def snake_case(name: str) -> str:
    """``BatchNormalization`` -> ``batch_normalization``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z0-9])(?=[A-Z][a-z])", "_", name).lower().strip("_")


def unique_name(base: str) -> str:
    """The base itself the first time, then with ``_1``, ``_2`` …"""
    number = _counts[base]
    _counts[base] += 1
    return f"{base}_{number}" if number else base


def reset_names() -> None:
    """Starts the numbering anew."""
    _counts.clear()
