"""Every use of JAX's internals, in one file: what each is for, and what differs between versions.

Written against jax 0.10 to 0.12. Everything else in Pellucid uses JAX's public names only.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from traceback import walk_stack, walk_tb
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

try:
    from jax._src import compilation_cache, core, dtypes, source_info_util
    from jax._src.core import Literal, Primitive  # jax.extend.core has them, too, but takes 15 ms to import
    from jax._src.export.shape_poly import _DimExpr as SymbolicSize
    from jax._src.interpreters import ad, batching, mlir, partial_eval, pxla
except ImportError as error:  # pragma: no cover - depends on the installed jax
    raise ImportError(
        f"Pellucid does not know the internals of jax {jax.__version__}. It works with jax 0.10 to 0.12: pip install 'jax<0.13'."
    ) from error

__all__ = ["Literal", "Primitive", "SymbolicSize"]  # JAX's own names, passed on: type checkers want them listed, and no others

InconclusiveSize = core.InconclusiveDimensionOperation
_CLOSED = getattr(core, "ClosedJaxpr", None)  # merged into Jaxpr in jax 0.12
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_FOLDERS = [os.path.dirname(os.path.abspath(str(module.__file__))) for module in (jax, np)]
_BESIDE = (os.path.join(os.path.dirname(_FOLDERS[0]), name, "") for name in ("optax", "opt_einsum"))
_LIBRARIES = (_PACKAGE, *(f + os.sep for f in _FOLDERS), *_BESIDE, "<frozen")
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))
source_info_util.register_exclusion(_PACKAGE)  # JAX's own messages then point at the user's line, too


# ---- Traces ----


def current_trace() -> object:
    """The trace that records (or evaluates) the operations of this thread at this moment."""
    return core.trace_ctx.trace


def in_trace(trace: object) -> contextlib.AbstractContextManager:
    """Operations inside the ``with`` go to the given trace, whatever transformation is active."""
    return core.set_current_trace(trace)


def is_tracer(value: object) -> bool:
    return isinstance(value, jax.core.Tracer)


def computes_now() -> bool:
    """Whether operations of this thread are evaluated at once, outside any transformation."""
    return isinstance(core.trace_ctx.trace, core.EvalTrace)


def made_from(tracer: Any) -> tuple[list[Any], Place | None]:
    """(the traced values that one was computed from, by one equation, and the user's line of that).

    Nothing for inputs, for what a layer gave, and where this version of JAX does not tell.
    """
    eqn = getattr(tracer, "parent", None)
    if eqn is None or eqn.primitive.name == "name":
        return [], None
    return list(getattr(eqn, "in_tracers", ())), place_of(eqn.source_info.traceback)


def new_user_context() -> Any:
    """A key of JAX's caches that is ours: a capture shares no cached jit with eager runs or other captures."""
    return jax.make_user_context(None)


def forget_old_traces(most: int = 1024) -> None:
    """Empties JAX's store of traced functions where it holds more than ``most``.

    JAX never forgets one, and as each capture has a key of its own, it would fill up with traces that nobody can use again.
    What is in use, compiled programs and JAX's own ways to them stay: at most a function is traced once more.
    """
    traces = partial_eval.trace_to_jaxpr
    if traces.cache_info().currsize > most:
        traces.cache_clear()


def use_compilation_cache(cache: Any) -> Any:
    """Compiled programs are looked up and kept by ``cache`` from now on; None for JAX's own. Returns the one in use, if any."""
    compilation_cache.reset_cache()
    if cache is not None:
        compilation_cache._cache, compilation_cache._cache_initialized = cache, True
    compilation_cache._initialize_cache()
    return compilation_cache._cache


# ---- Objects that JAX takes as arrays ----


def register_array_type(cls: type, value_of: Callable[[Any], Any], aval_of: Callable[[Any], tuple]) -> None:
    """Lets jax.numpy, lax and a user's jit take objects of a class where they take arrays."""

    def shard(objects: Sequence[Any], *rest: Any) -> Any:
        values = [value_of(o) for o in objects]
        return pxla.shard_arg_handlers[type(values[0])](values, *rest)

    core.pytype_aval_mappings[cls] = lambda o: core.ShapedArray(*aval_of(o))
    pxla.shard_arg_handlers[cls] = shard
    dtypes.canonicalize_value_handlers[cls] = lambda o, **_: value_of(o)


# ---- Symbolic sizes ----


def evaluate_size(size: Any, sizes: dict[str, Any]) -> Any:
    """The number that a size, symbolic or not, has for the given values of its symbols; symbolic where one of those is."""
    found = size._evaluate(sizes) if isinstance(size, SymbolicSize) else size
    return found if isinstance(found, SymbolicSize) else int(found)


def symbols(names: Sequence[str]) -> dict[Any, Any]:
    """Symbolic sizes by name, of a scope of their own."""
    return dict(zip(names, export.symbolic_shape(", ".join(names)), strict=True)) if names else {}


@functools.cache
def _scope() -> Any:
    """Of the symbolic sizes outside captures: one for all, as sizes of different scopes cannot meet."""
    return export.SymbolicScope()


@functools.cache
def open_symbol(expression: str) -> Any:
    """A symbolic size outside captures, such as ``"batch"`` or ``"2*length"``."""
    return export.symbolic_shape(expression, scope=_scope())[0]


def batch_symbol() -> Any:
    """The symbolic size of the batch outside captures."""
    return open_symbol("batch")


def symbols_in(size: Any) -> dict[str, Any]:
    """The symbols of a size, as symbolic sizes by name."""
    return {name: _symbol(name, size.scope) for name in size._get_vars()} if isinstance(size, SymbolicSize) else {}


_symbol = functools.lru_cache(maxsize=64)(lambda name, scope: export.symbolic_shape(name, scope=scope)[0])


def open_shape(shape: Sequence[Any]) -> tuple[int | None, ...]:
    """A shape with None for each symbolic size."""
    return tuple(None if size is None or isinstance(size, SymbolicSize) else int(size) for size in shape)


def symbols_of(size: Any) -> set[str]:
    return set(size._get_vars()) if isinstance(size, SymbolicSize) else set()


_ORDERS = {"__ge__", "__lt__", "__gt__", "__le__"}
_UNSURE = {"__eq__": False, "__ne__": True}  # what JAX says, too, of sizes that may be equal


def same_sizes(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether sizes are equal. Symbolic ones may be so in another form: then they are as large for any values of their symbols."""
    return len(some) == len(others) and all(a == b or _same_for_samples(a, b) for a, b in zip(some, others, strict=True))


def _same_for_samples(a: Any, b: Any) -> bool:
    symbols = sorted(symbols_of(a) | symbols_of(b))
    values = [dict(zip(symbols, range(n, n + 7 * len(symbols), 7), strict=True)) for n in range(20, 60)]
    return bool(symbols) and all(evaluate_size(a, v) == evaluate_size(b, v) for v in values)


def _may_be_equal(size: SymbolicSize, other: Any) -> bool:
    """Whether two sizes are of one scope: JAX's caches compare those of different captures."""
    return isinstance(other, SymbolicSize) and other.scope is size.scope


def _asked_by_jax(frame: Any) -> bool:
    """Whether JAX's operations ask, and not its algebra of sizes."""
    file = frame.f_code.co_filename
    return file.startswith(_FOLDERS[0] + os.sep) and not file.endswith("shape_poly.py")


@contextlib.contextmanager
def size_questions(answer: Callable[[SymbolicSize, str, tuple], Any], settle: Callable[[SymbolicSize, str, tuple], Any]) -> Iterator[None]:
    """Comparisons and conversions of a symbolic size go to ``answer(size, operator, others)`` first.

    ``answer`` returns ``NotImplemented`` where JAX shall answer as usual. Where JAX cannot tell which of two sizes is larger,
    or whether they are equal, ``settle`` may: to JAX that is as if a constraint had been put on the sizes. The operators are those of a
    class attribute
    of JAX: they are put back when the last of several captures ends.
    """
    names: tuple[str, ...] = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__int__", "__bool__")
    names += ("__hash__", "__str__", "__repr__", "__truediv__", "__getattribute__")
    missing: dict[str, Callable] = {
        "__bool__": lambda size: True,
        "__getattribute__": object.__getattribute__,
    }  # an object with no __bool__ is true
    originals = {name: SymbolicSize.__dict__[name] for name in names if name in SymbolicSize.__dict__}

    def asking(name: str) -> Callable:
        original = originals.get(name) or missing[name]

        def attribute(
            size: SymbolicSize, of: str
        ) -> Any:  # `isinstance` reads __class__, which no property of a class can be set for later
            given = answer(size, of, ()) if of == "__class__" else NotImplemented
            return original(size, of) if given is NotImplemented else given

        def method(size: SymbolicSize, *others: Any) -> Any:
            given = answer(size, name, others)
            if given is not NotImplemented:
                return given
            try:
                found = original(size, *others)
            except InconclusiveSize:
                given = settle(size, name, others) if name in _ORDERS else NotImplemented
                if given is NotImplemented:
                    raise
                return given
            if found is _UNSURE.get(name) and _may_be_equal(size, others[0]) and _asked_by_jax(sys._getframe(1)):
                given = settle(size, name, others)
            return found if given is NotImplemented else given

        return attribute if name == "__getattribute__" else method

    for name in {**originals, **missing}:
        setattr(SymbolicSize, name, asking(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(SymbolicSize, name, original)
        for name in missing.keys() - originals.keys():
            delattr(SymbolicSize, name)


# ---- Jaxprs ----


class Parts(NamedTuple):
    """A jaxpr, closed or not, in the same form for every version of JAX."""

    invars: tuple
    constvars: tuple
    consts: tuple
    eqns: tuple
    outvars: tuple


def is_jaxpr(value: object) -> bool:
    return isinstance(value, core.Jaxpr) or (_CLOSED is not None and isinstance(value, _CLOSED))


def traceback_of(eqn: Any) -> Any:
    """The stack of calls that made an equation, as a key: equal ones went through the same instructions."""
    return eqn.source_info.traceback


def settings_of(eqn: Any) -> tuple:
    """What JAX's context managers said when an equation was made."""
    return tuple(getattr(eqn.ctx, name, None) for name in ("compute_type", "threefry_partitionable", "xla_metadata"))


def nested_jaxprs(eqn: Any) -> list[Any]:
    """The jaxprs among an equation's parameters: branches, bodies, called functions."""
    values = [v for value in eqn.params.values() for v in (value if isinstance(value, tuple | list) else (value,))]
    return [v for v in values if is_jaxpr(v)]


def calls_back(jaxpr: Any) -> bool:
    """Whether running a jaxpr calls Python: a print, a callback, pure or not. What is called may raise."""
    if jaxpr.effects:
        return True
    return any("callback" in e.primitive.name or any(map(calls_back, nested_jaxprs(e))) for e in parts(jaxpr).eqns)


def is_closed(jaxpr: Any) -> bool:
    return _CLOSED is None or isinstance(jaxpr, _CLOSED)


def parts(jaxpr: Any) -> Parts:
    inner = jaxpr.jaxpr if _CLOSED is not None and isinstance(jaxpr, _CLOSED) else jaxpr
    consts = tuple(getattr(jaxpr, "consts", ()))
    if hasattr(inner, "all_invars"):  # jax 0.12: constants come first among the inputs
        every = tuple(inner.all_invars)
        return Parts(every[len(consts) :], every[: len(consts)], consts, tuple(inner.eqns), tuple(inner.outvars))
    return Parts(tuple(inner.invars), tuple(inner.constvars), consts, tuple(inner.eqns), tuple(inner.outvars))


def as_kind_of(original: Any, made: Any) -> Any:
    """A closed jaxpr in the form (closed or open) of the one that it replaces in an equation's parameters."""
    return made if is_closed(original) else made.jaxpr


def restricted(jaxpr: Any, outvars: Sequence[Any]) -> Any:
    """The part of a closed jaxpr that computes the given variables, with them as its outputs."""
    wanted, kept = {v for v in outvars if not isinstance(v, Literal)}, []
    for eqn in reversed(parts(jaxpr).eqns):
        if wanted & set(eqn.outvars):
            kept.append(eqn)
            wanted.update(v for v in eqn.invars if not isinstance(v, Literal))
    inner = jaxpr if _CLOSED is None or not isinstance(jaxpr, _CLOSED) else jaxpr.jaxpr
    made = inner.replace(eqns=kept[::-1], outvars=list(outvars), debug_info=inner.debug_info.with_unknown_names())
    return made if inner is jaxpr else _CLOSED(made, jaxpr.consts)  # type: ignore[misc]


def bind_again(eqn: Any, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Binds an equation with new inputs and parameters, in its own scope and for its own line of source."""
    with in_scope_of(eqn), eqn.ctx.manager:
        out = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(params))
    return list(out) if eqn.primitive.multiple_results else [out]


def here() -> Any:
    """The stack of calls at this moment, as equations keep it."""
    return source_info_util.current().traceback


def standing_at(traceback: Any) -> contextlib.AbstractContextManager:
    """Equations made inside the ``with`` say that they were made by the given stack of calls."""
    return source_info_util.user_context(traceback, name_stack=source_info_util.current_name_stack())


@contextlib.contextmanager
def in_scope_of(eqn: Any) -> Iterator[None]:
    info = eqn.source_info
    stack = source_info_util.current_name_stack() + info.name_stack
    with source_info_util.user_context(info.traceback, name_stack=stack):
        yield


def scope(eqn: Any) -> str:
    """The path of named scopes that an equation was made in."""
    return str(eqn.source_info.name_stack)


def custom_jvp_rule(eqn: Any, zeros: Sequence[bool]) -> tuple[Any, tuple, Sequence[bool]]:
    """(jaxpr, constants, which output tangents are zero) of a ``custom_jvp_call`` equation, at its own types."""
    return eqn.params["jvp_jaxpr_fun"].call_wrapped(*zeros)


def custom_vjp_forward(eqn: Any) -> tuple[Any, tuple, list[int | None]]:
    """(jaxpr, constants, which input each residual is) of the forward rule of a ``custom_vjp_call``.

    The jaxpr gives the residuals that are not inputs themselves, then the outputs.
    """
    count = len(eqn.invars) - eqn.params["num_consts"]
    jaxpr, consts = eqn.params["fwd_jaxpr_thunk"].call_wrapped(*[True] * count)
    _, _, inputs = eqn.params["out_trees"]()
    return jaxpr, consts, list(inputs)


def custom_vjp_backward(eqn: Any, args: Sequence[Any]) -> list[Any]:
    """Calls the backward rule of a ``custom_vjp_call`` on residuals and cotangents: one cotangent for each input."""
    out = eqn.params["bwd"].call_wrapped(*args)
    cotangents = out[0] if isinstance(out, tuple) and len(out) == 2 and isinstance(out[0], list | tuple) else out  # 0.12 adds logs
    inputs = eqn.invars[eqn.params["num_consts"] :]
    return [
        jnp.zeros(v.aval.shape, v.aval.dtype) if isinstance(c, ad.Zero | ad.SymbolicZero) else c
        for c, v in zip(cotangents, inputs, strict=True)
    ]


def function_of(eqn: Any) -> Any:
    """A key for the function with its own derivative that a ``custom_jvp_call`` or ``custom_vjp_call`` calls: equal keys for equal ones.

    Two are equal where they have the same rules of the user's (or JAX's), the same types, and compute the same. None where that
    cannot be told, as with values that the function closes over.
    """
    params, body = eqn.params, parts(eqn.params["call_jaxpr"])
    if params["num_consts"] or body.consts or body.constvars or params["call_jaxpr"].effects:
        return None
    try:
        given = _closure(_closure((params.get("jvp_jaxpr_fun") or params["fwd_jaxpr_thunk"]).f)["fn"])
        rules = [given["jvp"]] if "jvp" in given else [given["fwd"], params["bwd"]]
        transforms = [t for rule in rules for t in rule.transforms]
        if any(not t.__name__.startswith("_flatten_") for t, _ in transforms):  # there are static arguments, too
            return None
        trees = [a for _, given in transforms for a in given if isinstance(a, jax.tree_util.PyTreeDef)]
        types = [(v.aval, v.aval.weak_type) for v in body.invars]
        key = (*(rule.f for rule in rules), *trees, *types, bool(params["symbolic_zeros"]), _computation(body))
        hash(key)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return key


def _closure(function: Any) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return {name: cell.cell_contents for name, cell in zip(function.__code__.co_freevars, cells, strict=True)}


def _computation(body: Parts) -> tuple:
    """The equations of a jaxpr as something to compare; jaxprs inside by identity, as functions under jit share theirs."""
    numbers = {v: i for i, v in enumerate(body.invars)}
    used = lambda variables: tuple(repr(v) if isinstance(v, Literal) else numbers[v] for v in variables)
    found = []
    for eqn in body.eqns:
        held = tuple((k, id(v) if is_jaxpr(v) else v) for k, v in sorted(eqn.params.items()))
        found.append((eqn.primitive, used(eqn.invars), held))
        numbers.update({v: len(numbers) + i for i, v in enumerate(eqn.outvars)})
    return *found, used(body.outvars)


def derivative_jaxprs(eqn: Any) -> list[Any]:
    """What a function's own derivative computes, at symbolic types: its JVP, or its forward and backward rule."""
    count = eqn.params["num_consts"]
    if eqn.primitive.name == "custom_jvp_call":
        return [custom_jvp_rule(eqn, [False] * (len(eqn.invars) - count))[0]]
    jaxpr, _, inputs = custom_vjp_forward(eqn)
    made = iter(parts(jaxpr).outvars)
    residuals = [next(made).aval if i is None else eqn.invars[i].aval for i in inputs]
    specs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (*residuals, *(v.aval for v in eqn.outvars))]
    return [jaxpr, jax.make_jaxpr(lambda *args: custom_vjp_backward(eqn, args))(*specs)]


def scanned(eqn: Any) -> tuple[int, int]:
    """The numbers of inputs and outputs of a ``scan`` that are not slices of arrays: constants and carry, and the carry."""
    params = eqn.params
    if "num_carry" in params:
        return params["num_consts"] + params["num_carry"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()  # jax 0.12
    return len(list(consts)) + len(list(carry)), len(list(params["ft_out"].unpack()[0]))


def expands(primitive: Any, function: Callable, jaxpr_of: Callable) -> None:
    """Gives a primitive that stands for the call of a function all its rules: that function is called in the place of it.

    Args:
        primitive: with several results.
        function: takes its inputs and its parameters by name; gives a list.
        jaxpr_of: takes their types and the same parameters; gives what the function is at the types that it was traced for.
    """

    def types(*avals: Any, **params: Any) -> list[Any]:
        known = jaxpr_of(*avals, **params)
        if [v.aval for v in parts(known).invars] == list(avals):
            return [core.ShapedArray(v.aval.shape, v.aval.dtype, weak_type=v.aval.weak_type) for v in parts(known).outvars]
        specs = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in avals]
        made = jax.eval_shape(functools.partial(function, **params), *specs)
        return [core.ShapedArray(o.shape, o.dtype, weak_type=o.weak_type) for o in made]

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list, list]:
        moving = [i for i, t in enumerate(tangents) if not isinstance(t, ad.Zero)]

        def of_moving(*values: Any) -> list[Any]:
            filled = list(primals)
            for i, value in zip(moving, values, strict=True):
                filled[i] = value
            return function(*filled, **params)

        out, changes = jax.jvp(of_moving, [primals[i] for i in moving], [tangents[i] for i in moving])
        still = lambda change: getattr(change, "dtype", None) == jax.dtypes.float0
        return out, [ad.Zero(core.typeof(o).to_tangent_aval()) if still(c) else c for o, c in zip(out, changes, strict=True)]

    def batch(inputs: Sequence[Any], axes: Sequence[Any], **params: Any) -> tuple[list, list]:
        out = jax.vmap(functools.partial(function, **params), in_axes=tuple(axes))(*inputs)
        return out, [0] * len(out)

    primitive.def_abstract_eval(types)
    primitive.def_impl(function)
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=True))


