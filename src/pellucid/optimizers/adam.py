"""Running means of gradients and their squares, corrected for their start: Adam, AdamW, Adamax, Nadam, Lamb."""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp

from pellucid.core import dtypes
from pellucid.optimizers.gradients import check_range
from pellucid.optimizers.optimizer import BesideDecay, CommonArgs, Optimizer, registry
from pellucid.optimizers.rules import Rule, approached, optax, scaled, zeros


class _Moments(NamedTuple):
    momentum: Any  # running mean of the gradient
    velocity: Any  # running mean of its square
    velocity_hat: Any  # with amsgrad, the largest velocity so far
    power_1: Any  # beta_1 to the step number
    power_2: Any


class _Betas(Optimizer):
    """The arguments that the family shares."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **common: Unpack[CommonArgs],
    ):
        super().__init__(learning_rate, **common)
        check_range(type(self).__name__, 0, 1, beta_1=beta_1, beta_2=beta_2)
        check_range(type(self).__name__, 0, epsilon=epsilon)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def _step(self) -> Any:
        """The number of this update, from 1."""
        return (self.iterations.value + 1).astype(dtypes.wide_floatx())


@registry.named("adam")
class Adam(_Betas):
    """``w = w - rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`` with ``m``, ``v`` the running means of the
    gradient and its square.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; epsilon is "epsilon hat" of its section 2. AMSGrad: Reddi
    et al., "On the convergence of Adam and beyond", ICLR 2018.

    Args:
        learning_rate: a number or a schedule.
        beta_1: share of the first moment that is kept.
        beta_2: share of the second moment that is kept.
        epsilon: keeps the division finite.
        amsgrad: whether the largest ``v`` so far takes the place of ``v``.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0, 1.0])
        >>> pellucid.optimizers.Adam(0.25).apply([np.array([3.0, -0.1], "float32")], [w])
        >>> w.numpy().round(3).tolist()
        [0.75, 1.25]
    """

    slots_apart = ("velocity_hat",)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[CommonArgs],
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **common)
        self.amsgrad = amsgrad

    def _after(self, updates: int, name: str) -> Any:
        return {"power_1": self.beta_1, "power_2": self.beta_2}[name] ** updates

    def transformation(self, rate: Any) -> Any:
        # optax adds epsilon to the corrected root, Keras to the uncorrected one: their early steps differ
        def init(params: list) -> _Moments:
            return _Moments(zeros(params), zeros(params), zeros(params) if self.amsgrad else (), jnp.ones(()), jnp.ones(()))

        def update(grads: list, state: _Moments, params: Any = None) -> tuple[list, _Moments]:
            first = approached(state.momentum, grads, self.beta_1)
            second = approached(state.velocity, map(jnp.square, grads), self.beta_2)
            largest = [jnp.maximum(a, b) for a, b in zip(state.velocity_hat, second, strict=True)] if self.amsgrad else ()
            power_1, power_2 = state.power_1 * self.beta_1, state.power_2 * self.beta_2
            scale = rate * jnp.sqrt(1 - power_2) / (1 - power_1)
            updates = [scale * m / (jnp.sqrt(v) + self.epsilon) for m, v in zip(first, largest or second, strict=True)]
            return updates, _Moments(first, second, largest, power_1, power_2)

        return Rule(init, update)


@registry.named("adamw", "AdamW")
class AdamW(Adam):
    """Adam with decoupled weight decay: ``w = w - rate * (adam + weight_decay * w)``.

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: weights lose this share of themselves, times the learning rate, in each step.
        beta_1: share of the first moment that is kept.
        beta_2: share of the second moment that is kept.
        epsilon: keeps the division finite.
        amsgrad: whether the largest ``v`` so far takes the place of ``v``.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0])
        >>> pellucid.optimizers.AdamW(0.5, weight_decay=0.5).apply([np.zeros(1, "float32")], [w])
        >>> float(w)
        0.75
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **common: Unpack[BesideDecay],
    ):
        if weight_decay is None:
            raise ValueError("AdamW: weight_decay=None; expected a number of at least 0. Without decay, it is Adam.")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **common)


class _MomentAndNorm(NamedTuple):
    momentum: Any
    norm: Any  # the largest absolute gradient, which fades


