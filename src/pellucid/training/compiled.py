"""What ``compile`` was told, matched with a model's outputs: which loss, weight and metrics belong to which output."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid import losses as losses_module
from pellucid import metrics as metrics_module
from pellucid.core import dtypes, explain, frame, jax_compat
from pellucid.core.masks import mask_of
from pellucid.core.variable import Variable
from pellucid.errors import DataWarning, did_you_mean
from pellucid.graph.signature import Open
from pellucid.losses import Loss, SparseCategoricalCrossentropy
from pellucid.metrics import Metric
from pellucid.optimizers import Optimizer


@dataclasses.dataclass
class Settings:
    """The arguments of ``compile``."""

    optimizer: Optimizer
    loss: Any = None
    loss_weights: Any = None
    metrics: Any = None
    weighted_metrics: Any = None
    run_eagerly: bool = False
    jit_compile: Any = "auto"
    steps_per_execution: int | str = "auto"
    nan: str | None = None

    def check_names(self) -> None:
        """Raises for names of losses and metrics that do not exist, before any data is seen."""
        for leaf in jax.tree.leaves(self.loss, is_leaf=callable):
            losses_module.get(leaf)
        for leaf in jax.tree.leaves((self.metrics, self.weighted_metrics), is_leaf=callable):
            if leaf not in ("accuracy", "acc", "crossentropy", "ce"):
                metrics_module.get(leaf)


class LossTracker:
    """Running means of the total loss and of each output's loss, weighted by rows, in one variable: ``[sums..., rows]``."""

    def __init__(self, names: list[str]):
        self.names = names
        self.state = Variable(np.zeros(len(names) + 1, dtypes.wide_floatx()), trainable=False, name="losses")
        self.state.path = "losses"
        self.state.transient = True  # type: ignore[attr-defined]  # no part of what is saved
        self._ready: list[jax.Array] = []

    def ahead(self) -> None:
        """Makes what a later ``reset`` puts in place: while the device computes, that costs nothing."""
        if len(self._ready) < 2:  # for a validation and for the next epoch
            self._ready.append(self.state.own(np.zeros(self.state.shape)))

    def reset(self) -> None:
        """Starts the means anew."""
        if self._ready and frame.active_frame() is None:
            self.state.array = self._ready.pop()
        else:
            self.state.assign(np.zeros(self.state.shape))

    def update(self, values: list[Any], rows: Any) -> None:
        kind = self.state.dtype
        self.state.assign(self.state.value + jnp.stack([*(jnp.asarray(v, kind) * rows for v in values), jnp.asarray(rows, kind)]))

    def result(self) -> dict[str, Any]:
        state = self.state.value
        means = state[:-1] / jnp.maximum(state[-1], 1)
        return {name: means[i] for i, name in enumerate(self.names)}


@dataclasses.dataclass
class OutputMetric:
    """A metric of one output, its name in the logs, and whether it takes the sample weights."""

    metric: Metric
    output: int
    log_name: str
    weighted: bool

    def takes_weights(self) -> bool:
        """Whether sample weights can be given to the metric: one of a user's may take none."""
        return "sample_weight" in inspect.signature(self.metric.update_state).parameters


