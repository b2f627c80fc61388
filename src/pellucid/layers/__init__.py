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
from pellucid.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from pellucid.layers.regularization import ActivityRegularization
from pellucid.layers.reshaping import Flatten, Reshape
from pellucid.layers.standardization import Normalization

__all__ = [
    "Activation",
    "ActivityRegularization",
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
    "GroupNormalization",
    "Layer",
    "LayerNormalization",
    "RMSNormalization",
    "UnitNormalization",
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
