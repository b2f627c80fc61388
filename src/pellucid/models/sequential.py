"""Sequential: layers one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pellucid.core.layer import Layer
from pellucid.core.serialization import CustomObjectScope, deserialize_keras_object, serialize_keras_object
from pellucid.core.symbolic import SymbolicTensor
from pellucid.layers.input import Input
from pellucid.models.functional import input_layer, read_input, without_state
from pellucid.models.model import Model


class Sequential(Model):
    """A model of layers in a row: each takes what the one before gives.

    With an ``Input`` first its weights are made at once; else when it first sees data.

    Args:
        layers: the layers in order.
        layer_args: name, dtype, trainable.

    Example:
        >>> import numpy as np
        >>> from pellucid import Input, Sequential, layers
        >>> model = Sequential([Input((3,)), layers.Dense(4, activation="relu"), layers.Dense(1)])
        >>> model.count_params(), model.predict(np.ones((2, 3)), verbose=0).shape
        (21, (2, 1))
    """

    _layers: list[Layer]

    def __init__(self, layers: Any = None, **layer_args: Any):
        super().__init__(**layer_args)
        self._set([])
        for layer in layers or []:
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Puts a layer (or, first, an ``Input``) at the end."""
        if isinstance(layer, SymbolicTensor) and layer.step is None and not self._layers and self._network is None:
            self._connect(layer, layer)
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"Sequential {self.name!r}: add got {layer!r}; expected a layer (or an Input, first of all).")
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(f"Sequential {self.name!r} has a layer named {layer.name!r} already; give each a name of its own.")
        first = _input_of(layer) if not self._layers and self._network is None else None
        if first is not None:
            self._connect(first, first)
        if self._network is not None:
            self._connect(self._network.inputs, layer(self._network.outputs))
        self._set([*self._layers, layer])

    def pop(self) -> Layer:
        """Takes the last layer away and returns it."""
        if not self._layers:
            raise ValueError(f"Sequential {self.name!r}: pop found no layers.")
        last = self._layers[-1]
        self._set(self._layers[:-1])
        if self._network is not None:
            step = self._network.outputs.step
            (before,) = step.inputs
            last._state.steps.remove(step)
            self._connect(self._network.inputs, before)
        return last

    def _set(self, layers: list[Layer]) -> None:
        object.__setattr__(self, "_layers", layers)  # not by an attribute's path: layers have their own names here
        Layer.version += 1
        self._nested_layers()

    # ---- Config ----

    def _keras_entry(self) -> tuple | None:
        return ("keras", "Sequential", None) if type(self) is Sequential else None

    def get_config(self) -> dict[str, Any]:
        """The layers in order, as plain data; first the input, once its shape is known."""
        if type(self).__init__ is not Sequential.__init__:
            return super().get_config()
        first = self.inputs if self._network is not None or self.graph is not None else []
        layers = [serialize_keras_object(layer) for layer in self._layers]
        if len(first) == 1:
            name = first[0].name if self._network is not None else None
            layers.insert(0, input_layer(first[0], name or f"{self.name}_input"))
        return {"name": self.name, "trainable": self.trainable, "dtype": self._written_policy(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """A new model from what ``get_config`` returned, here or in Keras."""
        if not isinstance(config.get("layers"), list):
            return super().from_config(config, custom_objects)
        with CustomObjectScope(custom_objects or {}):
            begins = config["layers"] and config["layers"][0]["class_name"] == "InputLayer"
            first = [read_input(entry["config"]) for entry in config["layers"][:1] if begins]
            layers = [deserialize_keras_object(without_state(entry)) for entry in config["layers"][len(first) :]]
            rest = {key: deserialize_keras_object(config[key]) for key in ("name", "trainable", "dtype") if key in config}
        model = cls([*first, *layers], **rest)
        if not first and config.get("build_input_shape"):
            model.build_from_config({"input_shape": config["build_input_shape"]})
        return model

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """The output of the last layer."""
        if self._network is not None:
            return super().call(inputs)
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def _listed_on_file(self) -> tuple[list[Any], bool]:
        return self._layers, True

    def _children(self) -> Iterator[tuple[str, Any]]:
        yield from ((layer.name, layer) for layer in vars(self).get("_layers", ()))
        yield from (item for item in super()._children() if not item[0].startswith("_layers/"))


def _input_of(layer: Layer) -> SymbolicTensor | None:
    """What a row of layers begins with, where its first layer says that: it was given ``input_shape``, or is a model with an input."""
    if layer._state.first_shape is not None:
        return Input(layer._state.first_shape)
    network = getattr(layer, "_network", None)
    if network is None or not isinstance(network.inputs, SymbolicTensor):
        return None
    return Input(batch_shape=network.inputs.shape, dtype=network.inputs.dtype)
