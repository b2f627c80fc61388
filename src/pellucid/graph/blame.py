"""Blame: which operation was the first whose output is not finite.

A step's equations are evaluated one by one, and every value that is not finite carries its origins: the operations that
made it from finite inputs. What reaches the loss, a weight or another variable decides, so that an infinity that a mask takes out
again is not blamed. (A mask takes it out of the loss only: the gradient of what is behind it is 0 times infinity.)
"""

from __future__ import annotations

import dataclasses
import functools
import linecache
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import jax_compat
from pellucid.core.frame import read_variable_p
from pellucid.core.jax_compat import Literal, Place, parts

Origins = frozenset[int]
Value = tuple[Any, Origins]
_NONE: Origins = frozenset()
_AFTER_FORWARD = re.compile(r"\btranspose\(|\boptimizer:")
_TRANSFORMATION = re.compile(r"\b(vmap|jvp|transpose|remat|checkpoint|rematted_computation)\(")

# What usually makes these operations give NaN or infinity, and the cure.
ADVICE = {
    "log": "log needs numbers above zero: jnp.log(jnp.maximum(x, 1e-7)), or a loss with from_logits=True.",
    "log1p": "log1p needs numbers above -1: bound its input with jnp.maximum.",
    "sqrt": "sqrt needs numbers that are not negative, and its gradient at 0 is infinite: jnp.sqrt(jnp.maximum(x, 1e-7)).",
    "rsqrt": "rsqrt needs numbers above zero: add a small number to its input.",
    "div": "A division by zero: add a small number to the divisor, or choose a safe divisor with jnp.where before dividing.",
    "exp": "exp overflows float32 above 88: subtract the maximum first, or use jax.nn.softmax, jax.nn.logsumexp or a loss on logits.",
    "exp2": "exp2 overflows float32 at 128: subtract the maximum first.",
    "expm1": "expm1 overflows float32 above 88: bound its input with jnp.minimum.",
    "pow": "A power of zero or of a negative number: keep the base above zero with jnp.maximum.",
    "integer_pow": "A power that overflows, or a negative power of zero: scale the base, or keep it away from zero.",
    "acos": "acos needs numbers between -1 and 1, and its gradient is infinite there: jnp.clip(x, -0.999, 0.999).",
    "asin": "asin needs numbers between -1 and 1, and its gradient is infinite there: jnp.clip(x, -0.999, 0.999).",
    "atanh": "atanh needs numbers between -1 and 1: clip its input.",
    "gather": "An index outside of the array: jnp.take gives NaN there. Check the indices against the size of the table.",
}
_GROWTH = "The numbers grew too large: try a smaller learning rate, clipped gradients, or inputs scaled to about 1."


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What an array looks like: of its finite numbers the least, the largest and the mean, and the share of the others."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    minimum: float
    maximum: float
    mean: float
    not_finite: float

    @classmethod
    def of(cls, name: str, array: Any) -> Statistics:
        array = np.asarray(array)
        numbers = array.astype("float64").ravel() if array.dtype != bool else array.ravel().astype("float64")
        finite = numbers[np.isfinite(numbers)]
        low, high, mean = (float(f(finite)) if finite.size else float("nan") for f in (np.min, np.max, np.mean))
        return cls(name, array.shape, str(array.dtype), low, high, mean, 1 - finite.size / max(1, numbers.size))

    def __str__(self) -> str:
        kind = f"{self.name}: {self.dtype} {self.shape}"
        if self.not_finite == 1:
            return f"{kind}, nothing in it is finite"
        return f"{kind}, min {self.minimum:.4g}, max {self.maximum:.4g}, mean {self.mean:.4g}, {100 * self.not_finite:.3g} % not finite"


