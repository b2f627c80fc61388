"""Layer: the base class of everything that has weights and a ``call``."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes, explain, frame, jax_compat, mode, naming, policies, registry, serialization, symbolic
from pellucid.core.arrays import array_seen
from pellucid.core.explain import filtered
from pellucid.core.given import Given
from pellucid.core.growing import Growing
from pellucid.core.last_used import LastUsed
from pellucid.core.variable import Variable
from pellucid.core.weakly import cached_weakly
from pellucid.errors import NotBuiltError, ShapeError

_training: contextvars.ContextVar[Any] = contextvars.ContextVar("pellucid_training", default=None)
_depth: contextvars.ContextVar[int] = contextvars.ContextVar("pellucid_depth", default=0)
_building: contextvars.ContextVar[Layer | None] = contextvars.ContextVar("pellucid_building", default=None)


INTERNAL = frozenset({"_state", "_machine", "_network"})  # attributes that are the library's own


class Hooks:
    """What higher modules subscribe to, so that ``core`` need not import them."""

    connect: Callable[[Layer, tuple, dict], Any] | None = None  # a layer is called on symbolic tensors
    end_of: Callable[[Layer, str], Any] | None = None  # by the models: the symbolic "input" or "output" of a layer
    build_abstractly: Callable[[Layer, Any], None] | None = None  # by the capture: creates all weights of nested layers
    attribute_written: Callable[[Layer, str], None] | None = None  # by the side effects, during a capture
    layer_made: Callable[[Layer], None] | None = None  # by the side effects, too


class _State:
    """What the base class keeps of a layer, in one attribute, apart from the user's."""

    __slots__ = (
        "_holder",
        "_place",
        "arguments",
        "autocast",
        "build_shape",
        "built",
        "captures",
        "guards",
        "losses",
        "name",
        "named_by_user",
        "policy",
        "steps",
        "trainable",
        "variables",
        "views",
    )

    def __init__(self) -> None:
        self.name: str | None = None
        self.named_by_user = False
        self._holder: Callable[[], Layer | None] = lambda: None
        self._place = ""
        self.policy = policies.dtype_policy()
        self.autocast = True
        self.trainable = True
        self.built = False
        self.build_shape: Any = None
        self.captures: Any = None  # the graphs of the layer by itself, once there are any
        self.variables: list[Variable] = []
        self.losses: list[Any] = []
        self.steps = symbolic.Steps()  # the calls on symbolic tensors
        self.views: LastUsed[Any, Any] = LastUsed(32)  # of a model: the symbolic tensors of its graphs
        self.arguments: tuple[tuple, dict] = ((), {})
        self.guards: dict[str, Any] = {}  # of attributes that a `call` read: told of the line that assigns one

    COPIED = ("_place", "arguments", "autocast", "build_shape", "built", "name", "named_by_user", "policy", "trainable", "variables")

    @property
    def owner(self) -> tuple[Layer, str] | None:
        """The layer that holds this one, and the attribute's path there. A shared layer keeps none of its models alive."""
        holder = self._holder()
        return None if holder is None else (holder, self._place)

    @owner.setter
    def owner(self, given: tuple[Layer, str]) -> None:
        self._holder, self._place = weakref.ref(given[0]), given[1]


