"""Layers whose kernel keeps a spectral norm of 1."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pellucid import initializers, ops
from pellucid.core.checks import check_whole
from pellucid.core.layer import Layer
from pellucid.core.mode import by_training
from pellucid.layers.wrapping import Wrapper


class SpectralNormalization(Wrapper):
    """Divides a layer's kernel by its largest singular value before each call in training, which it finds by power iteration.

    Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.

    Args:
        layer: with a ``kernel``, or with ``embeddings``. They are changed.
        power_iterations: how many in each step.

    Shapes: as of the layer.

    Example:
        >>> import numpy as np, pellucid
        >>> layer = pellucid.layers.SpectralNormalization(pellucid.layers.Dense(4), power_iterations=50)
        >>> _ = layer(np.ones((2, 3), "float32"), training=True)
        >>> round(float(np.linalg.norm(layer.layer.kernel.numpy(), 2)), 3)
        1.0
    """

    couples_rows = True  # each call changes the kernel

    def __init__(self, layer: Layer, power_iterations: int = 1, **layer_args: Any):
        super().__init__(layer, **layer_args)
        self.power_iterations = check_whole("SpectralNormalization", "power_iterations", power_iterations)

    def build(self, input_shape: Any) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
        kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if kernel is None:
            raise ValueError(
                f"SpectralNormalization: layer={self.layer!r} has neither a kernel nor embeddings; expected a layer such as Dense(4)."
            )
        self.kernel = kernel
        start = initializers.TruncatedNormal(stddev=0.02)
        self.vector_u = self.add_weight((1, kernel.shape[-1]), start, kernel.own_dtype, trainable=False, name="vector_u")

    def call(self, inputs: Any, training: Any = False) -> Any:
        inputs = by_training(training, self._normalized, lambda x: x, inputs)
        return self.layer(inputs).astype(self.compute_dtype)

    def _normalized(self, inputs: Any) -> Any:
        """Changes the kernel; the inputs stay."""
        kernel, u = self.kernel.read(), self.vector_u.read()
        matrix = kernel.reshape(-1, kernel.shape[-1])
        for _ in range(self.power_iterations):
            v = ops.normalize(u @ matrix.T)
            u = ops.normalize(v @ matrix)
        u, v = jax.lax.stop_gradient((u, v))
        largest, is_zero = (v @ matrix @ u.T).reshape(()), jnp.all(kernel == 0)
        self.vector_u.assign(jnp.where(is_zero, self.vector_u.read(), u))
        self.kernel.assign(kernel / jnp.where(is_zero, 1, largest))
        return inputs
