"""Convolutions."""

from tests.layers.case import Case, normal

SERIES = normal(2, 7, 4)
IMAGES = normal(2, 5, 6, 4)
VOLUMES = normal(2, 4, 5, 3, 2)
FIRST = normal(2, 4, 5, 6)  # channels first

CASES = {
    "Conv1D": Case(lambda k: k.layers.Conv1D(3, 2), SERIES, slow=True),
    "Conv1D causal": Case(lambda k: k.layers.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="relu"), SERIES),
    "Conv1D causal, channels first": Case(
        lambda k: k.layers.Conv1D(3, 2, padding="causal", data_format="channels_first"), SERIES, slow=True
    ),
    "Conv2D": Case(lambda k: k.layers.Conv2D(3, 3), IMAGES, slow=True),
    "Conv2D same": Case(lambda k: k.layers.Conv2D(3, (2, 3), strides=(2, 1), padding="same", activation="tanh"), IMAGES),
    "Conv2D of few channels": Case(lambda k: k.layers.Conv2D(8, (2, 1)), IMAGES),
    "Conv2D in groups": Case(lambda k: k.layers.Conv2D(6, 2, groups=2, use_bias=False), IMAGES),
    "Conv2D with regularizers": Case(
        lambda k: k.layers.Conv2D(3, 2, kernel_regularizer="l2", bias_regularizer=k.regularizers.L1(0.5), activity_regularizer="l2"),
        IMAGES,
        couples=True,
        slow=True,
    ),
    "Conv2D, channels first": Case(
        lambda k: k.layers.Conv2D(3, 2, data_format="channels_first", bias_initializer="ones"), FIRST, slow=True
    ),
    "Conv3D": Case(lambda k: k.layers.Conv3D(3, 2, strides=(1, 2, 1)), VOLUMES, slow=True),
    "Conv1DTranspose": Case(lambda k: k.layers.Conv1DTranspose(3, 3, strides=2), SERIES, slow=True),
    "Conv2DTranspose": Case(lambda k: k.layers.Conv2DTranspose(3, (3, 2), strides=2, padding="same"), IMAGES, slow=True),
    "Conv2DTranspose, more at the end": Case(
        lambda k: k.layers.Conv2DTranspose(3, 3, strides=(3, 2), output_padding=(2, 1), data_format="channels_first"), FIRST
    ),
    "Conv2DTranspose with gaps": Case(lambda k: k.layers.Conv2DTranspose(2, 2, dilation_rate=2, use_bias=False), IMAGES, slow=True),
    "Conv3DTranspose": Case(lambda k: k.layers.Conv3DTranspose(2, 2, 2, "valid", "channels_last", 1), VOLUMES[:, :2, :2], slow=True),
    "DepthwiseConv1D": Case(lambda k: k.layers.DepthwiseConv1D(3, strides=2, depth_multiplier=2), SERIES, slow=True),
    "DepthwiseConv2D": Case(lambda k: k.layers.DepthwiseConv2D(2, padding="same", activation="relu"), IMAGES, slow=True),
    "DepthwiseConv2D, channels first": Case(
        lambda k: k.layers.DepthwiseConv2D(2, depth_multiplier=2, dilation_rate=2, data_format="channels_first"), FIRST
    ),
    "SeparableConv1D": Case(lambda k: k.layers.SeparableConv1D(3, 2, depth_multiplier=2), SERIES, slow=True),
    "SeparableConv2D": Case(lambda k: k.layers.SeparableConv2D(3, 2, strides=2, padding="same"), IMAGES),
}
