"""A learning rate for each element, from the squares of its gradients: RMSprop, Adagrad, Adadelta, Adafactor."""

from __future__ import annotations

from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp

from pellucid.core import dtypes
from pellucid.optimizers.gradients import check_range
from pellucid.optimizers.optimizer import CommonArgs, Optimizer, registry
from pellucid.optimizers.rules import Rule, columns, optax, scaled


@registry.named("rmsprop")
class RMSprop(Optimizer):
    """``v = rho * v + (1 - rho) * g^2;  step = g / sqrt(v + epsilon)``, with momentum on the steps on request.

    Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.

    Args:
        learning_rate: a number or a schedule.
        rho: share of the mean square that is kept.
        momentum: share of the velocity that is kept.
        epsilon: keeps the root away from zero.
        centered: whether the variance is used in place of the mean square.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0])
        >>> pellucid.optimizers.RMSprop(0.25, rho=0.75).apply([np.ones(1, "float32")], [w])
        >>> round(float(w), 3)
        0.5
    """

    slot_names = {"nu": "velocity", "mu": "average_gradient", "trace": "momentum"}
    slots_apart = ("velocity", "momentum", "average_gradient")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **common: Unpack[CommonArgs],
    ):
        super().__init__(learning_rate, **common)
        check_range("RMSprop", 0, 1, rho=rho, momentum=momentum)
        check_range("RMSprop", 0, epsilon=epsilon)
        self.rho, self.momentum, self.epsilon, self.centered = rho, momentum, epsilon, centered

    def transformation(self, rate: Any) -> Any:
        scale = optax().scale_by_stddev if self.centered else optax().scale_by_rms
        rule = scale(decay=self.rho, eps=self.epsilon, eps_in_sqrt=True)
        momentum = (optax().trace(self.momentum),) if self.momentum else ()
        return optax().chain(rule, scaled(rate), *momentum)


@registry.named("adagrad")
class Adagrad(Optimizer):
    """``a = a + g^2;  w = w - rate * g / sqrt(a + epsilon)``.

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 2011.

    Args:
        learning_rate: a number or a schedule; the paper's experiments want larger ones than the default.
        initial_accumulator_value: ``a`` at the start.
        epsilon: keeps the root away from zero.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0])
        >>> pellucid.optimizers.Adagrad(0.5, initial_accumulator_value=3.0).apply([np.ones(1, "float32")], [w])
        >>> round(float(w), 3)
        0.75
    """

    slot_names = {"sum_of_squares": "accumulator"}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Unpack[CommonArgs],
    ):
        super().__init__(learning_rate, **common)
        check_range("Adagrad", 0, initial_accumulator_value=initial_accumulator_value, epsilon=epsilon)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def transformation(self, rate: Any) -> Any:
        return optax().chain(optax().scale_by_rss(self.initial_accumulator_value, self.epsilon), scaled(rate))


@registry.named("adadelta")
class Adadelta(Optimizer):
    """``step = g * sqrt(d + epsilon) / sqrt(a + epsilon)`` with ``a``, ``d`` the running mean squares of gradients and of steps.

    Zeiler, "ADADELTA: an adaptive learning rate method", 2012; its own form has a learning rate of 1.

    Args:
        learning_rate: a number or a schedule, which scales the steps.
        rho: share of the mean squares that is kept.
        epsilon: keeps the roots away from zero, and sets the length of the first steps.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0])
        >>> pellucid.optimizers.Adadelta(1.0, rho=0.75, epsilon=0.25).apply([np.ones(1, "float32")], [w])
        >>> round(float(w), 3)
        0.293
    """

    slot_names = {"e_g": "accumulated_grad", "e_x": "accumulated_delta_var"}

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **common: Unpack[CommonArgs]):
        super().__init__(learning_rate, **common)
        check_range("Adadelta", 0, 1, rho=rho)
        check_range("Adadelta", 0, epsilon=epsilon)
        self.rho, self.epsilon = rho, epsilon

    def transformation(self, rate: Any) -> Any:
        return optax().chain(optax().scale_by_adadelta(self.rho, self.epsilon), scaled(rate))


