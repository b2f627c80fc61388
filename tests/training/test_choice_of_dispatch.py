"""Whether steps run in a loop or one by one, by `steps_per_execution="auto"`: by rules alone, and without a difference in the results."""

import time

import jax
import numpy as np
import pytest

import pellucid
from pellucid.core import seeds
from pellucid.graph.cost import Cost
from pellucid.training.data import filling
from pellucid.training.programs import Program, choose_form

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the rules for a CPU")


def form(work, batches=100, wanted="auto", training=True, whole=0):
    return choose_form(work, 32, batches, 1000, True, wanted, training, whole)


@on_cpu
@pytest.mark.parametrize(
    ("work", "loop", "capacity"),
    [
        (Cost(1e4), True, 100),
        (Cost(4e9), True, 4),  # 1.2e10 with the gradient: a transformer of four blocks
        (Cost(8e9), True, 2),
        (Cost(2e10), False, 15),
        (Cost(1e6, convolutions=1), False, 15),
    ],
    ids=["short", "long", "twice as long", "a dispatch holds one", "convolutions"],
)
def test_steps_loop_unless_they_convolve_or_fill_a_dispatch(work, loop, capacity):
    chosen = form(work)
    assert (chosen.loop, chosen.capacity) == (loop, capacity)


def test_one_batch_needs_no_loop_and_a_number_is_kept():
    assert not form(Cost(1e4), batches=1).loop
    assert (form(Cost(2e10), wanted=7).loop, form(Cost(2e10), wanted=7).capacity) == (True, 7)
    assert not form(Cost(1e4), wanted=1).loop


SMALL = Cost(3e8, convolutions=2)


@on_cpu
@pytest.mark.parametrize(
    ("work", "whole", "written_out"),
    [
        (SMALL, 20, 4),
        (SMALL, 18, 3),
        (SMALL, 22, 2),
        (SMALL, 19, 1),
        (SMALL, 0, 1),
        (Cost(1e9, convolutions=2), 20, 1),
        (Cost(3e8, convolutions=20), 20, 1),
        (Cost(3e8), 20, 1),
    ],
    ids=["4", "3", "2", "a prime number of steps", "not asked for", "long steps", "long to compile", "a loop"],
)
def test_short_steps_with_few_convolutions_are_written_out_where_that_divides_an_epoch(work, whole, written_out):
    chosen = form(work, batches=whole or 20, whole=whole)
    assert chosen.written_out == written_out and chosen.capacity % written_out == 0
    assert chosen.loop == (not work.convolutions)
    assert form(work, batches=20, whole=whole, wanted=1).written_out == 1


