"""Metrics of numbers whose result is not a mean of values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid.losses.loss import aligned, divide_or_zero, like_values
from pellucid.metrics.mean import Mean
from pellucid.metrics.metric import Metric, entered


@entered()
class RootMeanSquaredError(Mean):
    """``sqrt(mean((y_true - y_pred)**2))`` over all rows.

    Args:
        name: key in the logs.
        dtype: data type of state and result.

    Example:
        >>> from pellucid import metrics
        >>> float(metrics.RootMeanSquaredError()([[0.0], [0.0]], [[3.0], [3.0]]))
        3.0
    """

    def __init__(self, name: str = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch."""
        y_true, y_pred = aligned(self.name, y_true, y_pred)
        super().update_state(jnp.square(y_pred - y_true), sample_weight)

    def result(self) -> jax.Array:
        return jnp.sqrt(super().result())


@entered()
class R2Score(Metric):
    """``1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)``: 1 for exact predictions, 0 for the mean.

    An output whose targets never differ scores 1 where all predictions are exact, else 0.

    Args:
        class_aggregation: "uniform_average" of the outputs, "variance_weighted_average", or None: one score an output.
        num_regressors: number of predictors p for the adjusted score, ``1 - (1 - R²) (n - 1) / (n - p - 1)`` with n rows
            (those of weight 0 left out); 0 for the plain one, which also stands where n is too small.
        name: key in the logs.
        dtype: data type of state and result.

    Shapes: (batch, outputs) or (batch,).

    Example:
        >>> from pellucid import metrics
        >>> round(float(metrics.R2Score()([[1.0], [2.0], [3.0]], [[1.0], [2.0], [2.0]])), 4)
        0.5
    """

    AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(name, dtype)
        if class_aggregation not in self.AGGREGATIONS:
            raise ValueError(f"R2Score: class_aggregation={class_aggregation!r} is not known; expected one of {self.AGGREGATIONS}.")
        if num_regressors < 0:
            raise ValueError(f"R2Score: num_regressors={num_regressors} is negative; expected 0 or more.")
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.state: Any = None

    def build(self, y_true: Any, y_pred: Any) -> None:
        if self.state is None:
            if len(y_pred.shape) > 2:
                raise ValueError(f"R2Score: y_pred has shape {y_pred.shape}; expected (batch, outputs) or (batch,).")
            outputs = y_pred.shape[-1] if len(y_pred.shape) == 2 else 1
            # an origin near the targets, so that squares of large numbers need not be subtracted; then, with y measured from
            # it and w the weights, the sums of w, w y, w y², w (y - p)² and (w != 0)
            self.state = self.add_variable((6, outputs), name="origin_and_sums")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch; weights have shape (batch,), (batch, 1) or (batch, outputs)."""
        y_true, y_pred = (y.astype(self.dtype) for y in aligned(self.name, y_true, y_pred))
        self.build(y_true, y_pred)
        if y_pred.ndim == 1:
            y_true, y_pred = y_true[:, None], y_pred[:, None]
        weight = jnp.ones_like(y_true)
        if sample_weight is not None:
            weight = weight * like_values(sample_weight, y_true, "sample_weight", self.name).astype(self.dtype)
        state = self.state.value
        mean = divide_or_zero(jnp.sum(weight * y_true, axis=0), jnp.sum(weight, axis=0))
        origin = jnp.where(state[1] == 0, mean, state[0])
        y_true, y_pred = y_true - origin, y_pred - origin
        terms = (weight, weight * y_true, weight * y_true**2, weight * (y_true - y_pred) ** 2, (weight != 0).astype(self.dtype))
        self.state.assign(jnp.stack([origin, *(old + jnp.sum(term, axis=0) for old, term in zip(state[1:], terms))]))

    def result(self) -> jax.Array:
        if self.state is None:
            return jnp.zeros((), self.dtype)
        _, weight, total, squares, residual, rows = self.state.value
        spread = squares - total * divide_or_zero(total, weight)
        constant = jnp.where((residual == 0) & (weight > 0), 1.0, 0.0)
        score = jnp.where(spread == 0, constant, 1.0 - divide_or_zero(residual, spread))
        if self.class_aggregation == "uniform_average":
            score = jnp.mean(score)
        elif self.class_aggregation == "variance_weighted_average":
            score = divide_or_zero(jnp.sum(spread * score), jnp.sum(spread))
        if self.num_regressors:
            n = jnp.max(rows)
            left = n - self.num_regressors - 1
            score = jnp.where(left > 0, 1.0 - (1.0 - score) * divide_or_zero(n - 1.0, left), score)
        return score
