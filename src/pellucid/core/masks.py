"""Masks: which time steps of an array are real, and which are padding. A mask goes beside its array, from layer to layer.

It is a boolean array (True: real) that belongs to another one, real or traced or symbolic, as long as that one lives. Layers take
the masks of what they are called on, and give masks to what they return: see ``Layer.compute_mask``.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import jax_compat

_known: dict[int, tuple[weakref.ref, Any]] = {}


def exist() -> bool:
    """Whether any array has a mask: most programs have none, and need not look for them in every call."""
    return bool(_known)


def mask_of(array: Any) -> Any:
    """The mask of an array, or None.

    Example:
        >>> import jax.numpy as jnp
        >>> from pellucid.core.masks import attach, mask_of
        >>> x = jnp.ones((1, 3))
        >>> attach(x, jnp.array([[True, True, False]]))
        >>> mask_of(x).tolist(), mask_of(x + 1)
        ([[True, True, False]], None)
    """
    owner, mask = _known.get(id(array), (None, None))
    return mask if owner is not None and owner() is array else None


def attach(array: Any, mask: Any) -> None:
    """Gives an array a mask. The mask must not have been computed from it: else, where both are traced, neither would ever go away."""
    key, forget = id(array), _known.pop  # a global name is gone when Python ends, and arrays may go later
    with contextlib.suppress(TypeError):  # a number has none
        _known[key] = weakref.ref(array, lambda _: forget(key, None)), mask


def masks_of(tree: Any) -> Any:
    """The masks of a structure of arrays: None where one has no mask."""
    return jax.tree.map(mask_of, tree)


def ended_at(array: Any) -> Any:
    """The user's line at which a mask was lost on the way to a traced array of as many rows and steps, or None.

    The functions of ``jax.numpy`` and plain operators know of no masks.
    """
    waiting, seen = [array], {id(array)}
    while waiting and len(seen) < 64:
        inputs, place = jax_compat.made_from(waiting.pop())
        for x in inputs:
            if id(x) in seen or x.ndim < 2 or x.shape[:2] != array.shape[:2]:
                continue
            if mask_of(x) is not None:
                return place
            seen.add(id(x))
            waiting.append(x)
    return None


def merged(made: Any, tree: Any) -> Any:
    """What an elementwise function made of a structure of arrays, with their mask: what is real in all that have one."""
    found = {id(m): m for m in map(mask_of, jax.tree.leaves(tree)) if m is not None}
    if found:
        mask, *others = found.values()
        for other in others if isinstance(mask, jax.Array) else ():  # a symbolic one stands for its shape alone
            mask = mask & other
        attach(made, mask)
    return made


def keeping(function: Callable) -> Callable:
    """An elementwise function, whose result has the mask of what it takes."""

    @functools.wraps(function)
    def kept(*args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)
        return merged(made, (args, kwargs)) if exist() else made

    kept.keeps_masks = True  # type: ignore[attr-defined]
    return kept


def taken(tree: Any) -> dict[int, Any]:
    """The masks of a structure of arrays by the numbers of these, to go with it out of a function that JAX transforms."""
    return {i: mask for i, mask in enumerate(map(mask_of, jax.tree.leaves(tree))) if mask is not None} if exist() else {}


def put_back(tree: Any, found: dict[int, Any]) -> None:
    """Gives the arrays of such a structure the masks that were taken of it."""
    leaves = jax.tree.leaves(tree) if found else []
    for i, mask in found.items():
        attach(leaves[i], mask)


def any_in(masks: Any) -> bool:
    """Whether a structure of masks and None holds a mask."""
    return bool(jax.tree.leaves(masks))


def carried(source: Any, made: Any) -> Any:
    """What was made of an array, with its mask."""
    mask = mask_of(source)
    if mask is not None:
        attach(made, mask)
    return made


def give(layer: Any, inputs: Any, outputs: Any, previous: Any) -> tuple[Any, bool]:
    """Gives the outputs of a layer the masks that it computes.

    Returns:
        (the outputs, whether a mask ends here, as the layer does not support any). An input that is handed on as it is becomes a
        copy: the input itself gets no mask.
    """
    leaves, tree = jax.tree.flatten(outputs)
    if all(mask_of(y) is not None for y in leaves):
        return outputs, False
    if not layer.supports_masking:
        return outputs, any_in(previous) and all(mask_of(y) is None for y in leaves)
    computed = layer.compute_mask(inputs, previous)
    given, copied = {id(x) for x in jax.tree.leaves(inputs)}, False
    for i, mask in enumerate(jax.tree.leaves(computed, is_leaf=lambda leaf: leaf is None)[: len(leaves)]):
        if mask is not None and mask_of(leaves[i]) is None:
            if id(leaves[i]) in given:
                leaves[i], copied = jnp.array(leaves[i]), True
            attach(leaves[i], mask)
    return (jax.tree.unflatten(tree, leaves) if copied else outputs), False
