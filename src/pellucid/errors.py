"""The errors and warnings that Pellucid raises, and the helper that suggests the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class CaptureError(RuntimeError):
    """A run of ``call`` did something that a capture cannot hold, such as reading a weight as a number."""


class CaptureBudgetError(CaptureError):
    """``call`` would have to be captured more often than ``compile(max_captures=…)`` allows. It did not run again."""


class NotBuiltError(ValueError, AttributeError):
    """A layer or model was asked for something that exists only after its weights, or its graph, do.

    It is an ``AttributeError``, too: for ``hasattr`` a model without a graph has no ``inputs``.
    """


class ShapeError(ValueError):
    """A layer got inputs of a shape that it cannot take."""


class DataError(ValueError):
    """The data handed to ``fit``, ``evaluate`` or ``predict`` do not fit together or do not fit the model."""


class SideEffectError(CaptureError):
    """``call`` has side effects, and ``compile(on_side_effect="error")`` asked for an error."""


class KeptValueError(CaptureError, AttributeError):
    """A value was used that ``call`` had kept from a capture, where values do not exist yet."""


class SideEffectWarning(UserWarning):
    """``call`` did something that a compiled step will not repeat: it names the file, the line and the cure."""


class DataWarning(UserWarning):
    """The data are usable but look wrong, for example because they hold NaN."""


class NonFiniteError(ArithmeticError):
    """A loss or a gradient was not finite, and ``compile(nan="raise")`` asked to be told.

    ``blame`` holds the facts of the message: ``operation``, ``phase``, ``layer``, ``place``, statistics of ``inputs`` and
    ``output``; None where evaluating the step once more gave finite values only.
    """

    def __init__(self, message: str, blame: Any = None):
        super().__init__(message)
        self.blame = blame


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A sentence that suggests the nearest of the known names, or lists them all when none is near."""
    known, name = sorted(set(known)), str(name)
    near = difflib.get_close_matches(name.lower(), {k.lower() for k in known}, n=1, cutoff=0.5)
    if near:  # of "Adam" and "adam" the one that is written like the name
        same = [k for k in known if k.lower() == near[0]]
        return f"Did you mean {max(same, key=lambda k: difflib.SequenceMatcher(None, name, k).ratio())!r}?"
    return f"Known names: {', '.join(known)}."
