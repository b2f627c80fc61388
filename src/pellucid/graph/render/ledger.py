"""Views of a ledger: sentences, a table for terminals, a table for notebooks."""

from __future__ import annotations

import html as escaping
import io
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.graph.ledger import Ledger, Program, Run

_SHOWN = 12  # of a long list the first and the last few are told


def story(ledger: Ledger, name: str) -> str:
    """When and why ``call`` of a model ran, and what was compiled, in sentences."""
    count, runs, told = ledger.call_count, list(ledger.runs), set[Any]()
    captured = list(dict.fromkeys(f"`{r.of}`" for r in runs if r.captured))
    lines = [f"`call` of {name} {_times(count, ledger.nested, bool(captured))}."]
    lines += [
        f"  It ran {'once' if n == 1 else f'{n} times'} as part of {outer}, whose ledger tells why." for outer, n in ledger.nested.items()
    ]
    for number, run in _few(runs):
        if run is None:
            lines.append(f"  … and {number} more runs, which model.ledger lists.")
            continue
        lines.append(f"  {number}. {where(run)}: {_what(run)}{run.sentence}{_often(run)} ({milliseconds(run.seconds)} ms of Python).")
        if run.signature:
            lines.append(f"     Inputs: {run.signature}.")
        lines += [f"     Side effect at {effect}" for effect in run.effects if effect not in told]
        told.update(run.effects)
    if "`call`" in captured:
        lengths = any(r.graph is not None and r.graph.signature.lengths for r in runs)
        others = "other batch sizes and lengths" if lengths else "other batch sizes"
        lines.append(f"  Everything else reads the captured graph: `call` does not run again for {others},")
        lines.append("  nor for validation and predict.")
    elif captured:
        does = "does" if len(captured) == 1 else "do"
        lines.append(f"  Other batch sizes read the captured graph: {' and '.join(captured)} {does} not run again for them.")
    programs = list(ledger.programs)
    if programs:
        lines.append(("1 program was" if len(programs) == 1 else f"{len(programs)} programs were") + " compiled, without a run of `call`:")
    for number, program in _few(programs):
        lines.append(f"  … and {number} more." if program is None else f"  - {_program(program)}")
    return "\n".join(lines)


def _times(count: int, nested: dict[str, int], steps: bool) -> str:
    if not count:
        return "was not needed" if steps else "has not run by itself" if nested else "has not run yet"
    return "ran once" if count == 1 else f"ran {count:,} times"


def _what(run: Run) -> str:
    """What ran, where it is not ``call``."""
    return "" if run.of == "call" else f"`{run.of}` "


def _often(run: Run) -> str:
    return f", {run.count:,} times" if run.count > 1 else ""


def where(run: Run) -> str:
    """``In fit (train.py:41)``; of the user's own call ``At train.py:41``."""
    if run.place is None:
        return f"In {run.caller}"
    return f"At {run.place}" if str(run.place) == run.caller else f"In {run.caller} ({run.place})"


def _program(program: Program) -> str:
    form = "many steps in one dispatch" if program.loop else "one step a dispatch"
    size = "1 row" if program.batch_size == 1 else f"{program.batch_size} rows"
    size += "".join(f", {name.replace('_', ' ')} {value}" for name, value in program.lengths.items())
    kept = ", kept by an earlier run" if program.from_cache else ""
    return f"{program.purpose}, batches of {size} ({form}, {program.seconds:.2f} s{kept}): {program.reason}."


def milliseconds(seconds: float) -> str:
    """At most one digit behind the point, and none from ten on."""
    return f"{seconds * 1e3:,.0f}" if seconds >= 0.01 else f"{seconds * 1e3:.1f}"


def _few(items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """(number from 1, item); in place of the middle of a long list (their count, None)."""
    for number, item in enumerate(items, 1):
        if len(items) <= 2 * _SHOWN + 1 or number <= _SHOWN or number > len(items) - _SHOWN:
            yield number, item
        elif number == _SHOWN + 1:
            yield len(items) - 2 * _SHOWN, None


# ---- Tables ----

RUNS = ("#", "Run", "In", "Python, ms", "Inputs, and why")
PROGRAMS = ("Program", "Rows", "Lower, s", "Compile, s", "Why")
_NUMBERS = {"#", "Python, ms", "Rows", "Lower, s", "Compile, s"}


def run_rows(ledger: Ledger) -> list[tuple[str, ...]]:
    """The cells of a row for each run."""
    rows: list[tuple[str, ...]] = []
    for number, run in _few(list(ledger.runs)):
        if run is None:
            rows.append(("…", f"{number:,} more", "", "", ""))
            continue
        mode = "" if run.training is None else ", training" if run.training else ", not training"
        effects = f" ({len(run.effects)} side effect{'s' if len(run.effects) > 1 else ''})" if run.effects else ""
        kind = run.kind + (f" ×{run.count:,}" if run.count > 1 else "")
        place = "" if run.place is None or str(run.place) == run.caller else f"\n{run.place}"
        why = f"{run.signature}{mode}\n{_what(run)}{run.sentence}{effects}"
        rows.append((str(number), kind, run.caller + place, milliseconds(run.seconds), why))
    return rows


def program_rows(ledger: Ledger) -> list[tuple[str, ...]]:
    """The cells of a row for each program."""
    rows: list[tuple[str, ...]] = []
    for number, p in _few(list(ledger.programs)):
        if p is None:
            rows.append(("…", "", "", "", f"{number:,} more"))
        else:
            sizes = " x ".join(str(size) for size in (p.batch_size, *p.lengths.values()))
            compiling = f"{p.compiling:.2f}" + (" (kept)" if p.from_cache else "")
            rows.append((p.purpose, sizes, f"{p.tracing + p.lowering:.2f}", compiling, p.reason))
    return rows


def table(ledger: Ledger, width: int | None = None) -> str:
    """The ledger as tables for a terminal, as wide as that is."""
    # rich is imported when the first table is drawn: it would be a tenth of the time of `import pellucid`
    from rich import box
    from rich.console import Console
    from rich.table import Table

    out = io.StringIO()
    width = width or max(60, min(140, shutil.get_terminal_size((100, 24)).columns))
    console = Console(file=out, width=width, color_system=None, legacy_windows=False, emoji=False, markup=False, highlight=False)
    for title, columns, rows in _tables(ledger):
        drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            justify: Any = "right" if column in _NUMBERS else "left"
            drawn.add_column(column, justify=justify, overflow="fold", no_wrap=column in (*_NUMBERS, "Run", "Program"))
        for row in rows:
            drawn.add_row(*row)
        console.print(drawn)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def html(ledger: Ledger) -> str:
    """The ledger as tables for a page."""
    parts = []
    for title, columns, rows in _tables(ledger):
        head = "".join(f"<th>{escaping.escape(c)}</th>" for c in columns)
        cells = ["".join(f"<td>{escaping.escape(cell).replace(chr(10), '<br>')}</td>" for cell in row) for row in rows]
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        parts.append(f"<table><caption>{escaping.escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return "".join(parts)


def _tables(ledger: Ledger) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    yield (
        f"`call` of {ledger.name} {_times(ledger.call_count, ledger.nested, any(r.captured for r in ledger.runs))}",
        RUNS,
        run_rows(ledger),
    )
    if ledger.programs:
        yield "Programs", PROGRAMS, program_rows(ledger)
