"""Programs: steps compiled by XLA, and their dispatch.

A program works on a block of batches. Short steps are all overhead, so that a program is a loop over the batches of a block:
many steps in one dispatch, their number a run-time argument. A loop takes its scratch memory once, too, and not for each step: four
steps of a transformer take 183 ms of processor time each in a loop, and 230 one by one (two layers GRU of batch 512: 202 and 278;
jax 0.12, two cores). Two things are not looped on a CPU. Convolutions: in a loop XLA runs them without threads and in a slow form (146
ms a step against 8). And steps of which a dispatch would hold one. They are dispatched one by one.

Short steps with convolutions, though, go several in a program without a loop, written out: four of them take 0.94 of the time that a step
alone does (a CNN of 8 ms; 0.82 of 15 ms with jax 0.10.2), which is a constant half a millisecond (two) for each step saved. The price is
compilation, 0.4 s for four steps of that CNN with its first 1.1: a long step would gain little and a deep net would compile for long, so
these stay single. Nothing else gains: four steps of the MLP, the GRU and the transformer of the benchmarks written out take 1.00 to 1.03,
1.04 to 1.17 and 1.00 times what they take in a loop, and compile for up to twice as long; shorter steps take 1.3 times and more. (See
``benchmarks/dispatch.py``.)

All this follows from the graph, so that nothing has to be measured, and the same model is computed in the same way each time. One thing
does not: of batches that are read while training runs, several go in a dispatch where several are there. A loop gives the bits of single
steps, but steps that are written out do not, so that after ``set_random_seed`` batches that are read go one by one where those of arrays
would be written out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pellucid.core import compilation_cache, scratch_memory
from pellucid.core.frame import Frame, Traced
from pellucid.core.uncollected import uncollected
from pellucid.core.variable import Variable, dispatching
from pellucid.graph.cost import Cost
from pellucid.training.batch_logs import Logs
from pellucid.training.data import Block

LOOP_STEPS = 512  # at most in one dispatch
DISPATCH_FLOPS = 5e10  # keeps a dispatch at half a second
# Steps in a program without a loop: the first number that divides those of an epoch. The first one of all for batches that are read while
# training runs, with a second program for what is left of a block.
WRITTEN_OUT = (4, 3, 2)
SHORT_FLOPS, FEW_CONVOLUTIONS = 2e9, 4  # of a training step, and of its graph: longer ones gain little, and more take long to compile
PACKED_BYTES = 2**20  # of a state that is kept: up to that it is copied into one array, more is written where an older one was
BLOCK_BYTES = 4 * 2**20  # several blocks are in flight at once


@dataclasses.dataclass(frozen=True)
class Form:
    """How a program is laid out: batches a block holds, whether it loops over them, whether the last may be padded.

    Where it is ``told``, it gives the logs of each step, and not only of the last one. A program that does not loop has one step, or
    several that are ``written_out`` one after the other.
    """

    batch_size: int
    capacity: int
    loop: bool
    masked: bool
    told: bool = False
    written_out: int = 1

    def at_once(self, steps: int) -> int:
        """How many of so many steps go in one dispatch."""
        return steps if self.loop else self.written_out


class Program:
    """A step, compiled for blocks of one form.

    Args:
        step: ``step(batch, rows, count)``, stateful; see ``training.steps``.
        batch_tree: structure of a batch.
        specs: ``ShapeDtypeStruct`` of each array of a batch.
        form: the layout.
        results: a stateful function without arguments whose value is wanted after the last step; "last" where that of the last
            step is, a dict; None where the outputs of all steps are.
        check: says, from the variables before and after a dispatch, whether all went well; see ``training.nonfinite``. What
            the variables held before can be had again then.
    """

    def __init__(
        self,
        step: Callable,
        batch_tree: Any,
        specs: list[jax.ShapeDtypeStruct],
        form: Form,
        results: Callable | str | None = None,
        check: Any = None,
    ):
        self.form, self.check = form, check
        self.gives_last = results == "last"
        mask = jax.ShapeDtypeStruct((form.batch_size,), "float32")
        count = jax.ShapeDtypeStruct((), "float32")

        def run(*leaves: Any) -> Any:
            *arrays, rows, count = leaves
            batch = jax.tree.unflatten(batch_tree, arrays)
            return step(batch, rows if form.masked else None, count if form.masked else float(form.batch_size))

        self.step = Traced(run, *specs, mask, count)
        self.log_names: list[str] = []

        def run_results() -> list[Any]:
            logs = results()  # type: ignore[misc,operator]
            self.log_names = list(logs)
            return list(logs.values())

        self.results = Traced(run_results) if callable(results) else None
        read = dict.fromkeys([*self.step.reads, *(self.results.reads if self.results else ())])
        self.writes: list[Variable] = list(self.step.writes)
        self.reads: list[Variable] = [v for v in read if v not in set(self.writes)]
        self.calls_back = self.step.has_effects
        # a program that calls Python may fail in the middle, and a donated weight would be gone then
        size = sum(v.size * v.dtype.itemsize for v in self.writes)
        self.packs = check is not None and not self.calls_back and size <= PACKED_BYTES
        self.recycles = check is not None and not self.calls_back and not self.packs
        self._keeps = self.calls_back or self.recycles
        donated = (0,) if self.recycles else () if self._keeps else (1,)
        self._options: dict[str, Any] = {"donate_argnums": donated, "keep_unused": self.recycles}
        self._jitted = jax.jit(self._pure, **self._options)
        self._compiled: Any = None
        self._lock = threading.Lock()
        self.entry: Any = None  # of the ledger
        self.compiled: Callable[[], Any] | None = None  # is called when XLA is done
        self.graph: Any = None
        self.made: Any = None  # from what
        self.batch_tree = batch_tree

    # ---- The pure function ----

    def step_inputs(self, arrays: list, i: Any, rows: Any) -> list[Any]:
        """The inputs of one step of a block: its arrays of a batch, the mask of real rows, and their number."""
        size = self.form.batch_size
        with jax.named_scope("data:batch"):  # profiles name it
            batch = arrays if self.form.capacity == 1 else [lax.dynamic_slice_in_dim(a, i * size, size) for a in arrays]
            start = i * size
            mask = (jnp.arange(size, dtype="int32") + start < rows).astype("float32")
            return [*batch, mask, jnp.clip(rows - start, 0, size).astype("float32")]

    def _pure(self, spare: list, written: list, read: list, arrays: list, first: Any, steps: Any, rows: Any) -> tuple[list, Any]:
        fixed = dict(zip(self.reads, read, strict=True))
        size, capacity = self.form.batch_size, self.form.capacity
        before = {**fixed, **dict(zip(self.writes, written, strict=True))}

        def one(i: Any, written: list) -> tuple[list, Any]:
            with Frame({**fixed, **dict(zip(self.writes, written, strict=True))}) as frame:
                outputs = self.step.run(*self.step_inputs(arrays, i, rows))
                told = self._as_told(outputs) if self.form.told else ()
                return [frame.values[v] for v in self.writes], (outputs, told)

        if self.form.loop:
            made = jax.tree.unflatten(self.step.tree, self.step.output_types)
            told = jax.eval_shape(self._as_told, made) if self.form.told else ()
            room = () if self.gives_last else (capacity * size,)
            buffers = jax.tree.map(lambda o: jnp.zeros((*room, *o.shape[len(room) :]), o.dtype), () if self.results else made)
            told = jax.tree.map(lambda o: jnp.zeros((capacity, *o.shape), o.dtype), told)

            def turn(i: Any, state: tuple) -> tuple:
                written, buffers, told = state
                written, (outputs, now) = one(i, written)
                told = jax.tree.map(lambda t, o: lax.dynamic_update_index_in_dim(t, o, i, 0), told, now)
                if self.gives_last:
                    return written, outputs, told
                outputs = () if self.results else outputs
                with jax.named_scope("data:outputs"):
                    buffers = jax.tree.map(lambda b, o: lax.dynamic_update_slice_in_dim(b, o, i * size, 0), buffers, outputs)
                return written, buffers, told

            written, outputs, told = lax.fori_loop(first, first + steps, turn, (written, buffers, told))
        else:
            logs = []
            for i in range(self.form.written_out):
                written, (outputs, told) = one(first + i, written)
                logs.append(told)
            told = jax.tree.map(lambda *each: jnp.stack(each), *logs)
        after = {**fixed, **dict(zip(self.writes, written, strict=True))}
        with jax.named_scope("check:finite"):
            more = [] if self.check is None else [self.check(before, after)]
        if self.gives_last:
            self.log_names = list(outputs)
            outputs = _packed(list(outputs.values()), more)
        elif self.results is not None:
            with Frame(after), jax.named_scope("metric:results"):
                outputs = _packed(self.results.run(), more)
        if self.packs:
            with jax.named_scope("check:before"):
                outputs = (*outputs, _joined([before[v] for v in self.writes]))
        if self.form.told:
            outputs = (*outputs, told)
        return written, outputs

    def _as_told(self, outputs: Any) -> Any:
        """The logs of a step: scalars as one vector, and the others."""
        leaves, self._told = jax.tree.flatten(outputs)
        return _packed(leaves, [])

    # ---- Dispatch ----

    def dispatch(self, block: Block, first: int = 0, steps: int = 1, spare: list | None = None) -> Any:
        """Starts some steps of a block and assigns the new values of variables. Nothing is waited for.

        Args:
            block: the batches.
            first: the first step.
            steps: their number.
            spare: arrays that nobody needs any more, for the results of a program with a check.

        Returns:
            what the step (or ``results``) gives, on the device.
        """
        numbers = (np.int32(first), np.int32(steps), np.int32(block.rows))
        if self._compiled is None:
            own = [v.array for v in self.writes]
            self._compile(own if self.recycles else [], own, [v.array for v in self.reads], block.arrays, *numbers)
        # a program that calls Python donates nothing, and what it calls may read weights
        with interrupts_held(), contextlib.nullcontext() if self.calls_back else dispatching:
            written = [v.array if self._keeps or not v.handed_out else v.array.copy() for v in self.writes]
            read = [v.array for v in self.reads]
            if self.recycles and spare is None:
                spare = [a.copy() for a in written]
            new, outputs = self._compiled(spare if self.recycles else [], written, read, block.arrays, *numbers)
            if self.calls_back:
                jax.block_until_ready(new)
                jax.effects_barrier()
            for variable, value in zip(self.writes, new, strict=True):
                variable.array = value
        return outputs

    def compile_ahead(self, arrays: list[jax.ShapeDtypeStruct]) -> Any:
        """Compiles it for a block of such arrays, computing nothing. Returns XLA's executable."""
        self._compile(*self._one_step(arrays))
        return self._compiled

    def _one_step(self, arrays: list) -> tuple:
        """What the compiled function is given for the first step of a block of such arrays."""
        own, read = [v.array for v in self.writes], [v.array for v in self.reads]
        return own if self.recycles else [], own, read, arrays, np.int32(0), np.int32(1), np.int32(self.form.batch_size)

    def text(self, arrays: list) -> str:
        """XLA's text of the compiled program for a block of such arrays, with the scopes of this model.

        A program that was kept by an earlier run has those of the model that it was compiled for first: then it is compiled again.
        """
        found: str = self._compiled.as_text()
        if self.entry is not None and not self.entry.from_cache and not jax.config.jax_compilation_cache_dir:
            return found

        @functools.wraps(self._pure)  # JAX remembers what it compiled for the function itself
        def pure(*args: Any) -> Any:
            return self._pure(*args)

        lowered = jax.jit(pure, **self._options).lower(*self._one_step(arrays))
        return compilation_cache.compiled_by_name(lowered).as_text()

    def _compile(self, *args: Any) -> None:
        with self._lock:  # several threads may predict at once
            if self._compiled is None:
                started = time.perf_counter()
                with uncollected():
                    lowered = self._jitted.lower(*args)
                between = time.perf_counter()
                self._compiled, found = compilation_cache.compiled(lowered)
                seconds = time.perf_counter() - between
                if jax.default_backend() == "cpu":
                    scratch_memory.keep_for(self._compiled)
                if not found:
                    scratch_memory.give_back(seconds)
                if self.entry is not None and self.compiled is not None:
                    self.entry.from_cache = found
                    self.entry.lowering, self.entry.compiling = between - started, seconds
                    self.compiled()

    def was_finite(self, packed: tuple) -> bool:
        """What the check of a dispatch said. Waits for the device."""
        return bool(np.asarray(packed[0])[-1])

    def before(self, packed: tuple) -> list[Any]:
        """The arrays of ``writes`` before a dispatch, of a program that packs them."""
        return _parted(packed[2], self.writes)

    def logs(self, packed: tuple) -> dict[str, Any]:
        """What ``results`` gave, as Python floats (and arrays) by name. Waits for the device."""
        vector, others = packed[:2]
        scalars = iter(np.asarray(vector).tolist())
        return {name: np.asarray(others[i]) if i in others else next(scalars) for i, name in enumerate(self.log_names)}

    def logs_of_steps(self, packed: tuple, first: int, steps: int) -> list[Logs]:
        """The logs of each step of a dispatch, from its first step in the block on, of a program that is told them. Waits."""
        vectors, others = jax.tree.map(np.asarray, packed[-1])
        found = []
        for i in range(first, first + steps) if self.form.loop else range(steps):
            scalars = iter(vectors[i].tolist())
            given = jax.tree.unflatten(self._told, [others[j][i] if j in others else next(scalars) for j in range(self._told.num_leaves)])
            found.append(Logs(given, dict(given)) if self.gives_last else Logs(given["means"], dict(given["batch"])))
        return found


