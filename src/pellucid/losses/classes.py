"""The losses as classes, with Keras's names and signatures: each adds reduction, options and a name to a function.

The arguments ``reduction``, ``name`` and ``dtype`` are those of ``Loss``; the others those of the function.
"""

from __future__ import annotations

from typing import Any

import jax

from pellucid.losses import classification, embedding, regression, segmentation, sequences
from pellucid.losses.loss import NamedLoss, registry

MEAN = "sum_over_batch_size"
Reduction = str | None


def _entered(*aliases: str) -> Any:
    """A decorator: enters a class under its own name, that of its function, and others."""
    return lambda cls: registry.add(cls, cls.function.__name__, *aliases)


@_entered("mse", "MSE")
class MeanSquaredError(NamedLoss):
    """``mean_squared_error`` as an object.

    Example:
        >>> from pellucid import losses
        >>> float(losses.MeanSquaredError()([[0.0], [1.0]], [[1.0], [4.0]]))
        5.0
    """

    function = staticmethod(regression.mean_squared_error)


@_entered("mae", "MAE")
class MeanAbsoluteError(NamedLoss):
    """``mean_absolute_error`` as an object."""

    function = staticmethod(regression.mean_absolute_error)


@_entered("mape", "MAPE")
class MeanAbsolutePercentageError(NamedLoss):
    """``mean_absolute_percentage_error`` as an object."""

    function = staticmethod(regression.mean_absolute_percentage_error)


@_entered("msle", "MSLE")
class MeanSquaredLogarithmicError(NamedLoss):
    """``mean_squared_logarithmic_error`` as an object."""

    function = staticmethod(regression.mean_squared_logarithmic_error)


@_entered("huber_loss")
class Huber(NamedLoss):
    """``huber`` as an object."""

    function = staticmethod(regression.huber)

    def __init__(self, delta: float = 1.0, reduction: Reduction = MEAN, name: str | None = "huber_loss", dtype: Any = None):
        super().__init__(reduction, name, dtype)
        self.delta = delta


@_entered("logcosh")
class LogCosh(NamedLoss):
    """``log_cosh`` as an object."""

    function = staticmethod(regression.log_cosh)


@_entered()
class CosineSimilarity(NamedLoss):
    """``cosine_similarity`` as an object."""

    function = staticmethod(regression.cosine_similarity)

    def __init__(self, axis: int = -1, reduction: Reduction = MEAN, name: str | None = None, dtype: Any = None):
        super().__init__(reduction, name, dtype)
        self.axis = axis


@_entered()
class Poisson(NamedLoss):
    """``poisson`` as an object."""

    function = staticmethod(regression.poisson)


@_entered("kld", "KLD", "kullback_leibler_divergence")
class KLDivergence(NamedLoss):
    """``kl_divergence`` as an object."""

    function = staticmethod(classification.kl_divergence)


@_entered()
class Hinge(NamedLoss):
    """``hinge`` as an object."""

    function = staticmethod(classification.hinge)


@_entered()
class SquaredHinge(NamedLoss):
    """``squared_hinge`` as an object."""

    function = staticmethod(classification.squared_hinge)


@_entered()
class CategoricalHinge(NamedLoss):
    """``categorical_hinge`` as an object."""

    function = staticmethod(classification.categorical_hinge)


@_entered("bce", "BCE")
class BinaryCrossentropy(NamedLoss):
    """``binary_crossentropy`` as an object.

    Example:
        >>> from pellucid import losses
        >>> round(float(losses.BinaryCrossentropy(from_logits=True)([[1], [0]], [[0.0], [0.0]])), 4)
        0.6931
    """

    function = staticmethod(classification.binary_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = MEAN,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction, name, dtype)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


@_entered()
class BinaryFocalCrossentropy(NamedLoss):
    """``binary_focal_crossentropy`` as an object."""

    function = staticmethod(classification.binary_focal_crossentropy)

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = MEAN,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction, name, dtype)
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


