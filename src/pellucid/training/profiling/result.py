"""What a profile found out, as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pellucid.training.profiling.scopes import FORWARD, GRADIENT


@dataclasses.dataclass(frozen=True)
class Cost:
    """What something takes in one step.

    Attributes:
        seconds: of the wall time.
        flops: floating-point operations, by the equations of the step.
        bytes: that its instructions read and write.
        operations: instructions that run.
        longest: opcode of the instruction that took most of the time.
    """

    seconds: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    operations: float = 0.0
    longest: str = ""


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a step: a row of the table.

    Attributes:
        path: of a layer call, or the name of another part, such as "optimizer".
        kind: class of the layer; an empty text for any other part.
        depth: number of layer calls around it.
        forward: what its forward pass takes, without the layers inside it; of a part that is no layer, all that has no gradient.
        gradient: likewise of the gradient.
    """

    path: str
    kind: str
    depth: int
    forward: Cost
    gradient: Cost


@dataclasses.dataclass(frozen=True)
class Ran:
    """An instruction of the program.

    Attributes:
        name: in XLA's text of the program.
        kind: opcode; of a fusion that of most of its work.
        scope: that it was made in, with the operation at the end; an empty text where XLA made it.
        part: that most of its time counts for.
        phase: "forward" or "gradient".
        seconds: of the wall time of a step.
        times: that it runs in a step.
        bytes: that it reads and writes in a step.
    """

    name: str
    kind: str
    scope: str
    part: str
    phase: str
    seconds: float
    times: float
    bytes: float


@dataclasses.dataclass(frozen=True)
class StepProfile:
    """A step of one kind, measured.

    Attributes:
        purpose: "train" or "predict".
        batch_size: rows of a step.
        seconds: of a step, without a profiler.
        traced_seconds: under the profiler. The times of the parts are those there, in proportion to ``seconds``.
        steps: that were timed without a profiler.
        traced_steps: whose operations were seen.
        in_a_dispatch: steps that one dispatch does.
        page_faults: of a step, None where the system does not count them.
        parts: layers in the order in which they are called, then all else. Their times sum to ``seconds``.
        instructions: those of the program that took most time, the slowest first.
    """

    purpose: str
    batch_size: int
    seconds: float
    traced_seconds: float
    steps: int
    traced_steps: int
    in_a_dispatch: int
    page_faults: float | None
    parts: tuple[Part, ...]
    instructions: tuple[Ran, ...] = ()

    def inside(self, part: Part) -> list[Part]:
        """A part with the layers inside it."""
        return [p for p in self.parts if p is part or (part.kind and p.kind and p.path.startswith(f"{part.path}/"))]

    def whole(self, part: Part) -> tuple[Cost, Cost]:
        """(forward, gradient) of a part with the layers inside it."""
        inside = self.inside(part)
        return summed(p.forward for p in inside), summed(p.gradient for p in inside)

    def slowest(self, count: int = 5) -> list[tuple[Part, str, Cost]]:
        """The parts, forward pass and gradient apart, that took most time."""
        found = [(p, phase, cost) for p in self.parts for phase, cost in ((FORWARD, p.forward), (GRADIENT, p.gradient))]
        return sorted((f for f in found if f[2].seconds > 0), key=lambda f: -f[2].seconds)[:count]


def summed(costs: Iterable[Cost]) -> Cost:
    """All costs together."""
    found = list(costs)
    total = lambda name: float(sum(getattr(c, name) for c in found))
    longest = max(found, key=lambda c: c.seconds, default=Cost()).longest
    return Cost(total("seconds"), total("flops"), total("bytes"), total("operations"), longest)