class Layer:
    """A function with weights. Write ``__init__`` (stores), ``build`` (makes weights) and ``call`` (computes).

    Args:
        name: by default the class's name in snake case, made unique.
        dtype: of weights and computation, such as "float32"; or a policy or its name, such as "mixed_bfloat16"; by default
            ``pellucid.config.dtype_policy()``.
        trainable: whether optimizers may change the weights.
        autocast: whether inputs, and in ``call`` trained weights, are cast to ``compute_dtype``.

    Example:
        >>> import pellucid, numpy as np
        >>> class Scale(pellucid.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones")
        ...     def call(self, inputs):
        ...         return inputs * self.w
        >>> Scale()(np.ones((2, 3), "float32")).shape
        (2, 3)
    """

    _state: _State
    version = 0  # counts attribute writes of all layers: a dispatch compares one integer
    _losses_exist = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:
        layer = object.__new__(cls)
        state = _State()
        state.arguments = (args, kwargs)
        object.__setattr__(layer, "_state", state)
        if Hooks.layer_made is not None:
            Hooks.layer_made(layer)
        return layer

    def __init__(self, *, name: str | None = None, dtype: Any = None, trainable: bool = True, autocast: bool = True, **unknown: Any):
        if unknown:
            raise TypeError(
                f"{type(self).__name__}: unknown argument {next(iter(unknown))!r}. Layer takes name, dtype, trainable and autocast."
            )
        state = self._state
        state.name, state.named_by_user = name or naming.unique_name(naming.snake_case(type(self).__name__)), name is not None
        state.policy, state.autocast = self._checked(policies.get(dtype)), bool(autocast)
        state.trainable = bool(trainable)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _built_once(cls.__dict__["build"])  # type: ignore[method-assign]

    # ---- What users write ----

    @filtered
    def build(self, input_shape: Any) -> None:
        """Creates the weights for inputs of a shape (``None`` for the batch), those of nested layers included."""
        if _building.get() is not self:  # else the build of a subclass ends in super().build(...)
            self._build_nested(input_shape)
        self._state.build_shape, self._state.built = input_shape, True

    def _build_nested(self, input_shape: Any) -> None:
        """Where a user builds a layer, by no call: creates the weights of nested layers, by a capture of ``call``."""
        if _depth.get() or frame.active_frame() is not None or Hooks.build_abstractly is None:
            return
        if any(not layer.built for layer in self._flatten_layers()[1:]):
            Hooks.build_abstractly(self, input_shape)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs from the inputs."""
        raise NotImplementedError(f"{type(self).__name__} has no call method. Define `def call(self, inputs): …`.")

    def add_weight(
        self,
        shape: Any = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        constraint: Any = None,
        autocast: bool = True,
    ) -> Variable:
        """Makes a Variable that belongs to the layer.

        Args:
            shape: tuple of ints (or one int).
            initializer: name, callable ``(shape, dtype) -> array``, or None: glorot_uniform for floats, zeros for others.
            dtype: by default that of the layer.
            trainable: whether optimizers change it.
            name: last part of its path.
            constraint: name or callable: what optimizers make of the value after each update; see ``pellucid.constraints``.
            autocast: whether ``call`` of a layer of mixed precision reads it as the type that it computes in, if it is trained.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        where = f"add_weight({name!r}) in layer {self.path!r}"
        if any(not isinstance(d, int | np.integer) or d < 0 for d in shape):
            raise ShapeError(
                f"{where}: shape={shape} is not fixed; expected whole numbers. A size of the input that is None, such as the batch, "
                "cannot be a weight's size: take input_shape[-1] or another known one."
            )
        dtype = dtypes.standardize_dtype(dtype or self.variable_dtype)
        if initializer is None:
            initializer = "glorot_uniform" if dtypes.is_float(dtype) else "zeros"
        if isinstance(initializer, int | float | np.ndarray | jax.Array):
            value = np.broadcast_to(initializer, shape)
            initializer = lambda *_: value
        variable = Variable(registry.initializers.get(initializer), shape, dtype, trainable, name or "variable", autocast)
        if constraint is not None:
            variable.constraint = registry.constraints.get(constraint)
        self._state.variables.append(variable)
        return variable

    def add_loss(self, loss: Any) -> None:
        """Adds a scalar to the loss that training minimises. Call it in ``call``."""
        losses = loss if isinstance(loss, list | tuple) else [loss]
        watcher = frame.observer()
        if watcher is not None:
            watcher.losses_added(self, losses)
        else:
            active = frame.active_frame()
            if active is not None and active.missing is not None:  # of ops.cond and the like, whose outputs these are not
                frame.require_frame_trace(None, f"add_loss is called in layer {self.path!r}")
            Layer._losses_exist = True
            frame.keep_losses({self: [*frame.losses_of(self), *losses]})

    # ---- Calling ----

    @filtered
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if symbolic.is_symbolic((args, kwargs)):
            assert Hooks.connect is not None
            return Hooks.connect(self, args, kwargs)
        outermost = _depth.get() == 0
        if outermost and Layer._losses_exist:
            self._forget_losses()
        policy = self._policy
        args, kwargs = _as_arrays((args, kwargs), self)
        args, training = self._resolve_training(args, kwargs)
        self._build_for(args, kwargs)
        watcher = frame.observer()
        compute = _FLOATS.get(policy.compute_dtype) if self._state.autocast else None
        mixed = compute if policy.variable_dtype != policy.compute_dtype else None
        tokens = _training.set(training), _depth.set(_depth.get() + 1), frame.autocast.set(mixed)
        try:
            if watcher is None:
                return self._run(*_cast((args, kwargs), compute))
            with watcher.layer_call(self, args, kwargs) as record:
                return record(self._run(*_cast((args, kwargs), compute)))
        except Exception as error:
            told = self._explain(error, args, kwargs)
            if told is error:
                raise
            raise told from None
        finally:
            _training.reset(tokens[0])
            _depth.reset(tokens[1])
            frame.autocast.reset(tokens[2])

    def _run(self, args: tuple, kwargs: dict) -> Any:
        outputs = self.call(*args, **kwargs)
        if outputs is None:
            raise ValueError(f"call of layer {self.path!r} ({type(self).__name__}) returned None. Does it lack a `return`?")
        return outputs

    def _without_training(self, args: tuple, kwargs: dict) -> tuple[tuple, dict, Any]:
        """(args, kwargs, mode) of a call: arrays, and the mode apart from them."""
        args, kwargs = _as_arrays((args, dict(kwargs)), self)
        args, kwargs = jax.tree.map(lambda leaf: leaf.value if isinstance(leaf, Variable) else leaf, (args, kwargs))
        args, training = self._resolve_training(args, kwargs)
        at = _signature(type(self).call).training_index
        if at is not None and len(args) > at:
            args = args[:at] if len(args) == at + 1 else (*args[:at], None, *args[at + 1 :])
        kwargs.pop("training", None)
        return args, kwargs, training

    def _resolve_training(self, args: tuple, kwargs: dict) -> tuple[tuple, Any]:
        """(args, the mode of this call): given, or the caller's, or the default; put where ``call`` takes it."""
        takes, at = _signature(type(self).call), _signature(type(self).call).training_index
        by_position = at is not None and len(args) > at
        given = args[at] if by_position else kwargs.pop("training", None)  # type: ignore[index]
        training = given if given is not None else _training.get()
        if takes.training:
            if training is None:
                training = takes.default_training
            if isinstance(training, mode.TrainingFlag):
                training = training.given_to(_code(type(self).call))
            if by_position:
                args = (*args[:at], training, *args[at + 1 :])  # type: ignore[operator]
            elif training is not None:
                kwargs["training"] = training
        return args, training

    def _build_for(self, args: tuple, kwargs: dict) -> None:
        if self._state.built:
            return
        with _build_lock:
            if self._state.built:
                return
            if type(self).build is Layer.build:
                self._state.built = True
                return
            parameters = [p for p in inspect.signature(self.build).parameters if p != "self"]
            shapes = {f"{name}_shape": value for name, value in _named_arguments(self, args, kwargs).items()}
            token = _depth.set(_depth.get() + 1)  # the call goes on after it: nothing else need be built
            outer = frame.autocast.set(None)
            try:
                if len(parameters) > 1 and all(p in shapes for p in parameters):
                    self.build(**{p: _shapes(shapes[p]) for p in parameters})
                else:
                    self.build(_shapes(args[0] if args else next(iter(kwargs.values()), None)))
            except Exception as error:
                told = self._explain(error, args, kwargs, "build")
                if told is error:
                    raise
                raise told from None
            finally:
                _depth.reset(token)
                frame.autocast.reset(outer)
            self._state.built = True

    def _explain(self, error: Exception, args: tuple, kwargs: dict, method: str = "call") -> Exception:
        """Adds the layer and its inputs' shapes to an error, once, at the layer where it happened; it, or one that says more."""
        if any("in layer" in note for note in getattr(error, "__notes__", ())):
            return error
        place = explain.place_in(error, _code(getattr(type(self), method)))
        shapes = _shapes((args, {k: v for k, v in kwargs.items() if k != "training"}))
        text = ", ".join([*map(str, shapes[0]), *(f"{k}={v}" for k, v in shapes[1].items())])
        where = f"in layer {self.path!r} ({type(self).__name__}.{method}{f', {place}' if place else ''}), inputs: {text}"
        told = explain.clearer(error)
        explain.add_notes(told, where, jax_compat.user_place(sys._getframe(2), error))
        return told

    # ---- Names and state ----

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
    def dtype_policy(self) -> policies.DTypePolicy:
        """In which data type it computes, and in which its weights are kept. A new one counts from the next run of ``call`` on."""
        return self._state.policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        new, old = policies.get(value), self._state.policy
        if isinstance(old, policies.DTypePolicyMap) and not isinstance(new, policies.DTypePolicyMap):  # of this layer alone
            changed = {**{key: old[key] for key in old if key != self.path}, self.path: new}
            new = policies.DTypePolicyMap(old.default_policy, changed)
        self._state.policy = self._checked(new)
        Layer.version += 1

    def _checked(self, policy: policies.DTypePolicy) -> policies.DTypePolicy:
        for dtype in (policy.compute_dtype, policy.variable_dtype):
            dtypes.check_64_bits(f"{type(self).__name__} {self.name!r}", dtype)
        return policy

    @property
    def _policy(self) -> policies.DTypePolicy:
        policy = self._state.policy
        return policy.of(self.path) if isinstance(policy, policies.DTypePolicyMap) else policy

    @property
    def dtype(self) -> str:
        """Data type of the weights, as ``variable_dtype``."""
        return self._policy.variable_dtype

    @property
    def variable_dtype(self) -> str:
        """Data type of the weights."""
        return self._policy.variable_dtype

    @property
    def compute_dtype(self) -> str:
        """Data type that inputs, and in ``call`` trained weights, are cast to."""
        return self._policy.compute_dtype

    @property
    def input_dtype(self) -> str:
        """Data type that inputs are cast to."""
        return self._policy.compute_dtype

    @property
    def quantization_mode(self) -> str | None:
        """None: layers are not quantized here."""
        return None

    @property
    def autocast(self) -> bool:
        """Whether inputs, and in ``call`` trained weights, are cast to ``compute_dtype``."""
        return self._state.autocast

    @autocast.setter
    def autocast(self, value: bool) -> None:
        self._state.autocast = bool(value)
        Layer.version += 1

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
        Layer.version += 1

    @Given
    def input(self) -> Any:
        """What the layer was called on, as symbolic tensors: see ``output``."""
        assert Hooks.end_of is not None
        return Hooks.end_of(self, "input")

    @Given
    def output(self) -> Any:
        """What the layer gives, as symbolic tensors: ``Model(model.inputs, model.get_layer("hidden").output)``.

        Raises:
            NotBuiltError: while no model that holds the layer has a graph.
            AttributeError: for a layer that is called several times.
        """
        assert Hooks.end_of is not None
        return Hooks.end_of(self, "output")

    # ---- Weights ----

    def _children(self) -> Iterator[tuple[str, Any]]:
        """(attribute's path, Layer or Variable) of everything held in attributes, also in lists, tuples, dicts and dataclasses."""
        seen: set[int] = set()
        for name, value in vars(self).items():
            if name not in INTERNAL:
                yield from _held(name, value, seen)

    def _nested_layers(self) -> list[Layer]:
        found: dict[Layer, None] = {}
        for path, child in self._children():
            if isinstance(child, Layer) and child is not self:
                self._adopt(path, child)
                found[child] = None
        return list(found)

    def _adopt(self, path: str, child: Layer) -> None:
        """A layer is named after the first layer that holds it, unless that one is inside it (a child that knows its parent)."""
        above: Layer | None = self
        while above is not None and above is not child:
            above = above._state._holder()
        if above is None and child._state.owner is None:
            child._state.owner = (self, path)

    def _flatten_layers(self) -> list[Layer]:
        """The layer itself and all below it, each once, in the order of attributes."""
        found: dict[Layer, None] = {}
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
            name = variable.name if variable.name != "variable" else names.get(variable, "variable")
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
            own = layer._own_variables()
            found.update(dict.fromkeys([*(v for v in own if v.trainable), *(v for v in own if not v.trainable)]))
        return list(found)

    def _saved(self) -> list[Variable]:
        return [v for v in self._all_variables() if not getattr(v, "transient", False)]

    def _trained(self) -> list[Variable]:
        found: dict[Variable, None] = {}
        for layer in self._flatten_layers():
            if layer.trainable:
                found.update(dict.fromkeys(v for v in layer._own_variables() if v.trainable))
        return list(found)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights as NumPy arrays, in the order of ``weights``."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Sets the weights from a list of arrays, as ``get_weights`` gives it. Either all are set or none."""
        own = self.weights
        if len(own) != len(weights):
            hint = "" if own else " It has no weights yet: call it on data, or build it, first."
            raise ValueError(f"set_weights of {self.path!r} got {len(weights)} arrays; expected {len(own)}.{hint}")
        arrays = [_as_weight(variable, w) for variable, w in zip(own, weights, strict=True)]
        for variable, array in zip(own, arrays, strict=True):
            variable.assign(array)

    def count_params(self) -> int:
        """Number of elements of all weights."""
        if not self.built:
            raise NotBuiltError(f"count_params: layer {self.path!r} has no weights yet. Call it on data or build it first.")
        return sum(v.size for v in self.weights)

    @property
    def losses(self) -> list[Any]:
        """What ``add_loss`` was given in the last run of ``call``, here and in nested layers."""
        find = getattr(frame.observer(), "losses_of", frame.losses_of)
        found = [loss for layer in self._flatten_layers() for loss in find(layer)]
        # what a layer added under a jit or grad of the user's ended with that
        return [loss for loss in found if not jax_compat.is_tracer(loss)] if jax_compat.computes_now() else found

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple:
        """Calls the layer as a pure function, which plain JAX can transform. No variable changes.

        Args:
            trainable_variables: a value for each of ``self.trainable_variables``.
            non_trainable_variables: a value for each of ``self.non_trainable_variables``.
            args: of the call, as ``kwargs``.
            return_losses: whether the losses that ``call`` adds are returned, too.

        Returns:
            ``(outputs, new values of non_trainable_variables)``, and the losses where they are asked for.

        Raises:
            ValueError: where the numbers of values are not those of the variables.

        Example:
            >>> import jax, numpy as np, pellucid
            >>> layer = pellucid.layers.Dense(2)
            >>> layer.build((None, 3))
            >>> values = [v.value for v in layer.trainable_variables]
            >>> jax.grad(lambda values: layer.stateless_call(values, [], np.ones((1, 3)))[0].sum())(values)[1].tolist()
            [1.0, 1.0]
        """
        parts = self.trainable_variables, self.non_trainable_variables
        for name, values, variables in zip(
            ("trainable", "non_trainable"), (trainable_variables, non_trainable_variables), parts, strict=True
        ):
            if len(values) != len(variables):
                raise ValueError(
                    f"stateless_call: {name}_variables has {len(values)} values and {self.path!r} has {len(variables)} such variables; "
                    "expected one for each. Build the layer first: it makes its weights then."
                )

        def run() -> tuple:
            outputs = self(*args, **kwargs)
            return outputs, self.losses, dict(frame.active_frame().losses)  # type: ignore[union-attr]

        values = [jnp.asarray(v) for v in (*trainable_variables, *non_trainable_variables)]
        (outputs, losses, added), new = frame.functional(run, [*parts[0], *parts[1]])(values)
        if frame.active_frame() is not None:  # a step of the user's own may ask for them
            frame.keep_losses(added)
        changed = new[len(parts[0]) :]
        return (outputs, changed, losses) if return_losses else (outputs, changed)

    def _forget_losses(self) -> None:
        frame.keep_losses({layer: [] for layer in self._flatten_layers()})

    # ---- Attributes ----

    def __setattr__(self, name: str, value: Any) -> None:
        if Hooks.attribute_written is not None:
            Hooks.attribute_written(self, name)
        object.__setattr__(self, name, value)
        Layer.version += 1
        if name in self._state.guards:
            self._state.guards[name].place = jax_compat.user_place(sys._getframe(1))
        for path, child in _held(name, value, set()):
            if isinstance(child, Layer):
                self._adopt(path, child)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        Layer.version += 1

    # ---- Copies ----

    def __getstate__(self) -> dict[str, Any]:
        """What ``copy.deepcopy`` and ``pickle`` take: attributes and weights. Graphs start anew; the layer that holds it stays behind."""
        attributes = {k: v for k, v in vars(self).items() if k not in ("_state", "_machine")}
        return {"attributes": attributes, "kept": {name: getattr(self._state, name) for name in _State.COPIED}}

    def __setstate__(self, given: dict[str, Any]) -> None:
        for name, value in given["kept"].items():
            setattr(self._state, name, list(value) if name == "variables" else value)
        vars(self).update(given["attributes"])
        Layer.version += 1
        for path, child in self._children():
            if isinstance(child, Layer) and child._state._place == path:  # a shared layer keeps the path that it had
                self._adopt(path, child)

    # ---- Config ----

    def get_config(self) -> dict[str, Any]:
        """The arguments of ``__init__`` that make an equal layer, as plain data.

        Raises:
            NotImplementedError: for an argument of a user's class that is no plain data. Such a class defines its own.
        """
        return self._config()

    def _config(self, without: tuple[str, ...] = ()) -> dict[str, Any]:
        config = serialization.config_of(self, Layer, serialization.Recorded(*self._state.arguments), without)
        if "dtype" in config:
            config["dtype"] = self._written_policy()
        if self._state.arguments[1].get("autocast", True):
            config.pop("autocast", None)
        return config

    def _written_policy(self) -> Any:
        """The policy as plain data: its name, or all of a map."""
        policy = self._state.policy
        return policies.serialize(policy) if isinstance(policy, policies.DTypePolicyMap) else policy.name

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """A new layer from what ``get_config`` returned."""
        return cls(**serialization.arguments_from(cls, config))

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that the layer was built for, or None."""
        shape = self._state.build_shape
        if not self.built or shape is None:
            return None
        several = isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], dict)
        return {"shapes_dict": shape[1]} if several else {"input_shape": shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the weights for the shapes that ``get_build_config`` returned."""
        if config.get("input_shape") is not None:
            self.build(_as_shape(config["input_shape"]))
        elif config.get("shapes_dict"):
            self.build(**{name: _as_shape(shape) for name, shape in config["shapes_dict"].items()})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


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


