"""Conversions between types, and parts of arrays by their places."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes
from pellucid.core.arrays import array_seen
from pellucid.core.variable import Variable
from pellucid.ops.names import publish


def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> jax.Array:
    """An array from a number, list, NumPy array or Variable. Python's and NumPy's 64-bit floats become ``floatx``.

    Args:
        x: what to convert.
        dtype: by default that of ``x``.
        sparse, ragged: must be False or None.
    """
    if sparse or ragged:
        raise ValueError(f"convert_to_tensor: sparse={sparse}, ragged={ragged}, but only dense arrays are offered; expected None.")
    x = x.value if isinstance(x, Variable) else x
    if dtype is None and not hasattr(x, "aval"):
        x = array_seen(x, "x", "convert_to_tensor")
    return jnp.asarray(x, dtype=None if dtype is None else dtypes.standardize_dtype(dtype))


def convert_to_numpy(x: Any) -> np.ndarray:
    """A NumPy array with the values of an array. In ``call`` it raises: the values exist only in the compiled program."""
    return np.asarray(x)


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a JAX array, real or traced."""
    return isinstance(x, jax.Array)


def cast(x: Any, dtype: Any) -> jax.Array:
    """The same values in another data type."""
    return jnp.asarray(x, dtypes.standardize_dtype(dtype))


def shape(x: Any) -> tuple:
    """The shape of an array. In a capture the batch is a symbolic size."""
    return jnp.shape(x)


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[jax.Array]:
    """The slices along an axis."""
    return list(jnp.unstack(jnp.asarray(x), axis=axis))[:num]  # one operation, where a loop would be many


def dtype(x: Any) -> str:
    """The name of an array's data type."""
    return dtypes.standardize_dtype(x.dtype if hasattr(x, "dtype") else jnp.asarray(x).dtype)


def stop_gradient(variable: Any) -> Any:
    """The same value, which gradients treat as a constant."""
    return jax.lax.stop_gradient(variable)


def saturate_cast(x: Any, dtype: Any) -> jax.Array:
    """The same values in another data type; those outside its range become its least or its greatest.

    Example:
        >>> from pellucid import ops
        >>> ops.saturate_cast([-3.0, 300.0], "uint8").tolist()
        [0, 255]
    """
    x, wanted = jnp.asarray(x), jnp.dtype(dtypes.standardize_dtype(dtype))
    if jnp.issubdtype(x.dtype, jnp.bool_) or jnp.issubdtype(wanted, jnp.complexfloating):
        return x.astype(wanted)
    return jnp.clip(x, *_limits(x.dtype, wanted)).astype(wanted)


def _limits(given: Any, wanted: Any) -> tuple[Any, Any]:
    """The least and the greatest number of one type that another type has, too."""
    if jnp.issubdtype(wanted, jnp.bool_):
        return 0, 1
    whole = jnp.issubdtype(wanted, jnp.integer)
    limits = (jnp.iinfo if whole else jnp.finfo)(wanted)
    low, high = limits.min, limits.max
    if jnp.issubdtype(given, jnp.integer):
        own = jnp.iinfo(given)
        return (max(own.min, int(low)), min(own.max, int(high))) if whole else (own.min, own.max)
    nearest = np.array([low, high]).astype(given)
    beyond = nearest.astype("float64") != np.array([low, high], "float64")  # rounded, and maybe up: 2**31 - 1 in 32 bits
    return tuple(np.where(beyond, np.nextafter(nearest, np.zeros((), given)), nearest))


def slice(inputs: Any, start_indices: Any, shape: Sequence[int]) -> jax.Array:
    """``inputs[start : start + size]`` along each axis; the starts may be traced, the sizes may not.

    Args:
        inputs: an array.
        start_indices: a whole number for each axis. Where a piece would reach over the end, it starts earlier.
        shape: sizes of the piece; -1 for all from the start on, which must then be known.

    Example:
        >>> from pellucid import ops
        >>> ops.slice(ops.array([[1, 2, 3], [4, 5, 6]]), (0, 1), (2, 2)).tolist()
        [[2, 3], [5, 6]]
    """
    inputs = jnp.asarray(inputs)
    sizes = [inputs.shape[i] - start_indices[i] if isinstance(n, int) and n == -1 else n for i, n in enumerate(shape)]
    return jax.lax.dynamic_slice(inputs, start_indices, sizes)


def slice_update(inputs: Any, start_indices: Any, updates: Any) -> jax.Array:
    """``inputs`` with ``updates`` in the place that begins at the start indices, one for each axis."""
    inputs = jnp.asarray(inputs)
    return jax.lax.dynamic_update_slice(inputs, jnp.asarray(updates, inputs.dtype), start_indices)


