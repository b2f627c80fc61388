"""From the events of a profiler to seconds of wall time for each instruction.

Several threads work at once, operations run inside loops, and the host prepares the next batch meanwhile. Each moment of the wall
time is given away once: to the operations that run at that moment, in equal shares; else to the innermost loop that runs; else to
the data; and where nothing runs, to dispatch. So the parts sum to the wall time.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Sequence

PASS, DATA = "pellucid:pass", "pellucid:data"  # events of our own


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that took a span of time.

    Attributes:
        name: of an instruction, or PASS or DATA.
        start: seconds.
        end: seconds.
        is_operation: whether it is one of a program.
    """

    name: str
    start: float
    end: float
    is_operation: bool = True


@dataclasses.dataclass
class Spent:
    """Where wall time went.

    Attributes:
        total: seconds.
        seconds: of each instruction.
        times: how often each one ran.
        data: seconds in which only data were gathered.
        dispatch: seconds in which nothing ran.
    """

    total: float = 0.0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    times: dict[str, float] = dataclasses.field(default_factory=dict)
    data: float = 0.0
    dispatch: float = 0.0

    @property
    def known(self) -> float:
        """The sum of all parts."""
        return sum(self.seconds.values()) + self.data + self.dispatch


def typical(passes: Sequence[Spent], steps: Sequence[int]) -> Spent:
    """What one step takes: of each part the median over the passes, so that an interruption of one of them does not count.

    Args:
        passes: what was measured.
        steps: of each pass.

    Example:
        >>> from pellucid.training.profiling.attribution import Spent, typical
        >>> typical([Spent(4, {"dot": 2}), Spent(40, {"dot": 38}), Spent(5, {"dot": 3})], [1, 2, 1]).seconds
        {'dot': 3.0}
    """
    middle = lambda values: statistics.median([v / n for v, n in zip(values, steps, strict=True)])
    names = dict.fromkeys(name for p in passes for name in p.seconds | p.times)
    return Spent(
        middle([p.total for p in passes]),
        {name: middle([p.seconds.get(name, 0.0) for p in passes]) for name in names},
        {name: middle([p.times.get(name, 0) for p in passes]) for name in names},
        middle([p.data for p in passes]),
        middle([p.dispatch for p in passes]),
    )


def spent(events: Iterable[Event], is_container: Callable[[str], bool] = lambda name: False) -> list[Spent]:
    """Gives the wall time of each pass away.

    Args:
        events: of operations, and those named PASS and DATA. Only what is inside of a pass counts.
        is_container: whether an instruction runs others, which are events of their own.

    Example:
        >>> from pellucid.training.profiling.attribution import PASS, Event, spent
        >>> (found,) = spent([Event(PASS, 0, 10, False), Event("dot", 1, 5), Event("add", 3, 5)])
        >>> found.seconds, found.dispatch  # both ran for two seconds
        ({'dot': 3.0, 'add': 1.0}, 6.0)
    """
    events = list(events)
    passes = sorted((e.start, e.end) for e in events if e.name == PASS and not e.is_operation)
    inside: list[list[Event]] = [[] for _ in passes]
    for event in events:
        if event.is_operation or event.name == DATA:
            for number, (start, end) in enumerate(passes):
                if event.start < end and event.end > start:
                    cut = start > event.start or end < event.end
                    inside[number].append(
                        Event(event.name, max(start, event.start), min(end, event.end), event.is_operation) if cut else event
                    )
    return [_spent(end - start, of, is_container) for (start, end), of in zip(passes, inside, strict=True)]


def _spent(total: float, inside: list[Event], is_container: Callable[[str], bool]) -> Spent:
    """Of one pass, from what is inside of it."""
    found = Spent(float(total))
    for event in inside:
        if event.is_operation:
            found.times[event.name] = found.times.get(event.name, 0) + 1
    lasting = [(i, e) for i, e in enumerate(inside) if e.end > e.start]
    borders = sorted([(e.start, 1, i) for i, e in lasting] + [(e.end, 0, i) for i, e in lasting])
    working: set[int] = set()
    around: dict[int, None] = {}  # loops, in the order in which they began
    gathering: set[int] = set()
    before = 0.0
    for time, begins, i in borders:
        _give(found, inside, working, around, gathering, time - before)
        before = time
        if inside[i].is_operation and is_container(inside[i].name):
            around.__setitem__(i, None) if begins else around.pop(i, None)
        else:
            group = working if inside[i].is_operation else gathering
            group.add(i) if begins else group.discard(i)
    found.dispatch = max(0.0, found.total - found.data - sum(found.seconds.values()))
    return found


def _give(found: Spent, events: Sequence[Event], working: set[int], around: dict[int, None], gathering: set[int], span: float) -> None:
    if span <= 0:
        return
    running = working or ({next(reversed(around))} if around else ())
    for i in running:
        name = events[i].name
        found.seconds[name] = found.seconds.get(name, 0.0) + span / len(running)
    if not running and gathering:
        found.data += span
