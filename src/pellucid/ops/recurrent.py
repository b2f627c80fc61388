"""Recurrence: one loop over time for all layers, and the sequences of the built-in cells as functions of arrays.

A step is ``step(x, states) -> (output, new states)``. Where ``output`` is None it is the first of the new states, as in all
built-in cells: nothing need be kept twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pellucid.core import jax_compat
from pellucid.core.equation import equation
from pellucid.core.forms import own_form
from pellucid.errors import ShapeError
from pellucid.ops import convolution, loops
from pellucid.ops.products import product

Step = Callable[[Any, Any], tuple[Any, Any]]
Sequences = tuple[Any, Any, Any]  # last output, all outputs or None, last states


def over_time(
    step: Step,
    inputs: Any,
    states: Any,
    mask: Any = None,
    first_output: Any = None,
    *,
    return_sequences: bool = False,
    go_backwards: bool = False,
    unroll: bool = False,
    zero_output_for_mask: bool = False,
    scan: Callable | None = None,
) -> Sequences:
    """``output, states = step(x, states)`` along the second axis of the inputs, step after step.

    Where the mask is False, the states stay what they were, and so does the output.

    Args:
        step: see above; the new states have the structure of the old ones. It is traced once.
        inputs: structure of arrays (batch, time, ...).
        states: structure of arrays (batch, ...): those to begin with.
        mask: (batch, time), or with further axes of which one True is enough; True where a step is real.
        first_output: what masked steps before the first real one give; zeros where it is None and the steps give outputs.
        return_sequences: whether the outputs of all steps are wanted.
        go_backwards: begin with the last step. Outputs are then in the order in which they are computed.
        unroll: compile the steps one after the other, instead of a loop: faster to run and slower to compile.
        zero_output_for_mask: give zeros where the mask is False, instead of the output before.
        scan: the loop; that of a step that may assign variables is ``control.scan_steps``.

    Returns:
        (last output, all outputs (batch, time, ...) or None, last states)

    Example:
        >>> import jax.numpy as jnp
        >>> from pellucid.ops.recurrent import over_time
        >>> last, sums, _ = over_time(lambda x, s: (None, [s[0] + x]), jnp.ones((1, 3)), [jnp.zeros(1)], return_sequences=True)
        >>> last.tolist(), sums.tolist()
        ([3.0], [[1.0, 2.0, 3.0]])
    """
    kept = None if mask is None else _time_first(_of_steps(mask, inputs))
    repeats = kept is not None and first_output is not None and not zero_output_for_mask

    def turn(carry: tuple, slices: tuple) -> tuple:
        (before, previous), (x, real) = carry, slices
        output, new = step(x, before)
        states = _where(real, _like(before, new), before)
        given = jax.tree.leaves(states)[0] if output is None else output
        if zero_output_for_mask:
            given = _where(real, given, jnp.zeros_like(given))
        elif repeats:
            given = _where(real, given.astype(previous.dtype), previous)
        wanted = return_sequences or output is not None or zero_output_for_mask
        return (states, given if repeats else None), (given if wanted else None)

    slices = (jax.tree.map(_time_first, inputs), kept)
    scan = scan or (loops.scan if _takes_own_form(inputs) else jax.lax.scan)
    (states, _), outputs = scan(turn, (states, first_output if repeats else None), slices, reverse=go_backwards, unroll=unroll or 1)
    if outputs is None:
        return jax.tree.leaves(states)[0], None, states
    last = outputs[0 if go_backwards else -1]
    if not return_sequences:
        return last, None, states
    return last, _time_first(jnp.flip(outputs, 0) if go_backwards else outputs), states


def _takes_own_form(inputs: Any) -> bool:
    """Whether the loop takes the form of ``loops``. In a capture, where sizes are symbols, rows are seen to stay apart in the plain one."""
    symbolic = (isinstance(size, jax_compat.SymbolicSize) for x in jax.tree.leaves(inputs) for size in x.shape)
    return own_form("scan") and not any(symbolic)


def _time_first(x: Any) -> Any:
    return jnp.swapaxes(x, 0, 1)


def _of_steps(mask: Any, inputs: Any) -> Any:
    """A mask as booleans (batch, time)."""
    if mask.ndim < 2:
        raise ShapeError(
            f"mask has shape {tuple(mask.shape)}, for inputs of shape {tuple(jax.tree.leaves(inputs)[0].shape)}; expected a boolean "
            "for each row and step, (batch, time)."
        )
    return mask.astype(bool).any(tuple(range(2, mask.ndim)))


def _where(real: Any, now: Any, before: Any) -> Any:
    """What is computed where a row's step is real, else what was before."""
    if real is None:
        return now
    return jax.tree.map(lambda n, b: jnp.where(real.reshape(*real.shape, *(1,) * (n.ndim - 1)), n, b), now, before)


