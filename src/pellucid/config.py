"""Settings of the library."""

from __future__ import annotations

from pellucid.core.dtypes import floatx, set_floatx

_epsilon = 1e-7


def epsilon() -> float:
    """A small number that keeps divisions and logarithms finite, 1e-7 unless ``set_epsilon`` changed it."""
    return _epsilon


def set_epsilon(value: float) -> None:
    """Sets what ``epsilon`` returns."""
    global _epsilon
    _epsilon = float(value)


def backend() -> str:
    """``"jax"``: there is no other."""
    return "jax"


__all__ = ["backend", "epsilon", "floatx", "set_epsilon", "set_floatx"]
