"""Optimizer: an update rule, a learning rate and slots, which are variables like all others."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import naming
from pellucid.core.registry import Registry
from pellucid.core.variable import Variable

registry = Registry("optimizer")


class _SlotKey(NamedTuple):
    """Which slot: of a variable, or (None) of all of them; where in the state of a rule; of which type."""

    owner: Variable | None
    path: str
    shape: tuple[int, ...]
    dtype: Any


class _State(NamedTuple):
    """The state of optax for some variables: its structure, and its leaves as slots."""

    tree: Any
    keys: list[_SlotKey]
    slots: list[Variable]
    random: list[Any]  # the algorithm of a leaf that is a random key, else None: a slot holds its numbers


class Optimizer:
    """Changes variables by gradients. Subclasses say how: ``transformation`` returns an optax ``GradientTransformation``.

    Args:
        learning_rate: a number, a callable of the step number, or an optax schedule.
        name: by default the class's name in snake case.
    """

    state_attributes = ("_slots", "_states", "_stated_rule")  # no part of the rule

    def __init__(self, learning_rate: Any = 0.001, name: str | None = None, **unknown: Any):
        if unknown:
            raise TypeError(f"{type(self).__name__}: unknown argument {next(iter(unknown))!r}.")
        if not callable(learning_rate) and not isinstance(learning_rate, Variable) and not float(learning_rate) >= 0:
            raise ValueError(f"{type(self).__name__}: learning_rate={learning_rate!r}; expected a number of at least zero, or a schedule.")
        self.name = name or naming.snake_case(type(self).__name__)
        self.iterations = _slot(np.zeros((), "int32"), f"{self.name}/iterations")
        self.schedule: Callable | None = learning_rate if callable(learning_rate) else None
        rate = learning_rate.value if isinstance(learning_rate, Variable) else 0.0 if self.schedule else learning_rate
        self._learning_rate = _slot(np.asarray(rate, "float32"), f"{self.name}/learning_rate")
        self._slots: dict[_SlotKey, Variable] = {}
        self._states: dict[tuple[Variable, ...], _State] = {}  # of the present rule
        self._stated_rule: tuple | None = None

    def transformation(self, rate: Any) -> Any:
        """The update rule as an optax ``GradientTransformation``, whose updates are subtracted.

        Args:
            rate: the learning rate of this step, a scalar array.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no transformation().")

    # ---- The learning rate ----

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step. It can be assigned at any time; no program is compiled anew."""
        if self.schedule is not None:
            return self.schedule(self.iterations.value)
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value) and not isinstance(value, Variable):
            self.schedule = value
        else:
            self.schedule = None
            self._learning_rate.assign(jnp.asarray(value, "float32"))

    # ---- State ----

    def rule(self) -> tuple:
        """What an update depends on beside variables: the schedule, and numbers such as ``momentum``. They may be assigned."""
        plain = ((k, v) for k, v in vars(self).items() if isinstance(v, bool | int | float | str | None) and not k.startswith("_"))
        return self.schedule, *plain

    def build(self, variables: Sequence[Variable]) -> None:
        """Creates the slots for variables, in one go. Those that exist are kept while the rule has the same ones."""
        self.slots(variables)

    def slots(self, variables: Sequence[Variable]) -> list[Variable]:
        """The slots that a step with these variables uses; those that are missing are made.

        A slot belongs to its variable, whichever others are changed beside it: freezing a layer restarts no other's. What belongs
        to none of them, such as a counter, is shared by all.
        """
        return self._state(variables).slots

    def _state(self, variables: Sequence[Variable]) -> _State:
        key, rule = tuple(variables), self.rule()
        if rule != self._stated_rule:
            self._states.clear()
        if key not in self._states:
            state = self._make_state(key)
            if rule != self._stated_rule:  # what this rule has no use for shall not come back, outdated, with another one
                paths = {slot.path for slot in state.keys}
                self._slots = {slot: variable for slot, variable in self._slots.items() if slot.path in paths}
            self._states[key], self._stated_rule = state, rule
        return self._states[key]

    def _make_state(self, variables: tuple[Variable, ...]) -> _State:
        """The state of optax for some variables, in slots, which are made where they do not exist."""
        random: list[Any] = []

        def init(values: list[Any]) -> Any:
            state = self.transformation(0.0).init(values)
            random[:] = [jax.random.key_impl(leaf) if _is_random_key(leaf) else None for leaf in jax.tree.leaves(state)]
            return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_random_key(leaf) else leaf, state)

        spec = jax.eval_shape(init, [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables])
        keys = [
            _SlotKey(None if owner is None else variables[owner], path, tuple(leaf.shape), leaf.dtype)
            for (owner, path), leaf in zip(_places(spec, len(variables)), jax.tree.leaves(spec), strict=True)
        ]
        if any(key not in self._slots for key in keys):
            with jax.ensure_compile_time_eval():  # one small program: op by op would compile each of them
                values = jax.tree.leaves(jax.jit(init)([v.array for v in variables]))
            for key, value in zip(keys, values, strict=True):
                if key not in self._slots:
                    where = [] if key.owner is None else [key.owner.path]
                    self._slots[key] = _slot(value, "/".join([self.name, key.path, *where]))
        return _State(jax.tree.structure(spec), keys, [self._slots[key] for key in keys], random)

    @property
    def variables(self) -> list[Variable]:
        """The step counter, the learning rate and all slots."""
        return [self.iterations, self._learning_rate, *self._slots.values()]

    def apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        """Changes variables by their gradients, in the given order."""
        made = self._state(variables)
        state = jax.tree.unflatten(made.tree, [_leaf(slot.value, random) for slot, random in zip(made.slots, made.random, strict=True)])
        values = [v.value for v in variables]
        rate = jnp.asarray(self.learning_rate if self.schedule is not None else self._learning_rate.value, "float32")
        updates, state = self.transformation(rate).update(list(grads), state, values)
        self._descend(variables, values, updates)
        for slot, value in zip(made.slots, jax.tree.leaves(state), strict=True):
            slot.assign(jax.random.key_data(value) if _is_random_key(value) else value)
        self.iterations.assign(self.iterations.value + 1)

    def _descend(self, variables: Sequence[Variable], values: list[Any], updates: list[Any]) -> None:
        for variable, value, update in zip(variables, values, updates, strict=True):
            variable.assign(value - update)

    def apply_gradients(self, grads_and_vars: Any) -> None:
        """Changes variables, from pairs ``(gradient, variable)``."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__`` that make an equal optimizer."""
        rate = self.schedule if self.schedule is not None else float(self._learning_rate.numpy())
        own = {k: v for k, v in vars(self).items() if not k.startswith("_") and k not in ("iterations", "schedule")}
        return {"learning_rate": rate, **own}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.get_config()}>"


