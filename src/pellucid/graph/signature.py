"""Signatures: structure, shapes and types of inputs, which sizes of them are open, and which graphs serve them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Container, Hashable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pellucid.core import jax_compat
from pellucid.core.jax_compat import Place
from pellucid.graph.rows import BATCH

LENGTH = "length"  # an open size in another axis than the first; further ones are length_2, length_3 …
Axis = tuple[int, int]  # of an array among the inputs: (its number, axis)


class Open(int):
    """A size that is open, in the shape of a ``ShapeDtypeStruct``: the present number.

    Attributes:
        key: equal ones are the same size, such as a size of the capture around; None where equal numbers are.

    Example:
        >>> from pellucid.graph.signature import Open
        >>> Open(10), Open(10) == 10
        (10, True)
    """

    key: Hashable = None

    def __new__(cls, value: int, key: Hashable = None) -> Open:
        size = super().__new__(cls, value)
        size.key = key
        return size


def identity(size: Any) -> Any:
    """What is equal for sizes that are the same."""
    key = getattr(size, "key", None)
    return size if key is None else key


class Value(NamedTuple):
    """An input that is no array, told from equal ones of another type: 1, 1.0 and True differ, 0.0 and -0.0 too."""

    value: Any
    type: type
    text: str

    def __repr__(self) -> str:
        return repr(self.value)


@dataclasses.dataclass(frozen=True)
class Signature:
    """Structure, shapes and types of inputs: a graph made for one serves all inputs that have it.

    ``leaves`` holds ``(shape, dtype)`` for each array, with None for the batch and names (``"length"``) for other open sizes, and
    ``("value", Value)`` for anything else. Equal sizes have one name. Of inputs that are at hand all other sizes are numbers.
    """

    tree: Any
    leaves: tuple
    batch_size: int | None = None  # only where the graph holds for this size alone

    @functools.cached_property
    def lengths(self) -> tuple[str, ...]:
        """The names of the open sizes, the batch apart."""
        return tuple(dict.fromkeys(d for shape, _ in self.leaves if shape != "value" for d in shape if isinstance(d, str)))

    @functools.cached_property
    def kind(self) -> tuple:
        """What inputs that differ in sizes alone have in common."""
        return self.tree, tuple((shape, dtype) if shape == "value" else (len(shape), dtype) for shape, dtype in self.leaves)

    @property
    def is_open(self) -> bool:
        """Whether a size is open by itself."""
        return any(isinstance(d, Open) for shape, _ in self.leaves for d in shape)

    @property
    def ranks(self) -> tuple:
        """The same without the data types."""
        return self.tree, tuple(None if shape == "value" else len(shape) for shape, _ in self.leaves)

    @property
    def open_axes(self) -> set[Axis]:
        """Where names are."""
        arrays = ((i, shape) for i, (shape, _) in enumerate(self.leaves) if shape != "value")
        return {(i, axis) for i, shape in arrays for axis, size in enumerate(shape) if isinstance(size, str)}

    def sizes_in(self, given: Signature) -> dict[str, int] | None:
        """The value of each open size, the batch apart, in inputs of a signature; None where they do not fit this one."""
        if self.tree != given.tree:
            return None
        if not self.lengths:
            return {} if self.leaves == given.leaves and not given.is_open else None
        found: dict[str, Any] = {}
        for (mine, kind), (its, dtype) in zip(self.leaves, given.leaves, strict=True):
            if kind != dtype or "value" in (mine, its) or len(mine) != len(its):
                if (mine, kind) != (its, dtype):
                    return None
                continue
            for size, present in zip(mine, its, strict=True):
                if isinstance(size, str) and present is not None:
                    if identity(found.setdefault(size, present)) != identity(present):
                        return None
                elif size != present or isinstance(present, Open):
                    return None
        return found

    def opened(self, axes: Container[Axis], declared: Container[Axis] = ()) -> Signature:
        """The signature with names in place of some sizes, and of those that are open by themselves.

        Args:
            axes: where equal sizes are the same.
            declared: where they are only if they are in the same axis of several arrays: that of an image is not square for ever.
        """
        names: dict[Any, str] = {}
        numbers = itertools.count(1)

        def name(size: Any, at: Axis) -> str:
            known = ("axis", at[1], size) if at in declared and not isinstance(size, Open) else identity(size)
            if known not in names:
                number = next(numbers)
                names[known] = LENGTH if number == 1 else f"{LENGTH}_{number}"
            return names[known]

        def is_open(size: Any, at: Axis) -> bool:
            return isinstance(size, Open) or at in axes or at in declared

        leaves = tuple(
            (shape, dtype)
            if shape == "value"
            else (tuple(name(d, (i, a)) if is_open(d, (i, a)) else d for a, d in enumerate(shape)), dtype)
            for i, (shape, dtype) in enumerate(self.leaves)
        )
        return dataclasses.replace(self, leaves=leaves)

    def fixed(self, names: Container[str], sizes: dict[str, int]) -> Signature:
        """The signature with numbers in place of some names; ``BATCH`` among them fixes the batch."""
        leaves = tuple(
            (shape, dtype) if shape == "value" else (tuple(sizes[d] if isinstance(d, str) and d in names else d for d in shape), dtype)
            for shape, dtype in self.leaves
        )
        return dataclasses.replace(self, leaves=leaves, batch_size=sizes[BATCH] if BATCH in names else self.batch_size)

    @property
    def shapes(self) -> list[Any]:
        """What it shows of each input: the shape, with None for every open size, or "value"."""
        return [shape if shape == "value" else tuple(None if isinstance(d, str) else d for d in shape) for shape, _ in self.leaves]

    def __str__(self) -> str:
        texts = [repr(x) if s == "value" else f"{s} {x}" for s, (_, x) in zip(self.shapes, self.leaves, strict=True)]
        return str(jax.tree.unflatten(self.tree, [_Text(t) for t in texts]))


class _Text(str):
    def __repr__(self) -> str:
        return str(self)


def signature_of(inputs: Any, batch_size: int | None) -> Signature:
    """The signature of inputs: a first axis of the batch's size is the batch, one of another size is what it is."""
    leaves, tree = jax.tree.flatten(inputs, is_leaf=is_none)
    return Signature(tree, tuple(_leaf(x, batch_size) for x in leaves))


