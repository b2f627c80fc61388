"""Optimizer: an update rule, a learning rate and slots, which are variables like all others."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import naming
from pellucid.core.registry import Registry
from pellucid.core.variable import Variable

registry = Registry("optimizer")


class Optimizer:
    """Changes variables by gradients. Subclasses say how: ``transformation`` returns an optax ``GradientTransformation``.

    Args:
        learning_rate: a number, a callable of the step number, or an optax schedule.
        name: by default the class's name in snake case.
    """

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
        self._slots: dict[tuple[Variable, ...], tuple[tuple, Any, list[Variable]]] = {}

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
        key, rule = tuple(variables), self.rule()
        made = self._slots.get(key)
        if made is not None and made[0] == rule:
            return
        init = self.transformation(0.0).init
        values = [v.array for v in variables]
        state = jax.eval_shape(init, values)
        leaves, tree = jax.tree.flatten(state)
        if made is not None and made[1] == tree:
            self._slots[key] = rule, *made[1:]
            return
        if leaves:  # one small program: op by op would compile each of them
            leaves = jax.tree.leaves(jax.jit(init)(values))
        paths = [jax.tree_util.keystr(p).strip("[].'").replace("'", "") for p, _ in jax.tree_util.tree_flatten_with_path(state)[0]]
        self._slots[key] = rule, tree, [_slot(leaf, f"{self.name}/{path}") for leaf, path in zip(leaves, paths, strict=True)]

    @property
    def variables(self) -> list[Variable]:
        """The step counter, the learning rate and all slots."""
        return [self.iterations, self._learning_rate, *(v for *_, slots in self._slots.values() for v in slots)]

    def apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> None:
        """Changes variables by their gradients, in the given order."""
        self.build(variables)
        _, tree, slots = self._slots[tuple(variables)]
        state = jax.tree.unflatten(tree, [s.value for s in slots])
        values = [v.value for v in variables]
        rate = jnp.asarray(self.learning_rate if self.schedule is not None else self._learning_rate.value, "float32")
        updates, state = self.transformation(rate).update(list(grads), state, values)
        self._descend(variables, values, updates)
        for slot, value in zip(slots, jax.tree.leaves(state), strict=True):
            slot.assign(value)
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


def _slot(value: Any, name: str) -> Variable:
    variable = Variable(lambda *_: value, value.shape, value.dtype, trainable=False, name=name.rsplit("/", 1)[-1])
    variable.path = name
    if isinstance(value, jax.Array):
        variable.array = value  # nobody else holds it
    return variable
