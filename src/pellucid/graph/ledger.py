"""The ledger: every run of ``call``, and every program compiled, in order, with the reason."""

from __future__ import annotations

import dataclasses
import enum
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pellucid.core.jax_compat import Place
from pellucid.graph import render
from pellucid.graph.effects import Effect

_KEPT = 4096  # runs, and programs, that are listed; older ones are counted only
_SITES = 256  # eager runs of as many kinds are told apart between two captures


class Reason(enum.Enum):
    """Why ``call`` ran."""

    FIRST = "first"
    INPUTS = "inputs changed"
    LENGTH = "inputs of another length"
    ATTRIBUTE = "attribute changed"
    TRAINING = "branches on training"
    SIZE = "asked for a size"
    CONCRETE = "needs a concrete size"
    DROPPED = "graph was dropped"
    EAGER = "run_eagerly"
    USER = "called by the user"


@dataclasses.dataclass(eq=False)
class Run:
    """One run of ``call``.

    Attributes:
        kind: "capture" (yields a graph) or "eager" (computes at once).
        reason: why.
        sentence: the same in words, with what differs.
        caller: what needed it: "fit", "evaluate", "predict", "build", "summary" …, or the user's own line.
        signature: structure, shapes and data types of the inputs; None is the batch.
        training: the only mode that the graph is good for, None for both; of an eager run its mode.
        seconds: of Python, for all ``count`` runs together; ``lowering`` and ``compiling`` are those of its programs.
        effects: side effects seen.
        count: above one where equal eager runs are told as one.
        raised: the class of the error that ended it, or None.
        place: the user's line that led to it.
        programs: what was compiled from its graph.
        of: what ran: "call", or a step of the user's own such as "train_step".
    """

    kind: str
    reason: Reason
    sentence: str
    caller: str
    signature: str
    training: bool | None
    seconds: float = 0.0
    effects: tuple[Effect, ...] = ()
    count: int = 1
    raised: str | None = None
    place: Place | None = None
    programs: list[Program] = dataclasses.field(default_factory=list, repr=False)
    of: str = "call"
    _graph: Callable[[], Any] = dataclasses.field(default=lambda: None, repr=False)

    @property
    def graph(self) -> Any:
        """What a capture yielded, while anybody keeps it: a model keeps the graphs that serve."""
        return self._graph()

    @graph.setter
    def graph(self, graph: Any) -> None:
        self._graph = weakref.ref(graph)

    @property
    def captured(self) -> bool:
        """Whether it yielded a graph, which may have been dropped since."""
        return self.kind == "capture" and self.raised is None

    @property
    def lowering(self) -> float:
        """Seconds in which the programs made of its graph were lowered for XLA."""
        return sum(p.lowering for p in self.programs)

    @property
    def compiling(self) -> float:
        """Seconds in which XLA compiled the programs made of its graph."""
        return sum(p.compiling for p in self.programs)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "kind": self.kind,
            "of": self.of,
            "reason": self.reason.name,
            "sentence": self.sentence,
            "caller": self.caller,
            "place": None if self.place is None else str(self.place),
            "signature": self.signature,
            "training": self.training,
            "seconds": self.seconds,
            "lowering": self.lowering,
            "compiling": self.compiling,
            "count": self.count,
            "raised": self.raised,
            "effects": [{"kind": e.kind, "file": e.place.file, "line": e.place.line, "what": e.what, "cure": e.cure} for e in self.effects],
        }


@dataclasses.dataclass(eq=False)
class Program:
    """One compiled program.

    Attributes:
        purpose: "train", "test" or "predict".
        batch_size: rows of a step.
        lengths: values of the other sizes that are open in its graph, by name.
        reason: why it was compiled, in words.
        tracing: seconds of Python in which the graph was made concrete and the step built around it.
        lowering: seconds in which the step was lowered for XLA.
        compiling: seconds of XLA, or of reading what it had compiled before.
        from_cache: whether the program was kept by an earlier process, so that XLA did not compile it.
        loop: whether one dispatch is many steps.
    """

    purpose: str
    batch_size: int
    reason: str
    tracing: float = 0.0
    lowering: float = 0.0
    compiling: float = 0.0
    from_cache: bool = False
    loop: bool = False
    lengths: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def training(self) -> bool:
        """The mode."""
        return self.purpose == "train"

    @property
    def seconds(self) -> float:
        """Tracing, lowering and compiling together."""
        return self.tracing + self.lowering + self.compiling

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**dataclasses.asdict(self), "training": self.training, "seconds": self.seconds}


