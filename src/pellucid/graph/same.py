"""Do two captures compute the same? Then the programs of the first serve the second, and only the run of ``call`` is told.

The comparison errs on one side only: where it cannot be sure (a Python callback made anew, an array too large to compare, a
parameter that it does not know), the graphs count as different, and programs are compiled again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Literal, parts
from pellucid.core.variable import Variable
from pellucid.graph.diff import same_constant

if TYPE_CHECKING:
    from pellucid.graph.graph import Graph

_LARGE = 2**24  # bytes of a constant that are compared; larger ones must be the same object
_RULES = {
    "custom_jvp_call": {"jvp_jaxpr_fun", "jvp_jaxpr_thunk"},
    "custom_vjp_call": {"fwd_jaxpr_thunk", "bwd", "out_trees"},
}  # functions that each capture makes anew: what they compute is compared
_IMPLIED = {"op": {"jaxpr"}}  # by the others: equal calls of a function of ours compute the same


class _Differs(Exception):
    """The two are not the same, or may not be."""


def same(one: Graph, other: Graph) -> bool:
    """Whether two graphs of a model compute the same, bit for bit, from the same lines of the user's code."""
    if one.layer is not other.layer or one.signature != other.signature or one.training != other.training:
        return False
    if (one.output_tree, one.output_count, one.losses, one.masks) != (other.output_tree, other.output_count, other.losses, other.masks):
        return False
    if [str(g) + repr(g.answer) for g in one.size_guards] != [str(g) + repr(g.answer) for g in other.size_guards]:
        return False
    if len(one.writes) != len(other.writes) or any(a is not b for a, b in zip(one.writes, other.writes, strict=True)):
        return False
    if [(n.path, n.layer, n.source) for n in one.calls] != [(n.path, n.layer, n.source) for n in other.calls]:
        return False
    try:
        _Comparison().jaxprs(one.jaxpr, other.jaxpr)
    except _Differs:
        return False
    return True


class _Comparison:
    """Walks over two jaxprs side by side."""

    def __init__(self) -> None:
        self._known: set[tuple[int, int]] = set()  # jaxprs of functions under jit are shared
        self._in_rule = False  # programs take first derivatives only, and the rule of `relu` holds `relu` again

    def jaxprs(self, one: Any, other: Any) -> None:
        if one is other or (id(one), id(other)) in self._known:
            return
        a, b = parts(one), parts(other)
        self._need([len(x) for x in a] == [len(x) for x in b])
        self._need(str(one.effects) == str(other.effects))
        for x, y in zip(a.consts, b.consts, strict=True):
            self._need(x is y or (getattr(x, "nbytes", _LARGE + 1) <= _LARGE and same_constant(x, y)))
        numbers: tuple[dict, dict] = {}, {}
        for x, y in zip((*a.constvars, *a.invars), (*b.constvars, *b.invars), strict=True):
            self._define(x, y, numbers)
        for x, y in zip(a.eqns, b.eqns, strict=True):
            self._equations(x, y, numbers)
        self._uses(a.outvars, b.outvars, numbers)
        self._known.add((id(one), id(other)))

    def _need(self, condition: bool) -> None:
        if not condition:
            raise _Differs

    def _define(self, x: Any, y: Any, numbers: tuple[dict, dict]) -> None:
        self._types(x, y)
        numbers[0][x] = numbers[1][y] = len(numbers[0])

    def _types(self, x: Any, y: Any) -> None:
        # the symbolic sizes of two captures are of different scopes and cannot be compared themselves
        self._need(type(x.aval) is type(y.aval) and x.aval.str_short() == y.aval.str_short())
        self._need(getattr(x.aval, "weak_type", None) == getattr(y.aval, "weak_type", None))

    def _uses(self, xs: Sequence[Any], ys: Sequence[Any], numbers: tuple[dict, dict]) -> None:
        for x, y in zip(xs, ys, strict=True):
            self._need(isinstance(x, Literal) == isinstance(y, Literal))
            if isinstance(x, Literal):
                self._types(x, y)
                self._need(same_constant(x.val, y.val))
            else:
                self._need(numbers[0][x] == numbers[1][y])

    def _equations(self, one: Any, other: Any, numbers: tuple[dict, dict]) -> None:
        self._need(one.primitive is other.primitive and len(one.invars) == len(other.invars) and len(one.outvars) == len(other.outvars))
        self._need(jax_compat.scope(one) == jax_compat.scope(other) and jax_compat.eqn_place(one) == jax_compat.eqn_place(other))
        self._need(str(one.effects) == str(other.effects) and jax_compat.settings_of(one) == jax_compat.settings_of(other))
        self._uses(one.invars, other.invars, numbers)
        self._need(one.params.keys() == other.params.keys())
        apart = _RULES.get(one.primitive.name, set())
        for name in one.params.keys() - apart - _IMPLIED.get(one.primitive.name, set()):
            self._values(one.params[name], other.params[name])
        if apart and not self._in_rule:
            self._rules(one, other)
        for x, y in zip(one.outvars, other.outvars, strict=True):
            self._define(x, y, numbers)

    def _rules(self, one: Any, other: Any) -> None:
        """Derivatives that functions define for themselves."""
        self._need(not one.params.get("symbolic_zeros"))
        try:
            rules = [jax_compat.derivative_jaxprs(eqn) for eqn in (one, other)]
        except Exception as error:  # the user's own rule may fail at symbolic sizes
            raise _Differs from error
        self._in_rule = True
        self._values(*rules)
        self._in_rule = False

    def _values(self, one: Any, other: Any) -> None:
        """Parameters of equations."""
        if one is other:
            return
        self._need(type(one) is type(other))
        if jax_compat.is_jaxpr(one):
            self.jaxprs(one, other)
        elif isinstance(one, jax_compat.SymbolicSize):
            self._need(str(one) == str(other))
        elif isinstance(one, list | tuple):
            self._need(len(one) == len(other))
            for x, y in zip(one, other, strict=True):
                self._values(x, y)
        elif isinstance(one, dict):
            self._need(list(one) == list(other))
            self._values(list(one.values()), list(other.values()))
        elif isinstance(one, np.ndarray | np.generic | jax.Array):
            self._need(one.nbytes <= _LARGE and same_constant(one, other))
        elif isinstance(one, jax.core.ShapedArray):
            self._need(one.str_short() == other.str_short() and one.weak_type == other.weak_type)
        elif isinstance(one, Variable) or callable(one):
            raise _Differs
        else:
            self._need(one == other)
