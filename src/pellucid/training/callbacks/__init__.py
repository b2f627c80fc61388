"""Callbacks: code of the user's that the loop calls."""

from pellucid.training.callbacks.callback import Callback, CallbackList, History, LambdaCallback
from pellucid.training.callbacks.early_stopping import EarlyStopping
from pellucid.training.callbacks.progress import ProgressBar

__all__ = ["Callback", "CallbackList", "EarlyStopping", "History", "LambdaCallback", "ProgressBar"]
