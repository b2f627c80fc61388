"""Keras's names and order of arguments for the functions of JAX, and what makes a function of ``ops`` public."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import jax.numpy as jnp

from pellucid.core.symbolic import accepting_symbols

ARRAYS = {"x", "x1", "x2", "y", "indices", "values", "sorted_sequence"}  # may be lists of numbers; jax.numpy refuses those

# What these give has the mask of what they take: they compute each element by itself.
ELEMENTWISE = {
    *("abs", "absolute", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cast", "cbrt"),
    *("ceil", "celu", "clip", "cos", "cosh", "divide", "divide_no_nan", "elu", "erf", "erfc", "erfinv", "exp", "exp2", "expm1"),
    *("fabs", "floor", "floor_divide", "fmax", "fmin", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish"),
    *("hard_tanh", "hypot", "leaky_relu", "log", "log10", "log1p", "log2", "log_sigmoid", "logaddexp", "logaddexp2", "maximum"),
    *("minimum", "mod", "multiply", "nan_to_num", "negative", "power", "reciprocal", "relu", "relu6", "round", "rsqrt"),
    *("saturate_cast", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "soft_shrink", "soft_sign", "softplus", "softsign"),
    *("sparse_plus", "sparse_sigmoid", "sqrt", "square", "squareplus", "stop_gradient", "subtract", "swish", "tan", "tanh"),
    *("tanh_shrink", "threshold", "true_divide", "trunc", "where"),
}


def named(function: Callable, arguments: str) -> Callable:
    """The same function with Keras's names of the arguments, in Keras's order.

    What JAX has beyond them (``where``, ``ddof``, …) is taken by JAX's names.

    Args:
        function: of JAX.
        arguments: Keras's names. Those before a "/" are the function's first ones, whatever they are called there; those
            after it are called the same, but may stand elsewhere.

    Example:
        >>> import inspect, jax.numpy as jnp
        >>> from pellucid.ops.names import named
        >>> mean = named(jnp.mean, "x / axis keepdims")
        >>> str(inspect.signature(mean)), float(mean([1.0, 3.0], None, False)), mean(x=jnp.ones(2), keepdims=True).tolist()
        ('(x, axis=None, keepdims=False)', 2.0, [1.0])
    """
    first, _, further = arguments.partition("/")
    leading = first.split()
    names = [*leading, *further.split()]

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if len(args) > len(names):
            raise TypeError(f"{function.__name__}() takes {len(names)} arguments by position ({', '.join(names)}), but got {len(args)}.")
        given = dict(zip(names, args))
        if twice := given.keys() & kwargs.keys():
            raise TypeError(f"{function.__name__}() got {min(twice)!r} both by position and by name.")
        given |= kwargs
        if missing := [name for name in leading if name not in given]:
            raise TypeError(f"{function.__name__}() misses {missing[0]!r}; its arguments are ({', '.join(names)}).")
        return function(*[_argument(name, given.pop(name)) for name in leading], **given)

    wrapped.__signature__ = _signature(function, leading, names)  # type: ignore[attr-defined]
    return wrapped


def _argument(name: str, value: Any) -> Any:
    return jnp.asarray(value) if name in ARRAYS and isinstance(value, list | tuple) else value


def _signature(function: Callable, leading: list[str], names: list[str]) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    try:
        own = inspect.signature(function).parameters
    except ValueError:  # of functions that are not written in Python
        own = {}  # type: ignore[assignment]
    defaults = {name: None if name not in own or own[name].default is inspect.Parameter.empty else own[name].default for name in names}
    return inspect.Signature(
        [inspect.Parameter(name, kind) if name in leading else inspect.Parameter(name, kind, default=defaults[name]) for name in names]
    )


def publish(module: dict[str, Any], arguments: Mapping[str, str] | None = None) -> list[str]:
    """Makes the functions of a module public: with Keras's arguments, and for symbolic tensors as well. Returns their names.

    Public is what has no underscore before its name and is a function of this folder or of JAX.

    Args:
        module: ``globals()`` of the module.
        arguments: for strings as ``named`` takes them the names of functions, with spaces between them.
    """
    spelled = {name: spelling for spelling, names in (arguments or {}).items() for name in names.split()}
    public = [name for name, value in module.items() if not name.startswith("_") and _is_function(value)]
    if unknown := spelled.keys() - set(public):
        raise ValueError(f"{module['__name__']} has no {sorted(unknown)}.")
    for name in public:
        function = module[name]
        module[name] = accepting_symbols(named(function, spelled[name]) if name in spelled else function, name in ELEMENTWISE)
    return public


def _is_function(value: Any) -> bool:
    home = (getattr(value, "__module__", None) or "").split(".")
    ours = isinstance(value, FunctionType) and home[:2] == ["pellucid", "ops"] and home[2:] != ["names"]
    return ours or (home[0] in ("jax", "jaxlib") and callable(value) and not isinstance(value, type))


def refuse_sparse(function: str, sparse: bool) -> None:
    """Keras takes ``sparse`` in functions whose result may be a sparse array on some backends."""
    if sparse:
        raise ValueError(f"{function}: sparse=True, but sparse arrays are not offered; expected False. Leave it out.")