@registry.named("adamax")
class Adamax(_Betas):
    """``w = w - rate / (1 - beta_1^t) * m / (u + epsilon)`` with ``u = max(beta_2 * u, |g|)``.

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1: Adam with the maximum norm.

    Args:
        learning_rate: a number or a schedule.
        beta_1: share of the first moment that is kept.
        beta_2: share of the norm that is kept.
        epsilon: keeps the division finite.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0, 1.0])
        >>> pellucid.optimizers.Adamax(0.25).apply([np.array([3.0, -0.1], "float32")], [w])
        >>> w.numpy().round(3).tolist()
        [0.75, 1.25]
    """

    def transformation(self, rate: Any) -> Any:
        # optax adds epsilon to the gradient, Keras to the norm
        def update(grads: list, state: _MomentAndNorm, params: Any = None) -> tuple[list, _MomentAndNorm]:
            first = approached(state.momentum, grads, self.beta_1)
            norms = [jnp.maximum(self.beta_2 * u, jnp.abs(g)) for u, g in zip(state.norm, grads, strict=True)]
            scale = rate / (1 - self.beta_1 ** self._step())
            return [scale * m / (u + self.epsilon) for m, u in zip(first, norms, strict=True)], _MomentAndNorm(first, norms)

        return Rule(lambda params: _MomentAndNorm(zeros(params), zeros(params)), update)


class _NesterovMoments(NamedTuple):
    momentum: Any
    velocity: Any
    u_product: Any  # of the scheduled values of beta_1 so far


@registry.named("nadam")
class Nadam(_Betas):
    """Adam with Nesterov's momentum: the mean of the gradient is taken a step ahead, with ``beta_1`` rising slowly to its value.

    ``u_t = beta_1 * (1 - 0.96^t / 2)``; ``m_hat = u_{t+1} m / (1 - prod u_{1..t+1}) + (1 - u_t) g / (1 - prod u_{1..t})``;
    ``w = w - rate * m_hat / (sqrt(v / (1 - beta_2^t)) + epsilon)``. Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016.

    Args:
        learning_rate: a number or a schedule.
        beta_1: share of the first moment that is kept.
        beta_2: share of the second moment that is kept.
        epsilon: keeps the division finite.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0])
        >>> pellucid.optimizers.Nadam(0.5).apply([np.ones(1, "float32")], [w])
        >>> round(float(w), 3)
        0.469
    """

    shared_slots = ("u_product",)

    def transformation(self, rate: Any) -> Any:
        def update(grads: list, state: _NesterovMoments, params: Any = None) -> tuple[list, _NesterovMoments]:
            step = self._step()
            now, ahead = (self.beta_1 * (1 - 0.5 * 0.96**t) for t in (step, step + 1))
            product = state.u_product * now
            first = approached(state.momentum, grads, self.beta_1)
            second = approached(state.velocity, map(jnp.square, grads), self.beta_2)
            of_mean, of_gradient = rate * ahead / (1 - product * ahead), rate * (1 - now) / (1 - product)
            power_2 = self.beta_2**step
            updates = [
                (of_mean * m + of_gradient * g) / (jnp.sqrt(v / (1 - power_2)) + self.epsilon)
                for m, v, g in zip(first, second, grads, strict=True)
            ]
            return updates, _NesterovMoments(first, second, product)

        return Rule(lambda params: _NesterovMoments(zeros(params), zeros(params), jnp.ones(())), update)


@registry.named("lamb")
class Lamb(_Betas):
    """Adam whose step is as long as the variable: ``w = w - rate * |w| / |a| * a`` with ``a`` Adam's step, and 1 for the ratio where
    a norm is zero.

    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020.

    Args:
        learning_rate: a number or a schedule.
        beta_1: share of the first moment that is kept.
        beta_2: share of the second moment that is kept.
        epsilon: keeps the division finite.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([3.0, 4.0])
        >>> pellucid.optimizers.Lamb(0.1).apply([np.array([1.0, 0.0], "float32")], [w])
        >>> w.numpy().round(3).tolist()
        [2.5, 4.0]
    """

    slot_names = {"mu": "momentum", "nu": "velocity"}

    def transformation(self, rate: Any) -> Any:
        moments = optax().scale_by_adam(self.beta_1, self.beta_2, self.epsilon)
        return optax().chain(moments, optax().scale_by_trust_ratio(), scaled(rate))
