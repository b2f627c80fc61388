"""From XLA's instructions back to the parts of a step: layers, loss, optimizer, metrics, data.

JAX writes the named scopes that an operation was made in into the instruction (``op_name``): a layer's path, ``loss:mse``,
``optimizer:adam``; what belongs to the gradient is marked ``transpose(jvp(…))``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from pellucid.training.profiling.hlo import PRODUCTS, Instruction, Module

FORWARD, GRADIENT = "forward", "gradient"
OPERATIONS = "operations of call"  # between layers, at the model's own level
OTHER = "other"
# The first word of a scope of ours, and the part that it belongs to.
PARTS = {
    "loss": "loss",
    "regularizer": "loss",
    "optimizer": "optimizer",
    "metric": "metrics",
    "check": "check of finite values",
    "data": "data",
}
_OURS = re.compile(rf"^({'|'.join(PARTS)}):")
_WRAPPER = re.compile(r"^(\w+)\((.*)\)$")
_FAR = 4  # steps to the next instruction that has a scope


class Label(NamedTuple):
    """A part of a step (path of a layer, or one of ``PARTS``, ``OPERATIONS``, ``OTHER``), and whether it is forward or gradient."""

    part: str
    phase: str


class Scopes:
    """Finds the part that a scope belongs to.

    Args:
        paths: of the layer calls of the model.
        layered: whether what has no scope comes from ``call`` wherever it is not marked otherwise, as in a program that predicts.

    Example:
        >>> from pellucid.training.profiling.scopes import Scopes
        >>> scopes = Scopes(["block", "block/dense"])
        >>> scopes.label("jit(step)/transpose(jvp(block))/dense/dot_general")
        Label(part='block/dense', phase='gradient')
        >>> scopes.label("jit(step)/optimizer:adam/mul").part
        'optimizer'
    """

    def __init__(self, paths: Iterable[str], layered: bool = False):
        self._paths = set(paths)
        self._begins = {path[:i] for path in self._paths for i in range(len(path) + 1) if path[i : i + 1] in ("/", "")}
        self._layered = layered

    def label(self, op_name: str) -> Label | None:
        """The part of an instruction with such a name, or None where it does not say."""
        if "/" not in op_name:  # a parameter, or nothing
            return None
        steps = _scopes(op_name)
        phase = GRADIENT if "transpose(" in op_name else FORWARD
        for step in steps:
            if ours := _OURS.match(step):
                return Label(PARTS[ours[1]], phase)
        path = ""
        for step in steps:
            longer = f"{path}/{step}".lstrip("/")
            path = longer if longer in self._begins else path
        while path and path not in self._paths:
            path = path.rpartition("/")[0]
        if path:
            return Label(path, phase)
        return Label(OPERATIONS, phase) if self._layered or "jvp(" in op_name else Label(OTHER, FORWARD)

    def shares(self, module: Module, instruction: Instruction) -> dict[Label, float]:
        """The parts that an instruction belongs to, with their shares of it, which are 1 in all.

        A fusion is shared by what it is made of, in proportion to the operations; where it belongs to the gradient of a layer, what
        it computes of the forward pass once more is part of the gradient. What has no scope, such as a copy that XLA puts in,
        belongs to what uses it, else to what it is made from.
        """
        found = self._known(module, instruction, _FAR)
        at, seen = [instruction], {instruction.name}
        for _ in range(_FAR if not found else 0):
            at = [one for user in at for one in _operands(module, user) if one.name not in seen]
            seen.update(one.name for one in at)
            found = _normal(_added(self._own(module, one) for one in at))
            if found:
                break
        return found or {Label(OTHER, FORWARD): 1.0}

    def _known(self, module: Module, instruction: Instruction, far: int) -> dict[Label, float]:
        """By the scopes of an instruction, or of those that use it."""
        found = self._own(module, instruction)
        if found or not far:
            return found
        found = _added(self._known(module, user, far - 1) for user in module.users.get(instruction.name, []))
        if module.kind_of(instruction) in PRODUCTS:  # XLA lost the name of a layer's product: what it is used for may be the optimizer
            of_layers = [found, _added(self._own(module, one) for one in _operands(module, instruction))]
            layers = [{label: s for label, s in some.items() if label.part in self._paths} for some in of_layers]
            found = layers[0] or layers[1] or found
        return _normal(found)

    def _own(self, module: Module, instruction: Instruction) -> dict[Label, float]:
        found: dict[Label, float] = {}
        for member in module.members(instruction):
            label = None if member.idle else self.label(member.op_name)
            if label is not None:
                found[label] = found.get(label, 0.0) + max(module.operations(member), 1e-3)
        found = {label: work for label, work in found.items() if label.part != OTHER} or found
        label = None if found or instruction.idle else self.label(instruction.op_name)
        if label is not None:
            found = {label: 1.0}
        if any(label.phase == GRADIENT and label.part in self._paths for label in found):
            again = lambda label: label.part in self._paths or label.part == OPERATIONS
            found = _added({Label(label.part, GRADIENT) if again(label) else label: work} for label, work in found.items())
        return _normal(found)


def _operands(module: Module, instruction: Instruction) -> list[Instruction]:
    return [module.instructions[o] for o in instruction.operands if o in module.instructions]


def _added(shares: Iterable[dict[Label, float]]) -> dict[Label, float]:
    total: dict[Label, float] = {}
    for some in shares:
        for label, share in some.items():
            total[label] = total.get(label, 0.0) + share
    return total


def _normal(shares: dict[Label, float]) -> dict[Label, float]:
    total = sum(shares.values())
    return {label: share / total for label, share in shares.items()}


def _scopes(op_name: str) -> list[str]:
    """The scopes, without the operation at the end and JAX's own words: of ``jit(f)/transpose(jvp(a/b))/add`` ``a`` and ``b``."""
    *scopes, last = _parts(op_name)
    return [step for part in (*scopes, *([last] if _WRAPPER.match(last) else [])) for step in _unwrapped(part)]


def _unwrapped(part: str) -> list[str]:
    wrapped = _WRAPPER.match(part)
    if wrapped is None:
        return [part] if part else []
    return [] if wrapped[1] in ("jit", "pjit") else [step for inner in _parts(wrapped[2]) for step in _unwrapped(inner)]


def _parts(op_name: str) -> list[str]:
    """Parted at the slashes outside of parentheses."""
    found, depth = [""], 0
    for character in op_name:
        depth += (character == "(") - (character == ")")
        if character == "/" and not depth:
            found.append("")
        else:
            found[-1] += character
    return found
