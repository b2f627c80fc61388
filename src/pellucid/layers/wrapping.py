"""Layers around layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import serialization
from pellucid.core.arguments import parameters_of
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.layers.activation import is_library_function
from pellucid.ops import control


class Wrapper(Layer):
    """The base of layers around another one. A subclass defines ``call``.

    Args:
        layer: the layer inside.
    """

    def __init__(self, layer: Layer, **layer_args: Any):
        super().__init__(**layer_args)
        if not isinstance(layer, Layer):
            raise ValueError(f"{type(self).__name__}: layer={layer!r}; expected a layer, such as Dense(4).")
        self.layer = layer


class TimeDistributed(Wrapper):
    """Applies a layer to each step of a sequence by itself.

    Where rows cannot influence each other inside, steps are folded into rows and the layer is called once. That holds of the
    library's own layers, but for those with ``couples_rows`` (``BatchNormalization``, ``SpectralNormalization``, ``Lambda``, stateful
    recurrent layers), with a function of yours as activation, or whose ``axis`` may be that of the rows. All others run step after
    step in one loop, and what they assign goes from each step to the next: statistics of a batch are those of a step. In either case
    their ``call`` is captured once.

    Args:
        layer: is called on (batch, ...), with the step's part of the mask where its ``call`` takes one.

    Shapes: (batch, time, ...) -> (batch, time, ...).

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.TimeDistributed(pellucid.layers.Dense(4))(np.ones((2, 5, 3), "float32")).shape
        (2, 5, 4)
    """

    _takes = "arrays"

    supports_masking = True

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if inputs.ndim < 3:
            raise ShapeError(f"TimeDistributed {self.path!r} got inputs of {inputs.ndim} axes; expected three or more: (batch, time, ...).")
        if mask is not None and mask.ndim < 2:
            raise ShapeError(f"TimeDistributed {self.path!r} got a mask of shape {tuple(mask.shape)}; expected (batch, time, ...).")
        masked = mask is not None and "mask" in parameters_of(type(self.layer).call).names
        given = (inputs, mask) if masked else (inputs,)
        return _folded(self._of_step, *given) if rows_are_apart(self.layer) else _in_turn(self._of_step, *given)

    def _of_step(self, x: Any, mask: Any = None) -> Any:
        return self.layer(x) if mask is None else self.layer(x, mask=mask)


def _folded(function: Callable, *arrays: Any) -> Any:
    time = arrays[0].shape[:2]
    outputs = function(*(x.reshape(-1, *x.shape[2:]) for x in arrays))
    return jax.tree.map(lambda y: y.reshape(*time, *y.shape[1:]), outputs)


def _in_turn(function: Callable, *arrays: Any) -> Any:
    swapped = lambda tree: jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)
    return swapped(control.map(lambda slices: function(*slices), swapped(arrays)))


_KNOWN = ("pellucid.layers.", "pellucid.models.sequential")


def rows_are_apart(layer: Layer) -> bool:
    """Whether it is known of a layer, and of those inside, that no row of the batch can influence another."""
    return all(
        type(one).__module__.startswith(_KNOWN) and not getattr(one, "couples_rows", False) and _works_within_rows(one)
        for one in layer._flatten_layers()
    )


def _works_within_rows(layer: Any) -> bool:
    """Whether its activations are no functions of the user's, and its axes not that of the rows."""
    given = [getattr(layer, name, None) for name in ("activation", "recurrent_activation")]
    axis = getattr(layer, "axis", -1)
    axes = axis if isinstance(axis, list | tuple) else (axis,)
    return all(f is None or is_library_function(f) for f in given) and all(a > 0 or a == -1 for a in axes)


_MERGED: dict[str | None, Callable] = {
    "concat": lambda y, back: jnp.concatenate([y, back], axis=-1),
    "sum": lambda y, back: y + back,
    "ave": lambda y, back: (y + back) / 2,
    "mul": lambda y, back: y * back,
    None: lambda y, back: (y, back),
}


