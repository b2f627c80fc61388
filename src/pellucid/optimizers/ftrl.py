"""Ftrl, which makes linear models sparse."""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp

from pellucid.optimizers.gradients import check_range
from pellucid.optimizers.optimizer import CommonArgs, Optimizer, registry
from pellucid.optimizers.rules import Rule, columns, zeros


class _Sums(NamedTuple):
    accumulator: Any  # of the squared gradients
    linear: Any  # of the gradients, less what the changing learning rate makes of the weights


@registry.named("ftrl")
class Ftrl(Optimizer):
    """Follow the regularized leader: ``w = (clip(z, -l1, l1) - z) / (a^p / rate + 2 * l2 + beta / rate)``, exactly zero where
    ``|z| <= l1``.

    ``a`` sums the squared gradients, ``z`` sums ``g + 2 * shrinkage * w - (a_new^p - a^p) / rate * w``, and ``p`` is
    ``-learning_rate_power``. McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013.

    Args:
        learning_rate: a number or a schedule.
        learning_rate_power: at most 0; 0 for a learning rate that does not fall.
        initial_accumulator_value: ``a`` at the start.
        l1_regularization_strength: how strongly weights are drawn to zero, and held there.
        l2_regularization_strength: penalty of the squared weights.
        l2_shrinkage_regularization_strength: penalty of their size that acts on the gradient alone.
        beta: is added to the root of ``a`` in the paper's learning rate.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([0.0, 0.0])
        >>> optimizer = pellucid.optimizers.Ftrl(0.5, initial_accumulator_value=0.0, l1_regularization_strength=0.5)
        >>> optimizer.apply([np.array([-1.0, 0.1], "float32")], [w])
        >>> w.numpy().tolist()
        [0.25, 0.0]
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **common: Unpack[CommonArgs],
    ):
        super().__init__(learning_rate, **common)
        if not learning_rate_power <= 0:
            raise ValueError(f"Ftrl: learning_rate_power={learning_rate_power!r}; expected a number of at most zero.")
        check_range(
            "Ftrl",
            0,
            initial_accumulator_value=initial_accumulator_value,
            l1_regularization_strength=l1_regularization_strength,
            l2_regularization_strength=l2_regularization_strength,
            l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength,
            beta=beta,
        )
        self.learning_rate_power, self.initial_accumulator_value, self.beta = learning_rate_power, initial_accumulator_value, beta
        self.l1_regularization_strength, self.l2_regularization_strength = l1_regularization_strength, l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength

    def transformation(self, rate: Any) -> Any:
        def init(params: list) -> _Sums:
            return _Sums([jnp.full_like(p, self.initial_accumulator_value) for p in params], zeros(params))

        def update(grads: list, state: _Sums, params: list) -> tuple[list, _Sums]:
            rows = [self._one(g, p, a, z, rate) for g, p, a, z in zip(grads, params, *state, strict=True)]
            updates, *sums = columns(rows, 3)
            return updates, _Sums(*sums)

        return Rule(init, update)

    def _one(self, g: Any, param: Any, accumulator: Any, linear: Any, rate: Any) -> tuple:
        """(update, accumulator, linear) of a variable."""
        new = accumulator + jnp.square(g)
        power, old_power = (jnp.power(a, -self.learning_rate_power) for a in (new, accumulator))
        linear = linear + g + 2 * self.l2_shrinkage_regularization_strength * param - (power - old_power) / rate * param
        quadratic = power / rate + 2 * self.l2_regularization_strength + self.beta / rate
        l1 = self.l1_regularization_strength
        return param - (jnp.clip(linear, -l1, l1) - linear) / quadratic, new, linear
