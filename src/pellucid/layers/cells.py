"""Cells of recurrent layers: what happens in one step of time."""

from __future__ import annotations

import contextlib
import contextvars
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from pellucid import activations, constraints, initializers, random, regularizers
from pellucid.core.arguments import size_of_axis
from pellucid.core.checks import check_whole
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.core.mode import by_training
from pellucid.layers.activation import is_library_function
from pellucid.ops import control, recurrent

_NONE: Mapping[Cell, tuple] = types.MappingProxyType({})
_drawn: contextvars.ContextVar[Mapping[Cell, tuple]] = contextvars.ContextVar("pellucid_dropout_of_sequence", default=_NONE)


class Cell(Layer):
    """What the built-in cells share. A subclass names its function of a sequence, its number of gates and that function's options."""

    input_spec = InputSpec(ndim=2)

    sequence: Callable  # of ``ops.recurrent``
    gates = 1
    states = 1
    options: tuple[str, ...] = ("activation",)
    always_by_gates = False

    def __init__(self, *, implementation: int = 2, **layer_args: Any):  # of Keras: a choice of speed, which is none here
        super().__init__(**layer_args)

    def _keep(self, given: dict[str, Any]) -> None:
        """Makes attributes of the arguments of a subclass, as what each is by the last word of its name."""
        for name in [n for n in given if n not in ("self", "layer_args", "__class__")]:
            setattr(self, name, _AS.get(name.rpartition("_")[2], _same)(type(self).__name__, name, given[name]))
        self.seed_generator = random.SeedGenerator(self.seed) if self.dropout or self.recurrent_dropout else None

    units: int
    use_bias: bool
    activation: Callable
    dropout: float
    recurrent_dropout: float
    seed: int | None

    @property
    def state_size(self) -> Any:
        """Sizes of the states."""
        return self.units if self.states == 1 else [self.units] * self.states

    @property
    def output_size(self) -> int:
        """Size of the output."""
        return self.units

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros for each state."""
        return [jnp.zeros((batch_size, self.units), self.compute_dtype) for _ in range(self.states)]

    def build(self, input_shape: Any) -> None:
        width, features = self.gates * self.units, size_of_axis(self, input_shape)
        self.input_spec = InputSpec(ndim=2, axes={-1: features})
        self.kernel = self._weight("kernel", (features, width))
        self.recurrent_kernel = self._weight("recurrent_kernel", (self.units, width))
        self.bias = self._weight("bias", self._bias_shape()) if self.use_bias else None

    def _bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def _initializer(self, kind: str) -> Callable:
        return getattr(self, f"{kind}_initializer")

    def _weight(self, name: str, shape: tuple[int, ...]) -> Any:
        kind = name.removesuffix("_kernel")
        own = {option: getattr(self, f"{kind}_{option}") for option in ("regularizer", "constraint")}
        return self.add_weight(shape, self._initializer(kind), name=name, **own)

    def call(self, inputs: Any, states: Any, training: Any = False) -> tuple[Any, Any]:
        several = isinstance(states, list | tuple)
        before = list(states) if several else [states]
        factors = _drawn.get().get(self) or self.factors(inputs.shape[0], training)
        new = recurrent.one_step(type(self).sequence, inputs, before, self._arrays(), factors, **self._options())
        return new[0], new if several else new[0]

    def over_time(self, sequences: Any, states: list, mask: Any, training: Any, **loop: Any) -> recurrent.Sequences:
        """The cell along time, as one function of arrays."""
        function, options = type(self).sequence, self._options()
        if any(callable(value) and not is_library_function(value) for value in options.values()):  # it may read variables
            function, loop = function.__wrapped__, {**loop, "scan": control.scan_steps}  # type: ignore[attr-defined]
        return function(sequences, states, *self._arrays(), mask, self.factors(sequences.shape[0], training), **options, **loop)

    def _arrays(self) -> tuple:
        return self.kernel.value, self.recurrent_kernel.value, None if self.bias is None else self.bias.value

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.options}

    def factors(self, batch_size: Any, training: Any) -> tuple[Any, Any]:
        """What dropout multiplies inputs and states by, the same in each step of a sequence; None where nothing is dropped."""
        own = self.gates > 1 and (self.recurrent_dropout > 0 or self.always_by_gates)  # others for each gate

        def drawn(rate: float, size: tuple[int, ...]) -> Any:
            if not 0 < rate < 1:
                return None
            # rows first, so that padded ones draw nothing that others would have drawn
            shape = (batch_size, *((self.gates,) if own else ()), *size)
            ones = lambda: jnp.ones(shape, self.compute_dtype)
            factors = by_training(training, lambda: random.dropout(ones(), rate, seed=self.seed_generator), ones)
            return jnp.swapaxes(factors, 0, 1) if own else factors

        sizes = self._row_shapes()
        return drawn(self.dropout, sizes[0]), drawn(self.recurrent_dropout, sizes[1])

    def _row_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of a row of the inputs and of a state."""
        return (self.kernel.shape[0],), (self.units,)


def _same(where: str, name: str, value: Any) -> Any:
    return value


