"""Connecting: a layer is called on symbolic tensors. It is captured there and then, and its graph is used wherever it runs."""

from __future__ import annotations

import itertools
from typing import Any

import jax

from pellucid.core import frame, jax_compat, masks
from pellucid.core.hooks import Hooks
from pellucid.core.layer import Layer, current_training
from pellucid.core.symbolic import Step, SymbolicTensor, open_shape
from pellucid.graph.cache import captures_of
from pellucid.graph.capture import Capture
from pellucid.graph.graph import Arguments, Graph


def connect(layer: Layer, args: tuple, kwargs: dict) -> Any:
    """The symbolic outputs of a layer. Its weights are made."""
    step = Step(layer, args, kwargs, _run_layer, jax_compat.here())
    graph = graph_of(layer, Arguments.of(args, kwargs), "connecting layers")
    layer._state.steps.add(step)
    outputs = step.give(graph.output_tree, graph.output_avals)
    leaves = jax.tree.leaves(outputs)
    for number, aval in zip(graph.masks, graph.mask_avals, strict=True):
        masks.attach(leaves[number], SymbolicTensor(open_shape(aval.shape), aval.dtype))
    return outputs


def graph_of(layer: Layer, inputs: Any, caller: str) -> Graph:
    """The graph of a layer for a structure that holds symbolic tensors."""
    tensors = [leaf for leaf in jax.tree.leaves(inputs) if isinstance(leaf, SymbolicTensor)]
    fixed = {d for tensor in tensors for d in tensor.shape[1:]} | {t.shape[0] for t in tensors if t.ndim and t.shape[0]}
    batch = next(n for n in itertools.count(32) if n not in fixed)  # stands for the batch, so that nothing else is taken for it

    def spec(leaf: Any) -> Any:
        if not isinstance(leaf, SymbolicTensor):
            return leaf
        return jax.ShapeDtypeStruct(tuple(batch if d is None else d for d in leaf.shape), leaf.dtype)

    return captures_of(layer).graph_for(jax.tree.map(spec, inputs), batch, False, caller)


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
