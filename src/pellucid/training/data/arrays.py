"""Arrays, and lists, tuples and dicts of arrays, checked and brought to the types that models compute with."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from pellucid.core import dtypes, explain, jax_compat
from pellucid.core.arrays import array_seen, without_tables
from pellucid.errors import DataError, DataWarning


@dataclasses.dataclass
class ArrayData:
    """Inputs, targets and weights of the same number of rows.

    ``x``, ``y`` and ``sample_weight`` keep their structures; every leaf is a NumPy or JAX array with the rows first.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None

    @classmethod
    def check(cls, x: Any, y: Any = None, sample_weight: Any = None, where: str = "fit", look: bool = True) -> ArrayData:
        """Checks and converts what a user gave.

        Args:
            x: inputs.
            y: targets.
            sample_weight: weights.
            where: what the messages begin with.
            look: whether to warn of values that are not finite.

        Raises:
            DataError: for no data, for rows that do not match, for types that are no numbers.
        """
        if x is None:
            raise DataError(f"{where}: x=None; expected an array, or a list, tuple or dict of arrays.")
        data = cls(_convert(x, "x", where), _convert(y, "y", where), _convert(sample_weight, "sample_weight", where))
        named = data.named()
        if not jax.tree.leaves(data.x):
            raise DataError(f"{where}: x holds no array; expected an array, or a list, tuple or dict of arrays.")
        rows = {name: leaf.shape[0] for name, leaf in named}
        first, count = next(iter(rows.items()))
        if count == 0:
            raise DataError(f"{where}: {first} is empty (shape {named[0][1].shape}); expected at least one row.")
        other = next((name for name, n in rows.items() if n != count), None)
        if other is not None:
            raise DataError(f"{where}: {first} has {count} rows and {other} has {rows[other]}; expected as many rows in every array.")
        for name, leaf in named if look else ():
            _warn_of_not_finite(name, leaf, where)
        return data

    def first(self, rows: int) -> ArrayData:
        """The first rows of it."""
        return self if rows >= self.rows else ArrayData(*jax.tree.map(lambda a: a[:rows], self.tree()))

    def named(self) -> list[tuple[str, Any]]:
        """(name, array) for every array, such as ``("x[0]", …)``."""
        parts = {"x": self.x, "y": self.y, "sample_weight": self.sample_weight}
        return [(name, leaf) for part, tree in parts.items() for name, leaf in _named_leaves(tree, part)]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return jax.tree.leaves(self.x)[0].shape[0]

    def tree(self) -> tuple[Any, Any, Any]:
        """The three parts as one structure."""
        return self.x, self.y, self.sample_weight


def split_off(data: ArrayData, share: float, where: str = "fit") -> tuple[ArrayData, ArrayData]:
    """The first rows, and the last ``share`` of them, which are for validation."""
    if not isinstance(share, int | float) or not 0 < share < 1:
        raise ValueError(f"{where}: validation_split={share!r}; expected a number between 0 and 1.")
    at = int(data.rows * (1 - share))
    if at == 0 or at == data.rows:
        raise DataError(f"{where}: validation_split={share} of {data.rows} rows leaves no row on one side.")
    parts = [jax.tree.map(lambda a, s=s: a[s], data.tree()) for s in (slice(0, at), slice(at, None))]
    return ArrayData(*parts[0]), ArrayData(*parts[1])


def _named_leaves(tree: Any, part: str) -> list[tuple[str, Any]]:
    return [(part + jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _convert(tree: Any, part: str, where: str) -> Any:
    if tree is None:
        return None
    if isinstance(tree, list | tuple) and tree and all(isinstance(v, int | float | bool) for v in tree):
        tree = np.asarray(tree)  # a plain list of numbers is one array
    leaves, structure = jax.tree.flatten(without_tables(tree))
    names = [name for name, _ in _named_leaves(jax.tree.unflatten(structure, leaves), part)]
    return jax.tree.unflatten(structure, [_array(leaf, name, where) for leaf, name in zip(leaves, names, strict=True)])


def _array(leaf: Any, name: str, where: str) -> Any:
    if jax_compat.is_tracer(leaf):
        raise DataError(
            f"{where}: {name} has no values yet, since it is part of a computation that is captured; expected data. In `call` use "
            "the layers, or call the model: self(x)."
        )
    leaf = array_seen(leaf, name, where)
    if leaf.ndim == 0:
        part = name.partition("[")[0]
        raise DataError(
            f"{where}: {name} is a single number ({leaf}); expected an array with one entry for each row. "
            f"If {part} is a list of lists that stands for one array, pass np.asarray({part})."
        )
    return leaf


def _warn_of_not_finite(name: str, leaf: Any, where: str) -> None:
    if isinstance(leaf, jax.Array) and jax.default_backend() != "cpu":  # looking would fetch it
        return
    leaf = np.asarray(leaf)
    if not dtypes.is_float(leaf.dtype):
        return
    with np.errstate(all="ignore"):
        suspicious = not np.isfinite(leaf.sum(dtype="float64"))  # one pass, no temporary
    if not suspicious:
        return
    counts = {"NaN": int(np.isnan(leaf).sum()), "inf": int(np.isinf(leaf).sum())}
    found = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
    if found:
        explain.warn(
            f"{where}: {name} holds {found} in {leaf.size} values. What is computed from them is not finite either: fill or drop these "
            "rows first.",
            DataWarning,
        )