_build_lock = threading.RLock()


def _built_once(build: Callable) -> Callable:
    """Wraps a class's ``build``: it marks the layer as built when it has succeeded, and leaves no weights when it has not."""

    @filtered
    @functools.wraps(build)
    def wrapped(self: Layer, *args: Any, **kwargs: Any) -> None:
        if _building.get() is self:  # super().build(…) of a subclass
            return build(self, *args, **kwargs)
        before, attributes = list(self._state.variables), dict(vars(self))
        token = _building.set(self)
        try:
            build(self, *args, **kwargs)
        except BaseException:
            self._state.variables[:] = before
            vars(self).clear()
            vars(self).update(attributes)
            raise
        finally:
            _building.reset(token)
        self._state.built = True
        self._state.build_shape = args[0] if len(args) == 1 and not kwargs else (args, kwargs)
        if len(args) == 1 and not kwargs:
            self._build_nested(args[0])

    return wrapped


def is_calling() -> bool:
    """Whether a call of a layer (or the build that it begins with) is running in this thread."""
    return _depth.get() > 0


def current_training() -> Any:
    """The mode of the layer call that is running: a bool, the flag of a capture, or None."""
    return _training.get()


@contextlib.contextmanager
def not_building() -> Iterator[None]:
    """A capture that a ``build`` asks for is a run of ``call``, not part of the build."""
    token = _building.set(None)
    try:
        yield
    finally:
        _building.reset(token)


