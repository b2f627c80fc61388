"""The dropout family and noise: nothing out of training, and in training what their papers say."""

import numpy as np
import pytest

import pellucid
from pellucid import layers
from tests.cases import some_slow

X = np.random.default_rng(0).normal(1.0, 2.0, (64, 8, 8, 16)).astype("float32")
FAMILY = {
    "Dropout": lambda **o: layers.Dropout(0.3, **o),
    "AlphaDropout": lambda **o: layers.AlphaDropout(0.3, **o),
    "GaussianDropout": lambda **o: layers.GaussianDropout(0.3, **o),
    "GaussianNoise": lambda **o: layers.GaussianNoise(0.7, **o),
    "SpatialDropout2D": lambda **o: layers.SpatialDropout2D(0.3, **o),
}


@pytest.mark.parametrize("name", some_slow(FAMILY, ["Dropout", "AlphaDropout", "GaussianNoise"]))
def test_inference_is_the_identity_and_draws_differ_in_training(name):
    make = FAMILY[name]
    layer = make()
    np.testing.assert_array_equal(layer(X), X)
    np.testing.assert_array_equal(layer(X, training=False), X)
    first, second = np.asarray(layer(X, training=True)), np.asarray(layer(X, training=True))
    assert first.dtype == X.dtype and (first != second).any()
    np.testing.assert_array_equal(make(seed=3)(X, training=True), make(seed=3)(X, training=True))


@pytest.mark.parametrize("name", some_slow(FAMILY, ["Dropout", "SpatialDropout2D"]))
def test_one_capture_serves_both_modes_and_all_sizes(name):
    class Net(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.noisy, self.flat, self.out = FAMILY[name](), layers.Flatten(), layers.Dense(1)

        def call(self, x):
            return self.out(self.flat(self.noisy(x)))

    model = Net()
    model.compile("sgd", "mse")
    y = np.zeros((64, 1), "float32")
    model.fit(X, y, batch_size=24, validation_data=(X, y), verbose=0)
    np.testing.assert_allclose(model.predict(X, verbose=0), model.predict(X[:64], batch_size=64, verbose=0), rtol=1e-3, atol=1e-4)
    assert model.ledger.call_count == 1


def test_alpha_dropout_keeps_mean_and_variance_of_what_it_is_for():
    x = np.random.default_rng(1).normal(size=(400, 400)).astype("float32")  # as selu gives
    y = np.asarray(layers.AlphaDropout(0.3, seed=1)(x, training=True))
    assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02
    values, counts = np.unique(y, return_counts=True)
    assert abs(counts.max() / y.size - 0.3) < 0.01  # the dropped ones all have the same value
    again = np.asarray(layers.AlphaDropout(0.3, noise_shape=(None, 1), seed=1)(x, training=True))
    dropped = again == np.unique(again, return_counts=True)[0][np.unique(again, return_counts=True)[1].argmax()]
    assert (dropped.all(1) | ~dropped.any(1)).all()


def test_gaussian_dropout_and_noise_have_the_spread_that_was_asked_for():
    x = np.full((500, 500), 2.0, "float32")
    y = np.asarray(layers.GaussianDropout(0.2, seed=1)(x, training=True)) / 2
    assert abs(y.mean() - 1) < 0.01 and abs(y.std() - 0.5) < 0.01  # sqrt(0.2 / 0.8)
    y = np.asarray(layers.GaussianNoise(0.3, seed=1)(x, training=True)) - 2
    assert abs(y.mean()) < 0.01 and abs(y.std() - 0.3) < 0.01


@pytest.mark.parametrize(
    "layer, shape, over",
    [
        (layers.SpatialDropout1D(0.5, seed=1), (50, 6, 20), (1,)),
        (layers.SpatialDropout2D(0.5, seed=1), (50, 3, 3, 20), (1, 2)),
        (layers.SpatialDropout2D(0.5, "channels_first", seed=1), (50, 20, 3, 3), (2, 3)),
        (layers.SpatialDropout3D(0.5, seed=1), (50, 2, 2, 2, 20), (1, 2, 3)),
    ],
)
def test_spatial_dropout_drops_whole_channels(layer, shape, over):
    y = np.asarray(layer(np.ones(shape, "float32"), training=True))
    assert set(np.unique(y)) == {0.0, 2.0}
    means = y.mean(over)
    assert set(np.unique(means)) == {0.0, 2.0} and 0.4 < (means == 0).mean() < 0.6


@pytest.mark.parametrize(
    "wrong, told",
    [
        (lambda: layers.GaussianDropout(1.0), r"GaussianDropout: rate=1.0; expected a number in \[0, 1\)"),
        (lambda: layers.AlphaDropout("a"), "AlphaDropout: rate='a'"),
        (lambda: layers.GaussianNoise(-1), "GaussianNoise: stddev=-1; expected a number of at least zero"),
        (lambda: layers.SpatialDropout2D(0.5, "last"), "data_format='last'; expected 'channels_last'"),
        (lambda: layers.SpatialDropout1D(0.5)(X, training=True), "expected ndim=3"),
        (lambda: layers.SpatialDropout3D(0.5)(X, training=True), "expected ndim=5"),
    ],
)
def test_mistakes(wrong, told):
    with pytest.raises(ValueError, match=told):
        wrong()
