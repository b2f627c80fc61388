"""Layers: functions with weights."""

from pellucid.core.layer import Layer
from pellucid.core.serialization import deserialize_keras_object as deserialize
from pellucid.core.serialization import serialize_keras_object as serialize
from pellucid.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
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
from pellucid.layers.einsum_dense import EinsumDense
from pellucid.layers.embedding import Embedding
from pellucid.layers.lambda_layer import Lambda
from pellucid.layers.masking import Masking
from pellucid.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from pellucid.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from pellucid.layers.regularization import ActivityRegularization
from pellucid.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from pellucid.layers.standardization import Normalization

__all__ = [
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Dot",
    "Dropout",
    "ELU",
    "EinsumDense",
    "Embedding",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GroupNormalization",
    "Identity",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "ReLU",
    "RepeatVector",
    "Reshape",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Subtract",
    "UnitNormalization",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]
