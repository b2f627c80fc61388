"""Losses by name, by class, by function."""

from __future__ import annotations

from typing import Any

from pellucid.core.serialization import custom_object_scope, serialize_keras_object
from pellucid.losses import classification
from pellucid.losses.loss import FunctionLoss, Loss, registry, with_last_axis

FUNCTIONS = {
    "binary": classification.binary_crossentropy,
    "sparse": classification.sparse_categorical_crossentropy,
    "categorical": classification.categorical_crossentropy,
}


@registry.named("crossentropy", "ce")
class Crossentropy(Loss):
    """The binary, sparse or categorical crossentropy of probabilities, as the shapes of targets and predictions ask for.

    Args:
        from_logits: whether predictions are logits.
        reduction, name, dtype: as in ``Loss``.

    Example:
        >>> from pellucid import losses
        >>> round(float(losses.get("crossentropy")([1], [[0.5, 0.5]])), 4)
        0.6931
    """

    casts_labels = False

    def __init__(
        self, from_logits: bool = False, reduction: str | None = "sum_over_batch_size", name: str = "crossentropy", dtype: Any = None
    ):
        super().__init__(name, reduction, dtype)
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        kind = kind_of_labels(y_true, y_pred, self.name)
        if kind == "binary":
            y_true, y_pred = with_last_axis(y_true, y_pred)
        return FUNCTIONS[kind](y_true, y_pred, from_logits=self.from_logits)


def get(identifier: Any) -> Any:
    """The Loss for a name, a config, a class or a function; a Loss is itself, None stays None.

    A function ``(y_true, y_pred) -> values`` becomes a ``FunctionLoss`` named after it.

    Raises:
        ValueError: the name is not known; the message suggests one.

    Example:
        >>> from pellucid import losses
        >>> losses.get("mse")
        MeanSquaredError(reduction='sum_over_batch_size', name='mean_squared_error', dtype='float32')
        >>> losses.get(lambda y_true, y_pred: abs(y_true - y_pred).sum(-1)).name
        '<lambda>'
    """
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    found = registry.get(identifier)
    if isinstance(found, Loss):
        return found
    if isinstance(found, type):
        return found()
    own = registry.entries.get(getattr(found, "__name__", ""))
    return own() if own is not None and getattr(own, "function", None) is found else FunctionLoss(found)


def kind_of_labels(y_true: Any, y_pred: Any, what: str) -> str:
    """What the shapes say of the targets: "binary", "sparse" (class numbers) or "categorical" (one-hot).

    Example:
        >>> import numpy as np
        >>> from pellucid.losses.lookup import kind_of_labels
        >>> kind_of_labels(np.zeros((8,)), np.zeros((8, 10)), "accuracy")
        'sparse'
    """
    true, predicted = tuple(y_true.shape), tuple(y_pred.shape)
    if len(predicted) < 2 or predicted[-1] == 1:
        return "binary"
    if len(true) < len(predicted) or true[-1] == 1:
        return "sparse"
    if true[-1] == predicted[-1]:
        return "categorical"
    raise ValueError(
        f"{what}: y_true has shape {true} and y_pred has shape {predicted}, which fit neither binary labels nor class numbers "
        f"nor one-hot rows. Give targets of shape {predicted[:-1]} (class numbers) or {predicted} (one-hot)."
    )


def serialize(loss: Any) -> dict[str, Any]:
    """A loss, or a function by name, as plain data, from which ``deserialize`` makes an equal one."""
    return serialize_keras_object(loss)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The loss that ``serialize`` described."""
    with custom_object_scope(custom_objects or {}):
        return get(config)
