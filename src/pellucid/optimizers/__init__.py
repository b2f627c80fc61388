"""Optimizers: Keras's names and results, over optax's transformations where their maths agree."""

from pellucid.optimizers import schedules
from pellucid.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from pellucid.optimizers.adaptive import Adadelta, Adafactor, Adagrad, RMSprop
from pellucid.optimizers.descent import SGD, Lion
from pellucid.optimizers.ftrl import Ftrl
from pellucid.optimizers.loss_scale import LossScaleOptimizer
from pellucid.optimizers.muon import Muon
from pellucid.optimizers.optimizer import OptaxOptimizer, Optimizer, deserialize, get, serialize

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Muon",
    "Nadam",
    "OptaxOptimizer",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]
