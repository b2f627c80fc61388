"""Functions of arrays that are one equation of a capture each.

Such a function may have a gradient of its own, and choose its form by the sizes of its arrays or by the platform: JAX's rules for
derivatives would be fixed at the symbolic sizes of the capture, and no choice could be made there. So a capture keeps the call:
instantiating the graph calls the function at the sizes that are known then. Outside of captures it is called as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from pellucid.core import jax_compat
from pellucid.core.frame import active_frame
from pellucid.core.variable import Variable

op_p = jax_compat.Primitive("op")
op_p.multiple_results = True


class Call:
    """A function with what it is called on, but for the arrays. Equal ones compute the same.

    Args:
        function: of arrays and options.
        tree: structure of all arguments.
        options: the leaves that are no arrays, by their places.
        count: number of all leaves.
    """

    def __init__(self, function: Callable, tree: Any, options: dict[int, Any], count: int):
        self.function, self.tree, self.options, self.count = function, tree, options, count
        self.name = function.__name__

    def run(self, *arrays: Any) -> Any:
        given = iter(arrays)
        leaves = [self.options[i] if i in self.options else next(given) for i in range(self.count)]
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        return self.function(*args, **kwargs)

    def flat(self, *arrays: Any) -> list[Any]:
        """The outputs as a list."""
        return jax.tree.leaves(self.run(*arrays))

    def at(self, concrete: Callable[[Any], Any]) -> Call:
        """The same with sizes of arrays among the options, such as ``x.shape[1]``, evaluated."""
        sizes = {i: concrete(o) for i, o in self.options.items() if isinstance(o, jax_compat.SymbolicSize)}
        return Call(self.function, self.tree, {**self.options, **sizes}, self.count) if sizes else self

    def _told(self) -> dict[int, Any]:
        """The options, with symbolic sizes as texts: those of two captures cannot be compared themselves."""
        return {i: str(o) if isinstance(o, jax_compat.SymbolicSize) else o for i, o in self.options.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and (self.function, self.tree, self._told()) == (other.function, other.tree, other._told())

    def __hash__(self) -> int:
        return hash((self.function, self.tree))

    def __repr__(self) -> str:
        return self.name


def equation(function: Callable) -> Callable:
    """The same function, one call of which is one equation in a capture. It is pure, and of this library: it reads no variable.

    Example:
        >>> import jax, pellucid
        >>> from pellucid.core.equation import equation
        >>> @equation
        ... def twice(x):
        ...     return x + x
        >>> float(twice(jax.numpy.float32(2)))
        4.0
    """

    @functools.wraps(function)
    def bound(*args: Any, **kwargs: Any) -> Any:
        active = active_frame()
        if active is None or not active.captures:
            return function(*args, **kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs))
        leaves = [leaf.value if isinstance(leaf, Variable) else leaf for leaf in leaves]
        arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)]
        options = {i: leaf for i, leaf in enumerate(leaves) if not isinstance(leaf, jax.Array | np.ndarray)}
        return _bind(Call(function, tree, options, len(leaves)), arrays)

    return bound


def _bind(call: Call, arrays: Sequence[Any]) -> Any:
    jaxpr, shape = jax.make_jaxpr(call.run, return_shape=True)(*arrays)
    outputs = op_p.bind(*arrays, call=call, jaxpr=jaxpr)
    return jax.tree.unflatten(jax.tree.structure(shape), outputs)


def call_again(eqn: Any, arrays: Sequence[Any], concrete: Callable[[Any], Any], stays_open: bool) -> list[Any]:
    """What an equation of such a call gives for other arrays, in its own scope.

    Args:
        eqn: the equation.
        arrays: of the sizes that are known now.
        concrete: gives the value of a size that was symbolic.
        stays_open: whether they are symbolic: then it is an equation of another capture.
    """
    call = eqn.params["call"].at(concrete)
    with jax_compat.in_scope_of(eqn):
        return jax.tree.leaves(_bind(call, arrays)) if stays_open else call.flat(*arrays)


jax_compat.expands(op_p, lambda *arrays, call, jaxpr: call.flat(*arrays), lambda *types, call, jaxpr: jaxpr)
