"""Frames: where variables have their values while a pure function is being traced.

User code stays stateful to look at: it reads ``self.w`` and assigns ``self.moving_mean``. A frame makes it pure. Reads
see the frame first, then the frames around it, then the variable itself; writes land in the frame and leave the traced
function as outputs. Captures, gradients, ``cond``, ``scan`` and compiled programs are all built on this one object.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import jax_compat, masks
from pellucid.core.growing import Growing
from pellucid.core.uncollected import uncollected
from pellucid.errors import CaptureError

_active: contextvars.ContextVar[Frame | None] = contextvars.ContextVar("pellucid_frame", default=None)
autocast: contextvars.ContextVar[Any] = contextvars.ContextVar("pellucid_autocast", default=None)  # what layers read weights as


_context = jax_compat.new_user_context()
_numbers = itertools.count(1)


class Frame:
    """Values of variables during one trace. Use it as a context manager.

    Args:
        values: what the variables hold at the start.
        missing: how to read a variable, as a data type or its own (None), that no frame holds; without it, the frames outside
            are asked.
        observer: is told of layer calls (a capture), or None: then that of the frame outside.
        cache: key of JAX's caches inside; in a capture each frame has its own, as a jit of the user's bakes in what it reads.
        takes_losses: whether losses that layers add stay in it, for the frame's owner to hand on.
    """

    def __init__(
        self,
        values: dict | None = None,
        missing: Callable | None = None,
        observer: Any = None,
        cache: Any = None,
        takes_losses: bool = False,
    ):
        self.values: dict = dict(values or {})
        self.written: dict = {}
        self._cast: dict[tuple[Any, Any], Any] = {}  # what was read as another data type: a weight is cast once
        self.losses: dict[Any, list] = {}  # that layers have added in it, where nobody observes
        self.missing = missing
        self.observer = observer
        self.takes_losses = takes_losses
        self.trace: object = None
        self.outer: Frame | None = None
        self.cache = cache
        self.captures = False

    def __enter__(self) -> Frame:
        self.outer, self.trace = _active.get(), jax_compat.current_trace()
        if self.observer is None and self.outer is not None:
            self.observer = self.outer.observer
        self.captures = self.missing is not None or (self.outer is not None and self.outer.captures)
        self._own_cache = contextlib.nullcontext()
        if self.captures or self.cache is not None:
            self._own_cache = _context(next(_numbers) if self.captures else self.cache)
        self._own_cache.__enter__()
        self._token = _active.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _active.reset(self._token)
        self._own_cache.__exit__(None, None, None)
        self.values.clear()  # traced values end with their trace
        self.written.clear()
        self._cast.clear()
        self.losses.clear()
        self.trace = self.outer = None

    def read(self, variable: Any, dtype: Any = None) -> Any:
        """The value of a variable, as a data type or (None) its own."""
        frame: Frame | None = self
        while frame is not None:
            known = frame.values.get(variable) if dtype is None else frame._cast.get((variable, dtype))
            if known is not None:
                return known
            if dtype is not None and variable in frame.values:
                with jax_compat.in_trace(frame.trace):  # an inner trace then closes over it, so that gradients flow
                    return frame._keep(variable, dtype, frame.values[variable].astype(dtype))
            if frame.missing is not None:
                with jax_compat.in_trace(frame.trace):
                    return frame._keep(variable, dtype, frame.missing(variable, dtype))
            frame = frame.outer
        value = variable.unframed_value()
        return value if dtype is None else value.astype(dtype)

    def _keep(self, variable: Any, dtype: Any, value: Any) -> Any:
        if dtype is None:
            self.values[variable] = value
        else:
            self._cast[variable, dtype] = value
        return value

    def write(self, variable: Any, value: Any) -> None:
        require_frame_trace(self, f"variable {variable.path!r} is assigned")
        self.values[variable] = value
        for key in [key for key in self._cast if key[0] is variable]:
            del self._cast[key]
        self.written[variable] = None


def active_frame() -> Frame | None:
    """The innermost frame of this thread, or None in plain eager code."""
    return _active.get()


def observer() -> Any:
    """Whoever wants to know of layer calls at this moment (a capture), or None."""
    frame = _active.get()
    return None if frame is None else frame.observer


def losses_of(layer: Any) -> list[Any]:
    """What a layer has added: in the innermost frame that it ran in, or else in plain eager code."""
    frame = _active.get()
    while frame is not None and layer not in frame.losses:
        frame = frame.outer
    return layer._state.losses if frame is None else frame.losses[layer]


def keep_losses(losses: dict[Any, list]) -> None:
    """What layers have added is theirs, until the active frame ends."""
    frame = _active.get()
    if frame is not None:
        frame.losses.update(losses)
    else:
        for layer, added in losses.items():
            layer._state.losses = added


def require_frame_trace(frame: Frame | None, what: str) -> None:
    """Raises where state would change under a transformation of the user's own, which would lose the change."""
    inside = not jax_compat.computes_now() if frame is None else jax_compat.current_trace() is not frame.trace
    if inside:
        raise CaptureError(
            f"{what} inside a JAX transformation (jit, cond, scan, checkpoint, vmap or grad) that Pellucid cannot see into, "
            "so the new value would be lost. Use the form in pellucid.ops instead (ops.cond, ops.scan, ops.while_loop, "
            "ops.remat, or pellucid.value_and_grad): it carries the state out."
        )


