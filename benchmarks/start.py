"""How long a script takes to its first training step: at its first start, which compiles, and at the next one, which finds the program.

Each start is a fresh process, with bytecode compiled. Measured from after `import pellucid` until the program of the first step is ready
to run: data, capture, tracing, lowering, and XLA or what it had compiled before.
"""

import argparse
import contextlib
import io
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
WORKLOADS = ("example", "transformer")
LEFT_OUT = ("JAX_COMPILATION_CACHE_DIR", "PYTHONDONTWRITEBYTECODE")
COLUMNS = (
    ("import, s", "import"),
    ("to the first step, s", "seconds"),
    ("Python, s", "python"),
    ("lower, s", "lowering"),
    ("XLA, s", "compiling"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of a first and a second start")
    parser.add_argument("--measure", choices=WORKLOADS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    table = Table("script", "start", *(title for title, _ in COLUMNS))
    for workload in WORKLOADS:
        starts: tuple[list[dict], list[dict]] = [], []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                for found in starts:
                    found.append(start(workload, folder))
        for name, found in zip(("first", "second"), starts):
            assert all(each["kept"] == (name == "second") for each in found), "the second start compiled"
            table.add_row(workload, name, *(f"{statistics.median(each[key] for each in found):.2f}" for _, key in COLUMNS))
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    console.print("Medians. `import` is that of pellucid, JAX included; python: data, imports on first use, capture and tracing.")


def start(workload: str, folder: str) -> dict:
    """What a fresh process measured."""
    environment = {k: v for k, v in os.environ.items() if k not in LEFT_OUT} | {"PELLUCID_COMPILATION_CACHE": folder}
    arguments = [sys.executable, "-m", "benchmarks.start", "--measure", workload]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Reached(BaseException):
    """The program of the first step is ready."""


def measure(workload: str) -> dict:
    started = time.perf_counter()
    import pellucid

    imported = time.perf_counter()
    if workload == "example":
        script = lambda: runpy.run_path(str(ROOT / "examples" / "wide_and_deep.py"), run_name="__main__")
    else:
        from benchmarks.peers.keras_api import Trainer
        from benchmarks.workloads import WORKLOADS as WHOLE
        from benchmarks.workloads import make_data

        data = make_data(WHOLE[workload])  # no part of the start: it is made up here
        imported, before = time.perf_counter(), imported
        started += imported - before
        script = lambda: Trainer(pellucid, WHOLE[workload], data).fit(1, False)
    told: dict = {}
    stop_when_compiled(told)
    with contextlib.suppress(Reached), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script()
    seconds = told.pop("at") - imported
    return {"import": imported - started, "seconds": seconds, "python": seconds - told["lowering"] - told["compiling"], **told}


def stop_when_compiled(told: dict) -> None:
    """Ends the script where its first program could be dispatched."""
    from pellucid.training.programs import Program

    compile_it = Program._compile

    def compile_and_stop(program: Program, *args: object) -> None:
        compile_it(program, *args)
        entry = program.entry
        told.update(at=time.perf_counter(), lowering=entry.lowering, compiling=entry.compiling, kept=entry.from_cache)
        raise Reached

    Program._compile = compile_and_stop  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
