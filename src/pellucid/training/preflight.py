"""Preflight: what a step will cost, measured by compiling it, before anything is computed."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from pellucid import config
from pellucid.core.checks import check_whole
from pellucid.core.variable import Variable
from pellucid.graph.cost import cost
from pellucid.graph.graph import Graph
from pellucid.graph.inputs import specs_of_inputs
from pellucid.graph.signature import BATCH
from pellucid.training.compiled import Objective
from pellucid.training.machine import Machine
from pellucid.training.programs import Form, Program


@dataclasses.dataclass(frozen=True)
class Preflight:
    """What one step will take. Sizes are in bytes.

    Attributes:
        model: name of the model's class.
        training: whether the step is one of training, or of prediction where the model is not compiled.
        batch_size: rows of a step.
        flops: floating-point operations of a step: forward pass, gradient and update.
        forward_flops: those of the forward pass; in a step of one's own, those of the layers that it calls.
        parameters: number of elements of the weights.
        weights: all weights.
        gradients: one for each weight that is trained.
        optimizer_state: slots, step counter and learning rate.
        activations: what XLA keeps for this batch between forward pass and gradient, and its scratch memory, which grow with the batch.
        data: inputs and targets of a batch.
        total: all memory that XLA needs for the step.
        device: that it was compiled for.
        device_memory: of the device, or of the host where the device is a CPU.
        largest_batch: rows of a step that still fit, by two measurements, about.
        compile_seconds: from the captured graph to the program.
    """

    model: str
    training: bool
    batch_size: int
    flops: float
    forward_flops: float
    parameters: int
    weights: int
    gradients: int
    optimizer_state: int
    activations: int
    data: int
    total: int
    device: str
    device_memory: int
    largest_batch: int
    compile_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return dataclasses.asdict(self)

    @property
    def fits(self) -> bool:
        """Whether a step of this size fits the device."""
        return self.total <= self.device_memory

    def __str__(self) -> str:
        kind = "training" if self.training else "prediction"
        percent = 100 * self.total / self.device_memory
        share = f"{percent:.3g} %" if percent >= 0.01 else "less than 0.01 %"
        digits = max(0, len(str(self.largest_batch)) - 3)  # it is an estimate
        rows = [
            ("work of a step", f"{_short(self.flops, 1000)}FLOP, {_short(self.forward_flops, 1000)}FLOP of them in the forward pass"),
            ("weights", f"{_size(self.weights)}, {self.parameters:,} parameters"),
            ("gradients", _size(self.gradients)),
            ("optimizer state", _size(self.optimizer_state)),
            ("activations", f"{_size(self.activations)}, {_size(self.activations / self.batch_size)} a row"),
            ("data of a batch", _size(self.data)),
            ("all memory", f"{_size(self.total)}, {share} of {_size(self.device_memory)}" + ("" if self.fits else ": too much")),
            (
                "largest batch",
                f"about {round(self.largest_batch, -digits):,} rows" if self.largest_batch else "none: the weights alone do not fit",
            ),
            ("compiled in", f"{self.compile_seconds:.2f} s"),
        ]
        title = f"{self.model}: a step of {kind} with {self.batch_size:,} rows on {self.device}"
        return "\n".join([title, *(f"  {name:<16} {value}" for name, value in rows)])


_MOST_ROWS = 2**30  # twice as many are still counted in 32 bits


def preflight(machine: Machine, x: Any, batch_size: int, y: Any) -> Preflight:
    """Compiles a step for a batch size, and another one of twice that size to see what grows; see ``Model.preflight``."""
    size, training = check_whole("preflight", "batch_size", batch_size), machine.settings is not None
    if size > _MOST_ROWS:
        raise ValueError(f"preflight: batch_size={size}; expected at most {_MOST_ROWS:,} rows, which XLA can count.")
    inputs = _specs(x, "x", machine.layer.dtype, size)
    targets = None if y is None else _specs(y, "y", machine.layer.dtype, size)
    plan = (_own if machine.own_step("train" if training else "predict") else _built_in)(machine, inputs, targets, size)
    graph, targets = plan.graph, plan.targets
    measure = functools.partial(_measure, machine, plan)
    program, stats, seconds = measure((inputs, targets, None), size)
    first = _bytes(stats)
    grows = _growth(measure, graph, (inputs, targets, None), size, first, stats.temp_size_in_bytes)
    weights, gradients = _sum(machine.layer.variables), _sum(plan.trained)
    state = _sum({v: None for o in machine.optimizers() for v in o.variables}) if training else 0
    fixed = weights + gradients + state
    a_row, temp_a_row = grows or ((first - fixed) / size, (stats.temp_size_in_bytes - gradients) / size)
    data = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((inputs, targets)))
    room = config.device_memory()
    return Preflight(
        model=type(machine.layer).__name__,
        training=training,
        batch_size=size,
        flops=cost(program.step.jaxpr, {}).flops,
        forward_flops=plan.forward_flops,
        parameters=sum(v.size for v in machine.layer.weights),
        weights=weights,
        gradients=gradients,
        optimizer_state=state,
        activations=max(0, round(temp_a_row * size)),
        data=data,
        total=first,
        device=str(jax.devices()[0].device_kind),
        device_memory=room,
        largest_batch=max(0, int((room - first) / max(a_row, data / size, 1) + size)),
        compile_seconds=seconds,
    )


class _Plan(NamedTuple):
    """A step to measure, and what is known of it beforehand."""

    purpose: str
    graph: Graph
    targets: Any
    objective: Objective | None  # where losses and metrics are not part of the graph
    trained: Sequence[Variable]
    forward_flops: float


def _built_in(machine: Machine, inputs: Any, targets: Any, size: int) -> _Plan:
    training = machine.settings is not None
    graph = machine.captures.graph_for(inputs, size, training, "preflight")
    sizes = {BATCH: size, **graph.sizes_of(inputs)}
    flops = graph.cost(sizes).flops
    if not training:
        return _Plan("predict", graph, targets, None, (), flops)
    targets = _like_outputs(machine, graph, sizes) if targets is None else targets
    objective = machine.objective_for(graph.output_specs(sizes), graph.output_names, targets, machine.adds_losses(graph), "preflight")
    return _Plan("train", graph, targets, objective, tuple(machine.layer.trainable_variables), flops)


def _own(machine: Machine, inputs: Any, targets: Any, size: int) -> _Plan:
    """A step of the user's own, captured as ``fit`` captures it."""
    training, has_call = machine.settings is not None, not getattr(machine.layer.call, "is_built_in", False)
    if training and targets is None and has_call and machine.need_settings("preflight").loss is not None:
        graph = machine.captures.graph_for(inputs, size, True, "preflight")
        targets = _like_outputs(machine, graph, {BATCH: size, **graph.sizes_of(inputs)})
    purpose = "train" if training else "predict"
    readings = machine.readings(purpose, None)
    try:
        with machine.noticing_no_change(readings):
            graph = machine.own_graph(purpose, (inputs, targets, None), size, readings, "preflight")
    except Exception as error:
        if training and targets is None:
            error.add_note(f"preflight gave `{machine.own_step(purpose)}` the inputs alone. Where it takes targets, too, pass y=….")
        raise
    trained = [v for v in graph.writes if v.trainable] if training else []
    return _Plan(purpose, graph, targets, None, trained, size * sum(n.flops for n in graph.children() if n.layer is not None))


