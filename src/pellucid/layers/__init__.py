"""Layers: functions with weights."""

from typing import TYPE_CHECKING

from pellucid.core.lazily import at_first_use

if TYPE_CHECKING:
    from pellucid.core.input_spec import InputSpec
    from pellucid.core.layer import Layer
    from pellucid.core.serialization import deserialize_keras_object as deserialize
    from pellucid.core.serialization import serialize_keras_object as serialize
    from pellucid.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
    from pellucid.layers.attention import AdditiveAttention, Attention
    from pellucid.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
    from pellucid.layers.conv_recurrent import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
    from pellucid.layers.convolution import (
        Conv1D,
        Conv1DTranspose,
        Conv2D,
        Conv2DTranspose,
        Conv3D,
        Conv3DTranspose,
        DepthwiseConv1D,
        DepthwiseConv2D,
        SeparableConv1D,
        SeparableConv2D,
    )
    from pellucid.layers.convolution import Conv1D as Convolution1D
    from pellucid.layers.convolution import Conv1DTranspose as Convolution1DTranspose
    from pellucid.layers.convolution import Conv2D as Convolution2D
    from pellucid.layers.convolution import Conv2DTranspose as Convolution2DTranspose
    from pellucid.layers.convolution import Conv3D as Convolution3D
    from pellucid.layers.convolution import Conv3DTranspose as Convolution3DTranspose
    from pellucid.layers.convolution import SeparableConv1D as SeparableConvolution1D
    from pellucid.layers.convolution import SeparableConv2D as SeparableConvolution2D
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
    from pellucid.layers.embedding import Embedding, ReversibleEmbedding
    from pellucid.layers.input import Input, InputLayer
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
    from pellucid.layers.multi_head_attention import GroupedQueryAttention as GroupQueryAttention
    from pellucid.layers.multi_head_attention import MultiHeadAttention
    from pellucid.layers.normalization import (
        BatchNormalization,
        GroupNormalization,
        LayerNormalization,
        RMSNormalization,
        UnitNormalization,
    )
    from pellucid.layers.pooling import (
        AdaptiveAveragePooling1D,
        AdaptiveAveragePooling2D,
        AdaptiveAveragePooling3D,
        AdaptiveMaxPooling1D,
        AdaptiveMaxPooling2D,
        AdaptiveMaxPooling3D,
        AveragePooling1D,
        AveragePooling2D,
        AveragePooling3D,
        GlobalAveragePooling1D,
        GlobalAveragePooling2D,
        GlobalAveragePooling3D,
        GlobalMaxPooling1D,
        GlobalMaxPooling2D,
        GlobalMaxPooling3D,
        MaxPooling1D,
        MaxPooling2D,
        MaxPooling3D,
    )
    from pellucid.layers.pooling import AveragePooling1D as AvgPool1D
    from pellucid.layers.pooling import AveragePooling2D as AvgPool2D
    from pellucid.layers.pooling import AveragePooling3D as AvgPool3D
    from pellucid.layers.pooling import GlobalAveragePooling1D as GlobalAvgPool1D
    from pellucid.layers.pooling import GlobalAveragePooling2D as GlobalAvgPool2D
    from pellucid.layers.pooling import GlobalAveragePooling3D as GlobalAvgPool3D
    from pellucid.layers.pooling import GlobalMaxPooling1D as GlobalMaxPool1D
    from pellucid.layers.pooling import GlobalMaxPooling2D as GlobalMaxPool2D
    from pellucid.layers.pooling import GlobalMaxPooling3D as GlobalMaxPool3D
    from pellucid.layers.pooling import MaxPooling1D as MaxPool1D
    from pellucid.layers.pooling import MaxPooling2D as MaxPool2D
    from pellucid.layers.pooling import MaxPooling3D as MaxPool3D
    from pellucid.layers.preprocessing import CenterCrop, Rescaling, Resizing
    from pellucid.layers.recurrent import GRU, LSTM, RNN, SimpleRNN, StackedRNNCells
    from pellucid.layers.regularization import ActivityRegularization
    from pellucid.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
    from pellucid.layers.resizing import (
        Cropping1D,
        Cropping2D,
        Cropping3D,
        UpSampling1D,
        UpSampling2D,
        UpSampling3D,
        ZeroPadding1D,
        ZeroPadding2D,
        ZeroPadding3D,
    )
    from pellucid.layers.spectral import SpectralNormalization
    from pellucid.layers.standardization import Normalization
    from pellucid.layers.wrapping import Bidirectional, TimeDistributed, Wrapper
else:
    __getattr__, __dir__ = at_first_use()

__all__ = [
    "Activation",
    "ActivityRegularization",
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "BatchNormalization",
    "Bidirectional",
    "CenterCrop",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "Convolution1D",
    "Convolution1DTranspose",
    "Convolution2D",
    "Convolution2DTranspose",
    "Convolution3D",
    "Convolution3DTranspose",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "ELU",
    "EinsumDense",
    "Embedding",
    "Flatten",
    "GRU",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "GroupQueryAttention",
    "Identity",
    "Input",
    "InputLayer",
    "InputSpec",
    "LSTM",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "RNN",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Resizing",
    "ReversibleEmbedding",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "SpectralNormalization",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "Wrapper",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
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