@dataclasses.dataclass(frozen=True)
class Blame:
    """The first operation whose output was not finite.

    Args:
        operation: JAX's name of it, such as "log"; "input" or "weight" where a value came in like that.
        phase: "forward", "gradient" or "update": what the operation is part of.
        layer: path of the layer call, None outside of layers.
        loss: name of the loss that it belongs to, or None.
        place: the user's line, or None.
        inputs: statistics of its inputs.
        output: those of its output.
        turn: of a loop (a scan), from 0, or None.
        forward_operations: of a gradient: what the same line computes in the forward pass.
        reached: what was not finite in the end: "the loss", "a gradient", "a weight" or "the variable 'norm/moving_mean'".
    """

    operation: str
    phase: str
    layer: str | None
    loss: str | None
    place: Place | None
    inputs: tuple[Statistics, ...]
    output: Statistics
    turn: int | None = None
    forward_operations: tuple[str, ...] = ()
    reached: str = "the loss"

    @property
    def advice(self) -> str:
        """One sentence: what to do."""
        if self.operation == "input":
            return "Clean the data, for example with np.nan_to_num, or leave out these rows."
        if self.operation == "weight":
            return "It was so before this batch: check the initial values, and where it was assigned."
        if self.phase == "update":
            return _GROWTH
        if any(s.not_finite for s in self.inputs):
            return "Infinities met, as in inf - inf or 0 * inf: mask with a large number, such as -1e9, or mask no row as a whole."
        names = self.forward_operations if self.phase == "gradient" else (self.operation,)
        return next((ADVICE[n] for n in (*names, self.operation) if n in ADVICE), _GROWTH)

    def __str__(self) -> str:
        what = {"input": "the data", "weight": "a weight"}.get(self.operation, f"operation `{self.operation}`")
        gradient = f"in the gradient of `{self.forward_operations[0]}`" if self.forward_operations else "in the gradient"
        phase = {"forward": "in the forward pass", "gradient": gradient, "update": "in the optimizer's update"}[self.phase]
        where = f" of the loss {self.loss!r}" if self.loss else f" of layer {self.layer!r}" if self.layer else ""
        lines = [f"First not finite: {what} {phase}{where}" + (f", turn {self.turn} of its loop" if self.turn is not None else "")]
        if self.place is not None:
            lines.append(f"  {self.place}: {linecache.getline(self.place.file, self.place.line).strip()}".rstrip(": "))
        lines += [f"  {s}" for s in (*self.inputs, self.output)]
        return "\n".join([*lines, self.advice])


def find_blame(
    jaxpr: Any,
    args: Sequence[Any],
    names: Sequence[str],
    read: Callable[[Any], Any],
    loss: Iterable[int],
    weights: Iterable[int],
    calls: Mapping[str, Place | None],
    others: Mapping[int, str],
) -> Blame | None:
    """Evaluates the equations of a step, one by one, and finds the first operation whose output is not finite.

    Args:
        jaxpr: of the step: forward pass, gradient and update, at concrete sizes.
        args: its inputs.
        names: of the inputs, for the text.
        read: the value that a variable had before the step.
        loss: which outputs hold losses.
        weights: which outputs are new weights.
        calls: the user's lines of layer calls, by path.
        others: which outputs are new values of other variables that were finite before, and their paths.

    Returns:
        None where all of them are finite.
    """
    follower = _Follower(read)
    given = [(a, follower.source("input", n, a)) for n, a in zip(names, args, strict=True)]
    outputs = follower.run(jaxpr, given)
    reached = [("the loss", outputs[i][1]) for i in loss] + [("a gradient", outputs[i][1]) for i in weights]
    reached += [(f"the variable {path!r}", outputs[i][1]) for i, path in others.items()]
    what = next((name for name, origins in reached if origins), None)
    if what is None:
        return None
    first = follower.found[min(frozenset[int]().union(*(origins for name, origins in reached if name == what)))]
    if not first.forward and first.place is not None:  # a mask may have hidden what that line itself computed
        first = next((one for one in follower.found if one.forward and one.place == first.place), first)
    return first.blame(what, jaxpr, calls)


