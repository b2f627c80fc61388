"""Loss: values of a function, weighted and reduced to one number. Also what all losses share: shapes and rows."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import dtypes, naming, serialization
from pellucid.core.masks import mask_of
from pellucid.core.registry import Registry
from pellucid.core.weakly import cached_weakly
from pellucid.errors import did_you_mean

REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none")

registry = Registry("loss", home="pellucid.losses")


class Loss:
    """A number to minimise. Subclasses define ``call``, which returns one value for each row, or for each row and step.

    Args:
        name: by default the class's name in snake case, made unique.
        reduction: what becomes of the values (weighted, where there are weights):
            "sum_over_batch_size" or "mean": their sum divided by their number (not by the sum of the weights);
            "mean_with_sample_weight": their sum divided by the sum of the weights; "sum"; "none" or None: they stay.
        dtype: what predictions and targets are converted to, by default ``floatx()``.

    Example:
        >>> import numpy as np
        >>> from pellucid import losses
        >>> class FourthPower(losses.Loss):
        ...     def call(self, y_true, y_pred):
        ...         return ((y_true - y_pred) ** 4).mean(axis=-1)
        >>> y_true, y_pred = np.array([[1], [2]]), np.array([[1.0], [4.0]])
        >>> float(FourthPower()(y_true, y_pred))
        8.0
        >>> float(FourthPower()(y_true, y_pred, rows=np.array([1, 0])))
        0.0
    """

    _recorded: serialization.Recorded
    casts_labels = True  # whether integer targets become floats: those that are indices must not

    def __new__(cls, *args: Any, **kwargs: Any) -> Loss:
        loss = object.__new__(cls)
        loss._recorded = serialization.Recorded(args, kwargs)
        return loss

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None):
        if reduction is not None and reduction not in REDUCTIONS:
            raise ValueError(f"{type(self).__name__}: reduction={reduction!r} is not known. {did_you_mean(reduction, REDUCTIONS)}")
        self.name = name or naming.unique_name(naming.snake_case(type(self).__name__))
        self.reduction = reduction
        self.dtype = dtypes.standardize_dtype(dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The values, of shape (batch, …), not reduced over the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no call method. Define `def call(self, y_true, y_pred): …`.")

    def counted(self, y_true: Any, y_pred: Any) -> Any:
        """Which values count (1 or 0, of their shape), or None: all. The others are left out of sum and number."""
        return None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, rows: Any = None) -> jax.Array:
        """The reduced loss.

        Args:
            y_true: targets.
            y_pred: predictions.
            sample_weight: factors of the values, of shape (batch,), (batch, 1) or that of the values.
            rows: shape (batch,); 0 where a row is padding, which is left out of the sum and of the number of rows.
        """
        values, counted = self.values(y_true, y_pred)
        return reduce_values(values, self.reduction, sample_weight, rows, counted, self.name)

    def values(self, y_true: Any, y_pred: Any) -> tuple[jax.Array, Any]:
        """What ``call`` and ``counted`` return for targets and predictions of any type; where these have a mask, only what is real
        counts.
        """
        self._check_real(y_true=y_true, y_pred=y_pred)
        mask = mask_of(y_pred)
        y_true, y_pred = _arrays(y_true, self.dtype if self.casts_labels else None), _arrays(y_pred, self.dtype)
        values = jnp.asarray(self.call(y_true, y_pred))
        return values, within_mask(self.counted(y_true, y_pred), mask, values, self.name)

    def _check_real(self, **given: Any) -> None:
        """A conversion to real numbers would drop the imaginary parts."""
        for name, tree in given.items():
            found = next((x.dtype for x in jax.tree.leaves(tree) if jnp.issubdtype(getattr(x, "dtype", None), jnp.complexfloating)), None)
            if found is not None and dtypes.is_float(self.dtype):
                raise ValueError(
                    f"{self.name}: {name} is {found}; expected real numbers: take ops.abs of them, or ops.real and ops.imag as two outputs."
                )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal loss, as plain data."""
        return serialization.config_of(self, Loss, self._recorded)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """The loss that ``get_config`` described."""
        return cls(**serialization.arguments_from(cls, config))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


