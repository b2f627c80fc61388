"""Models as pure functions, for a loop of the user's own in plain JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core.explain import filtered
from pellucid.core.frame import Frame
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.errors import NotBuiltError, did_you_mean
from pellucid.graph.cache import captures_of
from pellucid.graph.graph import Arguments
from pellucid.models.model import Model


class Pure:
    """A model or layer as pure functions of its values; made by ``functionalize``.

    Attributes:
        model: the model, whose ``call`` is captured once and whose own variables nothing here changes, but ``update``.
    """

    def __init__(self, model: Layer):
        self.model = model
        self._trainable = _by_path(model.trainable_variables)
        others = set(self._trainable.values())
        self._others = _by_path([v for v in model.variables if v not in others])

    @property
    def params(self) -> dict[str, jax.Array]:
        """The trainable weights by path: copies of what the model holds now, which may be donated."""
        return {path: v.copied() for path, v in self._trainable.items()}

    @property
    def state(self) -> dict[str, jax.Array]:
        """All other variables by path: moving statistics, states of random generators, weights that are frozen."""
        return {path: v.copied() for path, v in self._others.items()}

    @filtered
    def __call__(
        self, params: Mapping[str, Any], state: Mapping[str, Any], *inputs: Any, training: bool = False, **more: Any
    ) -> tuple[Any, dict[str, Any]]:
        """``(outputs, new state)`` for inputs.

        Args:
            params: as ``self.params``.
            state: as ``self.state``.
            inputs: as ``call`` takes them, with ``more`` by name.
            training: the mode, a Python bool.

        Raises:
            KeyError: where ``params`` or ``state`` lack a variable, or hold one that the model does not have.
        """
        outputs, state, _ = self._run(params, state, inputs, more, training)
        return outputs, state

    @filtered
    def loss(
        self,
        params: Mapping[str, Any],
        state: Mapping[str, Any],
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tuple[Any, tuple[Any, dict[str, Any]]]:
        """``(loss, (outputs, new state))``: what ``compile`` says is to be minimised, for ``jax.value_and_grad(..., has_aux=True)``.

        Args:
            params: as ``self.params``.
            state: as ``self.state``.
            x: inputs of one batch.
            y: targets.
            sample_weight: weights of the rows, or None.
            training: the mode, a Python bool.

        Raises:
            ValueError: where the model was not compiled.
        """
        model = self.model
        if not isinstance(model, Model) or model._machine.settings is None:
            raise ValueError(
                f"loss: {model.path!r} has no loss; expected a compiled model. Call model.compile(loss='mse') first, or compute a loss of "
                "your own from the outputs: outputs, state = pure(params, state, x, training=True)."
            )
        outputs, new, added = self._run(params, state, (x,), {}, training)
        objective = model._objective_of(y, outputs, bool(added))
        total, _ = objective.loss(y, outputs, sample_weight, None, added)
        return total, (outputs, new)

    def update(self, params: Mapping[str, Any], state: Mapping[str, Any] | None = None) -> None:
        """Takes values back into the model, which can then be used, saved and trained as ever.

        Args:
            params: as ``self.params``.
            state: as ``self.state``, or None to leave that as it is.
        """
        given = {**self._checked("params", params, self._trainable)}
        if state is not None:
            given.update(self._checked("state", state, self._others))
        for variable, value in given.items():
            variable.assign(jnp.asarray(value).copy())

    def _run(self, params: Any, state: Any, inputs: tuple, more: dict, training: Any) -> tuple[Any, dict[str, Any], list[Any]]:
        if not isinstance(training, bool):
            raise TypeError(f"training={training!r}; expected True or False: with jax.jit, name it in static_argnames.")
        values = {**self._checked("params", params, self._trainable), **self._checked("state", state, self._others)}
        args, kwargs, _ = self.model._without_training(inputs, more)
        whole = Arguments.of(args, kwargs).alone()
        with Frame({v: jnp.asarray(value) for v, value in values.items()}) as frame:
            outputs, losses = captures_of(self.model).outputs_and_losses(whole, training, None, "functionalize")
            return outputs, {path: frame.values[v] for path, v in self._others.items()}, losses + self.model._penalties()

    def _checked(self, name: str, given: Mapping[str, Any], known: dict[str, Variable]) -> dict[Variable, Any]:
        for path in given:
            if path not in known:
                raise KeyError(f"{name} holds {path!r}, which {self.model.path!r} does not have. {did_you_mean(path, known)}")
        missing = next((path for path in known if path not in given), None)
        if missing is not None:
            raise KeyError(f"{name} lacks {missing!r}; expected all of {', '.join(known)}.")
        return {known[path]: value for path, value in given.items()}


@filtered
def functionalize(model: Layer) -> Pure:
    """A model (or layer) as pure functions, and its values as dicts: for ``jax.jit``, ``grad``, ``vmap``, ``scan``, optax and others.

    ``call`` is captured once; the functions use its graph.

    Args:
        model: with weights, which are not changed.

    Returns:
        Pure: ``params`` and ``state``, the values by path; ``pure(params, state, x)`` gives ``(outputs, state)``, and
        ``pure.loss(params, state, x, y)`` gives ``(loss, (outputs, state))``; ``update(params, state)`` takes values back.

    Raises:
        NotBuiltError: for a model that has no weights yet.

    Example:
        >>> import jax, numpy as np, pellucid
        >>> class Line(pellucid.Model):
        ...     def __init__(self):
        ...         super().__init__(name="line")
        ...         self.out = pellucid.layers.Dense(1)
        ...     def call(self, x):
        ...         return self.out(x)
        >>> model = Line()
        >>> model.build((None, 2))
        >>> model.compile(loss="mse")
        >>> pure = pellucid.functionalize(model)
        >>> params, state = pure.params, pure.state
        >>> x, y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
        >>> @jax.jit
        ... def step(params, state):
        ...     (loss, (_, state)), grads = jax.value_and_grad(pure.loss, has_aux=True)(params, state, x, y)
        ...     return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), state, loss
        >>> for _ in range(30):
        ...     params, state, loss = step(params, state)
        >>> bool(loss < 1e-6), model.ledger.call_count
        (True, 1)
        >>> pure.update(params, state)
    """
    if not isinstance(model, Layer):
        raise TypeError(f"functionalize: model is a {type(model).__name__}; expected a Model or Layer.")
    if not model.built:
        raise NotBuiltError(f"functionalize: {model.path!r} has no weights yet. Build it first: model.build((None, …)) or model(x).")
    return Pure(model)


def _by_path(variables: Sequence[Variable]) -> dict[str, Variable]:
    """Variables by path; a second one of the same path has its number at the end."""
    found: dict[str, Variable] = {}
    for variable in variables:
        path, number = variable.path, 1
        while path in found:
            number += 1
            path = f"{variable.path}_{number}"
        found[path] = variable
    return found