@dataclasses.dataclass
class _Origin:
    """An equation (or an input, then ``eqn`` is None) where values stopped to be finite."""

    kind: str
    name: str
    eqn: Any
    scope: str
    place: Place | None
    inputs: list[Any]
    output: Any
    turn: int | None
    forward: bool

    def blame(self, reached: str, jaxpr: Any, calls: Mapping[str, Place | None]) -> Blame:
        if self.eqn is None:
            return Blame(self.kind, "forward", None, None, None, (), Statistics.of(self.name, self.output), reached=reached)
        scope = _plain(self.scope)
        phase = "forward" if self.forward or reached == "the loss" else "update" if "optimizer:" in scope else "gradient"
        layer, loss = layer_of(scope, calls), re.search(r"loss:([^/]*)", scope)
        # JAX keeps no line of what is inside of the library's own functions, such as the two branches of a normalization
        called = None if layer is None or loss is not None else calls[layer]
        place = None if phase == "update" else self.place or called
        inputs = [x for x in self.inputs if np.size(x) > 1] or self.inputs
        return Blame(
            operation=self.name,
            phase=phase,
            layer=layer,
            loss=loss and loss.group(1),
            place=place,
            inputs=tuple(Statistics.of(f"input {i}", x) for i, x in enumerate(inputs, 1) if hasattr(x, "dtype") and _is_number(x)),
            output=Statistics.of("output", self.output),
            turn=self.turn,
            forward_operations=_forward_operations(jaxpr, place) if phase == "gradient" else (),
            reached="a weight" if phase == "update" and reached == "a gradient" else reached,
        )


