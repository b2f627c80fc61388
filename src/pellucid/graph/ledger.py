"""The ledger: every run of ``call``, and every program compiled, in order, with the reason."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections.abc import Iterator
from typing import Any

from pellucid.graph.effects import Effect


class Reason(enum.Enum):
    """Why ``call`` ran."""

    FIRST = "first"
    INPUTS = "inputs changed"
    ATTRIBUTE = "attribute changed"
    TRAINING = "branches on training"
    SIZE = "asked for the batch size"
    CONCRETE = "needs a concrete batch size"
    EAGER = "run_eagerly"
    USER = "called by the user"


@dataclasses.dataclass
class Run:
    """One run of ``call``.

    ``kind`` is "capture" (yields a graph) or "eager" (computes at once); ``count`` is above one where equal eager runs
    followed each other; ``seconds`` is the Python time of all of them together.
    """

    kind: str
    reason: Reason
    sentence: str
    caller: str
    signature: str
    training: bool | None
    seconds: float = 0.0
    effects: tuple[Effect, ...] = ()
    graph: Any = dataclasses.field(default=None, repr=False)
    count: int = 1


@dataclasses.dataclass
class Program:
    """One compiled program: what for, at which batch size, why, and how long it took."""

    purpose: str
    batch_size: int
    reason: str
    seconds: float = 0.0
    loop: bool = False  # many steps in one dispatch


class Ledger:
    """A sequence of runs of ``call`` (``len``, ``[i]``, iteration), with the programs beside it.

    Example:
        >>> import numpy as np, pellucid
        >>> class M(pellucid.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.out = pellucid.layers.Dense(1)
        ...     def call(self, x):
        ...         return self.out(x)
        >>> model = M()
        >>> model.compile(loss="mse", optimizer="sgd")
        >>> history = model.fit(np.ones((10, 3)), np.ones((10, 1)), verbose=0)
        >>> len(model.ledger), model.ledger[0].kind
        (1, 'capture')
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.programs: list[Program] = []
        self._lock = threading.Lock()

    def add(self, run: Run) -> Run:
        with self._lock:
            last = self.runs[-1] if self.runs else None
            same = (
                last is not None
                and run.kind == last.kind == "eager"
                and (run.reason, run.caller, run.training) == (last.reason, last.caller, last.training)
            )
            if last is not None and same:
                last.count += run.count
                last.seconds += run.seconds
                return last
            self.runs.append(run)
            return run

    def add_program(self, program: Program) -> Program:
        with self._lock:
            self.programs.append(program)
        return program

    @property
    def captures(self) -> list[Run]:
        """The runs that yielded a graph."""
        return [r for r in self.runs if r.graph is not None]

    @property
    def call_count(self) -> int:
        """How often ``call`` ran in all."""
        return sum(r.count for r in self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> Run:
        return self.runs[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self.runs))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        runs = [
            {
                "kind": r.kind,
                "reason": r.reason.name,
                "sentence": r.sentence,
                "caller": r.caller,
                "signature": r.signature,
                "training": r.training,
                "seconds": r.seconds,
                "count": r.count,
                "effects": [str(e) for e in r.effects],
            }
            for r in self.runs
        ]
        return {"call_count": self.call_count, "runs": runs, "programs": [dataclasses.asdict(p) for p in self.programs]}

    def story(self, name: str) -> str:
        """The runs and programs in sentences."""
        times = {0: "has not run yet", 1: "ran once"}.get(self.call_count, f"ran {self.call_count} times")
        lines = [f"`call` of {name} {times}."]
        for number, run in enumerate(self.runs, 1):
            what = "was captured" if run.kind == "capture" else "ran eagerly" + (f" {run.count} times" if run.count > 1 else "")
            lines.append(f"  {number}. It {what} in {run.caller}: {run.sentence} ({run.seconds * 1e3:.0f} ms of Python).")
            lines.append(f"     Inputs: {run.signature}.")
            lines += [f"     Side effect at {effect}" for effect in run.effects]
        if self.captures:
            lines.append("  Everything else reads the captured graph: `call` does not run again for other batch sizes,")
            lines.append("  nor for validation and predict.")
        if self.programs:
            count = "1 program was" if len(self.programs) == 1 else f"{len(self.programs)} programs were"
            lines.append(f"{count} compiled, without a run of `call`:")
            for p in self.programs:
                form = "many steps in one dispatch" if p.loop else "one step a dispatch"
                lines.append(f"  - {p.purpose}, batches of {p.batch_size} ({form}, {p.seconds:.2f} s): {p.reason}.")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.story("the model")
