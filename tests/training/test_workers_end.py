"""Threads that make batches end with training, also where a batch takes longer than training waits for it."""

import threading
import time

import numpy as np
import pytest

import pellucid
from pellucid.training.data import Stream, filling, prefetch


class Slow(pellucid.utils.PyDataset):
    """Batches that are made only while the gate is open."""

    def __init__(self, **options):
        super().__init__(**options)
        self.gate, self.waiting, self.asked = threading.Event(), threading.Semaphore(0), []

    def __len__(self):
        return 200

    def __getitem__(self, index):
        self.asked.append(index)
        if index:
            self.waiting.release()
            self.gate.wait(20)
        return np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def threads():
    return {t for t in threading.enumerate() if t.name.startswith("pellucid-")}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("steps", [None, 1])
def test_no_thread_stays_where_training_ends_while_a_batch_is_made(monkeypatch, workers, steps):
    for module in (prefetch, filling):
        monkeypatch.setattr(module, "PATIENCE", 0.01)
    before, data = threads(), Slow(workers=workers)
    stream = Stream(data, "fit", steps=steps)
    if steps:  # the second epoch has no batch yet
        assert len(list(stream.epoch())) == 1
    blocks = stream.epoch()
    for _ in range(workers):
        assert data.waiting.acquire(timeout=20)
    if not steps:
        next(blocks)
    time.sleep(0.05)  # for the thread that takes batches to wait for one
    asked = len(data.asked)
    stream.close()
    data.gate.set()
    until = time.monotonic() + 10
    while (left := threads() - before) and time.monotonic() < until:
        time.sleep(0.01)
    assert not left and len(data.asked) == asked
