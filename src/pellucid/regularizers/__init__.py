"""Regularizers: penalties on weights and outputs, which are added to the loss."""

from typing import Any

from pellucid.core import registry, serialization
from pellucid.regularizers.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

# Keras has these names for the classes as well.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer


def get(identifier: Any) -> Any:
    """The regularizer for a name, a config, a class or a callable; None stays None.

    Example:
        >>> from pellucid import regularizers
        >>> regularizers.get("l2")
        L2(l2=0.01)
    """
    return None if identifier is None else registry.regularizers.get(identifier)


def serialize(regularizer: Regularizer) -> dict[str, Any]:
    """The class and config, as plain data, from which ``deserialize`` makes an equal regularizer."""
    return serialization.serialize_keras_object(regularizer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The regularizer that ``serialize`` described."""
    with serialization.custom_object_scope(custom_objects or {}):
        return get(config)
