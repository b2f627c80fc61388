"""What a table says of a layer: how either library makes it, and what it is called on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

import pellucid
from tests.training.twins import weights_of

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype("float32")


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A layer of either library.

    Args:
        make: ``lambda k: k.layers.Dense(3)`` for a library ``k``.
        inputs: an array, or a list of arrays.
        call: other arguments of the call, by name: arrays go through as they are.
        mask: of the (first) input, whether each step is real: a boolean array; None for no test with a mask.
        draws: whether what it gives in training is drawn.
        config: whether its config is plain data that both libraries read; False for functions of the test's own.
        weights: whether random weights may be given to it.
        close: tolerances.
        couples: whether one row may influence another, in inference too: it adds penalties.
        slow: whether it is tested with the slow tests: a variant of another case.
    """

    make: Callable[[Any], Any]
    inputs: Any
    call: dict[str, Any] = dataclasses.field(default_factory=dict)
    mask: Any = None
    draws: bool = False
    config: bool = True
    weights: bool = True
    close: dict[str, float] = dataclasses.field(default_factory=lambda: {"rtol": 1e-5, "atol": 1e-5})
    couples: bool = False
    slow: bool = False

    @property
    def rows(self) -> int:
        return len(jax.tree.leaves(self.inputs)[0])

    @functools.cached_property
    def given(self) -> Any:
        """The inputs as arrays of JAX."""
        return jax.tree.map(jnp.asarray, self.inputs)

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """The other arguments of the call, as arrays of JAX."""
        return jax.tree.map(lambda a: jnp.asarray(a) if isinstance(a, np.ndarray) else a, self.call)

    def pair(self) -> tuple[Any, Any]:
        """(ours, theirs): built, with equal weights that are not the initial ones."""
        ours, theirs = self.make(pellucid), self.make(keras)
        ours(self.given, **self.options)
        self.build_in_keras(theirs)
        if self.weights and ours.weights:
            generator = np.random.default_rng(1)
            weights = [generator.uniform(0.5, 1.5, w.shape).astype("float32") for w in ours.weights]
            ours.set_weights(weights)
            theirs.set_weights(weights + weights_of(theirs)[len(weights) :])  # Keras's Dropout has a seed among its weights
        return ours, theirs

    def build_in_keras(self, layer: Any) -> None:
        """Builds a layer of Keras. A call on arrays would compile each of its operations."""
        layer(jax.tree.map(lambda a: keras.KerasTensor(a.shape, a.dtype.name), self.given), **self.options)

    def outputs_of_keras(self, layer: Any) -> Any:
        """The outputs of a built layer of Keras, computed in one program."""
        values = [[v.value for v in some] for some in (layer.trainable_variables, layer.non_trainable_variables)]
        return jax.jit(functools.partial(layer.stateless_call, **self.options))(*values, self.given)[0]


def assert_close(ours: Any, theirs: Any, **close: float) -> None:
    """Structures of arrays are equal but for rounding."""
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, b.shape, a.dtype, b.dtype)
        np.testing.assert_allclose(a, b, **close)
