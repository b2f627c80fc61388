"""Network: the steps from symbolic inputs to symbolic outputs, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax

from pellucid.core import masks
from pellucid.core.given import Given
from pellucid.core.hooks import Hooks
from pellucid.core.layer import Layer
from pellucid.core.symbolic import Step, SymbolicTensor
from pellucid.errors import NotBuiltError, did_you_mean
from pellucid.graph import connect, output_shapes
from pellucid.graph.graph import Arguments, Graph
from pellucid.models.ends import Inside, View, together
from pellucid.training.own_step import built_in


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
        self.inputs, self.outputs = _alone(inputs), _alone(outputs)
        self.steps = together(_steps_between(jax.tree.leaves(inputs), jax.tree.leaves(outputs)))
        connected = _layers_by_depth(self.steps, jax.tree.leaves(outputs))
        inside = [s.function for s in self.steps if isinstance(s.function, Inside)]
        self.layers: list[Layer] = list(dict.fromkeys([layer for part in inside for layer in part.layers] + connected))
        self.own = [variable for part in inside for variable in part.own]  # of models whose inner values are used
        names = [name for part in inside for name in part.names] + [layer.name for layer in connected]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise ValueError(f"Model: two layers are named {twice!r}; give each a name of its own.")

    def run(self, values: Any) -> Any:
        """The outputs for inputs of the same structure (or a dict by the names of the inputs)."""
        tensors = jax.tree.leaves(self.inputs)
        known: dict[SymbolicTensor, Any] = {t: _as_declared(x, t) for t, x in zip(tensors, self._in_order(values), strict=True)}
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


def _as_declared(x: Any, tensor: SymbolicTensor) -> Any:
    """An array in the type that its ``Input`` says: integers would overflow where floats do not. A last axis of size 1 may be left out,
    or be one too many.
    """
    if not hasattr(x, "dtype") or not hasattr(x, "ndim"):
        return x
    shape, made = tensor.shape, x
    if x.ndim == len(shape) - 1 and x.ndim and shape[-1] == 1:
        made = x[..., None]
    elif x.ndim == len(shape) + 1 and shape and x.shape[-1] == 1:
        made = x[..., 0]
    if x.dtype != tensor.dtype and {getattr(x.dtype, "kind", ""), getattr(tensor.dtype, "kind", "")} <= set(_REAL):
        made = made.astype(tensor.dtype)
    return made if made is x else masks.carried(x, made)


_REAL = "biufV"  # kinds of data types that are converted to one another; V is bfloat16, among others


def _alone(tree: Any) -> Any:
    """A list of one is that one, as in Keras: else the inputs ``[x]`` and ``x`` would be of two signatures."""
    return tree[0] if isinstance(tree, list | tuple) and len(tree) == 1 else tree


def get_source_inputs(tensor: SymbolicTensor) -> list[SymbolicTensor]:
    """The inputs that a symbolic tensor is made of.

    Example:
        >>> from pellucid import Input, layers, utils
        >>> a, b = Input((2,), name="a"), Input((2,), name="b")
        >>> [x.name for x in utils.get_source_inputs(layers.add([a, layers.Dense(2)(b)]))]
        ['a', 'b']
    """
    found: dict[int, SymbolicTensor] = {}
    seen, waiting = set(), [tensor]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if one.step is None:
            found[id(one)] = one
        else:
            waiting += reversed(one.step.inputs)
    return list(found.values())


def _steps_between(inputs: list[SymbolicTensor], outputs: list[SymbolicTensor]) -> list[Step]:
    """All steps that the outputs need, each after those that it needs itself."""
    given, order = set(map(id, inputs)), {}
    waiting: list[tuple[SymbolicTensor, bool]] = [(t, False) for t in reversed(outputs)]
    while waiting:
        tensor, ready = waiting.pop()
        if id(tensor) in given or (tensor.step is not None and id(tensor.step) in order):
            continue
        if tensor.step is None:
            raise ValueError(
                f"Model: the outputs depend on {tensor!r}, which is not among the inputs {inputs}. Begin with it, or with the `inputs` "
                "of the model whose layers' outputs these are."
            )
        if ready:
            order[id(tensor.step)] = tensor.step
        else:
            waiting.append((tensor, True))
            waiting += [(t, False) for t in reversed(tensor.step.inputs)]
    return list(order.values())


def _layers_by_depth(steps: list[Step], outputs: list[SymbolicTensor]) -> list[Layer]:
    """The layers in Keras's order, which is that of the weights: those farthest from the outputs first, else as a walk back from the
    outputs meets them.
    """
    depth = dict.fromkeys(map(id, steps), 0)
    of_layer: dict[Any, int] = {}
    for step in reversed(steps):  # whatever uses a step comes after it
        deepest = max(depth[id(step)], of_layer.get(step.function, 0)) if isinstance(step.function, Layer) else depth[id(step)]
        depth[id(step)] = deepest
        if isinstance(step.function, Layer):
            of_layer[step.function] = deepest
        for before in {id(tensor.step) for tensor in step.inputs} & set(depth):
            depth[before] = max(depth[before], deepest + 1)
    met: dict[Any, int] = {}
    seen: set[int] = set()
    waiting = list(reversed(outputs))
    while waiting:
        step = waiting.pop().step  # type: ignore[assignment]
        if step is None or id(step) in seen or id(step) not in depth:
            continue
        seen.add(id(step))
        met.setdefault(step.function, len(met))
        waiting += reversed(step.inputs)
    return sorted((f for f in met if isinstance(f, Layer)), key=lambda layer: (-of_layer[layer], met[layer]))


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
        self.autocast = False  # each layer casts what it gets; the inputs are of the types that they were given
        self._state.built = True
        self._nested_layers()

    def __setstate__(self, given: dict[str, Any]) -> None:
        super().__setstate__(given)
        for step in () if self._network is None else self._network.steps:
            if isinstance(step.function, Layer):
                step.function._state.steps.add(step)

    def _children(self) -> Iterator[tuple[str, Any]]:
        if self._network is not None:
            yield from ((layer.name, layer) for layer in self._network.layers)
            yield from ((variable.name, variable) for variable in self._network.own)
        yield from super()._children()

    @built_in
    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Computes the outputs from the inputs: of a subclass, or along the steps from symbolic inputs to outputs."""
        if self._network is None:
            return super().call(inputs)
        for x, given in zip(jax.tree.leaves(inputs), jax.tree.leaves(mask, is_leaf=lambda m: m is None), strict=False):
            if given is not None:
                masks.attach(x, given)
        return self._network.run(inputs)

    def _open_axes(self, numbers: Any) -> set[tuple[int, int]]:
        if self._network is None:
            return super()._open_axes(numbers)
        given = numbers.args[0] if isinstance(numbers, Arguments) and numbers.args else numbers
        try:
            order = self._network._in_order(given)
        except ValueError:  # which the capture tells
            return set()
        expected = jax.tree.leaves(self._network.inputs)
        return {(i, a) for i, tensor in zip(order, expected, strict=True) for a, size in enumerate(tensor.shape) if a and size is None}

    @Given
    def layers(self) -> list[Layer]:
        """The layers that the model holds itself."""
        return self._nested_layers()

    def _listed_on_file(self) -> tuple[list[Any], bool] | None:
        return (self._nested_layers(), False) if self._network is None else (self._network.layers, True)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer of the model.

        Args:
            name: of the layer; or its path, such as ``"encoder/blocks/0"``, as the summary shows it.
            index: its place among ``layers``, instead of the name.

        Raises:
            ValueError: where there is none, or not exactly one of the two is given.
        """
        layers = self._nested_layers()
        if (name is None) == (index is None):
            raise ValueError(f"get_layer: name={name!r}, index={index!r}; expected one of them.")
        if index is not None:
            if isinstance(index, bool) or not isinstance(index, int):
                raise TypeError(f"get_layer: index={index!r}; expected a whole number; a name is given as name={index!r}.")
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"get_layer: index={index}; the model {self.name!r} has {len(layers)} layers.")
            return layers[index]
        found = {layer.path: layer for layer in reversed(self._flatten_layers()[1:])}
        found.update({path: child for path, child in self._children() if isinstance(child, Layer)})
        found.update({layer.name: layer for layer in reversed(layers)})
        if name not in found:
            raise ValueError(f"get_layer: there is no layer {name!r} in {self.name!r}. {did_you_mean(str(name), found)}")
        return found[name]

    # ---- Ends ----

    @Given
    def input(self) -> Any:
        """The symbolic inputs in their structure."""
        return self._view("input").inputs if self._network is None else self._network.inputs

    @Given
    def output(self) -> Any:
        """The symbolic outputs in their structure."""
        return self._view("output").outputs() if self._network is None else self._network.outputs

    @Given
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic inputs, of any model that has a graph: ``Model(model.inputs, model.get_layer("hidden").output)``."""
        return [leaf for leaf in jax.tree.leaves(self.input) if isinstance(leaf, SymbolicTensor)]

    @Given
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic outputs."""
        return jax.tree.leaves(self.output)

    @Given
    def input_shape(self) -> Any:
        """The shape of the inputs, with None for the batch, in their structure."""
        return self._shapes("input")

    @Given
    def output_shape(self) -> Any:
        """The shape of the outputs, with None for the batch, in their structure."""
        return self._shapes("output")

    def _shapes(self, end: str) -> Any:
        if self._network is not None:
            return jax.tree.map(lambda t: t.shape, getattr(self._network, f"{end}s"))
        return getattr(self._with_graph(f"{end}_shape"), f"{end}s")

    def _with_graph(self, what: str) -> Graph:
        if self._network is not None and self.graph is None:
            return connect.graph_of(self, self._network.inputs, what)
        if self.graph is None:
            raise NotBuiltError(f"{what}: {self.name!r} has seen no inputs yet, so that it has no graph. {_BUILD}")
        return self.graph

    def _view(self, what: str) -> View:
        """The symbolic tensors of the last graph. They stay the same for inputs of the same types."""
        graph, network = self._with_graph(what), self._network
        key = (graph.signature.tree, graph.signature.leaves) if network is None else network
        views = self._state.views
        view = views.get(key)
        if view is None:
            view = View(self, graph, None if network is None else network.inputs)
            views.put(key, view)
        return view


_BUILD = "Build it first: model.build((None, …)) or model.capture(x)."


def end_of(layer: Layer, end: str) -> Any:
    """The symbolic input or output of a layer: of its call on symbolic tensors, or in the graph of the model that holds it."""
    what, steps = f"{end} of layer {layer.path!r}", layer._state.steps.all()
    if len(steps) > 1:
        raise AttributeError(
            f"The {what} is not one thing: the layer was called on symbolic tensors {len(steps)} times. Keep what each call returns, "
            "or name a call in model.submodel(path), as in model.graph.nodes."
        )
    if steps:
        (step,) = steps
        return step.outputs if end == "output" else step.args[0] if len(step.args) == 1 else step.inputs
    models = _models_around(layer)
    for model in models:
        if model.graph is None and model._network is None:
            continue
        view = model._view(what)
        calls = [node.path for node in view.graph.calls if node.layer is layer]
        if len(calls) > 1:
            raise AttributeError(
                f"The {what} is not one thing: the model {model.name!r} calls the layer {len(calls)} times. Name a call: "
                f"model.submodel({calls[0]!r}), model.submodel({calls[1]!r}) …"
            )
        if calls:
            return view.at(calls[0]) if end == "output" else view.input_of(calls[0])
    if not models:
        raise NotBuiltError(f"The {what} does not exist: the layer was called on no symbolic tensor and is in no model.")
    raise NotBuiltError(f"The {what} does not exist yet: no graph of model {models[0].name!r} has a call of the layer. {_BUILD}")


def _models_around(layer: Layer) -> list[Connected]:
    """The models that a layer is in, from the inside out."""
    found, owner = [], layer._state.owner
    while owner is not None:
        if isinstance(owner[0], Connected):
            found.append(owner[0])
        owner = owner[0]._state.owner
    return found


Hooks.end_of = end_of
connect.install()
output_shapes.install()
