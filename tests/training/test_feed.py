"""Blocks hold every row once, in order, whatever the sizes; what is gathered ahead ends with the epoch."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.training.data.feed import Feed, Plan


def feed_threads():
    return [t for t in threading.enumerate() if t.name == "pellucid-feed" and t.is_alive()]


@given(rows=st.integers(1, 60), batch_size=st.integers(1, 20), capacity=st.integers(1, 9), pad=st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_plan_covers_all_rows_once_in_order(rows, batch_size, capacity, pad):
    batch_size = min(batch_size, rows)
    at = 0
    for start, real, steps, size in Plan(batch_size, capacity, pad).blocks(rows):
        assert start == at and 0 < real <= steps * size and steps <= capacity
        assert steps * size - real < size  # no step without a real row
        assert size == batch_size or (not pad and (real, steps) == (rows % batch_size, 1))
        at += real
    assert at == rows


@given(rows=st.integers(1, 40), batch_size=st.integers(1, 12), capacity=st.integers(1, 5), pad=st.booleans(), shuffled=st.booleans())
@settings(max_examples=60, deadline=None)
def test_blocks_hold_the_rows_of_all_arrays_in_the_given_order(rows, batch_size, capacity, pad, shuffled):
    batch_size = min(batch_size, rows)
    x, y = np.arange(3 * rows, dtype="float32").reshape(rows, 3), np.arange(rows) % 2 == 0
    order = np.random.default_rng(rows).permutation(rows) if shuffled else None
    seen = []
    for block in Feed([x, y], Plan(batch_size, capacity, pad)).epoch(order):
        first, second = (np.asarray(a) for a in block.arrays)
        assert first.dtype == x.dtype and second.dtype == y.dtype and len(first) == len(second)
        used = block.steps * block.batch_size
        ids = (first[:used, 0] / 3).astype(int)
        assert np.array_equal(first[:used], x[ids]) and np.array_equal(second[:used], y[ids])
        assert set(ids[block.rows :]) <= set(ids[: block.rows]) and block.padded == (used > block.rows)
        seen += ids[: block.rows].tolist()
    assert seen == (order.tolist() if shuffled else list(range(rows)))


def test_parts_of_a_padded_block_hold_its_real_rows():
    x = np.arange(20, dtype="float32")
    (block,) = Feed([x], Plan(8, 3, True)).epoch()
    whole, tail, after = block.whole(), block.tail(), block.after(1)
    assert (whole.rows, whole.steps, whole.padded) == (16, 2, False)
    assert (tail.rows, tail.steps, tail.batch_size, tail.padded) == (4, 1, 4, False)
    assert np.array_equal(tail.arrays[0], [16, 17, 18, 19])
    assert (after.rows, after.steps, after.padded) == (12, 2, True) and np.array_equal(after.arrays[0][:12], x[8:])


def test_blocks_are_copies():
    x = np.arange(8, dtype="float32")
    feed = Feed([x], Plan(4, 1, False), keep=True)
    blocks = list(feed.epoch())
    x[:] = -1
    assert [np.asarray(b.arrays[0]).tolist() for b in blocks] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(a is b for a, b in zip(feed.epoch(), blocks, strict=True))


def test_an_error_while_gathering_is_raised_where_blocks_are_taken():
    x = np.arange(8, dtype="float32")
    with pytest.raises(TypeError):
        list(Feed([x], Plan(2, 1, False)).epoch(np.array(list("abcdefgh"))))


@pytest.mark.parametrize("end", ["close", "next epoch"])
def test_an_epoch_left_in_the_middle_leaves_no_thread(end):
    before = feed_threads()
    feed = Feed([np.zeros((500, 2), "float32")], Plan(1, 1, False))
    next(feed.epoch())
    started = [t for t in feed_threads() if t not in before]
    assert len(started) == 1
    if end == "close":
        feed.close()
    else:
        assert len(list(feed.epoch())) == 500
    started[0].join(5)
    assert not started[0].is_alive()


def test_a_closed_feed_gathers_no_more_rows():
    """A thread that goes on over all that is left of a large data set would keep a core busy."""

    class Counting(Feed):
        def _gather(self, span, order):
            gathered.append(span)
            return super()._gather(span, order)

    gathered, before = [], feed_threads()
    feed = Counting([np.zeros((2000, 2), "float32")], Plan(1, 1, False))
    next(feed.epoch())
    (thread,) = [t for t in feed_threads() if t not in before]
    feed.close()
    thread.join(10)
    assert len(gathered) < 20
