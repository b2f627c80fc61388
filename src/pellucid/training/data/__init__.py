"""What ``fit`` takes as data, one adapter a file."""

from pellucid.training.data.arrays import ArrayData, split_off
from pellucid.training.data.feed import Block, Feed, Plan
from pellucid.training.data.pydataset import PyDataset
from pellucid.training.data.sources import Arrays, Source, is_arrays, source_of
from pellucid.training.data.stream import Stream, length_of

__all__ = [
    "ArrayData",
    "Arrays",
    "Block",
    "Feed",
    "Plan",
    "PyDataset",
    "Source",
    "Stream",
    "is_arrays",
    "length_of",
    "source_of",
    "split_off",
]
