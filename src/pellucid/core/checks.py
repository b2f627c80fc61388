"""Arguments that are checked alike in many places."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.errors import ShapeError


def check_flags(where: str, **given: Any) -> None:
    """Refuses what is neither true nor false: a text such as "no" would count as true.

    Raises:
        ValueError: names the function, the argument and its value.

    Example:
        >>> from pellucid.core.checks import check_flags
        >>> check_flags("compile", run_eagerly="no")
        Traceback (most recent call last):
        ...
        ValueError: compile: run_eagerly='no'; expected True or False.
    """
    for name, value in given.items():
        if not isinstance(value, bool | np.bool_ | int) or value not in (0, 1):
            raise ValueError(f"{where}: {name}={value!r}; expected True or False.")


def check_whole(where: str, name: str, value: Any, least: int = 1, or_else: str = "") -> int:
    """A whole number, not less than ``least``; ``or_else`` says what else the argument may be.

    Raises:
        ValueError: names the function, the argument and its value.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < least:
        kind = "a positive whole number" if least == 1 else f"a whole number of at least {least}"
        raise ValueError(f"{where}: {name}={value!r}; expected {kind}{or_else}.")
    return int(value)


def check_axes(where: str, axis: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Axes of an array, counted from zero on, in order.

    Raises:
        ShapeError: for a number that is no axis.

    Example:
        >>> from pellucid.core.checks import check_axes
        >>> check_axes("Softmax", (-1, 1), ndim=3)
        (1, 2)
    """
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -ndim <= a < ndim for a in given):
        raise ShapeError(f"{where}: axis={axis!r} of an array with {ndim} axes; expected numbers from {-ndim} to {ndim - 1}.")
    return tuple(sorted(a % ndim for a in given))


def check_counts(where: str, **given: Any) -> None:
    """Refuses what is neither None nor a positive whole number.

    Raises:
        ValueError: names the function, the argument and its value.
    """
    for name, value in given.items():
        if value is not None:
            check_whole(where, name, value, or_else=" or None")


def check_path(where: str, name: str, value: Any, expected: str) -> str:
    """The name of a file as text.

    Raises:
        TypeError: names the function, the argument and its value.
    """
    if not isinstance(value, str) and not (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)):
        raise TypeError(f"{where}: {name}={value!r}; expected {expected}.")
    return os.fspath(value)
