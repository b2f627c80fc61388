"""Makes a captured jaxpr concrete: for one value of each symbolic size and of ``training``, without running ``call``.

Each equation is bound again in the trace that is active. A read of a variable is a read at that moment (the active frame
answers), a ``cond`` on the mode becomes the branch that is asked for, and gradients that functions define for themselves
are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import jax_compat
from pellucid.core.equation import call_again, op_p
from pellucid.core.frame import read_again, read_variable_p
from pellucid.core.jax_compat import Literal, parts
from pellucid.core.mode import TrainingFlag, mode_p
from pellucid.errors import ShapeError


class InstantiationError(Exception):
    """A graph cannot be made concrete, for example as an equation came out with other types than its symbolic ones say.

    It must be captured at the size itself.
    """

    def __init__(self, why: str, graph: Any = None):
        super().__init__(why)
        self.why, self.graph = why, graph


class Instantiation:
    """What a graph is made concrete for. Nested jaxprs are made once each, by identity, and so are functions with derivatives of
    their own, such as ``jax.nn.relu``: JAX then differentiates and lowers each once, however many layers call it.

    Args:
        sizes: value of each symbolic size, such as ``{"batch": 32}``; symbolic itself where another capture is going on.
        training: the mode, or None where no equation asks for it, or the flag of another capture.
    """

    def __init__(self, sizes: dict[str, Any], training: bool | TrainingFlag | None):
        self.sizes, self.training = sizes, training
        self._made: dict[int, Any] = {}
        self._functions: dict[Any, Any] = {}
        self._is_open = any(isinstance(size, jax_compat.SymbolicSize) for size in sizes.values())

    def run(self, jaxpr: Any, args: Sequence[Any], consts: Sequence[Any] | None = None) -> list[Any]:
        """The outputs of a jaxpr for concrete inputs."""
        invars, constvars, own_consts, eqns, outvars = parts(jaxpr)
        values = dict(zip((*constvars, *invars), (*(own_consts if consts is None else consts), *args), strict=True))
        modes: set[Any] = set()

        def value(v: Any) -> Any:
            return v.val if isinstance(v, Literal) else values[v]

        for eqn in eqns:
            first = eqn.invars[0] if eqn.invars and not isinstance(eqn.invars[0], Literal) else None
            name, on_mode = eqn.primitive.name, first in modes
            if eqn.primitive is read_variable_p:
                out = [read_again(eqn)]
            elif eqn.primitive is mode_p and isinstance(self.training, TrainingFlag):  # part of another capture: it stays open
                out = [self.training.value]
            elif eqn.primitive is mode_p or (name == "convert_element_type" and on_mode):
                modes.add(eqn.outvars[0])
                out = [jnp.asarray(bool(self.training), eqn.outvars[0].aval.dtype)]
            elif name == "cond" and on_mode:
                branch = eqn.params["branches"][int(bool(self.training))]
                with jax_compat.in_scope_of(eqn):
                    out = self.run(branch, [value(v) for v in eqn.invars[1:]])
            else:
                out = self._bind(eqn, [value(v) for v in eqn.invars])
            values.update(zip(eqn.outvars, out, strict=True))
        return [value(v) for v in outvars]

    def _bind(self, eqn: Any, inputs: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        if name == "dim_as_value":
            return [jnp.asarray(self.concrete(eqn.params["dim"]), eqn.outvars[0].aval.dtype)]
        if eqn.primitive is op_p:
            return self._checked(eqn, self._called(eqn, inputs))
        if name in ("custom_jvp_call", "custom_vjp_call"):
            with jax_compat.in_scope_of(eqn):
                return list(self._function(eqn)(*inputs))
        return self._checked(eqn, jax_compat.bind_again(eqn, inputs, {k: self.concrete(v) for k, v in eqn.params.items()}))

    def _called(self, eqn: Any, inputs: list[Any]) -> list[Any]:
        try:
            return call_again(eqn, inputs, self.concrete, self._is_open)
        except ShapeError as error:  # of sizes that nobody knew before: no other capture would do
            scope, place = jax_compat.scope(eqn), jax_compat.eqn_place(eqn)
            raise ShapeError(f"{error} In layer {scope!r}{f' ({place})' if place else ''}.") from None

    def _checked(self, eqn: Any, out: list[Any]) -> list[Any]:
        for made, var in zip(out, eqn.outvars, strict=True):
            want = self.concrete(getattr(var.aval, "shape", ()))
            if not jax_compat.same_sizes(jnp.shape(made), want):
                raise InstantiationError(
                    f"{eqn.primitive.name} gives shape {jnp.shape(made)} at {self.sizes}, where its symbolic types say {want}"
                )
        return out

    def concrete(self, value: Any) -> Any:
        """A parameter of an equation with its symbolic sizes evaluated, nested jaxprs included."""
        if isinstance(value, jax_compat.SymbolicSize):
            return jax_compat.evaluate_size(value, self.sizes)
        if isinstance(value, tuple):
            items = [self.concrete(v) for v in value]
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if isinstance(value, list):
            return [self.concrete(v) for v in value]
        if jax_compat.is_jaxpr(value):
            if id(value) not in self._made:  # jaxprs of functions under jit are shared
                made = jax.make_jaxpr(lambda *args: self.run(value, args))(*[self._spec(v.aval) for v in parts(value).invars])
                self._made[id(value)] = jax_compat.as_kind_of(value, made)
            return self._made[id(value)]
        if isinstance(value, jax.core.ShapedArray):
            return value.update(shape=self.concrete(value.shape))
        if isinstance(value, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(self.concrete(value.shape), value.dtype)
        return value

    def _spec(self, aval: Any) -> Any:
        return jax.ShapeDtypeStruct(self.concrete(aval.shape), aval.dtype, weak_type=aval.weak_type)

    def _function(self, eqn: Any) -> Any:
        """The function that a ``custom_jvp_call`` or ``custom_vjp_call`` calls, with its derivative."""
        make = self._with_its_jvp if eqn.primitive.name == "custom_jvp_call" else self._with_its_vjp
        key = None if self._is_open or jax_compat.computes_now() else jax_compat.function_of(eqn)
        if key is None:
            return make(eqn)
        if key not in self._functions:
            self._functions[key] = jax.jit(make(eqn))
        return self._functions[key]

    def _with_its_jvp(self, eqn: Any) -> Any:
        function = jax.custom_jvp(lambda *args: self.run(eqn.params["call_jaxpr"], args))

        def jvp(primals: tuple, tangents: tuple) -> tuple:
            count = eqn.params["num_consts"]
            zeros = [getattr(t, "dtype", None) == jax.dtypes.float0 for t in tangents[count:]]
            jaxpr, consts, out_zeros = jax_compat.custom_jvp_rule(eqn, zeros)
            given = [t for t, zero in zip(tangents[count:], zeros, strict=True) if not zero]
            out = self.run(jaxpr, [*primals[count:], *given], consts)
            primal_out, rest = out[: len(out_zeros)], iter(out[len(out_zeros) :])
            return primal_out, [jnp.zeros_like(p) if zero else next(rest) for p, zero in zip(primal_out, out_zeros, strict=True)]

        function.defjvp(jvp)
        return function

    def _with_its_vjp(self, eqn: Any) -> Any:
        count, outs = eqn.params["num_consts"], len(eqn.outvars)
        function = jax.custom_vjp(lambda *args: self.run(eqn.params["call_jaxpr"], args))
        avals: list[Any] = []  # of the residuals, at their symbolic types

        def forward(*args: Any) -> tuple:
            jaxpr, consts, inputs = jax_compat.custom_vjp_forward(eqn)
            out = self.run(jaxpr, args[count:], consts)
            made = iter(zip(out, parts(jaxpr).outvars, strict=True))
            given = [next(made) if i is None else (args[i], eqn.invars[i]) for i in inputs]
            avals[:] = [v.aval for _, v in given]
            return out[len(out) - outs :], [residual for residual, _ in given]

        def backward(residuals: list[Any], cotangents: Any) -> tuple:
            specs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*avals, *(v.aval for v in eqn.outvars))]
            traced = jax.make_jaxpr(lambda *args: jax_compat.custom_vjp_backward(eqn, args))(*specs)
            gradients = self.run(traced, [*residuals, *cotangents])
            floats = [jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in eqn.invars[count:]]
            return (*[None] * count, *(g if is_float else None for g, is_float in zip(gradients, floats, strict=True)))

        function.defvjp(forward, backward)
        return function
