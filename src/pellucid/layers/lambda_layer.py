"""Functions as layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pellucid.core import serialization
from pellucid.core.layer import Layer

_LAMBDA = ("code", "defaults", "closure")


class Lambda(Layer):
    """Applies a function: ``y = function(x, **arguments)``. A class of your own says more, and can have weights.

    Args:
        function: of arrays. It gets ``mask`` and ``training`` where it takes them.
        output_shape: accepted for Keras's sake: the shape of the outputs is that which the function gives.
        mask: the mask of the outputs; or a function ``(inputs, mask)`` that gives it; or None.
        arguments: further ones of the function, by name.

    Shapes: as of the function.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Lambda(lambda x, power: x**power, arguments={"power": 2})(np.array([[3.0]], "float32")).tolist()
        [[9.0]]
    """

    _takes = None  # the function says what

    couples_rows = True  # as far as anybody knows

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        if not callable(function):
            raise TypeError(f"Lambda: function={function!r}; expected a function of arrays.")
        self.function, self.output_shape, self.mask, self.arguments = function, output_shape, mask, dict(arguments or {})
        self.supports_masking = mask is not None

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        takes = inspect.signature(self.function).parameters
        given = {name: value for name, value in (("mask", mask), ("training", training)) if name in takes}
        return self.function(inputs, **{**self.arguments, **given})

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "function": serialization.serialize_keras_object(self.function)}
        for name in ("function", "output_shape", "mask"):
            if isinstance(config[name], dict) and config[name].get("class_name") == "__lambda__":  # Keras has another form here
                config[name] = {"class_name": "__lambda__", "config": dict(zip(_LAMBDA, config[name]["config"]["value"], strict=True))}
        return {name: value for name, value in config.items() if value is not None or name not in ("output_shape", "mask")}

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return self.mask(inputs, mask) if callable(self.mask) else self.mask
