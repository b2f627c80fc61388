"""Runs steps as ``fit`` and ``predict`` run them, on the same programs, and leaves everything as it was."""

from __future__ import annotations

import collections
import dataclasses
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax

from pellucid.core.variable import Variable, dispatching
from pellucid.training.data import Block, Source
from pellucid.training.nonfinite import put_back
from pellucid.training.profiling.attribution import DATA, PASS, Spent, spent, typical
from pellucid.training.profiling.hlo import CONTAINERS, Module
from pellucid.training.profiling.trace import traced
from pellucid.training.programs import Program
from pellucid.training.runner import Runner

try:
    import resource
except ImportError:  # pragma: no cover - Windows has none
    resource = None  # type: ignore[assignment]

_PASS = 0.1  # seconds of a pass, where a step is short
_PASSES = 5
_MOST = 4096
_EVENTS = 25_000  # of a trace


@dataclasses.dataclass
class Measured:
    """Steps of one program.

    Attributes:
        program: that they ran.
        module: its text.
        step: seconds of a step, without a profiler: the median of some passes.
        steps: that were timed so.
        faults: page faults of a step, None where the system does not count them.
        spent: where the time of a step goes, under the profiler.
        traced_steps: number of those.
    """

    program: Program
    module: Module
    step: float
    steps: int
    faults: float | None
    spent: Spent
    traced_steps: int


class Bench:
    """Runs passes over the data of a runner.

    Args:
        runner: finds the programs.
        source: of its batches, opened.
    """

    def __init__(self, runner: Runner, source: Source):
        self._runner, self._source = runner, source
        self._like: Block | None = None  # the first block, to which the program belongs
        self.program: Program | None = None
        self._kept: dict[Variable, tuple] = {}

    def measure(self) -> Measured:
        """Times steps, and says where the time goes. Variables are put back at the end, whatever happens."""
        try:
            self.run(1, longest=1)  # compiles
            assert self.program is not None
            once = self.run(1, longest=1)[1]
            once = once if once > _PASS else self.run(1)[1]  # of a dispatch, where that does not take long
            wanted = min(_MOST, max(1, round(_PASS / once)))
            faults, passes = _faults(), [self.run(wanted) for _ in range(_PASSES)]
            count = sum(steps for steps, _ in passes)
            a_step = None if faults is None else (_faults() - faults) / count  # type: ignore[operator]
            module = Module(self.program.text([] if self._like is None else self._like.arrays))
            found, steps = self._traced(module, wanted)
            return Measured(self.program, module, statistics.median(s for _, s in passes), count, a_step, found, steps)
        finally:
            self._runner.abandon()
            with dispatching:
                put_back(list(self._kept.values()))

    def _traced(self, module: Module, wanted: int) -> tuple[Spent, int]:
        """Where the time of a step goes, by so many steps in each of some passes, or fewer where a step has very many events."""
        done: list[int] = []
        events = traced(lambda: done.append(self.run(1, longest=1)[0]), module)
        most = max(1, _EVENTS // (_PASSES * len(events)))
        steps = min(wanted, most)
        events = traced(lambda: done.extend([self.run(steps, most)[0] for _ in range(_PASSES)]), module)
        found = typical(spent(events, lambda name: module.instructions[name].opcode in CONTAINERS), done[1:])
        whole = 1 if self._like is None else self._like.steps
        if self.program is not None and self.program.form.loop and most < whole:  # what is between dispatches comes less often than here
            found.dispatch, found.data = found.dispatch * most / whole, found.data * most / whole
        return found, sum(done[1:])

    def run(self, steps: int, longest: int | None = None) -> tuple[int, float]:
        """(number, seconds of each) of steps of one pass: whole dispatches until there are enough.

        Args:
            steps: at least so many, where the data have as many.
            longest: steps of a dispatch at most; those that a program has written out stay together.
        """
        written_out = self._runner.form.written_out
        longest = longest if longest is None else max(1, longest // written_out) * written_out
        started, done = time.perf_counter(), 0
        with jax.profiler.TraceAnnotation(PASS):
            flying: collections.deque[Any] = collections.deque()
            while done < steps:
                before = done
                for block in self._blocks():
                    for outputs in self._dispatched(block if longest is None else _cut(block, longest)):
                        flying.append(outputs)
                        if len(flying) > self._runner.in_flight:
                            self._runner.settle(flying.popleft())
                    done += block.steps if longest is None else min(block.steps, longest)
                    if done >= steps:
                        break
                if done == before:  # what iterates is at its end
                    break
                self._source.ahead()
            self._runner.settle()
            for outputs in flying:
                jax.block_until_ready(outputs)
        if not done:
            raise ValueError(
                "profile: the data came to an end before enough steps ran. Pass arrays, or something that can be iterated again, "
                "such as a pellucid.utils.PyDataset."
            )
        return done, (time.perf_counter() - started) / done

    def _blocks(self) -> Iterator[Block]:
        """The blocks of an epoch that the first program takes: a smaller last batch has another one."""
        blocks = self._source.epoch()
        while True:
            with jax.profiler.TraceAnnotation(DATA):
                block = next(blocks, None)
            if block is None:
                return
            if self._like is None:
                self._like = block
            if block.batch_size == self._like.batch_size and [a.shape for a in block.arrays] == [a.shape for a in self._like.arrays]:
                yield block

    def _dispatched(self, block: Block) -> Iterator[Any]:
        if self.program is None:
            self.program = self._runner._program(block)
            for v in self.program.writes:
                self._kept[v] = (v, v.array, v.handed_out)
                v.handed_out = True  # it is copied, and not donated
        for _, program, outputs in self._runner.run(block):
            assert program is self.program
            yield outputs


def _cut(block: Block, steps: int) -> Block:
    if block.steps <= steps:
        return block
    return dataclasses.replace(block, steps=steps, rows=min(block.rows, steps * block.batch_size))


def _faults() -> int | None:
    return None if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_minflt
