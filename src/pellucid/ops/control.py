"""Control flow that carries state: a variable assigned or a seed drawn inside comes out of the loop or branch."""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from pellucid.core import frame, jax_compat
from pellucid.core.forms import own_form
from pellucid.core.mode import TrainingFlag, by_training
from pellucid.core.variable import Variable
from pellucid.ops import loops
from pellucid.ops.core import convert_to_tensor


def cond(pred: Any, true_fn: Callable, false_fn: Callable, *operands: Any) -> Any:
    """Calls one of two functions. Both may read and assign variables.

    Args:
        pred: a scalar boolean: a Python one, an array, or the ``training`` that ``call`` was given.
        true_fn: called with the operands where ``pred`` holds.
        false_fn: called with the operands otherwise; returns the same structure, shapes and dtypes.

    Example:
        >>> from pellucid import ops
        >>> float(ops.cond(ops.array(True), lambda x: x + 1, lambda x: x - 1, 1.0))
        2.0
    """
    pred = pred.value if isinstance(pred, Variable) else pred
    if isinstance(pred, TrainingFlag):
        return by_training(pred, true_fn, false_fn, *operands)
    if not jax_compat.is_tracer(pred):
        return (true_fn if pred else false_fn)(*operands)
    return frame.choose(pred, true_fn, false_fn, *operands)


def switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """Calls one of several functions, by its number. All may read and assign variables.

    Args:
        index: a whole number; one below 0 stands for 0, one too large for the last.
        branches: functions of the operands that return the same structure, shapes and dtypes.
        operands: of the function that is called.

    Raises:
        ValueError: where there are no branches.

    Example:
        >>> from pellucid import ops
        >>> float(ops.switch(1, [lambda x: x, lambda x: 2 * x], 3.0))
        6.0
    """
    if not branches:
        raise ValueError("switch: branches is empty; expected at least one function.")
    index = index.value if isinstance(index, Variable) else index
    if not jax_compat.is_tracer(index):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    return frame.choose_by_index(index, branches, *operands)


def scan(f: Callable, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: int = 1) -> tuple[Any, Any]:
    """``carry, y = f(carry, x)`` along the first axis of ``xs``, as ``jax.lax.scan``; ``f`` may assign variables.

    Returns:
        (last carry, all ``y`` stacked)
    """
    return frame.loop(lambda start, body, _: jax.lax.scan(body, start, xs, length, reverse, unroll), f, init, xs)


def scan_steps(f: Callable, init: Any, xs: Any, reverse: bool = False, unroll: int = 1) -> tuple[Any, Any]:
    """``scan`` of the steps of a recurrent layer; where they assign nothing, in the form of ``loops`` if that is faster."""

    def run(start: tuple, body: Callable, _: Callable) -> tuple:
        form = loops.scan if own_form("scan") and not start[1] else jax.lax.scan
        return form(body, start, xs, reverse=reverse, unroll=unroll)

    return frame.loop(run, f, init, xs)


def while_loop(cond: Callable, body: Callable, loop_vars: Any, maximum_iterations: int | None = None) -> Any:
    """``while cond(*loop_vars): loop_vars = body(*loop_vars)``; ``body`` may assign variables.

    Args:
        cond: returns a scalar boolean.
        body: returns new values of the same structure, shapes and dtypes.
        loop_vars: a tuple or list of arrays, or one array.
        maximum_iterations: an upper bound of the number of turns.
    """
    several = isinstance(loop_vars, tuple | list)
    start = (tuple(loop_vars) if several else (loop_vars,), np.int32(0))

    def go_on(state: tuple) -> Any:
        going = cond(*state[0])
        return going if maximum_iterations is None else going & (state[1] < maximum_iterations)

    def turn(state: tuple, _: Any) -> tuple:
        new = body(*state[0])
        return (tuple(new) if several else (new,), state[1] + 1), None

    def run(start: Any, step: Callable, frame_of: Callable) -> tuple:
        def going(state: tuple) -> Any:
            with frame_of(state[1]):  # the condition sees what the body has assigned
                return go_on(state[0])

        return jax.lax.while_loop(going, lambda s: step(s, None)[0], start), None

    (values, _), _ = frame.loop(run, turn, start, None)
    return type(loop_vars)(values) if several else values[0]


