"""Activations as layers."""

from __future__ import annotations

from typing import Any

from pellucid import activations
from pellucid.core.layer import Layer


class Activation(Layer):
    """Applies an activation given by name or as a callable. Shapes: any -> the same."""

    supports_masking = True

    def __init__(self, activation: Any, **layer_args: Any):
        super().__init__(**layer_args)
        self.activation = activations.get(activation)

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs)


class ReLU(Layer):
    """``max(x, 0)``, with a slope below ``threshold`` and an upper bound on request. Shapes: any -> the same.

    Args:
        max_value: upper bound, or None.
        negative_slope: slope below the threshold.
        threshold: where the function begins to rise.
    """

    supports_masking = True

    def __init__(self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **layer_args: Any):
        super().__init__(**layer_args)
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs, negative_slope=self.negative_slope, max_value=self.max_value, threshold=self.threshold)


class Softmax(Layer):
    """``exp(x) / sum(exp(x))`` along an axis. Shapes: any -> the same."""

    supports_masking = True

    def __init__(self, axis: int = -1, **layer_args: Any):
        super().__init__(**layer_args)
        self.axis = axis

    def call(self, inputs: Any) -> Any:
        return activations.softmax(inputs, axis=self.axis)
