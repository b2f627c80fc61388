"""``model.profile``: where the time of a step goes."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import jax
import numpy as np

from pellucid.core.checks import check_counts
from pellucid.graph.cost import cost_by_scope
from pellucid.training.data import is_arrays, length_of, source_of
from pellucid.training.data.filling import JOINED
from pellucid.training.machine import Machine
from pellucid.training.profiling.advice import DISPATCH, advice
from pellucid.training.profiling.hlo import CONTAINERS
from pellucid.training.profiling.limits import Limits, limits
from pellucid.training.profiling.measure import Bench, Measured
from pellucid.training.profiling.result import Cost, Part, Ran, StepProfile
from pellucid.training.profiling.scopes import FORWARD, GRADIENT, OPERATIONS, OTHER, PARTS, Label, Scopes
from pellucid.training.profiling.table import about, columns_of, profile_text, rows, title
from pellucid.training.runner import Runner

_DATA = "data"
_LISTED = 30  # instructions


@dataclasses.dataclass(frozen=True)
class Profile:
    """Where the time of a step of training, and of prediction, goes.

    Attributes:
        model: name of the model's class.
        device: that it ran on.
        dtype: that the model computes in.
        limits: what the device reaches.
        train: the step of training, None where the model is not compiled.
        predict: that of prediction.
    """

    model: str
    device: str
    dtype: str
    limits: Limits
    train: StepProfile | None
    predict: StepProfile

    @property
    def measured(self) -> list[StepProfile]:
        """The steps that there are."""
        return [s for s in (self.train, self.predict) if s is not None]

    @property
    def advice(self) -> dict[str, list[str]]:
        """A sentence for each of the parts that took most time, by purpose."""
        return {step.purpose: advice(step, self.limits) for step in self.measured}

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, which ``json`` can write."""
        return {**dataclasses.asdict(self), "limits": self.limits._asdict(), "advice": self.advice}

    def tables(self) -> list[dict[str, Any]]:
        """The tables as data: title, columns, rows of texts, sentences."""
        return [
            {"title": title(s), "columns": columns_of(s), "rows": rows(s), "about": about(s), "advice": self.advice[s.purpose]}
            for s in self.measured
        ]

    def __str__(self) -> str:
        return profile_text(self.model, self.device, self.dtype, self.limits, self.measured, self.advice)


def profile(machine: Machine, x: Any, y: Any, batch_size: int | None, sample_weight: Any) -> Profile:
    """Measures steps on data; see ``Model.profile``."""
    check_counts("profile", batch_size=batch_size)
    if machine.settings is not None and machine.settings.run_eagerly:
        raise ValueError(
            "profile: compile(run_eagerly=True) computes operation by operation, in Python, and has no program to look into; expected "
            "run_eagerly=False."
        )
    train = None if machine.settings is None else _step(machine, "train", (x, y, sample_weight), batch_size)
    predict = _step(machine, "predict", (x, None, None), batch_size)
    dtype = str(machine.layer.compute_dtype)
    device = str(jax.devices()[0].device_kind)
    machine.profile = found = Profile(type(machine.layer).__name__, device, dtype, limits(dtype), train, predict)
    return found


def _step(machine: Machine, purpose: str, data: tuple[Any, Any, Any], batch_size: int | None) -> StepProfile:
    training = purpose == "train"
    shuffle = np.random.default_rng(0).permutation if training else None  # draws from nobody's random numbers
    x, y, sample_weight = data
    steps = None if is_arrays(x) or length_of(x) is not None else JOINED  # of an epoch: all, where they are known to end
    source = source_of(x, y, sample_weight, "profile", batch_size, steps, shuffle, training=training, inputs_only=not training)
    with contextlib.closing(source):
        runner = Runner(machine, purpose, source, "profile", one_program=True)
        source.open(runner.plan())
        measured = Bench(runner, source).measure()
    return step_profile(purpose, measured, runner)


