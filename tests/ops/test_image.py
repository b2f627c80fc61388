"""Images: the functions of Keras's ops.image, for single images and batches, and for both data formats."""

import inspect

import jax
import keras
import numpy as np
import pytest
from jax import export

from pellucid import ops
from tests.cases import some_slow
from tests.ops.case import RANDOM

IMAGES = RANDOM.uniform(size=(2, 6, 8, 3)).astype("float32")
OTHERS = RANDOM.uniform(size=(2, 6, 8, 3)).astype("float32")
VOLUMES = RANDOM.uniform(size=(2, 4, 4, 6, 2)).astype("float32")
SHIFT = np.array([1.1, 0.2, -1.5, -0.1, 0.9, 2.2, 0, 0], "float32")
CORNERS = np.array([[0, 0], [7, 0], [0, 5], [7, 5]], "float32")
MOVED = CORNERS + RANDOM.uniform(-1, 1, (2, 4, 2)).astype("float32")
FORMATS = ("channels_last", "channels_first")
# name: calls, each (further arguments, options)
CALLS = {
    "affine_transform": [
        ((np.stack([SHIFT, SHIFT / 2]),), {}),
        ((np.stack([SHIFT] * 2),), {"interpolation": "nearest", "fill_mode": "reflect"}),
    ],
    "crop_images": [((1, 2, 3, 1), {}), ((1, 2), {"target_height": 3, "target_width": 4})],
    "extract_patches": [
        ((2,), {}),
        ((3,), {"strides": 2, "padding": "same"}),
        (((2, 3),), {"strides": (1, 2)}),
        ((2,), {"strides": 1, "dilation_rate": 2}),
    ],
    "gaussian_blur": [((), {"data_format": None}), (((5, 3), (0.7, 1.4)), {"data_format": None})],
    "hsv_to_rgb": [((), {})],
    "pad_images": [((1, 2, 3, 1), {}), ((1, 2), {"target_height": 9, "target_width": 12})],
    "perspective_transform": [((np.stack([CORNERS] * 2), MOVED), {}), ((MOVED, np.stack([CORNERS] * 2)), {"interpolation": "nearest"})],
    "resize": [
        (((3, 5),), {}),
        (((9, 4),), {"interpolation": "nearest"}),
        (((4, 4),), {"interpolation": "bicubic", "antialias": True}),
        (((5, 3),), {"crop_to_aspect_ratio": True}),
        (((4, 4),), {"pad_to_aspect_ratio": True, "fill_value": 0.5}),
    ],
    "rgb_to_grayscale": [((), {})],
    "rgb_to_hsv": [((), {})],
    "sobel_edges": [((), {})],
    "ssim": [((OTHERS,), {"filter_size": 4}), ((OTHERS,), {"filter_size": 3, "max_val": 2.0})],
}
CASES = [(name, number, data_format) for name, calls in CALLS.items() for number in range(len(calls)) for data_format in FORMATS]


@pytest.mark.parametrize("name, number, data_format", some_slow(CASES, CASES[::3]))
def test_images_are_those_of_keras(name, number, data_format):
    args, options = CALLS[name][number]
    first = data_format == "channels_first"
    images, *args = ((np.moveaxis(a, -1, 1) if first and a is OTHERS else a) for a in (IMAGES, *args))
    images = np.moveaxis(images, -1, 1) if first else images
    options = {**options, "data_format": data_format}
    both = [getattr(library.image, name) for library in (ops, keras.ops)]
    got, expected = jax.jit(lambda images: [f(images, *args, **options) for f in both])(images)
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", some_slow(sorted(set(CALLS) - {"affine_transform", "perspective_transform", "ssim"}), ["resize"]))
def test_one_image_is_a_batch_of_one(name):
    for args, options in CALLS[name]:
        batch = getattr(ops.image, name)(IMAGES, *args, **options)
        np.testing.assert_allclose(getattr(ops.image, name)(IMAGES[1], *args, **options), batch[1], rtol=1e-5, atol=1e-6)


def test_one_transformation_serves_all_images():
    for name, args in (("affine_transform", (SHIFT,)), ("perspective_transform", (CORNERS, MOVED[0]))):
        all_at_once = getattr(ops.image, name)(IMAGES, *args)
        np.testing.assert_allclose(all_at_once[1], getattr(ops.image, name)(IMAGES[1], *args), rtol=1e-5)
    np.testing.assert_allclose(ops.image.ssim(IMAGES[0], OTHERS[0], filter_size=4), ops.image.ssim(IMAGES, OTHERS, filter_size=4)[0])


@pytest.mark.parametrize("name", some_slow(sorted(CALLS), ["resize", "rgb_to_hsv"]))
def test_the_number_of_images_may_be_unknown(name):
    (batch,) = export.symbolic_shape("batch")
    spec = jax.ShapeDtypeStruct((batch, *IMAGES.shape[1:]), "float32")
    singles = {"affine_transform": (SHIFT,), "perspective_transform": (CORNERS, MOVED[0])}
    args, options = CALLS[name][0]
    if name == "ssim":
        assert jax.eval_shape(lambda x, y: ops.image.ssim(x, y, filter_size=4), spec, spec).shape == (batch,)
    else:
        made = jax.eval_shape(lambda x: getattr(ops.image, name)(x, *singles.get(name, args), **options), spec)
        assert made.shape[0] == batch


