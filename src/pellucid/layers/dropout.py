"""Dropout and noise: layers that change their inputs at random in training, and do nothing else."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from pellucid import random
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.core.mode import by_training
from pellucid.ops.windows import format_of


class _Random(Layer):
    """Changes its inputs at random in training. Subclasses define ``changed``.

    Args:
        seed: a whole number for draws that repeat.
    """

    supports_masking = True

    def __init__(self, seed: int | None = None, **layer_args: Any):
        super().__init__(**layer_args)
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed)

    def changed(self, inputs: Any) -> Any:
        """The outputs in training."""
        raise NotImplementedError

    def _idle(self) -> bool:
        """Whether it does nothing in training either."""
        return False

    def call(self, inputs: Any, training: Any = False) -> Any:
        return inputs if self._idle() else by_training(training, self.changed, lambda x: x, inputs)


class _Rated(_Random):
    """A layer of this kind with a rate.

    Args:
        rate: in [0, 1).
        seed: a whole number for draws that repeat.
    """

    def __init__(self, rate: float, seed: int | None = None, **layer_args: Any):
        super().__init__(seed, **layer_args)
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ValueError(f"{type(self).__name__}: rate={rate!r}; expected a number in [0, 1).")
        self.rate = rate

    @property
    def couples_rows(self) -> bool:
        """Whether one draw serves several rows."""
        shape = getattr(self, "noise_shape", None)
        return shape is not None and shape[0] is not None

    def _idle(self) -> bool:
        return self.rate == 0


class Dropout(_Rated):
    """In training, sets a share of the elements to zero and scales the rest to keep the mean; else does nothing.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014).

    Args:
        rate: share of elements set to zero, in [0, 1).
        noise_shape: shape of the mask where one draw shall serve several elements; None stands for the input's own size.
        seed: a whole number for draws that repeat.

    Shapes: any -> the same.
    """

    def __init__(self, rate: float, noise_shape: tuple | None = None, seed: int | None = None, **layer_args: Any):
        super().__init__(rate, seed, **layer_args)
        self.noise_shape = noise_shape

    def changed(self, inputs: Any) -> Any:
        return random.dropout(inputs, self.rate, self.noise_shape, self.seed_generator)


class AlphaDropout(_Rated):
    """Dropout that keeps mean and variance of what ``selu`` gives: a share of the elements takes its lowest value.

    Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.

    Args:
        rate: share of elements that are dropped, in [0, 1).
        noise_shape: shape of the mask where one draw shall serve several elements; None stands for the input's own size.
        seed: a whole number for draws that repeat.

    Shapes: any -> the same.
    """

    def __init__(self, rate: float, noise_shape: tuple | None = None, seed: int | None = None, **layer_args: Any):
        super().__init__(rate, seed, **layer_args)
        self.noise_shape = noise_shape

    def changed(self, inputs: Any) -> Any:
        given = self.noise_shape or (None,) * inputs.ndim
        shape = tuple(own if n is None else n for n, own in zip(given, inputs.shape, strict=True))
        kept = random.uniform(shape, seed=self.seed_generator) >= self.rate
        lowest = -1.7580993408473766  # of selu: its scale times its alpha
        factor = ((1 - self.rate) * (1 + self.rate * lowest**2)) ** -0.5
        return factor * jnp.where(kept, inputs, jnp.asarray(lowest, inputs.dtype)) - factor * lowest * self.rate


class GaussianDropout(_Rated):
    """In training, multiplies by numbers drawn around 1, whose standard deviation is ``sqrt(rate / (1 - rate))``.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014), section 10.

    Args:
        rate: in [0, 1), as of the dropout with equal variance.
        seed: a whole number for draws that repeat.

    Shapes: any -> the same.
    """

    def changed(self, inputs: Any) -> Any:
        spread = (self.rate / (1 - self.rate)) ** 0.5
        return inputs * random.normal(inputs.shape, 1.0, spread, dtype=inputs.dtype, seed=self.seed_generator)


class GaussianNoise(_Random):
    """In training, adds numbers drawn around 0.

    Args:
        stddev: their standard deviation, at least 0.
        seed: a whole number for draws that repeat.

    Shapes: any -> the same.
    """

    def __init__(self, stddev: float, seed: int | None = None, **layer_args: Any):
        super().__init__(seed, **layer_args)
        if isinstance(stddev, bool) or not isinstance(stddev, int | float) or not stddev >= 0:
            raise ValueError(f"GaussianNoise: stddev={stddev!r}; expected a number of at least zero.")
        self.stddev = stddev

    def _idle(self) -> bool:
        return self.stddev == 0

    def changed(self, inputs: Any) -> Any:
        return inputs + random.normal(inputs.shape, 0.0, self.stddev, dtype=inputs.dtype, seed=self.seed_generator)


class _OfChannels(_Rated):
    """Dropout of whole channels. It has no weights: Keras's config of it does not say whether they are trainable."""

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("trainable", None)
        return config


class _Spatial(_OfChannels):
    """Dropout of whole channels of images or volumes.

    Args:
        rate: share of channels set to zero, in [0, 1).
        data_format: where the channels are: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        seed: a whole number for draws that repeat.
    """

    axes = 1  # between batch and channels

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **layer_args: Any):
        super().__init__(rate, seed, **layer_args)
        self.data_format = format_of(type(self).__name__, data_format)

    def changed(self, inputs: Any) -> Any:
        ones = (1,) * self.axes
        shape = (None, *ones, None) if self.data_format == "channels_last" else (None, None, *ones)
        return random.dropout(inputs, self.rate, shape, self.seed_generator)


class SpatialDropout1D(_OfChannels):
    """In training, sets a share of the channels to zero, each at all its time steps, and scales the rest; else does nothing.

    Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Args:
        rate: share of channels set to zero, in [0, 1).
        seed: a whole number for draws that repeat.

    Shapes: (batch, steps, channels) -> the same.
    """

    input_spec = InputSpec(ndim=3)

    def changed(self, inputs: Any) -> Any:
        return random.dropout(inputs, self.rate, (None, 1, None), self.seed_generator)


class SpatialDropout2D(_Spatial):
    """In training, sets a share of the channels of images to zero and scales the rest; else does nothing.

    Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Args:
        rate: share of channels set to zero, in [0, 1).
        data_format: where the channels are: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        seed: a whole number for draws that repeat.

    Shapes: (batch, height, width, channels), or with the channels first -> the same.
    """

    axes, input_spec = 2, InputSpec(ndim=4)


class SpatialDropout3D(_Spatial):
    """In training, sets a share of the channels of volumes to zero and scales the rest; else does nothing.

    Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.

    Args:
        rate: share of channels set to zero, in [0, 1).
        data_format: where the channels are: "channels_last" or "channels_first"; by default ``config.image_data_format()``.
        seed: a whole number for draws that repeat.

    Shapes: (batch, depth, height, width, channels), or with the channels first -> the same.
    """

    axes, input_spec = 3, InputSpec(ndim=5)
