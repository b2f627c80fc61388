"""What images go through before a network: scaling, resizing, cropping."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pellucid import config
from pellucid.core.checks import check_flags, check_whole
from pellucid.core.layer import Layer
from pellucid.ops.resizing import centre, image_axes, interpolation_of, resize
from pellucid.ops.windows import format_of


class Rescaling(Layer):
    """``x * scale + offset``, in floats.

    Args:
        scale: a number, or one for each channel: ``1 / 255`` maps pixels to [0, 1].
        offset: likewise.

    Shapes: any -> the same.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.Rescaling(1 / 127.5, offset=-1)(np.array([0, 255], "uint8")).tolist()
        [-1.0, 1.0]
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **layer_args: Any):
        super().__init__(**layer_args)
        self.scale, self.offset = scale, offset

    def call(self, inputs: Any) -> Any:
        scale, offset = (jnp.asarray(value, self.compute_dtype) for value in (self.scale, self.offset))
        if scale.ndim == 1 and config.image_data_format() == "channels_first":
            scale = scale.reshape(-1, 1, 1)
        return inputs.astype(self.compute_dtype) * scale + offset


class Resizing(Layer):
    """Images of another height and width. Whole numbers, as pixels, are rounded.

    Args:
        height, width: new ones.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: whether the sides are cut first, so that shapes in the images keep their proportions.
        pad_to_aspect_ratio: whether instead ``fill_value`` is put at the sides first.
        fill_mode: "constant": there is no other.
        fill_value: of a pixel.
        antialias: whether smaller images are smoothed before.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs that are no images.
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self.height, self.width = check_whole("Resizing", "height", height), check_whole("Resizing", "width", width)
        self.interpolation, self.data_format = interpolation_of("Resizing", interpolation), format_of("Resizing", data_format)
        if fill_mode != "constant":
            raise ValueError(f"Resizing: fill_mode={fill_mode!r}; expected 'constant'.")
        check_flags("Resizing", crop_to_aspect_ratio=crop_to_aspect_ratio, pad_to_aspect_ratio=pad_to_aspect_ratio, antialias=antialias)
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop_to_aspect_ratio, pad_to_aspect_ratio
        self.fill_mode, self.fill_value, self.antialias = fill_mode, fill_value, antialias

    def call(self, inputs: Any) -> Any:
        resized = resize(
            inputs,
            (self.height, self.width),
            self.interpolation,
            self.antialias,
            self.crop_to_aspect_ratio,
            self.pad_to_aspect_ratio,
            self.fill_mode,
            self.fill_value,
            self.data_format,
        )
        if jnp.issubdtype(inputs.dtype, jnp.integer):
            bounds = jnp.iinfo(inputs.dtype)
            resized = jnp.clip(jnp.round(resized), bounds.min, bounds.max)
        return resized.astype(inputs.dtype)


class CenterCrop(Layer):
    """The middle of images, in floats; of those that are too small, the largest middle in its proportions, made larger.

    Args:
        height, width: of the middle.
        data_format: "channels_last" or "channels_first"; by default ``config.image_data_format()``.

    Shapes: (batch, height, width, channels) -> (batch, new height, new width, channels), or with the channels second.

    Raises:
        ValueError: for arguments out of their range.
        ShapeError: for inputs that are no images.
    """

    def __init__(self, height: int, width: int, data_format: str | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        self.height, self.width = check_whole("CenterCrop", "height", height), check_whole("CenterCrop", "width", width)
        self.data_format = format_of("CenterCrop", data_format)

    def call(self, inputs: Any) -> Any:
        inputs = inputs.astype(self.compute_dtype)
        axes, size = image_axes("CenterCrop", inputs, self.data_format), (self.height, self.width)
        if all(inputs.shape[a] >= n for a, n in zip(axes, size, strict=True)):
            return centre(inputs, axes, size)
        return resize(inputs, size, crop_to_aspect_ratio=True, data_format=self.data_format)
