"""Filling: a thread copies the batches of a stream into blocks, which are taken when the device has need of them.

Each batch is copied when it arrives, since the iterator may fill the same buffer again. Batches of equal shapes go one after the other
into a block, so that many steps go in one dispatch. Reading may take as long as the steps do, so nobody waits for a block to be full:
it is taken with the batches that it has by the time that the device begins its last dispatch. While that one runs the next block fills,
and where reading is the faster of the two each block is longer than the one before.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from pellucid.training.data.arrays import ArrayData
from pellucid.training.data.feed import Block, aligned
from pellucid.training.data.prefetch import AHEAD, PATIENCE, Worker

JOINED = 64  # batches of a block, at most: the cost of a dispatch is nothing then
_FAST, _HURRY = 1e-3, 1e-2  # seconds of reading that are little beside a dispatch (0.4 ms), and in which a block of such batches goes


@dataclasses.dataclass(frozen=True, eq=False)
class Kind:
    """What batches that one program can take have in common: structure, shapes without the rows, data types."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[np.dtype, ...]

    def is_of(self, data: ArrayData) -> bool:
        """Whether data are of this kind."""
        leaves, tree = jax.tree.flatten(data.tree())
        return tree == self.tree and self.shapes == tuple(a.shape[1:] for a in leaves) and self.dtypes == tuple(a.dtype for a in leaves)


@dataclasses.dataclass
class Batch:
    """Arrays of so many rows. To read them took some seconds."""

    leaves: list[Any]
    kind: Kind
    rows: int
    seconds: float = 0.0


class Filler:
    """The blocks of an epoch, in order. What the batches raise is raised here, after the batches before it.

    Args:
        batches: where they come from. Only the thread touches it.
        capacity: the number of batches of a block that begins with a batch.
        worker: the thread.
    """

    def __init__(self, batches: Iterable[Batch], capacity: Callable[[Batch], int], worker: Worker):
        self._capacity = capacity
        self._full: collections.deque[Block] = collections.deque()
        self._filling: _Filling | None = None
        self._error: BaseException | None = None
        self._over = self._stopped = False
        self._changed = threading.Condition()
        self._done = threading.Event()
        worker.do(functools.partial(self._work, batches))

    # ---- The thread ----

    def _work(self, batches: Iterable[Batch]) -> None:
        try:
            for batch in batches:
                self._add(batch)
                if self._stopped:
                    return
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()
            self._done.set()

    def _add(self, batch: Batch) -> None:
        """Copies a batch into the block. Who takes the block meanwhile waits for that, and has one batch more."""
        with self._changed:
            unlike = self._filling is not None and not self._filling.takes(batch)
        if unlike:
            self._finish()
        with self._changed:
            if self._filling is None:
                self._changed.wait_for(lambda: self._stopped or len(self._full) < AHEAD)
                if self._stopped:
                    return
                self._filling = _Filling(batch, self._capacity(batch))
            self._filling.add(batch)
            is_full = self._filling.is_full()
            if not is_full:
                self._changed.notify_all()
        if is_full:
            self._finish()

    def _finish(self) -> None:
        """Puts the block on the device, unless it was taken in this moment."""
        with self._changed:
            filling, self._filling = self._filling, None
        block = None if filling is None else filling.block()
        with self._changed:
            if block is not None and not self._stopped:
                self._full.append(block)
            self._changed.notify_all()

    # ---- Who takes the blocks ----

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        with self._changed:
            while not (self._full or self._over or self._stopped):
                wait = None if self._filling is None else self._filling.worth_waiting_for()
                if wait == 0:
                    break
                self._changed.wait(wait)
            if self._full:
                self._changed.notify_all()
                return self._full.popleft()
            filling, self._filling = self._filling, None
        if filling is not None:
            return filling.block()
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def has_full_block(self) -> bool:
        """Whether the next block is there, and can get no more batches."""
        return bool(self._full) or self._over

    def close(self, wait: bool = False) -> bool:
        """Takes no more items. Returns whether the thread is done with them.

        Args:
            wait: whether to wait, for a short time, until the item that is being made is done.
        """
        with self._changed:
            self._stopped, self._filling, self._error = True, None, None
            self._full.clear()
            self._changed.notify_all()
        return self._done.wait(PATIENCE if wait else 0)


class _Filling:
    """A block that is being filled."""

    def __init__(self, first: Batch, capacity: int):
        self.kind, self.rows, self.steps = first.kind, first.rows, 0
        self.capacity = capacity
        self.started, self.seconds = time.perf_counter(), first.seconds
        if capacity == 1 and any(isinstance(leaf, jax.Array) for leaf in first.leaves):
            self.arrays = None
            return
        size = capacity * self.rows
        self.arrays = [aligned((size, *shape), dtype) for shape, dtype in zip(first.kind.shapes, first.kind.dtypes, strict=True)]

    def takes(self, batch: Batch) -> bool:
        return batch.kind is self.kind and batch.rows == self.rows

    def add(self, batch: Batch) -> None:
        """Copies a batch."""
        if self.arrays is None:  # what JAX has cannot change
            self.made = [leaf if isinstance(leaf, jax.Array) else jax.device_put(np.array(leaf)) for leaf in batch.leaves]
        else:
            at = slice(self.steps * self.rows, (self.steps + 1) * self.rows)
            for array, leaf in zip(self.arrays, batch.leaves, strict=True):
                np.copyto(array[at], leaf, casting="unsafe")
        self.steps, self.seconds = self.steps + 1, batch.seconds

    def is_full(self) -> bool:
        return self.steps == self.capacity

    def worth_waiting_for(self) -> float:
        """Seconds to wait for more batches, where they come so fast that a dispatch would cost more than they do."""
        return 0.0 if self.seconds > _FAST else max(0.0, self.started + _HURRY - time.perf_counter())

    def block(self) -> Block:
        """It with the batches that it has; no step computes with the rest of its room."""
        if self.arrays is not None:
            self.made = jax.device_put(self.arrays)
        return Block(self.made, self.steps * self.rows, self.steps, self.rows, kind=self.kind)
