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
from pellucid.core import registry

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
    if isinstance(identifier, dict) and isinstance(identifier.get("config"), str):
        identifier = identifier["config"]  # a function, as Keras saves it
    return registry.activations.get(identifier)


def serialize(activation: Callable[..., Any]) -> Any:
    """The name of an activation, from which ``deserialize`` finds it; of an object its class name and config."""
    name = getattr(activation, "__name__", None)
    if name is not None and registry.activations.entries.get(name) is activation:
        return name
    if hasattr(activation, "get_config"):
        return {"class_name": type(activation).__name__, "config": activation.get_config()}
    raise ValueError(f"Activation {activation!r} is in no registry, so that its name would not find it again; expected one of ours.")


def deserialize(config: Any) -> Callable[..., Any]:
    """The activation that ``serialize`` described."""
    return get(config)
