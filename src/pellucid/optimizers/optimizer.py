"""Optimizer: an update rule, a learning rate and slots, which are variables like all others."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from pellucid import ops
from pellucid.core import dtypes, explain, naming
from pellucid.core.frame import functional
from pellucid.core.registry import Registry
from pellucid.core.serialization import CustomObjectScope, serialize_keras_object
from pellucid.core.variable import Variable
from pellucid.optimizers import gradients, schedules
from pellucid.optimizers.slots import Slots, State, assign_all, copy_of, make_slot, size_of

registry = Registry("optimizer", home="pellucid.optimizers")


def in_its_scope(apply: Callable) -> Callable:
    """What an optimizer computes has its name in profiles and errors."""

    @functools.wraps(apply)
    def scoped(self: Any, *args: Any, **kwargs: Any) -> None:
        with jax.named_scope(f"optimizer:{self.name}"):
            apply(self, *args, **kwargs)

    return scoped


class BesideDecay(TypedDict, total=False):
    """The arguments that all optimizers take, but the weight decay; see ``Optimizer``."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


class CommonArgs(BesideDecay, total=False):
    """The arguments that all optimizers take; see ``Optimizer``."""

    weight_decay: float | None


class Optimizer:
    """Changes variables by gradients. Subclasses say how: ``transformation`` returns an optax ``GradientTransformation``.

    What happens in a step, in this order: gradients are divided by the loss scale, accumulated, clipped; weights decay; the rule
    changes them; their constraints are applied; their averages follow.

    Args:
        learning_rate: a number, a ``LearningRateSchedule``, an optax schedule, or another callable of the step number or of nothing.
        weight_decay: weights lose this share of themselves, times the learning rate, before each update. None for no decay.
        clipnorm: the largest norm of the gradient of each variable; longer ones are scaled down.
        clipvalue: the largest absolute value of an element of a gradient.
        global_clipnorm: the largest norm of all gradients together.
        use_ema: whether an exponential moving average of each variable is kept, which ``finalize_variable_values`` puts in its place.
        ema_momentum: share of the average that is kept in a step.
        ema_overwrite_frequency: number of updates after which variables are set to their averages, None for never.
        loss_scale_factor: what ``scale_loss`` multiplies the loss by; gradients are divided by it.
        gradient_accumulation_steps: number of calls of ``apply`` whose mean gradient makes one update, at least 2. ``flush`` applies
            what is left. Schedules count the calls, ``iterations`` the updates.
        name: by default the class's name in snake case.

    Raises:
        ValueError: for a number out of its range, or more than one kind of clipping.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0, 2.0])
        >>> optimizer = pellucid.optimizers.SGD(0.5, clipvalue=1.0)
        >>> optimizer.apply([np.array([4.0, 1.0], "float32")], [w])
        >>> w.numpy().tolist(), int(optimizer.iterations)
        ([0.5, 1.5], 1)
    """

    state_attributes = ("_slots", "_built_for")  # no part of the rule
    slot_names: dict[str, str] = {}  # our words for those of optax
    slots_apart: tuple[str, ...] = ()  # of all variables one after another, in a file, where a variable's others are together
    shared_slots: tuple[str, ...] = ()  # those of no variable that Keras has, too

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ):
        if unknown:
            raise TypeError(f"{type(self).__name__}: unknown argument {next(iter(unknown))!r}.")
        self.name = name or naming.snake_case(type(self).__name__)
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema, self.ema_momentum, self.ema_overwrite_frequency = use_ema, ema_momentum, ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._check(learning_rate)
        self.iterations = self._counter("iterations")
        self.schedule: Callable | None = learning_rate if callable(learning_rate) else None
        rate = learning_rate.value if isinstance(learning_rate, Variable) else 0.0 if self.schedule else learning_rate
        self._learning_rate = make_slot(np.asarray(rate, dtypes.wide_floatx()), f"{self.name}/learning_rate")
        self._calls = self._counter("calls")  # of `apply`, and those since the last update, while gradients are accumulated
        self._accumulated = self._counter("accumulated")
        self._undecayed: tuple | None = None
        self._built_for: tuple[Variable, ...] | None = None
        self._slots = Slots(self._slot_path)

    def _check(self, learning_rate: Any) -> None:
        owner = type(self).__name__
        if not callable(learning_rate) and not isinstance(learning_rate, Variable) and not float(learning_rate) >= 0:
            raise ValueError(f"{owner}: learning_rate={learning_rate!r}; expected a number of at least zero, or a schedule.")
        clips: dict[str, Any] = {"clipnorm": self.clipnorm, "clipvalue": self.clipvalue, "global_clipnorm": self.global_clipnorm}
        given = [f"{name}={value!r}" for name, value in clips.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{owner}: {' and '.join(given)} are given; expected one of clipnorm, clipvalue, global_clipnorm at most.")
        gradients.check_range(owner, 0, weight_decay=self.weight_decay, **clips)
        gradients.check_range(owner, 0, 1, ema_momentum=self.ema_momentum)
        gradients.check_count(owner, 1, ema_overwrite_frequency=self.ema_overwrite_frequency)
        gradients.check_count(owner, 2, gradient_accumulation_steps=self.gradient_accumulation_steps)
        if self.loss_scale_factor is not None and not self.loss_scale_factor > 0:
            raise ValueError(f"{owner}: loss_scale_factor={self.loss_scale_factor!r}; expected a number above zero, or None.")

    def transformation(self, rate: Any) -> Any:
        """The update rule as an optax ``GradientTransformation``, whose updates are subtracted.

        Args:
            rate: the learning rate of this step, a scalar array.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no transformation().")

    def transformation_for(self, rate: Any, variables: Sequence[Variable]) -> Any:
        """The update rule for some variables, for optimizers that do not treat all of them alike."""
        return self.transformation(rate)

    # ---- The learning rate ----

    @property
    def learning_rate(self) -> Any:
        """The rate of the next step. It can be assigned at any time; no program is compiled anew."""
        if self.schedule is not None:
            return schedules.rate_at(self.schedule, self._calls_made())
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value) and not isinstance(value, Variable):
            self.schedule = value
        else:
            self.schedule = None
            self._learning_rate.assign(jnp.asarray(value, self._learning_rate.dtype))

    def _calls_made(self) -> Any:
        return (self._calls if self.gradient_accumulation_steps else self.iterations).value

    def _rate(self, call: Any = None) -> Any:
        """The learning rate of a call of ``apply`` (by default of this one), as an array."""
        if self.schedule is None:
            return self._learning_rate.value
        return jnp.asarray(schedules.rate_at(self.schedule, self._calls_made() if call is None else call), dtypes.wide_floatx())

    # ---- State ----

    def rule(self) -> tuple:
        """What an update depends on beside variables: the schedule, and numbers such as ``momentum``. They may be assigned."""
        plain = ((k, v) for k, v in vars(self).items() if isinstance(v, bool | int | float | str | None) and not k.startswith("_"))
        return self.schedule, *plain

    @property
    def built_for(self) -> tuple[Variable, ...]:
        """The variables of ``build``, or of the first update."""
        return self._built_for or ()

    @property
    def built(self) -> bool:
        """Whether there are slots for some variables."""
        return self._built_for is not None

    def build(self, variables: Sequence[Variable]) -> None:
        """Creates the slots for variables, in one go. Those that exist are kept while the rule has the same ones."""
        self._built_for = tuple(variables)
        self.slots(variables)

    def slots(self, variables: Sequence[Variable]) -> list[Variable]:
        """The slots that a step with these variables uses; those that are missing are made.

        A slot belongs to its variable, whichever others are changed beside it: freezing a layer restarts no other's. What belongs
        to none of them, such as a counter, is shared by all.
        """
        return self._state(variables).all

    def state_size(self, variables: Sequence[Variable]) -> tuple[int, int]:
        """Number of elements and of bytes of the slots for some variables. None is made."""
        return size_of(tuple(variables), lambda values: self.transformation_for(0.0, variables).init(values), self._beside())

    def _state(self, variables: Sequence[Variable]) -> State:
        init = lambda values: self.transformation_for(0.0, variables).init(values)
        return self._slots.state(tuple(variables), self.rule(), init, self._beside())

    def _beside(self) -> dict[str, Callable]:
        """What is kept for each variable beside the slots of the rule."""
        accumulator = {"gradient_accumulator": jnp.zeros_like} if self.gradient_accumulation_steps else {}
        return {**({"average": copy_of} if self.use_ema else {}), **accumulator}

    def _counter(self, name: str) -> Variable:
        return make_slot(np.zeros((), "int32"), f"{self.name}/{name}")

    def _slot_path(self, path: str, owner: Variable | None) -> str:
        return "/".join([self.name, self.slot_names.get(path, path), *([] if owner is None else [owner.path])])

    @property
    def variables(self) -> list[Variable]:
        """The counters, the learning rate and all slots, with paths such as ``adam/momentum/dense/kernel``."""
        counters = [self._calls, self._accumulated] if self.gradient_accumulation_steps else []
        return [self.iterations, self._learning_rate, *counters, *self._slots.variables]

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Puts the state into a dict, from which a file of weights is written: by numbers what Keras has, too, else by names."""
        numbered, named = self._on_file()
        store.update({str(number): variable for number, variable in enumerate(numbered)} | named)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Takes the state from what ``save_own_variables`` has put into a file, here or in Keras; all of it or nothing.

        Raises:
            ValueError: where it does not fit.
        """
        numbered, named = self._on_file()
        arrays = dict(store)
        if "0" in arrays:  # Keras counts the calls alone
            updates, rest = divmod(int(arrays["0"]), self.gradient_accumulation_steps or 1)
            counts = {"iterations": updates, "accumulated": rest}
            missing = [name for name in named if name not in arrays]
            arrays |= {name: counts[name] if name in counts else self._after(updates, name) for name in missing}
        assign_all(self.name, {str(number): variable for number, variable in enumerate(numbered)} | named, arrays)

    def _on_file(self) -> tuple[list[Variable], dict[str, Variable]]:
        """(the state in the order of Keras's files, and what Keras has not)."""
        rate = [self._learning_rate] if self.schedule is None else []
        slots, shared = self._slots.on_file(self.built_for, self.slots_apart)
        named = {name: shared.pop(name) for name in list(shared) if name not in self.shared_slots}
        if self.gradient_accumulation_steps:
            named |= {"iterations": self.iterations, "accumulated": self._accumulated}
        return [self._calls if self.gradient_accumulation_steps else self.iterations, *rate, *slots, *shared.values()], named

    def _after(self, updates: int, name: str) -> Any:
        """What a slot that is not on file holds after so many updates: by default it counts them."""
        return updates

    # ---- A step ----

    @in_its_scope
    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Changes variables by their gradients, in the given order.

        Args:
            grads: an array for each variable; None leaves that variable as it is.
            trainable_variables: by default those of ``build``.

        Raises:
            ValueError: where the numbers of gradients and variables differ, or all gradients are None.
        """
        given, variables = self._with_gradients(list(grads), trainable_variables)
        if not given:
            return
        if self._built_for is None:
            self._built_for = tuple(variables)
        if len(given) > 1:
            given = gradients.all_of_them_first(given)
        if self.loss_scale_factor is not None:
            given = [g / self.loss_scale_factor for g in given]
        updates: Any = 1
        if self.gradient_accumulation_steps:
            updates = self._accumulate(given, variables)
        else:
            self._update(given, variables)
        if self.use_ema:
            self._average(variables)
        self.iterations.assign(self.iterations.value + updates)

    def _with_gradients(self, grads: list, variables: Sequence[Variable] | None) -> tuple[list, list[Variable]]:
        """The pairs in which there is a gradient."""
        if variables is None and self._built_for is None:
            raise ValueError(f"{self.name}: apply got no variables; expected them, or a call of build(variables) before.")
        known = list(self._built_for or ()) if variables is None else list(variables)
        if len(grads) != len(known):
            raise ValueError(f"{self.name}: apply got {len(grads)} gradients for {len(known)} variables; expected one for each.")
        if grads and all(g is None for g in grads):
            raise ValueError(f"{self.name}: all gradients are None; expected one for a variable at least.")
        pairs = [(g, v) for g, v in zip(grads, known, strict=True) if g is not None]
        if len(pairs) < len(known):
            missing = ", ".join(repr(v.path) for g, v in zip(grads, known, strict=True) if g is None)
            explain.warn(f"{self.name}: no gradient for {missing}: what is not part of the loss stays as it is.")
        return [g for g, _ in pairs], [v for _, v in pairs]

    def _update(self, grads: list, variables: Sequence[Variable], call: Any = None) -> None:
        """One update of the rule, with all that belongs to it; ``call`` is the number of the call of ``apply``, by default this one."""
        made = self._state(variables)
        state = made.value()
        values = [v.value for v in variables]
        rate = self._rate(call)
        grads = self._clipped(grads)
        values = [self._decayed(value, v, rate) for value, v in zip(values, variables, strict=True)]
        updates, state = self.transformation_for(rate, variables).update(list(grads), state, values)
        moved = [v.constrained(self._moved(value, update)) for v, value, update in zip(variables, values, updates, strict=True)]
        for variable, value in zip(variables, moved, strict=True):
            variable.assign(value)
        made.assign(state)

    def _moved(self, value: Any, update: Any) -> Any:
        return value - update

    def _clipped(self, grads: list) -> list:
        if self.clipnorm:
            return gradients.clip_each_norm(grads, self.clipnorm)
        if self.global_clipnorm:
            return gradients.clip_common_norm(grads, self.global_clipnorm)
        return gradients.clip_values(grads, self.clipvalue) if self.clipvalue else grads

    # ---- Weight decay ----

    def exclude_from_weight_decay(self, var_list: Sequence[Variable] | None = None, var_names: Sequence[str] | None = None) -> None:
        """Says which variables do not decay.

        Args:
            var_list: the variables themselves.
            var_names: regular expressions; variables whose names have a match.

        Example:
            >>> import numpy as np, pellucid
            >>> kernel, bias = pellucid.Variable([1.0], name="kernel"), pellucid.Variable([1.0], name="bias")
            >>> optimizer = pellucid.optimizers.SGD(1.0, weight_decay=0.5)
            >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
            >>> optimizer.apply([np.zeros(1, "float32")] * 2, [kernel, bias])
            >>> kernel.numpy().tolist(), bias.numpy().tolist()
            ([0.5], [1.0])
        """
        self._undecayed = tuple(var_list or ()), tuple(var_names or ())

    def decay_of(self, variable: Variable) -> float | None:
        """The weight decay of a variable, None for no decay."""
        if self._undecayed is None:
            return self.weight_decay
        variables, names = self._undecayed
        excluded = any(variable is v for v in variables) or any(re.search(name, variable.name) for name in names)
        return None if excluded else self.weight_decay

    def _decayed(self, value: Any, variable: Variable, rate: Any) -> Any:
        decay = self.decay_of(variable)
        return value if decay is None else value - value * decay * rate.astype(value.dtype)

    # ---- Accumulated gradients ----

    def _accumulate(self, grads: list, variables: list[Variable]) -> Any:
        """Adds gradients to those that wait for an update, or makes it. Returns the number of updates, 0 or 1."""
        sums = self._state(variables).beside["gradient_accumulator"]
        count = self._accumulated.value + 1
        due = count >= self.gradient_accumulation_steps

        def update(grads: list) -> None:
            self._update([(s.value + g) / count for s, g in zip(sums, grads, strict=True)], variables)
            _clear(sums)

        def wait(grads: list) -> None:
            for s, g in zip(sums, grads, strict=True):
                s.assign(s.value + g)

        ops.cond(due, update, wait, grads)
        self._accumulated.assign(jnp.where(due, 0, count))
        self._calls.assign(self._calls.value + 1)
        return due.astype("int32")

    def flush(self, trainable_variables: Sequence[Variable] | None = None) -> None:
        """Applies the gradients that wait for an update: their mean, as if the last call of ``apply`` had been the last one of a round.

        So none is lost at the end of an epoch whose number of steps ``gradient_accumulation_steps`` does not divide. Where none
        waits, nothing is changed. It can be traced, as ``apply`` can.

        Args:
            trainable_variables: by default those of ``build``.

        Example:
            >>> import numpy as np, pellucid
            >>> w = pellucid.Variable([0.0])
            >>> optimizer = pellucid.optimizers.SGD(1.0, gradient_accumulation_steps=2)
            >>> for g in (2.0, 4.0, 6.0):
            ...     optimizer.apply([np.array([g], "float32")], [w])
            >>> float(w), optimizer.flush(), float(w)
            (-3.0, None, -9.0)
        """
        variables = list(self._built_for or ()) if trainable_variables is None else list(trainable_variables)
        if not self.gradient_accumulation_steps or not variables:
            return
        sums = self._state(variables).beside["gradient_accumulator"]

        def update() -> None:
            count = self._accumulated.value
            self._update([s.value / count for s in sums], variables, self._calls.value - 1)
            _clear([*sums, self._accumulated])
            if self.use_ema:
                self._average(variables)
            self.iterations.assign(self.iterations.value + 1)

        ops.cond(self._accumulated.value > 0, update, lambda: None)

    # ---- Averages of the weights ----

    def _average(self, variables: Sequence[Variable]) -> None:
        """Lets the averages follow. The first update has nothing to average with."""
        updates = self.iterations.value
        momentum = jnp.where(updates == 0, 0.0, self.ema_momentum)
        for variable, average in zip(variables, self._state(variables).beside["average"], strict=True):
            value, kept = variable.value, momentum.astype(variable.dtype)
            mean = kept * average.value + (1 - kept) * value
            average.assign(mean)
            if self.ema_overwrite_frequency is not None:
                overwrites = (updates + 1) % self.ema_overwrite_frequency == 0
                variable.assign(jnp.where(overwrites, variable.constrained(mean), value))

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Sets variables to their moving averages, as at the end of training. Without ``use_ema`` they stay as they are."""
        for variable in var_list if self.use_ema else ():
            average = self._slots.of(variable, "average")
            if average is not None:  # None: it was never trained
                variable.assign(variable.constrained(average.value))

    # ---- Other forms of a step ----

    def apply_gradients(self, grads_and_vars: Any) -> Variable:
        """Changes variables, from pairs ``(gradient, variable)``. Returns the number of updates so far."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self.iterations

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """A step as a pure function, of arrays, for a loop of one's own: nothing is assigned.

        Args:
            optimizer_variables: a value for each of ``variables``.
            grads: a gradient for each variable that ``build`` was given.
            trainable_variables: a value for each of them.

        Returns:
            (new values of the trainable variables, new values of the optimizer's)

        Raises:
            ValueError: before ``build``, or where a number of values does not fit.

        Example:
            >>> import jax, numpy as np, pellucid
            >>> w = pellucid.Variable([1.0])
            >>> optimizer = pellucid.optimizers.SGD(0.5)
            >>> optimizer.build([w])
            >>> step = jax.jit(optimizer.stateless_apply)
            >>> weights, state = step([v.value for v in optimizer.variables], [np.ones(1, "float32")], [w.value])
            >>> weights[0].tolist(), float(w)
            ([0.5], 1.0)
        """
        if self._built_for is None:
            raise ValueError(f"{self.name}: stateless_apply before build; expected a call of build(variables) before.")
        own, weights = self.variables, list(self._built_for)
        for name, given, expected in (
            ("optimizer_variables", optimizer_variables, own),
            ("trainable_variables", trainable_variables, weights),
        ):
            if len(given) != len(expected):
                raise ValueError(f"{self.name}: stateless_apply got {len(given)} {name}; expected {len(expected)}.")
        pure = functional(lambda grads: self.apply(grads, weights), [*weights, *own])
        _, new = pure([*map(jnp.asarray, trainable_variables), *map(jnp.asarray, optimizer_variables)], list(grads))
        return new[: len(weights)], new[len(weights) :]

    def scale_loss(self, loss: Any) -> Any:
        """The loss that is to be differentiated: times ``loss_scale_factor``, where there is one."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # ---- Config ----

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__`` that make an equal optimizer; a schedule as what ``schedules.serialize`` gives."""
        rate = float(self._learning_rate.numpy()) if self.schedule is None else schedules.config_of(self.schedule)
        own = {k: v for k, v in vars(self).items() if not k.startswith("_") and k not in ("iterations", "schedule")}
        return {"learning_rate": rate, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Optimizer:
        """An optimizer from what ``get_config`` gave.

        Args:
            config: arguments of ``__init__``.
            custom_objects: classes of schedules of one's own, by name.
        """
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            config = {**config, "learning_rate": schedules.deserialize(rate, custom_objects)}
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.get_config()}>"


class OptaxOptimizer(Optimizer):
    """Any ``optax.GradientTransformation`` as it is: its updates are added, its own learning rate counts.

    Args:
        transformation: of optax.
        name: first part of the slots' paths.
        **common: see ``Optimizer``; weights decay by ``weight_decay`` itself, as the learning rate is the transformation's.
    """

    def __init__(self, transformation: Any, name: str = "optax", **common: Any):
        super().__init__(1.0, name=name, **common)
        self._given = transformation

    def transformation(self, rate: Any) -> Any:
        return self._given

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["learning_rate"]
        return {"transformation": self._given, **config}

    def _moved(self, value: Any, update: Any) -> Any:
        return value + update


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, a class, a config, an Optimizer, or an ``optax.GradientTransformation``."""
    if isinstance(identifier, Optimizer):
        return identifier
    if hasattr(identifier, "init") and hasattr(identifier, "update"):
        return OptaxOptimizer(identifier)
    made = registry.get(identifier)
    made = made() if isinstance(made, type) else made
    if not isinstance(made, Optimizer):
        raise TypeError(f"optimizer={identifier!r}; expected a name, an Optimizer or an optax.GradientTransformation.")
    return made


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer as a dict, which Keras reads, too: its class and its config.

    Example:
        >>> import pellucid
        >>> config = pellucid.optimizers.serialize(pellucid.optimizers.Lion(0.25))
        >>> config["class_name"], pellucid.optimizers.deserialize(config)
        ('Lion', <Lion {'learning_rate': 0.25, ...}>)
    """
    return serialize_keras_object(optimizer)


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Optimizer:
    """The optimizer that ``serialize`` told.

    Args:
        config: its class and its config.
        custom_objects: classes of one's own, by name.
    """
    with CustomObjectScope(custom_objects or {}):
        return registry.get(config)


def _clear(variables: Sequence[Variable]) -> None:
    for variable in variables:
        variable.assign(jnp.zeros(variable.shape, variable.dtype))
