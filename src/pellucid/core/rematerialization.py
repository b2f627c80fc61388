"""RematScope: layers made inside compute again, for the gradient, what they would else keep."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Sequence
from typing import Any

from pellucid.core import frame, jax_compat
from pellucid.core.checks import check_whole

_scopes: contextvars.ContextVar[tuple[RematScope, ...]] = contextvars.ContextVar("pellucid_remat_scopes", default=())
_MODES = ("full", "activations", "larger_than", "list_of_layers", None)


class RematScope:
    """Layers that are made inside it keep nothing of their ``call`` for the gradient: it is computed again. Less memory, more time.

    What is computed again is the same, Dropout's draws included; BatchNormalization's statistics move once.

    Args:
        mode: "full" for all layers; "activations" for those with an ``activation``, which keep their products and convolutions;
            "larger_than" for those whose outputs have more elements than the threshold, a batch that is not known counting as one
            row; "list_of_layers" for those that are named; None for none, inside of another scope.
        output_size_threshold: for "larger_than".
        layer_names: for "list_of_layers".

    Raises:
        ValueError: for another mode, a threshold that is no whole number, or no names where they are needed.
        TypeError: for names that are no list of texts.

    Example:
        >>> import pellucid
        >>> with pellucid.RematScope("list_of_layers", layer_names=["wide"]):
        ...     wide, narrow = pellucid.layers.Dense(512, name="wide"), pellucid.layers.Dense(8, name="narrow")
    """

    def __init__(self, mode: str | None = "full", output_size_threshold: int = 1024, layer_names: Sequence[str] | None = None):
        if mode not in _MODES:
            raise ValueError(f"RematScope: mode={mode!r}; expected one of {', '.join(map(repr, _MODES))}.")
        check_whole("RematScope", "output_size_threshold", output_size_threshold, 0)
        if isinstance(layer_names, str) or not all(isinstance(name, str) for name in layer_names or ()):
            raise TypeError(f"RematScope: layer_names={layer_names!r}; expected a list of names.")
        if mode == "list_of_layers" and not layer_names:
            raise ValueError(f"RematScope: mode='list_of_layers' and layer_names={layer_names!r}; expected the names of layers.")
        self.mode, self.output_size_threshold, self.layer_names = mode, output_size_threshold, list(layer_names or ())

    def __enter__(self) -> RematScope:
        _scopes.set((*_scopes.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        _scopes.set(_scopes.get()[:-1])

    def applied(self, call: Callable, layer: Any) -> Callable:
        """The ``call`` of a layer that was made in this scope."""
        if self.mode == "full" or (self.mode == "list_of_layers" and layer.name in self.layer_names):
            return lambda *args, **kwargs: frame.checkpoint(call, args, kwargs)
        if self.mode == "activations" and getattr(layer, "activation", None) is not None:
            return lambda *args, **kwargs: frame.checkpoint(call, args, kwargs, policy=_keeps_products)
        if self.mode == "larger_than":
            return lambda *args, **kwargs: frame.checkpoint(call, args, kwargs, worth=self._are_large)
        return call

    def _are_large(self, outputs: Sequence[Any]) -> bool:
        return sum(math.prod(_known(d) for d in aval.shape) for aval in outputs) > self.output_size_threshold


def current_scope() -> RematScope | None:
    """The innermost scope, which layers that are made now belong to."""
    return _scopes.get()[-1] if _scopes.get() else None


def _known(size: Any) -> int:
    return 1 if isinstance(size, jax_compat.SymbolicSize) else size


def _keeps_products(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name in ("dot_general", "conv_general_dilated")