def _like(before: Any, new: Any) -> Any:
    """New states, given in any structure with as many leaves, in the structure and the types of the old ones."""
    leaves, tree = jax.tree.flatten(before)
    given = jax.tree.leaves(new)
    if len(given) != len(leaves):
        raise ValueError(f"a cell returned {len(given)} new states and got {len(leaves)}; expected as many, in the same order.")
    return jax.tree.unflatten(tree, [n.astype(b.dtype) for b, n in zip(leaves, given, strict=True)])


# ---- The built-in cells ----
#
# What an input adds to a step does not depend on the states: one product for all steps, in two dimensions, before the loop.
# A bias is added in the steps, where it costs nothing beside what else is done there: before, it is a pass over the memory.
# Dropout's factors are (batch, size), the same for each step; or (gates, batch, size), others for each gate.


def _of_inputs(x: Any, kernel: Any, factors: Any) -> Any:
    """``(x * factors) @ kernel``, of a step (batch, size) or of all of them (batch, time, size)."""
    first = x.ndim > 2 and _takes_own_form(x)  # the loop has the time first, too: the inputs are narrower to transpose than the product
    x, over = (_time_first(x), 0) if first else (x, 1)
    y = _by_gates(lambda x, f, kernel: product(x if f is None else x * _over_steps(f, x, over), kernel), x, factors, kernel)
    return _time_first(y) if first else y


def _over_steps(factor: Any, x: Any, axis: int = 1) -> Any:
    return jnp.expand_dims(factor, axis) if x.ndim > factor.ndim else factor


def _plus(x: Any, bias: Any) -> Any:
    return x if bias is None else x + bias


def _of_state(state: Any, kernel: Any, factors: Any) -> Any:
    """``(state * factors) @ kernel``"""
    return _by_gates(lambda h, factor, kernel: (h if factor is None else h * factor) @ kernel, state, factors, kernel)


def _by_gates(multiply: Callable, x: Any, factors: Any, kernel: Any, axis: int = -1) -> Any:
    """One product for all gates, or where each has factors of its own, one for each; outputs have the gates in one axis."""
    if factors is None or factors.ndim == kernel.ndim:
        return multiply(x, factors, kernel)
    parts = jnp.split(kernel, len(factors), axis=-1)
    return jnp.concatenate([multiply(x, factor, part) for factor, part in zip(factors, parts, strict=True)], axis=axis)


def _simple_rnn(inputs: Any, kernel: Any, recurrent_kernel: Any, bias: Any, factors: Sequence, *, activation: Callable) -> tuple[Any, Step]:
    of_inputs, of_states = factors

    def step(x: Any, states: list) -> tuple:
        return None, [activation(_plus(x + _of_state(states[0], recurrent_kernel, of_states), bias))]

    return _of_inputs(inputs, kernel, of_inputs), step


def _gru(
    inputs: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    factors: Sequence,
    *,
    activation: Callable,
    recurrent_activation: Callable,
    reset_after: bool,
) -> tuple[Any, Step]:
    of_inputs, of_states = factors
    units = recurrent_kernel.shape[0]
    gates, candidate = recurrent_kernel[:, : 2 * units], recurrent_kernel[:, 2 * units :]
    for_gates, for_candidate = (of_states, of_states) if of_states is None else (of_states[:2], of_states[2])
    bias, recurrent_bias = (bias, None) if bias is None or bias.ndim == 1 else bias
    shift, last_shift = (None, None) if bias is None else (bias[: 2 * units], bias[2 * units :])
    if reset_after and bias is not None:
        recurrent_bias = jnp.zeros_like(bias) if recurrent_bias is None else recurrent_bias
        shift = jnp.concatenate([shift + recurrent_bias[: 2 * units], recurrent_bias[2 * units :]])

    def after(x_z: Any, x_r: Any, h: Any) -> tuple:
        inner = _of_state(h, recurrent_kernel, of_states)
        inner_z, inner_r, inner_c = jnp.split(_plus(inner, shift), 3, axis=1)
        return recurrent_activation(x_z + inner_z), recurrent_activation(x_r + inner_r) * inner_c

    def before(x_z: Any, x_r: Any, h: Any) -> tuple:
        inner_z, inner_r = jnp.split(_plus(_of_state(h, gates, for_gates), shift), 2, axis=1)
        return recurrent_activation(x_z + inner_z), _of_state(recurrent_activation(x_r + inner_r) * h, candidate, for_candidate)

    def step(x: Any, states: list) -> tuple:
        (h,), (x_z, x_r, x_c) = states, jnp.split(x, 3, axis=1)  # splits: the gradient of a slice is padded, four times slower
        z, inner = (after if reset_after else before)(x_z, x_r, h)
        return None, [z * h + (1 - z) * activation(_plus(x_c + inner, last_shift))]

    return _of_inputs(inputs, kernel, of_inputs), step


