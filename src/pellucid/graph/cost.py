"""How much work a graph is: floating-point operations of its equations at one batch size."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from pellucid.core import jax_compat
from pellucid.core.jax_compat import parts

_MOVES = frozenset({  # equations that move or make data and compute nothing
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "dim_as_value", "dynamic_slice",
    "dynamic_update_slice", "gather", "iota", "mode", "name", "optimization_barrier", "pad", "read_variable", "reshape", "rev",
    "scatter", "select_n", "slice", "split", "squeeze", "stack", "stop_gradient", "tile", "transpose", "unstack",
})  # fmt: skip


@dataclasses.dataclass
class Cost:
    """Floating-point operations, and how many of the equations are convolutions or windows."""

    flops: float = 0.0
    convolutions: int = 0


def cost(jaxpr: Any, sizes: dict[str, int]) -> Cost:
    """The cost of one run. A multiplication with addition counts as two; a loop counts as often as it turns."""
    total = Cost()
    _add(total, jaxpr, sizes, 1)
    return total


def equation_cost(eqn: Any, sizes: dict[str, int]) -> Cost:
    """The cost of one equation."""
    total = Cost()
    _add_equation(total, eqn, sizes, 1)
    return total


def cost_by_scope(jaxpr: Any, sizes: dict[str, int], scope: str = "", times: int = 1) -> dict[str, float]:
    """The floating-point operations of one run by the named scopes that equations were made in, each with its primitive at the end.

    Args:
        jaxpr: to count.
        sizes: values of symbolic sizes.
        scope: that all of it is in.
        times: how often it runs.
    """
    found: dict[str, float] = {}
    for eqn in parts(jaxpr).eqns:
        here = f"{scope}/{jax_compat.scope(eqn)}".strip("/")
        inside = _inside(eqn, sizes)
        counts = [cost_by_scope(inner, sizes, here, times * turns) for inner, turns in inside]
        if not inside:
            counts = [{f"{here}/{eqn.primitive.name}": times * equation_cost(eqn, sizes).flops}]
        for count in counts:
            for name, flops in count.items():
                found[name] = found.get(name, 0.0) + flops
    return found


def _inside(eqn: Any, sizes: dict[str, int]) -> list[tuple[Any, int]]:
    """The jaxprs that an equation runs, and how often each turns."""
    nested = jax_compat.nested_jaxprs(eqn)
    length = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
    return [(inner, jax_compat.evaluate_size(length, sizes)) for inner in (nested[:1] if eqn.primitive.name == "cond" else nested)]


def _add(total: Cost, jaxpr: Any, sizes: dict[str, int], times: int) -> None:
    for eqn in parts(jaxpr).eqns:
        _add_equation(total, eqn, sizes, times)


def _add_equation(total: Cost, eqn: Any, sizes: dict[str, int], times: int) -> None:
    name = eqn.primitive.name
    out = sum(_size(v, sizes) for v in eqn.outvars)
    inside = _inside(eqn, sizes)
    if inside:
        for inner, turns in inside:
            _add(total, inner, sizes, times * turns)
    elif name == "dot_general":
        (contracting, _), _ = eqn.params["dimension_numbers"]
        total.flops += times * 2.0 * out * math.prod(jax_compat.evaluate_size(eqn.invars[0].aval.shape[a], sizes) for a in contracting)
    elif name == "conv_general_dilated":
        total.flops += times * 2.0 * _products(eqn, sizes)
        total.convolutions += 1
    elif "window_dimensions" in eqn.params:  # maxima or sums; in the gradient, searches
        window = math.prod(eqn.params["window_dimensions"])
        total.flops += times * (out * (window - 1) if name.startswith("reduce_") else _size(eqn.invars[0], sizes) * window)
        total.convolutions += 1
    elif name not in _MOVES:
        reduces = name.startswith(("reduce_", "arg", "cum")) and name != "reduce_precision"
        total.flops += times * (_size(eqn.invars[0], sizes) if reduces else out)


def _products(eqn: Any, sizes: dict[str, int]) -> float:
    """How often a convolution multiplies an element by a weight: padding and the zeros of a transposed one do not count."""
    known = lambda shape: [jax_compat.evaluate_size(d, sizes) for d in shape]
    inputs, kernel, outputs = (known(v.aval.shape) for v in (*eqn.invars, *eqn.outvars))
    p = eqn.params
    numbers = p["dimension_numbers"]
    pairs = 1
    for i, (a, k, o) in enumerate(zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)):
        before, spread = jax_compat.evaluate_size(p["padding"][i][0], sizes), p["lhs_dilation"][i]
        at = np.arange(outputs[o])[:, None] * p["window_strides"][i] + np.arange(kernel[k]) * p["rhs_dilation"][i] - before
        pairs *= int(((at >= 0) & (at <= (inputs[a] - 1) * spread) & (at % spread == 0)).sum())
    return pairs * outputs[numbers.out_spec[0]] * outputs[numbers.out_spec[1]] * kernel[numbers.rhs_spec[1]]


def _size(var: Any, sizes: dict[str, int]) -> int:
    return math.prod(jax_compat.evaluate_size(d, sizes) for d in getattr(var.aval, "shape", ()))
