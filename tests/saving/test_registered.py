"""Classes and functions of the user's own: registered, in a scope, handed in. Keras is the oracle of names."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import pellucid
from pellucid import activations, layers, losses, saving, utils


@pytest.fixture(autouse=True)
def _table_as_before():
    before = dict(saving.get_custom_objects())
    yield
    saving.get_custom_objects().clear()
    saving.get_custom_objects().update(before)


def described(k):
    """What either library says of registered classes and functions."""

    @k.saving.register_keras_serializable("project", "Twofold")
    class Twice(k.layers.Layer):
        def call(self, x):
            return 2 * x

    @k.saving.register_keras_serializable()
    def triple(x):
        return 3 * x

    written = k.saving.serialize_keras_object(triple), k.saving.serialize_keras_object(Twice(name="t"))
    return {
        "names": [k.saving.get_registered_name(thing) for thing in (Twice, triple, k.layers.Dense, abs)],
        "found": [k.saving.get_registered_object(name) for name in ("project>Twofold", "Custom>triple", "Dense")] == [Twice, triple, None],
        "function": written[0],
        "class": [written[1][key] for key in ("class_name", "registered_name")],
        "read": k.saving.deserialize_keras_object(written[1]).name,
        "called": k.saving.deserialize_keras_object(written[0])(2.0),
    }


def test_registered_names_are_those_of_keras():
    assert described(pellucid) == described(keras)


def test_functions_are_the_same_in_utils():
    for name in ("register_keras_serializable", "custom_object_scope", "CustomObjectScope", "get_custom_objects"):
        assert getattr(utils, name) is getattr(saving, name)
    for name in ("serialize_keras_object", "deserialize_keras_object", "get_registered_name", "get_registered_object"):
        assert getattr(utils, name) is getattr(saving, name)


def test_names_in_a_scope_are_known_inside_it_alone():
    def halve(x):
        return x / 2

    class Loss(losses.Loss):
        def call(self, y_true, y_pred):
            return abs(y_true - y_pred).sum(-1)

    with saving.custom_object_scope({"halve": halve, "mine": Loss}):
        with saving.custom_object_scope({"other": abs}):
            assert activations.get("halve") is halve and activations.get("other") is abs
        assert float(layers.Dense(1, "halve", kernel_initializer="ones")(np.ones((1, 4)))[0, 0]) == 2.0
        assert isinstance(losses.get("mine"), Loss)
        model = pellucid.Sequential([layers.Dense(1)])
        model.compile("sgd", "mine")
        with pytest.raises(ValueError, match="no activation 'other'"):
            activations.get("other")
    with pytest.raises(ValueError, match="no activation 'halve'"):
        activations.get("halve")
    assert activations.deserialize("halve", {"halve": halve}) is halve


def test_a_scope_ends_with_an_error():
    with pytest.raises(KeyError), saving.custom_object_scope({"halve": abs}):
        raise KeyError
    assert saving.get_registered_object("halve") is None


def test_a_table_of_the_users_own_is_asked_last():
    saving.get_custom_objects()["a"] = 1
    assert saving.get_registered_object("a", {"a": 2}) == 1
    assert saving.get_registered_object("b", {"b": 2}, {"b": 3}) == 2 and saving.get_registered_object("b", None, {"b": 3}) == 3


def test_wrong_use():
    with pytest.raises(TypeError, match="register_keras_serializable: got 3; expected a class or a function"):
        saving.register_keras_serializable("p")(3)
    with pytest.raises(ValueError, match=r"the class 'Plain' has no get_config\. Define `def get_config"):

        @saving.register_keras_serializable()
        class Plain:
            pass

    with pytest.raises(TypeError, match=r"custom_object_scope: custom_objects=\[1\]; expected a dict"):
        saving.custom_object_scope([1])
