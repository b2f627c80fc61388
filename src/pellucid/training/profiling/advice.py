"""A sentence for a part of a step: what it is, what bounds it, and what to do about it."""

from __future__ import annotations

from pellucid.training.profiling.limits import Limits
from pellucid.training.profiling.result import Cost, Part, StepProfile
from pellucid.training.profiling.scopes import GRADIENT, OPERATIONS, OTHER

DISPATCH = "dispatch"
_NEAR = 0.4  # of what the machine reaches counts as bound by it
_WORTH = 0.01  # of the step: less is not worth a sentence
_SHORT = 2e-5  # seconds of an operation that is mostly its own start

# What bounds a part that is no layer, and the cure.
_PARTS = {
    DISPATCH: "the device waits for Python to start a step, or for the next operation to begin: take larger batches, and leave "
    "steps_per_execution at 'auto'",
    "data": "the device waits for the next batch: gather ahead in more threads (a PyDataset with workers), or keep the data as arrays",
    "optimizer": "it reads and writes each weight with its gradient and moments, however large the batch: larger batches do it less "
    "often, SGD keeps less than Adam",
    "metrics": "each metric goes over all outputs in every step: fewer metrics in compile, or measure them in evaluate",
    "check of finite values": "nan='raise' looks at losses in each step, and at weights in each dispatch: leave it away when all is well",
    OPERATIONS: "what `call` computes between layers: see the graph for the lines",
    OTHER: "copies and sums that XLA made, which belong to no layer",
}
# Kinds of instructions that take long for what they compute, and the cure.
_INSTRUCTIONS = {
    "select-and-scatter": "XLA searches each window again: pool in windows that do not overlap, or stride a convolution instead",
    "reduce-window": "XLA goes over each window by itself: pool in smaller windows, or stride a convolution instead",
    "scatter": "rows are added one by one, in order: smaller tables, or fewer rows of a batch that differ",
    "gather": "rows are fetched one by one",
    "dot": "matrices this small or flat do not fill the machine: larger batches, or more units, cost little more",
    "transpose": "an array is put into another order in memory, as the next product wants it: larger batches change little",
    "copy": "arrays are copied, most of them weights that the same step reads and changes: larger batches do it less often",
    "sort": "sorting is sequential for the most part",
    "convolution": "it is far from a product of matrices: numbers of channels that are multiples of 8 or 16 use the machine better",
    "custom-call": "it is a call of another library",
}


def advice(step: StepProfile, limits: Limits, count: int = 5) -> list[str]:
    """Sentences for the slowest parts, the slowest first."""
    slowest = [found for i, found in enumerate(step.slowest(count)) if not i or found[2].seconds > _WORTH * step.seconds]
    return [sentence(step, part, phase, cost, limits) for part, phase, cost in slowest]


def sentence(step: StepProfile, part: Part, phase: str, cost: Cost, limits: Limits) -> str:
    """One sentence for a part."""
    of = "the gradient of " if phase == GRADIENT else ""
    name = f"{of}{part.path}" + (f" ({part.kind})" if part.kind else "")
    return f"{name}: {duration(cost.seconds)}, {cost.seconds / step.seconds:.0%} of the step. {_bound(part, cost, limits)}."


def _bound(part: Part, cost: Cost, limits: Limits) -> str:
    flops, moved = cost.flops / cost.seconds, cost.bytes / cost.seconds
    if part.path in _PARTS and not part.kind:
        return _capital(_PARTS[part.path])
    if flops > _NEAR * limits.flops:
        reached = f"{flops * 1e-9:.0f} of the {limits.flops * 1e-9:.0f} GFLOP/s that this machine reaches"
        if flops > limits.flops:  # a machine that others use is not always as fast
            reached = f"{flops * 1e-9:.0f} GFLOP/s, as many as this machine reaches"
        return (
            f"It computes {reached}: only less work is faster (fewer units, filters or steps of time), or a lower precision where the "
            "hardware has it"
        )
    count = max(1, round(cost.operations))
    if (each := cost.seconds / count) < _SHORT:
        what = (
            f"{count:,} small operations, {duration(each)} each, are mostly their own start" if count > 1 else "It is one small operation"
        )
        return f"{what}: a larger batch costs little more{', and fewer steps of time help' if count > 100 else ''}"
    if moved > _NEAR * limits.bytes:
        return (
            f"It moves {moved * 1e-9:.1f} of the {limits.bytes * 1e-9:.1f} GB/s that this machine reaches: smaller outputs, or mixed "
            "precision, which halves them"
        )
    cure = next((text for kind, text in _INSTRUCTIONS.items() if cost.longest.startswith(kind)), "")
    rates = f"{flops * 1e-9:.1f} of {limits.flops * 1e-9:.0f} GFLOP/s and {moved * 1e-9:.1f} of {limits.bytes * 1e-9:.0f} GB/s"
    longest = f"; most of it is `{cost.longest}`" if cost.longest else ""
    return f"Neither arithmetic nor memory is at its limit ({rates}){longest}" + (f". {_capital(cure)}" if cure else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Seconds as a text with a unit: 1.23 s, 45.6 ms, 7.89 µs."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 0.9995:
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 999.5 else f"{seconds * factor:,.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"
