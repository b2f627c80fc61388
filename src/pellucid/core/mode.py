"""``training``: a plain bool in eager code, a flag during a capture, so that one capture serves both values."""

from __future__ import annotations

import dis
import functools
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import frame, jax_compat, operators

mode_p = jax_compat.Primitive("mode")  # no inputs: a traced boolean would be lost to sight inside scan, remat and jit
mode_p.def_abstract_eval(lambda: jax.core.ShapedArray((), jnp.bool_))


class TrainingFlag:
    """What ``training`` is during a capture. Layers hand it on; ``by_training`` records both branches.

    A Python ``if`` on it is answered with the mode that is needed now, and told to ``on_branch``: the capture is then good
    for that mode only. In arithmetic and in ``jnp.where`` the flag is an array.

    Args:
        now: the mode.
        on_branch: is told of the Python frame, or the line, that asked.
        asks: the line, if any, of code that can be reached and that tells a bool from other objects.
    """

    def __init__(self, now: bool, on_branch: Callable[[Any], None], asks: Callable[[], jax_compat.Place | None] = lambda: None):
        self.now, self.on_branch, self._asks = now, on_branch, asks

    def given_to(self, call: types.CodeType) -> Any:
        """What a ``call`` gets: a bool where it tells one from other objects, or code does that it may hand the flag on to."""
        place = None if jax_compat.is_library_file(call.co_filename) else tells_a_bool(call) or self._asks()
        if place is None:
            return self
        self.on_branch(place)
        return self.now

    def branch(self) -> bool:
        self.on_branch(sys._getframe(2))  # the frame that asked: a branch in the user's code
        return self.now

    def __bool__(self) -> bool:
        return self.branch()

    def __int__(self) -> int:
        return int(self.branch())

    def __index__(self) -> int:
        return int(self.branch())

    def __float__(self) -> float:
        return float(self.branch())

    def __eq__(self, other: object) -> bool:
        return self.branch() == other

    def __hash__(self) -> int:
        return hash(self.branch())

    def __repr__(self) -> str:
        return "<training: either, chosen when the graph is instantiated>"

    @property
    def value(self) -> Any:
        return mode_p.bind()

    def __jax_array__(self) -> Any:
        return self.value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(jax.Array, name):
            raise AttributeError(name)
        return getattr(self.value, name)


def _compute(name: str, *operands: Any) -> Any:
    """Operators act on the array; a sign makes a number of it."""
    values = [o.value if isinstance(o, TrainingFlag) else o for o in operands]
    if name in ("neg", "pos", "abs"):
        values = [v.astype("int32") for v in values]
    return operators.FUNCTIONS[name](*values)


operators.install(TrainingFlag, _compute)
jax_compat.register_array_type(TrainingFlag, lambda flag: flag.value, lambda flag: ((), jnp.dtype(bool)))


def by_training(training: Any, if_training: Callable, if_not: Callable, *operands: Any) -> Any:
    """Applies one of two functions. In a capture both are recorded, and instantiating the graph keeps the right one."""
    if isinstance(training, TrainingFlag):
        return frame.choose(mode_p.bind(), if_training, if_not, *operands)
    if jax_compat.is_tracer(training):
        return frame.choose(training, if_training, if_not, *operands)
    return (if_training if training else if_not)(*operands)


# What instructions are, as letters: an expression is then a pattern.
_LETTERS = (
    ("L", ("LOAD_FAST", "LOAD_DEREF", "STORE_FAST_LOAD", "COPY")),  # a local variable, or the subject of a `match`
    ("S", ("IS_OP",)),
    ("C", ("CALL",)),
    ("g", ("LOAD_GLOBAL",)),
    ("a", ("LOAD_ATTR",)),
)
_GLOBALS = {"isinstance": "I", "type": "T", "bool": "b"}
_SILENT = ("CACHE", "EXTENDED_ARG", "NOP", "PUSH_NULL", "PRECALL")
_TELLS_A_BOOL = re.compile(
    "LBS|BLS|IL(ga*)*b|TLC(ga*)*b|bTLC"
)  # v is True, True is v, isinstance(v, bool), type(v) is bool, bool is type(v)


def _letter(instruction: dis.Instruction) -> str:
    if instruction.opname == "LOAD_CONST" and isinstance(instruction.argval, bool):
        return "B"
    if instruction.opname == "LOAD_GLOBAL" and instruction.argval in _GLOBALS:
        return _GLOBALS[instruction.argval]
    return next((letter for letter, names in _LETTERS if instruction.opname.startswith(names)), ".")


@functools.lru_cache(maxsize=4096)
def tells_a_bool(code: types.CodeType) -> jax_compat.Place | None:
    """The line where code tests a local variable by ``is True``, ``isinstance(…, bool)`` or the like: no object can pass for a bool."""
    instructions = [i for i in dis.get_instructions(code) if i.opname not in _SILENT]
    found = _TELLS_A_BOOL.search("".join(map(_letter, instructions)))
    if found is not None:
        positions = instructions[found.start()].positions
        return jax_compat.Place(code.co_filename, (positions and positions.lineno) or code.co_firstlineno, code.co_name)
    inner = (tells_a_bool(c) for c in code.co_consts if isinstance(c, types.CodeType))  # a comprehension or a nested function
    return next((place for place in inner if place is not None), None)
