"""A loop over steps whose gradients by what each step only reads, as a kernel, are taken after it, for all steps at once.

JAX adds a kernel's gradient up in the loop: with each step a second product, and a sum. Here the tangents of what steps only read, and
of the inputs, are computed for all steps at once (a product of (time * batch, units) with a kernel's tangent), and a linear loop
carries those of the states. Reverse mode is the transposition of that: a loop for the states, and then one product for each kernel.

A step of two GRUs of 64 units over 64 steps of 32 rows, with Adam, took 8.0 ms on one core where JAX's own loop takes 10.7, of them
3.8 and 7.7 in the loops (jax 0.12; 8.4 and 10.6 on 0.10.2); their values alone 0.4 of the
time; a ConvLSTM of 16 filters on 24 x 24, 306 ms for 1368. What follows the loops runs on all cores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import jax_compat
from pellucid.ops.products import by_kernel

_barrier = jax.lax.optimization_barrier

# What of a state costs more to compute than to keep for the gradient, beside products: functions, with their derivatives from the value.
# All else is computed again.
_KEPT: dict[str, Callable] = {"tanh": lambda y: 1 - y * y, "logistic": lambda y: y * (1 - y), "exp": lambda y: y}
_PARTED = ("split",)  # kept, too, as often a part alone is needed of a product: what turns out to be of no use, XLA leaves out
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "op": "jaxpr"}  # equations that only hold others
_FIXED, _OF_INPUTS, _OF_STATES = range(3)  # what a value changes with


def scan(turn: Callable, init: Any, xs: Any, reverse: bool = False, unroll: Any = 1) -> tuple[Any, Any]:
    """``states, y = turn(states, x)`` along the first axis of ``xs``, as ``jax.lax.scan``, with all gradients but the states' after it.

    Args:
        turn: a pure function; the new states have the shapes and types of the old ones.
        init: structure of arrays: the first states.
        xs: structure of arrays with equal first sizes.
        reverse: begin with the last.
        unroll: steps in each turn of XLA's loop, True for all. With 1 it takes two where their number is even: an LSTM's step took 6 %
            less, a GRU's 3 %, and a fifth more to compile; four gained 1 % more and took half as much again.

    Returns:
        (last states, all ``y`` stacked)

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pellucid.ops import loops
        >>> last = lambda w: loops.scan(lambda h, x: (w * h + x, None), jnp.ones(1), jnp.ones((3, 1)))[0].sum()
        >>> float(last(2.0)), float(jax.grad(last)(2.0))
        (15.0, 17.0)
    """
    states, of_states = jax.tree.flatten(init)
    inputs, of_inputs = jax.tree.flatten(xs)

    def flat(*given: Any) -> tuple:
        before, slices = given[: len(states)], given[len(states) :]
        new, y = turn(jax.tree.unflatten(of_states, before), jax.tree.unflatten(of_inputs, slices))
        return jax.tree.leaves(new), y

    types = [jax.ShapeDtypeStruct(shape, x.dtype) for shape, x in (*((s.shape, s) for s in states), *((x.shape[1:], x) for x in inputs))]
    jaxpr, shape = jax.make_jaxpr(flat, return_shape=True)(*types)
    if not _can_be_taken_apart(jaxpr):
        return jax.lax.scan(turn, init, xs, reverse=reverse, unroll=unroll)
    steps = _Steps(jaxpr, len(states))
    fixed = steps.run(dict(steps.constants), [_FIXED])
    sequences = {**dict(zip(steps.inputs, inputs, strict=True)), **steps.products_of_inputs(fixed, inputs)}
    length = inputs[0].shape[0]
    if unroll == 1 and unroll is not True and isinstance(length, int) and length % 2 == 0:
        unroll = 2
    run = _Loop(steps, reverse=reverse, unroll=unroll).run
    last, y = run({n: fixed[n] for n in steps.reads_fixed}, [jax.lax.convert_element_type(s, s.dtype) for s in states], sequences)
    return jax.tree.unflatten(of_states, last), jax.tree.unflatten(jax.tree.structure(shape[1]), y)


def _can_be_taken_apart(jaxpr: Any) -> bool:
    """Whether nothing in a step branches, loops, calls other code or has a gradient for reverse mode alone."""
    held = [(e.primitive.name, jax_compat.nested_jaxprs(e)) for e in jax_compat.parts(jaxpr).eqns]
    known = {*_CALLS, "custom_jvp_call"}
    if jax_compat.calls_back(jaxpr) or any(name == "ffi_call" for name, _ in held):
        return False
    return all(not inner or (name in known and all(map(_can_be_taken_apart, inner))) for name, inner in held)


# ---- The equations of a step ----


class _Operation(NamedTuple):
    """An equation of a step; its inputs and outputs by number, literals as they are."""

    eqn: Any
    inputs: tuple
    outputs: tuple[int, ...]
    changes_with: int

    def run(self, *inputs: Any) -> list[Any]:
        return jax_compat.bind_again(self.eqn, inputs, self.eqn.params)


class _Steps:
    """The equations of a step in a row, those of the functions that it calls among them. Each value has a number.

    Args:
        jaxpr: closed, of ``(*states, *inputs) -> (*new states, *outputs)``.
        count: of the states.
    """

    def __init__(self, jaxpr: Any, count: int):
        self.constants: dict[int, Any] = {}
        self.changes_with: list[int] = []
        self.operations: list[_Operation] = []
        given = [self._new(_OF_STATES if i < count else _OF_INPUTS) for i in range(len(jax_compat.parts(jaxpr).invars))]
        self.states, self.inputs = given[:count], given[count:]
        found = self._add(jaxpr, given)
        self.new_states, self.outputs = found[:count], found[count:]
        later = [o for o in self.operations if o.changes_with]
        read = {n for o in later for n in o.inputs if isinstance(n, int)} | {n for n in found if isinstance(n, int)}
        self.reads_fixed = [n for n in sorted(read) if self.changes_with[n] == _FIXED]
        self.products = [o for o in later if self._is_product(o)]
        of_states = (o for o in later if o.changes_with == _OF_STATES)
        self.kept = [n for o in of_states if o in self.products or o.eqn.primitive.name in (*_KEPT, *_PARTED) for n in o.outputs]

    def _new(self, changes_with: int) -> int:
        self.changes_with.append(changes_with)
        return len(self.changes_with) - 1

    def _add(self, jaxpr: Any, given: Sequence[Any]) -> list[Any]:
        invars, constvars, consts, eqns, outvars = jax_compat.parts(jaxpr)
        numbers = dict(zip(invars, given, strict=True))
        for variable, constant in zip(constvars, consts, strict=True):
            numbers[variable] = self._new(_FIXED)
            self.constants[numbers[variable]] = constant
        number = lambda v: v if isinstance(v, jax_compat.Literal) else numbers[v]
        for eqn in eqns:
            inputs = tuple(map(number, eqn.invars))
            if eqn.primitive.name in _CALLS:
                outputs = self._add(eqn.params[_CALLS[eqn.primitive.name]], inputs)
            else:
                changes_with = max((self.changes_with[n] for n in inputs if isinstance(n, int)), default=_FIXED)
                outputs = [self._new(changes_with) for _ in eqn.outvars]
                self.operations.append(_Operation(eqn, inputs, tuple(outputs), changes_with))
            numbers.update(zip(eqn.outvars, outputs, strict=True))
        return list(map(number, outvars))

    def _is_product(self, operation: _Operation) -> bool:
        """Whether an operation is a product of what changes with what all steps share."""
        name, inputs = operation.eqn.primitive.name, operation.inputs
        if name not in _PRODUCTS or not all(isinstance(n, int) for n in inputs):
            return False
        return self.changes_with[inputs[1]] == _FIXED != self.changes_with[inputs[0]] and _PRODUCTS[name].suits(operation.eqn)

    def run(self, values: dict[int, Any], which: Sequence[int], replaced: Callable | None = None) -> dict[int, Any]:
        """Adds what operations give to values by number, where it is not among them already.

        Args:
            values: what is known.
            which: run those that change with these.
            replaced: ``(operation, inputs) -> outputs``, or None where it gives what it gives.
        """
        for operation in self.operations:
            if operation.changes_with in which and operation.outputs[0] not in values:
                inputs = _read(values, operation.inputs)
                found = replaced and replaced(operation, inputs)
                values.update(zip(operation.outputs, operation.run(*inputs) if found is None else found, strict=True))
        return values

    def products_of_inputs(self, fixed: dict[int, Any], inputs: Sequence[Any]) -> dict[int, Any]:
        """Those products that do not depend on the states, for all steps at once; by number."""
        products = {o.outputs[0]: o for o in self.products if o.changes_with == _OF_INPUTS}
        needed = set(products)
        for operation in reversed(self.operations):
            if needed & set(operation.outputs):
                needed.update(n for n in operation.inputs if isinstance(n, int))
        values = {**fixed, **dict(zip(self.inputs, inputs, strict=True))}
        for o in self.operations:
            if o.changes_with == _OF_INPUTS and needed & set(o.outputs):
                given = _read(values, o.inputs)
                if o.outputs[0] in products:
                    found = [_PRODUCTS[o.eqn.primitive.name].at_once(o.eqn, *given)]
                else:
                    axes = [0 if isinstance(n, int) and self.changes_with[n] else None for n in o.inputs]
                    found = jax.vmap(o.run, axes)(*given)
                values.update(zip(o.outputs, found, strict=True))
        return {n: values[n] for n in products}


def _read(values: dict[int, Any], numbers: Sequence[Any]) -> list[Any]:
    return [n.val if isinstance(n, jax_compat.Literal) else values[n] for n in numbers]


# ---- Products with what all steps share ----


class _Product(NamedTuple):
    """How a product is taken for all steps at once, and how in the linear loop.

    Args:
        suits: whether an equation is one, of rows in its first axis.
        at_once: ``(eqn, x of all steps, kernel) -> y of all steps``.
        turned: ``kernel -> kernel``, once, before the loop.
        by_turned: ``(eqn, x, turned kernel) -> y``.
    """

    suits: Callable
    at_once: Callable
    turned: Callable
    by_turned: Callable


def _dot(eqn: Any, x: Any, kernel: Any, axis: int = 0) -> Any:
    settings = {name: eqn.params[name] for name in ("precision", "preferred_element_type")}
    return jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (axis,)), ((), ())), **settings)


def _folded(product: Callable) -> Callable:
    """A product of rows, taken of those of all steps: (time, batch, ...). It goes by the name that tells ``graph.rows`` that it keeps
    them apart."""

    def of_all_steps(eqn: Any, x: Any, kernel: Any) -> Any:
        def rows_apart(x: Any, kernel: Any) -> Any:
            y = product(eqn, x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(*x.shape[:2], *y.shape[1:])

        rows_apart.__name__ = "rows apart"  # no name that a user's function may have
        return jax.jit(rows_apart)(x, kernel)

    return of_all_steps


def _conv(eqn: Any, x: Any, kernel: Any) -> Any:
    return jax_compat.bind_again(eqn, (x, kernel), eqn.params)[0]


def _matrix_product(eqn: Any, x: Any, kernel: Any) -> Any:
    """In two dimensions: with more, the gradient of the kernel took three times as long."""
    rows = x.reshape(-1, x.shape[-1])
    y = by_kernel(rows, kernel) if x.dtype == kernel.dtype == jnp.float32 else _dot(eqn, rows, kernel)
    return y.reshape(*x.shape[:-1], kernel.shape[1])


def _is_matrix_product(eqn: Any) -> bool:
    x, kernel = (v.aval.ndim for v in eqn.invars)
    contracted, together = eqn.params["dimension_numbers"]
    return kernel == 2 <= x and tuple(map(tuple, contracted)) == ((x - 1,), (0,)) and not any(map(len, together))


def _has_rows_first(eqn: Any) -> bool:
    numbers = eqn.params["dimension_numbers"]
    return numbers.lhs_spec[0] == numbers.out_spec[0] == 0 and eqn.params["batch_group_count"] == 1


# XLA would transpose the kernel of the gradient's product in each step (9.2 us for 8.1): it is turned before the loop.
_PRODUCTS = {
    "dot_general": _Product(
        _is_matrix_product, _folded(_matrix_product), lambda kernel: _barrier(kernel.T), functools.partial(_dot, axis=1)
    ),
    "conv_general_dilated": _Product(_has_rows_first, _folded(_conv), lambda kernel: kernel, _conv),
}


# ---- The loop and its tangent ----


def _apart(operation: _Operation, inputs: Sequence[Any]) -> list[Any] | None:
    """Functions of states in a kernel of XLA's each. Where it fuses all of a GRU's step into one, that is not vectorized: 33 us, not 4."""
    is_one = operation.changes_with == _OF_STATES and operation.eqn.primitive.name in _KEPT
    return [_barrier(y) for y in operation.run(*inputs)] if is_one else None


class _Loop:
    """The loop over given steps, and its tangent.

    Args:
        steps: of the loop.
        options: of ``jax.lax.scan``.
    """

    def __init__(self, steps: _Steps, **options: Any):
        self.steps, self.options = steps, options
        at = {n: i for i, n in enumerate(steps.outputs) if isinstance(n, int)}
        self.repeated = [at.get(n) if isinstance(n, int) else None for n in steps.new_states]  # outputs that are new states
        self.run = jax.custom_jvp(self._run)
        self.run.defjvp(self._tangent, symbolic_zeros=True)

    def _values(self, fixed: dict, states: Sequence, slices: dict, replaced: Callable | None = _apart) -> dict:
        given = {**fixed, **slices, **dict(zip(self.steps.states, states, strict=True))}
        return self.steps.run(given, (_OF_INPUTS, _OF_STATES), replaced)

    def _run(self, fixed: dict, states: list, sequences: dict) -> tuple:
        def turn(states: list, slices: dict) -> tuple:
            found = self._values(fixed, states, slices)
            return _read(found, self.steps.new_states), _read(found, self.steps.outputs)

        return jax.lax.scan(turn, states, sequences, **self.options)

    def _run_and_keep(self, fixed: dict, states: list, sequences: dict) -> tuple:
        """(last states, outputs, and of each step (the states before it, its inputs, what else is kept, by number))"""

        def turn(states: list, slices: dict) -> tuple:
            found = self._values(fixed, states, slices)
            others = [s for s, at in zip(states, self.repeated, strict=True) if at is None]
            kept = {n: found[n] for n in self.steps.kept}
            return _read(found, self.steps.new_states), (_read(found, self.steps.outputs), others, kept)

        last, (outputs, others, kept) = jax.lax.scan(turn, states, sequences, **self.options)
        rest = iter(others)
        before = [next(rest) if at is None else self._before(s, outputs[at]) for s, at in zip(states, self.repeated, strict=True)]
        return last, outputs, (before, sequences, kept)

    def _before(self, first: Any, after: Any) -> Any:
        """The states before each step, from those after it."""
        return jnp.concatenate([after[1:], first[None]] if self.options.get("reverse") else [first[None], after[:-1]])

    def _tangent(self, primals: tuple, tangents: tuple) -> tuple:
        fixed, states, _ = primals
        by_fixed, by_states, by_sequences = ({n: t for n, t in _items(given) if _is_moving(t)} for given in tangents)
        last, outputs, seen = self._run_and_keep(*primals)
        turned = {o.outputs[0]: _PRODUCTS[o.eqn.primitive.name].turned(fixed[o.inputs[1]]) for o in self.steps.products}
        moving = [i for i, s in enumerate(states) if _is_float(s)]
        others = [i for i, y in enumerate(outputs) if _is_float(y) and i not in self.repeated]

        def linear(states: list, slices: dict, kept: dict, tangents: Sequence[dict]) -> tuple:
            """The tangents of a step's float results, for some of what is fixed, the states, the slices and what is kept."""
            primals = (fixed, dict(enumerate(states)), slices, kept)

            def results(*given: dict) -> tuple:
                fixed, states, slices, kept = ({**all_of, **some} for all_of, some in zip(primals, given, strict=True))
                found = self._values(fixed, list(states.values()), slices, functools.partial(_known, kept, turned, self.steps.new_states))
                new, y = _read(found, self.steps.new_states), _read(found, self.steps.outputs)
                return [new[i] for i in moving], [y[i] for i in others]

            return jax.jvp(results, tuple({n: p[n] for n in t} for p, t in zip(primals, tangents, strict=True)), tuple(tangents))[1]

        if by_fixed or by_sequences:
            of_products = self._of_products(fixed, seen, by_fixed)
            at_once = lambda states, slices, kept, *by: linear(states, slices, kept, (by_fixed, {}, *by))
            given: Any = jax.vmap(at_once)(*seen, by_sequences, of_products)
        else:
            given = None

        @functools.partial(jax.checkpoint, prevent_cse=False)  # nothing is kept beside what was: `seen`
        def turn(tangents: list, now: tuple) -> tuple:
            given, (before, slices, kept) = now
            new, y = linear(before, slices, kept, ({}, dict(zip(moving, tangents, strict=True)), {}, {}))
            if given is not None:
                new, y = jax.tree.map(jnp.add, (new, y), given)
            found: dict[Any, Any] = dict(zip(others, y, strict=True))
            found.update((self.repeated[i], t) for i, t in zip(moving, new, strict=True))
            return new, [found[i] for i, o in enumerate(outputs) if _is_float(o)]

        first = [by_states.get(i, jnp.zeros_like(states[i])) for i in moving]
        new, y = jax.lax.scan(turn, first, (given, seen), **self.options)
        return (last, outputs), (_with_zeros(last, new), _with_zeros(outputs, y))

    def _of_products(self, fixed: dict, seen: tuple, tangents: dict) -> dict:
        """What the kernels' tangents add to the products of states of all steps, by number."""
        products = [o for o in self.steps.products if o.outputs[0] in self.steps.kept and o.inputs[1] in tangents]
        read = lambda states, slices, kept: _read(self._values(fixed, states, {**slices, **kept}), [o.inputs[0] for o in products])
        given = jax.vmap(read)(*seen)
        find = lambda o, x: _PRODUCTS[o.eqn.primitive.name].at_once(o.eqn, x, tangents[o.inputs[1]])
        return {o.outputs[0]: find(o, x) for o, x in zip(products, given, strict=True)}


