"""The values inside a model that has a graph, as symbolic tensors: what ``layer.output`` gives where ``call`` is a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from pellucid.core import jax_compat
from pellucid.core.layer import Layer, current_training
from pellucid.core.symbolic import Step, SymbolicTensor
from pellucid.graph.cache import captures_of
from pellucid.graph.graph import Graph
from pellucid.graph.nodes import part_names
from pellucid.graph.signature import BATCH


class View:
    """The symbolic inputs of a graph, and what its nodes make of them.

    Args:
        layer: whose graph it is.
        graph: of which one is looked at.
        inputs: the symbolic inputs, where there are some already.
    """

    def __init__(self, layer: Layer, graph: Graph, inputs: Any = None):
        self.layer, self.graph = layer, graph
        self.inputs = _symbols(graph) if inputs is None else inputs
        self._given: dict[str | int, Any] = {}

    def at(self, place: str | int) -> Any:
        """The value of a node, by its path, or an output, by its number: a symbolic tensor, or a tuple of them."""
        if place not in self._given:
            part = self.graph.restricted([place])
            step = Step(Inside(self, [place]), (self.inputs,), {}, _run_inside, jax_compat.here())
            (self._given[place],) = step.give(part.output_tree, _without_size(part))
        return self._given[place]

    def outputs(self) -> Any:
        """The outputs in their structure."""
        return jax.tree.unflatten(self.graph.output_tree, [self.at(i) for i in range(self.graph.output_count)])

    def input_of(self, path: str) -> Any:
        """What a layer call takes: a symbolic tensor, or a list of them."""
        inputs = dict(zip((n.path for n in self.graph.input_nodes), jax.tree.leaves(self.inputs), strict=False))
        taken = [inputs[p] if p in inputs else _one_of(self.at(p), number) for p, number in self.graph.sources(path)]
        return taken[0] if len(taken) == 1 else taken


class Inside:
    """What stands for a function in a step that takes a model's inputs and gives values inside it."""

    def __getstate__(self) -> Any:
        name = self.view.layer.name
        raise TypeError(
            f"A model of the inner values of {name!r} cannot be copied or pickled: they are computed by the code of that model. Copy "
            f"{name!r}, and take the inner values of the copy."
        )

    def __init__(self, view: View, places: Sequence[str | int]):
        self.view, self.places = view, list(places)
        graph = view.graph.restricted(self.places)
        self.layers = layers_of(graph)
        self.names = [n.path for n in graph.calls if not n.parent]
        held = {v for layer in self.layers for v in layer.variables}
        self.own = [v for v in dict.fromkeys([*graph.reads, *graph.writes]) if v not in held]


def _run_inside(step: Step, args: tuple, kwargs: dict) -> Any:
    view, places = step.function.view, step.function.places
    return captures_of(view.layer).run(args[0], current_training(), places, "a model of inner values")


def together(steps: list[Step]) -> list[Step]:
    """The same steps, with one run of a graph for all values inside it that are wanted: its random draws are the same for all."""
    of_view: dict[View, list[Step]] = {}
    for step in steps:
        if isinstance(step.function, Inside):
            of_view.setdefault(step.function.view, []).append(step)
    for view, parts in of_view.items():
        if len(parts) > 1:
            places = [place for part in parts for place in part.function.places]
            outputs = [value for part in parts for value in part.outputs]
            whole = Step(Inside(view, places), parts[0].args, {}, _run_inside, parts[0].origin, outputs)
            steps = [whole if step is parts[0] else step for step in steps if step not in parts[1:]]
    return steps


def layers_of(graph: Graph) -> list[Layer]:
    """The layers whose weights a graph uses: those that hold no other called one, and those that use weights of their own."""
    read = {*graph.reads, *graph.writes}
    around = {n.parent for n in graph.calls}
    inner = {v for n in graph.calls if n.path not in around and n.layer is not None for v in n.layer.variables}
    found = [
        n.layer
        for n in graph.calls
        if n.layer is not None and (n.path not in around or any(v in read and v not in inner for v in n.layer._own_variables()))
    ]
    return list(dict.fromkeys(found))


def _symbols(graph: Graph) -> Any:
    leaves = graph.signature.leaves
    names = iter(part_names("input", graph.signature.tree, [kind != "value" for kind, _ in leaves]))
    symbols = [x.value if shape == "value" else SymbolicTensor(_in_symbols(shape), x, name=next(names)) for shape, x in leaves]
    return jax.tree.unflatten(graph.signature.tree, symbols)


def _without_size(graph: Graph) -> list[Any]:
    """Abstract values of the outputs; the batch is open, also where the graph was captured for one size alone."""
    size, symbol = graph.signature.batch_size, jax_compat.batch_symbol()
    outputs = jax.tree.leaves(
        graph.output_specs({BATCH: symbol, **{name: jax_compat.open_symbol(name) for name in graph.signature.lengths}})
    )
    if size is None:
        return outputs
    return [jax.ShapeDtypeStruct((symbol, *a.shape[1:]) if a.shape[:1] == (size,) else a.shape, a.dtype) for a in outputs]


def _in_symbols(shape: tuple) -> tuple:
    return tuple(jax_compat.open_symbol(size) if isinstance(size, str) else size for size in shape)


def _one_of(values: Any, number: int) -> Any:
    return values[number] if isinstance(values, tuple) else values
