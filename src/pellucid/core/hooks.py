"""What higher modules do for layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hooks:
    """What higher modules subscribe to, so that ``core`` need not import them."""

    connect: Callable[[Any, tuple, dict], Any] | None = None  # a layer is called on symbolic tensors
    end_of: Callable[[Any, str], Any] | None = None  # by the models: the symbolic "input" or "output" of a layer
    build_abstractly: Callable[[Any, Any], None] | None = None  # by the capture: creates all weights of nested layers
    output_spec: Callable[[Any, tuple, dict], Any] | None = None  # by the capture: the outputs for symbolic tensors
    metrics_of: Callable[[Any], list[Any]] = lambda layer: []  # by the training: the metrics in attributes
    attribute_written: Callable[[Any, str], None] | None = None  # by the side effects, during a capture
    layer_made: Callable[[Any], None] | None = None  # by the side effects, too
