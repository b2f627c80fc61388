"""Layer: the base class of everything that has weights and a ``call``."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import dtypes, explain, frame, jax_compat, masks, mode, naming, policies, registry, serialization, symbolic
from pellucid.core.arguments import (
    FLOATS,
    as_arrays,
    as_shape,
    cast,
    check_given,
    code_of,
    named_arguments,
    parameters_of,
    shapes_of,
    with_masks,
)
from pellucid.core.checks import check_flags
from pellucid.core.described import Described
from pellucid.core.explain import filtered
from pellucid.core.hooks import Hooks
from pellucid.core.input_spec import check_inputs
from pellucid.core.made_with import checking
from pellucid.core.tree import State, held
from pellucid.core.variable import Variable
from pellucid.errors import ShapeError

_training: contextvars.ContextVar[Any] = contextvars.ContextVar("pellucid_training", default=None)
_depth: contextvars.ContextVar[int] = contextvars.ContextVar("pellucid_depth", default=0)
_building: contextvars.ContextVar[Layer | None] = contextvars.ContextVar("pellucid_building", default=None)


class Layer(Described):
    """A function with weights. Write ``__init__`` (stores), ``build`` (makes weights) and ``call`` (computes).

    Args:
        activity_regularizer: name, callable or None: the penalty on the outputs, divided by the number of rows, that each call adds to
            the loss; see ``pellucid.regularizers``.
        name: by default the class's name in snake case, made unique.
        dtype: of weights and computation, such as "float32"; or a policy or its name, such as "mixed_bfloat16"; by default
            ``pellucid.config.dtype_policy()``.
        trainable: whether optimizers may change the weights.
        autocast: whether inputs, and in ``call`` trained weights, are cast to ``compute_dtype``.
        input_shape: of one row, for a layer that begins a ``Sequential``: ``Input(input_shape)`` before it does the same. ``input_dim=4``
            stands for ``(4,)``.

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

    version = 0  # counts attribute writes of all layers: a dispatch compares one integer
    _losses_exist = False
    activity_regularizer: Any = None
    input_spec: Any = None  # what the first argument has to be: an InputSpec, or a structure of them
    _takes: str | None = None  # "array" or "arrays": what a layer of the library is called on; a user's takes what it likes
    _masks_steps = True  # whether a mask given to ``call`` says of each step whether it is real
    supports_masking = False  # whether a mask of the inputs goes on to the outputs; True for a class with a compute_mask

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:
        layer = object.__new__(cls)
        state = State()
        state.arguments = (args, kwargs)
        object.__setattr__(layer, "_state", state)
        if Hooks.layer_made is not None:
            Hooks.layer_made(layer)
        return layer

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **unknown: Any,
    ):
        state = self._state
        dim, shape = unknown.pop("input_dim", None), unknown.pop("input_shape", None)
        state.first_shape = tuple(shape) if shape is not None else None if dim is None else (dim,)
        if unknown:
            raise TypeError(
                f"{type(self).__name__}: unknown argument {next(iter(unknown))!r}. Layer takes name, dtype, trainable, autocast and "
                "activity_regularizer."
            )
        # an attribute even where it is None, so that a graph depends on it
        regularizer = None if activity_regularizer is None else registry.regularizers.get(activity_regularizer)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{type(self).__name__}: name={name!r}; expected a text or None.")
        check_flags(type(self).__name__, trainable=trainable, autocast=autocast)
        vars(self)["activity_regularizer"] = regularizer
        state.name, state.named_by_user = name or naming.unique_name(naming.snake_case(type(self).__name__)), name is not None
        state.policy, state.autocast = self._checked(policies.get(dtype)), bool(autocast)
        state.trainable = bool(trainable)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        ours = cls.__module__.startswith("pellucid.layers.")
        if "__init__" in cls.__dict__ and ours:
            cls.__init__ = checking(cls.__dict__["__init__"])  # type: ignore[method-assign]
        if "call" in cls.__dict__ and "_takes" not in cls.__dict__:
            cls._takes = (cls._takes or "array") if ours else None
        if "build" in cls.__dict__:
            cls.build = _built_once(cls.__dict__["build"])  # type: ignore[method-assign]
        if "compute_mask" in cls.__dict__ and "supports_masking" not in cls.__dict__:
            cls.supports_masking = True

    # ---- What users write ----

    @filtered
    def build(self, input_shape: Any) -> None:
        """Creates the weights for inputs of a shape (``None`` for the batch), those of nested layers included."""
        if _building.get() is not self:  # else the build of a subclass ends in super().build(...)
            self._build_nested(input_shape)
        self._state.build_shape, self._state.built = input_shape, True

    def _build_nested(self, input_shape: Any) -> None:
        """Where a user builds a layer, by no call: creates the weights of nested layers, by a capture of ``call``."""
        if _depth.get() or frame.active_frame() is not None:
            return
        if any(not layer.built for layer in self._flatten_layers()[1:]):
            Hooks.build_abstractly(self, input_shape)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the outputs from the inputs."""
        raise NotImplementedError(f"{type(self).__name__} has no call method. Define `def call(self, inputs): …`.")

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs, from the inputs and their mask: where it is False, a time step is padding.

        A layer with ``supports_masking = True`` that does not define it hands the mask of its inputs on.
        """
        return previous_mask

    def add_weight(
        self,
        shape: Any = (),
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Makes a Variable that belongs to the layer.

        Args:
            shape: tuple of ints (or one int).
            initializer: name, callable ``(shape, dtype) -> array``, or None: glorot_uniform for floats, zeros for others.
            dtype: by default that of the layer.
            trainable: whether optimizers change it.
            autocast: whether ``call`` of a layer of mixed precision reads it as the type that it computes in, if it is trained.
            regularizer: name or callable: the penalty on it that is added to the loss; see ``pellucid.regularizers``.
            constraint: name or callable: what optimizers make of the value after each update; see ``pellucid.constraints``.
            aggregation: accepted for Keras's sake: one program computes on all devices, whose values need no joining.
            overwrite_with_gradient: False; in Keras True is for the scales of quantized layers.
            name: last part of its path.
        """
        if overwrite_with_gradient:
            raise NotImplementedError("add_weight: overwrite_with_gradient=True; expected False: there are no quantized layers here.")
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
        if regularizer is not None:
            variable.regularizer = registry.regularizers.get(regularizer)
        self._state.variables.append(variable)
        return variable

    add_variable = add_weight  # Keras has both names

    def add_loss(self, loss: Any) -> None:
        """Adds a scalar to the loss that training minimises. Call it in ``call``."""
        losses = loss if isinstance(loss, list | tuple) else [loss]
        watcher, active = frame.observer(), frame.active_frame()
        if active is not None and active.takes_losses:
            frame.require_frame_trace(active, f"add_loss is called in layer {self.path!r}")
            active.losses.setdefault(self, []).extend(losses)
        elif watcher is not None:
            watcher.losses_added(self, losses)
        else:
            if active is not None and active.missing is not None:  # of ops.cond and the like, whose outputs these are not
                frame.require_frame_trace(None, f"add_loss is called in layer {self.path!r}")
            Layer._losses_exist = True
            frame.keep_losses({self: [*frame.losses_of(self), *losses]})

    # ---- Calling ----

    @filtered
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if symbolic.is_symbolic((args, kwargs)):
            return Hooks.connect(self, args, kwargs)
        outermost = _depth.get() == 0
        if outermost and Layer._losses_exist:
            self._forget_losses()
        policy, previous = self._policy, None
        args, kwargs = as_arrays((args, kwargs), self)
        if masks.exist() or "mask" in kwargs:
            kwargs, previous = with_masks(self, args, kwargs)
        args, training = self._resolve_training(args, kwargs)
        if self._takes is not None:
            check_given(self, args, kwargs)
        if self.input_spec is not None:  # before weights are made for them
            first = args[0] if args else next(iter(kwargs.values()), None)
            check_inputs(self.input_spec, first, f"Layer {self.path!r} ({type(self).__name__})")
        undo = self._build_for(args, kwargs)
        watcher = frame.observer()
        compute = FLOATS.get(policy.compute_dtype) if self._state.autocast else None
        mixed = compute if policy.variable_dtype != policy.compute_dtype else None
        tokens = _training.set(training), _depth.set(_depth.get() + 1), frame.autocast.set(mixed)
        try:
            if watcher is None:
                return self._run(cast((args, kwargs), compute), previous)
            with watcher.layer_call(self, args, kwargs) as record:
                return record(self._run(cast((args, kwargs), compute), previous))
        except Exception as error:
            undo()
            told = self._explain(error, args, kwargs)
            if told is error:
                raise
            raise told from None
        finally:
            _training.reset(tokens[0])
            _depth.reset(tokens[1])
            frame.autocast.reset(tokens[2])

    def _run(self, given: tuple[tuple, dict], previous: Any) -> Any:
        (args, kwargs), scope = given, self._state.remat
        outputs = (self.call if scope is None else scope.applied(self.call, self))(*args, **kwargs)
        if outputs is None:
            raise ValueError(f"call of layer {self.path!r} ({type(self).__name__}) returned None. Does it lack a `return`?")
        if self.activity_regularizer is not None:
            self.add_loss([self._activity_penalty(y) for y in jax.tree.leaves(outputs) if hasattr(y, "shape")])
        return self._give_masks(args, kwargs, outputs, previous)

    def _give_masks(self, args: tuple, kwargs: dict, outputs: Any, previous: Any) -> Any:
        if not masks.any_in(previous) and type(self).compute_mask is Layer.compute_mask:
            return outputs
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        outputs, ends = masks.give(self, inputs, outputs, previous)
        if ends:
            explain.warn(
                f"Layer {self.path!r} ({type(self).__name__}) got an input with a mask and does not support masks: the mask ends here, and "
                "layers after it take padding for data. Set supports_masking = True in its class to hand the mask on, or define "
                "compute_mask(inputs, previous_mask)."
            )
        return outputs

    def _activity_penalty(self, output: Any) -> Any:
        """The regularizer's penalty on an output, by the number of rows: no batch size makes it stronger."""
        penalty = self.activity_regularizer(dtypes.wide(output))  # half precision would overflow
        if not output.ndim:
            return penalty
        rows = jnp.asarray(output.shape[0], penalty.dtype)
        return jnp.where(rows == 0, 0, penalty / jnp.maximum(rows, 1))

    def _without_training(self, args: tuple, kwargs: dict) -> tuple[tuple, dict, Any]:
        """(args, kwargs, mode) of a call: arrays, and the mode apart from them."""
        args, kwargs = as_arrays((args, dict(kwargs)), self)
        args, kwargs = jax.tree.map(lambda leaf: leaf.value if isinstance(leaf, Variable) else leaf, (args, kwargs))
        args, training = self._resolve_training(args, kwargs)
        at = parameters_of(type(self).call).training_index
        if at is not None and len(args) > at:
            args = args[:at] if len(args) == at + 1 else (*args[:at], None, *args[at + 1 :])
        kwargs.pop("training", None)
        return args, kwargs, training

    def _resolve_training(self, args: tuple, kwargs: dict) -> tuple[tuple, Any]:
        """(args, the mode of this call): given, or the caller's, or the default; put where ``call`` takes it."""
        takes, at = parameters_of(type(self).call), parameters_of(type(self).call).training_index
        by_position = at is not None and len(args) > at
        given = args[at] if by_position else kwargs.pop("training", None)  # type: ignore[index]
        if isinstance(given, str):  # which would count as true
            raise ValueError(f"{type(self).__name__} {self.path!r}: training={given!r}; expected True, False or None.")
        training = given if given is not None else _training.get()
        if takes.training:
            if training is None:
                training = takes.default_training
            if isinstance(training, mode.TrainingFlag):
                training = training.given_to(code_of(type(self).call))
            if by_position:
                args = (*args[:at], training, *args[at + 1 :])  # type: ignore[operator]
            elif training is not None:
                kwargs["training"] = training
        return args, training

    def _build_for(self, args: tuple, kwargs: dict) -> Callable[[], None]:
        """Builds the layer for what it is called on, if it is not built. Returns what undoes that, where the call fails."""
        nothing = lambda: None
        if self._state.built:
            return nothing
        with _build_lock:
            if self._state.built:
                return nothing
            if type(self).build is Layer.build:
                self._state.built = True
                return nothing
            undo = _undoing(self)
            parameters = inspect.signature(self.build).parameters
            shapes = {f"{name}_shape": value for name, value in named_arguments(self, args, kwargs).items()}
            token = _depth.set(_depth.get() + 1)  # the call goes on after it: nothing else need be built
            outer = frame.autocast.set(None)
            try:
                if len(parameters) > 1 and all(p in shapes or parameters[p].default is None for p in parameters):
                    self.build(**{p: shapes_of(shapes[p]) for p in parameters if shapes.get(p) is not None})
                else:
                    self.build(shapes_of(args[0] if args else next(iter(kwargs.values()), None)))
            except Exception as error:
                told = self._explain(error, args, kwargs, "build")
                if told is error:
                    raise
                raise told from None
            finally:
                _depth.reset(token)
                frame.autocast.reset(outer)
            self._state.built = True
            return undo

    def _open_axes(self, numbers: Any) -> set[tuple[int, int]]:
        """The axes, after the first, of inputs that were declared to have any size: (number of the input, axis), from the numbers of
        inputs in their structure."""
        return set()

    def _explain(self, error: Exception, args: tuple, kwargs: dict, method: str = "call") -> Exception:
        """Adds the layer and its inputs' shapes to an error, once, at the layer where it happened; it, or one that says more."""
        if any("in layer" in note for note in getattr(error, "__notes__", ())):
            return error
        place = explain.place_in(error, code_of(getattr(type(self), method)))
        shapes = shapes_of((args, {k: v for k, v in kwargs.items() if k != "training"}))
        text = ", ".join([*map(str, shapes[0]), *(f"{k}={v}" for k, v in shapes[1].items())])
        where = f"in layer {self.path!r} ({type(self).__name__}.{method}{f', {place}' if place else ''}), inputs: {text}"
        told = explain.clearer(error)
        explain.add_notes(told, where, jax_compat.user_place(sys._getframe(2), error))
        return told

    # ---- Names and state ----

    @property
    def losses(self) -> list[Any]:
        """What ``add_loss`` was given in the last run of ``call``, here and in nested layers; then the penalties on trained weights."""
        find = getattr(frame.observer(), "losses_of", frame.losses_of)
        found = [loss for layer in self._flatten_layers() for loss in find(layer)]
        # what a layer added under a jit or grad of the user's ended with that
        found = [loss for loss in found if not jax_compat.is_tracer(loss)] if jax_compat.computes_now() else found
        return found + self._penalties()

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
        for path, child in held(name, value, set()):
            if isinstance(child, Layer):
                self._adopt(path, child)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._changed()

    def _changed(self) -> None:
        Layer.version += 1

    # ---- Copies ----

    def __getstate__(self) -> dict[str, Any]:
        """What ``copy.deepcopy`` and ``pickle`` take: attributes and weights. Graphs start anew; the layer that holds it stays behind."""
        attributes = {k: v for k, v in vars(self).items() if k not in ("_state", "_machine")}
        return {"attributes": attributes, "kept": {name: getattr(self._state, name) for name in State.COPIED}}

    def __setstate__(self, given: dict[str, Any]) -> None:
        for name, value in given["kept"].items():
            setattr(self._state, name, list(value) if name == "variables" else value)
        vars(self).update(given["attributes"])
        self._changed()
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
        if config.get("activity_regularizer", ...) is None:
            del config["activity_regularizer"]
        return config

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
            self.build(as_shape(config["input_shape"]))
        elif config.get("shapes_dict"):
            self.build(**{name: as_shape(shape) for name, shape in config["shapes_dict"].items()})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


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


def _undoing(layer: Layer) -> Callable[[], None]:
    """What makes of a layer, and of those nested in it, what they are now: not built, for inputs that were wrong."""
    unbuilt = [(part, list(part._state.variables), dict(vars(part))) for part in layer._flatten_layers() if not part.built]

    def undo() -> None:
        for part, variables, attributes in unbuilt:
            part._state.variables[:] = variables
            part._state.built, part._state.build_shape = False, None
            vars(part).clear()
            vars(part).update(attributes)
        layer._changed()

    return undo


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


@contextlib.contextmanager
def training_context(training: Any) -> Iterator[None]:
    """Layers called inside take this value of ``training`` unless they are given one."""
    token = _training.set(training)
    try:
        yield
    finally:
        _training.reset(token)