def _items(given: Any) -> Any:
    return given.items() if isinstance(given, dict) else enumerate(given)


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _is_moving(tangent: Any) -> bool:
    return not isinstance(tangent, jax.custom_derivatives.SymbolicZero) and _is_float(tangent)


def _with_zeros(values: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents of the values that are floats, and JAX's zeros for the others."""
    rest = iter(tangents)
    return [next(rest) if _is_float(v) else np.zeros(v.shape, jax.dtypes.float0) for v in values]


def _known(kept: dict, turned: dict, states: Sequence[Any], operation: _Operation, inputs: Sequence[Any]) -> list[Any] | None:
    """What an operation gives where that was kept: only its tangent is computed.

    That of a new state is read in several places: with a barrier it is computed once, not again in each (4 % of an LSTM's step).
    """
    number = operation.outputs[0]
    if number not in kept:
        return list(map(_barrier, operation.run(*inputs))) if number in states else None
    known, name = [kept[n] for n in operation.outputs], operation.eqn.primitive.name
    if number in turned:  # the kernel's part is in the tangent of what was kept
        return _with_tangents(lambda _, x: [_PRODUCTS[name].by_turned(operation.eqn, x, turned[number])], known, inputs[0])
    if name in _PARTED:
        return _with_tangents(lambda _, x: operation.run(x), known, inputs[0])
    return _with_tangents(lambda y, t: [t * _KEPT[name](y[0])], known, inputs[0])


def _with_tangents(along: Callable, ys: list[Any], x: Any) -> list[Any]:
    """``ys``, whose tangents are ``along(ys, that of x)`` and their own."""

    @jax.custom_jvp
    def given(ys: list[Any], x: Any) -> list[Any]:
        return ys

    @functools.partial(given.defjvp, symbolic_zeros=True)
    def tangent(primals: tuple, tangents: tuple) -> tuple:
        ys, (own, by_x) = primals[0], tangents
        if not _is_moving(by_x):
            return ys, own
        return ys, [a if not _is_moving(b) else a + b for a, b in zip(along(ys, by_x), own, strict=True)]

    return given(ys, x)
