"""One measurement: a workload trained by a peer, in a fresh process. Prints one line of JSON. `python -m benchmarks` starts it."""

import argparse
import importlib
import json
import resource
import statistics
import sys
import time

from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS, make_data

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("seconds", type=float, help="length of one timing of the step, about")
    options = parser.parse_args()
    print(json.dumps(measure(options.workload, options.peer, options.seconds)))


def measure(workload_name: str, peer_name: str, seconds: float) -> dict:
    workload, peer = WORKLOADS[workload_name], PEERS[peer_name]
    data = make_data(workload)
    importlib.import_module(peer.package)
    make_trainer = getattr(importlib.import_module(peer.module), peer.trainer)
    has_validation = workload.validation_rows > 0

    start = time.perf_counter()
    trainer = make_trainer(workload, data)
    loss = trainer.fit(1, validate=has_validation)
    result = {"first_epoch_seconds": time.perf_counter() - start, "first_epoch_loss": loss}

    times = time_steps(trainer, workload.steps, seconds, validate=False)
    result |= {"step_us": statistics.median(times), "step_us_min": min(times)}
    if has_validation:
        times = time_steps(trainer, workload.steps, seconds, validate=True)
        result |= {"validated_step_us": statistics.median(times), "validated_step_us_min": min(times)}
    return result | {"peak_mb": peak_bytes() / 1e6, "calls": trainer.count_calls()}


def time_steps(trainer, steps: int, seconds: float, validate: bool) -> list[float]:
    """Microseconds a step: each figure from one `fit` of so many epochs that it takes about `seconds`."""
    trainer.fit(1, validate)
    start = time.perf_counter()
    trainer.fit(1, validate)
    epoch_seconds = time.perf_counter() - start
    epochs = max(1, round(seconds / epoch_seconds))
    times = []
    # An epoch that takes much longer than a figure should, needs no repeats to be exact.
    for _ in range(REPEATS if epoch_seconds < 2 * seconds else 1):
        start = time.perf_counter()
        trainer.fit(epochs, validate)
        times.append((time.perf_counter() - start) / (epochs * steps) * 1e6)
    return times


def peak_bytes() -> int:
    """The largest memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
