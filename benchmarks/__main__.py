"""Time training with each peer, every time in a fresh process, all in turn, and print a table for each workload."""

import argparse
import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers import PEERS
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).resolve().parents[1]
IMPORT = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
IMPORTS_A_ROUND = 3
# Every process compiles for itself: what another has left in a cache would flatter its first epoch. Bytecode is kept, as pip does.
LEFT_OUT = ("JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE")
SET = {"KERAS_BACKEND": "jax", "PELLUCID_COMPILATION_CACHE": "off"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in LEFT_OUT} | SET
# Figures with a ratio to the better hand-written form: title, key in a measurement, digits after the point.
COLUMNS = (
    ("µs a step", "step_us", 1),
    ("with validation", "validated_step_us", 1),
    ("first epoch, s", "first_epoch_seconds", 2),
    ("import, s", "import_seconds", 2),
    ("peak MB", "peak_mb", 0),
)

OURS = "pellucid"

Rounds = dict[str, list[dict]]  # by peer, a measurement a round


def main() -> int:
    options = parse_arguments()
    # Wide enough for a table where there is no terminal, as in a log.
    console = Console(width=None if sys.stdout.isatty() else 132)
    peers, imports = find_peers(options.peers, console)
    results: dict[str, Rounds] = {
        name: {peer: [] for peer in peers if PEERS[peer].trains(WORKLOADS[name].model)} for name in options.workloads
    }
    failures = 0
    for number, name, peer in itertools.product(range(options.rounds), options.workloads, peers):
        if peer not in results[name]:
            continue
        package = PEERS[peer].package
        with console.status(f"round {number + 1} of {options.rounds}: {name}, {peer}"):
            measured, error = run("-m", "benchmarks.measure", name, peer, str(options.seconds))
            imports[package] += [float(run("-c", IMPORT.format(package))[0]) for _ in range(IMPORTS_A_ROUND)]
        if error:
            failures += 1
            console.print(f"{name}, {peer}: failed: {error}", style="red", markup=False)
        else:
            results[name][peer].append(json.loads(measured))
    for name, rounds in results.items():
        workload = WORKLOADS[name]
        summary = {peer: summarize(each, imports[PEERS[peer].package]) for peer, each in rounds.items() if each}
        base = {peer: median(each, "step_us") for peer, each in results.get(workload.base, {}).items() if each}
        console.print(f"\n{name}: {workload.rows:,} rows, batch {workload.batch_size}, {workload.steps:,} steps an epoch", style="bold")
        console.print(make_table(workload, summary, base))
    console.print("In brackets: times the better hand-written form.")
    machine, ratios = describe_machine(), find_ratios(results)
    if any(len(row) > 1 for row in ratios.values()):
        console.print("\nPellucid's step beside the others', times theirs:", style="bold")
        console.print(ratio_table(ratios))
    if options.results:
        options.results.write_text(results_page(machine, ratios, results))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "imports": imports, "workloads": results}, indent=2) + "\n")
    return 1 if failures else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME", help=f"some of: {', '.join(WORKLOADS)}")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME", help=f"some of: {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, help="processes for each workload and peer, 3 unless told")
    parser.add_argument("--quick", action="store_true", help="one round, shorter timings, and without the large data unless named")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements there")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the ratios there, with machine, versions and date, as Markdown")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = 0.3 if options.quick else 1.0
    options.workloads = options.workloads or [name for name, workload in WORKLOADS.items() if not (options.quick and workload.base)]
    return options


def find_peers(names: list[str], console: Console) -> tuple[list[str], dict[str, list[float]]]:
    """The peers that can be imported, and a list for the import times of each package. Each is imported once now, to have its bytecode."""
    errors = {package: run("-c", IMPORT.format(package))[1] for package in {PEERS[name].package for name in names}}
    for name in names:
        if error := errors[PEERS[name].package]:
            console.print(f"{name}: skipped, as `import {PEERS[name].package}` fails: {error}", style="yellow", markup=False)
    return [name for name in names if not errors[PEERS[name].package]], {package: [] for package, error in errors.items() if not error}


