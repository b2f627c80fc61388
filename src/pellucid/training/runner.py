"""The runner: takes blocks of batches through the graph and the program that serve them."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import jax

from pellucid.core import explain, seeds
from pellucid.core.last_used import LastUsed
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.errors import DataError, DataWarning, ShapeError
from pellucid.graph import cache
from pellucid.graph.cache import GraphCache
from pellucid.graph.graph import Graph
from pellucid.graph.instantiate import InstantiationError
from pellucid.graph.signature import BATCH, Axis, Open, axes_of_lengths, is_none, signature_of
from pellucid.training import nonfinite, steps
from pellucid.training.compiled import Objective
from pellucid.training.data import ArrayData, Arrays, Block, Plan, Source
from pellucid.training.data.filling import JOINED, Kind
from pellucid.training.machine import Machine
from pellucid.training.nonfinite import Watch
from pellucid.training.own_step import pack
from pellucid.training.programs import WRITTEN_OUT, Form, Program
from pellucid.training.reasons import coupled

_LENGTHS = 4  # more than these are told of
IN_FLIGHT = 3  # dispatches that may wait on the device: enough to keep it busy, few enough for a bar that tells the truth


class Runner:
    """Runs the blocks of some data for one purpose: finds the graph, decides on padding, makes programs.

    Args:
        machine: of the model.
        purpose: "train", "test" or "predict".
        source: of the batches.
        caller: for the ledger.
        each_step: whether every dispatch shall be one step long.
        told: whether the logs of each step are wanted.
        like: the runner of the other batches, where the source gives batches of several kinds.
        one_program: whether all batches of a size shall be computed by one program.
    """

    def __init__(
        self,
        machine: Machine,
        purpose: str,
        source: Source,
        caller: str,
        each_step: bool = False,
        told: bool = False,
        like: Runner | None = None,
        one_program: bool = False,
    ):
        self.machine, self.purpose, self.source, self.caller, self.told = machine, purpose, source, caller, told and purpose != "predict"
        self.each_step, self.one_program = each_step or not source.joins, one_program
        self.training = purpose == "train"
        self.batch_size, self.rows, self.data = source.batch_size, source.rows, source.sample
        self.batches = source.batches or JOINED
        self.bytes_a_batch = sum(leaf.nbytes // self.rows for leaf in jax.tree.leaves(self.data.tree())) * self.batch_size
        self._like = like
        self._of_kinds: LastUsed[Kind, Runner] = LastUsed(cache.KEPT)
        self._open = _open_axes(source)
        self._programs: LastUsed[tuple[int, bool, int, int], Program] = LastUsed(cache.KEPT)
        watched = self.training and machine.settings is not None and machine.settings.nan == "raise"
        self.watch: Watch | None = like.watch if like is not None else Watch(caller) if watched else None
        self._look_into_arrays = self._told_of_lengths = False  # preparing does
        self.in_flight = nonfinite.IN_FLIGHT if watched else IN_FLIGHT
        self.prepare()

    # ---- Graph and programs ----

    def prepare(self) -> None:
        """Finds (or captures) the graph, matches losses and metrics, and decides what becomes of the last batch."""
        self.own = self.machine.own_step(self.purpose)
        self.readings = self.machine.readings(self.purpose, None)
        with self.machine.noticing_no_change(self.readings):  # that a step makes weights is none
            self.graph: Graph = self._graph_for(self.batch_size)
        self.sizes = self._sizes_of(self.graph, self.batch_size)
        self._programs.clear()
        self._versions = Layer.version, Variable.version
        if self.purpose == "predict" and self.batches > 1:
            odd = next((s for s in self.graph.shapes_without_rows()), None)
            if odd is not None:
                raise ShapeError(f"{self.caller}: an output has shape {odd}; expected the batch first, to join {self.batches} batches.")
        self.objective: Objective | None = None
        if self.purpose != "predict" and self.own is None:
            outputs = self.graph.output_specs(self.sizes)
            self.objective = self._objective_for(outputs)
        if self.own is None:
            self.readings = self.machine.readings(self.purpose, self.objective)
        tail = self.rows % self.batch_size
        self.why_not = None
        if tail:
            with self.machine.noticing_no_change(self.readings):
                self.why_not = self._why_not_pad(tail)
        self.pads = bool(tail) and self.why_not is None
        each_step = self.each_step or (self.source.streams and bool(self.graph.signature.lengths))  # the next may have another length
        self.form = self.machine.form(
            self.purpose, self.graph, self.sizes, self.batch_size, self.batches, self.bytes_a_batch, self.pads, each_step,
            whole=self._whole(tail),
        )  # fmt: skip
        if self.source.streams and not self.form.loop and self.form.written_out == 1:  # no dispatch waits for a second batch
            self.form = dataclasses.replace(self.form, capacity=1)
        self._read_again()

    def _whole(self, tail: int) -> int:
        """So many batches of full size can be had in a row, where several steps may be written out: a multiple of them is wanted."""
        if not self.source.streams:
            return self.batches - (tail > 0 and not self.pads)
        # Blocks are as long as reading lets them be, and those that are too short go step by step. What steps round depends on how fast
        # batches are read then, where a seed promises that results repeat to the last bit.
        return 0 if self.one_program or seeds.is_set() else WRITTEN_OUT[0]

    def _objective_for(self, outputs: Any) -> Objective:
        """Losses and metrics. Batches of several kinds share them, and so their means."""
        like = self._like.objective if self._like is not None else None
        if like is None:
            found = self.machine.objective_for(
                outputs, self.graph.output_names, self.data.y, self.machine.adds_losses(self.graph), self.caller
            )
            found.look_at_class_numbers(self.data.y, outputs, self.caller)
            return found
        if jax.tree.structure(outputs) != like.tree:
            raise DataError(
                f"{self.caller}: for a batch of inputs {self.graph.signature} the model has other outputs than for the batches before; "
                f"expected as many as then ({like.count}), since losses and metrics belong to outputs."
            )
        return like

    def _read_again(self) -> bool:
        """Whether losses, metrics or the optimizer's rule have changed since they were read."""
        before = self.readings.content
        if self.readings.may_have_changed():
            self.readings = self.readings.again()
        return self.readings.content != before

    @property
    def captures(self) -> GraphCache:
        """Where graphs come from: those of the model, or of a step of the user's own."""
        return self.machine.captures if self.own is None else self.machine.own_captures(self.purpose, self.readings)

    def _graph_for(self, rows: int) -> Graph:
        specs = self._specs(rows, self._open)
        if self.own is not None:
            return self.machine.own_graph(self.purpose, specs, rows, self.readings, self.caller)
        return self.machine.captures.graph_for(specs[0], rows, self.training, self.caller)

    def _sizes_of(self, graph: Graph, rows: int) -> dict[str, int]:
        """The value of each open size for so many rows."""
        x, y, sample_weight = self._specs(rows)
        return {BATCH: rows, **graph.sizes_of(x if self.own is None else pack(x, y, sample_weight))}

    def _specs(self, rows: int, opened: frozenset[Axis] = frozenset()) -> tuple:
        leaves, tree = jax.tree.flatten(self.data.tree(), is_leaf=is_none)

        def spec(number: int, array: Any) -> Any:
            if array is None:
                return None
            sizes = (Open(d) if (number, a) in opened else d for a, d in enumerate(array.shape[1:], 1))
            return jax.ShapeDtypeStruct((rows, *sizes), array.dtype)

        return jax.tree.unflatten(tree, itertools.starmap(spec, enumerate(leaves)))

    def _why_not_pad(self, tail: int) -> str | None:
        """None where the last batch can be filled up with repeated rows, exactly; else the reason."""
        if not self.graph.holds({**self.sizes, BATCH: tail}):
            return f"`{self.captures.of}` asks for the size of the batch"
        if self.own is not None and self.purpose != "predict":
            return f"`{self.own}` may compute with all its rows"
        coupling = self.graph.coupling(self.training)
        if coupling is not None:
            return coupled(self.graph, coupling)
        if self.objective is None:
            return None
        return steps.objective_coupling(self.objective, self.graph.output_specs(self.sizes), self.data.y)

    def plan(self) -> Plan:
        """How an epoch is cut."""
        return Plan(self.batch_size, self.form.capacity, self.pads)

    def check(self) -> None:
        """Traces the step, so that what does not fit is told before a weight changes."""
        first = 1 if self.source.streams else self.form.written_out  # who knows how many batches a stream will have ready
        self._program(Block([], 0, first, self.batch_size, self.pads))

    def reset(self, epoch: int = 0) -> None:
        """Starts the means of losses and metrics anew, for an epoch (from 1)."""
        if self.objective is not None:
            self.objective.reset()
        if self.own is not None:
            self.machine.reset_own_metrics()
        for runner in (self, *self._of_kinds.values()):
            runner._look_into_arrays = True
        if self.watch is not None:
            self.watch.begin(epoch)

    def ahead(self) -> None:
        """Prepares the next epoch while the device still computes this one."""
        if self.objective is not None:
            self.objective.tracker.ahead()

    def run(self, block: Block) -> Iterator[tuple[int, Program, Any]]:
        """Runs a block: (steps so far, program, its outputs) after each dispatch. A changed attribute is noticed before each."""
        return self._run(block) if block.kind is None else self._for_kind(block)._run(block)

    def _for_kind(self, block: Block) -> Runner:
        """The runner for batches of a kind: other shapes or types than the first ones are another graph and other programs."""
        kind = block.kind
        runner = self._of_kinds.get(kind)
        if runner is None and kind.is_of(self.source.sample):
            return self
        if runner is None:
            other = Arrays(ArrayData(*jax.tree.unflatten(kind.tree, block.arrays)), block.batch_size)
            runner = Runner(self.machine, self.purpose, other, self.caller, True, self.told, self)
            self._of_kinds.put(kind, runner)
            self._look_at_their_number()
        return runner

    def _look_at_their_number(self) -> None:
        """Tells, once, that there are many lengths: each is a program that XLA compiles."""
        shapes = [tuple(leaf.shape for leaf in jax.tree.leaves(r.data.x)) for r in (self, *self._of_kinds.values())]
        alike = [s for s in shapes if list(map(len, s)) == list(map(len, shapes[-1]))]
        axes = [(i, a) for i, shape in enumerate(shapes[-1]) for a in range(1, len(shape))]
        values = max((sorted({s[i][a] for s in alike}) for i, a in axes), key=len, default=[])
        if len(values) <= _LENGTHS or self._told_of_lengths:
            return
        self._told_of_lengths = True
        programs = [p for p in self.machine.captures.ledger.programs if p.purpose == self.purpose]
        explain.warn(
            f"{self.caller}: batches of {len(values)} lengths came ({', '.join(map(str, values))}), and each is a program to compile: "
            f"{sum(p.seconds for p in programs):.1f} s for {len(programs)} programs so far. Pad the batches to a few lengths: "
            "pellucid.utils.pad_sequences(x, pad_to_multiple_of=…).",
            DataWarning,
        )

    def _run(self, block: Block) -> Iterator[tuple[int, Program, Any]]:
        if block.padded and not self.pads:  # it was gathered for a graph that has changed since
            for piece, before in ((block.whole(), 0), (block.tail(), block.steps - 1)):
                for done, program, outputs in self._run(piece):
                    yield before + done, program, outputs
            return
        done = 0
        while done < block.steps:
            graphs = {self.graph, *(p.graph for p in self._programs.values())}
            contents, self._look_into_arrays = self._look_into_arrays, False
            if self._read_again() or not all(self.machine.captures.is_current(g, contents) for g in graphs):
                self.prepare()  # another loss may also couple the rows
                if block.padded and not self.pads:
                    for more, program, outputs in self._run(block.after(done)):
                        yield done + more, program, outputs
                    return
            if self.training and self._versions != (Layer.version, Variable.version):  # something may be frozen
                self._versions = Layer.version, Variable.version
                self._programs.clear()
            program = self._program(block, done)
            steps_now = program.form.at_once(block.steps)
            if self.watch is None:
                outputs = program.dispatch(block, done, steps_now)
            else:
                outputs = self.watch.dispatch(program, block, done, steps_now)
            done += steps_now
            yield done, program, outputs

    def settle(self, outputs: Any = None) -> None:
        """Waits for a dispatch (for all, by default); where ``nan="raise"``, it must have been finite."""
        if outputs is not None:
            jax.tree.leaves(outputs)[0].block_until_ready()  # a program's outputs are there all at once
        if self.watch is not None:
            self.watch.settle(outputs)

    def abandon(self) -> None:
        """Training ends in the middle."""
        if self.watch is not None:
            self.watch.abandon()

    def _program(self, block: Block, done: int = 0) -> Program:
        """What computes a block from a step on: where too few are left for those that are written out, they go one by one."""
        written_out = self.form.written_out if self.form.written_out <= block.steps - done else 1
        rows = block.arrays[0].shape[0] if block.arrays else self.form.capacity * self.batch_size
        key = (block.batch_size, block.padded, rows, written_out)
        program = self._programs.get(key)
        if program is None:
            try:
                self._programs.put(key, program := self._make(block, written_out))
                self._read_again()  # a change that tracing makes is none
            except InstantiationError as error:
                captures = self.captures if error.graph is self.graph else self.machine.captures
                captures.refuse(error.graph, error.why)
                self.prepare()
                return self._program(block, done)
        return program

    def _make(self, block: Block, written_out: int) -> Program:
        graph, form = self.graph, self.form
        if block.batch_size != self.batch_size:  # the last batch at its own size
            graph = self._graph_for(block.batch_size)
            sizes = self._sizes_of(graph, block.batch_size)
            form = self.machine.form(self.purpose, graph, sizes, block.batch_size, 1, 0, False, True)
            rows = "1 row" if block.batch_size == 1 else f"{block.batch_size} rows"
            ran = f"; `{self.captures.of}` did not run" if graph is self.graph else ""
            because = f", because {self.why_not}" if self.why_not else ""
            use, note, last = f"{'a' if (self._like or self).source.streams else 'the last'} batch of {rows}", because + ran, True
        else:
            use, last = {"train": "training", "test": "evaluation", "predict": "prediction"}[self.purpose] + f" in {self.caller}", False
            note = "; the last batch is padded with repeated rows, exactly" if self.pads else ""
            if self.source.streams and (most := self.form.written_out) > 1:
                note = f"; {most} batches were there at once" if written_out > 1 else f"; fewer than {most} batches were there at once"
        capacity = form.capacity if not block.arrays else block.arrays[0].shape[0] // block.batch_size
        masked = block.padded or (self.pads and block.batch_size == self.batch_size)
        form = Form(block.batch_size, capacity, form.loop and capacity > 1, masked, self.told, written_out)
        return self.machine.program(
            self.purpose, graph, self._specs(block.batch_size), form, self.objective, self.readings, use, note, last
        )


def _open_axes(source: Source) -> frozenset[Axis]:
    """The axes of arrays in a batch, after the first, of which several sizes are known to come before anything is captured."""
    axes = set(source.opens)
    for known in source.known:
        first = 0
        for mine, its in zip(source.sample.tree(), known.tree(), strict=True):
            before, now = (signature_of(part, None) for part in (mine, its))
            if before.kind == now.kind:
                axes.update((first + i, a) for i, a in axes_of_lengths(before, now, range(sys.maxsize)))
            first += len(before.leaves)
    return frozenset(axes)
