"""Descent along the gradient or its sign: SGD, Lion."""

from __future__ import annotations

from typing import Any, Unpack

from pellucid.optimizers.gradients import check_range
from pellucid.optimizers.optimizer import CommonArgs, Optimizer, registry
from pellucid.optimizers.rules import optax, scaled


@registry.named("sgd")
class SGD(Optimizer):
    """``v = momentum * v - rate * g;  w = w + v`` (with Nesterov: ``w + momentum * v - rate * g``).

    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.

    Args:
        learning_rate: a number or a schedule.
        momentum: share of the velocity that is kept, 0 for plain descent.
        nesterov: whether the gradient is taken ahead.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0])
        >>> optimizer = pellucid.optimizers.SGD(0.5, momentum=0.5)
        >>> for _ in range(2):
        ...     optimizer.apply([np.ones(1, "float32")], [w])
        >>> float(w)
        -0.25
    """

    slot_names = {"trace": "momentum"}

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **common: Unpack[CommonArgs]):
        super().__init__(learning_rate, **common)
        check_range("SGD", 0, 1, momentum=momentum)
        self.momentum, self.nesterov = momentum, nesterov

    def transformation(self, rate: Any) -> Any:
        if not self.momentum:
            return scaled(rate)
        return optax().chain(scaled(-rate), optax().trace(self.momentum, self.nesterov), scaled(-1))  # with the sign that Keras keeps


@registry.named("lion")
class Lion(Optimizer):
    """``w = w - rate * sign(beta_1 * m + (1 - beta_1) * g);  m = beta_2 * m + (1 - beta_2) * g``.

    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023. Its steps are longer than Adam's: it wants a
    learning rate 3 to 10 times smaller, and a weight decay as many times larger.

    Args:
        learning_rate: a number or a schedule.
        beta_1: weight of the momentum in the direction of the step, above 0.
        beta_2: share of the momentum that is kept.
        **common: see ``Optimizer``.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0, 1.0])
        >>> pellucid.optimizers.Lion(0.25).apply([np.array([3.0, -0.1], "float32")], [w])
        >>> w.numpy().tolist()
        [0.75, 1.25]
    """

    slot_names = {"mu": "momentum"}

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **common: Unpack[CommonArgs]):
        super().__init__(learning_rate, **common)
        if not 0 < beta_1 <= 1:
            raise ValueError(f"Lion: beta_1={beta_1!r}; expected a number above 0 and at most 1.")
        check_range("Lion", 0, 1, beta_2=beta_2)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def transformation(self, rate: Any) -> Any:
        return optax().chain(optax().scale_by_lion(self.beta_1, self.beta_2), scaled(rate))
