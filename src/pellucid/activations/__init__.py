"""Activation functions, and how to find them by name."""

from collections.abc import Callable
from typing import Any

from pellucid.activations.activations import (
    celu,
    elu,
    exponential,
    gelu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    leaky_relu,
    linear,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    tanh,
    tanh_shrink,
    threshold,
)
from pellucid.core import registry, serialization

swish, hard_swish = silu, hard_silu


def get(identifier: Any) -> Callable[..., Any]:
    """The activation for a name or a callable; ``linear`` for None.

    Example:
        >>> from pellucid import activations
        >>> activations.get("swish") is activations.silu
        True
    """
    if identifier is None:
        return linear
    return registry.activations.get(identifier)


def serialize(activation: Callable[..., Any]) -> Any:
    """The name of an activation, from which ``deserialize`` finds it; of a function or object of your own what describes it."""
    name = getattr(activation, "__name__", None)
    if name is not None and registry.activations.entries.get(name) is activation:
        return name
    return serialization.serialize_keras_object(activation)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Callable[..., Any]:
    """The activation that ``serialize`` described."""
    with serialization.custom_object_scope(custom_objects or {}):
        return get(config)
