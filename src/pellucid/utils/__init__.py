"""Small things that scripts import beside layers and models."""

from typing import TYPE_CHECKING

from pellucid.core.lazily import at_first_use

if TYPE_CHECKING:
    from pellucid.backend import clear_session, is_keras_tensor, standardize_dtype
    from pellucid.config import disable_interactive_logging, enable_interactive_logging, is_interactive_logging_enabled
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
    from pellucid.models.network import get_source_inputs
    from pellucid.training.data import PyDataset
    from pellucid.training.data import PyDataset as Sequence  # Keras's older name for it
    from pellucid.training.own_step import pack as pack_x_y_sample_weight
    from pellucid.training.own_step import unpack as unpack_x_y_sample_weight
    from pellucid.utils.aliases import install_as_keras
    from pellucid.utils.numerical import normalize, to_categorical
    from pellucid.utils.plotting import plot_model
    from pellucid.utils.progbar import Progbar
    from pellucid.utils.seeding import set_random_seed
    from pellucid.utils.sequences import pad_sequences
    from pellucid.utils.splitting import split_dataset
    from pellucid.utils.timeseries import timeseries_dataset_from_array
else:
    __getattr__, __dir__ = at_first_use()

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "install_as_keras",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
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
