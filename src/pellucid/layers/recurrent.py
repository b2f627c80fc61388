"""Recurrent layers: a cell along time."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import jax_compat, naming
from pellucid.core.checks import check_flags
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.core.variable import Variable
from pellucid.errors import ShapeError
from pellucid.layers.cells import Cell, GRUCell, LSTMCell, SimpleRNNCell, drawn_once
from pellucid.ops import control, recurrent


class StackedRNNCells(Layer):
    """Cells on top of each other as one cell: the output of each is the input of the next.

    Args:
        cells: list of cells.

    Shapes: (batch, d), states -> (batch, output size of the last cell), states; the states are a list, one item for each cell.
    """

    def __init__(self, cells: list[Any], **layer_args: Any):
        super().__init__(**layer_args)
        for cell in cells:
            _check_cell("StackedRNNCells", cell)
        self.cells = cells

    @property
    def state_size(self) -> list[Any]:
        """Sizes of the cells' states."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """Size of the last cell's output."""
        return _output_size(self.cells[-1])

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """The states that the cells begin with."""
        return [_initial_state(cell, batch_size, self.compute_dtype) for cell in self.cells]

    def build(self, input_shape: Any) -> None:
        for cell in self.cells:
            _build_cell(cell, input_shape)
            input_shape = (input_shape[0], _output_size(cell))

    def call(self, inputs: Any, states: Any, training: Any = False) -> tuple[Any, list[Any]]:
        new = []
        for cell, before in zip(self.cells, states, strict=True):
            inputs, after = _calling(cell)(inputs, before)
            new.append(after)
        return inputs, new

    def over_time(self, sequences: Any, states: list, mask: Any, training: Any, **loop: Any) -> recurrent.Sequences:
        """The cells along time, each as one function of arrays."""
        if loop.pop("go_backwards", False):
            sequences, mask = (None if x is None else jnp.flip(x, 1) for x in (sequences, mask))
        inner = {"unroll": loop.get("unroll", False), "return_sequences": True}
        new = []
        for cell, before in zip(self.cells, states, strict=True):
            options = loop if cell is self.cells[-1] else inner
            last, sequences, after = cell.over_time(sequences, list(before), mask, training, **options)
            new.append(after)
        return last, sequences, new


class RNN(Layer):
    """A cell along time: ``output, states = cell(x, states)`` for each step of a sequence.

    Where the mask is False, states and output stay what they were.

    Args:
        cell: a cell, or a list of cells to stack. It has ``call(inputs, states)``, which returns (output, new states), and
            ``state_size``, a whole number or a list of them; it may have ``output_size``, ``get_initial_state(batch_size)``, weights,
            nested layers and state that it assigns.
        return_sequences: whether the outputs of all steps are returned, instead of the last one.
        return_state: whether the last states are returned after the output.
        go_backwards: whether it begins with the last step. Outputs are in the order in which they are computed.
        stateful: whether a batch begins with the states that the batch before ended with. All batches are of one size then.
        unroll: whether steps are compiled one after the other instead of as a loop; for short sequences.
        zero_output_for_mask: whether outputs are zero where the mask is False.

    Shapes: (batch, time, ...) -> (batch, output size), or (batch, time, output size) with ``return_sequences``.

    Example:
        >>> import numpy as np, pellucid
        >>> layer = pellucid.layers.RNN(pellucid.layers.GRUCell(4), return_sequences=True)
        >>> layer(np.ones((2, 5, 3), "float32")).shape
        (2, 5, 4)
    """

    _takes = "arrays"

    supports_masking = True

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        cell = StackedRNNCells(list(cell)) if isinstance(cell, list | tuple) else cell
        _check_cell(type(self).__name__, cell)
        check_flags(
            type(self).__name__,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
        )
        self.cell = cell
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful, self.unroll = go_backwards, stateful, unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.states: Any = None

    @property
    def couples_rows(self) -> bool:
        """Whether a row of one batch meets one of another."""
        return self.stateful

    @property
    def state_size(self) -> list[Any]:
        """Sizes of the states."""
        size = self.cell.state_size
        return list(size) if isinstance(size, list | tuple) else [size]

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        if len(sequences_shape) < 3:
            raise ShapeError(
                f"{type(self).__name__} {self.path!r} got inputs of shape {tuple(sequences_shape)}; expected (batch, time, features)."
            )
        _build_cell(self.cell, (sequences_shape[0], *sequences_shape[2:]))
        if _is_built_in(self.cell, self.compute_dtype) and len(sequences_shape) == 3:
            self.input_spec = InputSpec(ndim=3, axes={-1: sequences_shape[-1]})
        if self.stateful:
            self._make_states(sequences_shape[0])

    def _make_states(self, batch_size: Any) -> None:
        if batch_size is None:
            raise jax_compat.InconclusiveSize(
                f"{type(self).__name__} {self.path!r} is stateful, and keeps a state for each row: the batch size must be known. Build it "
                "for a shape with a batch size, or call it on data."
            )
        with jax.ensure_compile_time_eval():
            first = self.get_initial_state(batch_size)
        self.states = jax.tree.map(lambda s: Variable(s, dtype=self.variable_dtype, trainable=False, name="rnn_state"), first)
        for variable in jax.tree.leaves(self.states):
            variable.transient = True  # no weight: it is not saved

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """The states that a sequence begins with: the cell's own, or zeros."""
        states = _initial_state(self.cell, batch_size, self.compute_dtype)
        return list(states) if isinstance(states, list | tuple) else [states]

    def reset_state(self) -> None:
        """Sets the states of a stateful layer to zero."""
        for variable in jax.tree.leaves(self.states):
            variable.assign(jnp.zeros(variable.shape, variable.own_dtype))

    def reset_states(self) -> None:
        """As ``reset_state``."""
        self.reset_state()

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        leaves = jax.tree.leaves(previous_mask)
        mask = leaves[0] if leaves and self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False) -> Any:
        if isinstance(sequences.shape[1], int) and not sequences.shape[1]:
            raise ShapeError(
                f"{type(self).__name__} {self.path!r} got sequences of shape {tuple(sequences.shape)}; expected a step or more."
            )
        states = self._states_before(sequences.shape[0], initial_state)
        last, outputs, states = self._over_time(sequences, states, mask, training)
        cast = lambda y: y.astype(self.compute_dtype)
        if self.stateful:
            for variable, state in zip(jax.tree.leaves(self.states), jax.tree.leaves(states), strict=True):
                variable.assign(state)
        output = cast(outputs if self.return_sequences else last)
        return (output, *jax.tree.map(cast, states)) if self.return_state else output

    def _states_before(self, batch_size: Any, initial_state: Any) -> list[Any]:
        if self.stateful:
            kept = jax.tree.leaves(self.states)[0].shape[0]
            if isinstance(batch_size, jax_compat.SymbolicSize):
                raise jax_compat.InconclusiveSize(f"{type(self).__name__} {self.path!r} is stateful: its batch size is fixed")
            if batch_size != kept:
                raise ShapeError(
                    f"{type(self).__name__} {self.path!r} is stateful, keeps the states of {kept} rows and got {batch_size}; expected "
                    f"batches of {kept}. Leave out the rest of the data, or make a layer for the other size that has the same weights."
                )
        if initial_state is None:
            initial_state = self.get_initial_state(batch_size) if not self.stateful else self.states
        states = list(initial_state) if isinstance(initial_state, list | tuple) else [initial_state]
        dtype = getattr(self.cell, "compute_dtype", self.compute_dtype)
        return jax.tree.map(lambda s: jnp.asarray(s, dtype), states)

    def _over_time(self, sequences: Any, states: list, mask: Any, training: Any) -> recurrent.Sequences:
        loop = {name: getattr(self, name) for name in ("return_sequences", "go_backwards", "unroll", "zero_output_for_mask")}
        if _is_built_in(self.cell, self.compute_dtype):
            return self.cell.over_time(sequences, states, mask, training, **loop)
        step = _calling(self.cell)
        with drawn_once(self.cell, sequences.shape[0], training):
            before = None if mask is None else self._output_before(states)
            return recurrent.over_time(step, sequences, states, mask, before, scan=control.scan_steps, **loop)

    def _output_before(self, states: list) -> Any:
        """What the output is before the first step: the (last cell's) first state where that may be it, else zeros."""
        first = jax.tree.leaves(states[-1])[0] if isinstance(states[0], list | tuple) else states[0]
        size = _output_size(self.cell)
        size = tuple(size) if isinstance(size, list | tuple) else (size,)
        return first if tuple(first.shape[1:]) == size else jnp.zeros((first.shape[0], *size), first.dtype)


