"""Callbacks: code of the user's that the loop calls."""

from pellucid.training.callbacks.callback import Callback, History, LambdaCallback
from pellucid.training.callbacks.callback_list import CallbackList
from pellucid.training.callbacks.checkpoint import ModelCheckpoint
from pellucid.training.callbacks.csv_logger import CSVLogger
from pellucid.training.callbacks.early_stopping import EarlyStopping
from pellucid.training.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from pellucid.training.callbacks.monitor import MonitorCallback
from pellucid.training.callbacks.progress import ProgressBar
from pellucid.training.callbacks.terminate import TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "MonitorCallback",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