def _lstm(
    inputs: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    factors: Sequence,
    *,
    activation: Callable,
    recurrent_activation: Callable,
) -> tuple[Any, Step]:
    of_inputs, of_states = factors

    def step(x: Any, states: list) -> tuple:
        gates = _plus(x + _of_state(states[0], recurrent_kernel, of_states), bias)
        return None, _remembered(gates, states[1], activation, recurrent_activation)

    return _of_inputs(inputs, kernel, of_inputs), step


def _remembered(gates: Any, c: Any, activation: Callable, recurrent_activation: Callable, axis: int = -1) -> list:
    """[h, c] after a step of long short-term memory, from its four gates before their activations."""
    i, f, candidate, o = jnp.split(gates, 4, axis=axis)
    c = recurrent_activation(f) * c + recurrent_activation(i) * activation(candidate)
    return [recurrent_activation(o) * activation(c), c]


def _conv_lstm(
    inputs: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    factors: Sequence,
    *,
    activation: Callable,
    recurrent_activation: Callable,
    data_format: str,
    **windows: Any,
) -> tuple[Any, Step]:
    of_inputs, of_states = factors
    axis = -1 if data_format == "channels_last" else 1

    def convolved(x: Any, factor: Any, kernel: Any) -> Any:
        x = x if factor is None else x * _over_steps(factor, x)
        y = convolution.conv(x.reshape(-1, *x.shape[1 - kernel.ndim :]), kernel, data_format=data_format, **windows)
        return y.reshape(*x.shape[: 1 - kernel.ndim], *y.shape[1:])

    def again(h: Any, factor: Any, kernel: Any) -> Any:
        return convolution.conv(h if factor is None else h * factor, kernel, padding="same", data_format=data_format)

    def step(x: Any, states: list) -> tuple:
        gates = x + _by_gates(again, states[0], of_states, recurrent_kernel, axis)
        return None, _remembered(gates, states[1], activation, recurrent_activation, axis)

    x = _by_gates(convolved, inputs, of_inputs, kernel, axis if axis < 0 else axis + inputs.ndim - kernel.ndim)
    if bias is not None:
        x = x + (bias if axis < 0 else bias.reshape(-1, *(1,) * (kernel.ndim - 2)))
    return x, step


@equation
def simple_rnn(
    inputs: Any,
    states: list,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    mask: Any = None,
    factors: Sequence = (None, None),
    *,
    activation: Callable = jnp.tanh,
    **loop: Any,
) -> Sequences:
    """``h = activation(x @ kernel + h @ recurrent_kernel + bias)`` along time.

    Elman, "Finding structure in time", Cognitive Science 14 (1990).

    Args:
        inputs: (batch, time, d).
        states: [h], (batch, units).
        kernel: (d, units).
        recurrent_kernel: (units, units).
        bias: (units,), or None.
        mask: (batch, time), True where a step is real; see ``over_time``.
        factors: of dropout, for x and for h: (batch, size) or None each.
        activation: function of an array.
        loop: further arguments of ``over_time``.

    Returns:
        (last output, all outputs or None, [h])
    """
    x, step = _simple_rnn(inputs, kernel, recurrent_kernel, bias, factors, activation=activation)
    return over_time(step, x, states, mask, **loop)


