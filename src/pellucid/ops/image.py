"""Images: colours, sizes, patches, filters. All take one image (h, w, channels) or a batch of them, and both data formats.

``data_format`` is "channels_last" or "channels_first"; by default what ``config.image_data_format()`` says.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.errors import ShapeError
from pellucid.ops import windows
from pellucid.ops.names import publish
from pellucid.ops.resizing import resize
from pellucid.ops.warping import affine_transform, map_coordinates, perspective_transform, scale_and_translate

LUMINANCE = (0.2989, 0.5870, 0.1140)


def _of_images(rank: int = 2) -> Callable:
    """A decorator: a function of a batch (batch, …, channels) takes single images and channels before the axes of space, too."""

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function)
        first = next(iter(signature.parameters))

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            given = bound.arguments
            images = jnp.asarray(given[first])
            single, last = images.ndim == rank + 1, windows.format_of(function.__name__, given.pop("data_format", None)) == "channels_last"
            if images.ndim not in (rank + 1, rank + 2):
                raise ShapeError(
                    f"{function.__name__}: {first} has shape {images.shape}; expected {rank + 1} axes, or {rank + 2} of a batch, "
                    f"{'the last' if last else 'the one before those of space'} that of the channels."
                )
            images = images[None] if single else images
            given[first] = images if last else jnp.moveaxis(images, 1, -1)
            made = function(*bound.args, **bound.kwargs)
            made = made if last else jnp.moveaxis(made, rank + 1, 1)
            return made[0] if single else made

        return wrapped

    return decorate


# ---- Colours ----


@_of_images()
def rgb_to_grayscale(images: Any, data_format: str | None = None) -> jax.Array:
    """The luminance, ``0.2989 * red + 0.5870 * green + 0.1140 * blue``, as the one channel. Images of one channel stay.

    Example:
        >>> from pellucid import ops
        >>> ops.image.rgb_to_grayscale(ops.ones((1, 4, 4, 3))).shape
        (1, 4, 4, 1)
    """
    if images.shape[-1] not in (1, 3):
        raise ShapeError(f"rgb_to_grayscale: images have {images.shape[-1]} channels; expected 3, or 1.")
    if images.shape[-1] == 1:
        return images
    wide = images.astype(jnp.result_type(images.dtype, float))
    return jnp.sum(wide * jnp.array(LUMINANCE, wide.dtype), axis=-1, keepdims=True).astype(images.dtype)


@_of_images()
def rgb_to_hsv(images: Any, data_format: str | None = None) -> jax.Array:
    """Hue, saturation and value, all from 0 to 1, of red, green and blue from 0 to 1. Source: Smith 1978, "Color gamut transform pairs"."""
    red, green, blue = _channels("rgb_to_hsv", images)
    value, spread = jnp.max(images, axis=-1), jnp.max(images, axis=-1) - jnp.min(images, axis=-1)
    some = jnp.where(spread > 0, spread, 1.0)
    hue = jnp.where(value == green, (blue - red) / some + 2.0, (red - green) / some + 4.0)
    hue = jnp.where(value == red, (green - blue) / some, hue) / 6.0
    saturation = jnp.where(value > 0, spread / jnp.where(value > 0, value, 1.0), 0.0)
    return jnp.stack([jnp.where(spread > 0, hue % 1.0, 0.0), saturation, value], axis=-1)


@_of_images()
def hsv_to_rgb(images: Any, data_format: str | None = None) -> jax.Array:
    """The inverse of ``rgb_to_hsv``."""
    hue, saturation, value = _channels("hsv_to_rgb", images)
    sixths = hue % 1.0 * 6.0
    strengths = [jnp.abs(sixths - 3.0) - 1.0, 2.0 - jnp.abs(sixths - 2.0), 2.0 - jnp.abs(sixths - 4.0)]
    return jnp.stack([value * (1.0 - saturation + saturation * jnp.clip(s, 0.0, 1.0)) for s in strengths], axis=-1)


def _channels(function: str, images: jax.Array) -> list[jax.Array]:
    if images.shape[-1] != 3 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ShapeError(f"{function}: images have {images.shape[-1]} channels of type {images.dtype}; expected 3, of floating type.")
    return [images[..., channel] for channel in range(3)]


# ---- Sizes ----


@_of_images()
def pad_images(
    images: Any,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> jax.Array:
    """Images with zeros around them. Of top, bottom and target height two are given, and of left, right and target width.

    Raises:
        ValueError: fewer or more are given, or a padding is negative.

    Example:
        >>> from pellucid import ops
        >>> ops.image.pad_images(ops.ones((1, 2, 2, 3)), 1, 0, target_height=4, target_width=5).shape
        (1, 4, 5, 3)
    """
    edges = [
        _edges("pad_images", "padding", sides, given, target, None if target is None else target - has)
        for sides, given, target, has in (
            (("top", "bottom", "height"), (top_padding, bottom_padding), target_height, images.shape[1]),
            (("left", "right", "width"), (left_padding, right_padding), target_width, images.shape[2]),
        )
    ]
    return jnp.pad(images, ((0, 0), *edges, (0, 0)))


@_of_images()
def crop_images(
    images: Any,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> jax.Array:
    """Images without their edges. Of top, bottom and target height two are given, and of left, right and target width.

    Raises:
        ValueError: fewer or more are given, or an edge is negative.

    Example:
        >>> from pellucid import ops
        >>> ops.image.crop_images(ops.ones((1, 5, 5, 3)), 1, 1, target_height=2, target_width=3).shape
        (1, 2, 3, 3)
    """
    (top, bottom), (left, right) = (
        _edges("crop_images", "cropping", sides, given, target, None if target is None else has - target)
        for sides, given, target, has in (
            (("top", "bottom", "height"), (top_cropping, bottom_cropping), target_height, images.shape[1]),
            (("left", "right", "width"), (left_cropping, right_cropping), target_width, images.shape[2]),
        )
    )
    return images[:, top : images.shape[1] - bottom, left : images.shape[2] - right]


def _edges(function: str, what: str, sides: tuple, given: tuple, target: int | None, total: Any) -> tuple[Any, Any]:
    """(before, after), of which one may follow from the total that a target size leaves for both."""
    names = [f"{sides[0]}_{what}", f"{sides[1]}_{what}", f"target_{sides[2]}"]
    told = ", ".join(f"{name}={value}" for name, value in zip(names, (*given, target)))
    if [*given, target].count(None) != 1:
        raise ValueError(f"{function}: {told}; expected two of the three.")
    before, after = given
    if target is not None:
        before, after = (total - after if before is None else before), (total - before if after is None else after)
    if any(isinstance(edge, int) and edge < 0 for edge in (before, after)):
        raise ValueError(f"{function}: {told} make edges of {before} and {after}; expected none below 0.")
    return before, after


# ---- Patches ----


def extract_patches(
    images: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """Windows of images, of volumes where ``size`` has three numbers. Shapes: (batch, h, w, c) -> (batch, rows, columns, area * c).

    Args:
        images: see above.
        size: of a window.
        strides: distance of the windows; by default their size.
        dilation_rate: distance of the pixels of a window.
        padding: "valid", or "same" for zeros around.
        data_format: see above.

    Example:
        >>> from pellucid import ops
        >>> ops.image.extract_patches(ops.ones((1, 4, 4, 3)), 2).shape
        (1, 2, 2, 12)
    """
    if not isinstance(size, int) and len(size) == 3:
        return extract_patches_3d(images, size, strides, dilation_rate, padding, data_format)
    return _of_images(2)(_patches)(images, size, strides, dilation_rate, padding, data_format)


def extract_patches_3d(
    volumes: Any,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> jax.Array:
    """Windows of volumes (batch, d, h, w, c) or (d, h, w, c); arguments as in ``extract_patches``."""
    return _of_images(3)(_patches)(volumes, size, strides, dilation_rate, padding, data_format)


def _patches(images: Any, size: Any, strides: Any, dilation_rate: Any, padding: str, data_format: str | None = None) -> jax.Array:
    where, rank = "extract_patches", images.ndim - 2
    sizes, dilations = (windows.per_axis(where, name, v, rank) for name, v in (("size", size), ("dilation_rate", dilation_rate)))
    steps = sizes if strides is None else windows.per_axis(where, "strides", strides, rank)
    reaches = [(k - 1) * d + 1 for k, d in zip(sizes, dilations)]
    if windows.padding_of(where, padding) == "same":
        missing = [max((math.ceil(n / s) - 1) * s + r - n, 0) for n, s, r in zip(images.shape[1:-1], steps, reaches)]
        images = jnp.pad(images, ((0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)))
    places = [
        np.arange((n - r) // s + 1)[:, None] * s + np.arange(k) * d
        for n, r, s, k, d in zip(images.shape[1:-1], reaches, steps, sizes, dilations)
    ]
    counts = [len(p) for p in places]
    # along each axis (windows, pixels of a window); all windows first, then all pixels
    index = [np.expand_dims(p, tuple(a for a in range(2 * rank) if a not in (axis, rank + axis))) for axis, p in enumerate(places)]
    return jnp.reshape(images[(slice(None), *index)], (images.shape[0], *counts, math.prod(sizes) * images.shape[-1]))


# ---- Filters ----


@_of_images()
def gaussian_blur(images: Any, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: str | None = None) -> jax.Array:
    """Images times a bell curve along each axis, with zeros around them.

    Args:
        images: see above.
        kernel_size: pixels of the curve, along width and height: in this order in Keras.
        sigma: its standard deviations, likewise.
        data_format: see above.
    """
    sigma = jnp.asarray(sigma, images.dtype)
    for axis, (size, width) in enumerate(zip(windows.per_axis("gaussian_blur", "kernel_size", kernel_size, 2), sigma)):
        images = _filtered(images, _bell(size, width), 2 - axis, "same")
    return images


@_of_images()
def sobel_edges(images: Any, data_format: str | None = None) -> jax.Array:
    """How much images change along height and along width, on a new last axis. Source: Sobel and Feldman 1968.

    Example:
        >>> from pellucid import ops
        >>> ops.image.sobel_edges(ops.ones((1, 4, 4, 3))).shape
        (1, 4, 4, 3, 2)
    """
    smooth, change = (jnp.array(taps, images.dtype) for taps in ([1, 2, 1], [-1, 0, 1]))
    edges = [_filtered(_filtered(images, change, axis, "same"), smooth, 3 - axis, "same") for axis in (1, 2)]
    return jnp.stack(edges, axis=-1)


def ssim(
    image1: Any,
    image2: Any,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> jax.Array:
    """Structural similarity: 1 for equal images. Shapes: twice (batch, h, w, channels) -> (batch,).

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".

    Args:
        image1, image2: of equal shape; see above.
        max_val: the greatest value of a pixel, less the least.
        filter_size: pixels of the bell curve over which means are taken.
        filter_sigma: its standard deviation.
        k1, k2: keep the quotients finite, as shares of ``max_val``.
        data_format: see above.
    """
    first, second = jnp.asarray(image1), jnp.asarray(image2)
    if first.shape != second.shape:
        raise ShapeError(f"ssim: image1 has shape {first.shape} and image2 has shape {second.shape}; expected equal shapes.")
    if first.ndim not in (3, 4):
        raise ShapeError(f"ssim: image1 has shape {first.shape}; expected 3 axes, or 4 of a batch.")
    wide = [x.astype(jnp.result_type(x.dtype, float)) for x in (first, second)]
    if windows.format_of("ssim", data_format) == "channels_first":
        wide = [jnp.moveaxis(x, -3, -1) for x in wide]
    x, y = wide if first.ndim == 4 else (x[None] for x in wide)
    taps = _bell(filter_size, filter_sigma)
    mean = lambda values: _filtered(_filtered(values, taps, 1, "valid"), taps, 2, "valid")
    mean_x, mean_y = mean(x), mean(y)
    spread_x, spread_y, common = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2, mean(x * y) - mean_x * mean_y
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * common + c2) / ((mean_x**2 + mean_y**2 + c1) * (spread_x + spread_y + c2))
    values = jnp.mean(alike, axis=(1, 2, 3)).astype(first.dtype)
    return values if first.ndim == 4 else values[0]


def _bell(size: int, sigma: Any) -> jax.Array:
    taps = jnp.exp(-0.5 * jnp.square((jnp.arange(size) - (size - 1) / 2) / sigma))
    return taps / jnp.sum(taps)


def _filtered(images: jax.Array, taps: jax.Array, axis: int, padding: str) -> jax.Array:
    """Sums over neighbours along an axis, as shifted images: a few products for each pixel, which XLA makes one loop of."""
    size = len(taps)
    if padding == "same":
        images = jnp.pad(images, [((size - 1) // 2, size // 2) if a == axis else (0, 0) for a in range(images.ndim)])
    length = images.shape[axis] - size + 1
    return sum(tap * jax.lax.slice_in_dim(images, i, i + length, axis=axis) for i, tap in enumerate(taps.astype(images.dtype)))  # type: ignore[return-value]


__all__ = publish(globals())
