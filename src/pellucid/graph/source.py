"""The user's source at the line that is running: what kind of expression asks."""

from __future__ import annotations

import ast
import dis
import functools
import linecache
from typing import Any

_SHOWS = {"print", "debug", "info", "warning", "warn", "error", "exception", "critical", "log"}


def is_call(frame: Any) -> bool:
    """Whether a frame is in the middle of a call of a function in C, not of an operator."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("CALL", "PRECALL"))


def is_shown(frame: Any) -> bool:
    """Whether the expression that a frame evaluates goes into a print, a log or the message of an error, as far as its source tells."""
    around = _around(frame)
    for node, inner in zip(around, around[1:] + [None], strict=True):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            if name in _SHOWS:
                return True
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Assert) and inner is not None and inner is node.msg):
            return True
    return False


def may_write(frame: Any) -> bool:
    """Whether a call of ``open`` that a frame makes opens for writing, as far as its source tells."""
    calls = [node for node in _around(frame) if isinstance(node, ast.Call)]
    if not calls:
        return True
    modes = [k.value for k in calls[-1].keywords if k.arg == "mode"] or calls[-1].args[1:2]
    return any(not isinstance(m, ast.Constant) or not isinstance(m.value, str) or bool(set("wax+") & set(m.value)) for m in modes)


def _around(frame: Any) -> list[Any]:
    """The statements and expressions around the running instruction, from the outermost in; none where there is no source."""
    first, last, start, end = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    tree = _tree(frame.f_code.co_filename, len(linecache.getlines(frame.f_code.co_filename)))
    if tree is None or None in (first, last, start, end):
        return []
    found: list[Any] = []
    inside: Any = tree
    while inside is not None:
        inside = next(
            (
                n
                for n in _children(inside)
                if (n.lineno, n.col_offset) <= (first, start) and (last, end) <= (n.end_lineno, n.end_col_offset)
            ),
            None,
        )
        found += [inside] if inside is not None else []
    return found


def _children(node: Any) -> Any:
    """Statements and expressions directly below a node; what has no place of its own is looked through."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.expr):
            yield from getattr(child, "decorator_list", ())  # they come before the line of the `def`
            yield child
        else:
            yield from _children(child)


@functools.lru_cache(maxsize=16)
def _tree(file: str, lines: int) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return None
