"""What higher modules do for layers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def _filled_by(module: str, name: str) -> Callable[..., Any]:
    """A hook that imports the module that fills it, at its first use: most programs have done so by then."""

    def first(*args: Any) -> Any:
        importlib.import_module(module)
        return getattr(Hooks, name)(*args)

    return first


class Hooks:
    """What higher modules subscribe to, so that ``core`` need not import them."""

    connect: Callable[[Any, tuple, dict], Any] = _filled_by("pellucid.models", "connect")  # a layer is called on symbolic tensors
    end_of: Callable[[Any, str], Any] = _filled_by("pellucid.models", "end_of")  # the symbolic "input" or "output" of a layer
    build_abstractly: Callable[[Any, Any], None] = _filled_by("pellucid.models", "build_abstractly")  # all weights of nested layers
    output_spec: Callable[[Any, tuple, dict], Any] = _filled_by("pellucid.models", "output_spec")  # the outputs for symbolic tensors
    metrics_of: Callable[[Any], list[Any]] = _filled_by("pellucid.models", "metrics_of")  # the metrics in attributes
    attribute_written: Callable[[Any, str], None] | None = None  # by the side effects, during a capture
    layer_made: Callable[[Any], None] | None = None  # by the side effects, too
