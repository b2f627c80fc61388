"""Layers: functions with weights."""

from pellucid.core.layer import Layer
from pellucid.core.serialization import deserialize_keras_object as deserialize
from pellucid.core.serialization import serialize_keras_object as serialize
from pellucid.layers.activation import Activation, ReLU, Softmax
from pellucid.layers.attention import AdditiveAttention, Attention
from pellucid.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
from pellucid.layers.core import Dense, Identity
from pellucid.layers.dropout import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from pellucid.layers.merging import Add, Concatenate, add, concatenate
from pellucid.layers.normalization import BatchNormalization, Normalization
from pellucid.layers.recurrent import GRU, LSTM, RNN, SimpleRNN, StackedRNNCells
from pellucid.layers.reshaping import Flatten, Reshape
from pellucid.layers.wrapping import Bidirectional, TimeDistributed, Wrapper

__all__ = [
    "Activation",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Dense",
    "Dropout",
    "Flatten",
    "GRU",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "LSTM",
    "LSTMCell",
    "Layer",
    "Normalization",
    "RNN",
    "ReLU",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "StackedRNNCells",
    "TimeDistributed",
    "Wrapper",
    "add",
    "concatenate",
    "deserialize",
    "serialize",
]