class Bidirectional(Layer):
    """A recurrent layer and its like that goes backwards, whose outputs are merged step by step.

    Schuster and Paliwal, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing 45 (1997).

    Args:
        layer: a recurrent layer; a new one is made from its config.
        merge_mode: "concat", "sum", "ave", "mul", or None for both outputs.
        weights: initial weights of both layers, as ``get_weights`` gives them, or None.
        backward_layer: what goes backwards, with ``go_backwards=True``; by default like ``layer``.

    Shapes: as of the layer; with "concat", the last axis is twice as large. With ``return_state``, the states of both follow.

    Example:
        >>> import numpy as np, pellucid
        >>> layer = pellucid.layers.Bidirectional(pellucid.layers.GRU(4, return_sequences=True))
        >>> layer(np.ones((2, 5, 3), "float32")).shape
        (2, 5, 8)
    """

    _takes = "arrays"

    supports_masking = True

    def __init__(
        self,
        layer: Layer,
        merge_mode: str | None = "concat",
        weights: list[Any] | None = None,
        backward_layer: Layer | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        for name, given in (("layer", layer), ("backward_layer", backward_layer)):
            if not hasattr(given, "go_backwards") and (name == "layer" or given is not None):
                raise ValueError(f"Bidirectional: {name}={given!r}; expected a recurrent layer, such as GRU(4).")
        if merge_mode not in _MERGED:
            raise ValueError(f"Bidirectional: merge_mode={merge_mode!r}; expected one of {list(_MERGED)}.")
        self.forward_layer: Any = _named(layer, "forward_")
        self.backward_layer: Any = _named(layer, "backward_", go_backwards=True) if backward_layer is None else backward_layer
        self.merge_mode, self._initial = merge_mode, weights
        _check_pair(self.forward_layer, self.backward_layer)
        both: tuple[Any, Any] = self.forward_layer, self.backward_layer
        for one in both:
            one.zero_output_for_mask = one.return_sequences  # the output before is another one in either direction

    @property
    def return_sequences(self) -> bool:
        """As of both layers."""
        return self.forward_layer.return_sequences

    @property
    def return_state(self) -> bool:
        """As of both layers."""
        return self.forward_layer.return_state

    @property
    def stateful(self) -> bool:
        """As of both layers."""
        return self.forward_layer.stateful

    @property
    def couples_rows(self) -> bool:
        """As of both layers."""
        return self.stateful

    @property
    def states(self) -> Any:
        """Those that both layers keep, or None."""
        if self.forward_layer.states is None:
            return None
        return (*self.forward_layer.states, *self.backward_layer.states)

    def reset_state(self) -> None:
        """Sets the states of stateful layers to zero."""
        for layer in (self.forward_layer, self.backward_layer):
            layer.reset_state()

    def reset_states(self) -> None:
        """As ``reset_state``."""
        self.reset_state()

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built and type(layer).build is not Layer.build:
                layer.build(sequences_shape)
        if self._initial is not None:
            self.set_weights(self._initial)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        leaves = jax.tree.leaves(previous_mask)
        mask = leaves[0] if leaves and self.return_sequences else None
        masks = (mask, mask) if self.merge_mode is None else mask
        if not self.return_state:
            return masks
        several = masks if isinstance(masks, tuple) else (masks,)
        return (*several, *(None for layer in (self.forward_layer, self.backward_layer) for _ in layer.state_size))

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        half = 0 if initial_state is None else len(initial_state) // 2
        given = (None, None) if initial_state is None else (initial_state[:half], initial_state[half:])
        y, back = (
            layer(sequences, initial_state=states, mask=mask)
            for layer, states in zip((self.forward_layer, self.backward_layer), given, strict=True)
        )
        states: tuple = ()
        if self.return_state:
            (y, *states_of_y), (back, *states_of_back) = y, back
            states = (*states_of_y, *states_of_back)
        y, back = y.astype(self.compute_dtype), back.astype(self.compute_dtype)
        output = _MERGED[self.merge_mode](y, jnp.flip(back, 1) if self.return_sequences else back)
        if not states:
            return output
        return (*output, *states) if self.merge_mode is None else (output, *states)

    def get_config(self) -> dict[str, Any]:
        layers = {"layer": self.forward_layer, "backward_layer": self.backward_layer}
        written = {name: serialization.serialize_keras_object(layer) for name, layer in layers.items()}
        return {**self._config(without=("layer", "backward_layer", "weights")), **written}


def _named(layer: Layer, prefix: str, **changed: Any) -> Any:
    """A layer made from the config of another one, with a prefix before its name."""
    data = serialization.serialize_keras_object(layer)
    data["config"].update(name=prefix + layer.name.removeprefix(prefix), **changed)
    own = {type(one).__name__: type(one) for one in layer._flatten_layers() if not serialization.is_ours(type(one))}
    return serialization.deserialize_keras_object(data, custom_objects=own, safe_mode=False)


def _check_pair(forward: Any, backward: Any) -> None:
    for name in ("go_backwards", "return_sequences", "return_state", "stateful"):
        mine, other = getattr(forward, name), getattr(backward, name)
        if (mine == other) == (name == "go_backwards"):
            expected = "one that goes backwards, and one that does not" if name == "go_backwards" else "the same of both"
            raise ValueError(f"Bidirectional: layer has {name}={mine!r} and backward_layer {name}={other!r}; expected {expected}.")
