"""Sequences of unequal lengths as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.core.checks import check_whole


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
    pad_to_multiple_of: int | None = None,
) -> np.ndarray:
    """A table of sequences: what is too short is filled up, what is too long is cut.

    Args:
        sequences: lists or arrays of unequal lengths; their elements have one shape.
        maxlen: steps of each row; by default those of the longest sequence.
        dtype: of the table; ``object`` for texts of unequal lengths.
        padding: "pre" fills up in front, "post" at the end.
        truncating: "pre" cuts in front, "post" at the end.
        value: that fills up.
        pad_to_multiple_of: the number of steps is rounded up to a multiple of it, so that batches of many lengths come in a few shapes
            only: each shape is compiled once.

    Returns:
        Array of shape (rows, steps, *shape of an element).

    Raises:
        ValueError: for what is no list of sequences, for elements of other shapes, or an unknown ``padding``.

    Example:
        >>> from pellucid.utils import pad_sequences
        >>> pad_sequences([[1], [2, 3, 4]]).tolist(), pad_sequences([[1, 2, 3]], padding="post", pad_to_multiple_of=4).tolist()
        ([[0, 0, 1], [2, 3, 4]], [[1, 2, 3, 0]])
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ValueError(f"pad_sequences: {name}={side!r}; expected 'pre' or 'post'.")
    if isinstance(value, str) and np.dtype(dtype).kind not in "OSU":
        raise ValueError(f"pad_sequences: value={value!r} and dtype={dtype!r}; expected dtype=object for texts.")
    if dtype is not object and not isinstance(value, str) and np.ndim(value) == 0:
        with np.errstate(invalid="ignore"):
            held = np.asarray(value).astype(dtype)
        if held.dtype.kind in "iu" and not held == value:
            raise ValueError(f"pad_sequences: value={value!r} cannot be held by dtype={dtype!r}; expected another of the two.")
    if not hasattr(sequences, "__len__") or isinstance(sequences, str):
        raise ValueError(f"pad_sequences: sequences is a {type(sequences).__name__}; expected a list of sequences.")
    lengths = _lengths(sequences)
    longest = max(lengths, default=0) if maxlen is None else check_whole("pad_sequences", "maxlen", maxlen, 0)
    step = 1 if pad_to_multiple_of is None else check_whole("pad_sequences", "pad_to_multiple_of", pad_to_multiple_of)
    first = next((np.asarray(s) for s in sequences if len(s)), np.zeros(0))
    made = np.full((len(sequences), -(-longest // step) * step, *first.shape[1:]), value, dtype)
    for number, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        kept = min(length, longest)
        if not kept:
            continue
        cut = np.asarray(sequence[length - kept :] if truncating == "pre" else sequence[:kept], dtype)
        if cut.shape[1:] != first.shape[1:]:
            raise ValueError(f"pad_sequences: an element of sequence {number} has shape {cut.shape[1:]}; expected {first.shape[1:]}.")
        made[number, slice(-kept, None) if padding == "pre" else slice(kept)] = cut
    return made


def _lengths(sequences: Sequence[Any]) -> list[int]:
    for number, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__") or isinstance(sequence, str):
            raise ValueError(f"pad_sequences: sequences[{number}] is {sequence!r}; expected a list or an array.")
    return [len(sequence) for sequence in sequences]
