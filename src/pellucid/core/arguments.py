"""What a layer is called on: which arguments ``call`` takes, as what arrays it gets them, and of what shapes they are."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes, explain, jax_compat, masks
from pellucid.core.arrays import array_seen
from pellucid.core.weakly import cached_weakly
from pellucid.errors import ShapeError


@dataclasses.dataclass(frozen=True)
class Takes:
    """What a ``call`` takes, apart from inputs."""

    names: tuple[str, ...]
    masks: tuple[str, ...]
    training: bool
    training_index: int | None
    default_training: Any


@cached_weakly
def parameters_of(call: Callable) -> Takes:
    parameters = list(inspect.signature(call).parameters.values())[1:]
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    found = next((p for p in parameters if p.name == "training"), None)
    passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    default = None if found is None or found.default is inspect.Parameter.empty else found.default
    index = positional.index("training") if "training" in positional else None
    masks = tuple(p.name for p in parameters if p.name == "mask" or p.name.endswith("_mask"))
    return Takes(tuple(positional), masks, found is not None or passes_on, index, default)


def named_arguments(layer: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    return {**dict(zip(parameters_of(type(layer).call).names, args, strict=False)), **kwargs}


def with_masks(layer: Any, args: tuple, kwargs: dict) -> tuple[dict, Any]:
    """(kwargs with the masks that ``call`` takes, the mask of the first argument).

    An argument ``mask`` gets that of the first argument, and ``query_mask`` that of ``query``, where none is given.
    """
    takes, named = parameters_of(type(layer).call), named_arguments(layer, args, kwargs)
    first = next((value for name, value in named.items() if name != "training"), None)
    for name in takes.masks:
        about = first if name == "mask" else named.get(name.removesuffix("_mask"))
        found = masks.masks_of(about) if named.get(name) is None else None
        if masks.any_in(found) and name not in takes.names[: len(args)]:
            kwargs = {**kwargs, name: found}
        elif name == "mask" and named.get(name) is None and hasattr(first, "ndim"):
            lost = masks.ended_at(first)
            if lost is not None:
                explain.warn(
                    f"{type(layer).__name__} {layer.path!r} takes a mask, but that of its input ended at {lost}: jax.numpy and plain "
                    "operators know of no masks, so that padding counts as data. Use the function of pellucid.ops there (ops.add for +), "
                    "or a layer, or hand on mask=…."
                )
    given = kwargs.get("mask") if "mask" in takes.masks else None  # by its place it is an argument like any other, as in Keras
    return kwargs, masks.masks_of(first) if given is None else given


def code_of(function: Callable) -> Any:
    return inspect.unwrap(function).__code__


def as_arrays(tree: Any, layer: Any) -> Any:
    """NumPy arrays become JAX arrays of a type that layers take; everything else stays."""
    if not any(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(tree)):
        return tree
    # jnp.asarray compiles a program for each shape (jax 0.12), which outside of captures is not needed
    put = functools.partial(jax.device_put, may_alias=False) if jax_compat.computes_now() else jnp.asarray
    seen = lambda leaf: put(array_seen(leaf, "an input", f"call of layer {layer.path!r}"))
    return jax.tree.map(lambda leaf: seen(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


def check_given(layer: Any, args: tuple, kwargs: dict) -> None:
    """Refuses what a layer of the library cannot be called on, before it makes weights.

    Raises:
        TypeError: names the layer, the argument, what it is and what was expected.
        ShapeError: for a mask that is not one of the inputs.
    """
    named = {name: value for name, value in named_arguments(layer, args, kwargs).items() if name != "training"}
    about = f"{type(layer).__name__} {layer.path!r}"
    if not named:
        raise TypeError(f"{about} was called on nothing; expected inputs: layer(x).")
    first, x = next(iter(named.items()))
    if len(named) == 1 and (hasattr(x, "shape") or (layer._takes == "arrays" and "input_spec" in vars(layer))):
        return  # what a user asks by input_spec is checked by it
    for name in (first, *(other for other in _ALSO_ARRAYS if named.get(other) is not None)):
        value = named[name]
        leaves = [value] if value is None else jax.tree.leaves(value)
        wrong = [leaf for leaf in leaves if not hasattr(leaf, "shape") and not isinstance(leaf, int | float | complex)]
        numbers = isinstance(value, list | tuple) and leaves and not wrong and not any(hasattr(leaf, "shape") for leaf in leaves)
        one = name != first or layer._takes == "array"
        if wrong or numbers or (name == first and one and isinstance(value, list | tuple | dict)):
            inside = f", which holds {_told(wrong[0])}" if wrong and wrong[0] is not value else ""
            cure = " Make one of the numbers: np.asarray(x)." if numbers else ""
            raise TypeError(f"{about}: {name} is {_told(value)}{inside}; expected {'an array' if one else 'arrays'}.{cure}")
    mask: Any = named.get("mask")
    if layer._masks_steps and hasattr(mask, "shape") and hasattr(x, "shape"):
        differ = lambda a, b: isinstance(a, int) and isinstance(b, int) and a != b
        given, shape = (tuple(shapes_of(a)) for a in (mask, x))
        wanted = shape
        if getattr(layer, "data_format", None) == "channels_first":
            wanted = (shape[0], *shape[2:], shape[1])
        if mask.ndim > x.ndim or any(map(differ, given, wanted)):
            raise ShapeError(
                f"{about}: mask has shape {given} and {first} {shape}; expected {wanted[: max(2, mask.ndim)]}, True where a step is real."
            )


_ALSO_ARRAYS = ("value", "key", "mask", "query_mask", "value_mask", "key_mask", "attention_mask", "states", "initial_state")


def _told(value: Any) -> str:
    if value is None or isinstance(value, str | bytes | int | float):
        return repr(value)
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | dict) else "")


FLOATS = {name: jnp.dtype(name) for name in dtypes.FLOATS}  # what inputs may be cast to


def cast(tree: Any, dtype: Any) -> Any:
    """Arrays of floats as a data type; None leaves them."""

    def differs(leaf: Any) -> bool:
        given = getattr(leaf, "dtype", dtype)
        return given != dtype and isinstance(leaf, jax.Array) and dtypes.is_float(given)

    if dtype is None or not any(map(differs, jax.tree.leaves(tree))):
        return tree
    return jax.tree.map(lambda leaf: masks.carried(leaf, leaf.astype(dtype)) if differs(leaf) else leaf, tree)


def shapes_of(tree: Any) -> Any:
    """Shapes in place of arrays; a symbolic size is None."""

    def shape(leaf: Any) -> Any:
        if hasattr(leaf, "shape"):
            return jax_compat.open_shape(leaf.shape)
        return leaf

    return jax.tree.map(shape, tree, is_leaf=lambda leaf: leaf is None)


def as_shape(shape: Any) -> Any:
    """A shape, or a structure of shapes, whose tuples have become lists in a file."""
    if isinstance(shape, dict):
        return {name: as_shape(inner) for name, inner in shape.items()}
    if isinstance(shape, list | tuple):
        return tuple(shape) if all(d is None or isinstance(d, int) for d in shape) else [as_shape(inner) for inner in shape]
    return shape


def size_of_axis(layer: Any, input_shape: Any, axis: int = -1) -> int:
    """The size of one axis of a layer's single input, for the shape of a weight.

    Raises:
        ShapeError: for several inputs, for too few axes, for a size that is not known.
    """
    about = f"{type(layer).__name__} {layer.path!r}"
    if isinstance(input_shape, dict) or any(isinstance(d, tuple | list) for d in input_shape):
        raise ShapeError(f"{about} got {len(input_shape)} arrays, of shapes {input_shape}; expected one array.")
    if not -len(input_shape) <= axis < len(input_shape) or input_shape[axis] is None:
        raise ShapeError(f"{about} got inputs of shape {tuple(input_shape)}; expected a known size of axis {axis}.")
    return int(input_shape[axis])
