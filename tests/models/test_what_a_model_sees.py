"""Data and types are converted in one place: whoever is asked, a model sees the same, and what Keras's models see."""

from __future__ import annotations

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.errors import DataError
from tests.cases import some_slow

TYPES = ("bool", "int8", "uint8", "int32", "int64", "uint64", "float16", jnp.bfloat16, "float32", "float64", "complex64", "complex128")


def first_row(library):
    class FirstRow(library.Model):
        def call(self, x):
            return x[:, :1]

    return FirstRow()


class Magnitude(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(jnp.abs(x.astype("complex64")))


def data(dtype):
    return (np.arange(24).reshape(8, 3) % 5).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("use", [lambda m, x: m(x), lambda m, x: m.predict(x, verbose=0)])
def test_types_of_data_become_those_of_keras(dtype, use):
    ours, theirs = (use(first_row(library), data(dtype)) for library in (pellucid, keras))
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", some_slow([*TYPES, "longdouble"], [*TYPES][::4]))
def test_whoever_is_asked_sees_the_same_type(dtype):
    model = Magnitude()
    model.compile("sgd", "mse", max_captures=1)
    x, y = data(dtype), np.ones((8, 1))
    model.capture(x)
    model.preflight(x, 8)
    model.summary(input_shape=x, print_fn=lambda text: None)
    model.build(x)
    model.fit(x, y, verbose=0)
    model.fit(iter([(x, y)]), verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.activations(x)
    assert model.ledger.call_count == 1
    assert model.graph.signature.leaves == (((None, 3), str(pellucid.ops.convert_to_tensor(x).dtype)),)


NOT_NUMERIC = {"strings": np.array([["a", "b"]]), "objects": np.array([[1, None]], object), "dates": np.zeros((2, 3), "datetime64[s]")}
ASKED = {
    "capture": lambda m, x: m.capture(x),
    "preflight": lambda m, x: m.preflight(x),
    "summary": lambda m, x: m.summary(input_shape=x),
    "build": lambda m, x: m.build(x),
    "fit": lambda m, x: m.fit(x, x, verbose=0),
    "evaluate": lambda m, x: m.evaluate(x, x, verbose=0),
    "predict": lambda m, x: m.predict(x, verbose=0),
    "activations": lambda m, x: m.activations(x),
    "call of layer 'magnitude'": lambda m, x: m(x),
    "convert_to_tensor": lambda m, x: pellucid.ops.convert_to_tensor(x),
}


@pytest.mark.parametrize("where", ASKED)
@pytest.mark.parametrize("x", NOT_NUMERIC.values(), ids=NOT_NUMERIC)
def test_what_is_no_number_is_refused_by_the_function_that_was_called(where, x):
    model = Magnitude()
    model.compile("sgd", "mse")
    with pytest.raises(DataError, match=rf"^{where}: .* has dtype .*, which is not numeric\. Convert it"):
        ASKED[where](model, x)
    assert not model.weights


def test_tables_describe_inputs_as_they_are_data():
    class Table:
        def __init__(self, values):
            self.values, self.shape = values, values.shape

        def to_numpy(self):
            return self.values

    model = Magnitude()
    model.compile("sgd", "mse", max_captures=1)
    x = Table(data("float64"))
    model.capture(x)
    model.fit(x, np.ones((8, 1)), verbose=0)
    assert model.ledger.call_count == 1


@pytest.mark.parametrize("loss", ["mse", "mae", "binary_crossentropy", lambda y, p: jnp.mean(p)])
def test_complex_outputs_have_no_loss(loss):
    model = first_row(pellucid)
    model.compile("sgd", loss)
    x, y = data("complex64"), np.ones((8, 1), "float32")
    with pytest.raises(ValueError, match=r"y_pred is complex64; expected real numbers.*ops\.abs"):
        model.evaluate(x, y, verbose=0)
    with pytest.raises(ValueError, match=r"y_true is complex64; expected real numbers"):
        model.evaluate(y, x[:, :1], verbose=0)
