"""Whether steps run in a loop or one by one, by `steps_per_execution="auto"`: by rules alone, and without a difference in the results."""

import jax
import numpy as np
import pytest

import pellucid
from pellucid.graph.cost import Cost
from pellucid.training.programs import choose_form

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the rules for a CPU")


def form(work, batches=100, wanted="auto", training=True):
    return choose_form(work, 32, batches, 1000, True, wanted, training)


@on_cpu
@pytest.mark.parametrize(
    ("work", "loop", "capacity"),
    [
        (Cost(1e4), True, 100),
        (Cost(4e9), True, 4),  # 1.2e10 with the gradient: a transformer of four blocks
        (Cost(8e9), True, 2),
        (Cost(2e10), False, 15),
        (Cost(1e6, convolutions=True), False, 15),
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
