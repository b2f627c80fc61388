"""Weights in files, objects as plain data, and names for classes of your own. The forms are Keras's."""

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
from pellucid.saving.report import LoadReport
from pellucid.saving.weights import load_weights, save_weights

__all__ = [
    "CustomObjectScope",
    "LoadReport",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_weights",
    "register_keras_serializable",
    "save_weights",
    "serialize_keras_object",
]
