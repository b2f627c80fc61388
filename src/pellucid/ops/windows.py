"""What convolutions, pooling and image layers have in common: where the axes are, and arguments that have a value an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pellucid import config
from pellucid.core.checks import check_whole
from pellucid.core.jax_compat import open_shape
from pellucid.errors import ShapeError, did_you_mean

FORMATS = ("channels_last", "channels_first")


def format_of(where: str, data_format: str | None) -> str:
    """``data_format``, or what ``config.image_data_format()`` says for None.

    Raises:
        ValueError: for another text.
    """
    if data_format is None:
        return config.image_data_format()
    if data_format not in FORMATS:
        raise ValueError(f"{where}: data_format={data_format!r}; expected 'channels_last', 'channels_first' or None.")
    return data_format


def padding_of(where: str, padding: Any, known: tuple[str, ...] = ("valid", "same")) -> str:
    """The padding's name in lower case.

    Raises:
        ValueError: for a name that is not among the known ones.
    """
    name = padding.lower() if isinstance(padding, str) else padding
    if name not in known:
        raise ValueError(f"{where}: padding={padding!r}; expected one of {', '.join(map(repr, known))}. {did_you_mean(padding, known)}")
    return name


def per_axis(where: str, name: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    """One whole number for each of ``rank`` axes, from one for all or a sequence.

    Raises:
        ValueError: for another length or other numbers.

    Example:
        >>> from pellucid.ops.windows import per_axis
        >>> per_axis("Conv2D", "strides", 2, rank=2)
        (2, 2)
    """
    several = isinstance(value, Sequence) and not isinstance(value, str)
    if several and len(value) != rank:
        raise ValueError(f"{where}: {name}={value!r}; expected a whole number, or {rank} of them.")
    return tuple(check_whole(where, name, v, least) for v in (value if several else (value,) * rank))


def spatial_axes(ndim: int, data_format: str) -> tuple[int, ...]:
    """The axes that are neither batch nor channels."""
    return tuple(range(1, ndim - 1)) if data_format == "channels_last" else tuple(range(2, ndim))


def channel_axis(data_format: str) -> int:
    return -1 if data_format == "channels_last" else 1


def with_outer(values: Sequence[Any], outer: Any, data_format: str) -> tuple[Any, ...]:
    """A value for each axis: ``outer`` for batch and channels, around those of the spatial axes."""
    return (outer, *values, outer) if data_format == "channels_last" else (outer, outer, *values)


def rank_of(where: str, shape: Sequence[Any], *ranks: int) -> int:
    """How many spatial axes inputs of a shape have.

    Raises:
        ShapeError: for none, or not as many as expected.
    """
    rank = len(shape) - 2
    if rank < 1 or (ranks and rank not in ranks):
        expected = " or ".join(str(r + 2) for r in ranks) if ranks else "at least 3"
        raise ShapeError(
            f"{where}: inputs of shape {open_shape(shape)} have {rank + 2} axes; expected {expected}, batch and channels included. One "
            f"image or series alone becomes a batch of one by inputs[None]; images without channels get them by inputs[..., None]."
        )
    return rank


def check_windows_fit(where: str, inputs: Any, sizes: Sequence[int], padding: str, data_format: str) -> None:
    """Refuses a window that is larger than inputs that are not padded: nothing would come out.

    Raises:
        ShapeError: names both.
    """
    space = [inputs.shape[a] for a in spatial_axes(len(inputs.shape), data_format)]
    if padding == "valid" and any(isinstance(n, int) and n < k for n, k in zip(space, sizes, strict=True)):
        raise ShapeError(
            f"{where}: a window of {tuple(sizes)} does not fit into inputs of shape {open_shape(inputs.shape)} ({data_format}), so that "
            f"nothing would come out. Use a smaller window, padding='same', or larger inputs."
        )


def with_something(inputs: Any, outputs: Any) -> Any:
    """The outputs of windows, at sizes that may not have been known before.

    Raises:
        ShapeError: where nothing came out.
    """
    if 0 in outputs.shape and 0 not in inputs.shape:
        raise ShapeError(f"a window does not fit into inputs of shape {inputs.shape}, so that nothing would come out.")
    return outputs
