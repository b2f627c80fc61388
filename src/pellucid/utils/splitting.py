"""split_dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pellucid.core import seeds
from pellucid.training.data import PyDataset, is_arrays


class _Part(PyDataset):
    """Some batches of another data set."""

    def __init__(self, of: PyDataset, indices: Sequence[int]):
        super().__init__(of.workers, max_queue_size=of.max_queue_size)
        self.of, self.indices = of, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.of[self.indices[index]]

    def on_epoch_begin(self) -> None:
        self.of.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.of.on_epoch_end()


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Any, Any]:
    """Parts data in two, such as for training and for validation: the first ones, and those after them.

    Arrays stay arrays, so that both parts can be handed to ``fit``: ``(x, y)`` becomes ``(x, y), (x, y)``. Of a ``PyDataset`` whole
    batches are parted.

    Args:
        dataset: array, or list, tuple or dict of arrays with the rows first; or a ``PyDataset``.
        left_size: rows (or batches) of the first part: a whole number, or a share between 0 and 1. By default what is left.
        right_size: those of the second part, likewise.
        shuffle: whether they are put in a new order before.
        seed: of that order.
        preferred_backend: accepted for Keras's sake.

    Raises:
        TypeError: for data that cannot be parted, such as a generator.
        ValueError: for sizes that do not fit.

    Example:
        >>> import numpy as np, pellucid
        >>> (x, y), (x_val, y_val) = pellucid.utils.split_dataset((np.arange(10), np.arange(10) * 2), left_size=0.8)
        >>> len(x), y_val.tolist()
        (8, [16, 18])
    """
    by_batch = isinstance(dataset, PyDataset)
    if not by_batch and not is_arrays(dataset):
        raise TypeError(
            f"split_dataset: dataset is a {type(dataset).__name__}; expected an array, a list, tuple or dict of arrays, or a "
            "pellucid.utils.PyDataset: what iterates only can be taken apart as list(dataset)."
        )
    if not by_batch:
        plain = isinstance(dataset, list | tuple) and not any(np.ndim(part) for part in dataset)
        dataset = jax.tree.map(lambda a: a if hasattr(a, "shape") else np.asarray(a), np.asarray(dataset) if plain else dataset)
    count = dataset.num_batches if by_batch else _rows(dataset)
    if count is None:
        raise ValueError("split_dataset: the PyDataset has no end (num_batches is None); expected one that has.")
    left, right = _sizes(left_size, right_size, count)
    order = np.random.default_rng(seeds.next_seed("shuffle") if seed is None else seed).permutation(count) if shuffle else np.arange(count)
    parts = order[:left], order[left : left + right]
    if by_batch:
        return _Part(dataset, parts[0].tolist()), _Part(dataset, parts[1].tolist())
    first, second = (jax.tree.map(lambda a, part=part: a[part], dataset) for part in parts)
    return first, second


def _rows(dataset: Any) -> int:
    counts = {np.shape(leaf)[0] for leaf in jax.tree.leaves(dataset)}
    if len(counts) != 1:
        raise ValueError(f"split_dataset: the arrays have {sorted(counts)} rows; expected as many rows in every array.")
    return counts.pop()


def _sizes(left_size: Any, right_size: Any, count: int) -> tuple[int, int]:
    if left_size is None and right_size is None:
        raise ValueError("split_dataset: left_size=None and right_size=None; expected one of them at least.")
    left, right = (_size(name, value, count) for name, value in (("left_size", left_size), ("right_size", right_size)))
    left = count - right if left is None else left  # type: ignore[operator]
    right = count - left if right is None else right
    if left + right > count or min(left, right) < 1:
        raise ValueError(
            f"split_dataset: left_size={left_size} and right_size={right_size} make parts of {left} and {right}; expected parts that are "
            f"not empty, of {count} together at most."
        )
    return left, right


def _size(name: str, value: Any, count: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"split_dataset: {name}={value!r}; expected a whole number, or a share between 0 and 1.")
    if isinstance(value, float | np.floating):
        if not 0 < value < 1:
            raise ValueError(f"split_dataset: {name}={value!r}; expected a share between 0 and 1, or a whole number below {count}.")
        return round(value * count)
    if not 0 < value < count:
        raise ValueError(f"split_dataset: {name}={value!r}; expected a whole number from 1 to {count - 1}, or a share between 0 and 1.")
    return int(value)