def _specs(given: Any, name: str, dtype: str, rows: int) -> Any:
    """Arrays, specs or shapes as specs of so many rows, of the types that ``fit`` would give them."""

    def spec(x: Any) -> jax.ShapeDtypeStruct:
        if not x.shape:
            raise ValueError(f"preflight: {name} holds a single number; expected arrays with the rows first.")
        return jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype)

    return jax.tree.map(spec, specs_of_inputs(given, dtype, "preflight", name))


def _like_outputs(machine: Machine, graph: Graph, sizes: dict[str, int]) -> Any:
    """Targets of the outputs' shapes; class numbers where the only loss is a sparse one."""
    loss = machine.need_settings("preflight").loss
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    outputs = graph.output_specs(sizes)
    if not str(name).lower().startswith("sparse"):
        return outputs
    return jax.tree.map(lambda o: jax.ShapeDtypeStruct(o.shape[:-1], "int32"), outputs)


def _measure(machine: Machine, plan: _Plan, batch: tuple, rows: int) -> tuple[Program, Any, float]:
    """(program, XLA's account of its memory, seconds) of a step that is compiled and not run."""
    started = time.perf_counter()
    specs, tree = jax.tree.flatten(batch)
    program = machine.make(plan.purpose, plan.graph, tree, specs, Form(rows, 1, False, False), plan.objective, tuple(plan.trained))
    ledger = machine.captures.ledger
    program.entry = ledger.new_program(plan.purpose, rows, "compiled for preflight, and not run", time.perf_counter() - started)
    program.compiled = functools.partial(ledger.add_program, program.entry, plan.graph)
    stats = program.compile_ahead(specs).memory_analysis()
    if stats is None:
        raise NotImplementedError(f"preflight: XLA tells no memory for {jax.default_backend()!r} devices.")
    return program, stats, time.perf_counter() - started


def _growth(measure: Any, graph: Graph, batch: tuple, rows: int, total: int, temporary: int) -> tuple[float, float] | None:
    """(all memory, temporary memory) of one more row, where the graph holds for twice as many."""
    if graph.signature.batch_size is not None or not graph.holds({**graph.present, BATCH: 2 * rows}):
        return None
    larger = jax.tree.map(lambda s: jax.ShapeDtypeStruct((2 * rows, *s.shape[1:]), s.dtype), batch)
    _, stats, _ = measure(larger, 2 * rows)
    return (_bytes(stats) - total) / rows, (stats.temp_size_in_bytes - temporary) / rows


def _bytes(stats: Any) -> int:
    return stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes + stats.temp_size_in_bytes


def _sum(variables: Any) -> int:
    return sum(v.size * v.dtype.itemsize for v in variables)


def _short(number: float, step: int) -> str:
    for prefix in ("", "k", "M", "G", "T"):
        if number < step:
            return f"{number:.3g} {prefix}"
        number /= step
    return f"{number:,.0f} P"


def _size(count: float) -> str:
    return _short(count, 1024).replace("k", "K") + "B"
