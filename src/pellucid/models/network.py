"""Network: the steps from symbolic inputs to symbolic outputs, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax

from pellucid.core import dtypes
from pellucid.core.layer import Layer
from pellucid.core.symbolic import Step, SymbolicTensor
from pellucid.errors import did_you_mean
from pellucid.graph import connect
from pellucid.training.own_step import built_in


def Input(
    shape: Any = None, batch_size: int | None = None, dtype: Any = None, name: str | None = None, batch_shape: Any = None
) -> SymbolicTensor:
    """A symbolic tensor to begin a model with.

    Args:
        shape: of one row, without the batch.
        batch_size: None (the default) for any.
        dtype: by default ``floatx()``.
        name: of the input.
        batch_shape: the shape with the batch, in place of ``shape`` and ``batch_size``.

    Example:
        >>> from pellucid import Input, Model, layers
        >>> x = Input((3,))
        >>> Model(x, layers.Dense(2)(x)).output_shape
        (None, 2)
    """
    if (shape is None) == (batch_shape is None):
        raise ValueError(f"Input: shape={shape!r}, batch_shape={batch_shape!r}; expected one of them, such as shape=(3,).")
    whole = tuple(batch_shape) if batch_shape is not None else (batch_size, *((shape,) if isinstance(shape, int) else tuple(shape)))
    if any(d is None for d in whole[1:]):
        raise ValueError(f"Input: shape {whole} has None in another place than the first; expected one unknown size, the batch.")
    return SymbolicTensor(whole, dtypes.standardize_dtype(dtype), name=name)


class Network:
    """What ``Model(inputs, outputs)`` runs.

    Args:
        inputs: structure of symbolic tensors from ``Input``.
        outputs: structure of symbolic tensors made of them.

    Raises:
        ValueError: where an output depends on a symbolic tensor that is not among the inputs.
        TypeError: for anything that is not symbolic.
    """

    def __init__(self, inputs: Any, outputs: Any):
        for name, tree in (("inputs", inputs), ("outputs", outputs)):
            wrong = next((leaf for leaf in jax.tree.leaves(tree) if not isinstance(leaf, SymbolicTensor)), None)
            if wrong is not None or not jax.tree.leaves(tree):
                raise TypeError(f"Model: {name}={wrong if wrong is not None else tree!r}; expected symbolic tensors, as Input gives them.")
        self.inputs, self.outputs = inputs, outputs
        self.steps = _steps_between(jax.tree.leaves(inputs), jax.tree.leaves(outputs))
        self.layers: list[Layer] = list(dict.fromkeys(s.function for s in self.steps if isinstance(s.function, Layer)))
        names = [layer.name for layer in self.layers]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise ValueError(f"Model: two layers are named {twice!r}; give each a name of its own.")

    def run(self, values: Any) -> Any:
        """The outputs for inputs of the same structure (or a dict by the names of the inputs)."""
        known: dict[SymbolicTensor, Any] = dict(zip(jax.tree.leaves(self.inputs), self._in_order(values), strict=True))
        fill = lambda tree: jax.tree.map(lambda leaf: known[leaf] if isinstance(leaf, SymbolicTensor) else leaf, tree)
        for step in self.steps:
            made = step.run(step, fill(step.args), fill(step.kwargs))
            known.update(zip(jax.tree.leaves(step.outputs), jax.tree.leaves(made), strict=True))
        return fill(self.outputs)

    def _in_order(self, values: Any) -> list[Any]:
        expected = jax.tree.leaves(self.inputs)
        if isinstance(values, dict) and not isinstance(self.inputs, dict):
            missing = [t.name for t in expected if t.name not in values]
            if missing:
                raise ValueError(f"Model: the inputs are a dict without {missing[0]!r}; expected the keys {[t.name for t in expected]}.")
            return [values[t.name] for t in expected]
        leaves = jax.tree.leaves(values)
        if len(leaves) != len(expected):
            raise ValueError(f"Model: got {len(leaves)} arrays; expected {len(expected)}, for the inputs {expected}.")
        return leaves


def _steps_between(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> list[Step]:
    """All steps that the outputs need, each after those that it needs itself."""
    given, order = set(map(id, inputs)), {}
    waiting: list[tuple[SymbolicTensor, bool]] = [(t, False) for t in reversed(outputs)]
    while waiting:
        tensor, ready = waiting.pop()
        if id(tensor) in given or (tensor.step is not None and id(tensor.step) in order):
            continue
        if tensor.step is None:
            raise ValueError(f"Model: the outputs depend on {tensor!r}, which is not among the inputs.")
        if ready:
            order[id(tensor.step)] = tensor.step
        else:
            waiting.append((tensor, True))
            waiting += [(t, False) for t in reversed(tensor.step.inputs)]
    return list(order.values())


class Connected(Layer):
    """What a model has of the symbolic tensors that it may be made from, and of its layers.

    Args:
        inputs: structure of symbolic tensors, or None for a subclass that has a ``call``.
        outputs: structure of symbolic tensors made of them.
        layer_args: name, dtype, trainable.
    """

    _network: Network | None = None
    graph: Any

    def __init__(self, inputs: Any = None, outputs: Any = None, **layer_args: Any):
        super().__init__(**layer_args)
        if (inputs is None) != (outputs is None):
            raise ValueError(f"Model: inputs={inputs!r}, outputs={outputs!r}; expected both, as symbolic tensors, or none.")
        if inputs is not None:
            self._connect(inputs, outputs)

    def _connect(self, inputs: Any, outputs: Any) -> None:
        """Makes the model one that goes from symbolic inputs to symbolic outputs."""
        object.__setattr__(self, "_network", Network(inputs, outputs))
        Layer.version += 1
        self._state.built = True
        self._nested_layers()

    def _children(self) -> Iterator[tuple[str, Any]]:
        if self._network is not None:
            yield from ((layer.name, layer) for layer in self._network.layers)
        yield from super()._children()

    @built_in
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Computes the outputs from the inputs: of a subclass, or along the steps from symbolic inputs to outputs."""
        if self._network is None:
            return super().call(inputs)
        return self._network.run(inputs)

    @property
    def layers(self) -> list[Layer]:
        """The layers that the model holds itself."""
        return self._nested_layers()

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer of the model, by its name or its place among ``layers``."""
        layers = self._nested_layers()
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"get_layer: index={index}; the model {self.name!r} has {len(layers)} layers.")
            return layers[index]
        found = next((layer for layer in layers if layer.name == name), None)
        if found is None:
            raise ValueError(f"get_layer: there is no layer {name!r} in {self.name!r}. {did_you_mean(str(name), [x.name for x in layers])}")
        return found

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic inputs of a model that was made from them."""
        return [] if self._network is None else jax.tree.leaves(self._network.inputs)

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic outputs of a model that was made from them."""
        return [] if self._network is None else jax.tree.leaves(self._network.outputs)

    @property
    def input_shape(self) -> Any:
        """The shape of the inputs, with None for the batch, in their structure."""
        return self._shapes("input")

    @property
    def output_shape(self) -> Any:
        """The shape of the outputs, with None for the batch, in their structure."""
        return self._shapes("output")

    def _shapes(self, end: str) -> Any:
        if self._network is not None:
            return jax.tree.map(lambda t: t.shape, getattr(self._network, f"{end}s"))
        if self.graph is None:
            raise ValueError(f"{end}_shape: {self.name!r} has seen no inputs yet. Build it first: model.build((None, …)).")
        return getattr(self.graph, f"{end}s")


connect.install()
