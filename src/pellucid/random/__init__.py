"""Random numbers as Keras has them: functions that take a ``seed``, and ``SeedGenerator``, whose state leaves a capture."""

from pellucid.random.generator import SeedGenerator
from pellucid.random.samples import (
    bernoulli,
    beta,
    binomial,
    categorical,
    dropout,
    gamma,
    normal,
    randint,
    shuffle,
    truncated_normal,
    uniform,
)

__all__ = [
    "SeedGenerator",
    "bernoulli",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]
