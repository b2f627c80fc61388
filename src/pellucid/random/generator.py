"""SeedGenerator: a counter in a variable, so that every step draws anew and the state can be saved and replayed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from pellucid.core import seeds
from pellucid.core.variable import Variable


class SeedGenerator:
    """Gives a new key at each call of ``next``. Its state is a variable: a draw in ``call`` leaves the capture as a write.

    Args:
        seed: a whole number, or None for one from ``pellucid.utils.set_random_seed``'s stream.

    Example:
        >>> import jax, pellucid
        >>> generator = pellucid.random.SeedGenerator(1)
        >>> a, b = jax.random.normal(generator.next()), jax.random.normal(generator.next())
        >>> bool(a == b)
        False
    """

    def __init__(self, seed: int | None = None, name: str | None = None):
        self.seed = seeds.next_seed("dropout") if seed is None else int(seed)
        state = np.array([self.seed & 0xFFFFFFFF, 0], np.uint32)
        self.state = Variable(state, trainable=False, name=name or "seed_generator_state")
        self.state.transient = self.state.is_seed = True  # type: ignore[attr-defined]

    def next(self) -> jax.Array:
        """A JAX key that was not given before: (seed, number of the draw) as the key of a counter-based generator."""
        state = self.state.value
        self.state.assign(state + np.array([0, 1], np.uint32))
        return jax.random.wrap_key_data(state, impl="threefry2x32")

    def get_config(self) -> dict[str, Any]:
        """The seed and the name, from which a generator begins again."""
        return {"seed": self.seed, "name": self.state.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """A generator from what ``get_config`` returned."""
        return cls(**config)

    def layers_and_variables(self) -> Iterator[tuple[str, Any]]:
        yield "state", self.state


_default: tuple[int, SeedGenerator] | None = None


def _default_generator() -> SeedGenerator:
    """The generator of draws without a seed; a new one after ``set_random_seed``."""
    global _default
    if _default is None or _default[0] != seeds.generation():
        _default = seeds.generation(), SeedGenerator(seeds.next_seed("draws"), name="default_seed_generator_state")
    return _default[1]


def key_of(seed: Any) -> jax.Array:
    """A JAX key from what functions take as ``seed``: a SeedGenerator, a key, a whole number or None."""
    if seed is None:
        seed = _default_generator()
    if isinstance(seed, SeedGenerator):
        return seed.next()
    if isinstance(seed, jax.Array) and jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return seed
    return jax.random.key(seed, impl="threefry2x32")
