"""The config of a model of symbolic tensors, in Keras's form, and the symbolic tensors that a config describes."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax

from pellucid import ops, optimizers
from pellucid.core import explain, jax_compat, naming, serialization
from pellucid.core.layer import Layer
from pellucid.core.serialization import deserialize_keras_object, serialize_keras_object
from pellucid.core.symbolic import OPERATORS, Step, SymbolicTensor, apply
from pellucid.errors import did_you_mean
from pellucid.layers.input import Input
from pellucid.models.ends import Inside
from pellucid.models.network import Connected, Network

# What Keras keeps with the call of an operation: all else but its first argument is part of the operation.
_OF_THE_CALL = {"x", "x1", "x2", "xs", "y", "condition", "indices", "predictions", "output", "segment_ids"}


# ---- Writing ----


def config_of_network(network: Network) -> dict[str, Any]:
    """The layers and operations of a network, each with its calls, and where inputs and outputs are among them.

    Raises:
        NotImplementedError: for a model of the inner values of a subclassed one: those are code.
    """
    return _Writer(network).config()


class _Writer:
    def __init__(self, network: Network):
        self.network = network
        self.entries: dict[str, dict[str, Any]] = {}
        self.places: dict[SymbolicTensor, list[Any]] = {}
        self._names = {layer.name for layer in network.layers} | {t.name for t in jax.tree.leaves(network.inputs) if t.name}

    def config(self) -> dict[str, Any]:
        for tensor in jax.tree.leaves(self.network.inputs):
            name = tensor.name or self._new_name("input_layer")
            self.entries[name] = {**input_layer(tensor, name), "name": name, "inbound_nodes": []}
            self.places[tensor] = [name, 0, 0]
        for step in self.network.steps:
            self._enter(step)
        ends = {"input_layers": self.network.inputs, "output_layers": self.network.outputs}
        where = {key: jax.tree.map(lambda tensor: self.places[tensor], tree) for key, tree in ends.items()}
        return {"layers": list(self.entries.values()), **where}

    def _enter(self, step: Step) -> None:
        if isinstance(step.function, Inside):
            raise NotImplementedError(
                f"A model of the inner values of {step.function.view.layer.name!r} has no config: they are computed by the code of that "
                "model's `call`. Write a class that holds the model and calls it, with a get_config of its own."
            )
        if isinstance(step.function, Layer):
            name, args, kwargs = step.function.name, step.args, step.kwargs
            if name not in self.entries:
                self.entries[name] = {**serialize_keras_object(step.function), "name": name, "inbound_nodes": []}
        else:
            entry, args, kwargs = _operation(step)
            name = self._new_name(entry["config"]["name"])
            entry["config"]["name"] = name
            self.entries[name] = {**entry, "name": name, "inbound_nodes": []}
        nodes = self.entries[name]["inbound_nodes"]
        for number, tensor in enumerate(jax.tree.leaves(step.outputs)):
            self.places[tensor] = [name, len(nodes), number]
        nodes.append({"args": self._plain(args), "kwargs": self._plain(kwargs)})

    def _plain(self, value: Any) -> Any:
        if isinstance(value, SymbolicTensor):
            config = {"shape": value.shape, "dtype": value.dtype.name, "keras_history": self.places[value]}
            return {"class_name": "__keras_tensor__", "config": config}
        if isinstance(value, list | tuple):
            return type(value)(self._plain(item) for item in value)
        if isinstance(value, dict):
            return {key: self._plain(item) for key, item in value.items()}
        return serialize_keras_object(value)

    def _new_name(self, base: str) -> str:
        names = (base if number == 0 else f"{base}_{number}" for number in range(len(self._names) + 1))
        name = next(n for n in names if n not in self._names)
        self._names.add(name)
        return name


def input_layer(tensor: SymbolicTensor, name: str) -> dict[str, Any]:
    """What Keras writes for an ``Input``."""
    config = {"batch_shape": tensor.shape, "dtype": tensor.dtype.name, "sparse": False, "ragged": False, "name": name, "optional": False}
    return {"module": "keras.layers", "class_name": "InputLayer", "config": config, "registered_name": None}


def _operation(step: Step) -> tuple[dict[str, Any], tuple, dict]:
    """(the entry, args and kwargs of the call) of a function of arrays."""
    name = _name_of(step.function)
    if name in OPERATORS and name not in ("get_item", "negative", "absolute", "bitwise_invert"):
        args, options = (*step.args, *step.kwargs.values()), {}
    elif name in ("get_item", "einsum"):
        args, options = step.args, step.kwargs
        if name == "einsum":
            args, options = step.args[1:], {"subscripts": step.args[0], **options}
    else:
        given = _arguments(step)
        called = [n for number, n in enumerate(given) if number == 0 or n in _OF_THE_CALL]
        args = tuple(given[n] for n in called)
        options = {n: value for n, value in given.items() if n not in called}
    class_name = "".join(part.capitalize() for part in name.split("_"))
    config = {"name": name, **{key: serialize_keras_object(value) for key, value in options.items()}}
    home = next((m for m in ("nn", "core", "math", "linalg") if name in getattr(ops, m).__all__), "numpy")
    return {"module": f"keras.src.ops.{home}", "class_name": class_name, "config": config, "registered_name": class_name}, args, {}


def _name_of(function: Callable) -> str:
    named = {n: getattr(getattr(ops, n), "__wrapped__", None) for n in [getattr(function, "__name__", ""), *ops.__all__] if hasattr(ops, n)}
    name = next((n for n, f in [*OPERATORS.items(), *named.items()] if f is function), None)
    if name is None:
        raise NotImplementedError(
            f"The function {getattr(function, '__name__', function)!r} is none of pellucid.ops, so that a config cannot name it. Make a "
            "layer of it."
        )
    return name


def _arguments(step: Step) -> dict[str, Any]:
    """The arguments of a call by name. Functions of NumPy's kind, such as ``maximum``, have no names for theirs."""
    bound = inspect.signature(step.function).bind(*step.args, **step.kwargs)
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        several = bound.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        named.update({f"x{i}": item for i, item in enumerate(value, 1)} if several else {name: value})
    return named


