"""Labels and arrays in the forms that losses and models take."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Class numbers as rows of zeros with a single one, ``y[..., c] = (x == c)``.

    Args:
        x: whole numbers from 0, of any shape; a last axis of size 1 is dropped.
        num_classes: size of the new last axis, by default the largest number plus 1.

    Returns:
        Array of shape ``(*x.shape, num_classes)``: of NumPy, of JAX where ``x`` is.

    Raises:
        ValueError: for numbers that are no classes.

    Example:
        >>> import pellucid
        >>> pellucid.utils.to_categorical([0, 2, 1]).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    labels = np.asarray(x)
    if labels.dtype.kind not in "biuf" or (labels.dtype.kind == "f" and not np.array_equal(labels, np.floor(labels))):
        raise ValueError(f"to_categorical: x has dtype {labels.dtype} and values such as {labels.ravel()[:3]}; expected whole numbers.")
    labels = labels.astype("int64")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None and not labels.size:
        raise ValueError(f"to_categorical: x is empty (shape {labels.shape}), and num_classes=None; expected num_classes=….")
    count = int(labels.max()) + 1 if num_classes is None else num_classes
    wrong = labels[(labels < 0) | (labels >= count)]
    if wrong.size:
        raise ValueError(f"to_categorical: x holds {wrong[0]}; expected whole numbers from 0 to {count - 1} (num_classes={num_classes}).")
    made = np.zeros((*labels.shape, count))
    np.put_along_axis(made, labels[..., None], 1.0, axis=-1)
    return jnp.asarray(made, "float32") if isinstance(x, jax.Array) else made


def normalize(x: Any, axis: int = -1, order: float = 2) -> Any:
    """``x / norm(x)`` along an axis; what is zero stays zero.

    Args:
        x: array.
        axis: along which the norm is computed.
        order: of the norm: 1, 2, ``numpy.inf`` …

    Returns:
        Array of the shape of ``x``: of NumPy, of JAX where ``x`` is.

    Example:
        >>> import pellucid
        >>> pellucid.utils.normalize([[3.0, 4.0], [0.0, 0.0]]).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    library: Any = jnp if isinstance(x, jax.Array) else np
    norm = library.linalg.norm(library.asarray(x), order, axis, keepdims=True)
    return x / library.where(norm == 0, 1, norm)
