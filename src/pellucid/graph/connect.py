"""Connecting: a layer is called on symbolic tensors. It is captured there and then, and its graph is used wherever it runs."""

from __future__ import annotations

import itertools
from typing import Any

import jax

from pellucid.core import frame, jax_compat, masks
from pellucid.core.hooks import Hooks
from pellucid.core.layer import Layer, current_training
from pellucid.core.symbolic import Step, SymbolicTensor, spec
from pellucid.graph.cache import captures_of
from pellucid.graph.capture import Capture
from pellucid.graph.graph import Arguments, Graph
from pellucid.graph.signature import BATCH, Open, arrays_of


def connect(layer: Layer, args: tuple, kwargs: dict) -> Any:
    """The symbolic outputs of a layer. Its weights are made."""
    step = Step(layer, args, kwargs, _run_layer, jax_compat.here())
    inputs = Arguments.of(args, kwargs)
    graph = graph_of(layer, inputs, "connecting layers")
    layer._state.steps.add(step)
    avals = outputs_of(graph, inputs)
    outputs = step.give(graph.output_tree, avals[: graph.output_count])
    specs = (SymbolicTensor(aval.shape, aval.dtype) for aval in avals[graph.output_count :])
    masks.put_back(outputs, dict(zip(graph.masks, specs, strict=True)))
    return outputs


def graph_of(layer: Layer, inputs: Any, caller: str) -> Graph:
    """The graph of a layer for a structure that holds symbolic tensors."""
    numbers = _numbers(inputs)
    batch = jax_compat.batch_symbol()

    def spec(leaf: Any) -> Any:
        if not isinstance(leaf, SymbolicTensor):
            return leaf
        return jax.ShapeDtypeStruct(tuple(Open(numbers[d], d) if d in numbers else d for d in leaf.sizes), leaf.dtype)

    return captures_of(layer).graph_for(jax.tree.map(spec, inputs), Open(numbers[batch], batch), False, caller, opens=False)


def _numbers(inputs: Any) -> dict[Any, int]:
    """What stands for each open size, so that nothing else is taken for it; the batch comes first."""
    sizes = [d for leaf in jax.tree.leaves(inputs) if isinstance(leaf, SymbolicTensor) for d in leaf.sizes]
    taken = {d for d in sizes if isinstance(d, int)}
    expressions = dict.fromkeys([jax_compat.batch_symbol(), *(d for d in sizes if not isinstance(d, int))])
    names = dict.fromkeys(name for size in expressions for name in sorted(jax_compat.symbols_of(size)))
    free = (n for n in itertools.count(32, 32) if n not in taken)  # so that halves of a half, and the like, are whole
    numbers = dict(zip(names, free, strict=False))
    return {size: jax_compat.evaluate_size(size, numbers) for size in expressions}


def outputs_of(graph: Graph, inputs: Any) -> list[Any]:
    """Abstract values of the outputs and their masks, in terms of the inputs' sizes: also of a graph that is for some sizes alone."""
    specs = jax.tree.map(lambda leaf: spec(leaf) if isinstance(leaf, SymbolicTensor) else leaf, inputs)
    outputs = graph.flat_specs({BATCH: jax_compat.batch_symbol(), **graph.sizes_of(specs)})
    alone = {
        size
        for array, shape in arrays_of(specs, graph.signature)
        for size, captured in zip(array.shape, shape, strict=True)
        if isinstance(captured, int) and not isinstance(size, int)
    }
    if graph.signature.batch_size is not None:
        alone.add(jax_compat.batch_symbol())
    numbers = {number: size for size, number in _numbers(inputs).items() if size in alone}
    return [jax.ShapeDtypeStruct(tuple(numbers.get(d, int(d)) if isinstance(d, int) else d for d in a.shape), a.dtype) for a in outputs]


def _run_layer(step: Step, args: tuple, kwargs: dict) -> Any:
    """In a capture the layer's graph becomes part of it: ``call`` does not run again. Elsewhere the layer is called."""
    layer, watcher = step.function, frame.observer()
    if not isinstance(watcher, Capture):
        return layer(*args, **kwargs)
    with watcher.layer_call(layer, args, kwargs, jax_compat.place_of(step.origin)) as record:
        return record(captures_of(layer).run(Arguments.of(args, kwargs), current_training(), None, "a capture"))


def install() -> None:
    """Layers can be called on symbolic tensors from now on."""
    Hooks.connect = connect