class Action:
    """A stateful function without arguments and outputs, compiled.

    Args:
        function: reads and assigns variables.
    """

    def __init__(self, function: Callable[[], Any]):
        self._traced = Traced(function)
        self._writes: list[Variable] = list(self._traced.writes)
        self._reads = [v for v in self._traced.reads if v not in set(self._writes)]
        self._jitted = jax.jit(self._pure, donate_argnums=0)
        self._compiled: Any = None
        self._lock = threading.Lock()

    def _pure(self, written: list, read: list) -> list:
        with Frame({**dict(zip(self._writes, written, strict=True)), **dict(zip(self._reads, read, strict=True))}) as frame:
            self._traced.run()
            return [frame.values[v] for v in self._writes]

    def __call__(self) -> None:
        """Starts it, and assigns the new values. The first time it is compiled, which holds nobody back."""
        with self._lock:
            if self._compiled is None:
                self._compiled = self._jitted.lower([v.array for v in self._writes], [v.array for v in self._reads]).compile()
        with interrupts_held(), dispatching:
            written = [v.array.copy() if v.handed_out else v.array for v in self._writes]
            new = self._compiled(written, [v.array for v in self._reads])
            for variable, value in zip(self._writes, new, strict=True):
                variable.array = value


def _packed(values: list[Any], more: list[Any]) -> tuple[Any, dict[int, Any]]:
    """Scalars, and more of them at the end, as one vector: one transfer to the host instead of many."""
    given = [*(v for v in values if jnp.ndim(v) == 0), *more]
    kind = jnp.result_type("float32", *(v.dtype for v in map(jnp.asarray, given) if v.dtype == "float64"))
    scalars = [jnp.asarray(v, kind) for v in given]
    return jnp.stack(scalars) if scalars else jnp.zeros(0, kind), {i: v for i, v in enumerate(values) if jnp.ndim(v)}


