"""Regularizers: penalties on weights and outputs, which are added to the loss."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from pellucid import ops
from pellucid.core import registry, serialization
from pellucid.errors import ShapeError

entered = registry.regularizers.named  # a decorator: enters a class under its own name and others


class Regularizer:
    """A penalty on an array: ``regularizer(x)`` returns a number that is added to the loss. Subclasses define ``__call__``.

    A layer takes it for its weights (``kernel_regularizer``) and for its outputs (``activity_regularizer``); ``layer.losses`` has
    the penalties. Weights are penalised while they are trained, outputs by the mean over the rows.

    Example:
        >>> import jax.numpy as jnp, pellucid
        >>> class NearOne(pellucid.regularizers.Regularizer):
        ...     def __call__(self, x):
        ...         return 0.5 * jnp.sum((x - 1.0) ** 2)
        >>> layer = pellucid.layers.Dense(1, kernel_initializer="zeros", kernel_regularizer=NearOne())
        >>> layer.build((None, 3))
        >>> [float(loss) for loss in layer.losses]
        [1.5]
    """

    _recorded: serialization.Recorded

    def __new__(cls, *args: Any, **kwargs: Any) -> Regularizer:
        regularizer = object.__new__(cls)
        regularizer._recorded = serialization.Recorded(args, kwargs)
        return regularizer

    def __call__(self, x: Any) -> Any:
        """The penalty on ``x``."""
        return 0.0

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal regularizer, as plain data."""
        return serialization.config_of(self, Regularizer, self._recorded)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """The regularizer that ``get_config`` described."""
        return cls(**serialization.arguments_from(cls, config))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


@entered("l1")
class L1(Regularizer):
    """``l1 * sum(|x|)``.

    Args:
        l1: the factor.

    Example:
        >>> import numpy as np, pellucid
        >>> float(pellucid.regularizers.L1(0.5)(np.array([1.0, -3.0], "float32")))
        2.0
    """

    def __init__(self, l1: float = 0.01):
        self.l1 = _factor("L1", "l1", 0.01 if l1 is None else l1)

    def __call__(self, x: Any) -> Any:
        return _cast(self.l1, x) * jnp.sum(jnp.abs(x))


@entered("l2")
class L2(Regularizer):
    """``l2 * sum(x ** 2)``.

    Args:
        l2: the factor.

    Example:
        >>> import numpy as np, pellucid
        >>> float(pellucid.regularizers.L2(0.5)(np.array([1.0, -3.0], "float32")))
        5.0
    """

    def __init__(self, l2: float = 0.01):
        self.l2 = _factor("L2", "l2", 0.01 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        return _cast(self.l2, x) * jnp.sum(jnp.square(x))


@entered("l1l2", "l1_l2")
class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x ** 2)``.

    Args:
        l1: the factor of the first part.
        l2: that of the second.

    Example:
        >>> import numpy as np, pellucid
        >>> float(pellucid.regularizers.L1L2(l1=0.5, l2=0.25)(np.array([1.0, -3.0], "float32")))
        4.5
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = _factor("L1L2", "l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("L1L2", "l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        parts = [(self.l1, jnp.abs), (self.l2, jnp.square)]
        return sum((_cast(factor, x) * jnp.sum(of(x)) for factor, of in parts if factor), jnp.zeros((), x.dtype))


@entered("orthogonal_regularizer")
class OrthogonalRegularizer(Regularizer):
    """The mean size of the cosines between different rows (or columns) of a matrix: ``factor * mean(|u_i . u_j|)`` over i < j.

    Args:
        factor: by which the mean is multiplied.
        mode: "rows" or "columns".

    Example:
        >>> import numpy as np, pellucid
        >>> round(float(pellucid.regularizers.OrthogonalRegularizer(1.0)(np.array([[1.0, 0.0], [3.0, 4.0]], "float32"))), 3)
        0.6
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _factor("OrthogonalRegularizer", "factor", factor)
        if mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: mode={mode!r}; expected 'rows' or 'columns'.")
        self.mode = mode

    def __call__(self, x: Any) -> Any:
        x = jnp.asarray(x)
        if x.ndim != 2:
            raise ShapeError(f"OrthogonalRegularizer got an array of shape {x.shape}; expected a matrix.")
        vectors = x if self.mode == "rows" else x.T
        vectors = ops.normalize(vectors, axis=1)
        count = vectors.shape[0]
        cosines = jnp.abs(vectors @ vectors.T) * (1 - jnp.eye(count, dtype=x.dtype))
        return _cast(self.factor / max(count * (count - 1.0), 1.0), x) * jnp.sum(cosines)


def _factor(where: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < math.inf:
        raise ValueError(f"{where}: {name}={value!r}; expected a number of at least zero.")
    return float(value)


def _cast(factor: float, x: Any) -> Any:
    """A factor as the type of what it multiplies: the penalty on half precision is of half precision."""
    return jnp.asarray(factor, x.dtype)