def is_building() -> bool:
    """Whether a ``build`` of a layer is running in this thread."""
    return _building.get() is not None


def _held(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Layers and variables in a value, with their paths; containers are entered once."""
    if isinstance(value, Layer | Variable):
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
        yield from _held(f"{path}/{name}", item, seen)


@dataclasses.dataclass(frozen=True)
class _Takes:
    """What a ``call`` takes, apart from inputs."""

    names: tuple[str, ...]
    training: bool
    training_index: int | None
    default_training: Any


@cached_weakly
def _signature(call: Callable) -> _Takes:
    parameters = list(inspect.signature(call).parameters.values())[1:]
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    found = next((p for p in parameters if p.name == "training"), None)
    passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    default = None if found is None or found.default is inspect.Parameter.empty else found.default
    index = positional.index("training") if "training" in positional else None
    return _Takes(tuple(positional), found is not None or passes_on, index, default)


def _named_arguments(layer: Layer, args: tuple, kwargs: dict) -> dict[str, Any]:
    return {**dict(zip(_signature(type(layer).call).names, args, strict=False)), **kwargs}


def _code(function: Callable) -> Any:
    return inspect.unwrap(function).__code__


def _as_arrays(tree: Any, layer: Layer) -> Any:
    """NumPy arrays become JAX arrays of a type that layers take; everything else stays."""
    if not any(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(tree)):
        return tree
    seen = lambda leaf: jnp.asarray(array_seen(leaf, "an input", f"call of layer {layer.path!r}"))
    return jax.tree.map(lambda leaf: seen(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


_FLOATS = {name: jnp.dtype(name) for name in dtypes.FLOATS}  # what inputs may be cast to


def _cast(tree: Any, dtype: Any) -> Any:
    """Arrays of floats as a data type; None leaves them."""

    def differs(leaf: Any) -> bool:
        given = getattr(leaf, "dtype", dtype)
        return given != dtype and isinstance(leaf, jax.Array) and dtypes.is_float(given)

    if dtype is None or not any(map(differs, jax.tree.leaves(tree))):
        return tree
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if differs(leaf) else leaf, tree)


def _shapes(tree: Any) -> Any:
    """Shapes in place of arrays; a symbolic size is None."""

    def shape(leaf: Any) -> Any:
        if hasattr(leaf, "shape"):
            return tuple(None if isinstance(d, jax_compat.SymbolicSize) else int(d) for d in leaf.shape)
        return leaf

    return jax.tree.map(shape, tree, is_leaf=lambda leaf: leaf is None)


def _as_shape(shape: Any) -> Any:
    """A shape, or a structure of shapes, whose tuples have become lists in a file."""
    if isinstance(shape, dict):
        return {name: _as_shape(inner) for name, inner in shape.items()}
    if isinstance(shape, list | tuple):
        return tuple(shape) if all(d is None or isinstance(d, int) for d in shape) else [_as_shape(inner) for inner in shape]
    return shape


def size_of_axis(layer: Layer, input_shape: Any, axis: int = -1) -> int:
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


@contextlib.contextmanager
def training_context(training: Any) -> Iterator[None]:
    """Layers called inside take this value of ``training`` unless they are given one."""
    token = _training.set(training)
    try:
        yield
    finally:
        _training.reset(token)