@_entered()
class CategoricalCrossentropy(NamedLoss):
    """``categorical_crossentropy`` as an object."""

    function = staticmethod(classification.categorical_crossentropy)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = MEAN,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction, name, dtype)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


@_entered()
class CategoricalFocalCrossentropy(NamedLoss):
    """``categorical_focal_crossentropy`` as an object."""

    function = staticmethod(classification.categorical_focal_crossentropy)

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = MEAN,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction, name, dtype)
        self.alpha, self.gamma = alpha, gamma
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


@_entered()
class SparseCategoricalCrossentropy(NamedLoss):
    """``sparse_categorical_crossentropy`` as an object. Places with the label ``ignore_class`` do not count in the mean.

    Example:
        >>> from pellucid import losses
        >>> loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
        >>> round(float(loss([0, -1], [[0.0, 0.0], [5.0, 5.0]])), 4)
        0.6931
    """

    function = staticmethod(classification.sparse_categorical_crossentropy)
    casts_labels = False

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: Reduction = MEAN,
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction, name, dtype)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def call(self, y_true: Any, y_pred: Any) -> jax.Array:
        return self.function(y_true, y_pred, **self.options)

    def counted(self, y_true: Any, y_pred: Any) -> jax.Array | None:
        if self.ignore_class is None:
            return None
        return classification.class_labels(y_true, y_pred, self.axis) != self.ignore_class


@_entered()
class CategoricalGeneralizedCrossEntropy(NamedLoss):
    """``categorical_generalized_cross_entropy`` as an object.

    Raises:
        ValueError: q is not between 0 and 1.
    """

    function = staticmethod(classification.categorical_generalized_cross_entropy)
    casts_labels = False

    def __init__(self, q: float = 0.5, reduction: Reduction = MEAN, name: str | None = None, dtype: Any = None):
        super().__init__(reduction, name, dtype)
        if not 0 < q < 1:
            raise ValueError(f"CategoricalGeneralizedCrossEntropy: q={q}; expected a number between 0 and 1.")
        self.q = q

    def call(self, y_true: Any, y_pred: Any) -> jax.Array:
        return self.function(y_true, y_pred, **self.options)


@_entered()
class CTC(NamedLoss):
    """``ctc`` as an object."""

    function = staticmethod(sequences.ctc)
    casts_labels = False

    def call(self, y_true: Any, y_pred: Any) -> jax.Array:
        return self.function(y_true, y_pred)


@_entered()
class Circle(NamedLoss):
    """``circle`` as an object. Rows without a pair of either kind do not count in the mean.

    It compares rows with each other, so that each size of batches has a program of its own.
    """

    function = staticmethod(embedding.circle)
    casts_labels = False

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: Reduction = MEAN,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction, name, dtype)
        self.gamma, self.margin, self.remove_diagonal = gamma, margin, remove_diagonal

    def call(self, y_true: Any, y_pred: Any) -> jax.Array:
        return self.function(y_true, y_pred, **self.options)

    def counted(self, y_true: Any, y_pred: Any) -> jax.Array:
        return self.call(y_true, y_pred) > 0


@_entered()
class Dice(NamedLoss):
    """``dice`` as an object."""

    function = staticmethod(segmentation.dice)

    def __init__(self, reduction: Reduction = MEAN, name: str | None = None, axis: int | tuple[int, ...] | None = None, dtype: Any = None):
        super().__init__(reduction, name, dtype)
        self.axis = axis


@_entered()
class Tversky(NamedLoss):
    """``tversky`` as an object."""

    function = staticmethod(segmentation.tversky)

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: Reduction = MEAN,
        name: str | None = None,
        axis: int | tuple[int, ...] | None = None,
        dtype: Any = None,
    ):
        super().__init__(reduction, name, dtype)
        self.alpha, self.beta, self.axis = alpha, beta, axis
