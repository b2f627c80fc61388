"""Optimizers: Keras's names over optax's transformations."""

from pellucid.optimizers.optimizer import OptaxOptimizer, Optimizer, get
from pellucid.optimizers.rules import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "OptaxOptimizer", "Optimizer", "RMSprop", "get"]
