"""Callbacks, under Keras's name for the folder."""

from pellucid.training.callbacks import Callback, CallbackList, EarlyStopping, History, LambdaCallback, ProgressBar

__all__ = ["Callback", "CallbackList", "EarlyStopping", "History", "LambdaCallback", "ProgressBar"]
