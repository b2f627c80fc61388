"""Means and sums over batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core.masks import mask_of
from pellucid.core.serialization import serialize_keras_object
from pellucid.core.variable import Variable
from pellucid.losses.loss import Loss, divide_or_zero, function_name, like_values, options_of, with_last_axis, within_mask
from pellucid.metrics.metric import Metric, entered


@entered()
class Sum(Metric):
    """``sum(values * sample_weight)`` over all batches.

    Args:
        name: key in the logs.
        dtype: data type of state and result.

    Example:
        >>> from pellucid import metrics
        >>> total = metrics.Sum()
        >>> total.update_state([1.0, 2.0])
        >>> float(total.result())
        3.0
    """

    def __init__(self, name: str = "sum", dtype: Any = None):
        super().__init__(name, dtype)
        self.total = self.add_variable((), name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds values of any shape; the weights broadcast row by row."""
        values = jnp.asarray(values).astype(self.dtype)
        if sample_weight is not None:
            values = values * _weight(sample_weight, values, self.name)
        self.total.assign_add(jnp.sum(values))

    def result(self) -> jax.Array:
        return self.total.value


@entered()
class Mean(Metric):
    """``sum(values * sample_weight) / sum(sample_weight)`` over all batches; 0 before the first.

    Values of shape (batch, …) count as one for each row, their mean.

    Args:
        name: key in the logs.
        dtype: data type of state and result.

    Example:
        >>> from pellucid import metrics
        >>> mean = metrics.Mean()
        >>> mean.update_state([1.0, 3.0, 9.0], sample_weight=[1, 1, 0])
        >>> float(mean.result())
        2.0
    """

    def __init__(self, name: str = "mean", dtype: Any = None):
        super().__init__(name, dtype)
        self.state: Variable = self.add_variable((2,), name="total_and_count")

    @property
    def total(self) -> jax.Array:
        """Sum of the weighted values."""
        return self.state.value[0]

    @property
    def count(self) -> jax.Array:
        """Sum of the weights."""
        return self.state.value[1]

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds values; weights have shape (), (batch,), (batch, 1) or that of the values."""
        self._add(values, sample_weight)

    def _add(self, values: Any, sample_weight: Any, counted: Any = None) -> None:
        total, count = total_and_count(jnp.asarray(values).astype(self.dtype), sample_weight, counted, self.name)
        self.state.assign_add(jnp.stack([total, jnp.asarray(count, self.dtype)]))

    def result(self) -> jax.Array:
        total, count = self.state.value
        return divide_or_zero(total, count)


def total_and_count(values: jax.Array, sample_weight: Any, counted: Any, name: str) -> tuple[jax.Array, Any]:
    """What a batch adds to a mean: weighted sum of the rows' values, sum of the rows' weights."""
    if counted is not None:
        mask = like_values(counted, values, "counted", name).astype(values.dtype)
        sample_weight = mask if sample_weight is None else mask * _weight(sample_weight, values, name)
    if sample_weight is None:
        if values.ndim == 0:
            return values, 1
        size = values.shape[0]
        return _sum_of_rows(values), size if isinstance(size, int) else jnp.sum(jnp.ones((size,), values.dtype))
    weight = _weight(sample_weight, values, name)
    if weight.ndim == 0:
        return jnp.mean(values) * weight, weight
    return _sum_of_rows(values * weight), _sum_of_rows(weight)


def _sum_of_rows(values: jax.Array) -> jax.Array:
    return jnp.sum(jnp.mean(values, axis=tuple(range(1, values.ndim))) if values.ndim > 1 else values)


def _weight(sample_weight: Any, values: jax.Array, name: str) -> jax.Array:
    weight = jnp.asarray(sample_weight).astype(values.dtype)
    if values.ndim == 0 and weight.ndim > 0:
        raise ValueError(
            f"Metric {name!r} got one number for the whole batch and sample_weight of shape {weight.shape}, so that rows cannot "
            "be weighted, nor padding left out. Return one value for each row: reduce over the last axis only."
        )
    return like_values(weight, values, "sample_weight", f"Metric {name!r}")


@entered()
class MeanMetricWrapper(Mean):
    """Mean of a function ``(y_true, y_pred) -> values`` over all rows.

    Args:
        fn: returns one value for each row, or for each row and step.
        name: key in the logs, by default the name of the function.
        dtype: data type of state and result.
        options: further arguments of the function.

    Example:
        >>> import numpy as np
        >>> from pellucid import losses, metrics
        >>> metric = metrics.MeanMetricWrapper(losses.huber, delta=2.0)
        >>> float(metric(np.zeros((1, 1)), np.full((1, 1), 3.0)))
        4.0
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **options: Any):
        super().__init__(name or function_name(fn), dtype)
        self.fn, self.fn_kwargs = fn, options

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """The values of a batch."""
        return self.fn(y_true, y_pred, **self.fn_kwargs)

    def counted(self, y_true: Any, y_pred: Any) -> Any:
        """Which values count (1 or 0, of their shape), or None: all."""
        return None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch; weights have shape (batch,), (batch, 1) or that of the values."""
        values = jnp.asarray(self.values(y_true, y_pred))
        self._add(values, sample_weight, within_mask(self.counted(y_true, y_pred), mask_of(y_pred), values, self.name))

    def get_config(self) -> dict[str, Any]:
        more = {"fn": self.fn, **self.fn_kwargs}
        return {**Metric.get_config(self), **{name: serialize_keras_object(value) for name, value in more.items()}}


class NamedMetric(MeanMetricWrapper):
    """Base of Pellucid's own means: the class adds a name and options to ``fn``.

    The options are the further arguments of the function; the class keeps them as attributes of those names.
    """

    fn: Callable[..., Any]

    def __init__(self, name: str | None = None, dtype: Any = None):
        Mean.__init__(self, name or function_name(self.fn), dtype)

    @property
    def fn_kwargs(self) -> dict[str, Any]:  # type: ignore[override]
        """The further arguments of the function."""
        return options_of(self, self.fn)

    def values(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(*with_last_axis(y_true, y_pred), **self.fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        return Metric.get_config(self)


class MeanOfLoss(MeanMetricWrapper):
    """The unreduced values of a Loss as a metric.

    Args:
        loss: the loss; its reduction does not matter.
        name: key in the logs, by default the name of the loss.
        dtype: data type of state and result.
    """

    def __init__(self, loss: Loss, name: str | None = None, dtype: Any = None):
        super().__init__(lambda y_true, y_pred: loss.values(y_true, y_pred)[0], name or loss.name, dtype)
        self.loss = loss

    def counted(self, y_true: Any, y_pred: Any) -> Any:
        return self.loss.values(y_true, y_pred)[1]

    def get_config(self) -> dict[str, Any]:
        return {"loss": serialize_keras_object(self.loss), "name": self.name, "dtype": self.dtype}
