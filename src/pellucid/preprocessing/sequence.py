"""Keras's older name of ``pellucid.utils.pad_sequences``."""

from pellucid.utils import pad_sequences

__all__ = ["pad_sequences"]
