"""The shapes of a layer's outputs, by a run of ``call`` that computes nothing."""

from __future__ import annotations

import sys
import time
from typing import Any

import jax

from pellucid.core import jax_compat
from pellucid.core.hooks import Hooks
from pellucid.core.layer import Layer
from pellucid.core.symbolic import SymbolicTensor
from pellucid.core.tree import Held
from pellucid.graph.cache import captures_of
from pellucid.graph.capture import all_or_nothing
from pellucid.graph.connect import connect, graph_of, outputs_of
from pellucid.graph.graph import Arguments
from pellucid.graph.ledger import Reason, Run


def output_spec(layer: Layer, args: tuple, kwargs: dict) -> Any:
    """The outputs as symbolic tensors that are connected with nothing. A layer that has no weights yet gets none.

    Where it has them, it is captured where it has no graph that serves.

    Args:
        layer: that is called.
        args: structures of symbolic tensors, among other values; so are the ``kwargs``.
    """
    if not all(inner.built for inner in layer._flatten_layers()):
        return _looked_at(layer, args, kwargs)
    inputs = Arguments.of(args, kwargs).alone()
    graph = graph_of(layer, inputs, "compute_output_spec")
    avals = outputs_of(graph, inputs)[: graph.output_count]
    return jax.tree.unflatten(graph.output_tree, [SymbolicTensor(a.shape, a.dtype) for a in avals])


class _Seen(BaseException):
    """Ends a run of ``call`` whose outputs have been seen: nothing of it stays."""

    def __init__(self, outputs: Any):
        self.outputs = outputs


class _Look(Layer):
    """Calls a layer and ends there."""

    def __init__(self, layer: Layer):
        super().__init__(name="look")
        self.inside = Held(layer)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self.inside.layer(*args, **kwargs)
        raise _Seen(jax.tree.map(lambda y: SymbolicTensor(jax_compat.open_shape(y.shape), y.dtype), outputs))


def _looked_at(layer: Layer, args: tuple, kwargs: dict) -> Any:
    started, place = time.perf_counter(), jax_compat.user_place(sys._getframe(1))
    try:
        with all_or_nothing(layer):
            connect(_Look(layer), args, kwargs)
    except _Seen as end:
        outputs = end.outputs
    sentence = "ran for the shapes of its outputs; neither its graph nor weights were kept"
    shapes, seconds = [getattr(leaf, "shape", leaf) for leaf in jax.tree.leaves((args, kwargs))], time.perf_counter() - started
    captures_of(layer).ledger.add(Run("capture", Reason.USER, sentence, "compute_output_spec", str(shapes), False, seconds, place=place))
    return outputs


def install() -> None:
    """Layers tell the shapes of their outputs from now on."""
    Hooks.output_spec = output_spec