def _check_cell(where: str, cell: Any) -> None:
    for name, meaning in (("call", "method `call(inputs, states)`"), ("state_size", "attribute `state_size`, the size of its state")):
        if not hasattr(cell, name):
            raise ValueError(f"{where}: cell={cell!r} has no {meaning}; expected a cell, such as GRUCell(32), with both.")


def _output_size(cell: Any) -> Any:
    size = getattr(cell, "output_size", None)
    if size is None:
        size = cell.state_size
        size = size[0] if isinstance(size, list | tuple) else size
    return size


def _initial_state(cell: Any, batch_size: Any, dtype: Any) -> Any:
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    sizes = cell.state_size if isinstance(cell.state_size, list | tuple) else [cell.state_size]
    return [jnp.zeros((batch_size, size), getattr(cell, "compute_dtype", dtype)) for size in sizes]


def _build_cell(cell: Any, input_shape: Any) -> None:
    """Makes the cell's weights, where it has a ``build``; what it builds when it is called is built in the first step."""
    if isinstance(cell, Layer) and not cell.built and type(cell).build is not Layer.build:
        cell.build(input_shape)


def _calling(cell: Any) -> Any:
    return cell if callable(cell) else cell.call


def _is_built_in(cell: Any, dtype: str) -> bool:
    """Whether a cell is one of the library's, as it is, that computes in a type: then its sequences are one function."""
    if isinstance(cell, StackedRNNCells):
        return type(cell).call is StackedRNNCells.call and all(_is_built_in(c, dtype) for c in cell.cells)
    return isinstance(cell, Cell) and type(cell).call is Cell.call and cell.compute_dtype == dtype