class Convolving(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.convolution, self.norm = pellucid.layers.Conv1D(2, 2), pellucid.layers.BatchNormalization()
        self.flatten, self.out = pellucid.layers.Flatten(), pellucid.layers.Dense(1)

    def call(self, x):
        return self.out(self.flatten(self.norm(self.convolution(x))))


class Notes(pellucid.callbacks.Callback):
    reads_logs_only = True

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


@on_cpu
def test_steps_that_are_written_out_train_as_single_ones_and_tell_the_logs_of_each():
    """Twelve whole batches and a smaller one, which batch statistics keep from being padded; then twelve; then five."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4, 3)).astype("float32"), rng.normal(size=(50, 1)).astype("float32")
    weights, losses = [], []
    for wanted in ("auto", 1):
        pellucid.utils.set_random_seed(3)
        model = Convolving()
        model.compile(pellucid.optimizers.SGD(0.05, momentum=0.9), "mse", steps_per_execution=wanted)
        notes = Notes()
        model.fit(x, y, batch_size=4, epochs=2, verbose=0, shuffle=False, callbacks=[notes])
        assert [p.loop for p in model.ledger.programs] == [wanted == "auto", False]
        model.fit(x[:48], y[:48], batch_size=4, epochs=1, verbose=0, shuffle=False)
        model.fit(x[:20], y[:20], batch_size=4, epochs=1, verbose=0, shuffle=False)
        weights.append(model.get_weights())
        losses.append(notes.losses)
    assert len(losses[0]) == 26
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for several, single in zip(*weights, strict=True):
        np.testing.assert_allclose(several, single, rtol=1e-4, atol=1e-6)


class Net(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.norm = pellucid.layers.GRU(8), pellucid.layers.BatchNormalization()
        self.drop, self.out = pellucid.layers.Dropout(0.3), pellucid.layers.Dense(1)

    def call(self, x):
        return self.out(self.drop(self.norm(self.hidden(x))))


def test_a_loop_gives_the_bits_of_single_steps():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(44, 5, 3)).astype("float32"), rng.normal(size=(44, 1)).astype("float32")
    weights, loops = {}, {}
    for wanted in ("auto", 1):
        pellucid.utils.set_random_seed(3)
        model = Net()
        model.compile("adam", "mse", steps_per_execution=wanted)
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
        weights[wanted], loops[wanted] = model.get_weights(), "many steps in one dispatch" in model.ledger.story()
    assert loops == {"auto": True, 1: False}
    for looped, single in zip(weights["auto"], weights[1], strict=True):
        np.testing.assert_array_equal(looped, single)


# ---- Batches that are read while training runs: how many there are at once depends on the speed of reading ----


@pytest.fixture
def unseeded(monkeypatch):
    """As a program in which nobody has called `set_random_seed`."""
    monkeypatch.setattr(seeds, "_global_seed", None)


@pytest.fixture
def dispatches(monkeypatch):
    """The number of steps of each dispatch."""
    seen, dispatch = [], Program.dispatch

    def noted(program, block, first=0, steps=1, spare=None):
        seen.append(steps)
        return dispatch(program, block, first, steps, spare)

    monkeypatch.setattr(Program, "dispatch", noted)
    return seen


class Reading:
    """Trains on batches of a generator that reads as fast as possible, or so slowly that what it gave is always trained by then.

    Args:
        monkeypatch: pytest's.
        like: weights to begin with.
        arguments: of ``compile``.
    """

    def __init__(self, monkeypatch, like=None, **arguments):
        self.monkeypatch, self.model = monkeypatch, Convolving()
        self.model.compile(pellucid.optimizers.SGD(0.05, momentum=0.9), "mse", **arguments)
        self.model.capture((None, 4, 3))
        if like is not None:
            self.model.set_weights(like)

    def fit(self, batches, at_once, callbacks=()):
        """On so many batches, of which some are there at once; all, where that is None. Returns the weights."""
        at_once = at_once or batches
        self.monkeypatch.setattr(filling, "_FAST", np.inf)  # a block waits for all batches that come without being waited for
        self.monkeypatch.setattr(filling, "_HURRY", 20.0 if at_once == batches else 0.0)
        before = int(self.model.optimizer.iterations)

        def read():
            for i in range(batches):
                end = time.monotonic() + 20
                while i % at_once == 0 and int(self.model.optimizer.iterations) < before + i:
                    assert time.monotonic() < end
                    time.sleep(0.001)
                yield STREAMED[0][4 * i : 4 * i + 4], STREAMED[1][4 * i : 4 * i + 4]

        self.model.fit(read(), verbose=0, callbacks=list(callbacks))
        return self.model.get_weights()

    def programs(self):
        return [p.loop for p in self.model.ledger.programs]


_rng = np.random.default_rng(0)
STREAMED = _rng.normal(size=(44, 4, 3)).astype("float32"), _rng.normal(size=(44, 1)).astype("float32")


@on_cpu
def test_batches_that_are_there_at_once_go_several_in_a_dispatch_and_each_program_is_compiled_when_it_is_needed(
    monkeypatch, unseeded, dispatches
):
    single = Reading(monkeypatch, steps_per_execution=1)
    begin = single.model.get_weights()
    wanted = single.fit(11, None)
    assert dispatches == [1] * 11
    for at_once, steps, programs in ((None, [4, 4, 1, 1, 1], [True, False]), (1, [1] * 11, [False])):
        dispatches.clear()
        reading = Reading(monkeypatch, begin)
        for mine, its in zip(reading.fit(11, at_once), wanted, strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)
        assert (dispatches, reading.programs()) == (steps, programs)
    assert "compiled for training in fit; fewer than 4 batches were there at once." in reading.model.ledger.story()
    dispatches.clear()
    reading.fit(8, None)
    reading.fit(6, 3)
    reading.fit(8, None)
    assert dispatches == [4, 4, *[1] * 6, 4, 4] and reading.programs() == [False, True]
    assert "because a dispatch is 4 steps now; 4 batches were there at once." in reading.model.ledger.story()


@on_cpu
def test_a_program_that_is_not_needed_is_not_compiled(monkeypatch, unseeded):
    reading = Reading(monkeypatch)
    reading.fit(8, None)
    assert reading.programs() == [True]
    assert "compiled for training in fit; 4 batches were there at once." in reading.model.ledger.story()


@on_cpu
def test_after_a_seed_the_speed_of_reading_changes_no_bit(monkeypatch, dispatches):
    fast = Reading(monkeypatch)
    begin = fast.model.get_weights()
    for one, other in zip(fast.fit(11, None), Reading(monkeypatch, begin).fit(11, 1), strict=True):
        np.testing.assert_array_equal(one, other)
    assert dispatches == [1] * 22 and fast.programs() == [False]


class Listening(pellucid.callbacks.Callback):
    """Is called after each step, and may look at anything then."""

    def on_train_batch_end(self, batch, logs=None):
        pass


@on_cpu
def test_steps_of_a_stream_that_are_looked_at_go_one_by_one_unless_it_is_at_their_logs(monkeypatch, unseeded, dispatches):
    Reading(monkeypatch, nan="raise").fit(4, None)
    Reading(monkeypatch).fit(4, None, [Listening()])
    assert dispatches == [1] * 8
    notes = Notes()
    Reading(monkeypatch).fit(5, None, [notes])
    assert dispatches[8:] == [4, 1] and len(notes.losses) == 5


class Many(pellucid.utils.PyDataset):
    def __len__(self):
        return 11

    def __getitem__(self, index):
        return STREAMED[0][4 * index : 4 * index + 4], STREAMED[1][4 * index : 4 * index + 4]


@on_cpu
@pytest.mark.slow
def test_a_profile_of_a_stream_is_one_of_single_steps(monkeypatch, unseeded, dispatches):
    Reading(monkeypatch).model.profile(Many())
    assert set(dispatches) == {1}