class Objective:
    """Losses and metrics for a model with given outputs.

    Args:
        settings: from ``compile``.
        outputs: the model's outputs, or their shapes.
        names: one for each output.
        y: targets, or their shapes; None where there are none.
        with_losses: whether the model adds losses of its own.
        held: metrics that the model and its layers hold and update in ``call``.
    """

    def __init__(self, settings: Settings, outputs: Any, names: list[str], y: Any, with_losses: bool = False, held: Sequence[Metric] = ()):
        self.settings, self.held = settings, list(held)
        self.names = names
        leaves, self.tree = jax.tree.flatten(outputs)
        self.count = len(leaves)
        self.losses: list[Loss | None] = [
            None if given is None else losses_module.get(given) for given in self._for_outputs(settings.loss, "loss", broadcast=True)
        ]
        if not any(self.losses) and not with_losses:
            raise ValueError("compile: loss=None, and `call` adds no loss with add_loss; expected a loss, for example loss='mse'.")
        self.weights = [1.0 if w is None else _number("loss_weights", w) for w in self._for_outputs(settings.loss_weights, "loss_weights")]
        with_loss = [f"{name}_loss" for name, loss in zip(names, self.losses, strict=True) if loss is not None]
        self.loss_names = with_loss if len(with_loss) > 1 else []
        self.tracker = LossTracker(["loss", *self.loss_names])
        targets = [None] * self.count if y is None else self.targets(y)
        self.metrics: list[OutputMetric] = []
        for argument, weighted in (("metrics", False), ("weighted_metrics", True)):
            given = getattr(settings, argument)
            for output, some in enumerate(self._metrics_for_outputs(given, argument)):
                for one in some:
                    metric = (
                        metrics_module.resolve(one, targets[output], leaves[output])
                        if targets[output] is not None
                        else metrics_module.get(one)
                    )
                    self._add_metric(metric, output, weighted)

    # ---- Matching ----

    def _add_metric(self, metric: Metric, output: int, weighted: bool) -> None:
        """Enters a metric, under a name of its own in the logs."""
        if any(m.metric is metric for m in self.metrics):
            raise ValueError(
                f"compile: the metric object {metric.name!r} is given more than once, and its state would mix what it is given for; "
                "expected an object (or a name) for each use."
            )
        prefix = f"{self.names[output]}_" if self.count > 1 else ""
        weighted_name = f"weighted_{metric.name}" if weighted else metric.name
        taken = {*self.tracker.names, *(m.log_name for m in self.metrics)}
        candidates = [metric.name, weighted_name, *(f"{weighted_name}_{i}" for i in range(1, len(taken) + 1))]
        log_name = next(prefix + name for name in candidates if prefix + name not in taken)
        self.metrics.append(OutputMetric(metric, output, log_name, weighted))

    def _for_outputs(self, given: Any, argument: str, broadcast: bool = False) -> list[Any]:
        if given is None:
            return [None] * self.count
        if isinstance(given, dict):
            unknown = next((k for k in given if k not in self.names), None)
            if unknown is not None:
                raise ValueError(
                    f"compile: {argument} names an output {unknown!r} that the model does not have. {did_you_mean(unknown, self.names)}"
                )
            return [given.get(name) for name in self.names]
        if isinstance(given, list | tuple):
            if len(given) != self.count:
                raise ValueError(
                    f"compile: {argument} has {len(given)} entries; expected {self.count}, one for each output ({', '.join(self.names)})."
                )
            return list(given)
        if self.count > 1 and not broadcast:
            raise ValueError(f"compile: {argument}={given!r}; expected a list or dict with one for each output ({', '.join(self.names)}).")
        return [given] * self.count

    def _metrics_for_outputs(self, given: Any, argument: str) -> list[list[Any]]:
        if self.count == 1 and isinstance(given, list | tuple) and not any(isinstance(g, list | tuple) for g in given):
            return [list(given)]
        if (
            isinstance(given, list | tuple)
            and self.count > 1
            and not any(isinstance(g, list | tuple) for g in given)
            and len(given) != self.count
        ):
            raise ValueError(
                f"compile: {argument} has {len(given)} entries; expected one entry (or list) for each of {self.count} outputs."
            )
        chosen = self._for_outputs(given, argument, broadcast=True)
        return [[] if g is None else list(g) if isinstance(g, list | tuple) else [g] for g in chosen]

    def targets(self, y: Any) -> list[Any]:
        """One target for each output, in the order of the outputs."""
        if y is None:
            return [None] * self.count
        if isinstance(y, dict) and not any(isinstance(v, dict | list | tuple) for v in y.values()):
            return self._by_name(y, "y")
        leaves = jax.tree.leaves(y)
        if len(leaves) != self.count:
            raise ValueError(
                f"y holds {len(leaves)} arrays and the model has {self.count} outputs ({', '.join(self.names)}); "
                "expected one target for each output."
            )
        return leaves

    def look_at_class_numbers(self, y: Any, outputs: Any, where: str) -> None:
        """Warns of targets that are no class of a sparse loss: it counts them as 0, and nothing would be learned from them."""
        for name, loss, target, output in zip(self.names, self.losses, self.targets(y), jax.tree.leaves(outputs), strict=True):
            if not isinstance(loss, SparseCategoricalCrossentropy) or not isinstance(target, np.ndarray) or not target.size:
                continue
            classes = output.shape[loss.axis]
            if target.min() >= 0 and target.max() < classes:
                continue
            wrong = target[(target < 0) | (target >= classes)]
            wrong = wrong if loss.ignore_class is None else wrong[wrong != loss.ignore_class]
            if wrong.size:
                explain.warn(
                    f"{where}: {wrong.size} of {target.size} targets of output {name!r} are no class of it, such as {wrong[0]}; expected "
                    f"numbers from 0 to {classes - 1}. Their loss counts as 0: number the classes from 0, or give the layer more units.",
                    DataWarning,
                )

    def _by_name(self, given: dict[str, Any], argument: str) -> list[Any]:
        unknown = next((k for k in given if k not in self.names), None)
        if unknown is not None:
            raise ValueError(f"{argument} names an output {unknown!r} that the model does not have. {did_you_mean(unknown, self.names)}")
        return [given.get(name) for name in self.names]

    def sample_weights(self, sample_weight: Any) -> list[Any]:
        """One weight array for each output: a single one serves all."""
        if isinstance(sample_weight, dict):
            return self._by_name(sample_weight, "sample_weight")
        leaves = jax.tree.leaves(sample_weight)
        if len(leaves) not in (0, 1, self.count):
            raise ValueError(f"sample_weight holds {len(leaves)} arrays; expected one, or one for each of {self.count} outputs.")
        return leaves if len(leaves) == self.count else (leaves or [None]) * self.count

    # ---- Computing ----

    def loss(self, y: Any, outputs: Any, sample_weight: Any, rows: Any, added: list[Any]) -> tuple[Any, list[Any]]:
        """(total to minimise, [total, each output's loss]) of one batch.

        Args:
            y: targets.
            outputs: of the model.
            sample_weight: weights or None.
            rows: 0 or 1 for each row (0: padding), or None.
            added: what ``add_loss`` was given.
        """
        leaves, targets, weights = jax.tree.leaves(outputs), self.targets(y), self.sample_weights(sample_weight)
        total, parts = sum(added, jnp.zeros((), dtypes.wide_floatx())) if added else None, []
        for name, loss, factor, target, output, weight in zip(self.names, self.losses, self.weights, targets, leaves, weights, strict=True):
            if loss is None:
                continue
            if target is None:
                raise ValueError(
                    f"y has no target for output {name!r}, which has the loss {loss.name!r}; expected an array, or no loss for it."
                )
            with jax.named_scope(f"loss:{loss.name}"):  # profiles and errors name it
                value = loss(target, output, sample_weight=weight, rows=rows)
            if jnp.ndim(value):
                raise ValueError(
                    f"compile: the loss {loss.name!r} of output {name!r} gives shape {value.shape}, with reduction={loss.reduction!r}; "
                    "expected one number to minimise: give it reduction='sum_over_batch_size', or 'sum'."
                )
            parts.append(value)
            weighted = value if factor == 1.0 else factor * value
            total = weighted if total is None else total + weighted
        return total, [total, *(parts if self.loss_names else [])]

    def update_metrics(self, y: Any, outputs: Any, sample_weight: Any, rows: Any) -> None:
        """Updates the metrics with one batch."""
        leaves, targets, weights = jax.tree.leaves(outputs), self.targets(y), self.sample_weights(sample_weight)
        for m in self.metrics:
            weight = weights[m.output] if m.weighted else None
            mask = mask_of(leaves[m.output])
            if mask is not None and m.takes_weights():  # padding does not count
                mask = mask.astype(dtypes.floatx())
                weight = mask if weight is None else mask * weight.reshape(*weight.shape, *[1] * (mask.ndim - weight.ndim))
            if rows is not None:
                weight = rows if weight is None else weight * rows.reshape(-1, *[1] * (weight.ndim - 1))
            given = {} if weight is None else {"sample_weight": weight}  # not every metric of a user takes weights
            if targets[m.output] is not None:
                m.metric.update_state(targets[m.output], leaves[m.output], **given)

    def results(self) -> dict[str, Any]:
        """The logs: the losses' means and the metrics' results so far."""
        logs = self.tracker.result()
        for m in self.metrics:
            value = m.metric.result()
            logs.update(
                {f"{m.log_name}_{k}" if k in logs else k: v for k, v in value.items()} if isinstance(value, dict) else {m.log_name: value}
            )
        for metric in self.held:
            value = metric.result()
            for name, one in value.items() if isinstance(value, dict) else [(metric.name, value)]:
                logs.setdefault(name, one)
        return logs

    @property
    def variables(self) -> list[Variable]:
        """The states of losses and metrics."""
        return [self.tracker.state, *(v for m in (*(m.metric for m in self.metrics), *self.held) for v in m.variables)]

    def computing_parts(self) -> list[Any]:
        """The losses and metrics, which a program holds as constants."""
        return [x for x in (*self.losses, *(m.metric for m in self.metrics), *self.held) if x is not None]

    def reset(self) -> None:
        """Starts the means anew."""
        self.tracker.reset()
        for metric in (*(m.metric for m in self.metrics), *self.held):
            metric.reset_state()


def kinds_of(outputs: Sequence[Any], y: Sequence[Any]) -> tuple:
    """What losses and metrics ask of outputs and targets: ranks, data types and the sizes of last axes that are no lengths."""
    rank = max((len(o.shape) for o in outputs), default=0)
    are_lengths = any(len(o.shape) == rank and _is_length(o) for o in outputs)
    kinds = [(len(o.shape), None if _is_length(o) else o.shape[1:][-1:], str(o.dtype)) for o in outputs]
    for target in y:
        plain = len(target.shape) < rank or are_lengths or _is_length(target)  # class numbers, or one number for each step
        kinds.append((len(target.shape), None if plain else target.shape[1:][-1:], str(target.dtype)))
    return tuple(kinds)


def _is_length(array: Any) -> bool:
    """Whether the last axis has an open size."""
    return len(array.shape) > 1 and isinstance(array.shape[-1], Open | jax_compat.SymbolicSize)


def _number(argument: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"compile: {argument} holds {value!r}; expected numbers.") from None
