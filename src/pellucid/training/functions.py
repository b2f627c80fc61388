"""``make_train_function`` and its like: a step as a function of an iterator over batches, which a model may wrap.

The built-in ones dispatch the same programs as ``fit`` does, a step at a time. ``fit``, ``evaluate`` and ``predict`` call a function only
where it is the user's own; else they have no need of one, and many steps go in one dispatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from pellucid.training.batch_logs import Logs
from pellucid.training.data import ArrayData, Block
from pellucid.training.data.feed import Plan
from pellucid.training.machine import Machine
from pellucid.training.own_step import assign_state, pack, state_of, takes_state, unpack
from pellucid.training.programs import Form


class StepFunction:
    """A step with the next batch of an iterator: ``function(iterator)`` gives the logs, of ``predict_function`` the outputs.

    Called as Keras on JAX has it, ``function(state, iterator)``, it gives ``(logs, state)``.

    Args:
        machine: of the model.
        purpose: "train", "test" or "predict".
        step: ``step(machine, purpose, data, where)``, which runs one batch.
    """

    is_built_in = True

    def __init__(self, machine: Machine, purpose: str, step: Callable):
        self._machine, self._purpose, self._step = machine, purpose, step

    def __call__(self, *given: Any) -> Any:
        """Runs the step.

        Raises:
            TypeError: for something else than an iterator, or a state and an iterator.
            StopIteration: where the iterator has no more batches.
        """
        name = f"{self._purpose}_function"
        if len(given) not in (1, 2) or not hasattr(given[-1], "__next__"):
            kinds = ", ".join(type(g).__name__ for g in given)
            raise TypeError(f"{name} got ({kinds}); expected an iterator over batches, such as iter([(x, y)]), or a state and an iterator.")
        if len(given) == 2:
            assign_state(self._machine.layer, self._purpose, given[0], name, "got")
        x, y, sample_weight = unpack(next(given[-1]))
        if self._purpose == "predict":
            y = sample_weight = None
        data = ArrayData.check(x, y, sample_weight, name)
        outputs = self._step(self._machine, self._purpose, data, name)
        return (outputs, state_of(self._machine.layer, self._purpose)) if len(given) == 2 else outputs


def function_of(model: Any, purpose: str) -> Callable | None:
    """The ``train_function`` (or the like) of the user's own, made as the model says; None where it is built in.

    Raises:
        ValueError: where the user's ``make_train_function`` sets none.
    """
    make = getattr(model, f"make_{purpose}_function", None)
    if make is None:
        return None
    is_own = not getattr(make, "is_built_in", False)
    if is_own:
        make()
    function = getattr(model, f"{purpose}_function")
    if function is None and is_own:
        raise ValueError(
            f"make_{purpose}_function of {type(model).__name__} set no self.{purpose}_function; expected a function of an iterator. Call "
            f"super().make_{purpose}_function() and wrap what it sets."
        )
    return None if function is None or getattr(function, "is_built_in", False) else function


class FunctionRunner:
    """Runs the user's own ``train_function`` (or the like) on each batch, in the place of a dispatch.

    Args:
        inner: the runner that would do without the function: it has made the weights, and knows the means.
        model: whose function it is.
        function: takes an iterator, or a state and an iterator.
    """

    in_flight = 0

    def __init__(self, inner: Any, model: Any, function: Callable):
        self._inner, self._model, self._function = inner, model, function
        self.machine: Machine = inner.machine
        self.purpose, self.form = inner.purpose, Form(inner.batch_size, 1, False, False)
        self._tree = jax.tree.structure(inner.data.tree())

    def plan(self) -> Plan:
        return Plan(self._inner.batch_size, 1, False)

    def check(self) -> None:
        """The function is the user's: nothing is known before the first step."""

    def reset(self, epoch: int = 0) -> None:
        self._inner.reset(epoch)

    def ahead(self) -> None:
        """Nothing is computed beside."""

    def settle(self, outputs: Any = None) -> None:
        """Nothing is in flight."""

    def abandon(self) -> None:
        """Nothing is in flight."""

    def logs(self, logs: dict[str, Any]) -> dict[str, Any]:
        return {k: float(v) if np.ndim(v) == 0 else np.asarray(v) for k, v in logs.items()}

    def logs_of_steps(self, logs: dict[str, Any], first: int, steps: int) -> list[Logs]:
        """The logs of the step."""
        found = self.logs(logs)
        return [Logs(found, dict(found))]

    def run(self, block: Block) -> Iterator[tuple[int, Any, Any]]:
        batch = jax.tree.unflatten(self._tree if block.kind is None else block.kind.tree, block.arrays)
        batches, name = iter([pack(*batch)]), f"{self.purpose}_function"
        if takes_state(self._function):
            outputs, state = self._function(state_of(self._model, self.purpose), batches)
            assign_state(self._model, self.purpose, state, name)
        else:
            outputs = self._function(batches)
        if self.purpose != "predict" and not isinstance(outputs, dict):
            raise TypeError(
                f"{name} of {type(self._model).__name__} returned a {type(outputs).__name__}; expected a dict of the logs, as the function "
                f"that super().make_{self.purpose}_function() sets gives it."
            )
        yield 1, self, outputs
