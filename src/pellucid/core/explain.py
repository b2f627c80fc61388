"""What an error says beyond its message: the user's line, one sentence of advice, and no frames but the user's."""

from __future__ import annotations

import contextlib
import functools
import importlib
import linecache
import os
import re
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from pellucid.core import frame, jax_compat
from pellucid.core.jax_compat import Place
from pellucid.errors import CaptureError

_NO_VALUE = "While `call` is captured a tensor has a shape and a type, but no value."
_ON_SHAPES = (  # a pattern in the message of JAX or NumPy, and what helps
    (
        r"dot_general requires contracting|matmul.*mismatch|Size of label .* does not match",
        "The axes that a product sums over must have "
        "equal sizes, the last of the left array and the last but one of the right: transpose one of them, or change the size of a weight.",
    ),
    (
        r"subscript .* does not contain the correct number of indices",
        "Each operand needs as many letters as it has axes; `...` stands for any number of them.",
    ),
    (
        r"[Cc]annot concatenate arrays with shapes",
        "Arrays that are joined must agree in all axes but the joined one: give another axis=, such as axis=-1.",
    ),
    (
        r"[Cc]annot concatenate arrays with different numbers|input arrays must have the same shape",
        "Arrays that are joined must have as many axes "
        "each, and stacked ones the same shape: reshape one of them, or add an axis with x[:, None].",
    ),
    (
        r"incompatible shapes for broadcasting|Incompatible (shapes|types) for broadcasting|could not be broadcast",
        "Counted from the last axis, sizes must be equal, or one of them 1: add an axis with x[:, None], or change the units of one layer.",
    ),
    (
        r"[Cc]annot reshape array",
        "A reshape keeps the number of elements: give the batch as -1, and other sizes whose product is that of the rest.",
    ),
    (r"axis -?\d+ is out of bounds", "The array has fewer axes than that; axis=-1 is the last one, and the batch is axis 0."),
    (r"Too many indices", "There are more indices than axes; x[..., i] takes from the last axis, however many there are."),
    (r"cannot select an axis to squeeze", "Only an axis of size 1 can be squeezed; x[:, 0] takes one entry of another."),
    (r"does not result in an equal division", "A size must be a multiple of the number of parts; give the places to split at instead."),
    (
        r"does not accept dtype|requires arguments to have the same dtypes|must be (floating|inexact)|requires .* (float|inexact) dtype",
        "Convert first, for example with ops.cast(x, 'float32').",
    ),
    (
        r"expected a known size of axis|expected .*axes|kernel for \d+ features",
        "Check the shape of what goes into the layer: whole numbers, "
        "such as classes, go through ops.one_hot or an Embedding first, images through a Flatten.",
    ),
)
_ON_VALUES = (
    (
        r"Array boolean indices must be concrete",
        "A mask as an index gives a shape that depends on values: keep the shape with ops.where(mask, x, 0), or multiply by the mask.",
    ),
    (
        r"size argument of|first argument of jnp.unique|jnp\.(nonzero|unique|argwhere)",
        "The shape of the result depends on values: give its size with size=.",
    ),
    (r"jnp\.arange|Shapes must be 1D sequences", "A shape cannot depend on values: take sizes from x.shape or from the layer's arguments."),
    (r"__array__\(\)|numpy.ndarray conversion", "NumPy computes at once: use the function of the same name in pellucid.ops or jax.numpy."),
    (
        r"`int` function|`float` function|item\(\) method|tolist\(\) method|`complex` function",
        "Keep the tensor instead of a Python number: "
        "it works in operators, ops and jax.numpy, and ops.cast changes its type. Sizes come from x.shape.",
    ),
)
_CHOOSE = "Choose between values with ops.where(condition, a, b), between computations with ops.cond(condition, f, g, x)."
_REPEAT = "Loop with ops.while_loop(condition, body, state), or a fixed number of times with ops.scan or ops.fori_loop."
_GO_ALONG = "Loop along an axis with ops.scan(step, start, x), or so many times with ops.fori_loop; an index into a list becomes ops.take."
_ALL_ROWS = (
    "Layers, ops and operators take all rows at once, and so does jax.vmap(function)(x); where a row needs the one before, loop with "
    "ops.scan(step, start, x). compile(run_eagerly=True) runs Python's loop."
)
_PRINT = "pellucid.print(text, tensor) prints it on every step, from inside the compiled program."
_JOIN = "For `and`, `or`, `not` write &, |, ~, with brackets. "


def add_notes(error: Exception, where: str, place: Place | None) -> None:
    """Notes at an error which layer it happened in, the user's line, and what to do.

    Args:
        where: the layer and the shapes of its inputs.
        place: the user's line.
    """
    error.add_note(where)
    line = "" if place is None else linecache.getline(place.file, place.line).strip()
    lines = [f"  {place}: {line}"] if line else []
    advice = advice_on(error, line)
    _shorten(error)
    if advice:
        lines.append(f"  {advice}")
    if lines:
        error.add_note("\n".join(lines))


