"""Convolutions and pooling give Keras's numbers for every padding, stride, gap and data format, and refuse what cannot be meant."""

import functools
import itertools

import jax
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers, ops
from pellucid.errors import ShapeError

RANDOM = np.random.default_rng(0)
FORMATS = ("channels_last", "channels_first")


def inputs(rank, data_format, channels=4, size=6):
    space = tuple(range(size, size + rank))
    return RANDOM.normal(size=(2, *space, channels) if data_format == "channels_last" else (2, channels, *space)).astype("float32")


def kernel(rank, *channels, size=3):
    return RANDOM.normal(size=(*(size,) * rank, *channels)).astype("float32")


def assert_equal_to_keras(calls):
    """Of each (name, arrays, options); in one program for either library, since each operation alone would be compiled, too."""

    def results(library, arrays):
        return [getattr(library, name)(*given, **options) for (name, _, options), given in zip(calls, arrays)]

    ours, theirs = (jax.jit(functools.partial(results, library))([arrays for _, arrays, _ in calls]) for library in (ops, keras.ops))
    for (name, _, options), a, b in zip(calls, ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype, (name, options)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=f"{name} {options}")


WINDOWS = [  # (strides, dilation)
    *itertools.product((1, 2, (2, 1)), (1,)), (1, 2), (1, (1, 2)), (2, 2)
]  # fmt: skip


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_convolutions_are_those_of_keras(padding, data_format):
    x, calls = inputs(2, data_format), []
    for strides, dilation in WINDOWS:
        options = {"strides": strides, "padding": padding, "data_format": data_format, "dilation_rate": dilation}
        calls += [("conv", (x, kernel(2, 4, 3, size=2)), options), ("conv", (x, kernel(2, 2, 6)), options)]  # also two groups
        if isinstance(strides, int):
            calls += [("depthwise_conv", (x, kernel(2, 4, 2)), options)]
            calls += [("separable_conv", (x, kernel(2, 4, 2), kernel(2, 8, 3, size=1)), options)]
    assert_equal_to_keras(calls)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_transposed_convolutions_are_those_of_keras(size, padding):
    """Also where the stride is larger than the kernel, and for every output padding that the stride allows."""
    x, calls = inputs(1, "channels_last", size=4), []
    for strides, dilation in ((1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (2, 2)):
        for more in (None, *range(strides)):
            options = {"strides": strides, "padding": padding, "output_padding": more, "dilation_rate": dilation}
            calls += [("conv_transpose", (x, kernel(1, 3, 4, size=size)), options)]
    assert_equal_to_keras(calls)


@pytest.mark.parametrize("data_format", FORMATS)
def test_transposed_convolutions_of_images_and_volumes_are_those_of_keras(data_format):
    options = {"padding": "same", "data_format": data_format}
    image = inputs(2, data_format), kernel(2, 3, 4)
    volume = inputs(3, data_format, 2, 3), kernel(3, 3, 2, size=2)
    assert_equal_to_keras(
        [
            ("conv_transpose", image, {**options, "strides": (2, 1), "output_padding": (1, 0)}),
            ("conv_transpose", volume, {**options, "strides": 2}),
        ]
    )


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
def test_pooling_is_that_of_keras(name, data_format):
    x = inputs(2, data_format) - 3  # nothing above zero: padding must not win
    windows = itertools.product((2, (3, 1)), (1, (2, 3)), ("valid", "same"))
    calls = [(x, {"pool_size": size, "strides": strides, "padding": padding}) for size, strides, padding in windows]
    calls += [(inputs(3, data_format, 2, 3), {"pool_size": 2, "strides": 2, "padding": "same"})]
    assert_equal_to_keras([(name, (given,), {**options, "data_format": data_format}) for given, options in calls])


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_means_of_large_windows_are_right_in_half_precision(padding):
    x = RANDOM.uniform(0.5, 1.5, (1, 40, 40, 1)).astype("float32")
    precise, half = (ops.average_pool(x.astype(dtype), 30, 10, padding) for dtype in ("float32", "bfloat16"))
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(half.astype("float32"), precise, rtol=1e-2)


def test_windows_touch_unless_told_otherwise():
    """Keras on JAX fails where no strides are given."""
    x = inputs(2, "channels_last")
    np.testing.assert_array_equal(ops.max_pool(x, (2, 3)), ops.max_pool(x, (2, 3), strides=(2, 3)))


@pytest.mark.parametrize("name", ["adaptive_max_pool", "adaptive_average_pool"])
def test_adaptive_pooling_is_that_of_keras(name):
    series = [(name, (inputs(1, "channels_last"),), {"output_size": size}) for size in (1, 2, 4, 6)]
    images = [(name, (inputs(2, form),), {"output_size": (4, 3), "data_format": form}) for form in FORMATS]
    assert_equal_to_keras(series + images)


def test_adaptive_pooling_to_more_than_there_is_repeats():
    """Window i of 4 over 3 elements spans floor(3 i / 4) to ceil(3 (i + 1) / 4)."""
    x = np.array([1.0, 2.0, 5.0], "float32").reshape(1, 3, 1)
    assert ops.adaptive_max_pool(x, 4).ravel().tolist() == [1, 2, 5, 5]
    assert ops.adaptive_average_pool(x, 4).ravel().tolist() == [1, 1.5, 3.5, 5]


def test_whole_numbers_can_be_pooled_and_convolved():
    x = np.arange(6, dtype="int32").reshape(1, 6, 1)
    assert ops.max_pool(-x, 2).ravel().tolist() == [0, -2, -4] and ops.max_pool(x, 2).dtype == "int32"
    assert ops.average_pool(x, 2).ravel().tolist() == [0.5, 2.5, 4.5]
    assert ops.adaptive_average_pool(x, 2).ravel().tolist() == [1, 4]
    assert ops.conv(x.astype("uint8"), np.ones((2, 1, 1), "float32")).ravel().tolist() == [1, 3, 5, 7, 9]


def test_a_causal_convolution_sees_nothing_later():
    x, weights = inputs(1, "channels_last"), kernel(1, 4, 1)

    def output(x, step):
        return ops.conv(x, weights, padding="causal", dilation_rate=2)[0, step, 0]

    for step in range(x.shape[1]):
        seen = np.abs(jax.grad(output)(x, step)[0]).sum(1) > 0
        assert seen.tolist() == [t in (step, step - 2, step - 4) for t in range(x.shape[1])]


def test_the_data_format_is_that_of_the_config():
    x = inputs(2, "channels_first")
    pellucid.config.set_image_data_format("channels_first")
    try:
        assert ops.conv(x, kernel(2, 4, 3)).shape == (2, 3, 4, 5)
        made = [layers.Conv2D(3, 3), layers.MaxPooling2D(), layers.GlobalMaxPooling2D(), layers.ZeroPadding2D(), layers.UpSampling2D()]
        assert [layer(x).shape for layer in made] == [(2, 3, 4, 5), (2, 4, 3, 3), (2, 4), (2, 4, 8, 9), (2, 4, 12, 14)]
        assert {layer.data_format for layer in made} == {"channels_first"}
    finally:
        pellucid.config.set_image_data_format("channels_last")


IMAGE = np.ones((2, 5, 6, 4), "float32")
BAD = {
    "rank of conv": (lambda: ops.conv(IMAGE[0, 0], kernel(2, 4, 3)), r"conv: inputs of shape \(6, 4\) have 2 axes; expected at least 3"),
    "axes of a kernel": (lambda: ops.conv(IMAGE, kernel(1, 4, 3)), r"the kernel of shape \(3, 4, 3\) has 3 axes, the inputs .* have 4"),
    "channels of conv": (lambda: ops.conv(IMAGE, kernel(2, 3, 3)), r"\(2, 5, 6, 4\) have 4 channels, and the kernel .* takes 3"),
    "filters of groups": (lambda: ops.conv(IMAGE, kernel(2, 2, 3)), "or a multiple .groups. that divides the number of filters"),
    "channels of depthwise_conv": (lambda: ops.depthwise_conv(IMAGE, kernel(2, 3, 3)), "have 4 channels, and the kernel .* is for 3"),
    "channels of conv_transpose": (lambda: ops.conv_transpose(IMAGE, kernel(2, 4, 3)), r"Its axes are \(\*window, filters, channels\)"),
    "too large a kernel": (lambda: ops.conv(IMAGE, kernel(2, 4, 3, size=6)), r"a window of \(6, 6\) does not fit into .* padding='same'"),
    "too large a gap": (lambda: ops.conv(IMAGE, kernel(2, 4, 3), dilation_rate=3), r"a window of \(7, 7\) does not fit"),
    "too large a pool": (lambda: ops.max_pool(IMAGE, (6, 1)), r"max_pool: a window of \(6, 1\) does not fit"),
    "padding": (lambda: ops.average_pool(IMAGE, 2, padding="sme"), r"average_pool: padding='sme'; expected one of .* Did you mean 'same'"),
    "causal images": (lambda: ops.conv(IMAGE, kernel(2, 4, 3), padding="causal"), "padding='causal'; expected one of 'valid', 'same'"),
    "padding of a transpose": (lambda: ops.conv_transpose(IMAGE, kernel(2, 3, 4), padding="full"), "conv_transpose: padding='full'"),
    "data format": (lambda: ops.conv(IMAGE, kernel(2, 4, 3), data_format="NHWC"), "data_format='NHWC'; expected 'channels_last'"),
    "strides": (lambda: ops.conv(IMAGE, kernel(2, 4, 3), strides=(1, 2, 3)), r"strides=\(1, 2, 3\); expected a whole number, or 2"),
    "no stride": (lambda: ops.max_pool(IMAGE, 2, strides=0), "strides=0; expected a positive whole number"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_is_refused(name):
    run, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        run()


def test_adaptive_pooling_needs_a_known_size():
    with pytest.raises(ShapeError, match="the size of axis 1 is not known"):
        jax.eval_shape(lambda x: ops.adaptive_max_pool(x, 2), jax.ShapeDtypeStruct(jax.export.symbolic_shape("n, t, 3"), "float32"))


def test_symbolic_tensors_go_through_convolution_and_pooling():
    image = pellucid.Input((8, 8, 3))
    pooled = ops.average_pool(ops.max_pool(ops.conv(image, kernel(2, 3, 5), padding="same"), 2), 2)
    model = pellucid.Model(image, pooled)
    assert pooled.shape == (None, 2, 2, 5) and model.predict(np.ones((3, 8, 8, 3), "float32"), verbose=0).shape == (3, 2, 2, 5)


def test_one_image_is_resized_as_a_batch_of_one():
    image = np.arange(24, dtype="float32").reshape(4, 6, 1)
    for options in ({}, {"crop_to_aspect_ratio": True, "interpolation": "nearest"}, {"pad_to_aspect_ratio": True, "antialias": True}):
        alone = ops.image.resize(image, (3, 3), **options)
        np.testing.assert_allclose(alone, ops.image.resize(image[None], (3, 3), **options)[0], rtol=1e-6)
        np.testing.assert_allclose(alone, keras.ops.image.resize(image, (3, 3), **options), rtol=1e-5, atol=1e-5)
    made = pellucid.Input((4, 6, 1))
    assert ops.image.resize(made, (8, 3)).shape == (None, 8, 3, 1)
