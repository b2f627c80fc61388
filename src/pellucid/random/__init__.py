"""Random numbers as Keras has them: functions that take a ``seed``, and ``SeedGenerator``, whose state leaves a capture."""

from pellucid.random.generator import SeedGenerator
from pellucid.random.samples import bernoulli, categorical, dropout, normal, randint, shuffle, truncated_normal, uniform

__all__ = ["SeedGenerator", "bernoulli", "categorical", "dropout", "normal", "randint", "shuffle", "truncated_normal", "uniform"]
