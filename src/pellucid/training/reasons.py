"""Why a program is compiled, in words: the first difference from the last one with the same purpose; what couples rows."""

from __future__ import annotations

import dataclasses

from pellucid.core.jax_compat import is_library_file
from pellucid.graph.graph import Graph
from pellucid.graph.nodes import owner_of
from pellucid.graph.rows import Coupling
from pellucid.training.programs import Form


@dataclasses.dataclass(frozen=True)
class Made:
    """What a program was made from. Graphs, settings and the like are told apart by numbers, and not kept alive."""

    form: Form
    settings: int
    graph: int
    shapes: tuple
    constants: int
    variables: tuple[str, ...]
    lengths: tuple[tuple[str, int], ...] = ()


def why(before: Made | None, now: Made, run: str | None) -> str:
    """What has changed since a program with the same purpose was made; empty where none was.

    Args:
        before: the last program with the same purpose.
        now: the one to be compiled.
        run: that the graph came from, as in the ledger's story.
    """
    if before is None:
        return ""
    if before.settings != now.settings:
        return "`compile` was called again"
    if before.graph != now.graph:
        return "it computes another graph" + (f", that of {run}" if run else "")
    old, new = before.form, now.form
    if old.batch_size != new.batch_size:
        return f"batches have {_rows(new.batch_size)}, before {old.batch_size}"
    if before.lengths != now.lengths:
        was = dict(before.lengths)
        return " and ".join(f"{name.replace('_', ' ')} is {n}, before {was.get(name)}" for name, n in now.lengths if was.get(name) != n)
    if before.shapes != now.shapes:
        return "targets or sample weights have other shapes or data types"
    if before.constants != now.constants:
        return "a number or setting that losses, metrics or the optimizer hold has changed"
    if before.variables != now.variables:
        return _trained(set(before.variables), set(now.variables))
    if (old.loop, old.written_out) != (new.loop, new.written_out):
        return f"a dispatch is {'many steps' if new.loop else 'one step' if new.written_out == 1 else f'{new.written_out} steps'} now"
    if old.masked != new.masked:
        return f"the last batch is {'smaller' if new.masked else 'as large as the others'} now"
    if old.capacity != new.capacity:
        return f"blocks have {new.capacity} batches, before {old.capacity}"
    return "losses, metrics and optimizer state were made anew"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _trained(before: set[str], now: set[str]) -> str:
    frozen, thawed = sorted(before - now), sorted(now - before)
    told = [f"{_few(paths)} {verb}" for paths, verb in ((frozen, "no longer trained"), (thawed, "trained, too")) if paths]
    return " and ".join(told) or "the trained weights come in another order"


def _few(paths: list[str]) -> str:
    shown = ", ".join(repr(p) for p in paths[:2])
    return f"{shown} and {len(paths) - 2} more are" if len(paths) > 2 else f"{shown} {'is' if len(paths) == 1 else 'are'}"


def coupled(graph: Graph, coupling: Coupling) -> str:
    """``BatchNormalization 'norm' couples rows (model.py:18)``; of the user's own operations what couples them."""
    calls = {n.path: n for n in graph.calls}
    node = calls.get(owner_of(coupling.scope, calls) or "")
    at = coupling.place if coupling.place is not None and not is_library_file(coupling.place.file) else node and node.source
    if node is None or type(node.layer).__module__.split(".")[0] != "pellucid":
        inside = f" in {node.kind} {node.path!r}" if node is not None else ""
        return f"{coupling.why}{inside}{f' ({at})' if at else ''}"
    return f"{node.kind} {node.path!r} couples rows{f' ({at})' if at else ''}"
