"""Metrics by name, by class, by function."""

from __future__ import annotations

from typing import Any

from pellucid import losses
from pellucid.core.serialization import custom_object_scope, serialize_keras_object
from pellucid.losses.lookup import kind_of_labels
from pellucid.losses.loss import Loss
from pellucid.losses.loss import registry as loss_registry
from pellucid.metrics import accuracies, from_losses
from pellucid.metrics.mean import MeanMetricWrapper, MeanOfLoss
from pellucid.metrics.metric import Metric, metrics

ACCURACIES: dict[str, type[Metric]] = {
    "binary": accuracies.BinaryAccuracy,
    "sparse": accuracies.SparseCategoricalAccuracy,
    "categorical": accuracies.CategoricalAccuracy,
}
CROSSENTROPIES: dict[str, type[Metric]] = {
    "binary": from_losses.BinaryCrossentropy,
    "sparse": from_losses.SparseCategoricalCrossentropy,
    "categorical": from_losses.CategoricalCrossentropy,
}
BY_SHAPES = {"accuracy": ACCURACIES, "acc": ACCURACIES, "crossentropy": CROSSENTROPIES, "ce": CROSSENTROPIES}


def get(identifier: Any) -> Any:
    """The Metric for a name, a config, a class, a Loss or a function; a Metric is itself, None stays None.

    A metric made from a name has that name; a function ``(y_true, y_pred) -> values`` becomes a ``MeanMetricWrapper``
    named after it. Names of losses without a metric class of their own are known as well.

    Raises:
        ValueError: the name is not known; the message suggests one.

    Example:
        >>> from pellucid import metrics
        >>> metrics.get("mae")
        <MeanAbsoluteError name=mae>
    """
    if identifier is None or isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, Loss):
        return MeanOfLoss(identifier)
    if isinstance(identifier, str) and identifier not in metrics.entries and identifier in loss_registry.entries:
        return MeanOfLoss(losses.get(identifier), identifier)
    if isinstance(identifier, str):
        named = identifier in metrics.entries
        return metrics.entries[identifier](name=identifier) if named else metrics.get(identifier)
    found = metrics.get(identifier)
    if isinstance(found, Loss):  # from a class
        return MeanOfLoss(found)
    return found if isinstance(found, Metric) else MeanMetricWrapper(found)


def resolve(identifier: Any, y_true: Any, y_pred: Any, loss_name_hint: str | None = None) -> Any:
    """Like ``get``, for known data: "accuracy" and "crossentropy" become the form that the shapes ask for.

    Args:
        identifier: as in ``get``; "acc" and "ce" are short for the two.
        y_true: targets, as arrays or as ``jax.ShapeDtypeStruct``.
        y_pred: predictions, likewise.
        loss_name_hint: name of the loss that goes with them, for error messages.

    Example:
        >>> import numpy as np
        >>> from pellucid import metrics
        >>> metrics.resolve("accuracy", np.zeros((8,)), np.zeros((8, 10)))
        <SparseCategoricalAccuracy name=accuracy>
    """
    forms = BY_SHAPES.get(identifier.lower()) if isinstance(identifier, str) else None
    if forms is None:
        metric = get(identifier)
    else:
        beside = f" (with loss {loss_name_hint!r})" if loss_name_hint else ""
        metric = forms[kind_of_labels(y_true, y_pred, f"Metric {identifier!r}{beside}")](name=identifier)
    if metric is not None:
        metric.build(y_true, y_pred)
    return metric


def serialize(metric: Any) -> dict[str, Any]:
    """A metric, or a function by name, as plain data, from which ``deserialize`` makes an equal one."""
    return serialize_keras_object(metric)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The metric that ``serialize`` described."""
    with custom_object_scope(custom_objects or {}):
        return get(config)
