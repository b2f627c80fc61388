"""What ``fit`` takes as data, one adapter a file."""

from pellucid.training.data.arrays import ArrayData, split_off
from pellucid.training.data.feed import Block, Feed

__all__ = ["ArrayData", "Block", "Feed", "split_off"]
