"""Constraints: what weights are made to keep after each update."""

from typing import Any

from pellucid.constraints.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from pellucid.core import registry, serialization

# Keras has these names for the classes as well.
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm


def get(identifier: Any) -> Any:
    """The constraint for a name, a config, a class or a callable; None stays None.

    Example:
        >>> from pellucid import constraints
        >>> constraints.get("max_norm")
        MaxNorm(max_value=2, axis=0)
    """
    return None if identifier is None else registry.constraints.get(identifier)


def serialize(constraint: Constraint) -> dict[str, Any]:
    """The class and config, as plain data, from which ``deserialize`` makes an equal constraint."""
    return serialization.serialize_keras_object(constraint)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The constraint that ``serialize`` described."""
    with serialization.custom_object_scope(custom_objects or {}):
        return get(config)
