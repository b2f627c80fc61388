"""Training on data that are read while it runs, beside the same rows in memory: what reading costs that takes a part of a step.

    python -m benchmarks.streaming [--workloads mlp] [--rounds 5]

All in one process, in turn. First the step is timed with the rows as arrays. Then batches come from a generator and from a `PyDataset`,
and reading one takes 0, 40 and 80 % of that step: as waiting, as for a disk, and as work of the processor in NumPy. A processor whose
cores are all at work has no time to give away: the floor is the step on arrays with the same work done in a thread that nobody waits for.
"""

import argparse
import dataclasses
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import pellucid
from benchmarks.peers.keras_api import MODELS
from benchmarks.workloads import WORKLOADS, Workload, make_data

SHARES = (0.4, 0.8)
SIZES = {  # batches of an epoch, and rows of a batch: data for which it pays to stream have many batches
    "wide_and_deep": (200, 4096),
    "mlp": (200, 128),
    "cnn": (60, 64),
    "gru": (100, 32),
    "transformer": (16, 16),
}
DECODED = np.random.default_rng(0).integers(0, 255, 2**14, np.uint8)

Read = Callable[[], None]


def wait(seconds: float) -> Read:
    """Reading that waits, and leaves the processor to others."""
    start = time.perf_counter()
    for _ in range(100):
        time.sleep(1e-4)
    late = (time.perf_counter() - start) / 100 - 1e-4  # the system wakes those who sleep somewhat later than they asked for
    return lambda: time.sleep(seconds - late)


def work(seconds: float) -> Read:
    """Reading that takes so much time of the processor: bytes become numbers, piece after piece."""
    room = np.empty(DECODED.shape, np.float32)

    def read() -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            np.multiply(DECODED, np.float32(1 / 255), out=room)

    return read


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


class Case:
    """A workload, and the ways to give it its rows."""

    def __init__(self, name: str, folder: str) -> None:
        steps, size = SIZES[name]
        self.workload: Workload = dataclasses.replace(WORKLOADS[name], rows=steps * size, batch_size=size, validation_rows=0)
        make_model, split = MODELS[self.workload.model]
        self.model = make_model(pellucid)
        self.inputs, self.targets = split(*make_data(self.workload).training)
        self.batches = [self._rows(slice(i * size, (i + 1) * size)) for i in range(steps)]
        self.folder = folder

    def _rows(self, rows: slice) -> tuple:
        take = lambda part: tuple(a[rows] for a in part) if isinstance(part, tuple | list) else part[rows]
        return take(self.inputs), take(self.targets)

    def fit(self, *given: Any, **options: Any) -> float:
        """Microseconds a step."""
        return self.timed(lambda: self.model.fit(*given, verbose=0, **options))

    def timed(self, function: Callable[[], Any]) -> float:
        start = time.perf_counter()
        function()
        return (time.perf_counter() - start) / len(self.batches) * 1e6

    def on_arrays(self) -> float:
        return self.fit(self.inputs, self.targets, batch_size=self.workload.batch_size)

    def on_files(self) -> float:
        """Arrays that lie in files."""
        if not hasattr(self, "mapped"):
            self.mapped = [self._mapped(part, f"{self.workload.name}{i}") for i, part in enumerate((self.inputs, self.targets))]
        return self.fit(*self.mapped, batch_size=self.workload.batch_size)

    def _mapped(self, part: Any, name: str) -> Any:
        if isinstance(part, tuple | list):
            return tuple(self._mapped(a, f"{name}_{i}") for i, a in enumerate(part))
        path = Path(self.folder) / f"{name}.npy"
        np.save(path, part)
        return np.load(path, mmap_mode="r")

    def on_generator(self, read: Read | None) -> float:
        def batches() -> Iterator[Any]:
            for batch in self.batches:
                if read is not None:
                    read()
                yield batch

        return self.fit(batches())

    def on_dataset(self, read: Read) -> float:
        return self.fit(Numbered(self.batches, read))

    def floor(self, read: Read) -> float:
        """On arrays, with the work done by a thread beside, until both have ended."""

        def both() -> None:
            beside = threading.Thread(target=lambda: [read() for _ in self.batches])
            beside.start()
            self.on_arrays()
            beside.join()

        return self.timed(both)


def ways(case: Case, step: float) -> dict[str, Callable[[], float]]:
    """What is timed, by the row of the table."""
    found: dict[str, Callable[[], float]] = {
        "arrays": case.on_arrays,
        "arrays in files": case.on_files,
        "generator": lambda: case.on_generator(None),
    }
    for share in SHARES:
        seconds = share * step / 1e6
        found |= {
            f"generator, waits {share:.0%}": lambda read=wait(seconds): case.on_generator(read),
            f"PyDataset, waits {share:.0%}": lambda read=wait(seconds): case.on_dataset(read),
        }
    for share in SHARES:
        seconds = share * step / 1e6
        found |= {
            f"generator, works {share:.0%}": lambda read=work(seconds): case.on_generator(read),
            f"floor: works {share:.0%} beside arrays": lambda read=work(seconds): case.floor(read),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--workloads", nargs="+", choices=SIZES, default=["wide_and_deep", "mlp", "cnn", "transformer"])
    parser.add_argument("--rounds", type=int, default=5, help="times that each way has its turn")
    parser.add_argument("--ways", nargs="+", default=[""], help="only rows whose name has one of these in it")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.workloads:
        with tempfile.TemporaryDirectory() as folder:
            show(name, *measure(Case(name, folder), options.rounds, options.ways))


def measure(case: Case, rounds: int, wanted: list[str]) -> tuple[Case, dict[str, list[float]]]:
    for _ in range(2):
        case.on_arrays()
    step = statistics.median(case.on_arrays() for _ in range(3))
    chosen = {way: run for way, run in ways(case, step).items() if way == "arrays" or any(part in way for part in wanted)}
    for run in chosen.values():
        run()
    times: dict[str, list[float]] = {way: [] for way in chosen}
    for _ in range(rounds):
        for way, run in chosen.items():
            times[way].append(run())
    return case, times


def show(name: str, case: Case, times: dict[str, list[float]]) -> None:
    steps, size = SIZES[name]
    table = Table("rows", "µs a step", "times arrays", "of minima", title=f"{name}: {steps} batches of {size}")
    for way, measured in times.items():
        ratio = statistics.median(a / b for a, b in zip(measured, times["arrays"]))
        of_minima = min(measured) / min(times["arrays"])
        table.add_row(way, f"{statistics.median(measured):.1f}", f"{ratio:.3f}", f"{of_minima:.3f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
