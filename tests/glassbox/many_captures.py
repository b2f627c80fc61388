"""Captures one model 1,000 times with new shapes, and prints by how many MB the process grew. Run as ``ours`` or ``plain``."""

from __future__ import annotations

import gc
import os
import sys

import jax
import jax.numpy as jnp
from jax import export

import pellucid
from pellucid import layers

WARM, COUNT = 250, 1000


class Mixer(pellucid.Model):
    """Takes sequences of any length with the same weights. No layer in it depends on ``training``: plain JAX traces no branches."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.out = layers.Dense(8), layers.Dense(8, activation="relu"), layers.Dense(4)

    def call(self, x):
        weights = jax.nn.softmax(self.query(x) @ jnp.swapaxes(self.key(x), 1, 2))
        return jnp.mean(x + self.out(weights @ x), axis=1)


def resident() -> float:
    """Memory of the process in MB."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(kind: str) -> None:
    model = Mixer()
    model.build((None, 1, 4))
    batch = export.symbolic_shape("batch")[0]

    def capture(length: int) -> None:
        if kind == "ours":
            assert model.capture((None, length, 4)).outputs == (None, 4)
        else:
            jax.make_jaxpr(lambda x: model(x))(jax.ShapeDtypeStruct((batch, length, 4), "float32"))

    for length in range(2, WARM + 2):
        capture(length)
    before = resident()
    for length in range(WARM + 2, WARM + 2 + COUNT):
        capture(length)
    print(resident() - before)


if __name__ == "__main__":
    main(sys.argv[1])