class FunctionLoss(Loss):
    """A function ``(y_true, y_pred) -> values`` as a loss.

    Args:
        function: returns one value for each row, or for each row and step.
        name: by default that of the function.
        reduction: as in ``Loss``.
        dtype: as in ``Loss``.
        options: further arguments of the function.

    Example:
        >>> from pellucid import losses
        >>> float(losses.FunctionLoss(losses.huber, delta=2.0)([[0.0]], [[3.0]]))
        4.0
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        **options: Any,
    ):
        super().__init__(name or function_name(function), reduction, dtype)
        self.function, self.options = function, options

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if isinstance(y_true, jax.Array) and isinstance(y_pred, jax.Array):
            y_true, y_pred = align_ranks(y_true, y_pred)
        return self.function(y_true, y_pred, **self.options)

    def get_config(self) -> dict[str, Any]:
        more = {"function": self.function, **self.options}
        return {**super().get_config(), **{name: serialization.serialize_keras_object(value) for name, value in more.items()}}


class NamedLoss(Loss):
    """Base of Pellucid's own losses: the class adds reduction, options and a name to ``function``.

    The options are the further arguments of the function; the class keeps them as attributes of those names.
    """

    function: Callable[..., Any]

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None):
        super().__init__(name or function_name(self.function), reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(*with_last_axis(y_true, y_pred), **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The further arguments of the function."""
        return options_of(self, self.function)


