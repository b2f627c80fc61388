"""Initializers: distributions as in Keras, values that repeat when and only when they should."""

import keras
import numpy as np
import pytest

from pellucid import initializers
from pellucid.core import registry, seeds

RANDOM = {
    "RandomNormal": {"mean": 1.0, "stddev": 2.0},
    "RandomUniform": {"minval": -1.0, "maxval": 3.0},
    "TruncatedNormal": {"mean": 1.0, "stddev": 2.0},
    "VarianceScaling": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    **{name: {} for name in ["GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "Orthogonal"]},
}


@pytest.mark.parametrize("name", RANDOM)
def test_distribution_is_that_of_keras(name):
    shape = (5, 40, 300)
    ours = getattr(initializers, name)(**RANDOM[name], seed=1)(shape)
    theirs = np.asarray(getattr(keras.initializers, name)(**RANDOM[name], seed=1)(shape))
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    spread = theirs.std()
    np.testing.assert_allclose(ours.mean(), theirs.mean(), atol=0.02 * spread)
    quantiles = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1] if name not in ("RandomNormal", "VarianceScaling", "Orthogonal") else [0.05, 0.5, 0.95]
    np.testing.assert_allclose(np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=0.03 * spread)


@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 3, 4, 5)])
def test_fans_are_those_of_keras(shape):
    assert initializers.random.fans(shape) == keras.src.initializers.random_initializers.compute_fans(shape)
    if len(shape) == 4:
        assert initializers.random.fans(shape, (1, 3), (0,)) == (15, 2)


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (2, 3, 4)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    q = initializers.Orthogonal(gain=2.0)(shape).reshape(-1, shape[-1]) / 2
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-6)


def test_fixed_values():
    assert initializers.Constant([1, 2])((2, 2), "int32").tolist() == [[1, 2], [1, 2]]
    np.testing.assert_array_equal(initializers.Identity(3.0)((2, 3)), keras.initializers.Identity(3.0)((2, 3)))
    with pytest.raises(ValueError, match=r"Identity: shape=\(2,\) has 1 axes; expected a matrix"):
        initializers.Identity()((2,))


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_repeats_values_and_no_seed_draws_fresh_ones(name):
    cls = getattr(initializers, name)
    seeded, unseeded = cls(**RANDOM[name], seed=3), cls(**RANDOM[name])
    np.testing.assert_array_equal(seeded((3, 4)), seeded((3, 4)))
    np.testing.assert_array_equal(seeded((3, 4)), cls(**RANDOM[name], seed=3)((3, 4)))
    assert (unseeded((3, 4)) != unseeded((3, 4))).any()
    assert (unseeded((3, 4)) != cls(**RANDOM[name])((3, 4))).any()


def test_the_global_seed_repeats_what_has_no_seed():
    def draws():
        seeds.set_global_seed(5)
        first, second = initializers.HeNormal(), initializers.HeNormal()
        return [first((3, 3)), second((3, 3)), first((3, 3))]

    for a, b in zip(draws(), draws()):
        np.testing.assert_array_equal(a, b)


def test_a_seed_generator_gives_each_initializer_its_own_values():
    class Generator:
        seed = 4

    def draws():
        generator = Generator()
        return [initializers.RandomNormal(seed=generator)((3,)) for _ in range(2)]

    first, second = draws()
    assert (first != second).any()
    np.testing.assert_array_equal(first, draws()[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_float_types_hold_the_same_values_rounded(dtype):
    values = initializers.GlorotUniform(seed=1)((20, 20), dtype)
    assert isinstance(values, np.ndarray) and values.dtype.name == dtype
    np.testing.assert_allclose(values.astype("float64"), initializers.GlorotUniform(seed=1)((20, 20), "float64"), atol=2e-3)


@pytest.mark.parametrize("cls", sorted({e for e in registry.initializers.entries.values() if e.__module__.startswith("pellucid")}, key=str))
def test_config_round_trip(cls):
    original = cls(**({"seed": 3} if "seed" in cls().get_config() else {}))
    again = initializers.deserialize(initializers.serialize(original))
    assert type(again) is cls and repr(again) == repr(original)
    np.testing.assert_array_equal(again((3, 3)), original((3, 3)))


def test_names_are_those_of_keras():
    missing = set(keras.src.initializers.ALL_OBJECTS_DICT) - set(registry.initializers.entries)
    assert missing <= {"Initializer", "initializer", "STFT", "stft", "STFTInitializer"}
    assert isinstance(initializers.get("glorot_uniform"), initializers.GlorotUniform)
    assert initializers.get(None) is None
    assert isinstance(initializers.get(initializers.Ones), initializers.Ones)
    np.testing.assert_array_equal(initializers.get(np.arange(3))((3,), "float32"), [0, 1, 2])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: initializers.get("glorot_unifrom"), "Did you mean 'glorot_uniform'"),
        (lambda: initializers.get(np.zeros(3))((4,)), r"array of shape \(3,\); the weight has shape \(4,\)"),
        (lambda: initializers.VarianceScaling(0.0), "scale=0.0 is not positive"),
        (lambda: initializers.VarianceScaling(mode="fan"), "mode='fan' is not known. Did you mean"),
        (lambda: initializers.VarianceScaling(distribution="gauss"), "distribution='gauss' is not known"),
        (lambda: initializers.RandomNormal(seed=-1), "seed=-1 cannot be used"),
        (lambda: initializers.RandomNormal(seed="a"), "seed='a' cannot be used"),
        (lambda: initializers.RandomNormal()((2,), "int32"), "dtype='int32' cannot hold random values"),
        (lambda: initializers.Orthogonal()((2,)), r"shape=\(2,\) has 1 axes; expected two or more"),
    ],
)
def test_errors_name_the_value_and_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()
