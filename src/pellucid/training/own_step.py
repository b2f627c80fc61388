"""Steps of the user's own: ``train_step`` and its like are captured once, as ``call`` is, and compiled as the built-in ones are."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

from pellucid.core.hooks import Hooks
from pellucid.core.layer import Layer
from pellucid.core.tree import Held
from pellucid.core.variable import Variable
from pellucid.losses import Loss
from pellucid.metrics import Metric
from pellucid.optimizers import Optimizer

_Function = TypeVar("_Function", bound=Callable)
running: contextvars.ContextVar[str | None] = contextvars.ContextVar("pellucid_running_step", default=None)  # eagerly
_PARTS = {
    "train": ("train_step", "compute_loss", "compute_metrics"),
    "test": ("test_step", "compute_loss", "compute_metrics"),
    "predict": ("predict_step",),
}


def built_in(function: _Function) -> _Function:
    """Marks a method of ``Model`` whose work the compiled steps do by themselves, as long as nobody overrides it."""
    function.is_built_in = True  # type: ignore[attr-defined]
    return function


def own_step(layer: Layer, purpose: str) -> str | None:
    """The name of the step that the user's code is part of, such as "train_step", or None where all of it is built in."""
    functions = [getattr(layer, name, None) for name in _PARTS[purpose]]
    if all(f is None or getattr(f, "is_built_in", False) for f in functions):
        return None
    return _PARTS[purpose][0]


def pack(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """What a step gets as ``data``: ``x`` alone, ``(x, y)`` or ``(x, y, sample_weight)``.

    Example:
        >>> from pellucid.utils import pack_x_y_sample_weight
        >>> pack_x_y_sample_weight(1, 2)
        (1, 2)
    """
    if sample_weight is not None:
        return x, y, sample_weight
    if y is not None:
        return x, y
    return (x,) if isinstance(x, list | tuple) else x


def unpack(data: Any) -> tuple[Any, Any, Any]:
    """``(x, y, sample_weight)`` of what a step gets as ``data``, with None for what is not there.

    Example:
        >>> from pellucid.utils import unpack_x_y_sample_weight
        >>> unpack_x_y_sample_weight((1, 2))
        (1, 2, None)

    Raises:
        ValueError: for a tuple of more than three entries.
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"data has {len(data)} entries; expected x, (x, y) or (x, y, sample_weight): put several inputs into one tuple.")
    return (*data, *[None] * (3 - len(data)))  # type: ignore[return-value]


class StepLayer(Layer):
    """Stands for a step of a model where layers are captured: its ``call`` is the step.

    Args:
        model: whose step it is.
        function: name of the method.
    """

    def __init__(self, model: Layer, function: str):
        super().__init__(name=function, dtype="float32", autocast=False)
        self._of = Held(model)
        self.function = function

    def _flatten_layers(self) -> list[Layer]:
        return [self, *self._of.layer._flatten_layers()]

    def call(self, data: Any) -> Any:
        """The outputs of ``predict_step``, else the logs by name, in the order in which the step gives them."""
        model = self._of.layer
        step = getattr(model, self.function)
        if self.function != "predict_step":
            _make_metrics(model, data)
        outputs = _run_stateless(model, step, data) if takes_state(step) else step(data)
        if self.function == "predict_step":
            return outputs
        if not isinstance(outputs, dict):
            raise TypeError(
                f"{self.function} of {type(model).__name__} returned {'None' if outputs is None else f'a {type(outputs).__name__}'}; "
                "expected a dict of the logs, such as {'loss': loss}."
            )
        return collections.OrderedDict(outputs)


def _make_metrics(model: Any, data: Any) -> None:
    """Matches the metrics of ``compile`` with the outputs of ``call``, so that a step can go over ``self.metrics``."""
    settings, graph = model._machine.settings, model.graph
    if settings is None or graph is None or (settings.loss is None and not settings.metrics and not settings.weighted_metrics):
        return
    with contextlib.suppress(ValueError, TypeError):  # a step may use other targets: then compute_loss tells, if it is used
        model._objective_of(unpack(data)[1], graph.output_specs(1), model._machine.adds_losses(graph))


def takes_state(step: Callable) -> bool:
    """Whether a step is of the form ``step(state, data)``, as Keras on JAX has it."""
    parameters = inspect.signature(step).parameters.values()
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters) == 2


def _run_stateless(model: Any, step: Callable, data: Any) -> Any:
    """Runs a step of the form ``(state, data) -> (logs, state)``, whose state is that of the model."""
    purpose = step.__name__.removesuffix("_step")
    before = state_of(model, purpose)
    outputs, state = step(before, data)
    if purpose == "predict":  # gives the variables that are not trained, alone
        state = before[0], state
    assign_state(model, purpose, state, step.__name__)
    return outputs


def _state_parts(model: Any, purpose: str) -> list[list[Variable]]:
    parts = [model.trainable_variables, model.non_trainable_variables]
    if model.optimizer is not None and purpose == "train":
        model.optimizer.build(parts[0])
        parts.append(model.optimizer.variables)
    return parts if purpose == "predict" else [*parts, model.metrics_variables]


def state_of(model: Any, purpose: str) -> tuple[list[Any], ...]:
    """The state as Keras on JAX has it: values of the trainable variables, of the others, of the optimizer's
    (in training), of metrics' (but in prediction)."""
    return tuple([v.value for v in part] for part in _state_parts(model, purpose))


def assign_state(model: Any, purpose: str, state: Any, where: str, verb: str = "returned") -> None:
    """Puts a state into the model.

    Raises:
        ValueError: for one of another form. Nothing has changed then.
    """
    parts, told = _state_parts(model, purpose), f"{where} of {type(model).__name__} {verb} a state of"
    if len(state) != len(parts):
        raise ValueError(f"{told} {len(state)} parts; expected {len(parts)}.")
    for number, (part, values) in enumerate(zip(parts, state, strict=True)):
        if len(part) != len(values):
            raise ValueError(f"{told} {len(values)} values in part {number}; expected {len(part)}.")
    for part, values in zip(parts, state, strict=True):
        for variable, value in zip(part, values, strict=True):
            variable.assign(value)


# ---- What a model holds beside its layers ----


def metrics_of(layer: Layer) -> list[Metric]:
    """The metrics in attributes of a model and its layers, also in lists and dicts."""
    return [x for x in _held(layer) if isinstance(x, Metric)]


Hooks.metrics_of = metrics_of


def computing_parts(layer: Layer) -> list[Any]:
    """The losses, metrics and optimizers in attributes of a model and its layers, with which its own steps compute."""
    return list(_held(layer))


def _held(layer: Layer) -> Iterator[Any]:
    seen: set[int] = set()
    for inner in layer._flatten_layers():
        waiting: list[Any] = list(reversed(vars(inner).values()))
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict | list | tuple) and len(value) < 1000:
                waiting.extend(reversed(value.values() if isinstance(value, dict) else value))  # type: ignore[call-overload]
            elif isinstance(value, Metric | Loss | Optimizer) and id(value) not in seen:
                seen.add(id(value))
                yield value


def specs_of(tree: Any) -> Any:
    """``ShapeDtypeStruct``s of arrays, traced or not."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)