class _Follower:
    """Evaluates jaxprs eagerly; each value goes with the numbers of the origins that made it not finite."""

    def __init__(self, read: Callable[[Any], Any]):
        self.read = read
        self.found: list[_Origin] = []
        self._turn: int | None = None
        self._forward: tuple[bool, ...] | None = None  # of the equation that is evaluated: see _forward_equations
        self._places: list[Place] = []  # of the calls that are being evaluated: what JAX's own functions compute has no line

    def source(self, kind: str, name: str, value: Any) -> Origins:
        """The origin of a value that comes in as it is."""
        return _NONE if _is_finite(value) else self._note(kind, name, None, "", [], value)

    def run(self, jaxpr: Any, args: Sequence[Value], scope: str = "", forward: Sequence[bool] | None = None) -> list[Value]:
        """The outputs of a jaxpr.

        Args:
            args: its inputs.
            scope: of the equation that holds it.
            forward: which outputs the forward pass needs; by default all.
        """
        invars, constvars, consts, eqns, outvars = parts(jaxpr)
        values: dict[Any, Value] = dict(zip((*constvars, *invars), (*((c, _NONE) for c in consts), *args), strict=True))

        def value(v: Any) -> Value:
            return (v.val, _NONE) if isinstance(v, Literal) else values[v]

        ends = {v: i for i, eqn in enumerate(eqns) for v in eqn.invars if not isinstance(v, Literal)}
        ends.update({v: len(eqns) for v in outvars if not isinstance(v, Literal)})
        needed = _forward_equations(jaxpr, scope, tuple(forward or (True,) * len(outvars)))
        for i, eqn in enumerate(eqns):
            self._forward = needed.get(i)
            out = self._equation(eqn, [value(v) for v in eqn.invars], f"{scope}/{jax_compat.scope(eqn)}".strip("/"))
            values.update(zip(eqn.outvars, out, strict=True))
            for v in (*eqn.invars, *eqn.outvars):  # as much memory as the step itself, not that of all its values
                if not isinstance(v, Literal) and ends.get(v, -1) <= i:
                    values.pop(v, None)
        return [value(v) for v in outvars]

    def _equation(self, eqn: Any, inputs: list[Value], scope: str) -> list[Value]:
        if eqn.primitive is read_variable_p:
            variable = eqn.params["variable"]
            now = self.read(variable).astype(eqn.params["dtype"])
            return [(now, self.source("weight", f"weight {variable.path!r}", now))]
        if not eqn.outvars:  # a print: it has been printed
            return []
        name = eqn.primitive.name
        inner = _called(eqn)
        if inner is not None:
            place = _place(eqn, scope)
            self._places += [place] if place else []
            out = self.run(inner, inputs[len(inputs) - len(parts(inner).invars) :], scope, self._inner_outputs(eqn))
            del self._places[len(self._places) - bool(place) :]
            return out
        if name == "cond":
            branches = eqn.params["branches"]
            which = int(np.clip(int(inputs[0][0]), 0, len(branches) - 1))
            return self.run(branches[which], inputs[1:], scope, self._inner_outputs(eqn))
        out = jax_compat.bind_again(eqn, [v for v, _ in inputs], eqn.params)
        if all(map(_is_finite, out)):
            return [(v, _NONE) for v in out]
        if name in ("scan", "while"):
            return getattr(self, f"_{name}")(eqn, inputs, scope)
        return self._made(eqn, inputs, out, scope)

    def _made(self, eqn: Any, inputs: list[Value], out: list[Any], scope: str) -> list[Value]:
        carried = _NONE.union(*(o for _, o in inputs))
        was_finite, had_nan = all(_is_finite(v) for v, _ in inputs), any(_has_nan(v) for v, _ in inputs)
        made = []
        for v in out:
            origins = _NONE
            if not _is_finite(v):
                if carried:
                    origins = carried
                elif was_finite or (_has_nan(v) and not had_nan):  # else an infinity that was put there on purpose, such as a mask's
                    origins = self._note("operation", eqn.primitive.name, eqn, scope, [x for x, _ in inputs], v)
            made.append((v, origins))
        return made

    def _note(self, kind: str, name: str, eqn: Any, scope: str, inputs: list[Any], output: Any) -> Origins:
        place = None if eqn is None else _place(eqn, scope) or (self._places[-1] if self._places else None)
        self.found.append(_Origin(kind, name, eqn, scope, place, inputs, output, self._turn, self._forward is not None))
        return frozenset({len(self.found) - 1})

    def _inner_outputs(self, eqn: Any) -> tuple[bool, ...]:
        return _inner_outputs(eqn, self._forward or (False,) * len(eqn.outvars))

    def _scan(self, eqn: Any, inputs: list[Value], scope: str) -> list[Value]:
        body, length = eqn.params["jaxpr"], eqn.params["length"]
        before, carries = jax_compat.scanned(eqn)
        forward = self._inner_outputs(eqn)
        fixed, carry, xs = inputs[: before - carries], inputs[before - carries : before], inputs[before:]
        rows: list[list[Value]] = [[] for _ in eqn.outvars[carries:]]
        turns = range(length)[::-1] if eqn.params["reverse"] else range(length)
        for number, turn in enumerate(turns):
            outer, self._turn = self._turn, number
            out = self.run(body, [*fixed, *carry, *((x[turn], o if not _is_finite(x[turn]) else _NONE) for x, o in xs)], scope, forward)
            self._turn = outer
            carry = out[:carries]
            for row, y in zip(rows, out[carries:], strict=True):
                row.append(y)
        if eqn.params["reverse"]:
            rows = [row[::-1] for row in rows]
        return [*carry, *((jnp.stack([v for v, _ in row]), _NONE.union(*(o for _, o in row))) for row in rows)]

    def _while(self, eqn: Any, inputs: list[Value], scope: str) -> list[Value]:
        params = eqn.params
        of_cond, of_body = params["cond_nconsts"], params["body_nconsts"]
        cond_fixed, body_fixed, state = inputs[:of_cond], inputs[of_cond : of_cond + of_body], inputs[of_cond + of_body :]
        outer, turn, forward = self._turn, 0, self._inner_outputs(eqn)
        while bool(self.run(params["cond_jaxpr"], [*cond_fixed, *state], scope)[0][0]):
            self._turn = turn
            state = self.run(params["body_jaxpr"], [*body_fixed, *state], scope, forward)
            turn += 1
        self._turn = outer
        return state


