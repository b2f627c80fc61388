"""Draws have the moments that they should, and repeat when they should."""

import jax
import numpy as np
import pytest

import pellucid
from pellucid import random
from pellucid.random import SeedGenerator

SHAPE = (200, 100)
N = 20000


def within(value, expected, deviation):
    """Whether the mean of N draws is where it should be: five standard errors."""
    return abs(value - expected) < 5 * deviation / np.sqrt(N)


SAMPLES = {
    "normal": (lambda seed: random.normal(SHAPE, 2.0, 3.0, seed=seed), 2.0, 3.0),
    "uniform": (lambda seed: random.uniform(SHAPE, -1.0, 3.0, seed=seed), 1.0, 4 / np.sqrt(12)),
    "truncated_normal": (lambda seed: random.truncated_normal(SHAPE, 1.0, 2.0, seed=seed), 1.0, 2 * 0.8796256610342398),
    "randint": (lambda seed: random.randint(SHAPE, 2, 7, seed=seed), 4.0, np.sqrt(2)),
    "bernoulli": (lambda seed: random.bernoulli(SHAPE, 0.3, seed=seed), 0.3, np.sqrt(0.21)),
    "beta": (lambda seed: random.beta(SHAPE, 2.0, np.full(100, 3.0), seed=seed), 0.4, 0.2),
    "gamma": (lambda seed: random.gamma(SHAPE, 4.0, seed=seed), 4.0, 2.0),
    "binomial": (lambda seed: random.binomial(SHAPE, 10.0, 0.3, seed=seed), 3.0, np.sqrt(2.1)),
    "categorical": (lambda seed: random.categorical(np.log([[0.2, 0.3, 0.5]] * 200), 100, seed=seed), 1.3, np.sqrt(0.61)),
}
RANGES = {"uniform": (-1, 3), "truncated_normal": (-3, 5), "randint": (2, 6), "bernoulli": (0, 1), "categorical": (0, 2)}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_have_their_mean_deviation_and_range(name):
    draw, mean, deviation = SAMPLES[name]
    values = np.asarray(draw(7)).astype("float64")
    assert values.shape == SHAPE and within(values.mean(), mean, deviation)
    assert abs(values.std() / deviation - 1) < 0.05
    if name in RANGES:
        assert (values.min() >= RANGES[name][0]) and (values.max() <= RANGES[name][1])
    if name in ("randint", "categorical"):
        assert set(np.unique(values)) == set(range(RANGES[name][0], RANGES[name][1] + 1))


@pytest.mark.parametrize("name", SAMPLES)
def test_equal_seeds_repeat_and_others_do_not(name):
    draw = SAMPLES[name][0]
    assert np.array_equal(draw(3), draw(3)) and not np.array_equal(draw(3), draw(4))
    assert np.array_equal(draw(SeedGenerator(5)), draw(SeedGenerator(5)))
    assert np.array_equal(draw(jax.random.key(1)), draw(jax.random.key(1)))
    generator = SeedGenerator(5)
    assert not np.array_equal(draw(generator), draw(generator))
    assert not np.array_equal(draw(None), draw(None))


def test_draws_without_a_seed_follow_the_global_one():
    draws = []
    for _ in range(2):
        pellucid.utils.set_random_seed(9)
        draws.append([np.asarray(random.normal((3,))), np.asarray(random.normal((3,), seed=SeedGenerator()))])
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(*draws[0])


@pytest.mark.parametrize(
    "draw, dtype",
    [
        (lambda: random.normal((2,)), "float32"),
        (lambda: random.normal((2,), dtype="bfloat16"), "bfloat16"),
        (lambda: random.uniform((2,), dtype="float16"), "float16"),
        (lambda: random.randint((2,), 0, 3), "int32"),
        (lambda: random.randint((2,), 0, 3, dtype="uint8"), "uint8"),
        (lambda: random.bernoulli((2,)), "bool"),
        (lambda: random.categorical(np.zeros((2, 3), "float32"), 1), "int32"),
    ],
)
def test_data_types(draw, dtype):
    assert draw().dtype == dtype


def test_shuffle_reorders_slices_and_loses_none():
    x = np.arange(60).reshape(20, 3)
    rows, columns = np.asarray(random.shuffle(x, seed=1)), np.asarray(random.shuffle(x.T, axis=1, seed=1))
    assert not np.array_equal(rows, x) and sorted(map(tuple, rows)) == sorted(map(tuple, x))
    assert sorted(map(tuple, columns.T)) == sorted(map(tuple, x))


def test_dropout_function_zeroes_and_scales():
    y = np.asarray(random.dropout(np.ones(SHAPE, "float32"), 0.25, seed=2))
    assert within(np.mean(y == 0), 0.25, np.sqrt(0.25 * 0.75))
    np.testing.assert_allclose(y[y != 0], 4 / 3, rtol=1e-6)


# ---- SeedGenerator ----


def test_a_generators_state_is_saved_and_replayed():
    generator = SeedGenerator(3)
    generator.next()
    state = generator.state.numpy()
    after = [np.asarray(random.normal((4,), seed=generator)) for _ in range(2)]
    generator.state.assign(state)
    assert np.array_equal([np.asarray(random.normal((4,), seed=generator)) for _ in range(2)], after)


def test_generators_with_other_seeds_are_independent():
    draws = np.stack([np.asarray(random.normal((2000,), seed=SeedGenerator(seed))) for seed in range(6)])
    correlations = np.corrcoef(draws)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def drawing(draw):
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.generator, self.scale = SeedGenerator(1), pellucid.Variable(1.0)

        def call(self, inputs):
            noise = draw(self.generator, inputs)
            pellucid.print(noise)
            return inputs * self.scale + noise

    model = Model()
    model.compile(optimizer="sgd", loss="mse", steps_per_execution=3)
    return model


def test_a_generator_in_call_draws_anew_in_every_step(capsys):
    x = np.zeros((6, 1), "float32")
    drawing(lambda generator, inputs: random.normal((1,), seed=generator)).fit(x, x, batch_size=1, verbose=0)
    lines = capsys.readouterr().out.splitlines()
    expected = SeedGenerator(1)
    np.testing.assert_allclose([float(line.strip("[]")) for line in lines], [random.normal((), seed=expected) for _ in lines], rtol=1e-4)
    assert len(set(lines)) == 6


def test_a_draw_without_a_seed_in_call_is_new_in_every_step(capsys):
    x = np.zeros((6, 1), "float32")
    drawing(lambda generator, inputs: random.normal((1,))).fit(x, x, batch_size=1, verbose=0)
    assert len(set(capsys.readouterr().out.splitlines())) == 6