class OptaxOptimizer(Optimizer):
    """Any ``optax.GradientTransformation`` as it is: its updates are added, its own learning rate counts."""

    def __init__(self, transformation: Any, name: str = "optax"):
        super().__init__(1.0, name)
        self._given = transformation

    def transformation(self, rate: Any) -> Any:
        return self._given

    def _descend(self, variables: Sequence[Variable], values: list[Any], updates: list[Any]) -> None:
        for variable, value, update in zip(variables, values, updates, strict=True):
            variable.assign(value + update)


def optax() -> Any:
    """The library, imported when the first optimizer needs it."""
    return importlib.import_module("optax")


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, a class, an Optimizer, or an ``optax.GradientTransformation``."""
    if isinstance(identifier, Optimizer):
        return identifier
    if hasattr(identifier, "init") and hasattr(identifier, "update"):
        return OptaxOptimizer(identifier)
    made = registry.get(identifier)
    made = made() if isinstance(made, type) else made
    if not isinstance(made, Optimizer):
        raise TypeError(f"optimizer={identifier!r}; expected a name, an Optimizer or an optax.GradientTransformation.")
    return made


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


def _slot(value: Any, name: str) -> Variable:
    variable = Variable(lambda *_: value, value.shape, value.dtype, trainable=False, name=name.rsplit("/", 1)[-1])
    variable.path = name
    if isinstance(value, jax.Array):
        variable.array = value  # nobody else holds it
    return variable
