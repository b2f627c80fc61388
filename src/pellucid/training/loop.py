"""The loop: ``fit``, ``evaluate`` and ``predict``. The only file with mutable loop state."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from pellucid.core import explain, seeds
from pellucid.core.checks import check_counts, check_flags, check_whole
from pellucid.core.last_used import LastUsed
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.errors import DataError, DataWarning, ShapeError
from pellucid.graph import cache
from pellucid.graph.cache import GraphCache
from pellucid.graph.graph import BATCH, Graph
from pellucid.graph.instantiate import InstantiationError
from pellucid.training import nonfinite, steps
from pellucid.training.callbacks import Callback, CallbackList, History, ProgressBar
from pellucid.training.compiled import Objective
from pellucid.training.data import ArrayData, Arrays, Block, Plan, Source, is_arrays, source_of, split_off
from pellucid.training.data.classes import weigher
from pellucid.training.data.stream import JOINED, Kind
from pellucid.training.eager import EagerRunner
from pellucid.training.functions import FunctionRunner, StepFunction, function_of
from pellucid.training.machine import Machine
from pellucid.training.nonfinite import Watch
from pellucid.training.phases import Phases
from pellucid.training.programs import Form, Program
from pellucid.training.reasons import coupled

_IN_FLIGHT = 3  # dispatches that may wait on the device: enough to keep it busy, few enough for a bar that tells the truth


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
    ):
        self.machine, self.purpose, self.source, self.caller, self.told = machine, purpose, source, caller, told and purpose != "predict"
        self.each_step = each_step or not source.joins
        self.training = purpose == "train"
        self.batch_size, self.rows, self.data = source.batch_size, source.rows, source.sample
        self.batches = source.batches or JOINED
        self.bytes_a_batch = sum(leaf.nbytes // self.rows for leaf in jax.tree.leaves(self.data.tree())) * self.batch_size
        self._like = like
        self._of_kinds: LastUsed[Kind, Runner] = LastUsed(cache.KEPT)
        self._programs: LastUsed[tuple[int, bool, int], Program] = LastUsed(cache.KEPT)
        watched = self.training and machine.settings is not None and machine.settings.nan == "raise"
        self.watch: Watch | None = like.watch if like is not None else Watch(caller) if watched else None
        self._look_into_arrays = False  # preparing does
        self.in_flight = nonfinite.IN_FLIGHT if watched else _IN_FLIGHT
        self.prepare()

    # ---- Graph and programs ----

    def prepare(self) -> None:
        """Finds (or captures) the graph, matches losses and metrics, and decides what becomes of the last batch."""
        self.own = self.machine.own_step(self.purpose)
        self.readings = self.machine.readings(self.purpose, None)
        with self.machine.noticing_no_change(self.readings):  # that a step makes weights is none
            self.graph: Graph = self._graph_for(self.batch_size)
        self._programs.clear()
        self._versions = Layer.version, Variable.version
        if self.purpose == "predict" and self.batches > 1:
            odd = next((s for s in self.graph.shapes_without_rows()), None)
            if odd is not None:
                raise ShapeError(f"{self.caller}: an output has shape {odd}; expected the batch first, to join {self.batches} batches.")
        self.objective: Objective | None = None
        if self.purpose != "predict" and self.own is None:
            outputs = self.graph.output_specs(self.batch_size)
            self.objective = self._objective_for(outputs)
        if self.own is None:
            self.readings = self.machine.readings(self.purpose, self.objective)
        tail = self.rows % self.batch_size
        self.why_not = None
        if tail:
            with self.machine.noticing_no_change(self.readings):
                self.why_not = self._why_not_pad(tail)
        self.pads = bool(tail) and self.why_not is None
        self.form = self.machine.form(
            self.purpose, self.graph, self.batch_size, self.batches, self.bytes_a_batch, self.pads, self.each_step
        )
        if self.source.streams and not self.form.loop:  # no dispatch waits for a second batch
            self.form = dataclasses.replace(self.form, capacity=1)
        self._read_again()

    def _objective_for(self, outputs: Any) -> Objective:
        """Losses and metrics. Batches of several kinds share them, and so their means."""
        like = self._like.objective if self._like is not None else None
        if like is None:
            return self.machine.objective_for(outputs, self.graph.output_names, self.data.y, self.graph.losses > 0, self.caller)
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
        specs = self._specs(rows)
        if self.own is not None:
            return self.machine.own_graph(self.purpose, specs, rows, self.readings, self.caller)
        return self.machine.captures.graph_for(specs[0], rows, self.training, self.caller)

    def _specs(self, rows: int) -> tuple:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((rows, *a.shape[1:]), a.dtype), self.data.tree())

    def _why_not_pad(self, tail: int) -> str | None:
        """None where the last batch can be filled up with repeated rows, exactly; else the reason."""
        if not self.graph.serves(self.graph.signature, {BATCH: tail}, self.training):
            return f"`{self.captures.of}` asks for the size of the batch"
        if self.own is not None and self.purpose != "predict":
            return f"`{self.own}` may compute with all its rows"
        coupling = self.graph.coupling(self.training)
        if coupling is not None:
            return coupled(self.graph, coupling)
        if self.objective is None:
            return None
        return steps.objective_coupling(self.objective, self.graph.output_specs(self.batch_size), self.data.y)

    def plan(self) -> Plan:
        """How an epoch is cut."""
        return Plan(self.batch_size, self.form.capacity, self.pads)

    def check(self) -> None:
        """Traces the step, so that what does not fit is told before a weight changes."""
        self._program(Block([], 0, 0, self.batch_size, self.pads))

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
        return runner

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
            program = self._program(block)
            steps_now = block.steps if program.form.loop else 1
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

    def _program(self, block: Block) -> Program:
        key = (block.batch_size, block.padded, block.arrays[0].shape[0] if block.arrays else self.form.capacity * self.batch_size)
        program = self._programs.get(key)
        if program is None:
            try:
                self._programs.put(key, program := self._make(block))
                self._read_again()  # a change that tracing makes is none
            except InstantiationError as error:
                captures = self.captures if error.graph is self.graph else self.machine.captures
                captures.refuse(error.graph, error.why)
                self.prepare()
                return self._program(block)
        return program

    def _make(self, block: Block) -> Program:
        graph, form = self.graph, self.form
        if block.batch_size != self.batch_size:  # the last batch at its own size
            graph = self._graph_for(block.batch_size)
            form = self.machine.form(self.purpose, graph, block.batch_size, 1, 0, False, True)
            rows = "1 row" if block.batch_size == 1 else f"{block.batch_size} rows"
            ran = f"; `{self.captures.of}` did not run" if graph is self.graph else ""
            because = f", because {self.why_not}" if self.why_not else ""
            use, note, last = f"{'a' if (self._like or self).source.streams else 'the last'} batch of {rows}", because + ran, True
        else:
            use, last = {"train": "training", "test": "evaluation", "predict": "prediction"}[self.purpose] + f" in {self.caller}", False
            note = "; the last batch is padded with repeated rows, exactly" if self.pads else ""
        capacity = form.capacity if not block.arrays else block.arrays[0].shape[0] // block.batch_size
        masked = block.padded or (self.pads and block.batch_size == self.batch_size)
        form = Form(block.batch_size, capacity, form.loop and capacity > 1, masked, self.told)
        return self.machine.program(
            self.purpose, graph, self._specs(block.batch_size), form, self.objective, self.readings, use, note, last
        )


def _beside_an_epoch(function: Callable) -> Callable:
    """Wraps what callbacks may call in the middle of an epoch of the same model."""

    @functools.wraps(function)
    def wrapped(machine: Machine, *args: Any, **kwargs: Any) -> Any:
        with machine.means_of_an_epoch_kept():
            return function(machine, *args, **kwargs)

    return wrapped


# ---- fit ----


@_beside_an_epoch
def fit(
    machine: Machine,
    x: Any,
    y: Any,
    batch_size: int | None,
    epochs: int,
    verbose: Any,
    callbacks: Iterable[Callback] | None,
    validation_split: float,
    validation_data: Any,
    shuffle: bool,
    class_weight: Any,
    sample_weight: Any,
    initial_epoch: int,
    steps_per_epoch: int | None,
    validation_steps: int | None,
    validation_batch_size: int | None,
    validation_freq: int | list[int],
) -> History:
    """Trains; see ``Model.fit``."""
    machine.need_settings("fit")
    phases = Phases(machine.captures.ledger)
    check_counts("fit", batch_size=batch_size, steps_per_epoch=steps_per_epoch)
    check_counts("fit", validation_steps=validation_steps, validation_batch_size=validation_batch_size)
    check_whole("fit", "epochs", epochs)
    if shuffle not in (None, "batch"):
        check_flags("fit", shuffle=shuffle)
    check_whole("fit", "initial_epoch", initial_epoch, least=0)
    if not isinstance(validation_freq, list | tuple | set):
        check_whole("fit", "validation_freq", validation_freq)
    elif any(isinstance(e, bool) or not isinstance(e, int | np.integer) or e <= 0 for e in validation_freq):
        raise ValueError(f"fit: validation_freq={validation_freq!r}; expected epochs, whole numbers from 1 on.")
    if validation_split and validation_data is None:
        x, validation_data = _split(x, y, sample_weight, validation_split)
        y = sample_weight = None
    bar = _bar(verbose)
    with contextlib.ExitStack() as sources:
        weigh = None if class_weight is None else weigher(class_weight, _output_names(machine), is_arrays(x))
        orders = _Orders() if shuffle else None
        source = source_of(x, y, sample_weight, "fit", batch_size, steps_per_epoch, orders, training=True, weigh=weigh)
        sources.callback(source.close)
        params = {"epochs": epochs, "steps": source.wanted, "verbose": verbose}
        others = CallbackList(callbacks, add_history=True, model=machine.layer, **params)
        history = others.history
        assert history is not None
        if others.progress is not None:  # the user's own
            bar = None
        machine.history, machine.stop_training, machine.phases = history, False, phases
        runner = _runner(machine, "train", source, "fit", others)
        runner.check()
        tester = None
        if validation_data is not None:  # made before the first step: what does not fit is told while nothing has changed
            tested = _validation(validation_data, validation_batch_size or batch_size, validation_steps)
            sources.callback(tested.close)
            tester = _Tester(machine, tested, "fit(validation_data)", "fit", others)
        others.phases = phases
        logs: dict[str, Any] = {}
        others.call("on_train_begin", {})
        try:
            source.ahead()
            for epoch in range(initial_epoch, epochs):
                due = tester if _is_due(epoch + 1, validation_freq) else None
                made = _one_epoch(runner, source, due, others, bar, phases, epoch, epochs)
                logs = logs if made is None else made
                if made is None or machine.stop_training or _is_exhausted(source, epoch, epochs):
                    break
        except BaseException:
            runner.abandon()
            if bar:
                bar.abandon()
            raise
        finally:
            phases.stop()
    machine.finalize_weights()
    others.call("on_train_end", logs)
    return history


def _output_names(machine: Machine) -> list[str] | None:
    return None if machine.captures.last is None else machine.captures.last.output_names


def _one_epoch(
    runner: Any,
    source: Source,
    tester: _Tester | None,
    callbacks: CallbackList,
    bar: ProgressBar | None,
    phases: Phases,
    epoch: int,
    epochs: int,
) -> dict[str, Any] | None:
    """One epoch of training and its validation: the logs, or None where there were no more data."""
    callbacks.call("on_epoch_begin", epoch, {})
    runner.reset(epoch + 1)
    if bar:
        bar.begin(f"Epoch {epoch + 1}/{epochs} ", source.wanted)
    with runner.machine.epoch():
        steps, last = _one_pass(runner, phases.over("data", source.epoch()), "train", callbacks, bar)
    runner.machine.apply_waiting_gradients()
    if last is None:
        _warn(f"fit: the data ran out before epoch {epoch + 1}; training ends. Expected steps_per_epoch * epochs batches.")
        if bar:
            bar.abandon()
        return None
    if epoch + 1 < epochs and not runner.machine.stop_training:  # gathered while the device still computes
        source.ahead()
    logs = last()
    if source.steps is not None and steps < source.steps and not runner.machine.stop_training:
        then = "training ends" if source.exhausted else "the next epoch begins anew"
        _warn(f"fit: the data ran out in epoch {epoch + 1}, after {steps} of steps_per_epoch={source.steps} batches; {then}.")
    if tester is not None:
        with phases.of("validation"):
            logs.update({f"val_{k}": v for k, v in tester.run(callbacks).items()})
    if bar:
        bar.end(logs, steps)
    callbacks.call("on_epoch_end", epoch, logs)
    return logs


def _is_exhausted(source: Source, epoch: int, epochs: int) -> bool:
    """Whether there is nothing for the next epoch, which is told."""
    if source.exhausted and source.steps is None and epoch + 1 < epochs:
        _warn(
            f"fit: the data were used up in epoch {epoch + 1} of {epochs}; training ends. An iterator gives its items once: pass something "
            "that can be iterated again (such as a pellucid.utils.PyDataset), or steps_per_epoch and an iterator that gives enough."
        )
    return source.exhausted


def _warn(message: str) -> None:
    explain.warn(message, DataWarning)


def _runner(
    machine: Machine, purpose: str, source: Source, caller: str, callbacks: CallbackList | None = None, by_function: bool = True
) -> Any:
    """What runs the batches of a source, in dispatches that callbacks allow; where the user has a function for it, by that."""
    told, each_step = (callbacks is not None and callbacks.listens(purpose, to_each_step=each) for each in (False, True))
    runner: Any = (
        EagerRunner(machine, purpose, source.sample, source.batch_size, caller, told)
        if machine.settings is not None and machine.settings.run_eagerly
        else Runner(machine, purpose, source, caller, each_step, told)
    )
    function = function_of(machine.layer, purpose) if by_function else None
    if function is not None:
        runner = FunctionRunner(runner, machine.layer, function)
    source.open(runner.plan())
    return runner


class _Tester:
    """A pass of evaluation over the same data, as often as wanted. What does not fit is told when it is made."""

    def __init__(self, machine: Machine, source: Source, where: str, caller: str, callbacks: CallbackList):
        self.source, self.where = source, where
        self.runner = _runner(machine, "test", source, caller, callbacks)
        self.runner.check()

    def run(self, callbacks: CallbackList, bar: ProgressBar | None = None) -> dict[str, Any]:
        callbacks.call("on_test_begin", {})
        self.runner.reset()
        if bar:
            bar.begin("", self.source.wanted)
        steps, last = _one_pass(self.runner, self.source.epoch(), "test", callbacks, bar)
        wanted = self.source.steps
        if last is None or (wanted is not None and steps < wanted):
            _warn(f"{self.where}: the data ran out after {steps} of {'all' if wanted is None else wanted} batches.")
        logs = {} if last is None else last()
        if bar:
            bar.end(logs, steps)
        callbacks.call("on_test_end", logs)
        return logs


def _one_pass(
    runner: Any, blocks: Iterator[Block], part: str, callbacks: CallbackList, bar: ProgressBar | None
) -> tuple[int, Callable[[], dict[str, Any]] | None]:
    """Runs all blocks. Returns the number of steps, and a function that waits for the device and gives the logs."""
    listens = callbacks.listens(part, to_each_step=False)
    machine, training = runner.machine, part == "train"
    flying: collections.deque[Any] = collections.deque()
    steps, last, finished = 0, None, None
    for block in blocks:
        if training and machine.stop_training:  # before the first batch, which is the last one then
            block = block.first()
        before = steps
        if listens:
            callbacks.call(f"on_{part}_batch_begin", before, {})
        for done, program, packed in runner.run(block):
            last, first, steps = (program, packed), steps, before + done
            flying.append((steps, *last))
            if listens:
                runner.settle(packed)
                _tell(callbacks, part, first, program.logs_of_steps(packed, first - before, steps - first))
            if training and machine.stop_training:
                break
            if listens and done < block.steps:
                callbacks.call(f"on_{part}_batch_begin", steps, {})
            while len(flying) > runner.in_flight or (flying and _is_ready(flying[0][2])):
                finished = flying.popleft()
                runner.settle(finished[2])
            if bar and bar.wants() and finished:
                bar.draw(finished[0], finished[1].logs(finished[2]))
        if training and machine.stop_training:
            break
    if last is None:
        return 0, None
    program, packed = last

    def logs() -> dict[str, Any]:
        runner.settle(packed)
        return program.logs(packed)

    return steps, logs


def _tell(callbacks: CallbackList, part: str, first: int, steps: list[Any]) -> None:
    """Calls the hooks of the steps of a dispatch, for whose first step the begin was called."""
    for i, logs in enumerate(steps, first):
        if i > first:
            callbacks.call(f"on_{part}_batch_begin", i, {})
        callbacks.call(f"on_{part}_batch_end", i, logs)


def _is_ready(tree: Any) -> bool:
    return all(a.is_ready() for a in jax.tree.leaves(tree) if isinstance(a, jax.Array))


class _Orders:
    """A new order of so many rows at each call."""

    def __init__(self) -> None:
        self._generator: np.random.Generator | None = None

    def __call__(self, count: int) -> np.ndarray:
        if self._generator is None:
            self._generator = np.random.default_rng(seeds.next_seed("shuffle"))
        return self._generator.permutation(count)


def _is_due(epoch: int, frequency: int | list[int]) -> bool:
    return epoch in frequency if isinstance(frequency, list | tuple | set) else epoch % frequency == 0


def _split(x: Any, y: Any, sample_weight: Any, share: float) -> tuple[ArrayData, ArrayData]:
    """Data for training and for validation."""
    if not is_arrays(x):
        raise ValueError(
            f"fit: validation_split={share} was given with a {type(x).__name__}, which cannot be split; expected arrays. "
            "Pass validation_data instead."
        )
    return split_off(ArrayData.check(x, y, sample_weight), share)


def _validation(given: Any, batch_size: int | None, steps: int | None) -> Source:
    where = "fit(validation_data)"
    if isinstance(given, ArrayData) or not is_arrays(given):
        return source_of(given, None, None, where, batch_size, steps)
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ValueError(
            f"fit: validation_data is a {type(given).__name__}; expected (x, y) or (x, y, sample_weight), or something that gives batches."
        )
    return source_of(given[0], given[1], given[2] if len(given) == 3 else None, where, batch_size, steps)


def _bar(verbose: Any) -> ProgressBar | None:
    if verbose not in ("auto", 0, 1, 2, True, False):
        raise ValueError(f"verbose={verbose!r}; expected 'auto', 0, 1 or 2.")
    return ProgressBar(1 if verbose == "auto" else int(verbose)) if verbose else None


# ---- evaluate, predict, single batches ----


@_beside_an_epoch
def evaluate(
    machine: Machine,
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int | None,
    steps: int | None,
    verbose: Any,
    callbacks: Iterable[Callback] | None,
) -> dict[str, Any]:
    """The losses and metrics of data; see ``Model.evaluate``."""
    machine.need_settings("evaluate")
    check_counts("evaluate", batch_size=batch_size, steps=steps)
    with contextlib.closing(source_of(x, y, sample_weight, "evaluate", batch_size, steps)) as source:
        listeners = CallbackList(callbacks, model=machine.layer, verbose=verbose, epochs=1, steps=source.wanted)
        return _Tester(machine, source, "evaluate", "evaluate", listeners).run(listeners, _bar(verbose))


def predict(
    machine: Machine, x: Any, batch_size: int | None, verbose: Any, callbacks: Iterable[Callback] | None, steps: int | None = None
) -> Any:
    """The outputs for inputs, as NumPy arrays; see ``Model.predict``."""
    check_counts("predict", batch_size=batch_size, steps=steps)
    bar = _bar(verbose)
    with contextlib.closing(source_of(x, None, None, "predict", batch_size, steps, inputs_only=True)) as source:
        listeners = CallbackList(callbacks, model=machine.layer, verbose=verbose, epochs=1, steps=source.wanted)
        listens = listeners.listens("predict", to_each_step=False)
        runner = _runner(machine, "predict", source, "predict", listeners)
        listeners.call("on_predict_begin", {})
        if bar:
            bar.begin("", source.wanted)
        pieces: list[Any] = []
        before = 0
        for block in source.epoch():
            left = block.rows
            if listens:
                listeners.call("on_predict_batch_begin", before, {})
            for done, program, outputs in runner.run(block):
                steps_now = block.steps if program.form.loop else 1
                real = min(left, steps_now * block.batch_size)
                left -= real
                room = block.arrays[0].shape[0] if program.form.loop else block.batch_size
                pieces.append((outputs, real, room))
                if listens:
                    listeners.call("on_predict_batch_end", before + done - 1, {"outputs": _fetched(outputs, real, room)[0]})
                    if done < block.steps:
                        listeners.call("on_predict_batch_begin", before + done, {})
                if len(pieces) > _IN_FLIGHT:
                    pieces[-_IN_FLIGHT - 1] = _fetched(*pieces[-_IN_FLIGHT - 1])
            before += block.steps
    if steps is not None and before < steps:
        _warn(f"predict: the data ran out after {before} of steps={steps} batches.")
    fetched = [_fetched(*p)[0] for p in pieces]
    if bar:
        bar.end({}, before)
    listeners.call("on_predict_end", {})
    return jax.tree.map(_joined, *fetched)


def _joined(*parts: np.ndarray) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    odd = next((p for p in parts if p.shape[1:] != parts[0].shape[1:]), None)
    if odd is not None:
        raise ShapeError(
            f"predict: batches have outputs of shapes {parts[0].shape} and {odd.shape}; expected the same shape without the rows, to join "
            "them. Predict them one by one: model.predict_on_batch(x)."
        )
    return np.concatenate(parts)


def _fetched(outputs: Any, real: int | None, room: int | None) -> tuple[Any, None, None]:
    """Outputs as NumPy arrays; those that have an entry for each of ``room`` rows are cut to the real ones."""
    if real is None:
        return outputs, None, None
    return jax.tree.map(lambda o: np.array(np.asarray(o)[:real] if np.shape(o)[:1] == (room,) else o), outputs), None, None


@_beside_an_epoch
def on_batch(machine: Machine, purpose: str, data: ArrayData, where: str) -> Any:
    """One step with one batch: logs (train, test) or outputs (predict)."""
    return _on_batch(machine, purpose, data, where)


def _on_batch(machine: Machine, purpose: str, data: ArrayData, where: str, by_function: bool = True) -> Any:
    if purpose != "predict":
        machine.need_settings(where)
    source = Arrays(data, data.rows)
    runner = _runner(machine, purpose, source, where, by_function=by_function)
    if purpose != "predict" and by_function:  # a step function goes on with the means
        runner.reset()
    (block,) = source.epoch()
    ((_, program, out),) = runner.run(block)
    runner.settle(out)
    return program.logs(out) if purpose != "predict" else _fetched(out, data.rows, data.rows)[0]


def step_function(machine: Machine, purpose: str) -> StepFunction:
    """A step as a function of an iterator over batches; see ``Model.make_train_function``."""
    return StepFunction(machine, purpose, functools.partial(_on_batch, by_function=False))


__all__ = ["Runner", "evaluate", "fit", "on_batch", "predict", "step_function"]
