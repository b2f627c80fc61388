"""Runs something under JAX's profiler, and reads the events of a program from what it wrote."""

from __future__ import annotations

import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax

from pellucid.training.profiling.attribution import DATA, PASS, Event
from pellucid.training.profiling.hlo import Module

_END = "end: "  # of an operation that went on in other threads
_OURS = frozenset({PASS, DATA})


def traced(run: Callable[[], Any], module: Module) -> list[Event]:
    """The events while ``run`` runs: of the operations of a program, and our own.

    Raises:
        RuntimeError: where JAX's profiler is in use, or does not tell of operations.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # a call of Python for each event would slow the step down
    with tempfile.TemporaryDirectory() as folder:
        try:
            jax.profiler.start_trace(folder, profiler_options=options)
        except Exception as error:
            raise RuntimeError(
                f"profile: JAX's profiler cannot be started ({error}). It is in use already, or was not ended: leave the "
                "`with jax.profiler.trace(…)`, or call jax.profiler.stop_trace(), first."
            ) from error
        try:
            run()
        finally:
            jax.profiler.stop_trace()
        files = sorted(pathlib.Path(folder).rglob("*.xplane.pb"))
        data = jax.profiler.ProfileData.from_file(str(files[0])) if files else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a type inside JAX that lacks a name
        found = [] if data is None else list(events_of(data, module))
    if not any(e.is_operation for e in found):
        raise RuntimeError(
            f"profile: JAX's profiler told nothing of the operations on this {jax.default_backend()!r} device. Another profiler may "
            "be at work in this process, or the platform does not support it."
        )
    return found


def events_of(data: Any, module: Module) -> Iterator[Event]:
    """Events of a profile: on a CPU they are named after the instructions, on other devices they have them as ``hlo_op``.

    Args:
        data: ``jax.profiler.ProfileData``, or anything with planes, lines and events such as it has.
        module: whose operations are wanted.
    """
    devices = [plane for plane in data.planes if plane.name.startswith("/device:") and "CPU" not in plane.name]
    kernels = [event for plane in devices for event in _on_device(plane, module)]
    for plane in data.planes:
        if plane not in devices:  # where kernels are known, events of the host are no work but its order
            yield from (event for event in _on_host(plane, module) if not (kernels and event.is_operation))
    yield from kernels


def _on_host(plane: Any, module: Module) -> Iterator[Event]:
    started: list[tuple[str, float, float, Any]] = []
    ends: dict[Any, float] = {}
    for line in plane.lines:
        for event in line.events:
            name = event.name
            if name in _OURS:
                yield Event(name, *_span(event), is_operation=False)
            elif name in module.instructions:
                stats = dict(event.stats)
                if stats.get("hlo_module", module.name) == module.name:
                    started.append((name, *_span(event), stats.get("_p")))
            elif name.startswith(_END) and name.removeprefix(_END) in module.instructions:
                ends[dict(event.stats).get("_c")] = _span(event)[1]
    for name, start, end, number in started:
        yield Event(name, start, max(end, ends.get(number, end) if number is not None else end))


def _on_device(plane: Any, module: Module) -> Iterator[Event]:
    """Kernels are on the lines of streams; where there are none, a line lists the operations."""
    lines = list(plane.lines)
    streams = [line for line in lines if line.name.startswith("Stream")]
    for line in streams or [line for line in lines if line.name == "XLA Ops"]:
        for event in line.events:
            stats = dict(event.stats)
            name = str(stats.get("hlo_op") or event.name.split(" = ")[0]).lstrip("%")
            if name in module.instructions and stats.get("hlo_module", module.name) == module.name:
                yield Event(name, *_span(event))


def _span(event: Any) -> tuple[float, float]:
    return event.start_ns * 1e-9, (event.start_ns + event.duration_ns) * 1e-9
