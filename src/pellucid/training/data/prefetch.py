"""Prefetch: a thread that takes the items of an iterator a few ahead of those who work on them."""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

AHEAD = 2  # blocks that wait on the device
PATIENCE = 2.0  # seconds that the end of an epoch waits for an item which is being made


class Worker:
    """A thread that does one thing after the other: files and databases may be used in the thread only that opened them."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="pellucid-feed", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task  # and what it holds

    def do(self, task: Callable[[], None]) -> None:
        """Enters a task."""
        self._tasks.put(task)

    def end(self) -> None:
        """Ends the thread after the tasks entered so far."""
        self._tasks.put(None)


class Prefetch:
    """The items of an iterator, in order, taken by a thread. What the iterator raises is raised here, after the items before it.

    Args:
        items: where they come from. Only the thread touches it.
        worker: the thread, by default a new one, which ends with the items.
    """

    def __init__(self, items: Iterable[Any], worker: Worker | None = None):
        self._ready: queue.Queue[tuple[str, Any]] = queue.Queue(AHEAD)
        self._stop, self._done = threading.Event(), threading.Event()
        self._ended = False
        own = Worker() if worker is None else worker
        own.do(functools.partial(self._work, items))
        if worker is None:
            own.end()

    def _work(self, items: Iterable[Any]) -> None:
        try:
            for item in items:
                self._put(("item", item))
                if self._stop.is_set():
                    return
            self._put(("end", None))
        except BaseException as error:
            self._put(("error", error))
        finally:
            self._done.set()

    def _put(self, entry: tuple[str, Any]) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(entry, timeout=0.1)
                return

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._ended:
            raise StopIteration
        kind, item = self._ready.get()
        if kind == "item":
            return item
        self._ended = True
        if kind == "error":
            raise item
        raise StopIteration

    def close(self, wait: bool = False) -> bool:
        """Takes no more items. Returns whether the thread is done with them.

        Args:
            wait: whether to wait, for a short time, until the item that is being made is done.
        """
        self._stop.set()
        self._ended = True
        while True:
            with contextlib.suppress(queue.Empty):
                self._ready.get_nowait()
                continue
            break
        return self._done.wait(PATIENCE if wait else 0)


class InOrder:
    """``make(index)`` for each index, by several threads, in the order of the indices.

    Args:
        make: what is done; it may raise.
        indices: finite or not.
        workers: number of threads.
        ahead: results that may wait or be in the making.
    """

    def __init__(self, make: Callable[[Any], Any], indices: Iterable[Any], workers: int, ahead: int):
        self._make, self._indices, self._room = make, iter(indices), max(ahead, workers)
        self._results: dict[int, tuple[bool, Any]] = {}
        self._begun = self._given = 0
        self._total: int | None = None
        self._changed = threading.Condition()
        for _ in range(workers):
            threading.Thread(target=self._work, name="pellucid-worker", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._total is not None or self._begun - self._given < self._room)
                if self._total is not None:
                    return
                index = next(self._indices, self)
                if index is self:
                    self._total = self._begun
                    self._changed.notify_all()
                    return
                number, self._begun = self._begun, self._begun + 1
            try:
                result = True, self._make(index)
            except BaseException as error:
                result = False, error
            with self._changed:
                self._results[number] = result
                self._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._given in self._results or (self._total is not None and self._given >= self._total))
            if self._given not in self._results:
                raise StopIteration
            well, value = self._results.pop(self._given)
            self._given += 1
            self._changed.notify_all()
        if not well:
            self.close()
            raise value
        return value

    def close(self) -> None:
        """Lets the threads end, each after what it is making."""
        with self._changed:
            self._total = self._given
            self._results.clear()
            self._changed.notify_all()
