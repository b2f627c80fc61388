"""Scopes of Keras: variables with other values for a while, names, devices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core.frame import Frame
from pellucid.core.variable import Variable


class StatelessScope:
    """Within it variables have the values given, and what is assigned to them stays in the scope.

    So a function that reads and assigns variables is pure: it may be traced by ``jax.jit`` or ``jax.grad``.

    Args:
        state_mapping: pairs (variable, value).
        collect_losses: whether losses that layers add are kept in ``losses``.
        initialize_variables: taken for Keras's sake; variables have values from the start.

    Example:
        >>> import pellucid
        >>> count = pellucid.Variable(1.0)
        >>> with pellucid.StatelessScope([(count, 5.0)]) as scope:
        ...     count.assign_add(1.0)
        >>> float(scope.get_current_value(count)), float(count)
        (6.0, 1.0)
    """

    def __init__(
        self, state_mapping: Iterable[tuple[Variable, Any]] | None = None, collect_losses: bool = False, initialize_variables: bool = True
    ):
        self.collect_losses, self.losses = collect_losses, []
        self.state_mapping: dict[Variable, Any] = {}
        self._frame: Frame | None = None
        for variable, value in state_mapping or ():
            self.add_update((variable, value))

    def __enter__(self) -> StatelessScope:
        self._frame = Frame(self.state_mapping)
        self._frame.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._frame is not None
        frame, self._frame = self._frame, None
        self.state_mapping |= {variable: frame.values[variable] for variable in frame.written}
        if self.collect_losses:
            self.losses = [loss for added in frame.losses.values() for loss in added]
        frame.__exit__(*error)

    def add_update(self, update: tuple[Variable, Any]) -> None:
        """Gives a variable a value in the scope: ``(variable, value)``.

        Raises:
            ValueError: the value has another shape.
        """
        variable, value = update
        if not isinstance(variable, Variable):
            raise ValueError(f"StatelessScope: {variable!r} is no Variable; expected pairs (variable, value).")
        value = jnp.asarray(value, variable.dtype)
        if value.shape != tuple(variable.shape):
            raise ValueError(f"StatelessScope: variable {variable.path!r} has shape {tuple(variable.shape)}, its value {value.shape}.")
        if self._frame is None:
            self.state_mapping[variable] = value
        else:
            self._frame.write(variable, value)

    def get_current_value(self, variable: Variable) -> Any:
        """The value of a variable in the scope, also after its end; None where it has none there."""
        return (self.state_mapping if self._frame is None else self._frame.values).get(variable)


@contextlib.contextmanager
def name_scope(name: str, **_: Any) -> Iterator[None]:
    """What is computed within has the name before its own in profiles and in XLA's texts. Paths of weights come from the layers."""
    with jax.named_scope(name):
        yield


@contextlib.contextmanager
def device(device_name: str) -> Iterator[None]:
    """Arrays that are made within are on a device.

    Args:
        device_name: "cpu", "gpu" or "tpu", maybe with a number: "gpu:1".

    Raises:
        ValueError: there is no such device.
    """
    kind, _, number = device_name.lower().partition(":")
    kind = {"cuda": "gpu"}.get(kind, kind)
    try:
        found = jax.devices(kind)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError):
        known = ", ".join(f"{d.platform}:{i}" for i, d in enumerate(jax.devices()))
        raise ValueError(f"device: there is no {device_name!r} here; expected one of {known}, cpu:0.") from None
    with jax.default_device(found):
        yield
