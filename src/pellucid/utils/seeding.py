"""Repeatable runs."""

from __future__ import annotations

import random

import numpy as np

from pellucid.core import seeds


def set_random_seed(seed: int) -> None:
    """Makes weights, shuffles, dropout and losses that follow repeat to the last bit on the same machine.

    Python's and NumPy's own generators are seeded, too. ``steps_per_execution="auto"`` leaves alone then what depends on time: short
    convolutional nets take batches that are read while training runs one by one, which costs up to a tenth.

    Args:
        seed: a whole number from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"set_random_seed: seed={seed!r}; expected a whole number from 0 to 2**32 - 1.")
    seeds.set_global_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