class Ledger:
    """A sequence of runs of ``call`` (``len``, ``[i]``, iteration), with the programs beside it.

    Printed, it is a table; ``story`` tells it in sentences. Graphs are not kept alive by it.

    Args:
        name: class of the model.

    Attributes:
        runs: all runs, the newest last. Beyond some thousands the oldest are no longer listed, but still counted.
        programs: all programs compiled.
        nested: how often ``call`` ran as part of a run of another model, by the class of that one; its ledger has the reasons.

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

    def __init__(self, name: str = "the model") -> None:
        self.name = name
        self.runs: list[Run] = []
        self.programs: list[Program] = []
        self.nested: dict[str, int] = {}
        self.capture_count = 0
        self.seconds = {"capture": 0.0, "compile": 0.0}  # in all, also of programs that are not dispatched yet
        self._calls = 0
        self._eager: dict[tuple, Run] = {}  # those since the last capture, by what makes them equal
        self._lock = threading.Lock()

    def add(self, run: Run) -> Run:
        """Enters a run; returns the entry, which is an older one where an equal eager run is in the ledger."""
        with self._lock:
            of_call = run.of == "call"
            self._calls += run.count if of_call else 0
            if run.kind == "capture":
                self.capture_count += of_call
                self.seconds["capture"] += run.seconds
                self._eager.clear()
            else:
                key = (run.reason, run.caller, run.training, run.signature, run.sentence)
                known = self._eager.get(key)
                if known is not None:
                    known.count += run.count
                    known.seconds += run.seconds
                    return known
                if len(self._eager) >= _SITES:
                    self._eager.clear()
                self._eager[key] = run
            self.runs.append(run)
            if len(self.runs) > _KEPT:
                del self.runs[: _KEPT // 4]
            return run

    def new_program(
        self, purpose: str, batch_size: int, reason: str, tracing: float, loop: bool = False, lengths: dict[str, int] | None = None
    ) -> Program:
        """An entry for a program that was traced, to be entered when it is compiled."""
        with self._lock:
            self.seconds["compile"] += tracing
        return Program(purpose, batch_size, reason, tracing, loop=loop, lengths=dict(lengths or {}))

    def add_program(self, program: Program, graph: Any = None) -> Program:
        """Enters a compiled program, also in the run that its graph came from."""
        with self._lock:
            self.programs.append(program)
            self.seconds["compile"] += program.lowering + program.compiling
            if len(self.programs) > _KEPT:
                del self.programs[: _KEPT // 4]
            run = next((r for r in reversed(self.runs) if graph is not None and r.graph is graph), None)
            if run is not None:
                run.programs.append(program)
        return program

    def run_of(self, graph: Any) -> str | None:
        """Which run, counted from 1, a graph came from: such as "run 2 of `call`"."""
        with self._lock:
            return next((f"run {i} of `{run.of}`" for i, run in reversed(list(enumerate(self.runs, 1))) if run.graph is graph), None)

    def ran_inside(self, name: str) -> None:
        """Notes a run that is part of a run of another model."""
        with self._lock:
            self.nested[name] = self.nested.get(name, 0) + 1

    @property
    def captures(self) -> list[Run]:
        """The runs that yielded a graph."""
        return [r for r in list(self.runs) if r.captured]

    @property
    def call_count(self) -> int:
        """How often ``call`` ran in all, runs inside those of other models apart."""
        return self._calls

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, index: int) -> Run:
        if not isinstance(index, int | np.integer | slice) or isinstance(index, bool):
            raise TypeError(f"ledger[{index!r}]: expected the number of a run, from 0 on, or a slice.")
        try:
            return self.runs[index]  # type: ignore[return-value]
        except IndexError:
            raise IndexError(f"ledger[{index}]: `call` of {self.name} has {len(self.runs)} runs in the ledger; expected less.") from None

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self.runs))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, which JSON can hold."""
        with self._lock:
            return {
                "model": self.name,
                "call_count": self._calls,
                "nested": dict(self.nested),
                "runs": [r.as_dict() for r in self.runs],
                "programs": [p.as_dict() for p in self.programs],
            }

    def story(self, name: str | None = None) -> str:
        """The runs and programs in sentences."""
        return render.ledger.story(self, name or self.name)

    def __str__(self) -> str:
        return render.ledger.table(self)

    def __repr__(self) -> str:
        return f"<Ledger of {self.name}: {self._calls} runs of `call`, {len(self.programs)} programs>"

    def _repr_html_(self) -> str:
        return render.ledger.html(self)
