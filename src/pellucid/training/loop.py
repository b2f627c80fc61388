"""The loop: ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from pellucid.core import explain, seeds
from pellucid.core.checks import check_counts, check_flags, check_whole
from pellucid.errors import DataWarning, ShapeError
from pellucid.training.callbacks import Callback, CallbackList, History, ProgressBar
from pellucid.training.data import ArrayData, Arrays, Block, Source, is_arrays, source_of, split_off
from pellucid.training.data.classes import weigher
from pellucid.training.eager import EagerRunner
from pellucid.training.functions import FunctionRunner, StepFunction, function_of
from pellucid.training.machine import Machine
from pellucid.training.phases import Phases
from pellucid.training.runner import IN_FLIGHT, Runner


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
        for told in Machine.on_fit:
            told(machine, x, source)
        tested = None
        if validation_data is not None:  # looked at first: lengths that only they have are open in the capture
            tested = _validation(validation_data, validation_batch_size or batch_size, validation_steps)
            sources.callback(tested.close)
            source.known.append(tested.sample)
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
        if tested is not None:  # made before the first step: what does not fit is told while nothing has changed
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
        runner.ahead()
    if tester is not None:
        tester.runner.ahead()
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
                steps_now = program.form.at_once(block.steps)
                real = min(left, steps_now * block.batch_size)
                left -= real
                room = block.arrays[0].shape[0] if program.form.loop else block.batch_size
                pieces.append((outputs, real, room))
                if listens:
                    listeners.call("on_predict_batch_end", before + done - 1, {"outputs": _fetched(outputs, real, room)[0]})
                    if done < block.steps:
                        listeners.call("on_predict_batch_begin", before + done, {})
                if len(pieces) > IN_FLIGHT:
                    pieces[-IN_FLIGHT - 1] = _fetched(*pieces[-IN_FLIGHT - 1])
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
            "them. Pad the inputs to one length, or predict the batches one by one: model.predict_on_batch(x)."
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


__all__ = ["evaluate", "fit", "on_batch", "predict", "step_function"]
