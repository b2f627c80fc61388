"""Draws from distributions. ``seed`` is a SeedGenerator, a whole number, a JAX key, or None for a fresh one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core.dtypes import standardize_dtype
from pellucid.random.generator import key_of


def normal(shape: tuple, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Normal draws: ``mean + stddev * z``."""
    return jax.random.normal(key_of(seed), shape, standardize_dtype(dtype)) * stddev + mean


def truncated_normal(shape: tuple, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Normal draws within two standard deviations of the mean."""
    return jax.random.truncated_normal(key_of(seed), -2.0, 2.0, shape, standardize_dtype(dtype)) * stddev + mean


def uniform(shape: tuple, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Uniform draws from ``[minval, maxval)``."""
    return jax.random.uniform(key_of(seed), shape, standardize_dtype(dtype), minval, maxval)


def randint(shape: tuple, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> jax.Array:
    """Whole numbers from ``[minval, maxval)``."""
    return jax.random.randint(key_of(seed), shape, minval, maxval, standardize_dtype(dtype))


def bernoulli(shape: tuple, p: float = 0.5, seed: Any = None) -> jax.Array:
    """True with probability ``p``."""
    return jax.random.bernoulli(key_of(seed), p, shape)


def beta(shape: tuple, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Draws from the beta distributions of two arrays of shape parameters, which broadcast to the shape."""
    dtype = standardize_dtype(dtype)
    return jax.random.beta(key_of(seed), jnp.asarray(alpha, dtype), jnp.asarray(beta, dtype), shape, dtype)


def gamma(shape: tuple, alpha: Any, dtype: Any = None, seed: Any = None) -> jax.Array:
    """Draws from the gamma distributions with shape parameters alpha and rate 1."""
    dtype = standardize_dtype(dtype)
    return jax.random.gamma(key_of(seed), jnp.asarray(alpha, dtype), shape, dtype)


def binomial(shape: tuple, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> jax.Array:
    """How many of so many tries succeed, each with a probability; both broadcast to the shape."""
    dtype = standardize_dtype(dtype)
    return jax.random.binomial(key_of(seed), jnp.asarray(counts, dtype), jnp.asarray(probabilities, dtype), shape, dtype)


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> jax.Array:
    """Class indices (rows, num_samples) drawn from rows of logits."""
    shape = (*logits.shape[:-1], num_samples)
    return jax.random.categorical(key_of(seed), logits[..., None, :], axis=-1, shape=shape).astype(standardize_dtype(dtype))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> jax.Array:
    """The slices along an axis in random order."""
    return jax.random.permutation(key_of(seed), x, axis)


def dropout(inputs: Any, rate: float, noise_shape: tuple | None = None, seed: Any = None) -> jax.Array:
    """Sets a share ``rate`` of the elements to zero and scales the others by ``1 / (1 - rate)``."""
    shape = inputs.shape if noise_shape is None else tuple(i if n is None else n for n, i in zip(noise_shape, inputs.shape, strict=True))
    keep = jax.random.bernoulli(key_of(seed), 1.0 - rate, shape)
    return jnp.where(keep, inputs / (1.0 - rate), jnp.zeros((), inputs.dtype))
