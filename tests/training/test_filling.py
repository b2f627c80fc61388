"""Blocks of a stream fill while nobody has need of them, and are taken as they are."""

import threading

import jax
import numpy as np
import pytest

from pellucid.training.data import filling, prefetch

CAPACITY, SIZE = 4, 2


@pytest.fixture
def fill():
    """Makes the blocks of some batches; ends their threads."""
    made = []

    def make(items, capacity=CAPACITY):
        worker = prefetch.Worker()
        filler = filling.Filler(items, lambda batch: capacity, worker)
        made.append((filler, worker))
        return filler

    yield make
    for filler, worker in made:
        assert filler.close(wait=True)
        worker.end()


def batch(number, rows=SIZE):
    leaves = [np.full((rows, 1), number, "float32")]
    return filling.Batch(leaves, KIND, rows)


KIND = filling.Kind(jax.tree.structure([0]), ((1,),), (np.dtype("float32"),))


def numbers(block):
    return np.asarray(block.arrays[0])[: block.rows : block.batch_size, 0].tolist()


def test_blocks_that_nobody_takes_are_filled_and_no_more_than_two_wait(fill):
    given, asked = [], threading.Semaphore(0)

    def items():
        for i in range(11):
            given.append(i)
            asked.release()
            yield batch(i)

    filler = fill(items())
    for _ in range(2 * CAPACITY + 1):
        assert asked.acquire(timeout=20)
    assert not asked.acquire(timeout=0.1) and len(given) == 9
    assert filler.has_full_block()
    blocks = [next(filler), next(filler)]
    assert asked.acquire(timeout=20) and asked.acquire(timeout=20)
    blocks += filler
    assert [n for block in blocks for n in numbers(block)] == list(range(11))
    assert [b.steps for b in blocks[:2]] == [4, 4]


def test_batches_that_are_there_do_not_wait_for_others(fill):
    goes_on = threading.Event()

    def items():
        yield batch(0)
        yield batch(1)
        assert goes_on.wait(20)
        yield batch(2)

    filler = fill(items())
    seen = []
    while len(seen) < 2:
        seen += numbers(next(filler))
    assert seen == [0, 1] and not filler.has_full_block()
    goes_on.set()
    assert [numbers(block) for block in filler] == [[2]]
    assert filler.has_full_block()


def test_batches_of_other_sizes_begin_a_block_of_their_own(fill):
    sizes = [2, 2, 3, 3, 2]
    blocks = list(fill(batch(i, rows) for i, rows in enumerate(sizes)))
    assert [n for block in blocks for n in numbers(block)] == list(range(5))
    assert [b.batch_size for b in blocks for _ in range(b.steps)] == sizes


def test_an_error_comes_after_the_batches_before_it(fill):
    def items():
        yield batch(0)
        yield batch(1)
        raise ZeroDivisionError

    filler, seen = fill(items()), []
    while len(seen) < 2:
        seen += numbers(next(filler))
    assert seen == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(filler)
    with pytest.raises(StopIteration):
        next(filler)


def test_nothing_comes_after_the_end_was_asked_for(fill):
    goes_on = threading.Event()

    def items():
        for i in range(3):
            yield batch(i)
        assert goes_on.wait(20)
        yield batch(3)

    filler = fill(items())
    next(filler)
    assert not filler.close()
    assert list(filler) == []
    goes_on.set()