# ---- Reading ----


def network_of_config(config: dict[str, Any]) -> tuple[Any, Any]:
    """The symbolic inputs and outputs, in their structures; new layers are made.

    Raises:
        ValueError: for calls that refer to what the config does not hold, and for Keras 2's form of configs.
    """
    made: dict[tuple, SymbolicTensor] = {}
    waiting: list[_Call] = []
    for entry in config["layers"]:
        if entry["class_name"] == "InputLayer":
            made[entry["name"], 0, 0] = read_input(entry["config"])
            continue
        calls = entry["inbound_nodes"]
        if any(not isinstance(call, dict) for call in calls):
            raise ValueError(f"The calls of layer {entry['name']!r} are written in the form of Keras 2; expected a config of Keras 3.")
        function = _function_of(entry)
        waiting += [_Call(function, entry["name"], number, call["args"], call["kwargs"]) for number, call in enumerate(calls)]
    while waiting:
        ready = [call for call in waiting if all(place in made for place in call.needs())]
        if not ready:
            missing = next(place for place in waiting[0].needs() if place not in made)
            raise ValueError(f"The config calls {waiting[0].name!r} on output {missing[2]} of {missing[0]!r}, which it does not hold.")
        for call in ready:
            made.update(call.run(made))
        waiting = [call for call in waiting if call not in ready]
    return tuple(_at_places(config[key], made) for key in ("input_layers", "output_layers"))  # type: ignore[return-value]


class _Call:
    """One call of a layer or operation in a config."""

    def __init__(self, function: Callable, name: str, number: int, args: Any, kwargs: dict[str, Any]):
        self.function, self.name, self.number, self.args, self.kwargs = function, name, number, args, kwargs

    def needs(self) -> list[tuple]:
        return list(_histories([self.args, self.kwargs]))

    def run(self, made: dict[tuple, SymbolicTensor]) -> dict[tuple, SymbolicTensor]:
        args, kwargs = _filled(self.args, made), _filled(self.kwargs, made)
        if isinstance(self.function, Layer):  # Keras notes mask=None, which not every call takes
            taken = inspect.signature(type(self.function).call).parameters
            kwargs = {key: value for key, value in kwargs.items() if value is not None or key in taken}
        outputs = self.function(*args, **kwargs)
        return {(self.name, self.number, i): tensor for i, tensor in enumerate(jax.tree.leaves(outputs))}


def read_input(config: dict[str, Any]) -> SymbolicTensor:
    """The symbolic tensor of an ``InputLayer``."""
    odd = next((key for key in ("sparse", "ragged") if config.get(key)), None)
    if odd is not None:
        raise ValueError(f"The input {config.get('name')!r} has {odd}=True; expected a dense array: {odd} ones are not offered.")
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    return Input(batch_shape=shape, dtype=deserialize_keras_object(config.get("dtype")), name=config.get("name"))