def run(*arguments: str) -> tuple[str, str]:
    """The last line of Python's output, and of its errors if it failed."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    last = lambda text: text.strip().rpartition("\n")[2]
    return last(done.stdout), (last(done.stderr) or f"exit status {done.returncode}") if done.returncode else ""


def measured_apart(module: str, *arguments: str) -> Any:
    """What a bench measures, given `--measure`, in a process of its own. Its errors are shown, and end this one."""
    command = [sys.executable, "-m", module, "--measure", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def summarize(rounds: list[dict], import_seconds: list[float]) -> dict:
    """Medians over the rounds."""
    medians = {key: median(rounds, key) for key in rounds[0] if rounds[0][key] is not None}
    return medians | {"import_seconds": statistics.median(import_seconds)}


def median(rounds: list[dict], key: str) -> float:
    return statistics.median(each[key] for each in rounds)


def make_table(workload: Workload, summary: dict[str, dict], base: dict[str, float]) -> Table:
    """A row a peer. Where the workload is there to be compared with another, only the step."""
    table = Table("peer")
    columns = [column for column in (COLUMNS[:1] if workload.base else COLUMNS) if any(column[1] in row for row in summary.values())]
    extra = [f"times its {workload.base}"] if workload.base else ["runs of call", "first epoch's loss"]
    for heading in [title for title, *_ in columns] + extra:
        table.add_column(heading, justify="right")
    best = {key: min((row[key] for peer, row in summary.items() if PEERS[peer].by_hand), default=None) for _, key, _ in columns}
    for peer, row in summary.items():
        cells = [f"{row[key]:,.{digits}f}" + (f" ({row[key] / best[key]:.2f})" if best[key] else "") for _, key, digits in columns]
        if workload.base:
            cells.append(f"{row['step_us'] / base[peer]:.2f}" if peer in base else "–")
        else:
            cells += [f"{row['calls']:.0f}" if "calls" in row else "–", f"{row['first_epoch_loss']:.3f}"]
        table.add_row(peer, *cells)
    return table


def find_ratios(results: dict[str, Rounds]) -> dict[str, dict[str, float]]:
    """For each workload that Pellucid trained: µs of its step, and how many times that of each other one it is."""
    ratios = {}
    for name, rounds in results.items():
        times = {peer: median(each, "step_us") for peer, each in rounds.items() if each}
        if OURS not in times or WORKLOADS[name].base:
            continue
        by_hand = min((time for peer, time in times.items() if PEERS[peer].by_hand), default=None)
        others = {"JAX by hand": by_hand, "Keras": times.get("keras"), "PyTorch": times.get("torch")}
        ratios[name] = {"µs a step": times[OURS]} | {other: times[OURS] / time for other, time in others.items() if time}
        memory = {peer: median(each, "peak_mb") for peer, each in rounds.items() if each}
        if least := min((size for peer, size in memory.items() if PEERS[peer].by_hand), default=None):
            ratios[name]["peak memory, JAX by hand"] = memory[OURS] / least
    return ratios


def ratio_rows(ratios: dict[str, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of each workload."""
    headings = list(dict.fromkeys(key for row in ratios.values() for key in row))
    cell = lambda key, row: "–" if key not in row else f"{row[key]:,.1f}" if key == headings[0] else f"{row[key]:.2f}"
    return headings, [[name, *(cell(key, row) for key in headings)] for name, row in ratios.items()]


def ratio_table(ratios: dict[str, dict[str, float]]) -> Table:
    headings, rows = ratio_rows(ratios)
    table = Table("workload")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def results_page(machine: dict, ratios: dict[str, dict[str, float]], results: dict[str, Rounds]) -> str:
    """The table of ratios as a page."""
    headings, rows = ratio_rows(ratios)
    rounds = max((len(each) for peers in results.values() for each in peers.values()), default=0)
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        "# The last results",
        "",
        "Pellucid's training step, and times that of the better of the two hand-written JAX forms, of Keras on JAX and of PyTorch (eager).",
        "`make bench` writes this page; [README.md](README.md) says what is measured.",
        "",
        f"| workload | {' | '.join(headings)} |",
        f"|---|{'---:|' * len(headings)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"{datetime.date.today()}; {machine['processor']}, {machine['cores']} cores; Python {machine['python']}, {packages}; "
        f"medians of {rounds} round{'s' if rounds > 1 else ''}.",
    ]
    return "\n".join(lines) + "\n"


def describe_machine() -> dict:
    packages = ("jax", "jaxlib", "keras", "pellucid", "numpy", "torch")
    installed = {package: version for package in packages if (version := find_version(package))}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": find_processor(),
        "cores": os.cpu_count(),
        "packages": installed,
    }


def find_processor() -> str:
    """Its name, where the system tells it (Linux does in a file)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
