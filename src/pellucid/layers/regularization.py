"""Penalties on what goes through."""

from __future__ import annotations

from typing import Any

from pellucid import regularizers
from pellucid.core.layer import Layer


class ActivityRegularization(Layer):
    """Hands its inputs on, and adds ``sum(l1 * |x| + l2 * x ** 2) / rows`` to the loss. Shapes: any -> the same.

    Args:
        l1: the factor of the absolute values.
        l2: that of the squares.
    """

    _takes = "arrays"

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **layer_args: Any):
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **layer_args)
        self.l1, self.l2 = l1, l2

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return self._config(without=("activity_regularizer",))