# ---- Places in the user's code ----


class Place(NamedTuple):
    """A line of source."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


@functools.lru_cache(maxsize=4096)
def is_library_file(file: str) -> bool:
    """Whether a file belongs to Pellucid, JAX, optax, NumPy or Python's frozen modules, so that no user wrote it."""
    return file.startswith(_LIBRARIES)


@functools.lru_cache(maxsize=4096)
def is_users_file(file: str) -> bool:
    """Whether a file is the user's own: none of the libraries, of Python's standard library or of installed packages."""
    return not (is_library_file(file) or file.startswith(_STANDARD) or any(folder in file for folder in _INSTALLED))


def user_place(frame: Any, error: BaseException | None = None) -> Place | None:
    """The nearest line, from a Python frame outwards, that a user wrote; else the nearest in an installed package.

    Where there is an error, the lines that it came through are nearer than the frame.
    """
    raised = [] if error is None else list(walk_tb(error.__traceback__))
    found = _users_of(reversed(raised)) or _users_of(walk_stack(frame) if frame is not None else ())
    return found and Place(found[0].f_code.co_filename, found[1], found[0].f_code.co_name)


def user_frame(frame: Any) -> Any:
    """The frame of `user_place`, or None."""
    found = _users_of(walk_stack(frame))
    return found and found[0]


