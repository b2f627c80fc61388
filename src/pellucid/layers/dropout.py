"""Dropout."""

from __future__ import annotations

from typing import Any

from pellucid import random
from pellucid.core.layer import Layer
from pellucid.core.mode import by_training


class Dropout(Layer):
    """In training, sets a share of the elements to zero and scales the rest to keep the mean; else does nothing.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014).

    Args:
        rate: share of elements set to zero, in [0, 1).
        noise_shape: shape of the mask where one draw shall serve several elements; None stands for the input's own size.
        seed: a whole number for draws that repeat.

    Shapes: any -> the same.
    """

    def __init__(self, rate: float, noise_shape: tuple | None = None, seed: int | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate={rate!r}; expected a number in [0, 1).")
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed
        self.seed_generator = random.SeedGenerator(seed)

    def call(self, inputs: Any, training: Any = False) -> Any:
        if self.rate == 0:
            return inputs
        return by_training(training, lambda x: random.dropout(x, self.rate, self.noise_shape, self.seed_generator), lambda x: x, inputs)