def _joined(arrays: list[Any]) -> dict[str, Any]:
    """Arrays as one vector for each type: one piece of memory to ask for instead of many."""
    kinds = dict.fromkeys(str(a.dtype) for a in arrays)
    return {kind: jnp.concatenate([a.ravel() for a in arrays if str(a.dtype) == kind]) for kind in kinds}


def _parted(joined: dict[str, Any], variables: list[Variable]) -> list[Any]:
    """The arrays of variables that were joined."""
    used, arrays = dict.fromkeys(joined, 0), []
    for v in variables:
        kind = str(v.dtype)
        arrays.append(joined[kind][used[kind] : used[kind] + v.size].reshape(v.shape))
        used[kind] += v.size
    return arrays


def choose_form(
    work: Cost, batch_size: int, batches: int, bytes_a_batch: int, masked: bool, wanted: int | str, training: bool, whole: int = 0
) -> Form:
    """Loop, single steps or some written out, and how many batches a block holds.

    Args:
        work: of the forward graph at this batch size.
        batch_size: rows of a batch.
        batches: of one epoch.
        bytes_a_batch: of its arrays.
        masked: whether the last batch may be padded.
        wanted: ``steps_per_execution``: a number or "auto".
        training: whether gradients are computed, too.
        whole: batches of an epoch that are not smaller than the others, where steps may be written out; of a stream, those of a dispatch.
    """
    room = max(1, min(batches, BLOCK_BYTES // max(1, bytes_a_batch)))
    if wanted not in ("auto", 1):
        capacity = min(int(wanted), batches)
        return Form(batch_size, capacity, capacity > 1, masked)
    flops = work.flops * (3 if training else 1)
    on_cpu = jax.default_backend() == "cpu"
    loop = wanted == "auto" and batches > 1 and (not on_cpu or (2 * flops <= DISPATCH_FLOPS and not work.convolutions))
    most = max(1, min(room, LOOP_STEPS, int(DISPATCH_FLOPS / max(1.0, flops)))) if loop else min(room, 16)
    capacity = -(-batches // -(-batches // most))
    short = on_cpu and wanted == "auto" and not loop and flops <= SHORT_FLOPS and work.convolutions <= FEW_CONVOLUTIONS
    written_out = next((n for n in WRITTEN_OUT if short and whole and whole % n == 0 and n <= capacity), 1)
    return Form(batch_size, capacity // written_out * written_out, loop, masked, written_out=written_out)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the ``with`` is left: between the donation of old weights and the assignment of new ones."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[tuple] = []
    before = signal.getsignal(signal.SIGINT)
    if before is None or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, lambda *args: caught.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            before(*caught[0])
