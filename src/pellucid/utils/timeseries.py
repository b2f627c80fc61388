"""Windows of a time series as a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.core import seeds
from pellucid.core.checks import check_flags, check_whole
from pellucid.training.data import PyDataset


class Windows(PyDataset):
    """Windows of a time series, in batches; made by ``timeseries_dataset_from_array``.

    Args:
        data: steps first.
        targets: one for the first step of each window, or None.
        starts: first steps of the windows.
        steps: which steps, counted from the first one, are in a window.
        batch_size: None for single windows.
        generator: of the order, which is new in each epoch; None keeps it.
    """

    def __init__(self, data: Any, targets: Any, starts: np.ndarray, steps: np.ndarray, batch_size: int | None, generator: Any):
        super().__init__()
        self.data, self.targets, self.starts, self.steps = data, targets, starts, steps
        self.batch_size, self._generator = batch_size, generator
        self.keeps_order = generator is None

    def __len__(self) -> int:
        return -(-len(self.starts) // (self.batch_size or 1))

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"There is no batch {index}: there are {len(self)}.")
        index %= len(self)
        size = self.batch_size
        starts = self.starts[index] if size is None else self.starts[index * size : (index + 1) * size]
        x = self.data[starts[..., None] + self.steps]
        return x if self.targets is None else (x, self.targets[starts])

    def on_epoch_begin(self) -> None:
        if self._generator is not None:
            self.starts = self._generator.permutation(self.starts)


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "pellucid",
) -> Windows:
    """Windows that move along a time series: ``data[i], data[i + sampling_rate], …``, and ``targets[i]``.

    Args:
        data: array with the steps first.
        targets: array whose entry ``i`` belongs to the window that begins at step ``i``; None for no targets.
        sequence_length: steps of a window.
        sequence_stride: steps from the beginning of a window to that of the next.
        sampling_rate: steps from one step of a window to the next.
        batch_size: windows of a batch; None for single windows.
        shuffle: whether the windows come in a random order, a new one in each epoch.
        seed: of that order.
        start_index: steps before this one are left out.
        end_index: and this one and those after it. ``targets`` are counted from ``start_index``, too.
        format: accepted for Keras's sake.

    Returns:
        A ``PyDataset`` that gives ``(x, y)``, or ``x`` where there are no targets: ``x`` (windows, sequence_length, …). Keras gives a
        ``tf.data.Dataset`` of the same batches.

    Raises:
        ValueError: for numbers that leave no window.

    Example:
        >>> import numpy as np, pellucid
        >>> series = np.arange(6)
        >>> windows = pellucid.utils.timeseries_dataset_from_array(series, series[3:], sequence_length=3, batch_size=2)
        >>> [(x.tolist(), y.tolist()) for x, y in windows]
        [([[0, 1, 2], [1, 2, 3]], [3, 4]), ([[2, 3, 4]], [5])]
    """
    where = "timeseries_dataset_from_array"
    data = np.asarray(data)
    if not data.ndim:
        raise ValueError(f"{where}: data={data.item()!r}; expected an array with the steps first.")
    check_flags(where, shuffle=shuffle)
    if seed is not None:
        check_whole(where, "seed", seed, 0, " or None")
    for name, number in (("sequence_length", sequence_length), ("sequence_stride", sequence_stride), ("sampling_rate", sampling_rate)):
        check_whole(where, name, number)
    if batch_size is not None:
        check_whole(where, "batch_size", batch_size, or_else=" or None")
    start, end = start_index or 0, len(data) if end_index is None else end_index
    if not 0 <= start < end <= len(data):
        raise ValueError(f"{where}: start_index={start_index} and end_index={end_index}; expected 0 <= start < end <= {len(data)}.")
    if targets is not None:
        targets = np.asarray(targets)[start:]
    count = end - start - (sequence_length - 1) * sampling_rate
    count = count if targets is None else min(count, len(targets))
    if count < 1:
        given = "" if targets is None else f" with {len(targets)} targets"
        raise ValueError(
            f"{where}: no window of sequence_length={sequence_length} steps, with sampling_rate={sampling_rate}, fits into {end - start} "
            f"steps{given}; expected fewer."
        )
    generator = np.random.RandomState((seeds.next_seed("shuffle") if seed is None else seed) % 2**32) if shuffle else None
    starts, steps = np.arange(0, count, sequence_stride), np.arange(sequence_length) * sampling_rate
    return Windows(data[start:end], targets, starts, steps, batch_size, generator)
