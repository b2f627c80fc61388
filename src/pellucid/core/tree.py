"""The tree of layers: what a layer holds in its attributes, how that is named, and which weights it has so."""

from __future__ import annotations

import dataclasses
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pellucid.core import frame, naming, policies, symbolic
from pellucid.core.growing import Growing
from pellucid.core.last_used import LastUsed
from pellucid.core.rematerialization import current_scope
from pellucid.core.variable import Variable
from pellucid.errors import NotBuiltError

_NO_NAME = re.compile(r"variable(_\d+)?$")  # what a variable is called that was given no name
INTERNAL = frozenset({"_state", "_machine", "_network"})  # attributes that are the library's own


class State:
    """What the base class keeps of a layer, in one attribute, apart from the user's."""

    __slots__ = (
        "_holder",
        "_place",
        "arguments",
        "autocast",
        "build_shape",
        "built",
        "captures",
        "first_shape",
        "guards",
        "losses",
        "name",
        "named_by_user",
        "policy",
        "remat",
        "steps",
        "trainable",
        "variables",
        "views",
    )

    def __init__(self) -> None:
        self.name: str | None = None
        self.named_by_user = False
        self._holder: Callable[[], Any] = lambda: None
        self._place = ""
        self.policy = policies.dtype_policy()
        self.autocast = True
        self.remat = current_scope()
        self.trainable = True
        self.built = False
        self.build_shape: Any = None
        self.captures: Any = None  # the graphs of the layer by itself, once there are any
        self.variables: list[Variable] = []
        self.losses: list[Any] = []
        self.steps = symbolic.Steps()  # the calls on symbolic tensors
        self.views: LastUsed[Any, Any] = LastUsed(32)  # of a model: the symbolic tensors of its graphs
        self.arguments: tuple[tuple, dict] = ((), {})
        self.first_shape: tuple | None = None  # of one row of the inputs, where a layer that begins a Sequential was given it
        self.guards: dict[str, Any] = {}  # of attributes that a `call` read: told of the line that assigns one

    COPIED = (
        "_place",
        "arguments",
        "autocast",
        "build_shape",
        "built",
        "name",
        "named_by_user",
        "policy",
        "remat",
        "trainable",
        "variables",
    )

    @property
    def owner(self) -> tuple[Any, str] | None:
        """The layer that holds this one, and the attribute's path there. A shared layer keeps none of its models alive."""
        holder = self._holder()
        return None if holder is None else (holder, self._place)

    @owner.setter
    def owner(self, given: tuple[Any, str]) -> None:
        self._holder, self._place = weakref.ref(given[0]), given[1]


