"""Seeds: numbered streams of them, one a purpose, all from the one global seed."""

from __future__ import annotations

import collections
import secrets
import threading
import zlib

import numpy as np

_lock = threading.Lock()
_counts: collections.Counter[str] = collections.Counter()
_global_seed: int | None = None
_entropy: int | None = None
_generation = 0


def set_global_seed(seed: int) -> None:
    """Makes all later seeds a function of ``seed``; every stream starts anew.

    Args:
        seed: a whole number, not negative.

    Example:
        >>> from pellucid.core import seeds
        >>> seeds.set_global_seed(7)
        >>> first = seeds.next_seed("dropout")
        >>> seeds.set_global_seed(7)
        >>> first == seeds.next_seed("dropout")
        True
    """
    global _global_seed, _generation
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"set_global_seed: seed={seed!r} cannot be used; expected a whole number that is not negative.")
    with _lock:
        _global_seed = int(seed)
        _generation += 1
        _counts.clear()


def next_seed(stream: str) -> int:
    """The next seed of a stream: a number below 2**63. Streams do not influence each other.

    Args:
        stream: what the seed is for, such as "initializers", "dropout" or "shuffle".
    """
    global _entropy
    with _lock:
        if _entropy is None:
            _entropy = secrets.randbits(64)
        root = _entropy if _global_seed is None else _global_seed
        number = _counts[stream]
        _counts[stream] += 1
    # crc32, because Python's own hash of a string differs from process to process
    sequence = np.random.SeedSequence([root, zlib.crc32(stream.encode())], spawn_key=(number,))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def is_set() -> bool:
    """Whether a global seed was set: then all that follows is to repeat to the last bit."""
    return _global_seed is not None


def generation() -> int:
    """How often a global seed was set."""
    return _generation


def state() -> dict[str, int]:
    """How many seeds each stream has given."""
    with _lock:
        return dict(_counts)


def restore(counts: dict[str, int]) -> None:
    """Goes back to what ``state`` returned: what failed in between has drawn nothing."""
    with _lock:
        _counts.clear()
        _counts.update(counts)