def _place(eqn: Any, scope: str) -> Place | None:
    """The user's line of an equation. A loss of the library has none: the line that called ``fit`` would only confuse."""
    return None if "loss:" in scope and not jax_compat.is_ours_outside(eqn) else jax_compat.eqn_place(eqn)


def _forward_equations(jaxpr: Any, scope: str, outputs: tuple[bool, ...]) -> dict[int, tuple[bool, ...]]:
    """Which equations are part of the forward pass, by number, and which of their outputs it needs.

    Beside the forward pass, and under the same names, JAX computes what only the gradient needs, such as 1 / (2 sqrt(x)): what
    leads to an output through transposed equations or the optimizer alone.

    Args:
        jaxpr: of a step or a part of it.
        scope: of the equation that holds it.
        outputs: which outputs the forward pass needs.
    """
    eqns, outvars = parts(jaxpr).eqns, parts(jaxpr).outvars
    needed = {v for v, is_needed in zip(outvars, outputs, strict=True) if is_needed and not isinstance(v, Literal)}
    found = {}
    for i in range(len(eqns) - 1, -1, -1):
        which = tuple(v in needed for v in eqns[i].outvars)
        if any(which) and not _AFTER_FORWARD.search(f"{scope}/{jax_compat.scope(eqns[i])}"):
            found[i] = which
            needed.update(v for v in eqns[i].invars if not isinstance(v, Literal))
    return found


def _inner_outputs(eqn: Any, needed: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which outputs of what an equation calls are needed. Of a loop that is all that goes from turn to turn, if any of it."""
    name = eqn.primitive.name
    carries = jax_compat.scanned(eqn)[1] if name == "scan" else len(needed) if name == "while" else 0
    return (any(needed),) * carries + needed[carries:]


def _called(eqn: Any) -> Any:
    """The jaxpr of an equation that only calls it: a function under jit, under remat, or with its own derivative."""
    if eqn.primitive.name not in ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call"):
        return None
    nested = jax_compat.nested_jaxprs(eqn)
    return nested[0] if len(nested) == 1 else None


def layer_of(scope: str, calls: Iterable[str]) -> str | None:
    """The innermost layer call that a plain scope is in."""
    inside = [c for c in calls if scope == c or scope.startswith(c + "/")]
    return max(inside, key=len, default=None)


def _plain(scope: str) -> str:
    return _TRANSFORMATION.sub("", scope).replace(")", "").strip("/")


def _forward_operations(jaxpr: Any, place: Place | None) -> tuple[str, ...]:
    """What a line computes in the forward pass and is known to have an infinite gradient, divisions last."""
    names: dict[str, None] = {}

    def look(inner: Any, scope: str, outputs: tuple[bool, ...]) -> None:
        eqns = parts(inner).eqns
        for i, needed in sorted(_forward_equations(inner, scope, outputs).items()):
            nested, below = jax_compat.nested_jaxprs(eqns[i]), f"{scope}/{jax_compat.scope(eqns[i])}"
            for one in nested:
                which = _inner_outputs(eqns[i], needed)
                count = len(parts(one).outvars)
                look(one, below, which if len(which) == count else (True,) * count)
            if not nested and jax_compat.eqn_place(eqns[i]) == place:
                names[eqns[i].primitive.name] = None

    if place is not None:
        look(jaxpr, "", (True,) * len(parts(jaxpr).outvars))
    return tuple(sorted((n for n in names if n in ADVICE), key=lambda n: n == "div"))


def _is_number(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.number) or x.dtype == bool)


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact)) if hasattr(x, "dtype") else isinstance(x, float | complex)


def _is_finite(x: Any) -> bool:
    return not _is_float(x) or bool(_all_finite(x))


def _has_nan(x: Any) -> bool:
    return _is_float(x) and bool(_any_nan(x))


@functools.partial(jax.jit)
def _all_finite(x: Any) -> Any:
    return jnp.isfinite(x).all()


@functools.partial(jax.jit)
def _any_nan(x: Any) -> Any:
    return jnp.isnan(x).any()
