"""Models made anew from others, or from text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax

from pellucid.core import serialization
from pellucid.core.layer import Layer
from pellucid.core.serialization import deserialize_keras_object
from pellucid.core.symbolic import Step, SymbolicTensor, apply
from pellucid.layers.input import Input
from pellucid.models.ends import Inside
from pellucid.models.model import Model
from pellucid.models.network import Connected, Network
from pellucid.models.sequential import Sequential

serialization.alias("Functional", Model)


def clone_model(
    model: Any,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Callable[..., Any] | None = None,
) -> Any:
    """A model of the same structure and names, with new layers and new weights. It is not compiled.

    A model of symbolic tensors and a ``Sequential`` are connected again, layer by layer; a subclassed one is made by
    ``type(model).from_config(model.get_config())``.

    Args:
        model: any model.
        input_tensors: symbolic tensors to begin with, in place of new ones like the model's inputs.
        clone_function: makes the new layer of a layer, by default ``layer.from_config(layer.get_config())``. It is not asked for
            the layers inside nested ones.
        call_function: ``(layer, *args, **kwargs)`` connects a new layer, by default ``layer(*args, **kwargs)``. Not for Sequential.

    Raises:
        TypeError: for what is no model; where ``clone_function`` returns no layer.
        ValueError: for arguments that a model of its kind has no use for; for another number of inputs.

    Example:
        >>> import pellucid
        >>> from pellucid import Input, Model, layers
        >>> x = Input((3,))
        >>> model = Model(x, layers.Dense(2, name="out")(x), name="small")
        >>> copy = pellucid.models.clone_model(model)
        >>> copy.name, copy.get_layer("out").units, copy.get_layer("out") is model.get_layer("out")
        ('small', 2, False)
    """
    if not isinstance(model, Connected):
        raise TypeError(f"clone_model: model={model!r}; expected a model.")
    cloned = _Clones(clone_function)
    if isinstance(model, Sequential) and type(model).__init__ is Sequential.__init__:
        if call_function is not None:
            raise ValueError(
                f"clone_model: call_function={call_function!r} is for models of symbolic tensors; {model.name!r} is a Sequential."
            )
        return _clone_sequential(model, input_tensors, cloned)
    if isinstance(model, Model) and model._is_functional() and model._network is not None:
        return _clone_functional(model, model._network, input_tensors, cloned, call_function)
    given = {"input_tensors": input_tensors, "clone_function": clone_function, "call_function": call_function}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"clone_model: {name}={value!r} is for models of symbolic tensors and Sequential; {model.name!r} is made by the code of "
                f"{type(model).__name__}."
            )
    copy = type(model).from_config(model.get_config())
    build = model.get_build_config()
    if build is not None and not copy.built:
        copy.build_from_config(build)
    return copy


class _Clones:
    """The new layer of each layer, made once."""

    def __init__(self, function: Callable[[Layer], Layer] | None):
        self.function = function or (lambda layer: type(layer).from_config(layer.get_config()))
        self.made: dict[Layer, Layer] = {}

    def of(self, layer: Layer) -> Layer:
        if layer not in self.made:
            made = self.function(layer)
            if not isinstance(made, Layer):
                raise TypeError(f"clone_model: clone_function returned {made!r} for layer {layer.name!r}; expected a layer.")
            self.made[layer] = made
        return self.made[layer]


def _new_inputs(model: Any, inputs: Any, given: Any) -> Any:
    old, tree = jax.tree.flatten(inputs)
    if given is None:
        return jax.tree.unflatten(tree, [Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in old])
    new = jax.tree.leaves(given)
    wrong = next((t for t in new if not isinstance(t, SymbolicTensor)), None)
    if wrong is not None:
        raise ValueError(f"clone_model: input_tensors has {wrong!r}; expected symbolic tensors, as Input gives them.")
    if len(new) != len(old):
        raise ValueError(f"clone_model: input_tensors={given!r} are {len(new)}; expected {len(old)}, for the inputs of {model.name!r}.")
    return jax.tree.unflatten(tree, new)


def _clone_functional(model: Any, network: Network, given: Any, cloned: _Clones, call: Callable | None) -> Any:
    inputs = _new_inputs(model, network.inputs, given)
    known: dict[SymbolicTensor, Any] = dict(zip(jax.tree.leaves(network.inputs), jax.tree.leaves(inputs), strict=True))
    fill = lambda tree: jax.tree.map(lambda leaf: known[leaf] if isinstance(leaf, SymbolicTensor) else leaf, tree)
    for step in network.steps:
        made = _repeated(model, step, fill(step.args), fill(step.kwargs), cloned, call)
        known.update(zip(jax.tree.leaves(step.outputs), jax.tree.leaves(made), strict=True))
    return type(model)(inputs=inputs, outputs=fill(network.outputs), name=model.name, trainable=model.trainable, dtype=model.dtype_policy)


def _repeated(model: Any, step: Step, args: tuple, kwargs: dict, cloned: _Clones, call: Callable | None) -> Any:
    if isinstance(step.function, Inside):
        raise ValueError(
            f"clone_model: {model.name!r} is made of inner values of {step.function.view.layer.name!r}, which its code computes. Clone "
            "that model, and take the inner values of the clone."
        )
    if not isinstance(step.function, Layer):
        return apply(step.function, args, kwargs, step.origin)
    layer = cloned.of(step.function)
    return layer(*args, **kwargs) if call is None else call(layer, *args, **kwargs)


def _clone_sequential(model: Sequential, given: Any, cloned: _Clones) -> Sequential:
    copy = type(model)(name=model.name, trainable=model.trainable, dtype=model.dtype_policy)
    if given is not None or model._network is not None or model.graph is not None:
        first = _new_inputs(model, model.inputs, given) if given is None or model.graph is not None else jax.tree.leaves(given)
        copy._connect(first[0], first[0])
    for layer in model.layers:
        copy.add(cloned.of(layer))
    return copy


def model_from_json(json_string: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """The model that ``model.to_json()`` described, with new weights. Where that one was compiled, so is this one.

    Args:
        json_string: the text.
        custom_objects: classes and functions of your own by name.

    Example:
        >>> import pellucid
        >>> model = pellucid.Sequential([pellucid.Input((3,)), pellucid.layers.Dense(2)])
        >>> pellucid.models.model_from_json(model.to_json()).output_shape
        (None, 2)
    """
    return deserialize_keras_object(json.loads(json_string), custom_objects)
