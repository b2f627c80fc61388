"""The functions of NumPy: those of ``jax.numpy``, with Keras's names and order of the arguments."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.numpy import (
    abs,
    absolute,
    add,
    all,
    allclose,
    amax,
    amin,
    angle,
    any,
    append,
    arange,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    argmax,
    argmin,
    argpartition,
    argsort,
    array,
    array_split,
    average,
    bartlett,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    blackman,
    broadcast_to,
    cbrt,
    ceil,
    clip,
    concatenate,
    conj,
    conjugate,
    copy,
    corrcoef,
    correlate,
    cos,
    cosh,
    count_nonzero,
    cross,
    cumprod,
    cumsum,
    deg2rad,
    diag,
    diagflat,
    diagonal,
    diff,
    digitize,
    divide,
    dot,
    dsplit,
    dstack,
    einsum,
    empty,
    empty_like,
    equal,
    exp,
    exp2,
    expand_dims,
    expm1,
    eye,
    fabs,
    flip,
    fliplr,
    flipud,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    full,
    full_like,
    gcd,
    geomspace,
    greater,
    greater_equal,
    hamming,
    hanning,
    heaviside,
    histogram,
    hsplit,
    hstack,
    hypot,
    i0,
    identity,
    imag,
    inner,
    isclose,
    isfinite,
    isin,
    isinf,
    isnan,
    isneginf,
    isposinf,
    isreal,
    kaiser,
    kron,
    lcm,
    ldexp,
    left_shift,
    less,
    less_equal,
    linspace,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    logspace,
    matmul,
    max,
    maximum,
    mean,
    median,
    min,
    minimum,
    mod,
    moveaxis,
    multiply,
    nan_to_num,
    nanargmax,
    nanargmin,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmedian,
    nanmin,
    nanpercentile,
    nanprod,
    nanquantile,
    nanstd,
    nansum,
    nanvar,
    ndim,
    negative,
    nextafter,
    nonzero,
    not_equal,
    ones,
    ones_like,
    outer,
    percentile,
    power,
    prod,
    ptp,
    quantile,
    rad2deg,
    ravel,
    real,
    reciprocal,
    repeat,
    reshape,
    right_shift,
    roll,
    rot90,
    round,
    searchsorted,
    select,
    sign,
    signbit,
    sin,
    sinc,
    sinh,
    size,
    sort,
    split,
    sqrt,
    square,
    squeeze,
    std,
    subtract,
    sum,
    swapaxes,
    take,
    tan,
    tanh,
    tensordot,
    tile,
    trace,
    transpose,
    trapezoid,
    tri,
    tril,
    triu,
    true_divide,
    trunc,
    unravel_index,
    vander,
    var,
    vdot,
    vsplit,
    vstack,
    zeros,
    zeros_like,
)

from pellucid.core import dtypes, jax_compat
from pellucid.ops.names import publish, refuse_sparse

# Keras's names of the arguments: the functions. Before "/" they go to JAX by position, after it by name.
ARGUMENTS = {
    "x /": (
        "abs absolute angle arccos arccosh arcsin arcsinh arctan arctanh bartlett bitwise_invert bitwise_not blackman cbrt ceil "
        "conj conjugate copy corrcoef cos cosh deg2rad exp exp2 expm1 fabs fliplr flipud floor hamming hanning i0 imag isfinite "
        "isinf isnan isneginf isposinf isreal log log10 log1p log2 logical_not ndim negative nonzero rad2deg ravel real "
        "reciprocal sign signbit sin sinc sinh size sqrt square tan tanh trunc"
    ),
    "x1 x2 /": (
        "add arctan2 divide dot equal floor_divide fmax fmin fmod gcd greater greater_equal heaviside hypot inner kron lcm "
        "ldexp less less_equal logaddexp logaddexp2 logical_and logical_or logical_xor matmul maximum minimum mod multiply "
        "nextafter not_equal outer power subtract true_divide vdot"
    ),
    "x y /": "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor left_shift right_shift",
    "x / axis keepdims": (
        "all amax amin any argmax argmin mean median nanargmax nanargmin nanmax nanmean nanmedian nanmin nanprod nanstd nansum "
        "nanvar ptp std sum var"
    ),
    "x / axis keepdims initial": "max min",
    "x / axis keepdims dtype": "prod",
    "x / axis dtype": "cumprod cumsum nancumprod nancumsum",
    "x / axis": "argsort count_nonzero flip sort squeeze",
    "x q / axis method keepdims": "nanpercentile nanquantile percentile quantile",
    "x1 x2 / rtol atol equal_nan": "allclose isclose",
    "x1 x2 / axis": "append",
    "x kth / axis": "argpartition",
    "x / dtype": "array empty_like ones_like zeros_like",
    "x indices_or_sections / axis": "array_split split",
    "x indices_or_sections /": "dsplit hsplit vsplit",
    "x / axis weights": "average",
    "x shape /": "broadcast_to",
    "x x_min x_max /": "clip",
    "xs / axis": "concatenate",
    "xs /": "dstack hstack vstack",
    "x1 x2 / mode": "correlate",
    "x1 x2 / axisa axisb axisc axis": "cross",
    "x / k": "diag diagflat tril triu",
    "x / offset axis1 axis2": "diagonal trace",
    "x axis /": "expand_dims",
    "x fill_value / dtype": "full_like",
    "x / bins range": "histogram",
    "x1 x2 / assume_unique invert": "isin",
    "x beta /": "kaiser",
    "x source destination /": "moveaxis",
    "x / nan posinf neginf": "nan_to_num",
    "x repeats / axis": "repeat",
    "x newshape /": "reshape",
    "x shift / axis": "roll",
    "array / k axes": "rot90",
    "x / decimals": "round",
    "sorted_sequence values / side": "searchsorted",
    "x axis1 axis2 /": "swapaxes",
    "x indices / axis": "take",
    "x1 x2 / axes": "tensordot",
    "x repeats /": "tile",
    "x / axes": "transpose",
    "x / N increasing": "vander",
}


def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> jax.Array:
    """How often each of 0, 1, … occurs in ``x``, or in each row of it; with weights, their sums.

    Args:
        x: whole numbers from 0; shape (n,) or (rows, n).
        weights: of the same shape, or None.
        minlength: the least length of the result. Within ``call``, where the values are not known, it is the length.
        sparse: must be False.

    Example:
        >>> from pellucid import ops
        >>> ops.bincount([1, 1, 3]).tolist()
        [0, 2, 0, 1]
    """
    refuse_sparse("bincount", sparse)
    x = jnp.asarray(x)
    weights = None if weights is None else jnp.asarray(weights)
    length = minlength or None if jax_compat.is_tracer(x) else builtins.max(int(jnp.max(x, initial=-1)) + 1, minlength)
    if x.ndim == 1:
        return jnp.bincount(x, weights, length=length)
    return jax.vmap(lambda *row: jnp.bincount(*row, length=length))(*((x,) if weights is None else (x, weights)))


def divide_no_nan(x1: Any, x2: Any) -> jax.Array:
    """``x1 / x2``, and 0 where ``x2`` is 0.

    Example:
        >>> from pellucid import ops
        >>> ops.divide_no_nan([1.0, 2.0], [2.0, 0.0]).tolist()
        [0.5, 0.0]
    """
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    zero = x2 == 0
    return jnp.where(zero, 0, x1 / jnp.where(zero, 1, x2))


def get_item(x: Any, key: Any) -> jax.Array:
    """``x[key]``"""
    return jnp.asarray(x)[key]


def meshgrid(*x: Any, indexing: str = "xy") -> list[jax.Array]:
    """The coordinates of all points of a grid, an array for each axis; ``indexing`` "ij" has the first axis first."""
    return list(jnp.meshgrid(*map(jnp.asarray, x), indexing=indexing))


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> jax.Array:
    """``x`` with more elements at the ends of its axes.

    Args:
        x: an array.
        pad_width: (before, after) for each axis, or one such pair, or one number, for all.
        mode: as in ``numpy.pad``: "constant", "reflect", "symmetric", …
        constant_values: what is added in the mode "constant"; 0 by default.

    Raises:
        ValueError: constant_values in another mode.
    """
    if constant_values is None:
        return jnp.pad(jnp.asarray(x), pad_width, mode)
    if mode != "constant":
        raise ValueError(f'pad: constant_values={constant_values!r} is for mode="constant", but mode={mode!r}. Leave one of the two out.')
    return jnp.pad(jnp.asarray(x), pad_width, mode, constant_values=constant_values)


def slogdet(x: Any) -> tuple[jax.Array, jax.Array]:
    """The sign of the determinants of square matrices, and the logarithm of their size."""
    return tuple(jnp.linalg.slogdet(jnp.asarray(x)))


def stack(x: Sequence[Any], axis: int = 0) -> jax.Array:
    """Arrays of equal shape along a new axis."""
    return jnp.stack(x, axis)


def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> jax.Array:
    """``x[…, indices[…, j, …], …]`` for each j along an axis; for None, of all elements in a row."""
    return jnp.take_along_axis(jnp.asarray(x), jnp.asarray(indices), axis)


def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,  # noqa: F811
    fill_value: Any = None,
) -> Any:
    """The different values of ``x``, as ``jax.numpy.unique``. Within ``call`` it needs ``size``: how many there will be.

    Example:
        >>> from pellucid import ops
        >>> ops.unique([3, 1, 3]).tolist()
        [1, 3]
    """
    more = {"size": size, "fill_value": fill_value, "sorted": sorted, "equal_nan": False}
    return jnp.unique(jnp.asarray(x), return_index, return_inverse, return_counts, axis, **more)


def vectorize(pyfunc: Callable, *, excluded: Any = None, signature: str | None = None) -> Callable:
    """A function of numbers as one of arrays, as ``numpy.vectorize``; it is computed for all elements at once."""
    return jnp.vectorize(pyfunc, excluded=excluded or frozenset(), signature=signature)


def view(x: Any, dtype: Any = None) -> jax.Array:
    """The same bits, read as another data type."""
    return jnp.asarray(x).view(None if dtype is None else dtypes.standardize_dtype(dtype))


def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """``x1`` where the condition holds, ``x2`` elsewhere; without them the indices where it holds, an array for each axis."""
    return jnp.where(jnp.asarray(condition), x1, x2)


__all__ = publish(globals(), ARGUMENTS)
