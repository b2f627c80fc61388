"""How much work a graph is: floating-point operations of its equations at one batch size."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pellucid.core import jax_compat
from pellucid.core.jax_compat import parts


@dataclasses.dataclass
class Cost:
    """Floating-point operations, and whether convolutions or windows are among them."""

    flops: float = 0.0
    convolutions: bool = False


def cost(jaxpr: Any, sizes: dict[str, int]) -> Cost:
    """The cost of one run. A multiplication with addition counts as two; a loop counts as often as it turns."""
    total = Cost()
    _add(total, jaxpr, sizes, 1)
    return total


def _add(total: Cost, jaxpr: Any, sizes: dict[str, int], times: int) -> None:
    for eqn in parts(jaxpr).eqns:
        name = eqn.primitive.name
        out = sum(_size(v, sizes) for v in eqn.outvars)
        nested = [
            v for value in eqn.params.values() for v in (value if isinstance(value, tuple | list) else (value,)) if jax_compat.is_jaxpr(v)
        ]
        if nested:
            length = eqn.params.get("length", 1) if name == "scan" else 1
            for inner in nested[:1] if name == "cond" else nested:
                _add(total, inner, sizes, times * jax_compat.evaluate_size(length, sizes))
        elif name == "dot_general":
            (contracting, _), _ = eqn.params["dimension_numbers"]
            total.flops += times * 2.0 * out * math.prod(jax_compat.evaluate_size(eqn.invars[0].aval.shape[a], sizes) for a in contracting)
        elif name == "conv_general_dilated":
            kernel, numbers = eqn.invars[1].aval.shape, eqn.params["dimension_numbers"]
            total.flops += times * 2.0 * out * math.prod(kernel) / kernel[numbers.rhs_spec[0]]
            total.convolutions = True
        else:
            total.convolutions |= name.startswith(("reduce_window", "select_and"))
            total.flops += times * out


def _size(var: Any, sizes: dict[str, int]) -> int:
    return math.prod(jax_compat.evaluate_size(d, sizes) for d in getattr(var.aval, "shape", ()))