class Tree:
    """What holds layers and variables in its attributes, and has a name among them. The base of ``Layer``."""

    _state: State

    # ---- Names ----

    @property
    def name(self) -> str:
        """The given name, or one made from the class's."""
        state = self._state
        if state.name is None:
            state.name = naming.unique_name(naming.snake_case(type(self).__name__))
        return state.name

    @property
    def path(self) -> str:
        """Where the layer is in its model: attributes joined by ``/``, such as ``encoder/blocks/0/attention``."""
        state = self._state
        held = state.owner
        if held is None:
            return self.name
        owner, attribute = held
        step = self.name if state.named_by_user else attribute
        return step if owner._state.owner is None else f"{owner.path}/{step}"

    @property
    def built(self) -> bool:
        """Whether the layer's own weights exist."""
        return self._state.built

    @built.setter
    def built(self, value: bool) -> None:
        self._state.built = bool(value)

    @property
    def trainable(self) -> bool:
        """Whether optimizers may change the layer's weights. Setting it sets that of the nested layers."""
        return self._state.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._flatten_layers():
            layer._state.trainable = bool(value)
        self._changed()

    def _changed(self) -> None:
        """Something was written that graphs or programs may depend on."""
        raise NotImplementedError

    # ---- Weights ----

    def _children(self) -> Iterator[tuple[str, Any]]:
        """(attribute's path, Layer or Variable) of everything held in attributes, also in lists, tuples, dicts and dataclasses."""
        seen: set[int] = set()
        for name, value in vars(self).items():
            if name not in INTERNAL:
                yield from held(name, value, seen)

    def _nested_layers(self) -> list[Any]:
        found: dict[Any, None] = {}
        for path, child in self._children():
            if isinstance(child, Tree) and child is not self:
                self._adopt(path, child)
                found[child] = None
        return list(found)

    def _adopt(self, path: str, child: Tree) -> None:
        """A layer is named after the first layer that holds it, unless that one is inside it (a child that knows its parent)."""
        above: Any = self
        while above is not None and above is not child:
            above = above._state._holder()
        if above is None and child._state.owner is None:
            child._state.owner = (self, path)

    def _flatten_layers(self) -> list[Any]:
        """The layer itself and all below it, each once, in the order of attributes."""
        found: dict[Any, None] = {}
        waiting = [self]
        while waiting:
            layer = waiting.pop()
            if layer not in found:
                found[layer] = None
                waiting.extend(reversed(layer._nested_layers()))
        return list(found)

    def _own_variables(self) -> list[Variable]:
        own = dict.fromkeys(self._state.variables)
        names: dict[Variable, str] = {}
        for path, child in self._children():
            if isinstance(child, Variable):
                own[child] = None
                names.setdefault(child, path)
        for variable in own:
            name = names.get(variable, variable.name) if _NO_NAME.match(variable.name) else variable.name
            variable.path = f"{self.path}/{name}"
        return list(own)

    @property
    def variables(self) -> list[Variable]:
        """All variables of the layer and of those nested in it, trainable ones first in each layer."""
        return self._asked(self._all_variables, False)

    @property
    def weights(self) -> list[Variable]:
        """The variables that are saved: all but the states of random generators and metrics."""
        return self._asked(self._saved, False)

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that an optimizer may change now."""
        return self._asked(self._trained)

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The other variables."""
        return self._asked(lambda: _without(self._all_variables(), self._trained()), False)

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that an optimizer may change now."""
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The other weights."""
        return self._asked(lambda: _without(self._saved(), self._trained()), False)

    def _asked(self, find: Callable[[], list[Variable]], by_anybody: bool = True) -> list[Variable]:
        """What ``find`` gives; where a step of the user's own is captured that may yet make weights of this layer, a list that grows."""
        known = getattr(frame.observer(), "growing", None)
        if known is None or all(layer.built for layer in self._flatten_layers()):
            return find()
        return Growing(find, known, by_anybody)

    def _all_variables(self) -> list[Variable]:
        found: dict[Variable, None] = {}
        for layer in self._flatten_layers():
            found.update(dict.fromkeys(layer._ordered()))
        return list(found)

    def _ordered(self) -> list[Variable]:
        """The own variables: those that were made to be trained, then the others."""
        return sorted(self._own_variables(), key=lambda v: not v.made_trainable)

    def _saved(self) -> list[Variable]:
        return [v for v in self._all_variables() if not getattr(v, "transient", False)]

    def _trained(self) -> list[Variable]:
        found: dict[Variable, None] = {}
        for layer in self._flatten_layers():
            if layer.trainable:
                found.update(dict.fromkeys(v for v in layer._own_variables() if v.trainable))
        return list(found)

    def _penalties(self) -> list[Any]:
        """What regularizers make of the weights that an optimizer may change now."""
        return [v.penalty() for v in self._trained() if v.regularizer is not None]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights as NumPy arrays, in the order of ``weights``."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Sets the weights from a list of arrays, as ``get_weights`` gives it. Either all are set or none."""
        own = self.weights
        if not hasattr(weights, "__len__") or isinstance(weights, str):
            raise TypeError(f"set_weights of {self.path!r}: weights={weights!r}; expected a list of arrays, as get_weights gives it.")
        if len(own) != len(weights):
            hint = "" if own else " It has no weights yet: call it on data, or build it, first."
            raise ValueError(f"set_weights of {self.path!r} got {len(weights)} arrays; expected {len(own)}.{hint}")
        arrays = [_as_weight(variable, w) for variable, w in zip(own, weights, strict=True)]
        for variable, array in zip(own, arrays, strict=True):
            variable.assign(array)

    # ---- Files ----

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Puts the layer's own weights (not those of nested layers) into a dict, from which a file of weights is written.

        Override it, and ``load_own_variables``, to save something else, or in another form.

        Args:
            store: takes arrays by name; here the names are "0", "1" …
        """
        for number, variable in enumerate(self._weights_on_file()):
            store[str(number)] = variable

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Takes the layer's own weights from what ``save_own_variables`` has put into a file.

        Args:
            store: arrays by name.

        Raises:
            ValueError: where they do not fit. ``load_weights`` then puts back what was there before.
        """
        own = self._weights_on_file()
        if len(store) != len(own):
            raise ValueError(f"The file has {len(store)} weights for layer {self.path!r}; expected {len(own)}.")
        for number, variable in enumerate(own):
            variable.assign(store[str(number)])

    def _weights_on_file(self) -> list[Variable]:
        return [v for v in self._ordered() if not getattr(v, "transient", False)]

    def _listed_on_file(self) -> tuple[list[Any], bool] | None:
        """Of a model: the layers that a file of weights lists as ``layers``, and whether before all attributes."""
        return None

    def count_params(self) -> int:
        """Number of elements of all weights."""
        if not self.built:
            raise NotBuiltError(f"count_params: layer {self.path!r} has no weights yet. Call it on data or build it first.")
        return sum(v.size for v in self.weights)


def _as_weight(variable: Variable, value: Any) -> np.ndarray:
    """A value as ``set_weights`` takes it for a variable: of its shape and data type."""
    given = np.asarray(value)
    if tuple(given.shape) != variable.shape:
        raise ValueError(f"set_weights: {variable.path!r} got an array of shape {given.shape}; expected {variable.shape}.")
    try:
        if given.dtype.kind in "OSUMm":
            raise TypeError(given.dtype)
        return given.astype(variable.own_dtype)
    except (TypeError, ValueError):
        raise ValueError(
            f"set_weights: {variable.path!r} got an array of type {given.dtype}; expected numbers, as {variable.own_dtype}."
        ) from None


def _without(variables: list[Variable], others: list[Variable]) -> list[Variable]:
    left = set(others)
    return [v for v in variables if v not in left]


class Held:
    """Keeps a layer out of the sight of those who look for nested layers."""

    def __init__(self, layer: Any):
        self.layer = layer


def held(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Layers and variables in a value, with their paths; containers are entered once."""
    if isinstance(value, Tree | Variable):
        yield path, value
        return
    if isinstance(value, dict):
        items: Any = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list | tuple):
        items = [(str(i), v) for i, v in enumerate(value)]
    elif hasattr(value, "layers_and_variables"):  # a seed generator
        items = value.layers_and_variables()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = list(vars(value).items()) if hasattr(value, "__dict__") else []
    else:
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    for name, item in items:
        yield from held(f"{path}/{name}", item, seen)