def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: Any) -> Any:
    """``for i in range(lower, upper): value = body_fun(i, value)``; ``body_fun`` may assign variables."""

    def turn(state: tuple, _: Any) -> tuple:
        i, value = state
        return (i + 1, body_fun(i, value)), None

    def run(start: Any, step: Callable, _: Callable) -> tuple:
        return jax.lax.fori_loop(lower, upper, lambda _, s: step(s, None)[0], start), None

    (_, value), _ = frame.loop(run, turn, (jax.numpy.asarray(lower), init_val), None)
    return value


def map(f: Callable, xs: Any) -> Any:
    """``f`` of each slice along the first axis, one after the other, stacked; ``f`` may assign variables."""
    return scan(lambda _, x: (0, f(x)), 0, xs)[1]


def vectorized_map(function: Callable, elements: Any) -> Any:
    """``function`` of each slice along the first axis, of all at once, stacked; as ``jax.vmap``.

    ``function`` may read variables and call layers. Each slice draws random numbers of its own.

    Args:
        function: of a slice, or of a structure of slices.
        elements: an array, or a structure of arrays with equal first sizes.

    Raises:
        CaptureError: where ``function`` assigns a variable, which each slice would give another value.

    Example:
        >>> from pellucid import ops
        >>> ops.vectorized_map(lambda pair: pair[0] @ pair[1], [ops.ones((4, 3)), ops.ones((4, 3))]).tolist()
        [3.0, 3.0, 3.0, 3.0]
    """
    return frame.over_rows(function, jax.tree.map(convert_to_tensor, elements))


def associative_scan(f: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes of elements, combined by an associative function, in parallel: as ``jax.lax.associative_scan``.

    Args:
        f: ``f(a, b)`` of two structures of slices, of any number along the axis. It may read variables, not assign them.
        elems: an array, or a structure of arrays of equal size along the axis.
        reverse: whether suffixes are combined instead.
        axis: that the elements lie along.

    Example:
        >>> from pellucid import ops
        >>> ops.associative_scan(lambda a, b: a * b, ops.array([1, 2, 3, 4])).tolist()
        [1, 2, 6, 24]
    """
    return jax.lax.associative_scan(frame.without_writes(f, "associative_scan"), elems, reverse, axis)


def remat(f: Callable) -> Callable:
    """A function like ``f`` whose inner values are not kept for the gradient, but computed again: less memory, more time.

    ``f`` may read and assign variables, draw random numbers and call layers; it may be a layer. What it computes again is the
    same: drawn from the same seeds, and assigned once. Chen et al., "Training deep nets with sublinear memory cost", 2016.

    Args:
        f: of any arguments.

    Example:
        >>> import pellucid
        >>> float(pellucid.remat(lambda x: x * x)(3.0))
        9.0
    """

    @functools.wraps(f)
    def rematerialized(*args: Any, **kwargs: Any) -> Any:
        return frame.checkpoint(f, args, kwargs)

    return rematerialized


def print(*values: Any, sep: str = " ", end: str = "\n", output_stream: Any = None, **_: Any) -> None:
    """Prints on every step, also from inside a compiled program; in eager code, at once.

    Arrays among the values are printed as NumPy prints them. It takes what ``tf.print`` takes.

    Args:
        values: text, numbers, arrays or structures of them.
        sep: between the values.
        end: after the last.
        output_stream: by default ``sys.stdout`` at the moment of printing.

    Example:
        >>> import pellucid
        >>> pellucid.print("mean", pellucid.ops.mean(pellucid.ops.array([1.0, 2.0])))
        mean 1.5
    """
    leaves, tree = jax.tree.flatten(list(values))
    arrays = [leaf for leaf in leaves if not isinstance(leaf, str | bytes | type(None))]

    def show(*now: Any) -> None:
        given = iter(now)
        shown = jax.tree.unflatten(tree, [leaf if isinstance(leaf, str | bytes | type(None)) else _tidy(next(given)) for leaf in leaves])
        builtins.print(*shown, sep=sep, end=end, file=output_stream or sys.stdout, flush=True)

    if not any(jax_compat.is_tracer(a) for a in arrays) and frame.active_frame() is None:
        show(*arrays)
    else:
        try:
            jax.debug.callback(show, *arrays, ordered=True)
        except ValueError:  # under vmap there is no order
            jax.debug.callback(show, *arrays)


def _tidy(value: Any) -> Any:
    array = np.asarray(value)
    return array[()] if array.ndim == 0 else array
