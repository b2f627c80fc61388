"""Operations: which equations one execution of an expression of the user's made, and what the user called it."""

from __future__ import annotations

import ast
import itertools
import linecache
import textwrap
from collections.abc import Callable
from typing import Any

from pellucid.core import jax_compat
from pellucid.core.equation import op_p
from pellucid.core.jax_compat import UserCall


class Turns:
    """Numbers the calls of the user's functions, and the turns of the loops in them, as equations pass by in their order.

    A function called from two places is two calls, and each turn of a loop around a call is another: an instruction that comes
    before the one that was seen last, in the same frame, can only be reached by a jump back.

    Args:
        backwards: whether equations pass by in the opposite order, as in the backward pass of a gradient.
    """

    def __init__(self, backwards: bool = False):
        self._backwards = backwards
        self._stack: list[tuple[Any, int, int]] = []  # code, instruction, number; from the outside in
        self._numbers = itertools.count()

    def at(self, frames: tuple[tuple[Any, int], ...]) -> tuple[int, ...]:
        """One number a frame: equal for two equations where, as far as their order tells, both are of one turn of one call."""
        stack = self._stack
        for level, (code, instruction) in enumerate(frames):
            if level == len(stack) or stack[level][0] is not code:
                stack[level:] = [(code, instruction, next(self._numbers))]
                continue
            _, last, number = stack[level]
            if instruction != last:
                again = instruction > last if self._backwards else instruction < last
                stack[level:] = [(code, instruction, next(self._numbers) if again else number)]
        del stack[len(frames) :]
        return tuple(number for _, _, number in stack)


class Operation:
    """One execution of an expression of the user's: its node, and the equations that it has so far.

    Args:
        node: that stands for it.
        expression: as syntax, where the source is there.
        number: of its first equation.
    """

    def __init__(self, node: Any, expression: ast.AST | None, number: int):
        self.node, self.number = node, number
        self._tracebacks: dict[Any, Any] = {}  # the first of each that is equal
        self._library: tuple[tuple[Any, int], ...] = ()
        self._adds_often = isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and expression.func.id == "sum"
        self._once = _ARITHMETIC.get(node.kind) if isinstance(expression, ast.BinOp | ast.AugAssign) else None
        self._done = False

    def add(self, eqn: Any, call: UserCall | None) -> None:
        """Takes an equation in."""
        traceback = jax_compat.traceback_of(eqn)
        self._tracebacks.setdefault(traceback, traceback)
        self._library = () if call is None else call.library
        self._done |= eqn.primitive.name == self._once

    def goes_on(self, eqn: Any, call: UserCall, loops: Callable[[], bool]) -> bool:
        """Whether an equation, of the same instruction in the same turn of the user's loops, is of the same execution.

        The instruction alone does not tell where it is all that a loop of the user's does: each turn of it looks like the last.

        Args:
            eqn: the next equation of that instruction.
            call: what of the user's made it.
            loops: whether an equation like one before it is due to a loop inside the function that was called.
        """
        if self._done and eqn.primitive.name == self._once:
            return False  # an operator's second result: the first turn of ``total = total + x`` may add an array to a number
        traceback = jax_compat.traceback_of(eqn)
        known = self._tracebacks.get(traceback, traceback)
        if known is traceback and known in self._tracebacks:
            return True
        if self._adds_often:  # the builtin adds from one place; only its first addition tells a new sum
            return known is traceback or known is not next(iter(self._tracebacks))
        if _entered_again(self._library, call.library):
            return False
        return known is traceback or loops()

    def is_new(self, eqn: Any) -> bool:
        """Whether no equation of this execution was made by the same calls as the given one."""
        return jax_compat.traceback_of(eqn) not in self._tracebacks


def _entered_again(before: tuple[tuple[Any, int], ...], now: tuple[tuple[Any, int], ...]) -> bool:
    """Whether the user's instruction has surely called into the library anew, from the frames that two equations were made in.

    A call goes forwards, but for loops: there it may come to the same instructions again.
    """
    for level, ((code, last), (other, instruction)) in enumerate(zip(before, now, strict=False)):
        if code is not other:
            return True
        if instruction > last or jax_compat.is_in_loop(code, instruction):
            return False
        if instruction < last:
            return all(c.co_name in _WRAPPERS for c, _ in now[:level])  # elsewhere a function in C may have called it again
    return True


_WRAPPERS = {"wrapped", "kept", "reraise_with_filtered_traceback"}  # ours and JAX's: each calls one function, once


_ARITHMETIC = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}

_OPERATORS: dict[type, str] = {
    **{ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.MatMult: "matmul", ast.Pow: "power"},
    **{ast.FloorDiv: "floor_divide", ast.Mod: "remainder", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"},
    **{ast.USub: "negative", ast.Invert: "invert", ast.Not: "not", ast.Eq: "equal", ast.NotEq: "not_equal"},
    **{ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal"},
}


REMAT = ("checkpoint", "remat", "remat2")  # its primitive in the versions of JAX


def operation_name(eqn: Any, call: jax_compat.UserCall | None, expression: ast.AST | None) -> str:
    """The function or operator that the user wrote; where that cannot be found, the equation's own name."""
    if isinstance(expression, ast.BinOp | ast.UnaryOp | ast.AugAssign):
        return _OPERATORS.get(type(expression.op), "operation")
    if isinstance(expression, ast.Compare):
        return _OPERATORS.get(type(expression.ops[0]), "compare")
    if isinstance(expression, ast.Subscript):
        return "getitem"
    if call is not None and call.function is not None:
        return call.function.split(".")[-1].strip("_")  # without the class, and `iter` where an array is unpacked
    if isinstance(expression, ast.Call):
        named = expression.func
        if isinstance(named, ast.Attribute | ast.Name):
            return named.attr if isinstance(named, ast.Attribute) else named.id
    if isinstance(expression, ast.Attribute):
        return expression.attr
    if eqn.primitive.name in REMAT:  # `remat(f)(x)` calls no function by a name
        return "remat"
    if eqn.primitive is op_p:
        return eqn.params["call"].name
    name = eqn.params.get("name") if eqn.primitive.name in ("jit", "pjit") else None
    return str(name or eqn.primitive.name).strip("_")


def expression_of(call: jax_compat.UserCall) -> ast.AST | None:
    """The user's expression, as syntax, from its columns in the source."""
    first, start, last, end = call.columns
    lines = [linecache.getline(call.place.file, n) for n in range(first, last + 1)]
    if not all(lines) or last < first:
        return None
    encoded = [line.encode() for line in lines]  # columns count bytes
    encoded[-1] = encoded[-1][:end]
    encoded[0] = encoded[0][start:]
    text = textwrap.dedent(b"".join(encoded).decode(errors="replace")).strip()
    try:
        (statement,) = ast.parse(f"({text}\n)").body
    except SyntaxError:
        try:
            (statement,) = ast.parse(text).body
        except (SyntaxError, ValueError):
            return None
    except ValueError:
        return None
    return statement.value if isinstance(statement, ast.Expr) else statement
