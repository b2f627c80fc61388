"""What the library's layers are made with: each argument is looked at by its type and its name, in one place for all layers."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pellucid.core import registry
from pellucid.core.explain import filtered

Check = Callable[[str, str, Any], None]


def checking(init: Callable) -> Callable:
    """Wraps the ``__init__`` of a layer: what no layer could take is refused before anything is made of it.

    Raises:
        ValueError, TypeError: name the class, the argument and its value, and say what was expected.

    Example:
        >>> import pellucid
        >>> pellucid.layers.BatchNormalization(epsilon="small")
        Traceback (most recent call last):
        ...
        ValueError: BatchNormalization: epsilon='small'; expected a number of at least 0.
    """
    known: dict[str, tuple[int, Check]] = {}  # filled at the first call: most programs use few layers

    @filtered
    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        if not known:
            known.update({p.name: (i, _check_of(p)) for i, p in enumerate(list(inspect.signature(init).parameters.values())[1:])})
        for name, (place, check) in known.items():
            value = args[place] if place < len(args) else kwargs.get(name, inspect.Parameter.empty)
            if value is not inspect.Parameter.empty:
                check(type(self).__name__, name, value)
        init(self, *args, **kwargs)

    return checked


def check_number(where: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> None:
    """Refuses what is no number in a range.

    Raises:
        ValueError: names the class, the argument and its value.
    """
    plain = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    array = isinstance(value, np.ndarray) or hasattr(value, "__jax_array__") or hasattr(value, "aval")
    if array or (plain and least <= value <= most):
        return
    within = f"in [{least:g}, {most:g}]" if most < math.inf else f"of at least {least:g}" if least > -math.inf else "that is not NaN"
    raise ValueError(f"{where}: {name}={value!r}; expected a number {within}.")


def check_seed(where: str, name: str, value: Any) -> None:
    """Refuses what is no whole number (and no generator of seeds).

    Raises:
        ValueError: names the class, the argument and its value.
    """
    if isinstance(value, bool | str | bytes | float | np.floating | list | tuple | dict):
        raise ValueError(f"{where}: {name}={value!r}; expected a whole number or None.")


def _flag(where: str, name: str, value: Any) -> None:
    if not isinstance(value, bool | np.bool_ | int | np.integer) or value not in (0, 1):
        raise ValueError(f"{where}: {name}={value!r}; expected True or False.")


def _axes(where: str, name: str, value: Any, several: bool = False) -> None:
    listed = several and isinstance(value, list | tuple)
    for axis in value if listed else (value,):
        whole = isinstance(axis, int | np.integer) and not isinstance(axis, bool | np.bool_)
        if not whole and not (listed and isinstance(axis, list | tuple)):
            expected = "a whole number, or a list of them" if several else "a whole number"
            raise TypeError(f"{where}: {name}={value!r}; expected {expected}.")


def _sizes(where: str, name: str, value: Any) -> None:
    whole = lambda d: d is None or (isinstance(d, int | np.integer) and not isinstance(d, bool | np.bool_))
    if not isinstance(value, list | tuple) or not all(map(whole, value)):
        raise TypeError(f"{where}: {name}={value!r}; expected a tuple of whole numbers, such as (2, 3).")


def _shape(where: str, name: str, value: Any) -> None:
    if not callable(value) and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
        _sizes(where, name, value)


def _numbers(where: str, name: str, value: Any) -> None:
    """A number, or an array of them."""
    array = np.asarray(value) if isinstance(value, list | tuple) else value
    if isinstance(value, bool) or not (isinstance(array, int | float) or getattr(array, "dtype", np.dtype(object)).kind in "iufV"):
        raise ValueError(f"{where}: {name}={value!r}; expected a number, or an array of them.")


def _of_type(expected: str, *types: type) -> Check:
    def check(where: str, name: str, value: Any) -> None:
        if not isinstance(value, types):
            raise TypeError(f"{where}: {name}={value!r}; expected {expected}.")

    return check


def _of_kind(kinds: registry.Registry) -> Check:
    def check(where: str, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray | np.generic) or hasattr(value, "aval"):
            return
        try:
            kinds.check(value)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{where}: {name}={value!r}. {error}") from None

    return check


def _anything(where: str, name: str, value: Any) -> None:
    """Left to the layer, which says more of it."""


def _between(least: float, most: float) -> Check:
    return functools.partial(check_number, least=least, most=most)


BY_NAME: dict[str, Check] = {  # the whole name, or its last word
    "initializer": _of_kind(registry.initializers),
    "regularizer": _of_kind(registry.regularizers),
    "constraint": _of_kind(registry.constraints),
    "activation": _of_kind(registry.activations),
    "seed": check_seed,
    "dropout": _between(0, 1),
    "momentum": _between(0, 1),
    "epsilon": _between(0, math.inf),
    "rate": _anything,
    "stddev": _anything,
    "slope": _anything,
    "threshold": _anything,
    "max_value": _anything,
    "l1": _anything,
    "l2": _anything,
    "mask_value": check_number,
    "scale": _numbers,
    "offset": _numbers,
    "mean": _numbers,
    "variance": _numbers,
    "equation": _of_type("a text such as 'abc,cd->abd'", str),
    "bias_axes": _of_type("the letters of axes, such as 'c', or None", str),
    "arguments": _of_type("a dict of arguments by name", dict),
    "renorm_clipping": _of_type("a dict with 'rmin', 'rmax', 'dmax'", dict),
    "cells": _of_type("a list of cells", list, tuple),
    "output_shape": _shape,
    "dims": _sizes,
    "target_shape": _sizes,
    "noise_shape": _sizes,
}
BY_TYPE: dict[str, Check] = {
    "float": check_number,
    "float | None": check_number,
}


def _check_of(parameter: inspect.Parameter) -> Check:
    name, written = parameter.name, str(parameter.annotation)
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return _anything
    if name in ("axis", "axes", "shared_axes", "attention_axes"):
        check: Check = functools.partial(_axes, several=written != "int")
    elif written.startswith("bool"):
        check = _flag
    else:
        check = BY_NAME.get(name) or BY_NAME.get(name.rpartition("_")[2]) or BY_TYPE.get(written) or _anything
    needed = written not in ("Any", "bool") and not written.endswith("| None")  # None is no flag, and counts as False
    return check if needed else lambda where, name, value: None if value is None else check(where, name, value)
