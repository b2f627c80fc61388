"""Initializers that draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.errors import did_you_mean
from pellucid.initializers.initializer import RandomInitializer, Shape, entered, normal, truncated_normal, uniform

Axes = Sequence[int] | None
TRUNCATED_STDDEV = 0.87962566103423978  # of the standard normal distribution, cut at two standard deviations


@entered("random_normal", "normal")
class RandomNormal(RandomInitializer):
    """Normal values, ``N(mean, stddev²)``.

    Args:
        mean: mean of the distribution.
        stddev: its standard deviation.
        seed: a whole number that makes all calls return the same values, or None.

    Example:
        >>> from pellucid import initializers
        >>> init = initializers.RandomNormal(seed=1)
        >>> bool((init((2, 3)) == init((2, 3))).all())
        True
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def draw(self, shape: Shape) -> np.ndarray:
        return normal(self.generator(), shape, self.mean, self.stddev)


@entered("truncated_normal")
class TruncatedNormal(RandomInitializer):
    """Normal values; those farther than ``2 * stddev`` from the mean are drawn again.

    Args:
        mean: mean of the distribution.
        stddev: its standard deviation before it is cut.
        seed: a whole number that makes all calls return the same values, or None.

    Example:
        >>> from pellucid import initializers
        >>> bool((abs(initializers.TruncatedNormal(stddev=1.0)((100,))) <= 2).all())
        True
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def draw(self, shape: Shape) -> np.ndarray:
        return truncated_normal(self.generator(), shape, self.mean, self.stddev)


@entered("random_uniform", "uniform")
class RandomUniform(RandomInitializer):
    """Uniform values, ``U(minval, maxval)``.

    Args:
        minval: the lower end.
        maxval: the upper end.
        seed: a whole number that makes all calls return the same values, or None.

    Example:
        >>> from pellucid import initializers
        >>> initializers.RandomUniform(0.0, 1.0)((2, 3)).shape
        (2, 3)
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None):
        self.minval, self.maxval = minval, maxval
        super().__init__(seed)

    def draw(self, shape: Shape) -> np.ndarray:
        return uniform(self.generator(), shape, self.minval, self.maxval)


@entered("variance_scaling")
class VarianceScaling(RandomInitializer):
    """Values with mean 0 and variance ``scale / n``, so that signals keep their size from layer to layer.

    n is the number of a unit's inputs (fan in), of its outputs (fan out), or the mean of both.

    Args:
        scale: a positive factor.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal" (also called "normal"), "untruncated_normal" or "uniform".
        seed: a whole number that makes all calls return the same values, or None.
        input_axes: axes whose sizes multiply to the fan in; by default the last but one and, in a convolution's kernel,
            those before it.
        output_axes: likewise for the fan out; give both or neither.

    Source: He et al. 2015, arXiv:1502.01852; Glorot and Bengio 2010.

    Example:
        >>> from pellucid import initializers
        >>> values = initializers.VarianceScaling(2.0, seed=0)((400, 100))
        >>> round(float(values.var() * 400), 1)
        2.0
    """

    MODES = ("fan_in", "fan_out", "fan_avg")
    DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Axes = None,
        output_axes: Axes = None,
    ):
        distribution = {"normal": "truncated_normal"}.get(distribution.lower(), distribution.lower())
        if scale <= 0:
            raise ValueError(f"{type(self).__name__}: scale={scale} is not positive.")
        if mode not in self.MODES:
            raise ValueError(f"{type(self).__name__}: mode={mode!r} is not known. {did_you_mean(mode, self.MODES)}")
        if distribution not in self.DISTRIBUTIONS:
            hint = did_you_mean(distribution, self.DISTRIBUTIONS)
            raise ValueError(f"{type(self).__name__}: distribution={distribution!r} is not known. {hint}")
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed)

    def draw(self, shape: Shape) -> np.ndarray:
        fan_in, fan_out = fans(shape, self.input_axes, self.output_axes)
        number = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, number))
        if self.distribution == "uniform":
            return uniform(self.generator(), shape, -math.sqrt(3) * stddev, math.sqrt(3) * stddev)
        if self.distribution == "untruncated_normal":
            return normal(self.generator(), shape, 0.0, stddev)
        return truncated_normal(self.generator(), shape, 0.0, stddev / TRUNCATED_STDDEV)


