"""Stream: batches of whatever iterates, such as a generator, a ``PyDataset``, a ``DataLoader`` of PyTorch, a ``tf.data.Dataset``.

A thread takes the batches while the device computes, and copies them into blocks; see ``filling``.
"""

from __future__ import annotations

import contextlib
import itertools
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from pellucid.errors import DataError
from pellucid.training.data.arrays import ArrayData
from pellucid.training.data.feed import Block, Plan
from pellucid.training.data.filling import Batch, Filler, Kind
from pellucid.training.data.prefetch import InOrder, Prefetch, Worker
from pellucid.training.data.pydataset import PyDataset


class Stream:
    """The batches of an object that iterates, epoch after epoch.

    An object that begins anew with each ``iter`` is iterated once an epoch. With ``steps`` an epoch is so many batches, and the next
    one goes on where it ended. One that can be iterated only once, such as a generator, goes on until it is exhausted.

    Args:
        given: what iterates.
        where: for messages: "fit", "evaluate" …
        steps: batches of an epoch, or None: all.
        shuffle: gives a new order for so many batches, where they can be had by number.
        continues: whether an epoch goes on where the last one ended. If not, each begins anew.
        inputs_only: whether targets are left out.
        weigh: gives the sample weights from targets and sample weights.

    Attributes:
        known: data that are to come as well, such as those of validation.
        opens: axes whose sizes differ from batch to batch, where the object says so (``element_spec``, as ``tf.data`` has it): numbers
            of the arrays of a batch, and axes.

    Raises:
        DataError: where it gives no batch, or one that is none.
    """

    streams = True

    def __init__(
        self,
        given: Any,
        where: str,
        steps: int | None = None,
        shuffle: Callable[[int], np.ndarray] | None = None,
        continues: bool = True,
        inputs_only: bool = False,
        weigh: Callable[[Any, Any], Any] | None = None,
    ):
        self._inputs_only, self._weigh = inputs_only, weigh
        self._given, self._where, self._shuffle, self._continues = given, where, shuffle, continues
        self.steps, self.length = steps, length_of(given)
        self._iterator: Iterator[Any] | None = None
        # iterators of Python itself cannot begin anew; one that a class defines may
        self._one_shot = hasattr(given, "__next__") and not isinstance(getattr(type(given), "__iter__", None), types.FunctionType)
        self._kinds: dict[Any, Kind] = {}
        self._count = 0  # of batches so far
        self._running: Prefetch | Filler | None = None
        self._closed = False
        self.exhausted = False
        if steps is None and self.length is None and _is_endless(given):
            argument = "steps_per_epoch" if where == "fit" else "validation_steps" if "validation" in where else "steps"
            raise ValueError(f"{where}: the {type(given).__name__} has no end; expected {argument}=…, the number of batches to take.")
        self._worker = Worker()
        try:
            first = self._peek()
            self._count = 0  # it is taken again, as the first of an epoch
        except BaseException:
            self.close()
            raise
        self.sample = ArrayData(*jax.tree.unflatten(first.kind.tree, first.leaves))
        self.known: list[ArrayData] = []
        self.opens = self._declared()
        self._kind, self.rows, self.batch_size = first.kind, first.rows, first.rows
        # arrays on an accelerator stay there
        self.joins = jax.default_backend() == "cpu" or not any(isinstance(leaf, jax.Array) for leaf in first.leaves)
        self._plan = Plan(first.rows, 1, False)

    def _peek(self) -> Batch:
        """Takes the first batch, which says what batches are like."""
        self._begin()
        started = time.perf_counter()
        self._running = items = Prefetch(self._items(1), self._worker)
        self._peeked, self._peeking = list(items), time.perf_counter() - started
        if not self._peeked:
            raise DataError(f"{self._where}: the {type(self._given).__name__} gave no batch; expected at least one.")
        return self._checked(self._peeked[0], look=True)

    def _declared(self) -> frozenset[tuple[int, int]]:
        with contextlib.suppress(Exception):  # it is the object's own notion of it
            spec = self._given.element_spec
            x, y, sample_weight = unpacked(spec, self._where)
            parts = (x, None, None) if self._inputs_only else (x, y, sample_weight)
            shapes = [None if leaf is None else tuple(leaf.shape) for leaf in jax.tree.leaves(parts, is_leaf=lambda leaf: leaf is None)]
            sample = jax.tree.leaves(self.sample.tree(), is_leaf=lambda leaf: leaf is None)
            if all((s is None) == (a is None) and (s is None or len(s) == a.ndim) for s, a in zip(shapes, sample, strict=True)):
                return frozenset((i, a) for i, s in enumerate(shapes) for a, size in enumerate(s or ()) if a and size is None)
        return frozenset()

    @property
    def batches(self) -> int | None:
        """Batches of an epoch, where that is known."""
        return self.steps or self.length

    wanted = batches

    # ---- Epochs ----

    def open(self, plan: Plan) -> None:
        """Takes the layout of blocks."""
        self._plan = plan

    def ahead(self) -> None:
        """Nothing is made before an epoch begins: what happens between two epochs may change the data."""

    def epoch(self) -> Iterator[Block]:
        """The blocks of one epoch."""
        if not self._peeked:
            self._begin()
        self._running = blocks = Filler(self._batches(), self._capacity, self._worker)
        return self._until_end(blocks)

    def _until_end(self, blocks: Filler) -> Iterator[Block]:
        yield from blocks
        if isinstance(self._given, PyDataset):
            self._given.on_epoch_end()
        if not self._continues:
            self._drop()

    def _begin(self) -> None:
        if isinstance(self._given, PyDataset):
            self._given.on_epoch_begin()

    def close(self) -> None:
        """Ends the threads, also in an epoch that is not finished; each that makes a batch ends after it."""
        self._closed = True
        if isinstance(self._iterator, InOrder):  # its threads need not wait for the one that takes batches
            self._iterator.close()
        if self._running is None or self._running.close(wait=True):
            self._drop()
        else:  # the batch that is being made takes long
            self._worker.do(self._drop)
        self._worker.end()

    def _drop(self) -> None:
        """Lets go of an iterator that was made here."""
        iterator, self._iterator = self._iterator, None
        close = getattr(iterator, "close", None)
        if iterator is not self._given and close is not None:
            with contextlib.suppress(Exception):
                close()

    def has_full_block(self) -> bool:
        """Whether the next block is there, and can get no more batches."""
        return not isinstance(self._running, Filler) or self._running.has_full_block()

    # ---- Items ----

    def _items(self, limit: int | None) -> Iterator[Any]:
        """What the object gives in an epoch."""
        given = 0
        while not self._closed and (limit is None or given < limit):
            fresh = self._iterator is None
            if self._iterator is None:
                self._iterator = self._iterate()
            try:
                item = next(self._iterator)
            except StopIteration:
                self._iterator = None
                self.exhausted = self._one_shot
                if given or fresh or self._one_shot:
                    return
                continue  # the epoch before took the last one
            given += 1
            yield item

    def _iterate(self) -> Iterator[Any]:
        given = self._given
        if not isinstance(given, PyDataset):
            return iter(given)
        count = given.num_batches
        if count is None:
            indices: Any = itertools.count()
        else:
            indices = range(count) if self._shuffle is None or given.keeps_order else self._shuffle(count).tolist()
        if given.workers > 1:
            return InOrder(given.__getitem__, indices, given.workers, given.max_queue_size)
        return (given[i] for i in indices)

    # ---- Batches ----

    def _batch(self, item: Any) -> Batch:
        """A batch in arrays. What was seen before takes the short way."""
        leaves, tree = jax.tree.flatten(self._unpacked(item))
        if all(isinstance(leaf, np.ndarray | jax.Array) and leaf.ndim for leaf in leaves):
            kind = self._kinds.get((tree, *((leaf.shape[1:], leaf.dtype) for leaf in leaves)))
            rows = leaves[0].shape[0] if leaves else 0
            if kind is not None and rows and all(leaf.shape[0] == rows for leaf in leaves):
                self._count += 1
                return Batch(leaves, kind, rows)
        return self._checked(item)

    def _unpacked(self, item: Any) -> tuple[Any, Any, Any]:
        x, y, sample_weight = unpacked(item, self._where)
        if self._weigh is not None:
            sample_weight = self._weigh(y, sample_weight)
        return (x, None, None) if self._inputs_only else (x, y, sample_weight)

    def _checked(self, item: Any, look: bool = False) -> Batch:
        x, y, sample_weight = given = self._unpacked(item)
        where = f"{self._where}, batch {self._count + 1}"
        data = ArrayData.check(x, y, sample_weight, where, look)
        leaves, tree = jax.tree.flatten(data.tree())
        shapes, types = tuple(leaf.shape[1:] for leaf in leaves), tuple(leaf.dtype for leaf in leaves)
        kind = self._kinds.setdefault((tree, *zip(shapes, types, strict=True)), Kind(tree, shapes, types))
        raw, structure = jax.tree.flatten(given)
        if structure == tree and all(isinstance(leaf, np.ndarray) for leaf in raw):  # such as float64, which becomes float32
            self._kinds.setdefault((tree, *((leaf.shape[1:], leaf.dtype) for leaf in raw)), kind)
        self._count += 1
        return Batch(leaves, kind, data.rows)

    def _batches(self) -> Iterator[Batch]:
        """The batches of an epoch. Runs in the thread."""
        peeked, self._peeked = self._peeked, []
        for source in (peeked, self._items(None if self.steps is None else self.steps - len(peeked))):
            started = time.perf_counter() - (self._peeking if source is peeked else 0.0)  # slow ones are not waited for: see Filler
            for item in source:
                batch = self._batch(item)
                batch.seconds = time.perf_counter() - started
                yield batch
                started = time.perf_counter()

    def _capacity(self, batch: Batch) -> int:
        """Of a block that begins with a batch: those that are unlike the first one of all go alone."""
        return self._plan.capacity if batch.rows == self.batch_size and batch.kind is self._kind else 1


def unpacked(item: Any, where: str) -> tuple[Any, Any, Any]:
    """``(x, y, sample_weight)`` of what an iterator gave: ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``."""
    if not isinstance(item, tuple | list) or hasattr(item, "_fields"):
        return item, None, None
    if not 1 <= len(item) <= 3:
        raise DataError(
            f"{where}: a batch is a {type(item).__name__} of {len(item)}; expected x, (x,), (x, y) or (x, y, sample_weight). "
            "Several inputs go into one x: ((a, b), y)."
        )
    return (*item, None, None)[:3]  # type: ignore[return-value]


def length_of(given: Any) -> int | None:
    """The number of batches that an object gives, where it knows it."""
    if isinstance(given, PyDataset):
        return given.num_batches
    try:
        return len(given)
    except Exception:  # no __len__, or (of tf.data) one that raises
        return None


def _is_endless(given: Any) -> bool:
    if isinstance(given, PyDataset):
        return given.num_batches is None
    return hasattr(given, "cardinality") and int(given.cardinality()) == -1  # tf.data's sign for it
