"""Products of arrays with a kernel, along any axes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from pellucid import activations, initializers
from pellucid.core.input_spec import InputSpec
from pellucid.core.layer import Layer
from pellucid.errors import ShapeError
from pellucid.layers.weights import add_weight, keep_options
from pellucid.ops.products import einsum_with_kernel

_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


class EinsumDense(Layer):
    """``y = activation(einsum(equation, x, kernel) + bias)``.

    Args:
        equation: of the product, such as "abc,cd->abd", "...x,xy->...y" or "ab...,bc->ac...".
        output_shape: the sizes of the output behind the batch (one number for one axis), without those that ``...`` stands for; None
            for a size that is not known.
        activation: name, callable or None.
        bias_axes: the letters of the output's axes along which the bias has values of their own, such as "d"; None for no bias.
        kernel_initializer: for the kernel.
        bias_initializer: for the bias.
        kernel_regularizer: the penalty on the kernel; see ``pellucid.regularizers``.
        bias_regularizer: likewise, on the bias.
        kernel_constraint: what the kernel keeps after each update; see ``pellucid.constraints``.
        bias_constraint: likewise, the bias.

    Example:
        >>> import numpy as np, pellucid
        >>> pellucid.layers.EinsumDense("abc,cd->abd", output_shape=(None, 64), bias_axes="d")(np.ones((2, 32, 8), "float32")).shape
        (2, 32, 64)
    """

    input_spec = InputSpec(min_ndim=1)

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **layer_args: Any,
    ):
        super().__init__(**layer_args)
        self.equation, self.bias_axes = equation, bias_axes
        _parts(equation)
        self.partial_output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        self.activation = activations.get(activation)
        kernel = kernel_initializer, kernel_regularizer, kernel_constraint
        keep_options(self, kernel=kernel, bias=(bias_initializer, bias_regularizer, bias_constraint))

    def build(self, input_shape: Any) -> None:
        shapes = weight_shapes(self.equation, input_shape, self.partial_output_shape, self.bias_axes)
        options: dict[str, Any] = {}
        initializer = getattr(self, "kernel_initializer")  # noqa: B009
        if isinstance(initializer, initializers.VarianceScaling) and initializer.input_axes is None:
            axes = {"input_axes": shapes.input_axes, "output_axes": shapes.output_axes}
            options["initializer"] = type(initializer).from_config({**initializer.get_config(), **axes})
        self.kernel = add_weight(self, "kernel", shapes.kernel, **options)
        self.bias = None if shapes.bias is None else add_weight(self, "bias", shapes.bias)

    def call(self, inputs: Any) -> Any:
        y = einsum_with_kernel(self.equation, inputs, self.kernel.value)
        return self.activation(y if self.bias is None else y + self.bias.value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output_shape": self.partial_output_shape}


@dataclasses.dataclass(frozen=True)
class Shapes:
    """The shapes of kernel and bias, and which of the kernel's axes are summed over (the inputs of a unit) or kept (units)."""

    kernel: tuple[int, ...]
    bias: tuple[int, ...] | None
    input_axes: tuple[int, ...]
    output_axes: tuple[int, ...]


def weight_shapes(equation: str, input_shape: Sequence, output_shape: Sequence, bias_axes: str | None) -> Shapes:
    """What an equation says of the weights.

    Args:
        equation: of the product.
        input_shape: with the batch.
        output_shape: without the batch, and without what ``...`` stands for.
        bias_axes: letters of the output, or None.

    Example:
        >>> from pellucid.layers.einsum_dense import weight_shapes
        >>> weight_shapes("abc,cde->abde", (None, 7, 8), (None, 2, 4), "de")
        Shapes(kernel=(8, 2, 4), bias=(2, 4), input_axes=(0,), output_axes=(1, 2))
    """
    left, inputs, kernel, outputs = _parts(equation)
    where = f"EinsumDense: equation={equation!r} with inputs of shape {tuple(input_shape)} and output_shape={tuple(output_shape)}"
    hidden = len(input_shape) - len(inputs)  # axes that `...` stands for
    of_input = dict(zip(inputs, input_shape[hidden:] if left else input_shape, strict=False))
    of_output = dict(zip(outputs, output_shape if left and hidden else (input_shape[0], *output_shape), strict=False))
    if hidden < 0 or len(of_output) < len(outputs) or (hidden and "..." not in equation):
        raise ShapeError(f"{where}: the numbers of axes do not fit.")
    for letter in outputs:
        if letter not in inputs and letter not in kernel:
            raise ValueError(f"{where}: the output's axis {letter!r} is none of the inputs or the kernel.")
        size, known = of_output[letter], of_input.get(letter)
        if size is not None and known is not None and size != known:
            raise ShapeError(f"{where}: the axis {letter!r} has size {known} in the inputs and {size} in the outputs.")
    sizes = {}
    for letter in kernel:
        if letter not in of_output and letter not in of_input:
            raise ValueError(f"{where}: the kernel's axis {letter!r} is none of the inputs or outputs.")
        sizes[letter] = of_output[letter] if letter in of_output else of_input[letter]
        if sizes[letter] is None:
            raise ShapeError(f"{where}: the size of the kernel's axis {letter!r} is not known.")
    kept = tuple(i for i, letter in enumerate(kernel) if letter in outputs)
    bias = None if bias_axes is None else _bias_shape(where, bias_axes, outputs, of_output, 0 if left else hidden)
    return Shapes(tuple(sizes.values()), bias, tuple(i for i in range(len(kernel)) if i not in kept), kept)


def _bias_shape(where: str, bias_axes: str, outputs: str, sizes: dict[str, Any], behind: int) -> tuple[int, ...]:
    unknown = next((letter for letter in bias_axes if letter not in outputs), None)
    if unknown is not None:
        raise ValueError(f"{where}: bias_axes={bias_axes!r} has {unknown!r}, which is no axis of the output.")
    first = min(outputs.index(letter) for letter in bias_axes)
    shape = (*(sizes[letter] if letter in bias_axes else 1 for letter in outputs[first:]), *(1,) * behind)
    if None in shape:
        raise ShapeError(f"{where}: bias_axes={bias_axes!r} has an axis whose size is not known.")
    return shape


def _parts(equation: str) -> tuple[bool, str, str, str]:
    """(whether ``...`` is on the left, letters of inputs, of kernel, of outputs)"""
    found = _EQUATION.fullmatch(equation)
    dots = found and (found[1], found[3]) == (found[5], found[7]) and not (found[1] and found[3])
    if found is None or not dots:
        raise ValueError(f"EinsumDense: equation={equation!r}; expected the form 'ab,bc->ac', '...b,bc->...c' or 'ab...,bc->ac...'.")
    return bool(found[1]), found[2], found[4], found[6]
