"""Images of other sizes, and what functions and layers of images ask of their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core.checks import check_flags
from pellucid.core.jax_compat import open_shape
from pellucid.errors import ShapeError, did_you_mean
from pellucid.ops.core import convert_to_tensor
from pellucid.ops.windows import format_of, per_axis

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


def interpolation_of(where: str, interpolation: str) -> str:
    """The interpolation's name in lower case.

    Raises:
        ValueError: for another one.
    """
    name = str(interpolation).lower()
    if name not in INTERPOLATIONS:
        raise ValueError(f"{where}: interpolation={interpolation!r} is not known. {did_you_mean(interpolation, INTERPOLATIONS)}")
    return name


def image_axes(where: str, images: Any, data_format: str) -> tuple[int, int]:
    """The axes of height and width of one image or a batch of them.

    Raises:
        ShapeError: for other numbers of axes than three and four.
    """
    if images.ndim not in (3, 4):
        raise ShapeError(
            f"{where}: images of shape {open_shape(images.shape)} have {images.ndim} axes; expected 4, or 3 for one image: height, "
            f"width and channels. Images without channels get them by images[..., None]."
        )
    return (images.ndim - 3, images.ndim - 2) if data_format == "channels_last" else (images.ndim - 2, images.ndim - 1)


def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> jax.Array:
    """Images of another height and width.

    Args:
        images: (batch, height, width, channels) or one without the batch; or with the channels before height and width.
        size: new height and width.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        antialias: whether smaller images are smoothed before.
        crop_to_aspect_ratio: whether the sides are cut first, so that shapes in the images keep their proportions.
        pad_to_aspect_ratio: whether instead ``fill_value`` is put at the sides first.
        fill_mode: "constant": there is no other.
        fill_value: of a pixel.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Raises:
        ShapeError: for other numbers of axes than three and four.
        ValueError: for other arguments.

    Example:
        >>> from pellucid import ops
        >>> ops.image.resize(ops.ones((2, 30, 40, 3)), (15, 15), crop_to_aspect_ratio=True).shape
        (2, 15, 15, 3)
    """
    check_flags("resize", antialias=antialias, crop_to_aspect_ratio=crop_to_aspect_ratio, pad_to_aspect_ratio=pad_to_aspect_ratio)
    if fill_mode != "constant":
        raise ValueError(f"resize: fill_mode={fill_mode!r}; expected 'constant'.")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("resize: crop_to_aspect_ratio and pad_to_aspect_ratio are both True; expected one of them at most.")
    images, form = convert_to_tensor(images), format_of("resize", data_format)
    wanted, axes = per_axis("resize", "size", size, 2), image_axes("resize", images, form)
    method = interpolation_of("resize", interpolation)
    height, width = (images.shape[a] for a in axes)
    in_proportion = int(float(width * wanted[0]) / wanted[1]), int(float(height * wanted[1]) / wanted[0])
    if crop_to_aspect_ratio:
        images = centre(images, axes, [max(1, p) for p in in_proportion])
    if pad_to_aspect_ratio:
        sides = {a: max(0, p - n) // 2 for a, p, n in zip(axes, in_proportion, (height, width), strict=True)}
        images = jnp.pad(images, [(sides.get(a, 0),) * 2 for a in range(images.ndim)], constant_values=fill_value)
    shape = [wanted[axes.index(a)] if a in axes else n for a, n in enumerate(images.shape)]
    return jax.image.resize(images, shape, method, antialias=antialias)


def centre(images: Any, axes: Sequence[int], sizes: Sequence[int]) -> jax.Array:
    """The middle of images: along some axes so many elements at most."""
    for axis, size in zip(axes, sizes, strict=True):
        n = images.shape[axis]
        start = max(0, n - size) // 2
        images = jax.lax.slice_in_dim(images, start, start + min(n, size), axis=axis)
    return images
