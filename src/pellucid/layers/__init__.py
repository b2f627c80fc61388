"""Layers: functions with weights."""

from pellucid.core.layer import Layer
from pellucid.core.serialization import deserialize_keras_object as deserialize
from pellucid.core.serialization import serialize_keras_object as serialize
from pellucid.layers.activation import Activation, ReLU, Softmax
from pellucid.layers.attention import AdditiveAttention, Attention
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
from pellucid.layers.reshaping import Flatten, Reshape

__all__ = [
    "Activation",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "Layer",
    "Normalization",
    "ReLU",
    "Reshape",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "add",
    "concatenate",
    "deserialize",
    "serialize",
]
