"""Muon, for the matrices inside a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp

from pellucid.core import dtypes
from pellucid.core.variable import Variable
from pellucid.optimizers.gradients import check_range
from pellucid.optimizers.optimizer import BesideDecay, Optimizer, registry
from pellucid.optimizers.rules import Rule, columns


class _State(NamedTuple):
    momentum: Any
    velocity: Any  # of the variables that Adam changes


@registry.named("muon")
class Muon(Optimizer):
    """Steps of matrices along the nearest orthogonal matrix to their momentum; all other variables are changed by AdamW.

    ``m = momentum * m + g;  w = w - rate * rms_rate * sqrt(max(rows, columns)) * orthogonal(g + momentum * m)``, where a few
    Newton-Schulz steps ``x = a x + (b x x' + c (x x')^2) x`` bring all singular values near 1. Jordan et al., "Muon: an optimizer
    for hidden layers in neural networks", 2024; the scale is that of Liu et al., "Muon is scalable for LLM training", 2025.

    Args:
        learning_rate: a number or a schedule.
        adam_beta_1: of AdamW.
        adam_beta_2: of AdamW.
        adam_weight_decay: weight decay of what AdamW changes.
        epsilon: of AdamW.
        weight_decay: weight decay of the matrices.
        exclude_layers: regular expressions; AdamW changes variables whose paths have a match.
        exclude_embeddings: whether AdamW changes variables with "embedding" in their paths.
        muon_a: ``a`` of the Newton-Schulz step.
        muon_b: ``b`` of the Newton-Schulz step.
        muon_c: ``c`` of the Newton-Schulz step.
        adam_lr_ratio: learning rate of AdamW, relative to that of the matrices.
        momentum: share of the momentum that is kept.
        ns_steps: number of Newton-Schulz steps.
        nesterov: whether the momentum is taken a step ahead.
        rms_rate: size of a step's elements, as Adam's usually have; None for steps as long as the matrix is orthogonal.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable(np.zeros((2, 2), "float32"))
        >>> pellucid.optimizers.Muon(1.0, rms_rate=None).apply([np.array([[0.0, 5.0], [-0.1, 0.0]], "float32")], [w])
        >>> np.abs(w.numpy()).round().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **common: Unpack[BesideDecay],
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **common)
        check_range("Muon", 0, 1, adam_beta_1=adam_beta_1, adam_beta_2=adam_beta_2, momentum=momentum)
        check_range("Muon", 0, adam_weight_decay=adam_weight_decay, epsilon=epsilon, adam_lr_ratio=adam_lr_ratio, ns_steps=ns_steps)
        self.adam_beta_1, self.adam_beta_2, self.adam_weight_decay = adam_beta_1, adam_beta_2, adam_weight_decay
        self.epsilon, self.adam_lr_ratio = epsilon, adam_lr_ratio
        self.exclude_layers, self.exclude_embeddings = list(exclude_layers or ()), exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.momentum, self.ns_steps, self.nesterov, self.rms_rate = momentum, ns_steps, nesterov, rms_rate

    def rule(self) -> tuple:
        return *super().rule(), tuple(self.exclude_layers)

    def decay_of(self, variable: Variable) -> float | None:
        excluded = super().decay_of(variable) is None and self.weight_decay is not None
        return None if excluded else self.adam_weight_decay if self._by_adam(variable) else self.weight_decay

    def _by_adam(self, variable: Variable) -> bool:
        """Whether AdamW changes a variable."""
        if variable.ndim != 2 or (self.exclude_embeddings and "embedding" in variable.path.lower()):
            return True
        return any(re.search(name, variable.path) for name in self.exclude_layers)

    def transformation_for(self, rate: Any, variables: Sequence[Variable]) -> Any:
        by_adam = [self._by_adam(v) for v in variables]

        def init(params: list) -> _State:
            zeros = [jnp.zeros_like(p) for p in params]
            return _State(zeros, [jnp.zeros_like(p) if adam else () for p, adam in zip(params, by_adam, strict=True)])

        def update(grads: list, state: _State, params: list) -> tuple[list, _State]:
            step = (self.iterations.value + 1).astype(dtypes.wide_floatx())
            adam_rate = rate * self.adam_lr_ratio * jnp.sqrt(1 - self.adam_beta_2**step) / (1 - self.adam_beta_1**step)
            rows = [
                self._adam_step(g, m, v, adam_rate) if adam else (*self._matrix_step(g, m, rate), ())
                for g, m, v, adam in zip(grads, *state, by_adam, strict=True)
            ]
            updates, momentum, velocity = columns(rows, 3)
            return updates, _State(momentum, velocity)

        return Rule(init, update)

    def _adam_step(self, g: Any, m: Any, v: Any, rate: Any) -> tuple:
        m, v = m + (g - m) * (1 - self.adam_beta_1), v + (jnp.square(g) - v) * (1 - self.adam_beta_2)
        return rate * m / (jnp.sqrt(v) + self.epsilon), m, v

    def _matrix_step(self, g: Any, m: Any, rate: Any) -> tuple:
        m = self.momentum * m + g
        direction = self._orthogonal(g + self.momentum * m if self.nesterov else m)
        scale = 1.0 if self.rms_rate is None else self.rms_rate * max(g.shape) ** 0.5
        return rate * scale * direction, m

    def _orthogonal(self, x: Any) -> Any:
        """The nearest orthogonal matrix, roughly."""
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / (jnp.linalg.norm(x) + 1e-7)  # singular values up to 1, where the iteration converges
        for _ in range(self.ns_steps):
            square = x @ x.T
            x = self.muon_a * x + (self.muon_b * square + self.muon_c * square @ square) @ x
        return x.T if tall else x
