"""Sequences as tables, and windows of time series."""

import keras
import numpy as np
import pytest

import pellucid
from pellucid.utils import pad_sequences, timeseries_dataset_from_array

LISTS = [[1], [2, 3, 4, 5], [], [6, 7]]
VECTORS = [np.arange(4.0).reshape(2, 2), np.arange(6.0).reshape(3, 2), np.zeros((0, 2))]
CASES = {
    "plain": (LISTS, {}),
    "after": (LISTS, {"padding": "post"}),
    "cut": (LISTS, {"maxlen": 2}),
    "cut at the end": (LISTS, {"maxlen": 2, "truncating": "post", "padding": "post"}),
    "longer": (LISTS, {"maxlen": 6, "value": -1}),
    "floats": ([[1.5], [2.5, 3.5]], {"dtype": "float32", "value": np.nan}),
    "vectors": (VECTORS, {"dtype": "float64"}),
    "texts": ([["a"], ["b", "cc"]], {"dtype": object, "value": "pad"}),
    "an array": (np.arange(6).reshape(2, 3), {"maxlen": 2}),
    "empty ones": ([[], []], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_padding_is_that_of_keras(case):
    sequences, options = CASES[case]
    ours, theirs = pad_sequences(sequences, **options), keras.utils.pad_sequences(sequences, **options)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
    assert pellucid.preprocessing.sequence.pad_sequences is pad_sequences


def test_lengths_are_rounded_up_to_a_multiple():
    for longest in range(9):
        made = pad_sequences([list(range(1, longest + 1)), [1]], pad_to_multiple_of=4)
        assert made.shape[1] == 4 * -(-max(longest, 1) // 4) and (made[1] == 1).sum() == 1
    cut = pad_sequences([[1, 2, 3, 4, 5, 6]], maxlen=5, pad_to_multiple_of=4)  # cut to 5, then filled up to 8
    assert cut.tolist() == [[0, 0, 0, 2, 3, 4, 5, 6]]
    assert pad_sequences([[1, 2]], maxlen=0).shape == (1, 0) and pad_sequences([]).shape == (0, 0)


WRONG = {
    "no list": ((x for x in ([1], [2])), {}, "sequences is a generator; expected a list"),
    "numbers": ([1, 2], {}, r"sequences\[0\] is 1; expected a list or an array"),
    "a side": (LISTS, {"padding": "left"}, "padding='left'; expected 'pre' or 'post'"),
    "another side": (LISTS, {"truncating": "left"}, "truncating='left'"),
    "shapes": ([VECTORS[0], np.zeros((2, 3))], {}, r"an element of sequence 1 has shape \(3,\); expected \(2,\)"),
    "a text": ([["a"]], {"value": "pad"}, "value='pad' and dtype='int32'; expected dtype=object"),
    "a length": (LISTS, {"maxlen": -1}, "maxlen=-1; expected a whole number of at least 0"),
    "a multiple": (LISTS, {"pad_to_multiple_of": 0}, "pad_to_multiple_of=0; expected a positive whole number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_padded(case):
    sequences, options, message = WRONG[case]
    with pytest.raises(ValueError, match=f"pad_sequences: {message}"):
        pad_sequences(sequences, **options)


SERIES, TARGETS = np.arange(40).reshape(20, 2), 100 + np.arange(20)


def by_hand(length, stride=1, rate=1, start=0, end=20, targets=None, **_):
    """Every window, one after another."""
    windows, found = [], []
    for first in range(start, end, stride):
        steps = [first + rate * i for i in range(length)]
        if first + rate * (length - 1) < end and (targets is None or first < len(targets)):
            windows.append(SERIES[steps])
            found.append(None if targets is None else targets[first])
    return np.array(windows), np.array(found)


WINDOWS = {
    "plain": {"length": 3},
    "strides": {"length": 3, "stride": 4},
    "sampled": {"length": 4, "rate": 3},
    "a part": {"length": 2, "start": 5, "end": 12},
    "everything": {"length": 4, "stride": 2, "rate": 2, "start": 3, "end": 18},
    "the end": {"length": 2, "end": 20},
    "one": {"length": 20},
}


@pytest.mark.parametrize("with_targets", [False, True, "few"])
@pytest.mark.parametrize("case", WINDOWS)
def test_windows_are_those_by_hand(case, with_targets):
    given = WINDOWS[case]
    targets = {False: None, True: TARGETS, "few": TARGETS[:7]}[with_targets]
    names = {"length": "sequence_length", "stride": "sequence_stride", "rate": "sampling_rate", "start": "start_index", "end": "end_index"}
    windows, found = by_hand(**given, targets=targets)
    made = timeseries_dataset_from_array(SERIES, targets, batch_size=4, **{names[k]: v for k, v in given.items()})
    batches = list(made)
    assert len(batches) == len(made) == -(-len(windows) // 4)
    parts = [b if targets is None else b[0] for b in batches]
    assert all(len(part) == 4 for part in parts[:-1])
    np.testing.assert_array_equal(np.concatenate(parts), windows)
    if targets is not None:
        np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), found)


def test_single_windows_and_shuffled_ones():
    single = timeseries_dataset_from_array(SERIES, TARGETS, 3, batch_size=None)
    assert len(single) == 18 and single[17][0].tolist() == SERIES[17:20].tolist() and single[17][1] == 117
    assert single[-1][1] == 117
    with pytest.raises(IndexError, match="There is no batch 18: there are 18"):
        single[18]
    firsts = []
    for _ in range(2):
        shuffled = timeseries_dataset_from_array(SERIES, None, 3, batch_size=5, shuffle=True, seed=1)
        for _ in range(2):
            shuffled.on_epoch_begin()
            firsts.append([int(w[0, 0]) for batch in shuffled for w in batch])
    assert firsts[:2] == firsts[2:] and firsts[0] != firsts[1]
    assert all(sorted(order) == list(range(0, 36, 2)) for order in firsts)


def test_windows_train_in_their_order_unless_they_are_shuffled():
    class Order(pellucid.callbacks.Callback):
        def __init__(self):
            self.losses = []

        def on_train_batch_end(self, batch, logs=None):
            self.losses.append(logs.batch["loss"])

    model = pellucid.Sequential([pellucid.Input((3,)), pellucid.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(pellucid.optimizers.SGD(0.0), "mae")
    series = np.arange(12.0, dtype="float32")
    for shuffle in (False, True):
        seen = Order()
        windows = timeseries_dataset_from_array(series, series, 3, batch_size=2, shuffle=shuffle, seed=2)
        model.fit(windows, epochs=2, callbacks=[seen], verbose=0)
        in_order = [0.5, 2.5, 4.5, 6.5, 8.5] * 2
        assert (seen.losses == in_order) is not shuffle


NO_WINDOWS = {
    "too long": (
        dict(sequence_length=21),
        "no window of sequence_length=21 steps, with sampling_rate=1, fits into 20 steps; expected fewer",
    ),
    "no targets": (dict(sequence_length=2, start_index=19, end_index=20), "no window"),
    "an end": (dict(sequence_length=2, end_index=21), r"end_index=21; expected 0 <= start < end <= 20"),
    "a beginning": (dict(sequence_length=2, start_index=5, end_index=5), "start_index=5 and end_index=5"),
    "a stride": (dict(sequence_length=2, sequence_stride=0), "sequence_stride=0; expected a positive whole number"),
    "a rate": (dict(sequence_length=2, sampling_rate=-1), "sampling_rate=-1; expected"),
    "a size": (dict(sequence_length=2, batch_size=0), "batch_size=0; expected a positive whole number or None"),
}


@pytest.mark.parametrize("case", NO_WINDOWS)
def test_numbers_that_leave_no_window(case):
    options, message = NO_WINDOWS[case]
    with pytest.raises(ValueError, match=f"timeseries_dataset_from_array: .*{message}"):
        timeseries_dataset_from_array(SERIES, None, **options)
