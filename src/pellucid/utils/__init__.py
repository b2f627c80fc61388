"""Small things that scripts import beside layers and models."""

from pellucid.backend import clear_session, standardize_dtype
from pellucid.core.serialization import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from pellucid.datasets.files import get_file
from pellucid.training.data import PyDataset
from pellucid.training.own_step import pack as pack_x_y_sample_weight
from pellucid.training.own_step import unpack as unpack_x_y_sample_weight
from pellucid.utils.aliases import install_as_keras
from pellucid.utils.numerical import normalize, to_categorical
from pellucid.utils.plotting import plot_model
from pellucid.utils.seeding import set_random_seed
from pellucid.utils.sequences import pad_sequences
from pellucid.utils.splitting import split_dataset
from pellucid.utils.timeseries import timeseries_dataset_from_array

Sequence = PyDataset  # Keras's older name for it

__all__ = [
    "CustomObjectScope",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "install_as_keras",
    "normalize",
    "pad_sequences",
    "pack_x_y_sample_weight",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
