"""The base classes: values are drawn on the host, without a compilation, the same on every platform."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes, registry, seeds, serialization

Shape = Sequence[int]
entered = registry.initializers.named  # a decorator: enters a class under its own name and others
_uses: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # of a seed generator, by initializers


class Initializer:
    """Makes the first value of a weight: ``initializer(shape, dtype)`` returns an array.

    Subclasses define ``__call__`` and keep the arguments of ``__init__`` under their names.

    Example:
        >>> import numpy as np
        >>> from pellucid import initializers
        >>> class Diagonal(initializers.Initializer):
        ...     def __init__(self, value=1.0):
        ...         self.value = value
        ...     def __call__(self, shape, dtype=None):
        ...         return np.diag(np.full(shape[0], self.value, dtype))
        >>> Diagonal(2.0).get_config()
        {'value': 2.0}
    """

    _recorded: serialization.Recorded

    def __new__(cls, *args: Any, **kwargs: Any) -> Initializer:
        initializer = object.__new__(cls)
        initializer._recorded = serialization.Recorded(args, kwargs)
        return initializer

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        """The value, of the given shape and data type (``floatx()`` when None)."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__ method. Define `def __call__(self, shape, dtype=None): …`.")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer, as plain data."""
        return serialization.config_of(self, Initializer, self._recorded)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """The initializer that ``get_config`` described."""
        return cls(**serialization.arguments_from(cls, config))

    def clone(self) -> Initializer:
        """An equal initializer. Without a seed of its own it draws other values."""
        return type(self).from_config(self.get_config())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


class RandomInitializer(Initializer):
    """Base of those that draw: with a seed of its own each call returns the same values, without one fresh ones.

    Args:
        seed: a whole number; None takes one from the global stream; or a seed generator, whose seed starts a sequence
            for each initializer that it is given to.
    """

    def __init__(self, seed: Any = None):
        self.seed = seed
        self._sequence: tuple[int, ...] | None = None  # of an initializer that draws fresh values at each call
        self._calls = 0
        if seed is None:
            self._sequence = (seeds.next_seed("initializers"),)
        elif isinstance(getattr(seed, "seed", None), int):
            _uses[seed] = _uses.get(seed, 0) + 1
            self._sequence = (seed.seed, _uses[seed])
        elif not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"{type(self).__name__}: seed={seed!r} cannot be used; expected None or a whole number that is not negative.")

    def generator(self) -> np.random.Generator:
        """The generator of the next call's values."""
        entropy = (int(self.seed),) if self._sequence is None else (*self._sequence, self._calls)
        self._calls += 1
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def draw(self, shape: Shape) -> np.ndarray:
        """float64 or float32 values of the distribution."""
        raise NotImplementedError(f"{type(self).__name__} has no draw method.")

    def __call__(self, shape: Shape, dtype: Any = None) -> np.ndarray:
        name = dtypes.standardize_dtype(dtype)
        if not dtypes.is_float(name):
            raise ValueError(f"{type(self).__name__}: dtype={name!r} cannot hold random values; expected a float type.")
        return self.draw(tuple(shape)).astype(jnp.dtype(name))


def normal(generator: np.random.Generator, shape: Shape, mean: float, stddev: float) -> np.ndarray:
    return mean + stddev * generator.standard_normal(tuple(shape))


def truncated_normal(generator: np.random.Generator, shape: Shape, mean: float, stddev: float) -> np.ndarray:
    """Normal values, those beyond two standard deviations drawn again."""
    flat = generator.standard_normal(int(np.prod(shape, dtype=np.int64)))
    beyond = np.flatnonzero(np.abs(flat) > 2)
    while beyond.size:
        flat[beyond] = generator.standard_normal(beyond.size)
        beyond = beyond[np.abs(flat[beyond]) > 2]
    return mean + stddev * flat.reshape(tuple(shape))


def uniform(generator: np.random.Generator, shape: Shape, low: float, high: float) -> np.ndarray:
    return low + (high - low) * generator.random(tuple(shape))