def _users_of(stack: Iterable[tuple[Any, int]]) -> tuple[Any, int] | None:
    """The first (frame, line) that a user wrote; else the first in an installed package."""
    installed = None
    for frame, line in stack:
        file = frame.f_code.co_filename
        if is_users_file(file):
            return frame, line
        if installed is None and not is_library_file(file) and not file.startswith(_STANDARD):
            installed = frame, line
    return installed


def raised_outside_jax(error: BaseException) -> bool:
    """Whether a ``raise`` or ``assert`` of the user's code or ours raised an error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or traceback.tb_frame.f_code.co_filename.startswith(_FOLDERS[0] + os.sep):
        return False
    return dis.opname[traceback.tb_frame.f_code.co_code[traceback.tb_lasti]] in ("RAISE_VARARGS", "RERAISE")


class UserCall(NamedTuple):
    """The user's expression that made an equation, and the calls around and below it.

    A frame is its code and the instruction that it was at.
    """

    place: Place
    columns: tuple[int, int, int, int]  # first line, first column, last line, last column
    function: str | None  # of the library's, that the expression called
    users: tuple[tuple[Any, int], ...]  # frames of the user's, from the outside in
    library: tuple[tuple[Any, int], ...]  # frames that the expression led to, from the outside in


def user_call(eqn: Any) -> UserCall | None:
    """What of the user's code made an equation, or None where no line of a user's did."""
    traceback = eqn.source_info.traceback
    frames = list(zip(*traceback.raw_frames(), strict=True)) if traceback is not None else []  # from the inside out
    users = [i for i, (code, _) in enumerate(frames) if _made_equations(code.co_filename)]
    if not users:
        return None
    outside = next(i for i, (code, _) in enumerate(frames) if not is_library_file(code.co_filename))
    function = frames[outside - 1][0].co_qualname if outside else None
    if function is None or "<" in function or function.startswith("_") or function.split(".")[-1] == "__call__":
        function = None  # an operator, or JAX's own way into a compiled function
    user = source_info_util.raw_frame_to_frame(*frames[users[0]])
    place = Place(user.file_name, user.start_line, user.function_name)
    columns = (user.start_line, user.start_column, user.end_line, user.end_column)
    return UserCall(place, columns, function, tuple(frames[i] for i in reversed(users)), tuple(reversed(frames[: users[0]])))


@functools.lru_cache(maxsize=4096)
def _made_equations(file: str) -> bool:
    return source_info_util.is_user_filename(file) and not is_library_file(file)


@functools.lru_cache(maxsize=4096)
def is_in_loop(code: Any, instruction: int) -> bool:
    """Whether one call of a function may come to an instruction again, because it is in a loop of that function."""
    jumps = (i for i in dis.get_instructions(code) if "JUMP" in i.opname and not i.opname.endswith("NO_INTERRUPT"))  # back from handlers
    return any(isinstance(i.argval, int) and i.argval <= instruction <= i.offset for i in jumps)


def is_ours_outside(eqn: Any) -> bool:
    """Whether code of Pellucid called the user's line that made an equation, not only the other way round."""
    frames = iter(eqn.source_info.traceback.frames if eqn.source_info.traceback is not None else ())
    any(not is_library_file(f.file_name) for f in frames)  # goes outwards up to that line
    return any(f.file_name.startswith(_PACKAGE) for f in frames)


def eqn_place(eqn: Any) -> Place | None:
    """The user's line that made an equation."""
    return place_of(eqn.source_info.traceback)


def place_of(traceback: Any) -> Place | None:
    """The innermost line of a user's in a stack of calls."""
    frame = source_info_util.user_frame(traceback)
    return frame and Place(frame.file_name, frame.start_line, frame.function_name)