def advice_on(error: BaseException, line: str) -> str | None:
    """One or two sentences on what to do about an error of JAX's that a line of ``call`` raised, or None."""
    message = str(error)
    if isinstance(error, jax.errors.TracerBoolConversionError) or "truth value of an array" in message:
        joined = re.search(r"\b(and|or|not)\b", line) is not None
        if re.match(r"assert\b", line):
            return f"{_NO_VALUE} Check values outside of `call`, or print them with pellucid.print."
        return f"{_NO_VALUE} {_JOIN if joined else ''}{_REPEAT if re.match(r'while', line) else _CHOOSE}"
    if isinstance(error, jax.errors.TracerIntegerConversionError) or "iteration over a 0-d array" in message.lower():
        return f"{_NO_VALUE} {_GO_ALONG}"
    if is_of_formatting(error):
        return f"{_NO_VALUE} {_PRINT}"
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError) or "concrete value" in message:
        found = next((advice for pattern, advice in _ON_VALUES if re.search(pattern, message)), None)
        return found and f"{_NO_VALUE} {_PRINT if line.startswith('print(') else found}"
    return next((advice for pattern, advice in _ON_SHAPES if re.search(pattern, message)), None)


def is_of_formatting(error: BaseException) -> bool:
    """Whether an error comes from a traced value in a format such as ``f"{x:.3f}"``."""
    return isinstance(error, TypeError) and re.search(r"format string passed to \w*Tracer\.__format__", str(error)) is not None


def clearer(error: Exception) -> Exception:
    """The error in place of one of JAX's whose message would not help; else the error itself."""
    shape = _iterated_shape(error)
    if not shape or not isinstance(shape[0], jax_compat.SymbolicSize):
        return error
    raised = CaptureError(
        f"`for … in tensor` goes over the rows of a tensor of shape ({', '.join(map(str, shape))}): while `call` is captured, a batch "
        f"has any number of rows. {_ALL_ROWS} A model of several inputs is given a list of arrays."
    )
    return raised.with_traceback(error.__traceback__)


def _shorten(error: Exception) -> None:
    """Leaves out what JAX says of jit and of our own files, which users did not write."""
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError) and error.args and isinstance(error.args[0], str):
        text = re.sub(
            r"\n*(The error occurred while tracing the function|See https://|This concrete value was not available)[^\n]*",
            "",
            error.args[0],
        )
        error.args = (text.strip(), *error.args[1:])


def place_in(error: Exception, code: types.CodeType) -> Place | None:
    """The line of an error's traceback in the given code; in library code, the nearest line of the user's."""
    places = []
    traceback = error.__traceback__
    while traceback is not None:
        here = traceback.tb_frame.f_code
        if here is code or not jax_compat.is_library_file(here.co_filename):
            places.append((here is code, Place(here.co_filename, traceback.tb_lineno, here.co_name)))
        traceback = traceback.tb_next
    mine = [p for own, p in places if own and not jax_compat.is_library_file(p.file)]
    return mine[-1] if mine else (places[-1][1] if places and not places[-1][0] else None)


def _iterated_shape(error: BaseException) -> tuple | None:
    """The shape of the traced array that was gone over, as ``for row in x`` does, where an error comes from that."""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_name == "__iter__" and code.co_filename.startswith(os.path.dirname(jax.__file__) + os.sep):
            return tuple(getattr(traceback.tb_frame.f_locals.get("self"), "shape", ()))
        traceback = traceback.tb_next
    return None


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns, at the user's line that led here, however many calls of the library's are between."""
    caller = sys._getframe(1)
    user = jax_compat.user_frame(caller) or caller
    told = user.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, user.f_code.co_filename, user.f_lineno, user.f_globals.get("__name__"), told)


# ---- Tracebacks ----

_filters = True
_MACHINERY = (contextlib.__file__, importlib.__file__)  # of Python's library, between a line of the user's and the next one
_Function = TypeVar("_Function", bound=Callable)


def filter_tracebacks(on: bool) -> None:
    """Whether errors show the user's frames only."""
    global _filters
    _filters = on


def filters_tracebacks() -> bool:
    """Whether errors show the user's frames only."""
    return _filters


def filtered(function: _Function) -> _Function:
    """A function that users call: an error that leaves it shows the user's frames only.

    Inside a capture the traceback is left whole: the capture reads it.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not _filters or frame.active_frame() is not None:
                raise
            if not cut_to_users_frames(error):
                raise
            cut = error
        try:
            raise cut  # pellucid.config.disable_traceback_filtering() shows all frames
        finally:
            del cut  # it holds this frame

    call.__wrapped__ = getattr(function, "__wrapped__", function)  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def cut_to_users_frames(error: BaseException) -> bool:
    """Leaves the user's frames only in the traceback of an error, and in those of the errors that led to it.

    Returns:
        Whether it did. A fault of the library's is left as it is: all frames are wanted.
    """
    frames = _users_frames(error.__traceback__)
    explained = bool(getattr(error, "__notes__", None)) and advice_on(error, "") is not None
    if frames is None and not explained and not isinstance(error, SyntaxError) and not jax_compat.raised_outside_jax(error):
        return False
    chain: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in chain:
            chain[id(one)] = one
            waiting += [one.__cause__, one.__context__]
    for one in chain.values():
        _drop_notes(one)
        one.__traceback__ = _users_frames(one.__traceback__)
    return True


def _users_frames(traceback: types.TracebackType | None) -> types.TracebackType | None:
    kept = []
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not jax_compat.is_library_file(file) and file not in _MACHINERY:
            kept.append(traceback)
        traceback = traceback.tb_next
    made = None
    for one in reversed(kept):
        made = types.TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return made


def _drop_notes(error: BaseException) -> None:
    """JAX notes that it has left out frames of its own."""
    notes = getattr(error, "__notes__", None)
    if notes:
        notes[:] = [n for n in notes if "JAX has removed its internal frames" not in n]
