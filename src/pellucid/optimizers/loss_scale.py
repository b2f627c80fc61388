"""Dynamic loss scaling: keeps the small gradients of float16 above zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from pellucid import ops
from pellucid.core import naming
from pellucid.core.serialization import deserialize_keras_object, serialize_keras_object
from pellucid.core.variable import Variable
from pellucid.optimizers import gradients
from pellucid.optimizers.optimizer import BesideDecay, CommonArgs, Optimizer, in_its_scope, registry
from pellucid.optimizers.slots import assign_all, make_slot


class LossScaleOptimizer(Optimizer):
    """Multiplies the loss by a scale, and divides the gradients by it before an inner optimizer takes them.

    Where a gradient is not finite, the scale is halved and the step is left out: no weight changes, and nothing of the inner
    optimizer. After ``dynamic_growth_steps`` good steps in a row the scale is doubled. ``model.compile`` wraps its optimizer so where
    the model's policy is "mixed_float16". A step of one's own differentiates ``optimizer.scale_loss(loss)``.

    Clipping, averages, accumulation and the like are the inner optimizer's; it sees gradients that are not scaled.

    Args:
        inner_optimizer: that changes the weights. Its own ``loss_scale_factor`` becomes None.
        initial_scale: the first scale. One that is too high falls soon, one that is too low rises slowly.
        dynamic_growth_steps: number of good steps after which the scale is doubled.
        name: by default "loss_scale_optimizer".

    Raises:
        TypeError: where ``inner_optimizer`` is none, or scales losses itself.
        ValueError: for numbers out of their range; for arguments that the inner optimizer takes.

    Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2.

    Example:
        >>> import numpy as np, pellucid
        >>> w = pellucid.Variable([1.0])
        >>> optimizer = pellucid.optimizers.LossScaleOptimizer(pellucid.optimizers.SGD(0.5), initial_scale=8.0)
        >>> float(optimizer.scale_loss(3.0))
        24.0
        >>> optimizer.apply([np.array([np.inf], "float32")], [w])
        >>> float(w), float(optimizer.dynamic_scale), int(optimizer.iterations)
        (1.0, 4.0, 0)
    """

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **unknown: Any,
    ):
        owner = type(self).__name__
        if not isinstance(inner_optimizer, Optimizer) or isinstance(inner_optimizer, LossScaleOptimizer):
            raise TypeError(f"{owner}: inner_optimizer={inner_optimizer!r}; expected an optimizer that does not scale losses itself.")
        _check_unknown(owner, unknown)
        if isinstance(initial_scale, bool) or not initial_scale > 0 or not np.isfinite(initial_scale):
            raise ValueError(f"{owner}: initial_scale={initial_scale!r}; expected a number above zero, such as 2.0**15.")
        gradients.check_count(owner, 1, dynamic_growth_steps=dynamic_growth_steps)
        self.name = name or naming.snake_case(owner)
        self.inner_optimizer, self.initial_scale, self.dynamic_growth_steps = inner_optimizer, initial_scale, dynamic_growth_steps
        inner_optimizer.loss_scale_factor = None  # or it would divide once more
        self.step_counter = make_slot(np.zeros((), "int32"), f"{self.name}/step_counter")
        self.dynamic_scale = make_slot(np.asarray(initial_scale, "float32"), f"{self.name}/dynamic_scale")

    # ---- A step ----

    def scale_loss(self, loss: Any) -> Any:
        """The loss that is to be differentiated: times the present scale."""
        return loss * self.dynamic_scale.value

    @in_its_scope
    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Changes variables by the gradients of a scaled loss, or leaves the step out where one of them is not finite.

        Args:
            grads: an array for each variable; None leaves that variable as it is.
            trainable_variables: by default those of ``build``.
        """
        grads, variables = self.inner_optimizer._with_gradients(list(grads), trainable_variables)
        if not grads:
            return
        if not self.inner_optimizer.built:
            self.inner_optimizer._built_for = tuple(variables)
        self.inner_optimizer.slots(variables)  # they must not be made inside a branch
        scale = self.dynamic_scale.value

        def step(grads: list) -> None:
            self.inner_optimizer.apply([g / scale.astype(g.dtype) for g in grads], variables)
            grows = self.step_counter.value + 1 >= self.dynamic_growth_steps
            self.step_counter.assign(jnp.where(grows, 0, self.step_counter.value + 1))
            self.dynamic_scale.assign(jnp.where(grows, scale * 2, scale))

        def leave_out(grads: list) -> None:
            self.step_counter.assign(jnp.zeros((), "int32"))
            self.dynamic_scale.assign(scale * 0.5)

        ops.cond(self.check_finite(grads), step, leave_out, [jnp.asarray(g) for g in grads])

    def check_finite(self, grads: Sequence[Any]) -> Any:
        """Whether all gradients are finite, a scalar."""
        return jnp.stack([jnp.isfinite(g).all() for g in grads if g is not None]).all()

    def flush(self, trainable_variables: Sequence[Variable] | None = None) -> None:
        """Applies the gradients that wait for an update, as the inner optimizer does."""
        self.inner_optimizer.flush(trainable_variables)

    # ---- What is the inner optimizer's ----

    @property
    def learning_rate(self) -> Any:
        """That of the inner optimizer. It can be assigned."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Variable:  # type: ignore[override]
        """Number of updates of the inner optimizer; steps that are left out do not count."""
        return self.inner_optimizer.iterations

    @property
    def schedule(self) -> Any:  # type: ignore[override]
        """That of the inner optimizer's learning rate, or None."""
        return self.inner_optimizer.schedule

    @property
    def use_ema(self) -> bool:  # type: ignore[override]
        """Whether the inner optimizer keeps averages of the weights."""
        return self.inner_optimizer.use_ema

    @property
    def gradient_accumulation_steps(self) -> int | None:  # type: ignore[override]
        """That of the inner optimizer."""
        return self.inner_optimizer.gradient_accumulation_steps

    def rule(self) -> tuple:
        """What an update depends on beside variables."""
        return (self.dynamic_growth_steps, *self.inner_optimizer.rule())

    @property
    def built_for(self) -> tuple[Variable, ...]:
        """The variables of ``build``, or of the first update."""
        return self.inner_optimizer.built_for

    @property
    def built(self) -> bool:
        """Whether there are slots for some variables."""
        return self.inner_optimizer.built

    @property
    def _built_for(self) -> tuple[Variable, ...] | None:  # type: ignore[override]
        return self.inner_optimizer._built_for

    def build(self, variables: Sequence[Variable]) -> None:
        """Creates the slots of the inner optimizer."""
        self.inner_optimizer.build(variables)

    def slots(self, variables: Sequence[Variable]) -> list[Variable]:
        """The slots of the inner optimizer that a step with these variables uses."""
        return self.inner_optimizer.slots(variables)

    def state_size(self, variables: Sequence[Variable]) -> tuple[int, int]:
        """Number of elements and of bytes of those slots. None is made."""
        return self.inner_optimizer.state_size(variables)

    @property
    def variables(self) -> list[Variable]:
        """The number of good steps since the scale changed, the scale, and all of the inner optimizer."""
        return [self.step_counter, self.dynamic_scale, *self.inner_optimizer.variables]

    def _on_file(self) -> tuple[list[Variable], dict[str, Variable]]:
        inner, _ = self.inner_optimizer._on_file()
        return [*inner[: 1 if self.schedule else 2], self.step_counter, self.dynamic_scale, *inner], {}

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Takes the scale, and how long it has been good, from a file. The inner optimizer takes its own state."""
        first = 1 if self.schedule else 2  # after the number of steps, and the rate
        own = {str(first): self.step_counter, str(first + 1): self.dynamic_scale}
        assign_all(self.name, own, {key: store[key] for key in own if key in store})

    def transformation(self, rate: Any) -> Any:
        """The rule of the inner optimizer."""
        return self.inner_optimizer.transformation(rate)

    def exclude_from_weight_decay(self, var_list: Sequence[Variable] | None = None, var_names: Sequence[str] | None = None) -> None:
        """Says which variables the inner optimizer does not let decay."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Sets variables to the averages that the inner optimizer keeps, if it does."""
        self.inner_optimizer.finalize_variable_values(var_list)

    # ---- Config ----

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer, the inner one as plain data."""
        inner = serialize_keras_object(self.inner_optimizer)
        own = {"initial_scale": self.initial_scale, "dynamic_growth_steps": self.dynamic_growth_steps}
        return {"name": self.name, "inner_optimizer": inner, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> LossScaleOptimizer:
        """An optimizer from what ``get_config`` gave."""
        inner = config["inner_optimizer"]
        made = inner if isinstance(inner, Optimizer) else deserialize_keras_object(inner, custom_objects)
        return cls(**{**config, "inner_optimizer": made})


def _check_unknown(owner: str, unknown: dict[str, Any]) -> None:
    """Older configs hold arguments of all optimizers, at their defaults."""
    defaults = {"use_ema": False, "ema_momentum": 0.99, "dynamic": True}
    for name, value in unknown.items():
        if name not in (*BesideDecay.__annotations__, *CommonArgs.__annotations__, "dynamic"):
            raise TypeError(f"{owner}: unknown argument {name!r}.")
        if value != defaults.get(name):
            cure = "give the inner optimizer a loss_scale_factor instead" if name == "dynamic" else "give it to the inner optimizer"
            raise ValueError(f"{owner}: {name}={value!r} is not taken here: {cure}.")


registry.add(LossScaleOptimizer, "lossscaleoptimizer", "loss_scale_optimizer")
