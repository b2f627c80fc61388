"""Constraints: what weights are made to keep after each update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from pellucid import config
from pellucid.core import registry, serialization

entered = registry.constraints.named  # a decorator: enters a class under its own name and others
Axes = int | Sequence[int]


class Constraint:
    """Gives the value that a weight shall have in place of another: ``constraint(w)`` returns an array of the same shape.

    Optimizers apply it after each update, to the variables that it is the ``constraint`` of. Subclasses define ``__call__``.

    Example:
        >>> import jax.numpy as jnp, pellucid
        >>> class Rounded(pellucid.constraints.Constraint):
        ...     def __call__(self, w):
        ...         return jnp.round(w)
        >>> w = pellucid.Variable([1.0, 2.0])
        >>> w.constraint = Rounded()
        >>> pellucid.optimizers.SGD(0.4).apply([jnp.array([1.0, 2.0])], [w])
        >>> w.numpy().tolist()
        [1.0, 1.0]
    """

    _recorded: serialization.Recorded

    def __new__(cls, *args: Any, **kwargs: Any) -> Constraint:
        constraint = object.__new__(cls)
        constraint._recorded = serialization.Recorded(args, kwargs)
        return constraint

    def __call__(self, w: Any) -> Any:
        """The value in place of ``w``."""
        return w

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal constraint, as plain data."""
        return serialization.config_of(self, Constraint, self._recorded)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        """The constraint that ``get_config`` described."""
        return cls(**serialization.arguments_from(cls, config))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


@entered("max_norm")
class MaxNorm(Constraint):
    """Norms of at most ``max_value``: ``w * min(|w|, max_value) / |w|``.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014.

    Args:
        max_value: the largest norm.
        axis: the axes over which norms go: 0 for the weights into a unit of Dense, (0, 1, 2) for those of a filter.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.constraints.MaxNorm(1.0)(np.array([[3.0, 0.5], [4.0, 0.0]], "float32")).round(3).tolist()
        [[0.6..., 0.5], [0.8..., 0.0]]
    """

    def __init__(self, max_value: float = 2, axis: Axes = 0):
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        return _with_norms(w, norms, jnp.clip(norms, 0, self.max_value))


@entered("non_neg")
class NonNeg(Constraint):
    """No negative weights: ``max(w, 0)``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.constraints.NonNeg()(np.array([-1.0, 2.0], "float32")).tolist()
        [0.0, 2.0]
    """

    def __call__(self, w: Any) -> Any:
        return jnp.maximum(jnp.asarray(w), 0)


@entered("unit_norm")
class UnitNorm(Constraint):
    """Norms of 1: ``w / |w|``.

    Args:
        axis: the axes over which norms go; see ``MaxNorm``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.constraints.UnitNorm()(np.array([3.0, 4.0], "float32")).round(3).tolist()
        [0.6..., 0.8...]
    """

    def __init__(self, axis: Axes = 0):
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        return _with_norms(w, _norms(w, self.axis), 1)


@entered("min_max_norm")
class MinMaxNorm(Constraint):
    """Norms between two bounds: ``w * ((1 - rate) * |w| + rate * clip(|w|, min_value, max_value)) / |w|``.

    Args:
        min_value: the smallest norm.
        max_value: the largest norm.
        rate: how far a norm outside is brought back in an update: 1 for all the way.
        axis: the axes over which norms go; see ``MaxNorm``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.constraints.MinMaxNorm(max_value=3.0, rate=0.5)(np.array([3.0, 4.0], "float32")).round(3).tolist()
        [2.4..., 3.2...]
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0):
        self.min_value, self.max_value, self.rate, self.axis = min_value, max_value, rate, axis

    def __call__(self, w: Any) -> Any:
        norms = _norms(w, self.axis)
        return _with_norms(w, norms, self.rate * jnp.clip(norms, self.min_value, self.max_value) + (1 - self.rate) * norms)


def _norms(w: Any, axis: Axes) -> Any:
    return jnp.sqrt(jnp.sum(jnp.square(jnp.asarray(w)), axis if isinstance(axis, int) else tuple(axis), keepdims=True))


def _with_norms(w: Any, norms: Any, wanted: Any) -> Any:
    return jnp.asarray(w) * (wanted / (config.epsilon() + norms))
