"""Metric: state that batches add to, and a result computed from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes, frame, naming, registry, serialization
from pellucid.core.registry import Registry
from pellucid.core.variable import Variable

metrics = Registry("metric", home="pellucid.metrics")


def entered(*aliases: str) -> Any:
    """A decorator: enters a class under its own name, its name in snake case, and others."""
    return lambda cls: metrics.add(cls, naming.snake_case(cls.__name__), *aliases)


class Metric:
    """A number that describes many batches. Subclasses define ``update_state`` and ``result``.

    Keep the state in few variables (one of several elements, rather than several): each costs time in a compiled step.
    Where a batch is padded, the padding rows come with a sample weight of 0, which must leave the state as it was.

    Args:
        name: by default the class's name in snake case, made unique.
        dtype: data type of state and result, by default ``floatx()``, but of 32 bits at least: counts need them.

    Example:
        >>> import jax.numpy as jnp
        >>> from pellucid import metrics
        >>> class Largest(metrics.Metric):
        ...     def __init__(self, name="largest"):
        ...         super().__init__(name)
        ...         self.seen = self.add_variable((), name="seen")
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.seen.assign(jnp.maximum(self.seen, jnp.max(abs(y_true - y_pred))))
        ...     def result(self):
        ...         return self.seen.value
        >>> largest = Largest()
        >>> float(largest(jnp.array([1.0]), jnp.array([3.0])))
        2.0
    """

    _variables: list[Variable]
    _recorded: serialization.Recorded

    def __new__(cls, *args: Any, **kwargs: Any) -> Metric:
        metric = object.__new__(cls)
        metric._variables, metric._recorded = [], serialization.Recorded(args, kwargs)
        return metric

    def __init__(self, name: str | None = None, dtype: Any = None):
        self.name = name or naming.unique_name(naming.snake_case(type(self).__name__))
        dtype = dtypes.standardize_dtype(dtype)
        self.dtype = "float32" if dtype in ("float16", "bfloat16") else dtype

    # ---- What users write ----

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Adds a batch, usually ``(y_true, y_pred, sample_weight=None)``. Changes variables by ``assign`` only."""
        raise NotImplementedError(f"{type(self).__name__} has no update_state. Define `def update_state(self, y_true, y_pred, …)`.")

    def result(self) -> Any:
        """The value so far: an array, or a dict of arrays by name."""
        raise NotImplementedError(f"{type(self).__name__} has no result method. Define `def result(self): …`.")

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Makes the variables whose shapes depend on the data: arrays or ``jax.ShapeDtypeStruct``. Before the first batch."""

    def add_variable(self, shape: Sequence[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None) -> Variable:
        """Makes a variable of the state.

        Args:
            shape: tuple of ints.
            initializer: name or callable; zeros by default. ``reset_state`` returns to zeros whatever it is, as in Keras.
            dtype: by default that of the metric.
            name: last part of its path.
        """
        make = registry.initializers.get(initializer if initializer is not None else "zeros")
        variable = Variable(make, tuple(shape), dtype or self.dtype, trainable=False, name=name or "variable")
        variable.path = f"{self.name}/{variable.name}"
        variable.transient = True  # type: ignore[attr-defined]  # no part of what is saved with a model
        self._variables.append(variable)
        return variable

    def add_weight(self, shape: Sequence[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None) -> Variable:
        """Another name of ``add_variable``."""
        return self.add_variable(shape, initializer, dtype, name)

    # ---- What the library does with it ----

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Adds a batch and returns the result."""
        self.update_state(*args, **kwargs)
        return self.result()

    def reset_state(self) -> None:
        """Forgets all batches."""
        for variable in self._own_variables():
            variable.assign(np.zeros(variable.shape, variable.dtype))
        for metric in self._held(Metric):
            metric.reset_state()

    @property
    def variables(self) -> list[Variable]:
        """The state, that of metrics among the attributes included."""
        nested = [variable for metric in self._held(Metric) for variable in metric.variables]
        return list(dict.fromkeys([*self._own_variables(), *nested]))

    def _own_variables(self) -> list[Variable]:
        return list(dict.fromkeys([*self._variables, *self._held(Variable)]))

    def _held(self, kind: type) -> Iterator[Any]:
        """The attributes of a kind, those in lists, tuples and dicts included."""
        waiting = [vars(self)]
        while waiting:
            held: Any = waiting.pop()
            for value in held.values() if isinstance(held, dict) else held:
                if isinstance(value, kind):
                    yield value
                elif isinstance(value, list | tuple | dict):
                    waiting.append(value)  # type: ignore[arg-type]

    def stateless_update_state(self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any) -> list[Any]:
        """The values of ``variables`` after a batch, given those before it. Nothing changes."""
        return self._pure(lambda: self.update_state(*args, **kwargs), metric_variables)[1]

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The result for the given values of ``variables``."""
        return self._pure(self.result, metric_variables)[0]

    def stateless_reset_state(self) -> list[Any]:
        """The values of ``variables`` after ``reset_state``. Nothing changes."""
        return self._pure(self.reset_state, [variable.value for variable in self.variables])[1]

    def _pure(self, function: Any, values: Sequence[Any]) -> tuple[Any, list[Any]]:
        variables = self.variables
        if len(values) != len(variables):
            raise ValueError(f"Metric {self.name!r}: metric_variables has {len(values)} values; expected {len(variables)}.")
        return frame.functional(function, variables)([jnp.asarray(value) for value in values])

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal metric, as plain data."""
        return serialization.config_of(self, Metric, self._recorded)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """The metric that ``get_config`` described."""
        return cls(**serialization.arguments_from(cls, config))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
