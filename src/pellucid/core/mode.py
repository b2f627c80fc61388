"""``training``: a plain bool in eager code, a flag during a capture, so that one capture serves both values."""

from __future__ import annotations

import dis
import functools
import itertools
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import frame, jax_compat

mode_p = jax_compat.Primitive("mode")  # no inputs: a traced boolean would be lost to sight inside scan, remat and jit
mode_p.def_abstract_eval(lambda: jax.core.ShapedArray((), jnp.bool_))


class TrainingFlag:
    """What ``training`` is during a capture. Layers hand it on; ``by_training`` records both branches.

    A Python ``if`` on it is answered with the mode that is needed now, and told to ``on_branch``: the capture is then good
    for that mode only. In arithmetic and in ``jnp.where`` the flag is an array.
    """

    def __init__(self, now: bool, on_branch: Callable[[Any], None]):
        self.now, self.on_branch = now, on_branch

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


def _operators() -> None:
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor"):
        setattr(TrainingFlag, f"__{name}__", lambda self, other, op=f"__{name}__": getattr(self.value, op)(other))
        setattr(TrainingFlag, f"__r{name}__", lambda self, other, op=f"__r{name}__": getattr(self.value, op)(other))
    for name in ("lt", "le", "gt", "ge"):
        setattr(TrainingFlag, f"__{name}__", lambda self, other, op=f"__{name}__": getattr(self.value, op)(other))
    setattr(TrainingFlag, "__invert__", lambda self: ~self.value)  # noqa: B010
    setattr(TrainingFlag, "__neg__", lambda self: -self.value.astype("int32"))  # noqa: B010


_operators()
jax_compat.register_array_type(TrainingFlag, lambda flag: flag.value, lambda flag: ((), jnp.dtype(bool)))


def by_training(training: Any, if_training: Callable, if_not: Callable, *operands: Any) -> Any:
    """Applies one of two functions. In a capture both are recorded, and instantiating the graph keeps the right one."""
    if isinstance(training, TrainingFlag):
        return frame.choose(mode_p.bind(), if_training, if_not, *operands)
    if jax_compat.is_tracer(training):
        return frame.choose(training, if_training, if_not, *operands)
    return (if_training if training else if_not)(*operands)


@functools.cache
def needs_plain_bool(code: types.CodeType, owner: Any = None, depth: int = 3) -> bool:
    """Whether code tests ``is True``, ``is False`` or ``isinstance(…, bool)``, which no object can answer for a bool.

    Methods of ``owner`` that the code names are searched as well: it may hand the flag on to them.
    """
    instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")]
    for before, now in itertools.pairwise(instructions):
        if now.opname == "IS_OP" and isinstance(before.argval, bool) and before.opname in ("LOAD_CONST", "LOAD_COMMON_CONSTANT"):
            return True
    if any(needs_plain_bool(inner, owner, depth) for inner in code.co_consts if isinstance(inner, types.CodeType)):
        return True  # a comprehension or a nested function
    methods = [getattr(owner, name, None) for name in code.co_names] if owner is not None and depth else []
    own = [m.__code__ for m in methods if isinstance(m, types.FunctionType) and not jax_compat.is_library_file(m.__code__.co_filename)]
    if any(needs_plain_bool(method, owner, depth - 1) for method in own):
        return True
    return {"isinstance", "bool"} <= set(code.co_names)
