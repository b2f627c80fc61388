"""Can one row of a batch influence another? The proof, by walking the captured equations.

In a symbolic capture the types say where the rows are: the one axis whose size holds the symbol ``batch`` (other symbols are
lengths, and of no interest). Every equation
must keep the rows apart: elementwise work does, a reduction or contraction over that axis, a sort, a reversal or a
gather along it couples rows, and so does a size that becomes a number (``x * x.shape[0]``). An axis of ``k * batch``
(rows folded with another axis by a reshape) counts while a row's elements stay together. A primitive without a rule
counts as coupled. Where the proof succeeds, a smaller batch can be padded with repeated rows and run by the program that
exists, exactly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Literal, Place, parts
from pellucid.core.mode import mode_p

BATCH = "batch"


class Coupled(Exception):
    """Rows influence each other, or may."""

    def __init__(self, why: str):
        super().__init__(why)
        self.why = why
        self.scope: str = ""
        self.place: Place | None = None

    def seen_at(self, eqn: Any) -> None:
        """Notes the layer and the line of an equation, where a nested one did not tell."""
        self.scope = self.scope or jax_compat.scope(eqn)
        self.place = self.place or jax_compat.eqn_place(eqn)


@dataclasses.dataclass(frozen=True)
class Coupling:
    """Why rows cannot be proved independent: what happens, in which layer, at which line."""

    why: str
    scope: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        layer = f" in layer {self.scope!r}" if self.scope else ""
        return f"{self.why}{layer}{f' ({self.place})' if self.place else ''}"


def coupling(jaxpr: Any, training: bool) -> Coupling | None:
    """None where no row can influence another for this value of ``training``; else the first equation that couples."""
    try:
        _walk(jaxpr, training, derivatives=training)
        for var in parts(jaxpr).outvars:
            _axis(var)
    except Coupled as found:
        return Coupling(found.why, found.scope, found.place)
    return None


# ---- Where the rows are ----


def _axis(var: Any) -> int | None:
    """The axis that holds the rows of a value, None where no axis does."""
    shape = getattr(var.aval, "shape", ())
    axes = [i for i, size in enumerate(shape) if _has_batch(size)]
    if not axes:
        return None
    if len(axes) > 1:
        raise Coupled("every row meets every other one")
    _block(shape[axes[0]])
    return axes[0]


def _has_batch(size: Any) -> bool:
    return BATCH in jax_compat.symbols_of(size)


def _block(size: Any) -> Any:
    """k of an axis of ``k * batch`` elements, for any batch; a symbolic size where a length was folded into the rows."""
    symbols = jax_compat.symbols_in(size)
    batch = symbols.pop(BATCH, None)
    k = jax_compat.evaluate_size(size, {BATCH: 1, **symbols})
    if batch is None or _differ(size, k * batch):
        raise Coupled(f"an axis has the size {size}")
    return k


def _differ(one: Any, other: Any) -> bool:
    """Whether two sizes, symbolic or not, may differ."""
    return bool(one != other)


def is_batch(var: Any) -> bool:
    """Whether a value has one entry for each row, along its first axis."""
    shape: tuple = getattr(var.aval, "shape", ())
    return bool(shape) and _axis(var) == 0 and not _differ(_block(shape[0]), 1)


def _axes(variables: Sequence[Any]) -> list[int | None]:
    return [_axis(v) for v in variables]


def _walk(jaxpr: Any, training: bool, derivatives: bool) -> None:
    modes: set[Any] = set()
    eqns, outvars = parts(jaxpr).eqns, parts(jaxpr).outvars
    used = {v for variables in (outvars, *(e.invars for e in eqns)) for v in variables if not isinstance(v, Literal)}
    for eqn in eqns:
        try:
            name = eqn.primitive.name
            if name == "dim_as_value" and eqn.outvars[0] not in used:  # left over where an index was brought into its range
                continue
            on_mode = bool(eqn.invars) and not isinstance(eqn.invars[0], Literal) and eqn.invars[0] in modes
            if eqn.primitive is mode_p or (name == "convert_element_type" and on_mode):
                modes.add(eqn.outvars[0])
            elif name == "cond" and on_mode:
                _walk(eqn.params["branches"][int(training)], training, derivatives)
            else:
                _check(eqn, training, derivatives)
        except Coupled as found:
            found.seen_at(eqn)
            raise


def _check(eqn: Any, training: bool, derivatives: bool) -> None:
    ins, outs = _axes(eqn.invars), _axes(eqn.outvars)
    name = eqn.primitive.name
    if name == "dim_as_value":
        if not _has_batch(eqn.params["dim"]):
            return
        raise Coupled("the size of the batch is used as a number")
    rule = RULES.get(name)
    if rule is not None:
        rule(eqn, ins, outs)
    nested = [
        v for value in eqn.params.values() for v in (value if isinstance(value, tuple | list) else (value,)) if jax_compat.is_jaxpr(v)
    ]
    if derivatives and name in ("custom_jvp_call", "custom_vjp_call"):
        for jaxpr in jax_compat.derivative_jaxprs(eqn):  # a row's gradient must not reach another row either
            _walk(jaxpr, training, derivatives=False)
    if name in NESTING and eqn.params.get("name") not in APART:
        for jaxpr in nested:
            _walk(jaxpr, training, derivatives)
    if rule is not None or name in NESTING:
        return
    if any(a is not None for a in (*ins, *outs)):
        raise Coupled(f"there is no rule for the operation {name!r}")
    if eqn.effects:
        raise Coupled(f"the operation {name!r} has an effect")


# ---- Rules: (equation, axis of the rows in each input, in each output) -> None, or raises Coupled ----

Rule = Callable[[Any, list, list], None]
RULES: dict[str, Rule] = {}
NESTING = {
    "jit",
    "op",
    "pjit",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "remat",
    "checkpoint",
    "remat2",
    "cond",
    "while",
    "scan",
}
APART = {"rows apart"}  # functions of the library's under jit that fold the rows into another axis and take them out again


def _rule(*names: str) -> Callable[[Rule], Rule]:
    return lambda rule: RULES.update(dict.fromkeys(names, rule)) or rule  # type: ignore[func-returns-value]


def _keeps(eqn: Any, ins: list, outs: list) -> None:
    """Elementwise: operands have equal shapes, and a row meets only itself."""
    found = {a for a in ins if a is not None}
    if len(found) > 1 or any(a not in found for a in outs if found and a is not None):
        raise Coupled(f"{eqn.primitive.name} mixes rows of different axes")


for _name in """
abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz complex conj
convert_element_type copy copy_p cos cosh device_put digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac imag
integer_pow is_finite le lgamma log log1p logistic lt max min mul name ne neg nextafter not optimization_barrier or
polygamma population_count pow real reduce_precision regularized_incomplete_beta rem round rsqrt select_n shift_left
shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta
empty full read_variable
""".split():  # noqa: SIM905
    RULES[_name] = _keeps


def _moves(eqn: Any, ins: list, outs: list) -> None:
    """The one row axis may move: the types say where to."""


for _name in ("broadcast_in_dim", "squeeze", "expand_dims", "transpose", "iota", "random_wrap", "random_unwrap", "random_seed"):
    RULES[_name] = _moves


@_rule("random_bits", "random_split")
def _draws(eqn: Any, ins: list, outs: list) -> None:
    by_index = jax.config.jax_threefry_partitionable and str(eqn.invars[0].aval.dtype) == "key<fry>"
    if outs[0] is not None and not by_index:
        raise Coupled("random numbers depend on how many are drawn (jax_threefry_partitionable is off, or the key is not of threefry2x32)")
    if ins[0] is not None or outs[0] not in (None, 0):  # by index: more rows at the end leave the first ones' draws alone
        raise Coupled("random numbers are drawn with the rows in another axis than the first")


@_rule("bitcast_convert_type")
def _bitcast(eqn: Any, ins: list, outs: list) -> None:
    if ins != outs:
        raise Coupled("rows are cast to elements of another size")


@_rule("random_fold_in", "threefry2x32")
def _keys(eqn: Any, ins: list, outs: list) -> None:
    if any(a is not None for a in ins):
        _keeps(eqn, ins, outs)


@_rule(
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor", "argmax", "argmin", "reduce"
)  # fmt: skip
def _reduce(eqn: Any, ins: list, outs: list) -> None:
    axes = eqn.params.get("axes", eqn.params.get("dimensions"))
    if any(a is not None and a in axes for a in ins):
        raise Coupled("rows are combined by a reduction over the batch")


@_rule("stack")
def _stack(eqn: Any, ins: list, outs: list) -> None:
    """The new axis comes in front of the rows or behind: the types say so."""


@_rule("unstack")
def _unstack(eqn: Any, ins: list, outs: list) -> None:
    if eqn.params["axis"] in ins:
        raise Coupled("rows are taken apart")


@_rule("tile")
def _tile(eqn: Any, ins: list, outs: list) -> None:
    if ins[0] is not None and eqn.params["reps"][ins[0]] != 1:
        raise Coupled("the batch is repeated as a whole")


@_rule("fft")
def _fft(eqn: Any, ins: list, outs: list) -> None:
    if ins[0] is not None and ins[0] >= len(eqn.invars[0].aval.shape) - len(eqn.params["fft_lengths"]):
        raise Coupled("a Fourier transform goes over rows")


@_rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def _cumulative(eqn: Any, ins: list, outs: list) -> None:
    if eqn.params["axis"] in ins:
        raise Coupled("rows are accumulated along the batch")


@_rule("sort", "split", "concatenate", "rev", "top_k")
def _along(eqn: Any, ins: list, outs: list) -> None:
    axes = eqn.params.get("dimensions", eqn.params.get("dimension", eqn.params.get("axis", eqn.params.get("operand_axis", -1))))
    for axis, var in zip(ins, eqn.invars, strict=True):
        ndim = len(var.aval.shape)
        if axis is not None and axis in {a % ndim for a in (axes if isinstance(axes, tuple) else (axes,))}:
            raise Coupled(f"{eqn.primitive.name} acts along the batch")
    _keeps(eqn, ins, outs)


@_rule("slice")
def _slice(eqn: Any, ins: list, outs: list) -> None:
    (axis,) = ins
    if axis is None and any(_has_batch(s) for s in eqn.params["start_indices"]):
        raise Coupled("a slice begins where the size of the batch says")
    if axis is not None and _part(eqn.invars[0], eqn.outvars[0], axis, outs[0]):
        raise Coupled("a part of the batch is sliced out")


def _part(before: Any, after: Any, axis: int | None, axis_after: int | None) -> bool:
    """Whether one value has other rows than another, or in another axis. A slice of all of them begins at 0 wherever it shall begin."""
    if axis is None and axis_after is None:
        return False
    return axis != axis_after or _differ(before.aval.shape[axis], after.aval.shape[axis])


@_rule("dynamic_slice")
def _dynamic_slice(eqn: Any, ins: list, outs: list) -> None:
    if any(a is not None for a in ins[1:]):
        raise Coupled("rows choose where a slice begins")
    if _part(eqn.invars[0], eqn.outvars[0], ins[0], outs[0]):  # as many of a table as there are rows begin earlier at its end
        raise Coupled("a part of the batch is sliced out")


@_rule("dynamic_update_slice")
def _dynamic_update_slice(eqn: Any, ins: list, outs: list) -> None:
    if any(a is not None for a in ins[2:]) or _part(eqn.invars[0], eqn.invars[1], ins[0], ins[1]):
        raise Coupled("a part of the batch is written")


@_rule("pad")
def _pad(eqn: Any, ins: list, outs: list) -> None:
    axis = ins[0]
    if axis is None and outs[0] is not None:
        raise Coupled("the batch is made by padding")
    if ins[1] is not None or (axis is not None and any(_differ(p, 0) for p in eqn.params["padding_config"][axis])):
        raise Coupled("the batch is padded")


@_rule("reshape")
def _reshape(eqn: Any, ins: list, outs: list) -> None:
    (axis, *_), (after,) = ins, outs
    if axis is None and after is None:
        return
    if axis is None or after is None:
        raise Coupled("the batch is reshaped away")
    if _differ(
        math.prod(eqn.invars[0].aval.shape[:axis]), math.prod(eqn.outvars[0].aval.shape[:after])
    ):  # a row's elements would no longer lie together in the same way
        raise Coupled("a reshape mixes rows with another axis")


@_rule("dot_general")
def _dot_general(eqn: Any, ins: list, outs: list) -> None:
    contracting, batching = eqn.params["dimension_numbers"]
    for side in (0, 1):
        if ins[side] is not None and ins[side] in contracting[side]:
            raise Coupled("rows are combined by a product over the batch")
    if ins[0] is not None and ins[1] is not None:
        pairs = list(zip(*batching, strict=True))
        if (ins[0], ins[1]) not in pairs:
            raise Coupled("every row meets every other one in a product")


@_rule("conv_general_dilated")
def _conv(eqn: Any, ins: list, outs: list) -> None:
    numbers = eqn.params["dimension_numbers"]
    if ins[1] is not None or (ins[0] is not None and ins[0] != numbers.lhs_spec[0]) or eqn.params["batch_group_count"] != 1:
        raise Coupled("a convolution mixes rows")


@_rule("reduce_window", "reduce_window_sum", "reduce_window_max", "reduce_window_min", "select_and_gather_add")
def _window(eqn: Any, ins: list, outs: list) -> None:
    for axis in ins:
        if axis is not None and (
            eqn.params["window_dimensions"][axis] != 1
            or eqn.params["window_strides"][axis] != 1
            or tuple(eqn.params["padding"][axis]) != (0, 0)
        ):
            raise Coupled("a window goes over rows")


@_rule("gather")
def _gather(eqn: Any, ins: list, outs: list) -> None:
    operand, indices = ins
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    if operand is None and not any(_has_batch(size) for size in sizes):
        return  # a table looked up by rows, or by none
    if operand in numbers.operand_batching_dims:
        paired = numbers.start_indices_batching_dims[numbers.operand_batching_dims.index(operand)]
        if indices == paired:
            return
    elif indices is None and operand not in numbers.start_index_map and operand not in numbers.collapsed_slice_dims:
        size = sizes[operand]
        if _has_batch(size) and not _differ(_block(size), _block(eqn.invars[0].aval.shape[operand])):
            return
    raise Coupled("rows are gathered along the batch")


@_rule("scan")
def _scan(eqn: Any, ins: list, outs: list) -> None:
    inputs, outputs = jax_compat.scanned(eqn)
    if any(a == 0 for a in ins[inputs:]) or any(a == 0 for a in outs[outputs:]):
        raise Coupled("a scan goes along the batch")
    if _has_batch(eqn.params["length"]):
        raise Coupled("a scan is as long as the batch")
