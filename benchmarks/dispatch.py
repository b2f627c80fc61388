"""How steps are best dispatched: in a loop, one by one, or some of them written out in one program, and what "auto" chooses.

    python -m benchmarks.dispatch
    python -m benchmarks.dispatch --workloads cnn gru --seconds 20

For each workload all forms in one process, in turn. `make bench` runs it after the tables.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import measured_apart
from benchmarks.workloads import WORKLOADS, Workload, make_data

WRITTEN_OUT = 4  # steps at most, so that an epoch here has a multiple of them
FIT_SECONDS = 0.25  # of one figure, about
LEAST, FAR = 3, 2  # figures of each form; one that takes so many times the best form's gets no more


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dispatch", description=__doc__)
    names = [name for name, workload in WORKLOADS.items() if workload.base is None]
    parser.add_argument("--workloads", nargs="+", choices=names, default=names, metavar="NAME", help=f"some of: {', '.join(names)}")
    parser.add_argument("--seconds", type=float, default=4.0, help="for the timings of a workload, compilations not counted")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(WORKLOADS[options.workloads[0]], options.seconds)))
        return
    table = Table("workload", "µs a step, best", *FORMS)
    for name in options.workloads:
        table.add_row(name, *row(measured_apart("benchmarks.dispatch", "--workloads", name, "--seconds", str(options.seconds))))
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    console.print(
        "Medians as multiples of that of the best form but auto (in brackets: the same of the minima); seconds of the first epoch."
    )


def row(found: dict[str, Any]) -> list[str]:
    """The cells of a workload."""
    times, firsts = found["times"], found["first"]
    medians, least = ({form: of(times[form]) for form in FORMS} for of in (statistics.median, min))
    best, lowest = (min(each[form] for form in FORMS if form != "auto") for each in (medians, least))
    notes = {form: f"{firsts[form]:.1f} s" for form in FORMS} | {"auto": found["auto"]}
    return [f"{best:,.1f}", *(f"{medians[form] / best:.2f} ({least[form] / lowest:.2f})\n{notes[form]}" for form in FORMS)]


def measure(workload: Workload, seconds: float) -> dict[str, Any]:
    """For each form the times of a step in microseconds, the seconds of its first epoch, and how "auto" lays out its blocks."""
    from benchmarks.peers.keras_api import pellucid_trainer

    steps = workload.rows // workload.batch_size // WRITTEN_OUT * WRITTEN_OUT
    workload = dataclasses.replace(workload, rows=steps * workload.batch_size, validation_rows=0)
    data = make_data(workload)
    bytes_a_batch = sum(x.nbytes for x in data.training) // steps
    fits, first, chosen = {}, {}, ""
    for name, (wanted, number) in FORMS.items():
        trainer = pellucid_trainer(workload, data)
        machine = trainer.model._machine
        machine.settings.steps_per_execution = wanted(steps, bytes_a_batch)
        if number > 1:
            machine.form = written_out(machine.form, number)
        first[name] = timed(trainer.fit, 1)
        fits[name] = trainer.fit
        if name == "auto":
            chosen = layout(trainer.model)
    times: dict[str, list[float]] = {name: [] for name in fits}
    epochs = {name: max(1, round(FIT_SECONDS / timed(fit, 1))) for name, fit in fits.items()}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["auto"]) < LEAST:
        best = min((min(each) for each in times.values() if each), default=0.0)
        for name, fit in fits.items():
            if len(times[name]) >= LEAST and min(times[name]) > FAR * best:
                continue
            times[name].append(timed(fit, epochs[name]) / (epochs[name] * steps) * 1e6)
    return {"times": times, "first": first, "auto": chosen}


def layout(model: Any) -> str:
    """How the program of a trained model goes through its blocks."""
    (form,) = {program.form for program in model._machine._programs.values()}
    return f"loops of {form.capacity}" if form.loop else f"{form.written_out} written out" if form.written_out > 1 else "one by one"


def room(steps: int, bytes_a_batch: int) -> int:
    """Steps in a dispatch, as many as a block may have."""
    from pellucid.training.programs import BLOCK_BYTES, LOOP_STEPS

    return min(steps, LOOP_STEPS, max(2, BLOCK_BYTES // bytes_a_batch))


def written_out(form: Callable, number: int) -> Callable:
    """How blocks are laid out, but with so many steps written out, wherever the library would not."""

    def changed(*args: Any, **options: Any) -> Any:
        single = form(*args, **options)
        return dataclasses.replace(single, capacity=max(1, single.capacity // number) * number, written_out=number)

    return changed


# How many steps go in one dispatch, given their number and the bytes of a batch; and how many of single ones are written out together.
FORMS: dict[str, tuple[Callable[[int, int], Any], int]] = {
    "loop": (room, 1),
    "one by one": (lambda steps, size: 1, 1),
    "2 written out": (lambda steps, size: 1, 2),
    "4 written out": (lambda steps, size: 1, 4),
    "auto": (lambda steps, size: "auto", 1),
}


def timed(fit: Callable[[int, bool], float], epochs: int) -> float:
    start = time.perf_counter()
    fit(epochs, False)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
