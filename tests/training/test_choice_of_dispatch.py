"""Whether steps run in a loop or one by one, by `steps_per_execution="auto"`: by rules alone, and without a difference in the results."""

import jax
import numpy as np
import pytest

import pellucid
from pellucid.graph.cost import Cost
from pellucid.training.programs import choose_form

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