@equation
def gru(
    inputs: Any,
    states: list,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    mask: Any = None,
    factors: Sequence = (None, None),
    *,
    activation: Callable = jnp.tanh,
    recurrent_activation: Callable = jax.nn.sigmoid,
    reset_after: bool = True,
    **loop: Any,
) -> Sequences:
    """A gated recurrent unit along time: ``h = z * h + (1 - z) * activation(candidate)``.

    With ``x_z, x_r, x_c = split(x @ kernel + bias)``, ``h_z, h_r, h_c = split(h @ recurrent_kernel + recurrent_bias)`` and
    ``z = sigmoid(x_z + h_z)``, ``r = sigmoid(x_r + h_r)``, the candidate is ``x_c + r * h_c``; where the reset comes before the
    product, it is ``x_c + (r * h) @ recurrent_kernel_c``.

    Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.

    Args:
        inputs: (batch, time, d).
        states: [h], (batch, units).
        kernel: (d, 3 * units).
        recurrent_kernel: (units, 3 * units).
        bias: (2, 3 * units), that of x and that of h; or (3 * units,), that of x; or None.
        mask: (batch, time), True where a step is real; see ``over_time``.
        factors: of dropout, for x, (batch, d) or (3, batch, d), and for h, (3, batch, units); or None.
        activation: of the candidate.
        recurrent_activation: of the gates.
        reset_after: whether the reset comes after the product.
        loop: further arguments of ``over_time``.

    Returns:
        (last output, all outputs or None, [h])
    """
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": recurrent_activation, "reset_after": reset_after}
    x, step = _gru(inputs, kernel, recurrent_kernel, bias, factors, **options)
    return over_time(step, x, states, mask, **loop)


@equation
def lstm(
    inputs: Any,
    states: list,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    mask: Any = None,
    factors: Sequence = (None, None),
    *,
    activation: Callable = jnp.tanh,
    recurrent_activation: Callable = jax.nn.sigmoid,
    **loop: Any,
) -> Sequences:
    """Long short-term memory along time: ``c = f * c + i * activation(candidate)``, ``h = o * activation(c)``.

    With ``i, f, candidate, o = split(x @ kernel + h @ recurrent_kernel + bias)``, the gates i, f and o through a sigmoid.

    Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997).

    Args:
        inputs: (batch, time, d).
        states: [h, c], (batch, units) each.
        kernel: (d, 4 * units).
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,), or None.
        mask: (batch, time), True where a step is real; see ``over_time``.
        factors: of dropout, for x, (batch, d) or (4, batch, d), and for h, (4, batch, units); or None.
        activation: of the candidate and of c.
        recurrent_activation: of the gates.
        loop: further arguments of ``over_time``.

    Returns:
        (last output, all outputs or None, [h, c])
    """
    x, step = _lstm(inputs, kernel, recurrent_kernel, bias, factors, activation=activation, recurrent_activation=recurrent_activation)
    return over_time(step, x, states, mask, **loop)


@equation
def conv_lstm(
    inputs: Any,
    states: list,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    mask: Any = None,
    factors: Sequence = (None, None),
    *,
    activation: Callable = jnp.tanh,
    recurrent_activation: Callable = jax.nn.sigmoid,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = 1,
    **loop: Any,
) -> Sequences:
    """``lstm`` with convolutions in the place of both products. That of the states keeps their size.

    Shi et al., "Convolutional LSTM network", NeurIPS 2015, without its peepholes.

    Args:
        inputs: (batch, time, *space, channels), or with the channels before the space.
        states: [h, c], (batch, *space, filters) each, of the space that the convolution of the inputs leaves.
        kernel: (*window, channels, 4 * filters).
        recurrent_kernel: (*window, filters, 4 * filters).
        bias: (4 * filters,), or None.
        mask: (batch, time), True where a step is real; see ``over_time``.
        factors: of dropout, for x, (4, batch, *space, channels), and for h, likewise; or None.
        activation: of the candidate and of c.
        recurrent_activation: of the gates.
        strides: of the convolution of the inputs, as the next arguments; see ``ops.conv``.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first".
        dilation_rate: distance of a window's elements.
        loop: further arguments of ``over_time``.

    Returns:
        (last output, all outputs or None, [h, c])
    """
    windows = {"strides": strides, "padding": padding, "data_format": data_format, "dilation_rate": dilation_rate}
    options: dict[str, Any] = {"activation": activation, "recurrent_activation": recurrent_activation, **windows}
    x, step = _conv_lstm(inputs, kernel, recurrent_kernel, bias, factors, **options)
    return over_time(step, x, states, mask, **loop)


def one_step(sequence: Callable, inputs: Any, states: list, weights: Sequence, factors: Sequence, **options: Any) -> list:
    """The new states after one step of ``simple_rnn``, ``gru`` or ``lstm``, of inputs (batch, d); weights as these take them."""
    x, step = _STEPS[sequence](inputs, *weights, factors, **options)
    return step(x, states)[1]


_STEPS: dict[Callable, Callable] = {simple_rnn: _simple_rnn, gru: _gru, lstm: _lstm, conv_lstm: _conv_lstm}