class _Factors(NamedTuple):
    row: Any  # running means of the squares along the last axis, of matrices
    column: Any  # and along the one before
    velocity: Any  # running means of the squares, of vectors and scalars


@registry.named("adafactor")
class Adafactor(Optimizer):
    """Steps of a length relative to the variable, from mean squares that are kept as a row and a column for each matrix.

    ``w = w - max(epsilon_2, rms(w)) * min(rate, 1 / sqrt(t)) * u / max(1, rms(u) / clip_threshold)`` with ``u = g / sqrt(v)``;
    ``v = r c / mean(r)`` for the last two axes, and beta_2 ``1 - t^beta_2_decay``. Shazeer and Stern, "Adafactor: adaptive
    learning rates with sublinear memory cost", ICML 2018.

    Args:
        learning_rate: a number or a schedule, an upper bound of the relative step.
        beta_2_decay: exponent by which beta_2 rises to 1, at most 0.
        epsilon_1: is added to the squares.
        epsilon_2: the least scale of a variable.
        clip_threshold: largest root mean square of ``u``.
        relative_step: kept for configs: as in Keras, the step is bounded by ``1 / sqrt(t)`` with either value.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([[1.0, 1.0]])
        >>> pellucid.optimizers.Adafactor(0.25).apply([np.array([[3.0, 3.0]], "float32")], [w])
        >>> w.numpy().round(3).tolist()
        [[0.75, 0.75]]
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **common: Unpack[CommonArgs],
    ):
        super().__init__(learning_rate, **common)
        check_range("Adafactor", 0, epsilon_1=epsilon_1, epsilon_2=epsilon_2)
        if not beta_2_decay <= 0:
            raise ValueError(f"Adafactor: beta_2_decay={beta_2_decay!r}; expected a number of at most zero.")
        if not clip_threshold > 0:
            raise ValueError(f"Adafactor: clip_threshold={clip_threshold!r}; expected a number above zero.")
        self.beta_2_decay, self.epsilon_1, self.epsilon_2 = beta_2_decay, epsilon_1, epsilon_2
        self.clip_threshold, self.relative_step = clip_threshold, relative_step

    def transformation(self, rate: Any) -> Any:
        def init(params: list) -> _Factors:
            flat = [jnp.zeros_like(p) if p.ndim < 2 else () for p in params]
            rows = [jnp.zeros(p.shape[:-1], p.dtype) if p.ndim >= 2 else () for p in params]
            return _Factors(rows, [jnp.zeros(p.shape[:-2] + p.shape[-1:], p.dtype) if p.ndim >= 2 else () for p in params], flat)

        def update(grads: list, state: _Factors, params: list) -> tuple[list, _Factors]:
            step = (self.iterations.value + 1).astype(dtypes.wide_floatx())
            beta_2 = 1 - step**self.beta_2_decay
            bound = jnp.minimum(rate, 1 / jnp.sqrt(step))
            rows = [self._one(g, p, r, c, v, beta_2, bound) for g, p, r, c, v in zip(grads, params, *state, strict=True)]
            updates, *factors = columns(rows, 4)
            return updates, _Factors(*factors)

        return Rule(init, update)

    def _one(self, g: Any, param: Any, row: Any, column: Any, velocity: Any, beta_2: Any, bound: Any) -> tuple:
        """(update, row, column, velocity) of a variable."""
        square = jnp.square(g) + self.epsilon_1
        if g.ndim >= 2:
            row, column = (beta_2 * old + (1 - beta_2) * jnp.mean(square, axis) for old, axis in ((row, -1), (column, -2)))
            mean_square = (row / jnp.mean(row, -1, keepdims=True))[..., None] * column[..., None, :]
        else:
            mean_square = velocity = beta_2 * velocity + (1 - beta_2) * square
        update = g / jnp.sqrt(mean_square)
        update = update / jnp.maximum(1, _root_mean_square(update) / self.clip_threshold)
        return jnp.maximum(self.epsilon_2, _root_mean_square(param)) * bound * update, row, column, velocity


def _root_mean_square(x: Any) -> Any:
    return jnp.sqrt(jnp.mean(jnp.square(x)))
