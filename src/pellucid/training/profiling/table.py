"""The tables of a profile, as text."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from pellucid.graph.render.summary import compact, table_text
from pellucid.training.profiling.advice import duration
from pellucid.training.profiling.limits import Limits
from pellucid.training.profiling.result import Cost, StepProfile, summed

_WIDEST = 120
_NUMBERS = ("Share", "FLOPs", "GFLOP/s", "Bytes")
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
NAMES = {"train": "training", "predict": "prediction"}


def profile_text(
    model: str,
    device: str,
    dtype: str,
    limits: Limits,
    steps: Sequence[StepProfile],
    advice: dict[str, list[str]],
    width: int | None = None,
) -> str:
    """A table for each kind of step, and the slowest parts of each.

    Args:
        model: name of its class.
        device: that it ran on.
        dtype: that it computes in.
        limits: of the device.
        steps: that were measured.
        advice: sentences by purpose.
        width: in characters, that of the terminal by default.
    """
    width = width or min(_WIDEST, shutil.get_terminal_size((100, 24)).columns)
    reaches = f"{limits.flops * 1e-9:,.0f} GFLOP/s in a product of {dtype} matrices, {limits.bytes * 1e-9:,.1f} GB/s in memory"
    texts = [textwrap.fill(f"{model} on {device}, which reaches {reaches}.", width)]
    if all(step.purpose != "train" for step in steps):
        texts.append(textwrap.fill("The model is not compiled, so that only prediction was measured.", width))
    for step in steps:
        texts.append(_table(step, width))
        texts.append(textwrap.fill(about(step), width))
        told = [f"{i}. {text}" for i, text in enumerate(advice[step.purpose], 1)]
        texts.append("\n".join(["Slowest:", *(textwrap.fill(t, width, initial_indent="  ", subsequent_indent="     ") for t in told)]))
    return "\n\n".join(texts)


def _table(step: StepProfile, width: int) -> str:
    """With the classes of layers where there is room for them."""
    columns, short = columns_of(step), rows(step, kinds=False)
    numbers = sum(max(len(row[i]) for row in [columns, *short]) + 2 for i in range(1, len(columns)))
    made = rows(step)
    wide = max(len(row[0]) for row in made) + numbers < width
    first = "Part (type)" if wide else "Part"
    sides = [(first, "left"), *((c, "right") for c in columns[1:])]
    return table_text(title(step), sides, made if wide else short, width, close=True)


def title(step: StepProfile) -> str:
    """Which step it is, and how long it takes."""
    of = f"A step of {NAMES[step.purpose]}, {_many(step.batch_size, 'row')}: {duration(step.seconds)}"
    return f"{of} (times in {unit_of(step)[1]})"


def unit_of(step: StepProfile) -> tuple[float, str]:
    """Seconds and name of the unit of times in a table."""
    return next((unit for unit in _UNITS if step.seconds >= unit[0]), _UNITS[-1])


def columns_of(step: StepProfile) -> list[str]:
    """The headings."""
    return ["Part (type)", *(("Forward", "Gradient", "Both") if _has_gradient(step) else ("Time",)), *_NUMBERS]


def rows(step: StepProfile, kinds: bool = True) -> list[list[str]]:
    """A row for each part; that of a layer has what is inside it. The last one is the whole step.

    Args:
        step: that was measured.
        kinds: whether the classes of layers are told.
    """
    made = []
    for part in step.parts:
        name = part.path.rpartition("/")[2] if part.depth else part.path
        kind = f" ({part.kind})" if kinds and part.kind else ""
        made.append([f"{'  ' * part.depth}{name}{kind}", *_cells(step, *step.whole(part), apart=True)])
    whole = [summed(costs) for costs in ([p.forward for p in step.parts], [p.gradient for p in step.parts])]
    return [*made, ["step", *_cells(step, whole[0], whole[1], apart=False)]]


def about(step: StepProfile) -> str:
    """How it was measured."""
    faults = "" if step.page_faults is None else f" {_many(round(step.page_faults), 'page fault')} a step."
    dispatch = "one a dispatch" if step.in_a_dispatch == 1 else f"up to {step.in_a_dispatch} in a dispatch"
    slower = step.traced_seconds / step.seconds - 1
    under = f", {slower:.0%} slower" if slower > 0.05 else ""
    return f"Measured over {step.steps:,} steps ({dispatch}), and {step.traced_steps:,} under the profiler{under}.{faults}"


def _cells(step: StepProfile, forward: Cost, gradient: Cost, apart: bool) -> list[str]:
    both, unit = summed([forward, gradient]), unit_of(step)[0]
    times = [forward, gradient, both] if _has_gradient(step) else [both]
    cells = [_digits(c.seconds / unit) if c.seconds and (apart or c is times[-1]) else "" for c in times]
    rate = _digits(both.flops / both.seconds * 1e-9) if both.flops and both.seconds else ""
    share = f"{both.seconds / step.seconds:.1%}" if both.seconds else ""
    return [*cells, share, compact(both.flops) if both.flops else "", rate, compact(both.bytes) if both.bytes else ""]


def _has_gradient(step: StepProfile) -> bool:
    return step.purpose == "train"


def _digits(number: float) -> str:
    """About three of them: 1,234, 123, 12.3, 1.23, 0.012."""
    places = next((p for least, p in ((99.95, 0), (9.995, 1), (0.9995, 2)) if number >= least), 3)
    return f"{number:,.{places}f}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
