"""Lists of variables that grow when layers make their weights, in a capture that is the first to call them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import jax

from pellucid.core import jax_compat


class Growing(list):
    """The variables that layers have so far, some of which are not built yet.

    A step of the user's own asks for them before it calls the layers for the first time: ``value_and_grad`` waits with its look until
    they are built. Who looks earlier sees too few, and the list knows: the step must run again then.

    Args:
        find: gives the variables of this moment.
        known: all such lists of a capture.
        by_anybody: whether looks of the library's own code count, too, as those of optimizers do.
    """

    def __init__(self, find: Callable[[], Iterable[Any]], known: list[Growing], by_anybody: bool = True):
        super().__init__(find())
        self._find, self._known, self._by_anybody = find, known, by_anybody
        self.place: Any = None  # of the first look
        self._looked = False
        known.append(self)

    def now(self) -> list[Any]:
        """The variables of this moment, for one who will ask again."""
        if not self._looked:
            self[:] = self._find()
        return list.copy(self)

    def looked_at(self) -> Growing:
        """The list, after somebody has looked into it: it stays as it is."""
        if not self._looked:
            self.now()
            caller = sys._getframe(2)
            if self._by_anybody or not jax_compat.is_library_file(caller.f_code.co_filename):
                self._looked, self.place = True, jax_compat.user_place(caller)
        return self

    def has_missed(self) -> bool:
        """Whether variables were made after a look."""
        return self._looked and len(list(self._find())) > list.__len__(self)

    def __add__(self, other: Any) -> Any:  # the variables of two models
        return Growing(lambda: [*self._find(), *(other._find() if isinstance(other, Growing) else other)], self._known)

    def __radd__(self, other: Any) -> Any:
        return Growing(lambda: [*other, *self._find()], self._known)


def _looking(name: str) -> Callable:
    method = getattr(list, name)
    return lambda self, *args: method(self.looked_at(), *args)


for _name in (
    "__iter__",
    "__reversed__",
    "__len__",
    "__getitem__",
    "__contains__",
    "__eq__",
    "__ne__",
    "__repr__",
    "index",
    "count",
    "copy",
):
    setattr(Growing, _name, _looking(_name))
jax.tree_util.register_pytree_node(Growing, lambda variables: (list(variables), None), lambda _, leaves: list(leaves))
