"""Properties that make way for an attribute of the user's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Given:
    """A property that a user's own attribute of the same name hides: ``self.history = []`` in ``__init__`` is no error."""

    def __init__(self, getter: Callable[[Any], Any]):
        self.getter = getter
        functools.update_wrapper(self, getter)  # type: ignore[arg-type]

    def __get__(self, holder: Any, owner: type) -> Any:
        return self if holder is None else self.getter(holder)
