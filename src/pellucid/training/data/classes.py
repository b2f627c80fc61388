"""``class_weight``: weights of classes become weights of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from pellucid.core import dtypes
from pellucid.errors import did_you_mean


def weigher(class_weight: Any, names: Sequence[str] | None, whole: bool, where: str = "fit") -> Callable[[Any, Any], Any]:
    """A function ``(y, sample_weight) -> sample_weight`` in which the weights of the rows' classes are multiplied.

    Args:
        class_weight: a dict from class numbers to weights, or "balanced"; with several outputs a dict of them by output name or a list.
        names: of the outputs, or None where they are not known yet.
        whole: whether ``y`` has all rows, which "balanced" needs.
        where: for messages.

    Raises:
        ValueError: for what is no class_weight.
    """
    if isinstance(class_weight, str) or (isinstance(class_weight, Mapping) and all(_is_class(k) for k in class_weight)):
        one = _checked(class_weight, whole, where)
        return lambda y, sample_weight: _of_one(one, y, sample_weight, where)
    if isinstance(class_weight, Mapping):
        each = {name: _checked(w, whole, where) for name, w in class_weight.items()}
        return lambda y, sample_weight: _of_names(each, _by_name(y, names, "y", where), sample_weight, where)
    if isinstance(class_weight, list | tuple):
        listed = [None if w is None else _checked(w, whole, where) for w in class_weight]
        return lambda y, sample_weight: _of_list(listed, y, sample_weight, where)
    raise ValueError(
        f"{where}: class_weight={class_weight!r}; expected a dict such as {{0: 1.0, 1: 5.0}}, 'balanced', or one for each output by name."
    )


def _is_class(key: Any) -> bool:
    return isinstance(key, int | float | np.number) and not isinstance(key, str)


def _checked(weights: Any, whole: bool, where: str) -> Any:
    if weights == "balanced":
        if not whole:
            raise ValueError(
                f"{where}: class_weight='balanced' needs all targets, and these data come batch by batch; expected a dict of weights."
            )
        return weights
    if not isinstance(weights, Mapping) or not weights or not all(_is_class(k) and int(k) == k for k in weights):
        raise ValueError(f"{where}: class_weight has {weights!r}; expected a dict from class numbers to weights, or 'balanced'.")
    for key, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not weight >= 0:
            raise ValueError(f"{where}: class_weight[{key!r}]={weight!r}; expected a number of at least zero.")
    return {int(k): float(w) for k, w in weights.items()}


def _of_one(weights: Any, y: Any, sample_weight: Any, where: str) -> Any:
    leaves = jax.tree.leaves(y)
    if len(leaves) != 1:
        raise ValueError(
            f"{where}: class_weight is for one output, and y holds {len(leaves)} arrays; expected a dict of them by output name, or a list."
        )
    given = jax.tree.leaves(sample_weight)
    return _times(weights, leaves[0], given[0] if given else None, where)


def _of_names(each: Mapping[str, Any], y: Mapping[str, Any], sample_weight: Any, where: str) -> dict[str, Any]:
    for name in each:
        if name not in y:
            raise ValueError(f"{where}: class_weight names an output {name!r} that y does not have. {did_you_mean(name, y)}")
    given = {} if sample_weight is None else _by_name(sample_weight, list(y), "sample_weight", where)
    made = {name: _times(each[name], y[name], given.get(name), where) if name in each else given.get(name) for name in y}
    return {name: w if w is not None else np.ones(y[name].shape[:1], "float32") for name, w in made.items()}


def _of_list(listed: list[Any], y: Any, sample_weight: Any, where: str) -> list[Any]:
    leaves = jax.tree.leaves(y)
    if len(leaves) != len(listed):
        raise ValueError(f"{where}: class_weight has {len(listed)} entries and y holds {len(leaves)} arrays; expected one for each.")
    given = jax.tree.leaves(sample_weight) or [None] * len(leaves)
    given = given * len(leaves) if len(given) == 1 else given
    ones = [np.ones(target.shape[:1], "float32") for target in leaves]
    before = [one if w is None else w for w, one in zip(given, ones, strict=True)]
    return [b if w is None else _times(w, target, b, where) for w, target, b in zip(listed, leaves, before, strict=True)]


def _by_name(tree: Any, names: Sequence[str] | None, what: str, where: str) -> Mapping[str, Any]:
    if isinstance(tree, Mapping):
        return tree
    leaves = jax.tree.leaves(tree)
    if names is None or len(names) != len(leaves):
        raise ValueError(
            f"{where}: class_weight goes by output names and {what} does not, and the model's outputs have no names yet; expected "
            f"{what} as a dict by output name, or class_weight as a list."
        )
    return dict(zip(names, leaves, strict=True))


def _times(weights: Any, y: Any, sample_weight: Any, where: str) -> np.ndarray:
    """The weights of the classes of targets, times those of the samples."""
    classes = _classes(np.asarray(y), where)
    if weights == "balanced":  # as many, in weight, of each class: n / (classes * n of the class)
        found, counts = np.unique(classes, return_counts=True)
        weights = dict(zip(found.tolist(), (classes.size / (len(found) * counts)).tolist(), strict=True))
    made = np.ones(classes.shape, "float32")
    for number, weight in weights.items():
        made[classes == number] = weight
    if sample_weight is None:
        return made
    given = np.asarray(sample_weight, dtypes.wide_floatx())
    return made * given.reshape(*given.shape, *[1] * (made.ndim - given.ndim))


def _classes(y: np.ndarray, where: str) -> np.ndarray:
    """The class number of each target: numbers, with a last axis of 1 or without, or one-hot rows."""
    if y.ndim > 1 and y.shape[-1] == 1:
        y = y[..., 0]
    elif y.ndim > 1 and ((y == 0) | (y == 1)).all() and (y.sum(-1) == 1).all():
        return y.argmax(-1)
    if not np.issubdtype(y.dtype, np.integer) and y.dtype != bool and not (y == np.round(y)).all():
        raise ValueError(f"{where}: class_weight is given and y holds {y.dtype} values that are no class numbers; expected whole numbers.")
    return np.round(y).astype("int64")
