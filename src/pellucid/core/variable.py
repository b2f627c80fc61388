"""Variable: an array that a layer owns and that steps change."""

from __future__ import annotations

import itertools
import operator
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import compilation_cache, dtypes, frame, jax_compat, naming, operators, scratch_memory
from pellucid.errors import CaptureError, ShapeError

compilation_cache.install()  # before anything is computed
scratch_memory.install()

_numbers = itertools.count()
_lock = threading.RLock()
dispatching = threading.RLock()  # held while arrays are taken, donated and replaced: no thread sees a deleted one


class Variable:
    """An array with a name that can be assigned: a weight, a running statistic, an optimizer's slot.

    It stands wherever an array can: in operators, in ``jax.numpy`` and ``lax``, in a user's own ``jax.jit``.

    Args:
        initializer: the value (an array or number), or a callable ``(shape, dtype) -> array``.
        shape: needed with a callable.
        dtype: name of the data type; by default the value's own, or ``floatx()``. The attribute is a NumPy data type, as that
            of arrays is; it equals its name.
        trainable: whether optimizers change it.
        name: last part of its path.
        autocast: whether a trained float is read as the type that a layer computes in, where the layer's ``call`` reads it. What is
            not trained, such as running statistics, keeps its own type: half precision would lose small changes of it.

    Raises:
        ValueError: for float64 where JAX has none.

    Example:
        >>> import pellucid
        >>> v = pellucid.Variable([1.0, 2.0], name="scale")
        >>> v.assign_add([1.0, 1.0])
        >>> (v * 2).tolist()
        [4.0, 6.0]
    """

    version = 0  # counts variables made, and changes of their `trainable`, `constraint` and `regularizer`
    made: Callable[[Variable], None] | None = None  # is told of new ones, during a capture
    __array_priority__ = 100  # NumPy leaves operators to us

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        autocast: bool = True,
    ):
        self.name = name or naming.unique_name("variable")
        self.number = next(_numbers)
        self.path = self.name
        self._trainable = bool(trainable)
        self.made_trainable = self._trainable  # its place among a layer's weights, however it is set later
        self._constraint: Callable[[Any], Any] | None = None
        self._regularizer: Callable[[Any], Any] | None = None
        self.handed_out = False  # the array may be held by user code: it must not be donated
        self._pending: Callable[[], Any] | None = None
        if callable(initializer) and not isinstance(initializer, Variable):
            if shape is None:
                raise ValueError(f"Variable {self.name!r}: shape=None was given with an initializer; expected a tuple of ints.")
            self.shape = tuple(int(d) for d in shape)
            self.own_dtype: np.dtype = self._checked(dtype)
            self._array: Any = None
            self._pending = lambda: initializer(self.shape, self.own_dtype.name)
        else:
            if jax_compat.is_tracer(initializer):
                raise CaptureError(
                    f"Variable {self.name!r} would be made from a value of the computation, which exists only inside a capture. "
                    "Make it in __init__ or build, and assign to it in call."
                )
            with jax.ensure_compile_time_eval():
                value = initializer.value if isinstance(initializer, Variable) else initializer
                if dtype is None and not hasattr(value, "dtype"):
                    value = dtypes.to_floatx(np.asarray(value))
                self._array = _own_copy(value, None if dtype is None else self._checked(dtype))
            self.shape, self.own_dtype = tuple(self._array.shape), self._array.dtype
        self.autocast = bool(autocast)
        self._casts = self.autocast and self._trainable and dtypes.is_float(self.own_dtype)
        Variable.version += 1
        if Variable.made is not None:
            Variable.made(self)

    def _checked(self, dtype: Any) -> np.dtype:
        name = dtypes.standardize_dtype(dtype)
        dtypes.check_64_bits(f"Variable {self.name!r}", name)
        return jax.dtypes.canonicalize_dtype(name)  # int64 only where JAX has it

    # ---- The value ----

    @property
    def value(self) -> Any:
        """The array. During a trace, the traced value; in ``call`` of a layer of mixed precision, as the type that it computes in."""
        return self.read(self._cast_to())

    @property
    def dtype(self) -> np.dtype:
        """The data type of ``value``."""
        return self._cast_to() or self.own_dtype

    def _cast_to(self) -> Any:
        """What the layer whose ``call`` is running reads it as; None for what it is."""
        dtype = frame.autocast.get()
        return dtype if dtype is not None and self._casts and dtype != self.own_dtype else None

    def read(self, dtype: Any = None) -> Any:
        """The value as a data type or (None) its own, whichever layer asks."""
        active = frame.active_frame()
        if active is not None:
            return active.read(self, dtype)
        value = self.unframed_value()
        return value if dtype is None else value.astype(dtype)

    def unframed_value(self) -> Any:
        """The array itself, marked as handed out: it is copied before a program may donate it."""
        with dispatching:
            self.handed_out = True
            return self.array

    @property
    def array(self) -> Any:
        """The array itself, for code that keeps no reference to it."""
        if self._array is None:
            self._initialize()
        return self._array

    @array.setter
    def array(self, value: Any) -> None:
        self._array, self._pending, self.handed_out = value, None, False

    def copied(self) -> Any:
        """A copy of the array that nobody else holds."""
        with dispatching:
            return self.array.copy()

    def _initialize(self) -> None:
        with _lock:
            if self._array is not None:  # another thread was faster
                return
            with jax.ensure_compile_time_eval():
                self._array = _own_copy(self._pending(), self.own_dtype)  # type: ignore[misc]
            if tuple(self._array.shape) != self.shape:
                shape, self._array = self._array.shape, None
                raise ValueError(f"The initializer of variable {self.path!r} returned shape {shape}; expected {self.shape}.")
            self._pending = None

    def assign(self, value: Any) -> None:
        """Replaces the value. The shape must fit; the data type is converted."""
        value = _plain(value)
        shape = value.shape if hasattr(value, "shape") else np.shape(value)
        if tuple(shape) != self.shape:
            raise ValueError(f"Variable {self.path!r}: assign got a value of shape {tuple(shape)}; expected {self.shape}.")
        active = frame.active_frame()
        if active is not None:
            active.write(self, jnp.asarray(value, self.own_dtype))
            return
        if jax_compat.is_tracer(value) or not jax_compat.computes_now():
            frame.require_frame_trace(None, f"variable {self.path!r} is assigned")
        self.array = self.own(value)

    def own(self, value: Any) -> jax.Array:
        """A value as an array of the variable's type that nobody else holds."""
        return _own_copy(value, self.own_dtype)

    def assign_add(self, value: Any) -> None:
        """Adds to the value."""
        self.assign(self.read() + jnp.asarray(_plain(value)))

    def assign_sub(self, value: Any) -> None:
        """Subtracts from the value."""
        self.assign(self.read() - jnp.asarray(_plain(value)))

    def numpy(self) -> np.ndarray:
        """A copy of the value as a NumPy array."""
        return np.array(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if frame.active_frame() is None:
            with dispatching:
                return np.array(self.array, dtype=dtype, copy=True)
        value = self.value
        if jax_compat.is_tracer(value):
            place = jax_compat.user_place(sys._getframe(1))
            at = f", at {place}" if place else ""
            raise CaptureError(
                f"Weight {self.path!r} is read as a NumPy array or a Python number inside a capture{at}. Its value of this moment "
                "would be frozen into the graph. Use it as it is (it works in operators and jax.numpy), or in pellucid.ops."
            )
        return np.array(value, dtype=dtype, copy=True)

    def __jax_array__(self) -> Any:
        return self.value

    # ---- Copies ----

    def __getstate__(self) -> dict[str, Any]:
        """What ``copy.deepcopy`` and ``pickle`` take: all but the array itself and the number."""
        own = {k: v for k, v in vars(self).items() if k not in ("_array", "_pending", "number", "handed_out")}
        return {**own, "value": np.asarray(self)}

    def __setstate__(self, given: dict[str, Any]) -> None:
        value = given.pop("value")
        vars(self).update(given)
        self.number = next(_numbers)
        self.array = _own_copy(value, self.own_dtype)
        Variable.version += 1
        if Variable.made is not None:
            Variable.made(self)

    # ---- What it is ----

    @property
    def trainable(self) -> bool:
        """Whether optimizers change it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        Variable.version += 1

    @property
    def constraint(self) -> Callable[[Any], Any] | None:
        """What optimizers make of the value after each update, such as one of ``pellucid.constraints``; None leaves it."""
        return self._constraint

    @constraint.setter
    def constraint(self, value: Callable[[Any], Any] | None) -> None:
        self._constraint = self._function("constraint", value)
        Variable.version += 1

    @property
    def regularizer(self) -> Callable[[Any], Any] | None:
        """The penalty on the value that is added to the loss while it is trained, such as one of ``pellucid.regularizers``; or None."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, value: Callable[[Any], Any] | None) -> None:
        self._regularizer = self._function("regularizer", value)
        Variable.version += 1

    def _function(self, attribute: str, value: Any) -> Any:
        if value is not None and not callable(value):
            raise TypeError(f"Variable {self.path!r}: {attribute}={value!r}; expected a function of the value, or None.")
        return value

    def constrained(self, value: Any) -> Any:
        """A value as the constraint wants it.

        Raises:
            ShapeError: where the constraint gives another shape.
        """
        if self._constraint is None:
            return value
        made = self._constraint(value)
        if tuple(np.shape(made)) != self.shape:
            raise ShapeError(
                f"Variable {self.path!r}: its constraint {self._constraint!r} gave a value of shape {tuple(np.shape(made))}; "
                f"expected {self.shape}, as it got."
            )
        return made

    def penalty(self) -> Any:
        """What the regularizer adds to the loss.

        Raises:
            ShapeError: where it gives no single number.
        """
        assert self._regularizer is not None
        with jax.named_scope(f"regularizer:{self.path}"):  # profiles and errors name it
            penalty = self._regularizer(self.read())
        if np.shape(penalty):
            raise ShapeError(
                f"Variable {self.path!r}: its regularizer {self._regularizer!r} gave a value of shape {tuple(np.shape(penalty))}; "
                "expected one number: sum it."
            )
        return penalty

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def T(self) -> Any:
        """The transposed value."""
        return self.value.T

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(jax.Array, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.value, name)  # reshape, sum, at … as an array has them

    def __repr__(self) -> str:
        return f"<Variable path={self.path} shape={self.shape} dtype={self.own_dtype} trainable={self.trainable}>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"Variable {self.path!r} is a scalar and has no length.")
        return self.shape[0]

    def __iter__(self) -> Any:
        return iter(self.value)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def _number(self, kind: Callable) -> Any:
        return kind(self.__array__().reshape(()))

    def __float__(self) -> float:
        return self._number(float)

    def __int__(self) -> int:
        return self._number(int)

    def __index__(self) -> int:
        return operator.index(self.__array__().reshape(()))

    def __bool__(self) -> bool:
        return self._number(bool)

    __hash__ = object.__hash__


def _own_copy(value: Any, dtype: Any) -> jax.Array:
    """An array that nobody else holds: the caller may change or keep what it gave, a program may donate this one."""
    if isinstance(value, jax.Array):
        return jnp.array(value, dtype=dtype, copy=True)
    array = np.array(value, dtype=None if dtype is None else jnp.dtype(dtype))
    return jax.device_put(array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False))  # compiles nothing


def _compute(name: str, *operands: Any) -> Any:
    """Operators act on the value, as those of arrays do; ``==`` stays identity, so that variables can be keys."""
    return operators.FUNCTIONS[name](*map(_plain, operands))


def _plain(other: Any) -> Any:
    return other.value if isinstance(other, Variable) else other


operators.install(Variable, _compute)
jax_compat.register_array_type(Variable, lambda v: v.value, lambda v: (v.shape, v.dtype))