def functional(function: Callable, variables: Sequence[Any]) -> Callable:
    """A pure function ``(values, *args) -> (outputs, new values)`` of a stateful one and the variables that it uses."""

    def pure(values: Sequence[Any], *args: Any) -> tuple[Any, list[Any]]:
        with Frame(dict(zip(variables, values, strict=True))) as frame:
            outputs = function(*args)
            lost = next((v for v in frame.written if v not in known), None)
            if lost is not None:
                raise CaptureError(
                    f"variable {lost.path!r} is assigned, but is not among the variables of the pure function: pass it, too."
                )
            return outputs, [frame.values[v] for v in variables]

    known = set(variables)
    return pure


read_variable_p = jax_compat.Primitive("read_variable")
read_variable_p.def_abstract_eval(lambda *, variable, dtype: jax.core.ShapedArray(variable.shape, dtype))


def bind_read(variable: Any, dtype: Any = None) -> Any:
    """A read of a variable, as a data type or its own, as an equation of the current trace."""
    return read_variable_p.bind(variable=variable, dtype=variable.own_dtype if dtype is None else dtype)


def read_again(eqn: Any) -> Any:
    """What an equation reads, at this moment."""
    variable, dtype = eqn.params["variable"], eqn.params["dtype"]
    return variable.read(None if dtype == variable.own_dtype else dtype)


class Traced:
    """A stateful function run once on abstract inputs: its reads are equations, its writes are extra outputs.

    Args:
        function: that is run.
        specs: structures of ``ShapeDtypeStruct``s.
        observer: a capture, which is told of layer calls; what it gives at its ``end``, such as losses, follows the outputs.
        takes_losses: whether losses that layers add are the function's own, to be among its outputs.
    """

    def __init__(self, function: Callable, *specs: Any, observer: Any = None, takes_losses: bool = False):
        def run(*args: Any) -> Any:
            with Frame(missing=bind_read, observer=observer, takes_losses=takes_losses) as frame:
                if observer is not None:
                    observer.frame = frame
                leaves, self.tree = jax.tree.flatten(function(*args))
                more = observer.end() if observer is not None else []
                self.writes[:] = frame.written
                return [*leaves, *more, *(frame.values[v] for v in self.writes)]

        self.writes: list[Any] = []
        with uncollected():
            self.jaxpr = jax.make_jaxpr(run)(*specs)
        jax_compat.forget_old_traces()

    @functools.cached_property
    def reads(self) -> list[Any]:
        """The variables read, in the order of their first reads."""
        return list(dict.fromkeys(e.params["variable"] for e in jax_compat.parts(self.jaxpr).eqns if e.primitive is read_variable_p))

    @property
    def output_types(self) -> list[Any]:
        """Of what the function returns, without what it writes."""
        return [v.aval for v in jax_compat.parts(self.jaxpr).outvars[: self.tree.num_leaves]]

    @property
    def has_effects(self) -> bool:
        """Whether running it calls back to Python, for example to print."""
        return jax_compat.calls_back(self.jaxpr)

    def __call__(self, *args: Any) -> tuple[Any, dict]:
        """(outputs, what it writes) for given inputs, with the variables' values of this moment."""
        values = _evaluate(self.jaxpr, jax.tree.leaves(args))
        count = self.tree.num_leaves
        return jax.tree.unflatten(self.tree, values[:count]), dict(zip(self.writes, values[count:], strict=True))

    def run(self, *args: Any) -> Any:
        """The outputs for given inputs; what it writes goes to the active frame."""
        outputs, new = self(*args)
        for variable, value in new.items():
            variable.assign(value)
        return outputs


