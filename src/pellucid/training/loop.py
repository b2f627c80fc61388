"""The loop: ``fit``, ``evaluate`` and ``predict``. The only file with mutable loop state."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from pellucid.core import seeds
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.errors import ShapeError
from pellucid.graph.cache import GraphCache
from pellucid.graph.graph import BATCH, Graph
from pellucid.graph.instantiate import InstantiationError
from pellucid.training import nonfinite, steps
from pellucid.training.callbacks import Callback, CallbackList, History, ProgressBar
from pellucid.training.compiled import Objective
from pellucid.training.data import ArrayData, Block, Feed, split_off
from pellucid.training.data.feed import Plan
from pellucid.training.eager import EagerRunner
from pellucid.training.machine import Machine
from pellucid.training.nonfinite import Watch
from pellucid.training.phases import Phases
from pellucid.training.programs import Program
from pellucid.training.reasons import coupled

_IN_FLIGHT = 3  # dispatches that may wait on the device: enough to keep it busy, few enough for a bar that tells the truth


class Runner:
    """Runs the blocks of some data for one purpose: finds the graph, decides on padding, makes programs.

    Args:
        machine: of the model.
        purpose: "train", "test" or "predict".
        data: checked arrays.
        batch_size: rows of a batch.
        caller: for the ledger.
        each_step: whether every dispatch shall be one step long.
    """

    def __init__(self, machine: Machine, purpose: str, data: ArrayData, batch_size: int, caller: str, each_step: bool = False):
        self.machine, self.purpose, self.caller, self.each_step = machine, purpose, caller, each_step
        self.training = purpose == "train"
        self.batch_size = min(batch_size, data.rows)
        self.rows = data.rows
        self.batches = -(-data.rows // self.batch_size)
        self.data = data
        self.bytes_a_batch = sum(leaf.nbytes // max(1, data.rows) for leaf in jax.tree.leaves(data.tree())) * self.batch_size
        self._programs: dict[tuple[int, bool, int], Program] = {}
        watched = self.training and machine.settings is not None and machine.settings.nan == "raise"
        self.watch = Watch(caller) if watched else None
        self._look_into_arrays = False  # preparing does
        self.in_flight = nonfinite.IN_FLIGHT if watched else _IN_FLIGHT
        self.prepare()

    # ---- Graph and programs ----

    def prepare(self) -> None:
        """Finds (or captures) the graph, matches losses and metrics, and decides what becomes of the last batch."""
        self.own = self.machine.own_step(self.purpose)
        self.readings = self.machine.readings(self.purpose, None)
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
            self.objective = self.machine.objective_for(outputs, self.graph.output_names, self.data.y, self.graph.losses > 0, self.caller)
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
        self._read_again()

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
        self._look_into_arrays = True
        if self.watch is not None:
            self.watch.begin(epoch)

    def run(self, block: Block) -> Iterator[tuple[int, Program, Any]]:
        """Runs a block: (steps so far, program, its outputs) after each dispatch. A changed attribute is noticed before each."""
        if block.padded and not self.pads:  # it was gathered for a graph that has changed since
            for piece, before in ((block.whole(), 0), (block.tail(), block.steps - 1)):
                for done, program, outputs in self.run(piece):
                    yield before + done, program, outputs
            return
        done = 0
        while done < block.steps:
            graphs = {self.graph, *(p.graph for p in self._programs.values())}
            contents, self._look_into_arrays = self._look_into_arrays, False
            if self._read_again() or not all(self.machine.captures.is_current(g, contents) for g in graphs):
                self.prepare()  # another loss may also couple the rows
                if block.padded and not self.pads:
                    for more, program, outputs in self.run(block.after(done)):
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
            jax.block_until_ready(outputs)
        if self.watch is not None:
            self.watch.settle(outputs)

    def abandon(self) -> None:
        """Training ends in the middle."""
        if self.watch is not None:
            self.watch.abandon()

    def _program(self, block: Block) -> Program:
        key = (block.batch_size, block.padded, block.arrays[0].shape[0] if block.arrays else self.form.capacity * self.batch_size)
        if key not in self._programs:
            try:
                self._programs[key] = self._make(block)
                self._read_again()  # a change that tracing makes is none
            except InstantiationError as error:
                cache = self.captures if error.graph is self.graph else self.machine.captures
                cache.refuse(error.graph, error.why)
                self.prepare()
                return self._program(block)
        return self._programs[key]

    def _make(self, block: Block) -> Program:
        graph, form = self.graph, self.form
        if block.batch_size != self.batch_size:  # the last batch at its own size
            graph = self._graph_for(block.batch_size)
            form = self.machine.form(self.purpose, graph, block.batch_size, 1, 0, False, True)
            rows = "1 row" if block.batch_size == 1 else f"{block.batch_size} rows"
            ran = f"; `{self.captures.of}` did not run" if graph is self.graph else ""
            use, note, last = f"the last batch of {rows}", f", because {self.why_not}{ran}", True
        else:
            use, last = {"train": "training", "test": "evaluation", "predict": "prediction"}[self.purpose] + f" in {self.caller}", False
            note = "; the last batch is padded with repeated rows, exactly" if self.pads else ""
        capacity = form.capacity if not block.arrays else block.arrays[0].shape[0] // block.batch_size
        form = type(form)(
            block.batch_size, capacity, form.loop and capacity > 1, block.padded or (self.pads and block.batch_size == self.batch_size)
        )
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
    sample_weight: Any,
    initial_epoch: int,
    validation_batch_size: int | None,
    validation_freq: int | list[int],
) -> History:
    """Trains; see ``Model.fit``."""
    settings = machine.need_settings("fit")
    phases = Phases(machine.captures.ledger)
    batch_size = _positive("fit", "batch_size", 32 if batch_size is None else batch_size)
    _positive("fit", "epochs", epochs)
    validation_size = _positive("fit", "validation_batch_size", batch_size if validation_batch_size is None else validation_batch_size)
    if isinstance(initial_epoch, bool) or not isinstance(initial_epoch, int | np.integer) or initial_epoch < 0:
        raise ValueError(f"fit: initial_epoch={initial_epoch!r}; expected a whole number of at least 0.")
    if not isinstance(validation_freq, list | tuple | set):
        _positive("fit", "validation_freq", validation_freq)
    data = ArrayData.check(x, y, sample_weight)
    validation = None
    if validation_data is not None:
        validation = _validation(validation_data)
    elif validation_split:
        data, validation = split_off(data, validation_split)
    history = History()
    bar = _bar(verbose)
    batches = -(-data.rows // min(batch_size, data.rows))
    others = CallbackList(callbacks or (), machine.layer, {"epochs": epochs, "steps": batches, "verbose": verbose}, history)
    machine.history, machine.stop_training = history, False
    machine.phases = phases
    each_step = others.listens("train", to_each_step=True)
    if settings.run_eagerly:
        runner: Any = EagerRunner(machine, "train", data, batch_size, "fit")
    else:
        runner = Runner(machine, "train", data, batch_size, "fit", each_step)
    runner.check()
    tester = None
    if validation is not None:  # made before the first step: what does not fit is told while nothing has changed
        tester = _Tester(machine, validation, validation_size, "fit", others.listens("test", to_each_step=True))
        tester.runner.check()
    feed = Feed(jax.tree.leaves(data.tree()), runner.plan())
    orders = _orders(data.rows, shuffle)
    others.phases = phases
    others.call("on_train_begin", {})
    logs: dict[str, Any] = {}
    try:
        waiting = feed.epoch(next(orders))
        for epoch in range(initial_epoch, epochs):
            others.call("on_epoch_begin", epoch, {})
            runner.reset(epoch + 1)
            if bar:
                bar.begin(f"Epoch {epoch + 1}/{epochs} ", runner.batches)
            with machine.epoch():
                last = _one_pass(runner, phases.over("data", waiting), "train", others, bar)
            if epoch + 1 < epochs:  # gathered while the device still computes
                waiting = feed.epoch(next(orders))
            logs = last()
            if tester is not None and _is_due(epoch + 1, validation_freq):
                with phases.of("validation"):
                    logs.update({f"val_{k}": v for k, v in tester.run(others).items()})
            if bar:
                bar.end(logs)
            others.call("on_epoch_end", epoch, logs)
            if machine.stop_training:
                break
    except BaseException:
        runner.abandon()
        if bar:
            bar.abandon()
        raise
    finally:
        feed.close()
        phases.stop()
    others.call("on_train_end", logs)
    return history


class _Tester:
    """A pass of evaluation over the same data, as often as wanted."""

    def __init__(self, machine: Machine, data: ArrayData, batch_size: int, caller: str, each_step: bool = False):
        eager = machine.need_settings(caller).run_eagerly
        self.runner: Any = (
            EagerRunner(machine, "test", data, batch_size, caller)
            if eager
            else Runner(machine, "test", data, batch_size, caller, each_step)
        )
        self.feed = Feed(jax.tree.leaves(data.tree()), self.runner.plan(), keep=sum(a.nbytes for a in jax.tree.leaves(data.tree())) < 2**26)

    def run(self, callbacks: CallbackList, bar: ProgressBar | None = None) -> dict[str, Any]:
        callbacks.call("on_test_begin", {})
        self.runner.reset()
        if bar:
            bar.begin("", self.runner.batches)
        logs = _one_pass(self.runner, self.feed.closing(), "test", callbacks, bar)()
        if bar:
            bar.end(logs)
        callbacks.call("on_test_end", logs)
        return logs


def _one_pass(runner: Any, blocks: Iterator[Block], part: str, callbacks: CallbackList, bar: ProgressBar | None) -> Any:
    """Runs all blocks. Returns a function that waits for the device and gives the logs."""
    listens = callbacks.listens(part, to_each_step=False)
    flying: collections.deque[Any] = collections.deque()
    before, last, finished = 0, None, None
    for block in blocks:
        if listens:
            callbacks.call(f"on_{part}_batch_begin", before, {})
        for done, program, packed in runner.run(block):
            last = (program, packed)
            flying.append((before + done, *last))
            if listens:
                runner.settle(packed)
                callbacks.call(f"on_{part}_batch_end", before + done - 1, program.logs(packed))
                if runner.machine.stop_training and part == "train":
                    return lambda: program.logs(packed)
                if done < block.steps:
                    callbacks.call(f"on_{part}_batch_begin", before + done, {})
            while len(flying) > runner.in_flight or (flying and _is_ready(flying[0][2])):
                finished = flying.popleft()
                runner.settle(finished[2])
            if bar and bar.wants() and finished:
                bar.draw(finished[0], finished[1].logs(finished[2]))
        before += block.steps
    assert last is not None
    program, packed = last

    def logs() -> dict[str, Any]:
        runner.settle(packed)
        return program.logs(packed)

    return logs


def _is_ready(tree: Any) -> bool:
    return all(a.is_ready() for a in jax.tree.leaves(tree) if isinstance(a, jax.Array))


def _orders(rows: int, shuffle: bool) -> Iterator[np.ndarray | None]:
    """The order of rows of each epoch."""
    generator = np.random.default_rng(seeds.next_seed("shuffle")) if shuffle else None
    while True:
        yield None if generator is None else generator.permutation(rows)


def _is_due(epoch: int, frequency: int | list[int]) -> bool:
    return epoch in frequency if isinstance(frequency, list | tuple | set) else epoch % frequency == 0


def _validation(given: Any) -> ArrayData:
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ValueError(f"fit: validation_data is a {type(given).__name__}; expected (x, y) or (x, y, sample_weight).")
    return ArrayData.check(given[0], given[1], given[2] if len(given) == 3 else None, where="fit(validation_data)")


def _positive(where: str, argument: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value <= 0:
        raise ValueError(f"{where}: {argument}={value!r}; expected a positive whole number.")
    return int(value)


def _bar(verbose: Any) -> ProgressBar | None:
    if verbose not in ("auto", 0, 1, 2, True, False):
        raise ValueError(f"verbose={verbose!r}; expected 'auto', 0, 1 or 2.")
    return ProgressBar(1 if verbose == "auto" else int(verbose)) if verbose else None


# ---- evaluate, predict, single batches ----


@_beside_an_epoch
def evaluate(
    machine: Machine, data: ArrayData, batch_size: int | None, verbose: Any, callbacks: Iterable[Callback] | None
) -> dict[str, Any]:
    """The losses and metrics of data; see ``Model.evaluate``."""
    machine.need_settings("evaluate")
    size = _positive("evaluate", "batch_size", 32 if batch_size is None else batch_size)
    listeners = CallbackList(callbacks or [], machine.layer, {"verbose": verbose})
    tester = _Tester(machine, data, size, "evaluate", listeners.listens("test", to_each_step=True))
    return tester.run(listeners, _bar(verbose))


def predict(machine: Machine, x: Any, batch_size: int | None, verbose: Any, callbacks: Iterable[Callback] | None) -> Any:
    """The outputs for inputs, as NumPy arrays; see ``Model.predict``."""
    data = ArrayData.check(x, where="predict")
    size = _positive("predict", "batch_size", 32 if batch_size is None else batch_size)
    listeners = CallbackList(callbacks or [], machine.layer, {"verbose": verbose})
    listens, each_step = (listeners.listens("predict", to_each_step=each) for each in (False, True))
    eager = machine.settings is not None and machine.settings.run_eagerly
    runner: Any = (
        EagerRunner(machine, "predict", data, size, "predict") if eager else Runner(machine, "predict", data, size, "predict", each_step)
    )
    bar = _bar(verbose)
    listeners.call("on_predict_begin", {})
    if bar:
        bar.begin("", runner.batches)
    pieces: list[Any] = []
    before = 0
    feed = Feed(jax.tree.leaves(data.tree()), runner.plan())
    for block in feed.closing():
        left = block.rows
        for done, program, outputs in runner.run(block):
            steps_now = block.steps if program.form.loop else 1
            real = min(left, steps_now * block.batch_size)
            left -= real
            room = block.arrays[0].shape[0] if program.form.loop else block.batch_size
            pieces.append((outputs, real, room))
            if listens:
                listeners.call("on_predict_batch_begin", before + done - 1, {})
                listeners.call("on_predict_batch_end", before + done - 1, {"outputs": _fetched(outputs, real, room)[0]})
            if len(pieces) > _IN_FLIGHT:
                pieces[-_IN_FLIGHT - 1] = _fetched(*pieces[-_IN_FLIGHT - 1])
        before += block.steps
    fetched = [_fetched(*p)[0] for p in pieces]
    if bar:
        bar.end({})
    listeners.call("on_predict_end", {})
    return jax.tree.map(lambda *parts: parts[0] if len(parts) == 1 else np.concatenate(parts), *fetched)


def _fetched(outputs: Any, real: int | None, room: int | None) -> tuple[Any, None, None]:
    """Outputs as NumPy arrays; those that have an entry for each of ``room`` rows are cut to the real ones."""
    if real is None:
        return outputs, None, None
    return jax.tree.map(lambda o: np.array(np.asarray(o)[:real] if np.shape(o)[:1] == (room,) else o), outputs), None, None


@_beside_an_epoch
def on_batch(machine: Machine, purpose: str, data: ArrayData, where: str) -> Any:
    """One step with one batch: logs (train, test) or outputs (predict)."""
    if purpose != "predict":
        machine.need_settings(where)
    eager = machine.settings is not None and machine.settings.run_eagerly
    runner: Any = EagerRunner(machine, purpose, data, data.rows, where) if eager else Runner(machine, purpose, data, data.rows, where)
    (block,) = Feed(jax.tree.leaves(data.tree()), runner.plan()).epoch()
    ((_, program, out),) = runner.run(block)
    runner.settle(out)
    return program.logs(out) if purpose != "predict" else _fetched(out, data.rows, data.rows)[0]


__all__ = ["Runner", "evaluate", "fit", "on_batch", "predict"]