def test_volumes_have_patches():
    for args, options in (((2,), {}), (((2, 1, 3),), {"strides": (1, 2, 3), "padding": "same"})):
        expected = keras.ops.image.extract_patches_3d(VOLUMES, *args, **options)
        np.testing.assert_allclose(ops.image.extract_patches_3d(VOLUMES, *args, **options), expected, rtol=1e-5)
    np.testing.assert_allclose(ops.image.extract_patches(VOLUMES, (2, 2, 2)), ops.image.extract_patches_3d(VOLUMES, 2))


def test_places_and_scales_are_those_of_keras():
    places = RANDOM.uniform(-1, 7, (2, 3, 5)).astype("float32")
    for order, mode in ((0, "nearest"), (1, "wrap"), (1, "constant")):
        got, expected = (side.image.map_coordinates(IMAGES[0, ..., 0], places, order, mode, 0.3) for side in (ops, keras.ops))
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    arguments = ((4, 5, 3), np.array([0.5, 1.5], "float32"), np.array([1.0, -2.0], "float32"), (0, 1), "linear")
    got, expected = (side.image.scale_and_translate(IMAGES[0], *arguments) for side in (ops, keras.ops))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_colours_go_there_and_back():
    np.testing.assert_allclose(ops.image.hsv_to_rgb(ops.image.rgb_to_hsv(IMAGES)), IMAGES, atol=1e-6)
    bytes_ = (255 * IMAGES).astype("uint8")
    np.testing.assert_array_equal(ops.image.rgb_to_grayscale(bytes_), keras.ops.image.rgb_to_grayscale(bytes_))
    assert ops.image.rgb_to_grayscale(bytes_[..., :1]).shape == (2, 6, 8, 1)


@pytest.mark.parametrize("name", ops.image.__all__)
def test_arguments_are_those_of_keras(name):
    ours, theirs = (list(inspect.signature(getattr(side.image, name)).parameters) for side in (ops, keras.ops))
    assert ours == theirs


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda image: image.resize(IMAGES[0, 0], (2, 2)), r"resize: images of shape \(8, 3\) have 2 axes; expected 4, or 3"),
        (lambda image: image.resize(IMAGES, (2, 2), "linear"), "interpolation='linear' is not known. Did you mean 'bilinear'"),
        (lambda image: image.resize(IMAGES, (2, 2), fill_mode="wrap"), "fill_mode='wrap'; expected 'constant'"),
        (lambda image: image.resize(IMAGES, (2, 2), crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "one of them at most"),
        (lambda image: image.pad_images(IMAGES, 1, 1), "top_padding=1, bottom_padding=None, target_height=None; expected two of the three"),
        (lambda image: image.crop_images(IMAGES, 1, 1, target_height=9, target_width=2), "make edges of 1 and -4; expected none below 0"),
        (lambda image: image.rgb_to_grayscale(IMAGES[..., :2]), "images have 2 channels; expected 3, or 1"),
        (lambda image: image.rgb_to_hsv(IMAGES.astype("int32")), "3 channels of type int32; expected 3, of floating type"),
        (lambda image: image.ssim(IMAGES, OTHERS[:1]), "ssim: image1 has shape"),
        (lambda image: image.ssim(IMAGES[0, 0], IMAGES[0, 0]), r"image1 has shape \(8, 3\); expected 3 axes"),
        (lambda image: image.map_coordinates(IMAGES[0], IMAGES[:1], 1), r"expected \(3, …\), a row for each axis"),
        (lambda image: image.map_coordinates([1.0], [[0.0]], 2), "order=2; expected 0 or 1"),
        (lambda image: image.map_coordinates([1.0], [[0.0]], 1, "refect"), "fill_mode='refect' is not known. Did you mean 'reflect'"),
        (lambda image: image.affine_transform(IMAGES, [1.0]), r"transform has shape \(1,\); expected \(8,\)"),
        (lambda image: image.affine_transform(IMAGES[0, 0], SHIFT), "images have shape"),
        (lambda image: image.affine_transform(IMAGES, SHIFT, "cubic"), "interpolation='cubic' is not known"),
        (lambda image: image.perspective_transform(IMAGES, CORNERS, MOVED), "expected \\(4, 2\\) or \\(batch, 4, 2\\), of both alike"),
        (lambda image: image.scale_and_translate(IMAGES, (1,), [1.0], [1.0], (0,), "cubist"), "method='cubist' is not known"),
    ],
)
def test_errors_name_the_value_and_what_was_expected(call, says):
    with pytest.raises(ValueError, match=says):
        call(ops.image)