def _evaluate(jaxpr: Any, args: Sequence[Any]) -> list[Any]:
    invars, constvars, consts, eqns, outvars = jax_compat.parts(jaxpr)
    values = dict(zip((*constvars, *invars), (*consts, *args), strict=True))

    def value(v: Any) -> Any:
        return v.val if isinstance(v, jax_compat.Literal) else values[v]

    for eqn in eqns:
        reads = eqn.primitive is read_variable_p
        out = [read_again(eqn)] if reads else jax_compat.bind_again(eqn, list(map(value, eqn.invars)), eqn.params)
        values.update(zip(eqn.outvars, out, strict=True))
    return [value(v) for v in outvars]


def choose(predicate: Any, if_true: Callable, if_false: Callable, *operands: Any) -> Any:
    """``lax.cond`` over stateful functions: what one branch writes, the other hands on unchanged."""
    return _select(lambda branches, *given: jax.lax.cond(predicate, *branches, *given), [if_true, if_false], operands)


def choose_by_index(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """``lax.switch`` over stateful functions, likewise."""
    return _select(lambda branches, *given: jax.lax.switch(index, branches, *given), branches, operands)


def _select(select: Callable, functions: Sequence[Callable], operands: Any) -> Any:
    operands = jax.tree.map(lambda x: jnp.asarray(x.value if hasattr(x, "unframed_value") else x), operands)
    branches = [Traced(f, *operands) for f in functions]
    writes = list(dict.fromkeys(v for b in branches for v in b.writes))
    before = [v.read() for v in writes]

    def branch(traced: Traced) -> Callable:
        def run(before: list, *operands: Any) -> tuple:
            outputs, new = traced(*operands)
            return outputs, [new.get(v, old) for v, old in zip(writes, before, strict=True)]

        return run

    outputs, after = select([branch(b) for b in branches], before, *operands)
    for variable, value in zip(writes, after, strict=True):
        variable.assign(value)
    return outputs


def value_and_grad(function: Callable, variables: Sequence[Any], has_aux: bool = False) -> Callable:
    """A function that returns the value of ``function`` and its gradient with respect to variables.

    ``function`` is stateful to look at: it reads the variables and may write others. Those writes last.

    Args:
        function: returns a scalar, or ``(scalar, auxiliary)`` with ``has_aux``.
        variables: the Variables to differentiate with respect to.
        has_aux: whether ``function`` returns a second, undifferentiated value.

    Example:
        >>> import pellucid
        >>> w = pellucid.Variable([2.0, 3.0])
        >>> value, grads = pellucid.value_and_grad(lambda: (w * w).sum(), [w])()
        >>> float(value), grads[0].tolist()
        (13.0, [4.0, 6.0])
    """
    given = variables if isinstance(variables, Growing) else list(variables)

    def run(*args: Any, **kwargs: Any) -> tuple[Any, list]:
        writes: list = []
        layers: list = []
        if isinstance(given, Growing):  # what `function` reads may be made in its only run: it is differentiated afterwards
            run_once = Traced(functools.partial(function, **kwargs), *jax.tree.map(jax.typeof, args)).run
            compute, variables = lambda *args, **_: run_once(*args), given.now()
        else:
            compute, variables = function, given

        def pure(values: list) -> tuple[Any, tuple]:
            with Frame(dict(zip(variables, values, strict=True)), cache="gradient") as frame:
                out = compute(*args, **kwargs)
                loss, aux = out if has_aux else (out, None)
                writes[:], layers[:] = frame.written, frame.losses
                return loss, (aux, masks.taken(aux), [frame.values[v] for v in writes], list(frame.losses.values()))

        (loss, (aux, found, new, losses)), grads = jax.value_and_grad(pure, has_aux=True)([v.read() for v in variables])
        for variable, value in zip(writes, new, strict=True):
            variable.assign(value)
        keep_losses(dict(zip(layers, losses, strict=True)))
        masks.put_back(aux, found)
        return ((loss, aux) if has_aux else loss), grads

    return run


def loop(run: Callable, turn: Callable, init: Any, xs: Any) -> tuple[Any, Any]:
    """A loop over a stateful ``turn(carry, x) -> (carry, y)``: what it writes is carried along.

    Args:
        run: ``(carry and writes, pure turn, frame of writes) -> (carry and writes, ys)``: the loop itself.
        turn: may read and write variables.
        init: the first carry.
        xs: structure of arrays whose first axis the loop goes along, or None.
    """
    carry = jax.tree.map(jnp.asarray, init)
    slices = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    traced = Traced(turn, carry, slices)
    written = traced.writes

    def frame_of(before: Sequence[Any]) -> Frame:
        return Frame(dict(zip(written, before, strict=True)))

    def step(state: tuple, x: Any) -> tuple:
        values, before = state
        with frame_of(before):
            (values, y), new = traced(values, x)
            return (values, [new[v] for v in written]), y

    (carry, after), ys = run((carry, [v.read() for v in written]), step, frame_of)
    for variable, value in zip(written, after, strict=True):
        variable.assign(value)
    return carry, ys


def checkpoint(
    function: Callable, args: tuple, kwargs: dict, policy: Callable | None = None, worth: Callable[[Sequence[Any]], bool] | None = None
) -> Any:
    """``jax.checkpoint`` of a call of a stateful function. What it computes again begins from the same state: it draws the same.

    Args:
        function: may read and write variables, and call layers.
        args: of the call, as ``kwargs``: what is no array is handed on as it is.
        policy: which values are kept all the same; see ``jax.checkpoint_policies``.
        worth: whether to do so at all, for outputs of the given types.
    """
    leaves, tree = jax.tree.flatten((args, kwargs))
    is_array = [isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in leaves]
    arrays = [jnp.asarray(leaf) for leaf, is_one in zip(leaves, is_array, strict=True) if is_one]
    layers: list = []

    def call(masked: dict, *arrays: Any) -> tuple:
        masks.put_back(arrays, masked)
        given = iter(arrays)
        args, kwargs = jax.tree.unflatten(tree, [next(given) if is_one else leaf for leaf, is_one in zip(leaves, is_array, strict=True)])
        outputs, inside = function(*args, **kwargs), _active.get()
        layers[:] = inside.losses  # type: ignore[union-attr]
        return outputs, masks.taken(outputs), list(inside.losses.values())  # type: ignore[union-attr]

    given = (masks.taken(arrays), *arrays)
    traced = Traced(call, *jax.tree.map(jax.typeof, given), takes_losses=True)

    def run(before: list, *given: Any) -> tuple:
        with Frame(dict(zip(traced.writes, before, strict=True))):
            outputs, new = traced(*given)
            return outputs, [new[v] for v in traced.writes]

    kept = worth is not None and not worth(traced.output_types)
    again = run if kept else jax.checkpoint(run, policy=policy)
    (outputs, masked, losses), after = again([v.read() for v in traced.writes], *given)
    masks.put_back(outputs, masked)
    for variable, value in zip(traced.writes, after, strict=True):
        variable.assign(value)
    for layer, added in zip(layers, losses, strict=True):
        layer.add_loss(added)
    return outputs


def over_rows(function: Callable, elements: Any) -> Any:
    """``jax.vmap`` of a stateful function. It draws from seeds of its own for each row, and writes nothing else.

    Raises:
        CaptureError: where it assigns a variable, which each row would give another value.
    """
    traced = Traced(function, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), elements))
    lost = next((v for v in traced.writes if not getattr(v, "is_seed", False)), None)
    if lost is not None:
        raise CaptureError(
            f"variable {lost.path!r} is assigned inside vectorized_map, where each row would give it another value. Use ops.map, which "
            "takes one row after the other, or return the values and assign what you make of them outside."
        )
    seeds = [_seed_of_each(v, jax.tree.leaves(elements)[0].shape[0]) for v in traced.writes]

    def run(seeds: list, x: Any) -> Any:
        with Frame(dict(zip(traced.writes, seeds, strict=True))):
            return traced(x)[0]

    def vectorized_map(*given: Any) -> Any:
        return jax.vmap(run)(*given)

    together = vectorized_map if jax_compat.computes_now() else jax.jit(vectorized_map)  # one equation, by its name
    return together(seeds, elements)


def _seed_of_each(state: Any, rows: Any) -> jax.Array:
    """A state for each row, from one draw of the seed whose state is given."""
    now = state.read()
    state.assign(now + np.array([0, 1], np.uint32))
    key = jax.random.wrap_key_data(now, impl="threefry2x32")
    return jax.vmap(lambda row: jax.random.key_data(jax.random.fold_in(key, row)))(jnp.arange(rows))


def without_writes(function: Callable, where: str) -> Callable:
    """A function that may read variables, but raises where it assigns one."""

    def run(*args: Any) -> Any:
        with Frame() as inside:
            outputs = function(*args)
            if inside.written:
                raise CaptureError(f"variable {next(iter(inside.written)).path!r} is assigned inside {where}: assign it outside.")
            return outputs

    return run
