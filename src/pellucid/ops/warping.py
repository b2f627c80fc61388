"""Images seen through a map of their places: what is at each place comes from another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import ndimage

from pellucid.errors import ShapeError, did_you_mean
from pellucid.ops.windows import format_of

ORDERS = {"nearest": 0, "bilinear": 1}
FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")
METHODS = ("linear", "bilinear", "trilinear", "cubic", "bicubic", "tricubic", "lanczos3", "lanczos5")


def map_coordinates(inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0) -> jax.Array:
    """The values of an array at any places, between its elements too.

    Args:
        inputs: an array of n axes.
        coordinates: (n, …): the places, along each axis.
        order: 0 for the nearest element, 1 for linear interpolation.
        fill_mode: what is beyond the edges: "constant", "nearest", "wrap", "mirror" or "reflect".
        fill_value: of the mode "constant".

    Returns:
        the shape of the coordinates without their first axis.

    Example:
        >>> from pellucid import ops
        >>> ops.image.map_coordinates([0.0, 10.0, 20.0], [[0.5, 1.25]], order=1).tolist()
        [5.0, 12.5]
    """
    inputs, coordinates = jnp.asarray(inputs), jnp.asarray(coordinates)
    if coordinates.ndim < 2 or coordinates.shape[0] != inputs.ndim:
        raise ShapeError(
            f"map_coordinates: coordinates have shape {coordinates.shape}; expected ({inputs.ndim}, …), a row for each axis of inputs "
            f"of shape {inputs.shape}."
        )
    if order not in (0, 1):
        raise ValueError(f"map_coordinates: order={order!r}; expected 0 or 1.")
    _known("map_coordinates", "fill_mode", fill_mode, FILL_MODES)
    return ndimage.map_coordinates(inputs, coordinates, order, fill_mode, fill_value)


def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> jax.Array:
    """At (x, y) of the result is what was at ``(a0 * x + a1 * y + a2, b0 * x + b1 * y + b2)``, x counted along the width.

    Args:
        images: one, or a batch.
        transform: (a0, a1, a2, b0, b1, b2, 0, 0), for all images or for each.
        interpolation: "bilinear" or "nearest".
        fill_mode, fill_value: as in ``map_coordinates``.
        data_format: "channels_last" or "channels_first"; by default what ``config.image_data_format()`` says.

    Example:
        >>> from pellucid import ops
        >>> image = ops.reshape(ops.arange(4.0), (2, 2, 1))
        >>> ops.image.affine_transform(image, [1.0, 0, 1, 0, 1, 0, 0, 0])[..., 0].tolist()  # from the right
        [[1.0, 0.0], [3.0, 0.0]]
    """
    transform = jnp.asarray(transform)
    if transform.ndim not in (1, 2) or transform.shape[-1] != 8:
        raise ShapeError(f"affine_transform: transform has shape {transform.shape}; expected (8,), or (batch, 8).")
    _known("affine_transform", "fill_mode", fill_mode, FILL_MODES)

    def source(of_image: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        a0, a1, a2, b0, b1, b2 = of_image[:6]
        return a0 * x + a1 * y + a2, b0 * x + b1 * y + b2

    return _warped("affine_transform", images, transform, source, interpolation, fill_mode, fill_value, data_format)


def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> jax.Array:
    """Images drawn so that four points (x, y) come to four others; lines stay lines.

    Args:
        images: one, or a batch.
        start_points: (4, 2), for all images, or (batch, 4, 2).
        end_points: where they come to; of equal shape.
        interpolation: "bilinear" or "nearest".
        fill_value: of what comes from beyond the edges.
        data_format: "channels_last" or "channels_first"; by default what ``config.image_data_format()`` says.
    """
    start, end = (jnp.asarray(points, "float32") for points in (start_points, end_points))
    if start.shape != end.shape or start.shape[-2:] != (4, 2) or start.ndim not in (2, 3):
        raise ShapeError(
            f"perspective_transform: start_points have shape {start.shape} and end_points have shape {end.shape}; "
            "expected (4, 2) or (batch, 4, 2), of both alike."
        )

    def source(t: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        depth = t[6] * x + t[7] * y + 1.0
        return (t[0] * x + t[1] * y + t[2]) / depth, (t[3] * x + t[4] * y + t[5]) / depth

    maps = _homography(end, start)
    return _warped("perspective_transform", images, maps, source, interpolation, "constant", fill_value, data_format)


def _homography(points: jax.Array, sources: jax.Array) -> jax.Array:
    """The eight numbers of the map that takes points to sources: of each pair two linear equations."""
    (x, y), (u, v) = (jnp.moveaxis(p, -1, 0) for p in (points, sources))
    one, none = jnp.ones_like(x), jnp.zeros_like(x)
    rows = [jnp.stack([x, y, one, none, none, none, -u * x, -u * y], -1), jnp.stack([none, none, none, x, y, one, -v * x, -v * y], -1)]
    return jnp.linalg.solve(jnp.concatenate(rows, -2), jnp.concatenate([u, v], -1)[..., None])[..., 0]


def scale_and_translate(
    images: Any, output_shape: Sequence[int], scale: Any, translation: Any, spatial_dims: Sequence[int], method: str, antialias: bool = True
) -> jax.Array:
    """An array drawn larger or smaller, and moved: what was at x comes to ``scale * x + translation``.

    Args:
        images: an array.
        output_shape: of the result.
        scale: a factor for each axis of space.
        translation: likewise.
        spatial_dims: which axes these are.
        method: "linear", "cubic", "lanczos3" or "lanczos5".
        antialias: whether smaller images are means over more pixels.
    """
    _known("scale_and_translate", "method", method, METHODS)
    scale, translation = jnp.asarray(scale), jnp.asarray(translation)
    return jax.image.scale_and_translate(
        jnp.asarray(images), tuple(output_shape), tuple(spatial_dims), scale, translation, method, antialias
    )


def _warped(
    function: str,
    images: Any,
    maps: jax.Array,
    source: Callable,
    interpolation: str,
    fill_mode: str,
    fill_value: float,
    data_format: str | None,
) -> jax.Array:
    """Images of which each place (x, y) shows what is at ``source(map of the image, x, y)``.

    Args:
        maps: the numbers of one map, or of one for each image.
    """
    _known(function, "interpolation", interpolation, tuple(ORDERS))
    images, last = jnp.asarray(images), format_of(function, data_format) == "channels_last"
    if images.ndim not in (3, 4):
        raise ShapeError(f"{function}: images have shape {images.shape}; expected 3 axes, or 4 of a batch.")
    batch = images if images.ndim == 4 else images[None]
    batch = jnp.moveaxis(batch, -1, 1) if last else batch
    y, x = jnp.meshgrid(jnp.arange(batch.shape[2]), jnp.arange(batch.shape[3]), indexing="ij")

    def one(image: jax.Array, of_image: jax.Array) -> jax.Array:
        from_x, from_y = source(of_image, x, y)
        seen = lambda channel: ndimage.map_coordinates(channel, [from_y, from_x], ORDERS[interpolation], fill_mode, fill_value)
        return jax.vmap(seen)(image)

    made = jax.vmap(one, (0, None if maps.ndim == 1 else 0))(batch, maps)
    made = jnp.moveaxis(made, 1, -1) if last else made
    return made if images.ndim == 4 else made[0]


def _known(function: str, argument: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{function}: {argument}={value!r} is not known. {did_you_mean(value, known)}")
