"""Caches that keep alive nothing of what they are asked about."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


def cached_weakly(function: Callable[[Any], _T]) -> Callable[[Any], _T]:
    """Caches what a function says of classes, functions and the like, as long as those live. The result must not hold them.

    Example:
        >>> from pellucid.core.weakly import cached_weakly
        >>> count = cached_weakly(lambda function: function.__code__.co_argcount)
        >>> count(lambda x, y: x)
        2
    """
    known: weakref.WeakKeyDictionary[Any, _T] = weakref.WeakKeyDictionary()

    @functools.wraps(function)
    def cached(about: Any) -> _T:
        try:
            return known[about]
        except KeyError:
            found = known[about] = function(about)
            return found
        except TypeError:  # no weak reference to it exists, or it has no hash
            return function(about)

    return cached
