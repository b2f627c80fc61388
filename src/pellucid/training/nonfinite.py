"""``compile(nan="raise")``: training stays compiled; a step whose loss or gradient is not finite is undone and explained.

The loss is checked in the running sums that every step updates anyway, and once a dispatch the weights (a gradient that is not
finite makes a weight that is not) and the other variables, such as moving statistics. What there was before a dispatch is kept until
its check is seen: small arrays as a copy that the program makes, and large ones themselves, which then take the results of a later
dispatch.
"""

from __future__ import annotations

import collections
import dataclasses
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from pellucid.core.variable import Variable, dispatching
from pellucid.errors import NonFiniteError
from pellucid.graph.blame import Blame, find_blame
from pellucid.training.data import Block
from pellucid.training.programs import Program

Before = tuple[Variable, Any, bool]  # a variable, its array, whether a user may hold that
IN_FLIGHT = 1  # dispatches whose check is not seen yet, beside the newest: each keeps the arrays before it


class FiniteCheck:
    """A function of the variables before and after a dispatch: whether all is well.

    Args:
        weights: those that the optimizer changes.
        losses: the running sums of the losses. Where they were not finite before (a validation), they tell nothing.
        metrics: states of metrics, which may hold anything.
        scales: of losses. A step that loss scaling leaves out does no harm, and a lower scale may be the cure. It is none where the
            scale falls below 1: then the gradients of the loss itself are not finite.
    """

    def __init__(
        self,
        weights: Sequence[Variable],
        losses: Sequence[Variable],
        metrics: Iterable[Variable] = (),
        scales: Sequence[Variable] = (),
    ):
        self.weights, self.losses, self.scales = list(weights), list(losses), list(scales)
        self._known = {*self.weights, *self.losses, *self.scales, *metrics}

    def others(self, written: Iterable[Variable]) -> list[Variable]:
        """Of the variables that a step writes, those that must stay finite beside the weights: moving statistics, optimizer state."""
        return [v for v in written if v not in self._known and jnp.issubdtype(v.dtype, jnp.inexact)]

    def __call__(self, before: dict, after: dict) -> Any:
        well = _are_finite([after[w] for w in self.weights])
        for scale in self.scales:
            well &= ~((after[scale] < 1) & (after[scale] < before[scale]))
        for state in () if self.scales else self.losses:
            if state not in after:
                continue
            well &= jnp.isfinite(after[state]).all() | ~jnp.isfinite(before[state]).all()
        others = self.others(v for v in after if after[v] is not before[v])
        if not others:
            return well

        def each_that_was() -> Any:
            return jnp.stack([jnp.isfinite(after[v]).all() | ~jnp.isfinite(before[v]).all() for v in others]).all()

        return well & lax.cond(_are_finite([after[v] for v in others]), lambda: jnp.bool_(True), each_that_was)


def state_of(variables: Sequence[Variable]) -> list[Before]:
    """What variables hold now."""
    return [(v, v.array, v.handed_out) for v in variables]


def place_of(caller: str, epoch: int | None, batch: int) -> str:
    """Which batch, in words."""
    return f"{caller}: " + (f"epoch {epoch}, batch {batch}" if caller == "fit" else "this batch")


def _are_finite(arrays: Sequence[Any]) -> Any:
    return jnp.isfinite(sum(map(_zero_if_finite, arrays), jnp.zeros(())))


def _zero_if_finite(x: Any) -> Any:
    if not jnp.issubdtype(x.dtype, jnp.inexact) or not x.size:
        return jnp.zeros(())
    if jax.default_backend() != "cpu" or x.ndim == 0:
        return jnp.where(jnp.isfinite(x).all(), 0.0, jnp.nan)
    # three times as fast on a CPU, and no finite number overflows
    return (x.reshape(-1, x.shape[-1]) @ lax.optimization_barrier(jnp.zeros(x.shape[-1], x.dtype))).sum()


@dataclasses.dataclass
class _Flight:
    """A dispatch whose check has not been seen."""

    program: Program
    block: Block
    first: int
    steps: int
    kept: list[Before]  # nothing where the program packs it
    outputs: Any
    number: int  # of its first step in the epoch

    @property
    def before(self) -> list[Before]:
        if not self.program.packs:
            return self.kept
        return [(v, array, False) for v, array in zip(self.program.writes, self.program.before(self.outputs), strict=True)]


