"""PyDataset: batches by number, written in Python."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from pellucid.core import explain
from pellucid.core.checks import check_whole
from pellucid.errors import DataWarning


class PyDataset:
    """Batches that Python code makes, by number. Subclass it and say ``__len__``, the number of batches, and ``__getitem__``.

    ``dataset[i]`` is a whole batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``. ``fit`` takes each once an epoch, and by default
    in a new order. An endless data set has ``num_batches`` None, and ``fit`` needs ``steps_per_epoch``.

    Args:
        workers: threads that make batches, where more than 1. ``__getitem__`` must allow that. Batches keep their order.
        use_multiprocessing: accepted for Keras's sake: processes forked from one that runs JAX may hang, and threads are used.
        max_queue_size: batches that may wait, with several workers.

    Example:
        >>> import numpy as np, pellucid
        >>> class Squares(pellucid.utils.PyDataset):
        ...     def __len__(self):
        ...         return 3
        ...     def __getitem__(self, index):
        ...         x = np.arange(4 * index, 4 * index + 4)
        ...         return x, x**2
        >>> [y.tolist() for x, y in Squares()]
        [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81, 100, 121]]
    """

    # a subclass need not call __init__
    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10
    keeps_order: bool = False  # whether `fit` takes the batches in their order, whatever its `shuffle` is

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        for argument, value, least in (("workers", workers, 0), ("max_queue_size", max_queue_size, 1)):
            check_whole(type(self).__name__, argument, value, least)
        if use_multiprocessing:
            explain.warn(
                f"{type(self).__name__}: use_multiprocessing=True starts no processes: forking one that runs JAX may hang. The "
                "`workers` are threads, which is as fast where NumPy or input and output take the time.",
                DataWarning,
            )
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __getitem__(self, index: int) -> Any:
        """The batch of a number."""
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__(index); expected one that returns a whole batch.")

    def __iter__(self) -> Iterator[Any]:
        """All batches, one after the other, made here and now."""
        count = self.num_batches
        return (self[i] for i in (itertools.count() if count is None else range(count)))

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None: without end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(f"{type(self).__name__} has neither __len__ nor num_batches; expected one: the number of batches.")

    def on_epoch_begin(self) -> None:
        """Is called before the batches of an epoch are made."""

    def on_epoch_end(self) -> None:
        """Is called after the batches of an epoch, before those of the next one are made."""
