"""Training on rows that are read while it runs, beside the same rows in memory.

    python -m benchmarks.streaming
    python -m benchmarks.streaming --workloads mlp --only waits --seconds 40

For each workload all ways in one process, in turn: in each round a step is timed on arrays in memory first, and reading a batch takes a
part of that step then, as waiting, as for a disk, or as work of the processor. `make bench` runs it after the tables.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import pellucid
from benchmarks.__main__ import measured_apart
from benchmarks.peers.keras_api import MODELS
from benchmarks.workloads import WORKLOADS, make_data

# Batches of an epoch and rows of a batch: data that are streamed have many batches, and large ones where a step is short.
SIZES = {"wide_and_deep": (400, 4096), "mlp": (120, 128), "cnn": (40, 64), "gru": (40, 32), "transformer": (20, 16)}
LEAST = 3  # figures of each way
BYTES = np.random.default_rng(0).integers(0, 255, 2**14, np.uint8)

Read = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--workloads", nargs="+", choices=SIZES, default=["wide_and_deep", "mlp", "cnn"], help="what to train")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.4, 0.8], help="of a step, that reading takes")
    parser.add_argument("--only", default="", help="ways with this in their name")
    parser.add_argument("--seconds", type=float, default=15.0, help="for the timings of a workload, compilation not counted")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.workloads[0], options.shares, options.only, options.seconds)))
        return
    given = ["--only", options.only, "--seconds", str(options.seconds), "--shares", *map(str, options.shares)]
    console = Console(width=None if sys.stdout.isatty() else 132)
    for name in options.workloads:
        console.print(shown(name, measured_apart("benchmarks.streaming", *given, "--workloads", name)))


def shown(name: str, times: dict[str, list[float]]) -> Table:
    """The table of a workload: a row for each way."""
    steps, size = SIZES[name]
    table = Table(
        "rows", "µs a step", "times arrays", "of minima", title=f"{name}: {steps} batches of {size}, {len(times['arrays'])} rounds"
    )
    for way, measured in times.items():
        ratio = statistics.median(mine / arrays for mine, arrays in zip(measured, times["arrays"], strict=True))
        table.add_row(way, f"{statistics.median(measured):,.1f}", f"{ratio:.3f}", f"{min(measured) / min(times['arrays']):.3f}")
    return table


def measure(name: str, shares: list[float], only: str, seconds: float) -> dict[str, list[float]]:
    """Microseconds a step, for each way as often as there is time."""
    with tempfile.TemporaryDirectory() as folder:
        case = Case(name, Path(folder))
        case.on_arrays()
        case.round(shares, only)  # compiles
        rounds, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(rounds) < LEAST:
            rounds.append(case.round(shares, only))
        return {way: [each[way] for each in rounds] for way in rounds[0]}


class Case:
    """A model, its rows, and the ways to give it these."""

    def __init__(self, name: str, folder: Path) -> None:
        self.steps, self.batch_size = SIZES[name]
        workload = dataclasses.replace(WORKLOADS[name], rows=self.steps * self.batch_size, batch_size=self.batch_size, validation_rows=0)
        make_model, split = MODELS[workload.model]
        self.model = make_model(pellucid)
        self.rows = split(*make_data(workload).training)
        self.batches = [jax.tree.map(lambda a, i=i: a[i * self.batch_size :][: self.batch_size], self.rows) for i in range(self.steps)]
        leaves, tree = jax.tree.flatten(self.rows)
        self.in_files = jax.tree.unflatten(tree, [in_file(a, folder / f"{i}.npy") for i, a in enumerate(leaves)])

    def round(self, shares: list[float], only: str) -> dict[str, float]:
        """Microseconds a step for each way, once. A machine may be twice as fast a minute later, and so reading is."""
        step = self.on_arrays()
        return {"arrays": step} | {way: run() for way, run in self.ways(shares, step / 1e6).items() if only in way}

    def ways(self, shares: list[float], step: float) -> dict[str, Callable[[], float]]:
        """What is timed beside arrays, for steps of so many seconds."""
        found: dict[str, Callable[[], float]] = {
            "arrays in files": lambda: self.fit(*self.in_files, batch_size=self.batch_size),
            "generator": lambda: self.on_generator(lambda: None),
        }
        for share in shares:
            waits, works = wait(share * step), work(share * step)
            found |= {
                f"generator waits {share:.0%}": lambda read=waits: self.on_generator(read),
                f"generator works {share:.0%}": lambda read=works: self.on_generator(read),
                f"arrays, beside work {share:.0%}": lambda read=works: self.beside(read),
            }
        most = wait(max(shares) * step)
        return found | {f"PyDataset waits {max(shares):.0%}": lambda: self.fit(Numbered(self.batches, most))}

    def fit(self, *given: Any, **options: Any) -> float:
        """Microseconds a step."""
        return self.timed(lambda: self.model.fit(*given, verbose=0, **options))

    def timed(self, function: Callable[[], Any]) -> float:
        start = time.perf_counter()
        function()
        return (time.perf_counter() - start) / self.steps * 1e6

    def on_arrays(self) -> float:
        return self.fit(*self.rows, batch_size=self.batch_size)

    def on_generator(self, read: Read) -> float:
        def batches() -> Iterator[Any]:
            for batch in self.batches:
                read()
                yield batch

        return self.fit(batches())

    def beside(self, read: Read) -> float:
        """On arrays, while a thread reads as often and nobody waits for it, until both have ended."""

        def both() -> None:
            thread = threading.Thread(target=lambda: [read() for _ in self.batches])
            thread.start()
            self.on_arrays()
            thread.join()

        return self.timed(both)


class Numbered(pellucid.utils.PyDataset):
    """Batches by number."""

    def __init__(self, batches: list, read: Read) -> None:
        super().__init__()
        self.batches, self.read = batches, read

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        self.read()
        return self.batches[index]


def wait(seconds: float) -> Read:
    """Reading that waits, and leaves the processor to others."""
    start = time.perf_counter()
    for _ in range(100):
        time.sleep(1e-4)
    late = (time.perf_counter() - start) / 100 - 1e-4  # the system wakes those who sleep somewhat later than they asked for
    return lambda: time.sleep(max(0.0, seconds - late))


def work(seconds: float) -> Read:
    """Reading that takes so much time of the processor: bytes become numbers, piece after piece."""
    room = np.empty(BYTES.shape, np.float32)

    def read() -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            np.multiply(BYTES, np.float32(1 / 255), out=room)

    return read


def in_file(array: np.ndarray, path: Path) -> np.ndarray:
    """It as an array that lies in a file."""
    np.save(path, array)
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found


if __name__ == "__main__":
    main()