class Watch:
    """Sees to it that the weights in use are good ones: undoes a bad step and says which operation it was.

    Args:
        caller: for the message.
    """

    def __init__(self, caller: str):
        self.caller = caller
        self.epoch = 0
        self._flights: collections.deque[_Flight] = collections.deque()
        self._spare: weakref.WeakKeyDictionary[Program, list[list[Any]]] = weakref.WeakKeyDictionary()
        self._steps = 0
        self._freed_later: _Flight | None = None  # keeps its arrays until the device works on the next one: freeing takes two steps' time

    def begin(self, epoch: int) -> None:
        """An epoch begins (numbered from 1)."""
        self.epoch, self._steps = epoch, 0

    def dispatch(self, program: Program, block: Block, first: int, steps: int) -> Any:
        """Dispatches steps and keeps what there was before."""
        with dispatching:
            kept = [] if program.packs else state_of(program.writes)
            spares = self._spare.get(program)
            outputs = program.dispatch(block, first, steps, spares.pop() if spares else None)
        self._flights.append(_Flight(program, block, first, steps, kept, outputs, self._steps + 1))
        self._steps += steps
        self._freed_later = None
        return outputs

    def settle(self, outputs: Any = None) -> None:
        """Waits for a dispatch and all before it (for all, by default).

        Raises:
            NonFiniteError: where one of them was not finite. The weights are those before the bad step.
        """
        if outputs is not None and all(f.outputs is not outputs for f in self._flights):
            return
        while self._flights:
            flight = self._flights.popleft()
            if not flight.program.was_finite(flight.outputs):
                self._undo(flight)
                raise self._error(flight)
            self._freed_later = flight
            if flight.program.recycles and not any(held for _, _, held in flight.kept):
                self._spare.setdefault(flight.program, []).append([a for _, a, _ in flight.kept])
            if flight.outputs is outputs:
                return

    def abandon(self) -> None:
        """Training ends in the middle: weights that are no good are put back."""
        while self._flights:
            flight = self._flights.popleft()
            if not flight.program.was_finite(flight.outputs):
                self._undo(flight)

    def _undo(self, flight: _Flight) -> None:
        with dispatching:
            for one in reversed([flight, *self._flights]):
                put_back(one.before)
            self._flights.clear()

    def _error(self, flight: _Flight) -> NonFiniteError:
        """Repeats the steps one by one up to the bad one, and evaluates that one operation by operation."""
        program = flight.program
        for i in range(flight.first, flight.first + flight.steps):
            with dispatching:
                kept = [] if program.packs else state_of(program.writes)
                outputs = program.dispatch(flight.block, i, 1)
            if not program.was_finite(outputs):
                with dispatching:
                    put_back(_Flight(program, flight.block, i, 1, kept, outputs, 0).before)
                where = place_of(self.caller, self.epoch, flight.number + i - flight.first)
                return explained(program, program.step_inputs(flight.block.arrays, i, flight.block.rows), where)
        return NonFiniteError(
            f"{self.caller}: the sum of the losses is not finite, though each step is when repeated alone. The weights are good. "
            "Scale the loss down, or the targets."
        )


def put_back(before: Sequence[Before]) -> None:
    """Gives variables the arrays that they had."""
    for variable, array, held in before:
        variable.array = array
        variable.handed_out = held


def explained(program: Program, inputs: list[Any], where: str) -> NonFiniteError:
    """The error for a step, at whose beginning the variables are now.

    Args:
        program: with the step's equations.
        inputs: of the step: arrays of the batch, mask, number of rows.
        where: which batch it was.
    """
    trace = program.step
    outputs = {v: i for i, v in enumerate(trace.writes, trace.tree.num_leaves)}
    assert program.check is not None
    losses, weights = ([outputs[v] for v in some if v in outputs] for some in (program.check.losses, program.check.weights))
    others = {outputs[v]: v.path for v in program.check.others(trace.writes) if bool(jnp.isfinite(v.array).all())}
    calls = {call.path: call.source for call in program.graph.calls} if program.graph is not None else {}
    blame = find_blame(trace.jaxpr, inputs, _input_names(program), lambda v: v.array, losses, weights, calls, others)
    return error_for(blame, where, scaled=bool(program.check.scales))


def _input_names(program: Program) -> list[str]:
    batch = jax.tree.unflatten(program.batch_tree, range(program.batch_tree.num_leaves))
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(batch)[0]]
    return [*(("x", "y", "sample_weight")[p[0].idx] + jax.tree_util.keystr(p[1:]) for p in paths), "mask", "count"]


def error_for(blame: Blame | None, where: str, scaled: bool = False) -> NonFiniteError:
    """The error that tells what is to blame, and that the weights are good."""
    what = blame.reached if blame else "a gradient" if scaled else "the loss"
    found = str(blame) if blame else "Evaluated operation by operation, outside of the compiled program, every value is finite."
    if scaled:
        what += ", at a loss scale of 1 or less,"
        found = str(blame) if blame else "Compute in bfloat16, whose range is that of float32 (dtype='mixed_bfloat16')."
    return NonFiniteError(
        f"{where}: {what} is not finite. {found}\nWeights and optimizer state are those before this batch; they can be used and trained.",
        blame,
    )