def options_of(holder: Any, function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a function beyond y_true and y_pred that an object has as attributes."""
    return {name: getattr(holder, name) for name in _option_names(function) if hasattr(holder, name)}


@cached_weakly
def _option_names(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)[2:]


def _arrays(tree: Any, dtype: Any) -> Any:
    """Arrays of a data type; a list is an array, not a structure of numbers."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree, is_leaf=lambda node: isinstance(node, list))


def function_name(function: Any) -> str:
    """The name of a function, also of one that ``functools.partial`` made, or of a callable object's class."""
    function = getattr(function, "func", function)
    return getattr(function, "__name__", None) or naming.snake_case(type(function).__name__)


# ---- Shapes: targets and predictions ----


def align_ranks(y_true: jax.Array, y_pred: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where one has one axis more, of size 1, at the end: (batch,) gets it; of a longer shape it goes."""
    if y_true.ndim == y_pred.ndim + 1:
        y_pred, y_true = align_ranks(y_pred, y_true)
    elif y_pred.ndim == y_true.ndim + 1 and y_pred.ndim > 1 and y_pred.shape[-1] == 1:
        if y_true.ndim == 1:
            y_true = y_true[:, None]
        else:
            y_pred = jnp.squeeze(y_pred, -1)
    return y_true, y_pred


def with_last_axis(y_true: Any, y_pred: Any) -> tuple[jax.Array, jax.Array]:
    """(batch,) becomes (batch, 1), so that a function that reduces the last axis keeps the rows apart."""
    y_true, y_pred = align_ranks(jnp.asarray(y_true), jnp.asarray(y_pred))
    return (y_true[:, None], y_pred[:, None]) if y_true.ndim == y_pred.ndim == 1 else (y_true, y_pred)


def as_float(y_pred: Any) -> jax.Array:
    """Predictions as floats of 32 bits or more: logarithms of half precision would overflow."""
    y_pred = jnp.asarray(y_pred)
    if not dtypes.is_float(y_pred.dtype) or y_pred.dtype.itemsize < 4:
        return y_pred.astype("float32")
    return y_pred


def aligned(function: str, y_true: Any, y_pred: Any, hint: str = "") -> tuple[jax.Array, jax.Array]:
    """Targets and predictions as floats of equal shape.

    Raises:
        ValueError: their shapes differ. Shapes that merely broadcast would train on something else, silently.
    """
    y_pred = as_float(y_pred)
    y_true, y_pred = align_ranks(jnp.asarray(y_true), y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"{function}: y_true has shape {y_true.shape} and y_pred has shape {y_pred.shape}; expected equal shapes. "
            + (hint or "Change the number of units of the output layer, or select, stack or reshape the targets.")
        )
    return y_true.astype(y_pred.dtype), y_pred


# ---- Reduction ----


def reduce_values(
    values: jax.Array,
    reduction: str | None,
    sample_weight: Any = None,
    rows: Any = None,
    counted: Any = None,
    name: str = "loss",
) -> jax.Array:
    """Values of shape (batch, …), weighted and reduced.

    Args:
        values: the values.
        reduction: see ``Loss``.
        sample_weight: factors; shape (batch,), (batch, 1), that of the values, or ().
        rows: shape (batch,); 0 for rows that are padding.
        counted: shape of the values; 0 for values that are left out of sum and number.
        name: for error messages.

    Example:
        >>> import jax.numpy as jnp
        >>> from pellucid.losses.loss import reduce_values
        >>> float(reduce_values(jnp.array([1.0, 3.0, 5.0]), "mean", rows=[1, 1, 0]))
        2.0
    """
    if values.ndim == 0:
        return _reduced_already(values, reduction, sample_weight, rows, name)
    masks = [like_values(mask, values, what, name) != 0 for mask, what in ((rows, "rows"), (counted, "counted")) if mask is not None]
    mask = functools.reduce(jnp.logical_and, masks) if masks else None
    weight = None if sample_weight is None else like_values(sample_weight, values, "sample_weight", name).astype(values.dtype)
    if mask is not None:
        values = jnp.where(mask, values, 0)
        weight = weight if weight is None else jnp.where(mask, weight, 0)
    if weight is not None:
        values = values * weight
    if reduction in (None, "none"):
        return values
    if reduction == "sum":
        return jnp.sum(values)
    if reduction == "mean_with_sample_weight" and weight is not None:
        return divide_or_zero(jnp.sum(values), jnp.sum(jnp.broadcast_to(weight, values.shape)))
    if mask is None:
        return jnp.mean(values)
    return divide_or_zero(jnp.sum(values), jnp.sum(jnp.broadcast_to(mask, values.shape), dtype=values.dtype))


def _reduced_already(value: jax.Array, reduction: str | None, sample_weight: Any, rows: Any, name: str) -> jax.Array:
    if rows is not None:
        raise ValueError(
            f"Loss {name!r} returned one number for the whole batch, so that rows of padding cannot be left out of it. "
            "Return one value for each row: reduce over the last axis only."
        )
    return value if sample_weight is None else reduce_values(value * jnp.asarray(sample_weight, value.dtype), reduction)


def like_values(given: Any, values: jax.Array, what: str, name: str) -> jax.Array:
    """Weights or a mask with the axes of the values, so that they broadcast from the left: row by row."""
    given = jnp.asarray(given)
    if given.ndim == 0:
        return given
    if given.ndim == values.ndim + 1 and given.shape[-1] == 1:
        given = jnp.squeeze(given, -1)
    fits = given.ndim <= values.ndim and given.shape[0] == values.shape[0]
    if not fits or any(g not in (1, v) for g, v in zip(given.shape[1:], values.shape[1:])):
        raise ValueError(
            f"{name}: {what} has shape {given.shape} and does not fit the values, of shape {values.shape}; "
            f"expected one number for each row, of shape ({values.shape[0]},), or one for each value."
        )
    return jnp.expand_dims(given, tuple(range(given.ndim, values.ndim)))


def within_mask(counted: Any, mask: Any, values: jax.Array, name: str) -> Any:
    """Which values count, where the predictions have a mask: True is real. Of a value for the whole batch nothing can be left out."""
    if mask is None or values.ndim == 0:
        return counted
    real = jnp.broadcast_to(like_values(mask, values, "the mask of y_pred", name), values.shape)
    return real if counted is None else jnp.logical_and(real, counted)


def divide_or_zero(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """The quotient, 0 where the denominator is 0."""
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))
