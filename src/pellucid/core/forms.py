"""Which form of a function runs where.

A function of ``ops`` may have a form of its own beside the plain one: faster on one kind of device, slower on another. Which of them
a program takes is decided when it is made, by this table alone. Both give the same values and gradients, but for rounding.
"""

from __future__ import annotations

import jax

# The function, and where its own form is the faster one. What each gained stands where it is written.
FASTER_ON: dict[str, frozenset[str]] = {
    "attention": frozenset({"cpu"}),
    "gelu": frozenset({"cpu"}),
    "gradients": frozenset({"cpu"}),  # all before the first update
    "convolve": frozenset({"cpu"}),
    "max_of_windows": frozenset({"cpu"}),
    "mean_of_windows": frozenset({"cpu"}),
    "product": frozenset({"cpu"}),
    "standardized": frozenset({"cpu"}),
    "scan": frozenset({"cpu"}),  # of the steps of recurrent layers
}


def own_form(function: str) -> bool:
    """Whether a program that is made now takes the own form of a function, and not the plain one."""
    return jax.default_backend() in FASTER_ON[function]