def scatter(indices: Any, values: Any, shape: Sequence[int]) -> jax.Array:
    """Zeros with values added at places. Shapes: (n, k), (n, …) -> ``shape``, of which k axes are indexed.

    Example:
        >>> from pellucid import ops
        >>> ops.scatter([[0], [2], [2]], [1.0, 2.0, 3.0], (4,)).tolist()
        [1.0, 0.0, 5.0, 0.0]
    """
    values = jnp.asarray(values)
    return jnp.zeros(tuple(shape), values.dtype).at[_places(indices)].add(values)


def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> jax.Array:
    """``inputs`` with other values at places. Shapes: any, (n, k), (n, …) -> that of the inputs, of which k axes are indexed.

    Args:
        inputs: an array.
        indices: places, each by k whole numbers.
        updates: what comes there.
        reduction: what becomes of it and what was there: None to replace, "add", "mul", "max" or "min".

    Example:
        >>> from pellucid import ops
        >>> ops.scatter_update(ops.zeros((3,)), [[1], [1]], [4.0, 5.0], "add").tolist()
        [0.0, 9.0, 0.0]
    """
    inputs = jnp.asarray(inputs)
    methods = {None: "set", "add": "add", "mul": "multiply", "max": "max", "min": "min"}
    if reduction not in methods:
        raise ValueError(f"scatter_update: reduction={reduction!r} is not known; expected one of {list(methods)}.")
    return getattr(inputs.at[_places(indices)], methods[reduction])(jnp.asarray(updates, inputs.dtype))


def _places(indices: Any) -> tuple[jax.Array, ...]:
    return tuple(jnp.moveaxis(jnp.asarray(indices), -1, 0))


def custom_gradient(f: Callable) -> Callable:
    """A function with a gradient of its own: ``f`` returns its value and a function from the gradient of that to those of its arguments.

    Variables among the arguments count as their values.

    Example:
        >>> from pellucid import ops, value_and_grad, Variable
        >>> @ops.custom_gradient
        ... def clipped(x):
        ...     return x * x, lambda upstream: ops.clip(2 * x * upstream, -1, 1)
        >>> v = Variable(3.0)
        >>> [float(g) for g in value_and_grad(lambda: clipped(v), [v])()[1]]
        [1.0]
    """
    inner = jax.custom_gradient(f)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values = [jax.tree.map(lambda a: a.value if isinstance(a, Variable) else a, a) for a in args]
        return inner(*values, **kwargs)

    return wrapped


def rearrange(tensor: Any, pattern: str, **axes_lengths: int) -> jax.Array:
    """Axes in another order, split and joined, as a pattern in the notation of einops says.

    Args:
        tensor: an array.
        pattern: ``"names of the axes -> names in the order wanted"``; names in parentheses are axes that are one axis there.
        axes_lengths: sizes of axes that are to be split; of those in one pair of parentheses all but one.

    Raises:
        ValueError: the pattern does not fit the array, or names differ between its sides.

    Source: Rogozhnikov 2022, "Einops: clear and reliable tensor manipulations".

    Example:
        >>> from pellucid import ops
        >>> ops.rearrange(ops.zeros((2, 6, 4)), "b (h w) c -> b c h w", h=2).shape
        (2, 4, 2, 3)
    """
    tensor = jnp.asarray(tensor)
    left, arrow, right = pattern.partition("->")
    before, after = _groups(left), _groups(right)
    names = [name for group in before for name in group]
    wanted = [name for group in after for name in group]
    if not arrow or len(before) != tensor.ndim or sorted(names) != sorted(wanted) or len(set(names)) != len(names):
        raise ValueError(
            f"rearrange: the pattern {pattern!r} does not fit an array of shape {tensor.shape}; expected a name or a pair of parentheses "
            f"for each of its {tensor.ndim} axes, and the same names, once each, on both sides of '->'."
        )
    sizes: dict[str, Any] = {}
    for size, group in zip(tensor.shape, before):
        given = {name: axes_lengths[name] for name in group if name in axes_lengths}
        rest = [name for name in group if name not in given]
        known = math.prod(given.values())
        if len(rest) > 1 or (isinstance(size, int) and (size % known or (not rest and size != known))):
            raise ValueError(
                f"rearrange: an axis of size {size} cannot be split into ({' '.join(group)}) with {given}. Give all but one size."
            )
        sizes |= given | {name: size if len(group) == 1 else size // known for name in rest}
    split_axes = jnp.reshape(tensor, [sizes[name] for name in names])
    return jnp.reshape(
        jnp.transpose(split_axes, [names.index(name) for name in wanted]), [math.prod(sizes[n] for n in group) for group in after]
    )


def _groups(side: str) -> list[list[str]]:
    """The names of each axis: ``"a (b c)"`` gives [["a"], ["b", "c"]]."""
    return [(joined or single).split() for joined, single in re.findall(r"\(([^)]*)\)|(\S+)", side)]


__all__ = publish(globals())
