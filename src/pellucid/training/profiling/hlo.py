"""Reads the text of a compiled program: its instructions, what each was made from, and the bytes that it moves."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator

CONTAINERS = frozenset(
    {"while", "conditional", "call", "async-start", "async-done"}
)  # run other instructions, which have times of their own
PRODUCTS = frozenset({"dot", "convolution"})
_IDLE = frozenset({"parameter", "constant", "tuple", "get-tuple-element", "bitcast"})  # compute nothing and are no events
_MOVES = frozenset({"broadcast", "reshape", "copy", "iota", "slice", "dynamic-slice", "transpose", "convert", "pad", "concatenate"})
_SLICES = frozenset({"dynamic-slice", "slice", "gather"})  # read as much as they give, however large what they read from

_MODULE = re.compile(r"^HloModule ([^,\s]+)")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_NAME = re.compile(r"%([\w.\-]+)")
_OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_CALLED = re.compile(r"(?:calls|to_apply|condition|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"(?:branch_computations|called_computations)=\{([^}]*)\}")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CONTRACTING = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")


@dataclasses.dataclass
class Instruction:
    """One line of the text.

    Attributes:
        name: unique in the module; events of a profile have it.
        opcode: such as "fusion" or "while".
        shape: type of the result, as text.
        operands: names of instructions.
        op_name: where it comes from, with the scopes that JAX was in; of an instruction that XLA made itself maybe empty.
        called: names of computations.
        text: of what follows the operands.
        root: whether it is the result of its computation.
    """

    name: str
    opcode: str
    shape: str
    operands: tuple[str, ...]
    op_name: str
    called: tuple[str, ...]
    text: str
    root: bool

    @property
    def idle(self) -> bool:
        """Whether it computes nothing."""
        return self.opcode in _IDLE


class Module:
    """A compiled program.

    Args:
        text: as ``compiled.as_text()`` gives it.

    Attributes:
        name: of the module.
        computations: the instructions of each computation, by name, in order.
        instructions: all of them, by name.

    Example:
        >>> from pellucid.training.profiling.hlo import Module
        >>> module = Module('''HloModule jit_f
        ... ENTRY %main (x: f32[2,3]) -> f32[2,3] {
        ...   %x = f32[2,3]{1,0} parameter(0)
        ...   ROOT %y = f32[2,3]{1,0} add(%x, %x), metadata={op_name="jit(f)/hidden/add"}
        ... }
        ... ''')
        >>> module.instructions["y"].op_name, module.bytes_of(module.instructions["y"])
        ('jit(f)/hidden/add', 48)
    """

    def __init__(self, text: str):
        found = _MODULE.match(text)
        self.name = found[1] if found else ""
        self.computations: dict[str, list[Instruction]] = {}
        self.instructions: dict[str, Instruction] = {}
        self.users: dict[str, list[Instruction]] = {}
        body: list[Instruction] | None = None
        for line in text.splitlines():
            if body is None:
                opened = _COMPUTATION.match(line)
                if opened and " = " not in line.split(" (", 1)[0]:
                    body = self.computations[opened[2]] = []
            elif line.startswith("}"):
                body = None
            elif instruction := _parsed(line):
                body.append(instruction)
                self.instructions[instruction.name] = instruction
                for name in dict.fromkeys(instruction.operands):
                    self.users.setdefault(name, []).append(instruction)

    def members(self, instruction: Instruction) -> Iterator[Instruction]:
        """What a fusion is made of, and nothing of any other instruction."""
        if instruction.opcode == "fusion":
            for name in instruction.called:
                for member in self.computations.get(name, ()):
                    yield from self.members(member) if member.opcode == "fusion" else (member,)

    def kind_of(self, instruction: Instruction) -> str:
        """The opcode; of a fusion that of the member which takes most operations."""
        return self.largest(instruction).opcode

    def largest(self, instruction: Instruction) -> Instruction:
        """The member of a fusion that takes most operations; any other instruction itself."""
        return max(self.members(instruction), key=self.operations, default=instruction)

    def operations(self, instruction: Instruction) -> float:
        """About how many operations an instruction is, to share the time of a fusion among what it is made of."""
        elements = 0 if instruction.idle else elements_of(instruction.shape)
        if instruction.opcode in PRODUCTS:
            return 2.0 * elements * self._contracted(instruction)
        if instruction.opcode.startswith(("reduce", "select-and-scatter", "scatter", "sort")):
            return max(elements, *(elements_of(self._shape(o)) for o in instruction.operands), 1)
        return 0.1 * elements if instruction.opcode in _MOVES else elements

    def _contracted(self, instruction: Instruction) -> float:
        """How many products make one element of the result."""
        if not instruction.operands:
            return 1.0
        if instruction.opcode == "convolution":  # of each output feature
            kernel = _sizes(self._shape(instruction.operands[-1]))
            return max(1.0, math.prod(kernel) / max(kernel, default=1))
        sizes, axes = _sizes(self._shape(instruction.operands[0])), _CONTRACTING.search(instruction.text)
        return math.prod(sizes[int(a)] for a in axes[1].split(",") if a and int(a) < len(sizes)) if axes else 1.0

    def _shape(self, name: str) -> str:
        return self.instructions[name].shape if name in self.instructions else ""

    def bytes_of(self, instruction: Instruction) -> int:
        """What an instruction reads and writes; of an array that is only sliced, or changed in one place, that part."""
        if instruction.idle or instruction.opcode in CONTAINERS:
            return 0
        size = bytes_of(instruction.shape)
        if instruction.opcode in _SLICES:
            return 2 * size
        if instruction.opcode == "dynamic-update-slice":
            return 2 * bytes_of(self._shape(instruction.operands[1]))
        members = list(self.members(instruction))
        if not members:
            return size + sum(bytes_of(self._shape(o)) for o in dict.fromkeys(instruction.operands))
        updates = [m for m in members if m.opcode == "dynamic-update-slice"]
        changed = {m.operands[0] for m in updates}
        for update in updates:  # in place
            size += bytes_of(self._shape(update.operands[1])) - bytes_of(update.shape)
        return max(size, 0) + sum(self._read(m) for m in members if m.opcode == "parameter" and m.name not in changed)

    def _read(self, parameter: Instruction) -> int:
        users = self.users.get(parameter.name, [])
        if users and all(u.opcode in _SLICES and u.operands[0] == parameter.name for u in users):
            return min(bytes_of(parameter.shape), sum(bytes_of(u.shape) for u in users))
        return bytes_of(parameter.shape)


def elements_of(shape: str) -> int:
    """The elements of a type such as ``f32[2,3]{1,0}``; of a tuple those of all its parts."""
    return sum(math.prod(sizes) for _, sizes in _arrays(shape))


def bytes_of(shape: str) -> int:
    """The bytes of a type."""
    return sum(_bits(kind) * math.prod(sizes) // 8 for kind, sizes in _arrays(shape))


def _arrays(shape: str) -> list[tuple[str, list[int]]]:
    return [(kind, [int(s) for s in sizes.split(",") if s]) for kind, sizes in _ARRAY.findall(shape)]


def _sizes(shape: str) -> list[int]:
    found = _arrays(shape)
    return found[0][1] if found else []


def _bits(kind: str) -> int:
    """Of a data type such as f32, bf16, f8e4m3fn, s4 or c64; a pred takes a byte, and a token none."""
    number = re.search(r"\d+", kind)
    return int(number[0]) if number else 0 if kind == "token" else 8


def _parsed(line: str) -> Instruction | None:
    head = _INSTRUCTION.match(line)
    if head is None:
        return None
    rest = line[head.end() :]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
    opcode = _OPCODE.match(rest, end)
    if opcode is None:
        return None
    close = _closing(rest, opcode.end() - 1)
    inside, text = rest[opcode.end() : close], rest[close + 1 :]
    named = _OP_NAME.search(text)
    called = [*_CALLED.findall(text), *(n for group in _BRANCHES.findall(text) for n in _NAME.findall(group))]
    operands = tuple(_NAME.findall(inside)) if opcode[1] != "constant" else ()
    return Instruction(
        head[2], opcode[1], rest[:end].strip(), operands, named[1] if named else "", tuple(dict.fromkeys(called)), text, bool(head[1])
    )


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at ``start`` is closed."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if not depth:
            return i
    return len(text)
