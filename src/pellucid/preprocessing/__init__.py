"""Keras's older names of what ``pellucid.utils`` has."""

from pellucid.preprocessing import sequence
from pellucid.utils import timeseries_dataset_from_array

__all__ = ["sequence", "timeseries_dataset_from_array"]
