"""What ``fit`` was given, as a source of batches: arrays, or something that iterates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from pellucid.core import explain
from pellucid.errors import DataError, DataWarning
from pellucid.training.data.arrays import ArrayData
from pellucid.training.data.feed import Block, Feed, Plan
from pellucid.training.data.pydataset import PyDataset
from pellucid.training.data.stream import Stream

KEPT = 2**26  # bytes of data in a fixed order that stay on the device


class Arrays:
    """The batches of arrays, epoch after epoch.

    Args:
        data: checked arrays.
        batch_size: rows of a batch.
        steps: batches of an epoch, by default all. The next epoch goes on where one ended.
        shuffle: gives a new order of so many rows, or None.
        keep: whether the blocks may stay on the device, for the next epoch.
    """

    streams = exhausted = False
    joins = True
    opens: frozenset[tuple[int, int]] = frozenset()  # see Stream

    def __init__(
        self,
        data: ArrayData,
        batch_size: int,
        steps: int | None = None,
        shuffle: Callable[[int], np.ndarray] | None = None,
        keep: bool = False,
    ):
        self.sample, self.rows, self.batch_size, self.steps = data, data.rows, min(batch_size, data.rows), steps
        self.known: list[ArrayData] = []  # other data that are to come, such as those of validation
        self.length = -(-self.rows // self.batch_size)
        self._shuffle, self._keep = shuffle, keep
        self._order: np.ndarray | None = None
        self._at = 0  # the next batch
        self._waiting: Iterator[Block] | None = None
        self._feed: Feed | None = None

    @property
    def batches(self) -> int:
        """Batches of an epoch that there are."""
        return min(self.wanted, self.length)

    @property
    def wanted(self) -> int:
        """Batches that an epoch should have."""
        return self.steps or self.length

    def open(self, plan: Plan) -> None:
        """Takes the layout of blocks."""
        leaves = jax.tree.leaves(self.sample.tree())
        self._feed = Feed(leaves, plan, self._keep and sum(leaf.nbytes for leaf in leaves) < KEPT)

    def ahead(self) -> None:
        """Begins to gather the next epoch."""
        if self._waiting is not None:
            return
        if self._at == 0 and self._shuffle is not None:
            self._order = self._shuffle(self.rows)
        first, self._at = self._at, self._at + self.batches
        if self._at >= self.length:
            self._at = 0
        assert self._feed is not None
        self._waiting = self._feed.epoch(self._order, first, self.steps)

    def epoch(self) -> Iterator[Block]:
        """The blocks of one epoch."""
        self.ahead()
        blocks, self._waiting = self._waiting, None
        assert blocks is not None
        return blocks

    def has_full_block(self) -> bool:
        """Blocks are never fuller than they are: see Stream."""
        return True

    def close(self) -> None:
        """Ends the gathering of an epoch that is not finished."""
        if self._feed is not None:
            self._feed.close()


Source = Arrays | Stream


def source_of(
    x: Any,
    y: Any,
    sample_weight: Any,
    where: str,
    batch_size: int | None,
    steps: int | None,
    shuffle: Callable[[int], np.ndarray] | None = None,
    training: bool = False,
    inputs_only: bool = False,
    weigh: Callable[[Any, Any], Any] | None = None,
) -> Source:
    """The source for what a user gave.

    Args:
        x: arrays, or something that iterates over batches.
        y: targets, where ``x`` is arrays.
        sample_weight: weights, likewise.
        where: for messages.
        batch_size: rows of a batch of arrays, 32 by default.
        steps: batches of an epoch, or None: all.
        shuffle: gives a new order of so many rows or batches.
        training: whether an epoch goes on where the last one ended; else each begins anew.
        inputs_only: whether targets that an iterator gives are left out.
        weigh: gives the sample weights from targets and sample weights, for ``class_weight``.

    Raises:
        DataError, ValueError: for what is no data, or not for such data.
    """
    if is_arrays(x):
        data = x if isinstance(x, ArrayData) else ArrayData.check(x, y, sample_weight, where)
        if weigh is not None:
            data = ArrayData(data.x, data.y, weigh(data.y, data.sample_weight))
        size = 32 if batch_size is None else batch_size
        if not training and steps is not None:
            data = data.first(steps * size)
        return Arrays(data, size, steps, shuffle, keep=not training)
    what = type(x).__name__
    if not isinstance(x, PyDataset) and not hasattr(x, "__iter__"):
        by_number = hasattr(x, "__getitem__")
        raise DataError(
            f"{where}: x is a {what}, which is neither arrays nor iterates over batches. "
            + (
                "Where x[i] is a batch, subclass pellucid.utils.PyDataset; where it is one row, wrap it in a loader that makes batches."
                if by_number
                else "Expected an array, a list, tuple or dict of arrays, a generator of batches, or a pellucid.utils.PyDataset."
            )
        )
    for argument, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{where}: {argument} was given beside a {what}; expected {argument}=None, since what iterates gives its own: (x, y) or "
                "(x, y, sample_weight)."
            )
    if batch_size is not None and training:
        explain.warn(f"{where}: batch_size={batch_size} has no effect: the {what} decides how large its batches are.", DataWarning)
    return Stream(x, where, steps, shuffle, continues=training, inputs_only=inputs_only, weigh=weigh)


def is_arrays(x: Any) -> bool:
    """Whether it is (a structure of) arrays, and not something that gives batches."""
    if x is None or isinstance(x, ArrayData | list | tuple | Mapping | str | bytes | int | float | jax.Array | np.ndarray):
        return True
    if isinstance(x, PyDataset):
        return False
    return any(hasattr(x, name) for name in ("__array__", "__jax_array__", "to_numpy"))