def step_profile(purpose: str, measured: Measured, runner: Runner) -> StepProfile:
    """The parts of a step that was measured."""
    program, graph = measured.program, runner.graph
    calls = [call for call in graph.calls if call.layer is not None]
    scopes = Scopes([c.path for c in calls], layered=purpose == "predict")
    costs = _Costs(scopes)
    costs.add_times(measured)
    for scope, flops in cost_by_scope(program.step.jaxpr, {}).items():
        costs.add(scopes.label(scope) or Label(OTHER, FORWARD), flops=flops)
    rows = [(c.path, c.kind, c.depth) for c in calls]
    rows += [(name, "", 0) for name in dict.fromkeys((OPERATIONS, *PARTS.values(), OTHER, DISPATCH))]
    parts = [Part(*row, costs.of(Label(row[0], FORWARD)), costs.of(Label(row[0], GRADIENT))) for row in rows]
    return StepProfile(
        purpose=purpose,
        batch_size=program.form.batch_size,
        seconds=measured.step,
        traced_seconds=measured.spent.known,
        steps=measured.steps,
        traced_steps=measured.traced_steps,
        in_a_dispatch=program.form.at_once(program.form.capacity),
        page_faults=measured.faults,
        parts=tuple(p for p in parts if p.kind or p.forward.seconds or p.gradient.seconds),
        instructions=_slowest(measured, scopes),
    )


def _slowest(measured: Measured, scopes: Scopes) -> tuple[Ran, ...]:
    found, module = measured.spent, measured.module
    factor = measured.step / found.known

    def ran(name: str) -> Ran:
        instruction, times = module.instructions[name], found.times[name]
        shares = scopes.shares(module, instruction)
        label = max(shares, key=shares.__getitem__)
        scope = instruction.op_name or module.largest(instruction).op_name
        size = module.bytes_of(instruction) * times
        return Ran(name, module.kind_of(instruction), scope, label.part, label.phase, found.seconds[name] * factor, times, size)

    return tuple(map(ran, sorted(found.seconds, key=lambda name: -found.seconds[name])[:_LISTED]))


class _Costs:
    """Adds up what parts take."""

    def __init__(self, scopes: Scopes):
        self._scopes = scopes
        self._sums: dict[Label, dict[str, float]] = {}
        self._longest: dict[Label, dict[str, float]] = {}

    def add(self, label: Label, **values: float) -> None:
        sums = self._sums.setdefault(label, dict.fromkeys(("seconds", "flops", "bytes", "operations"), 0.0))
        for name, value in values.items():
            sums[name] += value

    def add_times(self, measured: Measured) -> None:
        """The seconds of a step without a profiler, in the proportions of those under it."""
        found, module = measured.spent, measured.module
        factor = measured.step / found.known
        self.add(Label(DISPATCH, FORWARD), seconds=found.dispatch * factor)
        self.add(Label(_DATA, FORWARD), seconds=found.data * factor)
        for name, seconds in found.seconds.items():
            instruction = module.instructions[name]
            times = found.times[name]
            loop = instruction.opcode in CONTAINERS
            shares = self._scopes.shares(module, instruction)
            if loop:  # what it takes by itself is to start what is inside
                shares = {label if label.part not in (OTHER, OPERATIONS) else Label(DISPATCH, FORWARD): s for label, s in shares.items()}
            for label, share in shares.items():
                self.add(
                    label,
                    seconds=seconds * factor * share,
                    bytes=module.bytes_of(instruction) * times * share,
                    operations=0 if loop else times * share,
                )
                longest = self._longest.setdefault(label, {})
                kind = module.kind_of(instruction)
                longest[kind] = longest.get(kind, 0.0) + seconds * share

    def of(self, label: Label) -> Cost:
        longest = self._longest.get(label, {})
        return Cost(**self._sums.get(label, {}), longest=max(longest, key=longest.__getitem__, default=""))  # type: ignore[arg-type]