def without_state(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of a layer, without what makes its weights: connecting it does that."""
    return {key: value for key, value in entry.items() if key not in ("build_config", "compile_config")}


def _function_of(entry: dict[str, Any]) -> Callable:
    module = entry.get("module") or ""
    if not module.startswith(("keras.src.ops", "keras.ops", "pellucid.ops")):
        return deserialize_keras_object(without_state(entry))
    name = naming.snake_case(entry["class_name"])
    function = getattr(ops, name, None) if name in ops.__all__ else OPERATORS.get(name)
    if function is None:
        hint = did_you_mean(name, [*ops.__all__, *OPERATORS])
        raise ValueError(f"The config has the operation {entry['class_name']!r}, but pellucid.ops has no {name!r}. {hint}")
    options = {key: deserialize_keras_object(value) for key, value in entry["config"].items() if key != "name"}
    origin = _origin(entry["name"], name)
    return lambda *args, **kwargs: _apply(function, name, args, {**options, **kwargs}, origin)


def _origin(entry: str, name: str) -> Any:
    """A stack of calls in which a line ``<config>`` calls the function: in the graph each operation of a config is a node, as if that
    line had been written.
    """
    stand = types.FunctionType(_stand.__code__.replace(co_name=name, co_qualname=name), globals())
    return eval(compile("stand()", f"<config: {entry}>", "eval"), {"stand": stand})


def _stand() -> Any:
    return jax_compat.here()


def _apply(function: Callable, name: str, args: tuple, options: dict[str, Any], origin: Any) -> Any:
    """Applies a function with the options of Keras's operation, some of which are of no use here."""
    inner = getattr(function, "__wrapped__", function)
    if name == "einsum":
        args = (options.pop("subscripts"), *args)
    if options:
        taken = inspect.signature(inner).parameters
        options = {key: value for key, value in options.items() if key in taken or value not in (None, False)}
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return apply(inner, args, options, origin)


def _histories(tree: Any) -> Iterator[tuple]:
    if isinstance(tree, dict):
        if tree.get("class_name") == "__keras_tensor__":
            yield tuple(tree["config"]["keras_history"])
        else:
            for item in tree.values():
                yield from _histories(item)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from _histories(item)


def _filled(tree: Any, made: dict[tuple, SymbolicTensor]) -> Any:
    if isinstance(tree, dict) and tree.get("class_name") == "__keras_tensor__":
        return made[tuple(tree["config"]["keras_history"])]
    if isinstance(tree, dict) and "class_name" not in tree:
        return {key: _filled(value, made) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        items = [_filled(item, made) for item in tree]
        is_index = any(isinstance(item, slice) or item is Ellipsis for item in items)  # a tuple, until it was in a file
        return tuple(items) if is_index or isinstance(tree, tuple) else items
    return deserialize_keras_object(tree)


def _at_places(tree: Any, made: dict[tuple, SymbolicTensor]) -> Any:
    if isinstance(tree, dict):
        return {key: _at_places(value, made) for key, value in tree.items()}
    if len(tree) == 3 and isinstance(tree[0], str):
        if tuple(tree) not in made:
            raise ValueError(f"The config has {tree} among its inputs or outputs, which none of its layers makes.")
        return made[tuple(tree)]
    return [_at_places(item, made) for item in tree]


# ---- Models ----


class Configured(Connected):
    """What a model has of configs: its own, and that of ``compile``."""

    _machine: Any
    compile: Any

    def _is_functional(self) -> bool:
        """Whether the symbolic tensors alone say what the model is, as no code of the user's is in its ``__init__``."""
        made_by = next(cls for cls in type(self).__mro__ if "__init__" in vars(cls))
        return self._network is not None and serialization.is_ours(made_by)

    def _keras_entry(self) -> tuple | None:
        plain = self._is_functional() and serialization.is_ours(type(self))
        return ("keras.src.models.functional", "Functional", "Functional") if plain else None

    def get_config(self) -> dict[str, Any]:
        """What makes a model of the same structure, as plain data: layers and calls, or the arguments of the user's ``__init__``.

        Raises:
            NotImplementedError: for an argument that is no plain data: define a ``get_config``; for a model of inner values.
        """
        if self._is_functional() and self._network is not None:
            return {"name": self.name, "trainable": self.trainable, **config_of_network(self._network)}
        return self._config(without=("inputs", "outputs"))

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
        """A new model, with new weights, from what ``get_config`` returned.

        Args:
            config: the data.
            custom_objects: classes and functions of your own by name.
        """
        with serialization.CustomObjectScope(custom_objects or {}):
            if not {"layers", "input_layers", "output_layers"} <= set(config):
                return cls(**serialization.arguments_from(cls, config))
            inputs, outputs = network_of_config(config)
        rest = {key: config[key] for key in ("name", "trainable") if key in config}
        return cls(inputs=inputs, outputs=outputs, **rest)

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes of the inputs that a user's ``call`` was captured for."""
        if self._network is not None or self.graph is None:
            return None if self._network is not None else super().get_build_config()
        shapes = self.graph.inputs
        return {"input_shape": shapes} if isinstance(shapes, tuple | list | dict) else None

    def get_compile_config(self) -> dict[str, Any] | None:
        """What ``compile`` was given, as plain data, or None: also for a transformation of optax, which is code, with a warning."""
        settings = self._machine.settings
        if settings is None:
            return None
        if isinstance(getattr(settings.optimizer, "inner_optimizer", settings.optimizer), optimizers.OptaxOptimizer):
            explain.warn(
                f"The optimizer of {self.name!r} is a transformation of optax, which cannot be written as plain data: what `compile` was "
                "given is left out. Call compile on the model that is read.",
            )
            return None
        return {name: serialize_keras_object(getattr(settings, name)) for name in _COMPILED}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what ``get_compile_config`` returned, here or in Keras."""
        given = {name: deserialize_keras_object(config[name]) for name in _COMPILED if name in config}
        self.compile(**given)

    def to_json(self, **json_args: Any) -> str:
        """The model's structure, without its weights, as JSON text: ``pellucid.models.model_from_json`` reads it.

        Args:
            json_args: for ``json.dumps``, such as ``indent=2``.
        """
        return json.dumps(serialize_keras_object(self), **json_args)


_COMPILED = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution", "jit_compile")
