"""Python's operators, for classes whose objects stand for arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

BINARY: dict[str, Callable] = {  # those that have a reflected form, such as __radd__
    **{"add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv, "floordiv": operator.floordiv},
    **{"mod": operator.mod, "divmod": divmod, "pow": operator.pow, "matmul": operator.matmul},
    **{"and": operator.and_, "or": operator.or_, "xor": operator.xor, "lshift": operator.lshift, "rshift": operator.rshift},
}
COMPARISONS: dict[str, Callable] = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}
UNARY: dict[str, Callable] = {"neg": operator.neg, "pos": operator.pos, "abs": operator.abs, "invert": operator.invert}
FUNCTIONS = {**BINARY, **COMPARISONS, **UNARY}
METHODS = [*(f"__{name}__" for name in FUNCTIONS), *(f"__r{name}__" for name in BINARY)]


def install(cls: type, apply: Callable[..., Any], names: Iterable[str] = FUNCTIONS) -> None:
    """Gives a class operators, reflected ones too. ``==`` is not among them: objects that are keys compare by identity.

    Args:
        cls: the class.
        apply: ``apply(name, *operands)`` computes; an object of the class is among the operands, which are in the order of the source.
        names: as in ``FUNCTIONS``, or "eq" and "ne".
    """
    for name in names:
        if name in UNARY:
            setattr(cls, f"__{name}__", lambda self, name=name: apply(name, self))
        else:
            setattr(cls, f"__{name}__", lambda self, other, name=name: apply(name, self, other))
        if name in BINARY:
            setattr(cls, f"__r{name}__", lambda self, other, name=name: apply(name, other, self))
