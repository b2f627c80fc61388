"""Feed: rows of arrays in batches, gathered into blocks ahead of the steps by a thread of its own.

A block is what one dispatch (or several) works on: many batches one after the other in arrays on the device. Each
block is a copy of its rows, so that a buffer that the user changes later does no harm, memory stays bounded however large the
data are, and the gathering of shuffled rows costs the steps nothing. Data that fit ``config.data_budget`` are put on an
accelerator whole, and gathered there; on a CPU, and for larger data, they stay where they are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid import config
from pellucid.training.data.prefetch import Prefetch


@dataclasses.dataclass
class Block:
    """Batches in a row: arrays of ``capacity * batch_size`` rows, of which the first ``rows`` are real."""

    arrays: list[Any]
    rows: int
    steps: int
    batch_size: int
    padded: bool = False  # whether the last batch was filled up with repeated rows
    kind: Any = None  # of a batch that may be unlike others: see Stream

    def after(self, steps: int) -> Block:
        """What is left of it after some steps."""
        arrays = [a[steps * self.batch_size :] for a in self.arrays] if steps else self.arrays
        return dataclasses.replace(self, arrays=arrays, rows=self.rows - steps * self.batch_size, steps=self.steps - steps)

    def first(self) -> Block:
        """It as if the first batch were the last."""
        return dataclasses.replace(self, rows=min(self.rows, self.batch_size), steps=1, padded=self.padded and self.steps == 1)

    def tail(self) -> Block:
        """The last, padded batch at its own size."""
        start = (self.steps - 1) * self.batch_size
        rows = self.rows - start
        return Block([a[start : start + rows] for a in self.arrays], rows, 1, rows)

    def whole(self) -> Block:
        """It without the last, padded batch."""
        return dataclasses.replace(self, rows=(self.steps - 1) * self.batch_size, steps=self.steps - 1, padded=False)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How an epoch is cut: blocks of ``capacity`` batches; what becomes of the last, smaller batch."""

    batch_size: int
    capacity: int
    pad_tail: bool  # fill the last batch up (rows are independent), or give it its own size

    def blocks(self, rows: int, first: int = 0, count: int | None = None) -> Iterator[tuple[int, int, int, int]]:
        """(first row, real rows, steps, batch size) of each block; of ``count`` batches from the batch ``first`` on."""
        begin = first * self.batch_size
        end = rows if count is None else min(rows, begin + count * self.batch_size)
        for start, real, steps, size in self._blocks(end - begin):
            yield begin + start, real, steps, size

    def _blocks(self, rows: int) -> Iterator[tuple[int, int, int, int]]:
        full, tail = divmod(rows, self.batch_size)
        if tail and self.pad_tail:
            full, tail = full + 1, 0
        for first in range(0, full, self.capacity):
            steps = min(self.capacity, full - first)
            start = first * self.batch_size
            yield start, min(rows, (first + steps) * self.batch_size) - start, steps, self.batch_size
        if tail:
            yield rows - tail, tail, 1, tail


class Feed:
    """Blocks of some arrays, epoch after epoch.

    Args:
        leaves: NumPy or JAX arrays with as many rows each.
        plan: how an epoch is cut.
        keep: whether the blocks of the first epoch are kept on the device (data in a fixed order that fits).
    """

    def __init__(self, leaves: list[Any], plan: Plan, keep: bool = False):
        self.rows = leaves[0].shape[0]
        self.plan = plan
        on_host = jax.default_backend() == "cpu" or sum(leaf.nbytes for leaf in leaves) > config.data_budget()
        self.leaves = [np.asarray(leaf) for leaf in leaves] if on_host else jax.device_put(leaves)
        self._take = _take_on_host if on_host else _take_on_device
        self._kept: list[Block] | None = [] if keep else None
        self._threads: Prefetch | None = None

    def epoch(self, order: np.ndarray | None = None, first: int = 0, count: int | None = None) -> Iterator[Block]:
        """The blocks of one epoch, in the given order of rows (None: as they are). Gathering begins at once.

        Args:
            order: of the rows.
            first: the first batch.
            count: of batches; all that there are by default.
        """
        if self._kept:
            return iter(self._kept)
        spans = list(self.plan.blocks(self.rows, first, count))
        if len(spans) == 1 or self._kept is not None:
            blocks = [self._gather(span, order) for span in spans]
            if self._kept is not None:
                self._kept = blocks
            return iter(blocks)
        self.close()  # an epoch that was stopped in the middle
        self._threads = Prefetch(self._gather(span, order) for span in spans)
        return self._threads

    def close(self) -> None:
        """Ends the gathering of an epoch that is not finished."""
        if self._threads is not None:
            self._threads.close()

    def _gather(self, span: tuple[int, int, int, int], order: np.ndarray | None) -> Block:
        start, rows, steps, batch_size = span
        capacity = self.plan.capacity if batch_size == self.plan.batch_size else 1
        index = np.arange(start, start + rows) if order is None else order[start : start + rows]
        wanted = steps * batch_size
        if wanted > rows:  # repeats real rows: they cannot give NaN where the others do not
            index = np.resize(index, wanted)
        return Block(self._take(self.leaves, index, capacity * batch_size), rows, steps, batch_size, wanted > rows)


def _take_on_host(leaves: list[np.ndarray], index: np.ndarray, size: int) -> list[jax.Array]:
    made = []
    for leaf in leaves:
        out = aligned((size, *leaf.shape[1:]), leaf.dtype)
        np.take(leaf, index, axis=0, out=out[: len(index)], mode="clip")
        out[len(index) :] = 0
        made.append(out)
    return jax.device_put(made)


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array that a CPU device takes as it is: one that begins elsewhere than at a multiple of 64 is copied once more."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + 64, "uint8")
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def _take_on_device(leaves: list[jax.Array], index: np.ndarray, size: int) -> list[jax.Array]:
    return _take(leaves, np.pad(index, (0, size - len(index))).astype("int32"))


@jax.jit
def _take(leaves: list[jax.Array], index: jax.Array) -> list[jax.Array]:
    return [jnp.take(leaf, index, axis=0, mode="clip") for leaf in leaves]
