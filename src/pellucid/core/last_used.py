"""A dictionary that is bounded: what was not used for longest goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class LastUsed(Generic[_K, _V]):
    """The entries that were used last.

    Args:
        most: how many are kept.
        on_drop: told the key and the value of an entry that goes because others were used since.

    Example:
        >>> from pellucid.core.last_used import LastUsed
        >>> kept = LastUsed(2)
        >>> for key in "ab":
        ...     kept.put(key, key.upper())
        >>> kept.get("a")
        'A'
        >>> kept.put("c", "C")
        >>> kept.get("b") is None
        True
    """

    def __init__(self, most: int, on_drop: Callable[[_K, _V], None] | None = None):
        self.most, self._on_drop = most, on_drop
        self._entries: dict[_K, _V] = {}

    def get(self, key: _K) -> _V | None:
        """The value, which is used now; None where there is none."""
        if key not in self._entries:
            return None
        value = self._entries[key] = self._entries.pop(key)
        return value

    def put(self, key: _K, value: _V) -> None:
        """Enters a value; beyond the limit, the entry that was not used for longest goes."""
        self._entries.pop(key, None)
        self._entries[key] = value
        while len(self._entries) > self.most:
            oldest = next(iter(self._entries))
            value = self._entries.pop(oldest)
            if self._on_drop is not None:
                self._on_drop(oldest, value)

    def drop(self, key: _K) -> None:
        """Takes an entry out, if it is there."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Takes all out."""
        self._entries.clear()

    def keep(self, wanted: Callable[[_K, _V], bool]) -> None:
        """Drops all other entries."""
        self._entries = {key: value for key, value in self._entries.items() if wanted(key, value)}

    def items(self) -> list[tuple[_K, _V]]:
        """The entries; what was used last comes last."""
        return list(self._entries.items())

    def values(self) -> list[_V]:
        """The values; what was used last comes last."""
        return list(self._entries.values())

    def __contains__(self, key: _K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