class OfCell(RNN):
    """A recurrent layer of a built-in cell, whose arguments are its own, too."""

    _takes = "array"
    input_spec = InputSpec(ndim=3)

    def __init_subclass__(cls, cell: type[Cell] | None = None, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in _arguments(cell) if cell else ():
            setattr(cls, name, property(operator.attrgetter(f"cell.{name}"), doc="As of the cell."))

    def get_config(self) -> dict[str, Any]:
        return self._config(without=("use_cudnn",))


def _arguments(cls: type) -> list[str]:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]


def with_cell(cls: type[Cell], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``RNN`` for those of a layer of a built-in cell."""
    if given.get("use_cudnn", "auto") not in ("auto", False):
        raise ValueError(f"use_cudnn={given['use_cudnn']!r}; expected 'auto' or False: XLA compiles the loop.")
    others = {name: value for name, value in given["layer_args"].items() if name != "implementation"}
    shared = {"name": naming.snake_case(cls.__name__), **{name: others[name] for name in ("dtype", "trainable") if name in others}}
    cell = cls(**{name: given[name] for name in _arguments(cls)}, **shared)
    others["activity_regularizer"] = given["activity_regularizer"]
    return {"cell": cell, **{name: given[name] for name in _arguments(RNN) if name in given}, **others}


class SimpleRNN(OfCell, cell=SimpleRNNCell):
    """``h = activation(x @ kernel + h @ recurrent_kernel + bias)`` along time; see ``SimpleRNNCell`` and ``RNN`` for the arguments.

    Shapes: (batch, time, d) -> (batch, units), or (batch, time, units) with ``return_sequences``.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.SimpleRNN(4)(np.ones((2, 5, 3), "float32")).shape
        (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        *,
        zero_output_for_mask: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**with_cell(SimpleRNNCell, locals()))


class GRU(OfCell, cell=GRUCell):
    """A gated recurrent unit along time; see ``GRUCell`` and ``RNN`` for the arguments, ``ops.recurrent.gru`` for the formula.

    Shapes: (batch, time, d) -> (batch, units), or (batch, time, units) with ``return_sequences``.

    Example:
        >>> import numpy as np, pellucid
        >>> y, state = pellucid.layers.GRU(4, return_sequences=True, return_state=True)(np.ones((2, 5, 3), "float32"))
        >>> y.shape, state.shape
        ((2, 5, 4), (2, 4))
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        *,
        zero_output_for_mask: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**with_cell(GRUCell, locals()))


class LSTM(OfCell, cell=LSTMCell):
    """Long short-term memory along time; see ``LSTMCell`` and ``RNN`` for the arguments, ``ops.recurrent.lstm`` for the formula.

    Shapes: (batch, time, d) -> (batch, units), or (batch, time, units) with ``return_sequences``.

    Example:
        >>> import numpy as np, pellucid
        >>> y, h, c = pellucid.layers.LSTM(4, return_state=True)(np.ones((2, 5, 3), "float32"))
        >>> y.shape, h.shape, c.shape
        ((2, 4), (2, 4), (2, 4))
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        *,
        zero_output_for_mask: bool = False,
        **layer_args: Any,
    ):
        super().__init__(**with_cell(LSTMCell, locals()))
