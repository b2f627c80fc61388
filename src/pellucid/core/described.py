"""What a layer says of itself: its ends, the shapes of its outputs, its metrics."""

from __future__ import annotations

from typing import Any

import jax

from pellucid.core import symbolic
from pellucid.core.explain import filtered
from pellucid.core.given import Given
from pellucid.core.hooks import Hooks
from pellucid.core.precision import Precision
from pellucid.core.variable import Variable


class Described(Precision):
    """Answers that come from the graph of a layer, or from what it holds. A base of ``Layer``."""

    @Given
    def input(self) -> Any:
        """What the layer was called on, as symbolic tensors: see ``output``."""
        return Hooks.end_of(self, "input")

    @Given
    def output(self) -> Any:
        """What the layer gives, as symbolic tensors: ``Model(model.inputs, model.get_layer("hidden").output)``.

        Raises:
            NotBuiltError: while no model that holds the layer has a graph.
            AttributeError: for a layer that is called several times.
        """
        return Hooks.end_of(self, "output")

    @filtered
    def compute_output_shape(self, *input_shapes: Any, **named_shapes: Any) -> Any:
        """The shape of the outputs, or a structure of shapes, by a run of ``call`` that computes nothing. No weights are made.

        Args:
            input_shapes: a shape such as ``(None, 3)``, where None is the batch, or a structure of shapes, for each argument of ``call``.
            named_shapes: the same by name: ``mask_shape=(None, 5)``, or ``mask=(None, 5)``.

        Example:
            >>> import pellucid
            >>> layer = pellucid.layers.Dense(4)
            >>> layer.compute_output_shape((None, 3)), layer.built
            ((None, 4), False)
        """
        tensors = lambda shapes: symbolic.tensors_of_shapes(shapes, self.compute_dtype)
        named = {name.removesuffix("_shape"): tensors(shapes) for name, shapes in named_shapes.items()}
        outputs = self.compute_output_spec(*map(tensors, input_shapes), **named)
        return jax.tree.map(lambda y: y.shape, outputs)

    @filtered
    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for symbolic tensors, as symbolic tensors, which are connected with nothing; see ``compute_output_shape``."""
        return Hooks.output_spec(self, args, kwargs)

    symbolic_call = compute_output_spec  # Keras has both names

    @Given
    def metrics(self) -> list[Any]:
        """The metrics in attributes of the layer and of those nested in it."""
        return Hooks.metrics_of(self)

    @property
    def metrics_variables(self) -> list[Variable]:
        """The states of the metrics."""
        return list(dict.fromkeys(v for m in self.metrics for v in m.variables))
