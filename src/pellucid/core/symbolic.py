"""Symbolic tensors: what ``Input`` gives and what layers and ops make of it, before there are any values.

``Model(inputs, outputs)`` looks back from its outputs along the steps that made them, and runs the same steps when it is called.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.core import explain, jax_compat, masks, operators
from pellucid.errors import CaptureError


@dataclasses.dataclass(eq=False)
class Step:
    """One application of a layer or a function to symbolic tensors.

    Attributes:
        function: a layer, or a function of arrays.
        args, kwargs: what it is applied to; structures that hold symbolic tensors among other values.
        run: computes the outputs from actual arguments.
        origin: where the user's code stood.
        outputs: structure of the symbolic tensors that it gives.
    """

    function: Any
    args: tuple
    kwargs: dict
    run: Callable[[Step, tuple, dict], Any]
    origin: Any = None
    outputs: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """What ``copy.deepcopy`` and ``pickle`` take. JAX's functions go by their names here; a stack of calls is of this process."""
        known = (name for name, function in _named_functions() if function is self.function)
        name = next(known, None)
        return {**vars(self), "function": self.function if name is None else _Name(name), "origin": None}

    def __setstate__(self, given: dict[str, Any]) -> None:
        vars(self).update(given, origin=jax_compat.here())
        if isinstance(self.function, _Name):
            self.function = dict(_named_functions())[self.function]
        SymbolicTensor.exist = True

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic tensors among the arguments."""
        return [leaf for leaf in jax.tree.leaves((self.args, self.kwargs)) if isinstance(leaf, SymbolicTensor)]

    def give(self, tree: Any, avals: Sequence[Any]) -> Any:
        """Makes the outputs: symbolic tensors in a structure, with the shapes and data types of abstract values."""
        self.outputs = jax.tree.unflatten(tree, [SymbolicTensor(a.shape, a.dtype, self) for a in avals])
        return self.outputs


class _Name(str):
    """Stands for a function in a copy."""


class Steps:
    """The calls of a layer on symbolic tensors: the newest one, and those whose tensors or networks somebody holds.

    A layer that many models share would otherwise keep all that was ever made of it.
    """

    def __init__(self) -> None:
        self._alive: weakref.WeakSet[Step] = weakref.WeakSet()
        self._newest: Step | None = None

    def add(self, step: Step) -> None:
        self._alive.add(step)
        self._newest = step

    def remove(self, step: Step) -> None:
        self._alive.remove(step)
        self._newest = None if self._newest is step else self._newest

    def all(self) -> list[Step]:
        """In no order."""
        return list(self._alive)


class SymbolicTensor:
    """A value that does not exist yet: it has a shape, with None for the batch and other open sizes, and a data type.

    Layers, the functions of ``pellucid.ops`` and plain operators take it. What they give is symbolic, too.

    Args:
        shape: numbers, and None or a symbolic size for what is open. Open sizes of inputs are the same in the same axis.
        dtype: data type.
        step: that makes it, None for an input.
        name: of an input.
    """

    exist = False  # most programs make none, and need not look for them in every call

    def __init__(self, shape: tuple, dtype: Any = "float32", step: Step | None = None, name: str | None = None):
        SymbolicTensor.exist = True
        self.sizes = tuple(_symbol_of(axis) if size is None else size for axis, size in enumerate(shape))
        self.shape = jax_compat.open_shape(self.sizes)
        self.dtype, self.step, self.name = jax.dtypes.canonicalize_dtype(dtype), step, name

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "sizes": tuple(size if isinstance(size, int) else str(size) for size in self.sizes)}

    def __setstate__(self, given: dict[str, Any]) -> None:
        sizes = tuple(jax_compat.open_symbol(size) if isinstance(size, str) else size for size in given["sizes"])
        vars(self).update(given, sizes=sizes)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape} dtype={self.dtype}{f' name={self.name}' if self.name else ''}>"

    def __getitem__(self, index: Any) -> Any:
        return apply(_getitem, (self, index), {})

    def _no_value(self, *_: Any) -> Any:
        raise CaptureError(  # JAX would put another message in the place of a TypeError
            f"{self!r} has no value yet, so that Python, NumPy and jax.numpy cannot use it. Use pellucid.ops in place of jax.numpy, "
            "or put the code into the `call` of a layer."
        )

    __bool__ = __int__ = __float__ = __index__ = __iter__ = __len__ = __array__ = _no_value

    __hash__ = object.__hash__


def _getitem(x: Any, index: Any) -> Any:
    return x[index]


_FULL_NAMES = {
    **{"sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide", "pow": "power", "lt": "less"},
    **{"le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal", "and": "bitwise_and"},
    **{"or": "bitwise_or", "xor": "bitwise_xor", "neg": "negative", "abs": "absolute", "invert": "bitwise_invert"},
}
_FUNCTIONS: dict[str, Callable] = {
    **{"add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "truediv": jnp.true_divide, "floordiv": jnp.floor_divide},
    **{"mod": jnp.mod, "pow": jnp.power, "matmul": jnp.matmul, "lt": jnp.less, "le": jnp.less_equal, "gt": jnp.greater},
    **{"ge": jnp.greater_equal, "eq": jnp.equal, "ne": jnp.not_equal, "and": jnp.bitwise_and, "or": jnp.bitwise_or},
    **{"xor": jnp.bitwise_xor, "neg": jnp.negative, "abs": jnp.abs, "invert": jnp.invert},
}
# by the names that their functions have in Keras
OPERATORS: dict[str, Callable] = {"get_item": _getitem, **{_FULL_NAMES.get(name, name): f for name, f in _FUNCTIONS.items()}}
operators.install(SymbolicTensor, lambda name, *operands: apply(_FUNCTIONS[name], operands, {}), _FUNCTIONS)
jax_compat.register_array_type(SymbolicTensor, SymbolicTensor._no_value, SymbolicTensor._no_value)  # our error, not JAX's


_accepting: dict[str, Callable] = {}  # the functions of arrays that take symbolic tensors as well


def _named_functions() -> list[tuple[str, Callable]]:
    return [*((f"operator {name}", function) for name, function in OPERATORS.items()), *_accepting.items()]


def is_symbolic(tree: Any) -> bool:
    """Whether a structure holds a symbolic tensor."""
    return SymbolicTensor.exist and any(isinstance(leaf, SymbolicTensor) for leaf in jax.tree.leaves(tree))


@explain.filtered
def apply(function: Callable, args: tuple, kwargs: dict, origin: Any = None) -> Any:
    """What a function of arrays gives for symbolic tensors: symbolic ones again.

    Args:
        function: of arrays.
        args, kwargs: what it is applied to.
        origin: the stack of calls that the equations shall tell, by default this one.
    """
    step = Step(function, args, kwargs, _run_function, jax_compat.here() if origin is None else origin)
    leaves, taken = jax.tree.flatten((args, kwargs))
    at = [i for i, leaf in enumerate(leaves) if isinstance(leaf, SymbolicTensor)]

    def on_arrays(*arrays: Any) -> Any:
        filled = list(leaves)
        for i, array in zip(at, arrays, strict=True):
            filled[i] = array
        args, kwargs = jax.tree.unflatten(taken, filled)
        return function(*args, **kwargs)

    try:
        avals, tree = jax.tree.flatten(jax.eval_shape(on_arrays, *(spec(leaves[i]) for i in at)))
    except jax.errors.ConcretizationTypeError:
        raise CaptureError(
            f"{getattr(function, '__name__', function)} needs a value where it got {leaves[at[0]]!r}, which has none yet. Put the "
            "code into the `call` of a layer: x.shape has the sizes there."
        ) from None
    except Exception as error:
        place = jax_compat.user_place(sys._getframe(1), error)
        explain.add_notes(error, f"in {getattr(function, '__name__', function)} of {[leaves[i] for i in at]}", place)
        raise
    made = step.give(tree, avals)
    return masks.merged(made, (args, kwargs)) if getattr(function, "keeps_masks", False) else made


def _run_function(step: Step, args: tuple, kwargs: dict) -> Any:
    with jax_compat.standing_at(step.origin):
        return step.function(*args, **kwargs)


def accepting_symbols(function: Callable, keeps_masks: bool = False) -> Callable:
    """The same function, that takes symbolic tensors as well.

    Args:
        function: of arrays.
        keeps_masks: whether it is elementwise, so that what it gives has the mask of what it takes.
    """
    if hasattr(function, "takes_symbols"):
        return function
    function = masks.keeping(function) if keeps_masks else function

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return apply(function, args, kwargs) if is_symbolic((args, kwargs)) else function(*args, **kwargs)

    wrapped.takes_symbols = True  # type: ignore[attr-defined]
    _accepting.setdefault(f"{function.__module__}.{function.__name__}", function)
    return wrapped


def tensors_of_shapes(shapes: Any, dtype: Any) -> Any:
    """Symbolic tensors for a structure of shapes; a symbolic size in one is open."""
    if isinstance(shapes, dict):
        return {name: tensors_of_shapes(inner, dtype) for name, inner in shapes.items()}
    if all(d is None or isinstance(d, int | np.integer | jax_compat.SymbolicSize) for d in shapes):
        return SymbolicTensor(jax_compat.open_shape(shapes), dtype)
    return [tensors_of_shapes(inner, dtype) for inner in shapes]


def spec(tensor: SymbolicTensor) -> jax.ShapeDtypeStruct:
    """Shape and data type of a symbolic tensor for JAX, with symbols for the batch and other open sizes."""
    return jax.ShapeDtypeStruct(tensor.sizes, tensor.dtype)


def _symbol_of(axis: int) -> Any:
    return jax_compat.open_symbol("batch" if axis == 0 else "length" if axis == 1 else f"length_{axis}")
