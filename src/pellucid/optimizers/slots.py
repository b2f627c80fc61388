"""Slots: the state of an optimizer, as variables. A slot belongs to one variable, or to all that an optimizer changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import jax_compat
from pellucid.core.variable import Variable


class SlotKey(NamedTuple):
    """Which slot: of a variable, or (None) of all of them; where in the state; of which type."""

    owner: Variable | None
    path: str
    shape: tuple[int, ...]
    dtype: Any


class State(NamedTuple):
    """The state for some variables: that of the rule, in the structure of optax, and what an optimizer keeps beside it."""

    tree: Any
    keys: list[SlotKey]
    slots: list[Variable]  # of the rule, in the order of the leaves
    random: list[Any]  # the algorithm of a leaf that is a random key, else None: a slot holds its numbers
    beside: dict[str, list[Variable]]  # by name, a slot for each variable

    @property
    def all(self) -> list[Variable]:
        """All slots."""
        return [*self.slots, *(slot for slots in self.beside.values() for slot in slots)]

    def value(self) -> Any:
        """The state of the rule, as optax takes it."""
        leaves = [_leaf(slot.value, random) for slot, random in zip(self.slots, self.random, strict=True)]
        return jax.tree.unflatten(self.tree, leaves)

    def assign(self, value: Any) -> None:
        """Puts a new state of the rule into the slots."""
        for slot, leaf in zip(self.slots, jax.tree.leaves(value), strict=True):
            slot.assign(jax.random.key_data(leaf) if _is_random_key(leaf) else leaf)


class Slots:
    """All slots of an optimizer.

    Args:
        name: ``(path in the state, variable or None) -> path`` of a slot.
    """

    def __init__(self, name: Callable[[str, Variable | None], str]):
        self._name = name
        self._slots: dict[SlotKey, Variable] = {}
        self._states: dict[tuple[Variable, ...], State] = {}  # of the present rule
        self._rule: tuple | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_states": {}, "_rule": None}  # found again from the slots

    @property
    def variables(self) -> list[Variable]:
        """All slots, in the order in which they were made."""
        return list(self._slots.values())

    def on_file(self, variables: tuple[Variable, ...], apart: tuple[str, ...]) -> tuple[list[Variable], dict[str, Variable]]:
        """(the slots of variables, in the order of Keras's files; those of none by name).

        Args:
            variables: in their order.
            apart: names of the slots of which those of all variables are together.
        """
        place: dict[Any, int] = {variable: number for number, variable in enumerate(variables)}
        group = {"average": -2, "gradient_accumulator": -1, **{name: number for number, name in enumerate(apart, 1)}}
        owned = [(key, slot) for key, slot in self._slots.items() if key.owner is not None]
        owned.sort(key=lambda item: (group.get(_kind(item[1]), 0), place.get(item[0].owner, len(place))))
        return [slot for _, slot in owned], {slot.path.split("/", 1)[1]: slot for key, slot in self._slots.items() if key.owner is None}

    def of(self, variable: Variable, path: str) -> Variable | None:
        """The slot of a variable that is like it, or None."""
        return self._slots.get(SlotKey(variable, path, variable.shape, variable.dtype))

    def state(self, variables: tuple[Variable, ...], rule: tuple, init: Callable, beside: dict[str, Callable]) -> State:
        """The state for some variables. Slots that are missing are made.

        Args:
            variables: that a step changes.
            rule: what the state depends on beside them.
            init: the first state of the rule, from the variables' values.
            beside: by name, the first value of a slot that each variable has, from its own.
        """
        if rule != self._rule:
            self._states.clear()
        if variables not in self._states:
            state = self._make(variables, init, beside)
            if rule != self._rule:  # what this rule has no use for shall not come back, outdated, with another one
                paths = {slot.path for slot in state.keys}
                self._slots = {slot: variable for slot, variable in self._slots.items() if slot.path in paths}
            self._states[variables], self._rule = state, rule
        return self._states[variables]

    def _make(self, variables: tuple[Variable, ...], init: Callable, beside: dict[str, Callable]) -> State:
        random: list[Any] = []

        def first(values: list[Any]) -> tuple:
            state = init(values)
            random[:] = [jax.random.key_impl(leaf) if _is_random_key(leaf) else None for leaf in jax.tree.leaves(state)]
            state = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_random_key(leaf) else leaf, state)
            return state, {name: [make(v) for v in values] for name, make in beside.items()}

        jaxpr, specs = jax.make_jaxpr(first, return_shape=True)(_specs(variables))
        places = [place for part in specs for place in _places(part, len(variables))]
        keys = [
            SlotKey(None if owner is None else variables[owner], path, tuple(leaf.shape), leaf.dtype)
            for (owner, path), leaf in zip(places, jax.tree.leaves(specs), strict=True)
        ]
        if any(key not in self._slots for key in keys):
            values = _constants(jaxpr)
            if values is None:
                with jax.ensure_compile_time_eval():
                    values = jax.tree.leaves(jax.jit(first)([v.array for v in variables]))
            for key, value in zip(keys, values, strict=True):
                if key not in self._slots:
                    self._slots[key] = make_slot(value, self._name(key.path, key.owner))
        slots = [self._slots[key] for key in keys]
        tree, names = jax.tree.structure(specs[0]), sorted(beside)  # as JAX orders a dict
        count = tree.num_leaves
        starts = range(count, len(slots), max(1, len(variables)))
        by_name = {name: slots[start : start + len(variables)] for name, start in zip(names, starts, strict=False)}
        return State(tree, keys, slots[:count], random, by_name)


def _constants(jaxpr: Any) -> list[np.ndarray] | None:
    """What a jaxpr gives, where all of it is constant, as zeros are: made on the host, where nothing need be compiled."""
    parts = jax_compat.parts(jaxpr)
    made = {e.outvars[0]: e.invars[0] for e in parts.eqns if e.primitive.name == "broadcast_in_dim"}
    given = [(v, made.get(v, v) if not isinstance(v, jax_compat.Literal) else v) for v in parts.outvars]
    if not all(isinstance(value, jax_compat.Literal) for _, value in given):
        return None
    return [np.full(v.aval.shape, value.val, v.aval.dtype) for v, value in given]


def size_of(variables: tuple[Variable, ...], init: Callable, beside: dict[str, Callable]) -> tuple[int, int]:
    """Number of elements and of bytes of the slots that ``Slots.state`` would make."""
    specs = jax.eval_shape(init, _specs(variables))
    leaves = [*jax.tree.leaves(specs), *(v for v in _specs(variables) for _ in beside)]
    return sum(leaf.size for leaf in leaves), sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _kind(slot: Variable) -> str:
    """``velocity`` of the path ``adam/velocity/dense/kernel``."""
    return slot.path.split("/")[1]


def make_slot(value: Any, path: str) -> Variable:
    """A variable that is not trained, of an array that nobody else holds."""
    variable = Variable(lambda *_: value, value.shape, value.dtype, trainable=False, name=path.rsplit("/", 1)[-1])
    variable.path = path
    variable.transient = True  # type: ignore[attr-defined]  # made when it is needed, also in a step of the user's own
    if isinstance(value, jax.Array):
        variable.array = value
    return variable


def assign_all(name: str, variables: Mapping[str, Variable], arrays: Mapping[str, Any]) -> None:
    """Sets the state of an optimizer, all of it or nothing.

    Raises:
        ValueError: where the arrays are not as many, or of other shapes.
    """
    if set(variables) != set(arrays):
        raise ValueError(f"The state of optimizer {name!r} consists of {len(variables)} arrays; the file has {len(arrays)}.")
    for key, variable in variables.items():
        if np.shape(arrays[key]) != variable.shape:
            raise ValueError(f"{variable.path!r} has shape {variable.shape}; that in the file has {np.shape(arrays[key])}.")
    for key, variable in variables.items():
        variable.assign(arrays[key])


def copy_of(value: Any) -> Any:
    """The same numbers in an array of their own: JAX would hand on the given one, which a step may donate."""
    return jnp.array(value, copy=True)


def _specs(variables: tuple[Variable, ...]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables]


def _is_random_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _leaf(value: Any, random: Any) -> Any:
    return value if random is None else jax.random.wrap_key_data(value, impl=random)


def _places(state: Any, count: int) -> list[tuple[int | None, str]]:
    """(place of the variable it belongs to or None, path) of each leaf of a state of ``count`` variables.

    Rules get the variables as a list. So a list of that length in their state, the outermost, has an entry for each variable.
    """

    def one_each(node: Any) -> bool:
        return type(node) is list and len(node) == count

    found: list[tuple[int | None, tuple]] = []
    for path, node in jax.tree_util.tree_flatten_with_path(state, is_leaf=one_each)[0]:
        entries = enumerate(node) if one_each(node) else [(None, node)]
        found += [(owner, (*path, *inner)) for owner, entry in entries for inner, _ in jax.tree_util.tree_flatten_with_path(entry)[0]]
    names: dict[str, set[tuple]] = {}
    for _, path in found:
        names.setdefault(_name(path), set()).add(path)
    return [(owner, _name(path) if len(names[_name(path)]) == 1 else _full_name(path)) for owner, path in found]


def _name(path: tuple) -> str:
    """``momentum``: the names on a path, without the positions in a chain of transformations."""
    return _full_name(tuple(key for key in path if not isinstance(key, jax.tree_util.SequenceKey))) or "state"


def _full_name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