def _leaf(x: Any, batch_size: int | None) -> tuple:
    if not hasattr(x, "shape"):
        return "value", Value(x, type(x), str(x) if isinstance(x, float | complex) else "")
    shape = tuple(x.shape)
    is_batch = bool(shape) and (batch_size is None or (shape[0] == batch_size and identity(shape[0]) == identity(batch_size)))
    return ((None, *shape[1:]) if is_batch else shape), jnp.dtype(x.dtype).name


def is_none(leaf: Any) -> bool:
    """None counts as an input: it is part of the signature."""
    return leaf is None


def axes_of_lengths(before: Signature, now: Signature, features: Container[int]) -> frozenset[Axis]:
    """The axes, after the first, in which two signatures of one kind have different sizes: those of lengths, not of features.

    In inputs of floating-point numbers a last axis that alone is another one is taken for one of features, where there are no more
    axes, or where a weight has that size. A mask has the lengths of what it is for.
    """
    changed = {}
    features_alone = set()
    for i, ((old, dtype), (new, _)) in enumerate(zip(before.leaves, now.leaves, strict=True)):
        axes = [] if old == "value" else [a for a in range(1, len(new)) if old[a] != new[a]]
        changed.update({(i, a): (old[a], new[a]) for a in axes})
        last = len(new) - 1
        if axes == [last] and jnp.issubdtype(dtype, jnp.floating) and (last == 1 or old[-1] in features):
            features_alone.add((i, last))
    lengths = {sizes for axis, sizes in changed.items() if axis not in features_alone}
    return frozenset(axis for axis, sizes in changed.items() if sizes in lengths)


def arrays_of(inputs: Any, signature: Signature) -> Iterator[tuple[Any, tuple]]:
    """(array, shape in the signature) for each array among inputs."""
    for leaf, (shape, _) in zip(jax.tree.leaves(inputs, is_leaf=is_none), signature.leaves, strict=True):
        if shape != "value":
            yield leaf, shape


def sizes_of(inputs: Any, signature: Signature) -> dict[str, Any]:
    """The value of each open size, the batch among them, in inputs that fit the signature."""
    sizes: dict[str, Any] = {}
    for leaf, shape in arrays_of(inputs, signature):
        for size, present in zip(shape, leaf.shape, strict=True):
            if size is None or isinstance(size, str):
                sizes.setdefault(BATCH if size is None else size, present)
    return sizes


@dataclasses.dataclass(frozen=True)
class SizeGuard:
    """A question that ``call`` asked about a size, and the answer that the graph is good for."""

    size: Any
    operator: str
    others: tuple
    answer: Any
    place: Place | None

    def holds(self, sizes: dict[str, int]) -> bool:
        return self.ask(sizes) == self.answer

    def ask(self, sizes: dict[str, int]) -> Any:
        """The answer for other sizes."""
        here, *others = self._at(sizes)
        return getattr(here, self.operator)(*others)

    def of(self, sizes: dict[str, Any]) -> SizeGuard | None:
        """The same question where the sizes are others, which may be symbolic; None where none of them is."""
        here, *others = self._at(sizes)
        if not any(isinstance(s, jax_compat.SymbolicSize) for s in (here, *others)):
            return None
        return dataclasses.replace(self, size=here, others=tuple(others))

    def _at(self, sizes: dict[str, Any]) -> Iterable[Any]:
        return (jax_compat.evaluate_size(s, sizes) if isinstance(s, jax_compat.SymbolicSize) else s for s in (self.size, *self.others))

    @property
    def names(self) -> set[str]:
        """Of the sizes that are asked about."""
        return {name for s in (self.size, *self.others) for name in jax_compat.symbols_of(s)}

    def __str__(self) -> str:
        sign = {"__eq__": "==", "__ne__": "!=", "__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}.get(self.operator)
        asked = f"{self.size} {sign} {self.others[0]}" if sign else f"{self.operator.strip('_')}({self.size})"
        return f"`{asked}`" + (f" at {self.place}" if self.place else "")