def fans(shape: Shape, input_axes: Axes = None, output_axes: Axes = None) -> tuple[int, int]:
    """How many inputs a unit of a kernel has, and how many outputs an input reaches.

    Example:
        >>> from pellucid.initializers.random import fans
        >>> fans((3, 3, 16, 32))
        (144, 288)
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window


class _Preset(VarianceScaling):
    """A variance scaling with a name of its own."""

    preset: tuple[float, str, str]

    def __init__(self, seed: Any = None, input_axes: Axes = None, output_axes: Axes = None):
        super().__init__(*self.preset, seed=seed, input_axes=input_axes, output_axes=output_axes)


@entered("glorot_uniform")
class GlorotUniform(_Preset):
    """Uniform within ``±sqrt(6 / (fan_in + fan_out))``. Source: Glorot and Bengio 2010.

    Args:
        seed, input_axes, output_axes: as in ``VarianceScaling``.

    Example:
        >>> from pellucid import initializers
        >>> bool((abs(initializers.GlorotUniform()((3, 3))) <= 1).all())
        True
    """

    preset = (1.0, "fan_avg", "uniform")


@entered("glorot_normal")
class GlorotNormal(_Preset):
    """Truncated normal with variance ``2 / (fan_in + fan_out)``. Source: Glorot and Bengio 2010.

    Args:
        seed, input_axes, output_axes: as in ``VarianceScaling``.
    """

    preset = (1.0, "fan_avg", "truncated_normal")


@entered("he_uniform")
class HeUniform(_Preset):
    """Uniform within ``±sqrt(6 / fan_in)``, for ReLU. Source: He et al. 2015, arXiv:1502.01852.

    Args:
        seed, input_axes, output_axes: as in ``VarianceScaling``.
    """

    preset = (2.0, "fan_in", "uniform")


@entered("he_normal")
class HeNormal(_Preset):
    """Truncated normal with variance ``2 / fan_in``, for ReLU. Source: He et al. 2015, arXiv:1502.01852.

    Args:
        seed, input_axes, output_axes: as in ``VarianceScaling``.
    """

    preset = (2.0, "fan_in", "truncated_normal")


@entered("lecun_uniform")
class LecunUniform(_Preset):
    """Uniform within ``±sqrt(3 / fan_in)``. Source: LeCun et al. 1998, "Efficient BackProp".

    Args:
        seed, input_axes, output_axes: as in ``VarianceScaling``.
    """

    preset = (1.0, "fan_in", "uniform")


@entered("lecun_normal")
class LecunNormal(_Preset):
    """Truncated normal with variance ``1 / fan_in``, for SELU. Source: Klambauer et al. 2017, arXiv:1706.02515.

    Args:
        seed, input_axes, output_axes: as in ``VarianceScaling``.
    """

    preset = (1.0, "fan_in", "truncated_normal")


@entered("orthogonal", "OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal columns, or rows where they are fewer, times ``gain``.

    Axes before the last are taken as one. Source: Saxe et al. 2013, arXiv:1312.6120.

    Args:
        gain: a factor.
        seed: a whole number that makes all calls return the same values, or None.

    Example:
        >>> from pellucid import initializers
        >>> q = initializers.Orthogonal()((4, 2))
        >>> [[abs(round(float(v), 5)) for v in row] for row in q.T @ q]
        [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, gain: float = 1.0, seed: Any = None):
        self.gain = gain
        super().__init__(seed)

    def draw(self, shape: Shape) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: shape={tuple(shape)} has {len(shape)} axes; expected two or more.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self.generator().standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform, and the result the same for every QR
        return self.gain * (q if rows >= columns else q.T).reshape(shape)
