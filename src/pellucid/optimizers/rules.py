"""Update rules, with Keras's defaults. Where optax's maths differ from Keras's, the rule is written here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from pellucid.optimizers.optimizer import Optimizer, optax, registry


class Rule(NamedTuple):
    """An update rule of ours, in the form of an ``optax.GradientTransformation``."""

    init: Callable
    update: Callable


def scaled(rate: Any) -> Rule:
    """Multiplies by the learning rate. (``optax.scale`` would do, but plain descent need not import optax.)"""
    return Rule(lambda params: (), lambda grads, state, params=None: ([jnp.asarray(rate, g.dtype) * g for g in grads], state))


@registry.named("sgd", "SGD")
class SGD(Optimizer):
    """``v = momentum * v - rate * g;  w = w + v`` (with Nesterov: ``w + momentum * v - rate * g``).

    Args:
        learning_rate: a number or a schedule.
        momentum: share of the velocity that is kept, 0 for plain descent.
        nesterov: whether the gradient is taken ahead.
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **optimizer_args: Any):
        super().__init__(learning_rate, **optimizer_args)
        if not 0 <= momentum <= 1:
            raise ValueError(f"SGD: momentum={momentum!r}; expected a number in [0, 1].")
        self.momentum, self.nesterov = momentum, nesterov

    def transformation(self, rate: Any) -> Any:
        return optax().chain(scaled(rate), optax().trace(self.momentum, self.nesterov)) if self.momentum else scaled(rate)


class _Moments(NamedTuple):
    momentum: Any  # running mean of the gradient
    velocity: Any  # running mean of its square
    power_1: Any  # beta_1 to the step number
    power_2: Any


@registry.named("adam", "Adam")
class Adam(Optimizer):
    """``w = w - rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`` with ``m``, ``v`` the running means of the
    gradient and its square.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; epsilon is "epsilon hat" of its section 2.

    Args:
        learning_rate: a number or a schedule.
        beta_1: share of the first moment that is kept.
        beta_2: share of the second moment that is kept.
        epsilon: keeps the division finite.
        amsgrad: not offered.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **optimizer_args: Any,
    ):
        super().__init__(learning_rate, **optimizer_args)
        if amsgrad:
            raise ValueError(f"{type(self).__name__}: amsgrad=True is not offered yet; pass optax.amsgrad(...) as the optimizer.")
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def transformation(self, rate: Any) -> Any:
        # optax adds epsilon to the corrected root, Keras to the uncorrected one: their early steps differ
        def init(params: list) -> _Moments:
            zeros = [jnp.zeros_like(p) for p in params]
            return _Moments(zeros, [jnp.zeros_like(p) for p in params], jnp.ones(()), jnp.ones(()))

        def update(grads: list, state: _Moments, params: Any = None) -> tuple[list, _Moments]:
            first = [m + (g - m) * (1 - self.beta_1) for m, g in zip(state.momentum, grads, strict=True)]
            second = [v + (jnp.square(g) - v) * (1 - self.beta_2) for v, g in zip(state.velocity, grads, strict=True)]
            power_1, power_2 = state.power_1 * self.beta_1, state.power_2 * self.beta_2
            scale = rate * jnp.sqrt(1 - power_2) / (1 - power_1)
            updates = [scale * m / (jnp.sqrt(v) + self.epsilon) for m, v in zip(first, second, strict=True)]
            return updates, _Moments(first, second, power_1, power_2)

        return Rule(init, update)


@registry.named("adamw", "AdamW")
class AdamW(Adam):
    """Adam with decoupled weight decay: ``w = w - rate * (adam + weight_decay * w)``.

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004, **adam_args: Any):
        super().__init__(learning_rate, **adam_args)
        self.weight_decay = weight_decay

    def transformation(self, rate: Any) -> Any:
        return optax().chain(super().transformation(1.0), optax().add_decayed_weights(self.weight_decay), scaled(rate))


@registry.named("rmsprop", "RMSprop")
class RMSprop(Optimizer):
    """``v = rho * v + (1 - rho) * g^2;  step = g / sqrt(v + epsilon)``, with momentum on the steps on request.

    Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.

    Args:
        learning_rate: a number or a schedule.
        rho: share of the mean square that is kept.
        momentum: share of the velocity that is kept.
        epsilon: keeps the root away from zero.
        centered: whether the variance is used in place of the mean square.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **optimizer_args: Any,
    ):
        super().__init__(learning_rate, **optimizer_args)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def transformation(self, rate: Any) -> Any:
        scale = optax().scale_by_stddev if self.centered else optax().scale_by_rms
        rule = scale(decay=self.rho, eps=self.epsilon, eps_in_sqrt=True)
        momentum = (optax().trace(self.momentum),) if self.momentum else ()
        return optax().chain(rule, scaled(rate), *momentum)
