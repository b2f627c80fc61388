"""Steps: what happens with one batch, as functions that are stateful to look at and pure to compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import jax_compat
from pellucid.core.frame import Traced, value_and_grad
from pellucid.core.variable import Variable
from pellucid.graph import rows as rows_module
from pellucid.graph.graph import Graph
from pellucid.metrics import MeanMetricWrapper
from pellucid.optimizers import LossScaleOptimizer, Optimizer
from pellucid.training.compiled import Objective
from pellucid.training.own_step import pack

Forward = Callable[[Any], tuple[Any, list[Any]]]  # inputs -> (outputs, losses that `call` added)


def train_step(
    forward: Forward, objective: Objective, optimizer: Optimizer, variables: Sequence[Variable], written: Sequence[Variable] = ()
) -> Callable:
    """``step((x, y, sample_weight), rows, count)``: loss, gradients, update, running means.

    Args:
        forward: what is computed.
        objective: losses and metrics.
        optimizer: that changes the variables.
        variables: that are trained.
        written: by the forward pass, such as moving statistics.
    """
    scales = isinstance(optimizer, LossScaleOptimizer)
    statistics = [v for v in written if v not in set(variables) and jnp.issubdtype(v.dtype, jnp.floating)] if scales else []

    def step(batch: tuple, rows: Any, count: Any) -> dict:
        x, y, sample_weight = batch
        before = [v.value for v in statistics]

        def loss_of_weights() -> tuple[Any, Any]:
            outputs, added = forward(x)
            total, parts = objective.loss(y, outputs, sample_weight, rows, added)
            return optimizer.scale_loss(total), (outputs, parts)

        (_, (outputs, parts)), grads = value_and_grad(loss_of_weights, variables, has_aux=True)()
        optimizer.apply(grads, variables)
        if statistics:  # a step that is left out leaves them, too: what overflowed would stay in them
            with jax.named_scope(f"optimizer:{optimizer.name}"):
                finite = optimizer.check_finite(grads)  # type: ignore[attr-defined]
                for v, old in zip(statistics, before, strict=True):
                    v.assign(jnp.where(finite, v.value, old))
        with jax.named_scope("metric:update"):
            objective.tracker.update(parts, count)
            objective.update_metrics(y, outputs, sample_weight, rows)
        return {}

    return step


def test_step(forward: Forward, objective: Objective) -> Callable:
    """``step((x, y, sample_weight), rows, count)``: loss and running means."""

    def step(batch: tuple, rows: Any, count: Any) -> dict:
        x, y, sample_weight = batch
        outputs, added = forward(x)
        _, parts = objective.loss(y, outputs, sample_weight, rows, added)
        with jax.named_scope("metric:update"):
            objective.tracker.update(parts, count)
            objective.update_metrics(y, outputs, sample_weight, rows)
        return {}

    return step


def predict_step(forward: Forward) -> Callable:
    """``step((x, None, None), rows, count)``: the outputs."""

    def step(batch: tuple, rows: Any, count: Any) -> Any:
        return forward(batch[0])[0]

    return step


def own_step(graph: Graph, batch_size: int) -> Callable:
    """``step((x, y, sample_weight), rows, count)``: what the graph of a step of the user's own gives."""

    def step(batch: tuple, rows: Any, count: Any) -> Any:
        return graph.run(pack(*batch), False, batch_size)[0]

    return step


def objective_coupling(objective: Objective, outputs: Any, y: Any) -> str | None:
    """None where padded rows cannot change losses and metrics: losses are proved row by row, metrics take zero weights.

    Args:
        objective: losses and metrics.
        outputs: ``ShapeDtypeStruct``s of the outputs at any batch size.
        y: those of the targets.
    """
    leaves, targets = jax.tree.leaves(outputs), objective.targets(y)
    functions = [(f"loss {loss.name!r}", loss.values, i) for i, loss in enumerate(objective.losses) if loss is not None]
    for m in objective.metrics:
        own = type(m.metric).update_state.__module__.split(".")[0] == "pellucid"
        if own and isinstance(m.metric, MeanMetricWrapper):
            functions.append((f"metric {m.log_name!r}", m.metric.values, m.output))
        elif not own:
            return f"the metric {m.log_name!r} is not one of Pellucid's, so that padded rows might count"
    batch = jax_compat.batch_symbol()
    for name, function, output in functions:
        if targets[output] is None:
            continue
        specs = [jax.ShapeDtypeStruct((batch, *a.shape[1:]), jnp.dtype(a.dtype)) for a in (targets[output], leaves[output])]
        try:
            jaxpr = Traced(function, *specs).jaxpr
        except Exception as error:
            return f"the {name} cannot be captured for any batch size ({type(error).__name__})"
        found = rows_module.coupling(jaxpr, True)
        if found is None and any(not rows_module.is_batch(v) for v in rows_module.parts(jaxpr).outvars):
            return f"the {name} gives no value for each row"
        if found is not None:
            return f"in the {name}, {found}"
    return None
