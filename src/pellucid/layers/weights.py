"""Weights as layers of Keras have them: each with its initializer, regularizer and constraint among the arguments."""

from __future__ import annotations

from typing import Any

from pellucid import constraints, initializers, regularizers
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable


def keep_options(layer: Layer, **given: tuple) -> None:
    """Stores what makes and changes weights, as ``layer.kernel_initializer``, ``kernel_regularizer`` and ``kernel_constraint``.

    Args:
        layer: whose weights they are.
        given: by the weight's name: (initializer, regularizer, constraint), each a name, a callable or None.
    """
    for name, (initializer, regularizer, constraint) in given.items():
        setattr(layer, f"{name}_initializer", initializers.get(initializer))
        setattr(layer, f"{name}_regularizer", regularizers.get(regularizer))
        setattr(layer, f"{name}_constraint", constraints.get(constraint))


def add_weight(layer: Layer, name: str, shape: tuple[int, ...], kept_as: str | None = None, **options: Any) -> Variable:
    """A weight with the options that ``keep_options`` stored.

    Args:
        layer: that gets it.
        name: of the weight, and of its options.
        shape: of the weight.
        kept_as: the name of its options, where it is another.
        options: of ``layer.add_weight``, which come before those that are stored.
    """
    own = {option: getattr(layer, f"{kept_as or name}_{option}") for option in ("initializer", "regularizer", "constraint")}
    return layer.add_weight(shape, name=name, **{**own, **options})
