"""Structures: lists, tuples, dicts and what JAX knows as such, nested; under Keras's names. None counts as a leaf.

The keys of a dict come in their order as sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax


class MAP_TO_NONE:
    """What a function of ``traverse`` returns for None: None itself means that it left the value as it was."""


def _is_none(value: Any) -> bool:
    return value is None


def is_nested(structure: Any) -> bool:
    """Whether a value is a structure, an empty one too, and no leaf.

    Example:
        >>> from pellucid import tree
        >>> tree.is_nested([]), tree.is_nested(3), tree.is_nested(None)
        (True, False, False)
    """
    return structure is not None and not jax.tree_util.all_leaves([structure])


def flatten(structure: Any) -> list[Any]:
    """The leaves in order.

    Example:
        >>> from pellucid import tree
        >>> tree.flatten({"b": [1, None], "a": 2})
        [2, 1, None]
    """
    return jax.tree.leaves(structure, is_leaf=_is_none)


def flatten_with_path(structure: Any) -> list[tuple[tuple, Any]]:
    """The leaves in order, each with the keys and numbers that lead to it.

    Example:
        >>> from pellucid import tree
        >>> tree.flatten_with_path({"a": [1, 2]})
        [(('a', 0), 1), (('a', 1), 2)]
    """
    if not is_nested(structure):
        return [((), structure)]
    parts, _ = jax.tree_util.tree_flatten_with_path(structure, is_leaf=lambda part: part is not structure)
    keys = range(len(parts)) if isinstance(structure, tuple) else [_key(path[0]) for path, _ in parts]
    return [((key, *path), leaf) for key, (_, part) in zip(keys, parts) for path, leaf in flatten_with_path(part)]


def _key(entry: Any) -> Any:
    return next(getattr(entry, name) for name in ("key", "idx", "name") if hasattr(entry, name))


def map_structure(func: Callable, *structures: Any, none_is_leaf: bool = True) -> Any:
    """What a function gives for the leaves of structures of one form, in that form.

    Args:
        func: takes a leaf of each structure.
        structures: one or several.
        none_is_leaf: whether it takes None, too; else None stays.

    Raises:
        ValueError: the structures differ.

    Example:
        >>> from pellucid import tree
        >>> tree.map_structure(lambda a, b: a + b, {"x": 1}, {"x": 2})
        {'x': 3}
    """
    _check(func, structures)
    return jax.tree.map(func, *structures, is_leaf=_is_none if none_is_leaf else None)


def map_structure_up_to(shallow_structure: Any, func: Callable, *structures: Any) -> Any:
    """As ``map_structure``, but for the parts of structures that stand where the shallow one has leaves.

    Example:
        >>> from pellucid import tree
        >>> tree.map_structure_up_to([0, 0], len, [[1, 2], [3]])
        [2, 1]
    """
    _check(func, structures)
    return jax.tree.map(lambda _, *parts: func(*parts), shallow_structure, *structures, is_leaf=_is_none)


def _check(func: Any, structures: tuple) -> None:
    if not callable(func):
        raise TypeError(f"func is a {type(func).__name__}; expected a function.")
    if not structures:
        raise ValueError("no structure is given; expected one or several.")


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Raises ValueError where two structures differ in more than their leaves. ``check_types`` is not looked at, as in Keras."""
    forms = [jax.tree.structure(jax.tree.map(lambda _: 0, given, is_leaf=_is_none)) for given in (a, b)]
    if forms[0] != forms[1]:
        raise ValueError(f"the structures differ: {_shown(forms[0])} and {_shown(forms[1])}.")


def assert_same_paths(a: Any, b: Any) -> None:
    """Raises ValueError where the leaves of two structures have not the same paths; a list may stand for a tuple."""
    paths = [[path for path, _ in flatten_with_path(given)] for given in (a, b)]
    if paths[0] != paths[1]:
        alone = [p for p in paths[0] if p not in paths[1]] + [p for p in paths[1] if p not in paths[0]]
        raise ValueError(f"the paths of the structures differ: {alone[:5]} are in one alone.")


def _shown(form: Any) -> str:
    return str(form).removeprefix("PyTreeDef(").removesuffix(")")


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """Leaves in the form of a structure.

    Raises:
        ValueError: it has more or fewer.

    Example:
        >>> from pellucid import tree
        >>> tree.pack_sequence_as({"a": 0, "b": (0, 0)}, [1, 2, 3])
        {'a': 1, 'b': (2, 3)}
    """
    form, given = jax.tree.structure(structure, is_leaf=_is_none), list(flat_sequence)
    if form.num_leaves != len(given):
        raise ValueError(f"pack_sequence_as: flat_sequence has {len(given)} values; expected {form.num_leaves}, one for each leaf.")
    return jax.tree.unflatten(form, given)


def lists_to_tuples(structure: Any) -> Any:
    """The same structure with tuples for lists."""
    return traverse(lambda part: tuple(part) if isinstance(part, list) else None, structure, top_down=False)


def map_shape_structure(func: Callable, structure: Any) -> Any:
    """As ``map_structure``, where each leaf is a shape: a list or tuple of whole numbers and None.

    Example:
        >>> from pellucid import tree
        >>> tree.map_shape_structure(len, {"x": (None, 3), "y": (2,)})
        {'x': 2, 'y': 1}
    """
    is_shape = lambda part: isinstance(part, list | tuple) and all(size is None or isinstance(size, int) for size in part)
    return jax.tree.map(func, structure, is_leaf=is_shape)


def traverse(func: Callable, structure: Any, top_down: bool = True) -> Any:
    """A structure in which a function has replaced parts, whole structures too.

    Args:
        func: takes a part; returns what stands for it, ``MAP_TO_NONE`` for None, or None to leave it as it is.
        structure: the structure.
        top_down: whether it takes a structure before its parts, which it then sees only where it left the structure as it was;
            else after them.

    Example:
        >>> from pellucid import tree
        >>> tree.traverse(lambda part: sum(part) if isinstance(part, list) else None, {"a": [1, 2], "b": 3})
        {'a': 3, 'b': 3}
    """
    if top_down and (made := func(structure)) is not None:
        return _unless_none(made)
    if is_nested(structure):
        structure = jax.tree.map(lambda part: traverse(func, part, top_down), structure, is_leaf=lambda part: part is not structure)
    made = None if top_down else func(structure)
    return structure if made is None else _unless_none(made)


def _unless_none(made: Any) -> Any:
    return None if made is MAP_TO_NONE or isinstance(made, MAP_TO_NONE) else made
