"""Layers of images: what they refuse, and that a network of them is captured once, padded and dispatched a step at a time."""

import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.errors import ShapeError

SERIES, IMAGE = np.ones((2, 7, 4), "float32"), np.ones((2, 5, 6, 4), "float32")

BAD = {
    "filters": (lambda: layers.Conv2D(0, 3), "Conv2D: filters=0; expected a positive whole number"),
    "kernel_size": (lambda: layers.Conv2D(3, (3, 3, 3)), r"Conv2D: kernel_size=\(3, 3, 3\); expected a whole number, or 2 of them"),
    "strides": (lambda: layers.MaxPooling1D(2, strides=0), "MaxPooling1D: strides=0; expected a positive"),
    "strides and gaps": (
        lambda: layers.Conv2DTranspose(3, 3, strides=2, dilation_rate=(1, 2)),
        r"Conv2DTranspose: strides=\(2, 2\) and dilation_rate=\(1, 2\); expected one of them to be 1",
    ),
    "padding": (lambda: layers.Conv1D(3, 3, padding="casual"), "Conv1D: padding='casual'; .* Did you mean 'causal'"),
    "causal images": (lambda: layers.Conv2D(3, 3, padding="causal"), "Conv2D: padding='causal'; expected one of 'valid', 'same'"),
    "data_format": (lambda: layers.AveragePooling2D(2, data_format="last"), "AveragePooling2D: data_format='last'; expected"),
    "groups": (lambda: layers.Conv2D(4, 3, groups=3), "filters=4 and groups=3; expected groups to divide filters"),
    "groups of channels": (lambda: layers.Conv2D(6, 3, groups=3)(IMAGE), "groups=3 and got inputs with 4 channels; expected groups to"),
    "multiplier": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "depth_multiplier=0"),
    "output_padding": (
        lambda: layers.Conv1DTranspose(3, 3, strides=2, output_padding=2),
        r"output_padding=2 and strides=\(2,\); expected less than the strides",
    ),
    "rank": (lambda: layers.Conv2D(3, 3)(SERIES), r"Layer 'conv2d.*' \(Conv2D\) got an input of shape \(2, 7, 4\); expected ndim=4"),
    "rank of pooling": (lambda: layers.MaxPooling2D()(SERIES), r"\(MaxPooling2D\) got an input of shape \(2, 7, 4\); expected ndim=4"),
    "rank of global pooling": (lambda: layers.GlobalMaxPooling1D()(IMAGE), "GlobalMaxPooling1D.* expected ndim=3"),
    "rank of adaptive pooling": (lambda: layers.AdaptiveMaxPooling3D(2)(IMAGE), "AdaptiveMaxPooling3D.* expected ndim=5"),
    "rank of padding": (lambda: layers.ZeroPadding2D()(SERIES), "ZeroPadding2D.* expected ndim=4"),
    "too large a kernel": (lambda: layers.Conv2D(3, 6)(IMAGE), r"a window of \(6, 6\) does not fit into .* \(2, 5, 6, 4\)"),
    "too large a pool": (lambda: layers.MaxPooling2D(6)(IMAGE), r"a window of \(6, 6\) does not fit"),
    "unknown channels": (lambda: layers.Conv2D(3, 3).build((None, 5, 6, None)), "expected a known size of axis -1"),
    "rank of build": (lambda: layers.Conv2D(3, 3).build((None, 6, 4)), r"inputs of shape \(None, 6, 4\) have 3 axes; expected 4"),
    "keepdims": (lambda: layers.GlobalMaxPooling2D(keepdims="no"), "GlobalMaxPooling2D: keepdims='no'; expected True or False"),
    "edges": (lambda: layers.ZeroPadding2D((1, 2, 3)), r"padding=\(1, 2, 3\); expected a whole number, 2 of them, or 2 pairs"),
    "negative edges": (lambda: layers.Cropping1D(-1), "Cropping1D: cropping=-1; expected a whole number of at least 0"),
    "nothing left": (lambda: layers.Cropping2D(((2, 3), (0, 0)))(IMAGE), r"cropping=.* leaves nothing of inputs of shape \(2, 5, 6, 4\)"),
    "interpolation": (lambda: layers.UpSampling2D(interpolation="linear"), "interpolation='linear' is not known. Did you mean 'bilinear'"),
    "height": (lambda: layers.Resizing(0, 5), "Resizing: height=0; expected a positive whole number"),
    "both cut and padded": (lambda: layers.Resizing(3, 3, "nearest", True, True)(IMAGE), "are both True; expected one of them at most"),
    "fill_mode": (lambda: layers.Resizing(3, 3, fill_mode="reflect")(IMAGE), "fill_mode='reflect'; expected 'constant'"),
    "no images": (lambda: layers.CenterCrop(3, 3)(SERIES[0]), r"CenterCrop: images of shape \(7, 4\) have 2 axes; expected 4, or 3"),
    "size": (lambda: layers.UpSampling1D(1.5), "UpSampling1D: size=1.5; expected a positive whole number"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_is_refused(name):
    run, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        run()


def test_a_refused_call_makes_no_weights():
    layer = layers.Conv2D(3, 3)
    with pytest.raises(ShapeError, match="expected ndim=4"):
        layer(SERIES)
    assert not layer.built and not layer.weights
    assert layer(IMAGE).shape == (2, 3, 4, 3)


def test_other_channels_than_those_of_the_kernel_are_refused():
    """Also where they would divide: that would silently be a convolution in groups."""
    layer = layers.Conv2D(6, 2)
    layer(IMAGE[..., :2])
    with pytest.raises(ShapeError, match=r"Layer 'conv2d.*' .* got an input of shape \(2, 5, 6, 4\); expected size 2 of axis -1"):
        layer(IMAGE)


def test_both_of_keras_names_are_there():
    made = {"Conv", "Pool", "ZeroPad", "Cropping", "UpSampling"}
    theirs = [n for n in dir(keras.layers) if any(m in n for m in made) and isinstance(getattr(keras.layers, n), type) and "LSTM" not in n]
    assert len(theirs) > 55
    assert all(getattr(layers, name).__name__ == getattr(keras.layers, name).__name__ for name in theirs)


class Network(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D()
        self.each, self.larger = layers.DepthwiseConv2D(2), layers.UpSampling2D(interpolation="bilinear")
        self.back, self.mean = layers.Conv2DTranspose(3, 3, strides=2, padding="same"), layers.GlobalAveragePooling2D()
        self.out = layers.Dense(3)

    def call(self, inputs):
        return self.out(self.mean(self.back(self.larger(self.each(self.pool(self.conv(inputs)))))))


def test_a_network_is_captured_once_and_its_last_batches_are_filled_up():
    """On a CPU the three steps of an epoch are written out in one program: a convolution in a loop is several times slower there."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(40, 8, 8, 1)).astype("float32"), generator.integers(0, 3, 40)
    model = Network()
    model.compile("adam", pellucid.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, validation_data=(x[:25], y[:25]), verbose=0).history
    programs = model.ledger.programs
    assert [(p.purpose, p.batch_size) for p in programs] == [("train", 16), ("test", 16)]  # 40 = 2 * 16 + 8; 25 = 16 + 9
    assert all("padded with repeated rows" in p.reason for p in programs)
    assert [p.loop for p in programs] == [True, False]  # the three steps of an epoch in one dispatch
    assert model.ledger.call_count == 1
    logits = np.asarray(model(x[:25]), "float64")
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(25), y[:25]]
    np.testing.assert_allclose(history["val_loss"][-1], losses.mean(), rtol=1e-5)


@pytest.mark.parametrize("make", [lambda: layers.Conv1D(2, 5), lambda: layers.MaxPooling1D(5), lambda: layers.AveragePooling1D(5)])
def test_a_length_that_is_shorter_than_the_window_is_refused_though_others_went_through(make):
    x = pellucid.Input((None, 3))
    model = pellucid.Model(x, layers.GlobalAveragePooling1D()(make()(x)))
    assert model.predict(np.ones((2, 8, 3), "float32"), verbose=0).shape[0] == 2
    with pytest.raises(ShapeError, match=r"a window does not fit into inputs of shape \(2, 3, 3\).* In layer .*1d"):
        model.predict(np.ones((2, 3, 3), "float32"), verbose=0)
