"""Initializers: the first values of weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes, registry, serialization
from pellucid.initializers.constant import Constant, Identity, Ones, Zeros
from pellucid.initializers.initializer import Initializer, RandomInitializer
from pellucid.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)

# Keras has these names for the classes as well.
constant, identity, ones, zeros = Constant, Identity, Ones, Zeros
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
glorot_normal, glorot_uniform, he_normal, he_uniform = GlorotNormal, GlorotUniform, HeNormal, HeUniform
lecun_normal, lecun_uniform, orthogonal, variance_scaling = LecunNormal, LecunUniform, Orthogonal, VarianceScaling
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal


def get(identifier: Any) -> Any:
    """The initializer for a name, a config, a class, an array (the value itself) or a callable; None stays None.

    Example:
        >>> from pellucid import initializers
        >>> initializers.get("he_normal")
        HeNormal(seed=None, input_axes=None, output_axes=None)
    """
    if identifier is None:
        return None
    if isinstance(identifier, np.ndarray | np.generic | jax.Array):
        return _Given(identifier)
    return registry.initializers.get(identifier)


def serialize(initializer: Initializer) -> dict[str, Any]:
    """The class and config, as plain data, from which ``deserialize`` makes an equal initializer."""
    return serialization.serialize_keras_object(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The initializer that ``serialize`` described."""
    with serialization.custom_object_scope(custom_objects or {}):
        return get(config)


class _Given(Initializer):
    """An array that is the value."""

    def __init__(self, value: Any):
        self.value = np.asarray(value)

    def __call__(self, shape: Any, dtype: Any = None) -> np.ndarray:
        if tuple(shape) != self.value.shape:
            raise ValueError(f"The initializer is an array of shape {self.value.shape}; the weight has shape {tuple(shape)}.")
        return self.value.astype(jnp.dtype(dtypes.standardize_dtype(dtype)))