_AS: dict[str, Callable] = {
    "units": check_whole,
    "activation": lambda where, name, value: activations.get(value),
    "initializer": lambda where, name, value: initializers.get(value),
    "regularizer": lambda where, name, value: regularizers.get(value),
    "constraint": lambda where, name, value: constraints.get(value),
    "dropout": lambda where, name, value: float(value),  # a rate, as core.made_with has looked
}


@contextlib.contextmanager
def drawn_once(cell: Any, batch_size: Any, training: Any) -> Iterator[None]:
    """Inside, built-in cells multiply by the same factors of dropout in each call: those of one sequence."""
    found = [c for c in cell._flatten_layers() if isinstance(c, Cell) and c.built] if isinstance(cell, Layer) else []
    token = _drawn.set({**_drawn.get(), **{c: c.factors(batch_size, training) for c in found}})
    try:
        yield
    finally:
        _drawn.reset(token)


class SimpleRNNCell(Cell):
    """One step of ``SimpleRNN``: ``h = activation(x @ kernel + h @ recurrent_kernel + bias)``.

    Args:
        units: size of the state and the output.
        activation: name, callable or None.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, (d, units).
        recurrent_initializer: for the recurrent kernel, (units, units).
        bias_initializer: for the bias, (units,).
        kernel_regularizer: penalty on the kernel that is added to the loss; see ``pellucid.regularizers``.
        recurrent_regularizer: likewise, on the recurrent kernel.
        bias_regularizer: likewise, on the bias.
        kernel_constraint: what the kernel keeps after each update; see ``pellucid.constraints``.
        recurrent_constraint: likewise, the recurrent kernel.
        bias_constraint: likewise, the bias.
        dropout: share of the inputs set to zero in training, the same ones in all steps of a sequence.
        recurrent_dropout: likewise, of the state.
        seed: a whole number for draws that repeat.

    Shapes: (batch, d), [(batch, units)] -> (batch, units), [(batch, units)].
    """

    sequence = recurrent.simple_rnn

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self._keep(locals())


class GRUCell(Cell):
    """One step of ``GRU``; see ``ops.recurrent.gru`` for the formula.

    Args:
        units: size of the state and the output.
        activation: of the candidate: name, callable or None.
        recurrent_activation: of the gates.
        use_bias: whether biases are added.
        kernel_initializer: for the kernel, (d, 3 * units).
        recurrent_initializer: for the recurrent kernel, (units, 3 * units).
        bias_initializer: for the bias, (2, 3 * units), or (3 * units,) where the reset comes before the product.
        kernel_regularizer: penalty on the kernel that is added to the loss; see ``pellucid.regularizers``.
        recurrent_regularizer: likewise, on the recurrent kernel.
        bias_regularizer: likewise, on the bias.
        kernel_constraint: what the kernel keeps after each update; see ``pellucid.constraints``.
        recurrent_constraint: likewise, the recurrent kernel.
        bias_constraint: likewise, the bias.
        dropout: share of the inputs set to zero in training, the same ones in all steps of a sequence.
        recurrent_dropout: likewise, of the state, for each gate by itself.
        reset_after: whether the reset gate is applied after the product with the recurrent kernel.
        seed: a whole number for draws that repeat.

    Shapes: (batch, d), [(batch, units)] -> (batch, units), [(batch, units)].
    """

    sequence = recurrent.gru
    gates = 3
    options = ("activation", "recurrent_activation", "reset_after")

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self._keep(locals())

    reset_after: bool

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)


class LongShort(Cell):
    """A cell of long short-term memory of any kind."""

    gates = 4
    states = 2
    options: tuple[str, ...] = ("activation", "recurrent_activation")

    unit_forget_bias: bool
    bias_initializer: Callable

    def _initializer(self, kind: str) -> Callable:
        if kind != "bias" or not self.unit_forget_bias:
            return super()._initializer(kind)
        of, ones = self.bias_initializer, initializers.get("ones")
        parts = ((of, 1), (ones, 1), (of, 2))
        return lambda _, dtype: jnp.concatenate([jnp.asarray(make((n * self.units,), dtype)) for make, n in parts])


class LSTMCell(LongShort):
    """One step of ``LSTM``; see ``ops.recurrent.lstm`` for the formula.

    Args:
        units: size of the states and the output.
        activation: of the candidate and of the carried state: name, callable or None.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: for the kernel, (d, 4 * units).
        recurrent_initializer: for the recurrent kernel, (units, 4 * units).
        bias_initializer: for the bias, (4 * units,).
        unit_forget_bias: whether the bias of the forget gate begins with ones (Jozefowicz et al., ICML 2015).
        kernel_regularizer: penalty on the kernel that is added to the loss; see ``pellucid.regularizers``.
        recurrent_regularizer: likewise, on the recurrent kernel.
        bias_regularizer: likewise, on the bias.
        kernel_constraint: what the kernel keeps after each update; see ``pellucid.constraints``.
        recurrent_constraint: likewise, the recurrent kernel.
        bias_constraint: likewise, the bias.
        dropout: share of the inputs set to zero in training, the same ones in all steps of a sequence.
        recurrent_dropout: likewise, of the output that is fed back, for each gate by itself.
        seed: a whole number for draws that repeat.

    Shapes: (batch, d), [(batch, units), (batch, units)] -> (batch, units), [(batch, units), (batch, units)].
    """

    sequence = recurrent.lstm

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self._keep(locals())
