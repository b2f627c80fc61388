"""Python's operators on the objects that stand for arrays."""

import numpy as np
import pytest

import pellucid
from pellucid.core.mode import TrainingFlag
from pellucid.core.symbolic import SymbolicTensor
from pellucid.core.variable import Variable

BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift", "divmod"]
REFLECTED = [f"r{name}" for name in BINARY]
COMPARISONS = ["lt", "le", "gt", "ge"]
UNARY = ["neg", "pos", "abs", "invert"]
NOT_IN_KERAS = ("lshift", "rshift", "divmod", "rlshift", "rrshift", "rdivmod", "pos")  # so that no config could name them


@pytest.mark.parametrize("cls", [Variable, TrainingFlag, SymbolicTensor])
@pytest.mark.parametrize("name", [*BINARY, *REFLECTED, *COMPARISONS, *UNARY])
def test_it_has_the_operators_of_arrays(cls, name):
    assert callable(getattr(cls, f"__{name}__", None)) is (cls is not SymbolicTensor or name not in NOT_IN_KERAS)


@pytest.mark.parametrize("name", [*BINARY, *REFLECTED])
def test_a_variable_computes_as_its_value_does(name):
    kind = "int32" if any(part in name for part in ("and", "or", "shift")) else "float32"
    given = np.array([[1, 2], [3, 4]], kind)
    variable = Variable(lambda shape, dtype: given, (2, 2), kind)
    other = np.array([[2, 1], [1, 3]], kind)
    got, expected = getattr(variable, f"__{name}__")(other), getattr(given, f"__{name}__")(other)
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-6)


@pytest.mark.parametrize("name", ["neg", "pos", "abs"])
def test_unary_operators_give_those_of_the_value(name):
    variable = Variable(lambda shape, dtype: np.array([-1.0, 2.0], "float32"), (2,))
    np.testing.assert_array_equal(getattr(variable, f"__{name}__")(), getattr(np.array([-1.0, 2.0], "float32"), f"__{name}__")())


def test_symbolic_operators_keep_the_order_of_what_they_take():
    x = pellucid.Input((2,))
    model = pellucid.Model(x, [1.0 - x, x - 1.0, 2.0**x, -x, abs(x), x < 0])
    got = model(np.array([[-1.0, 3.0]], "float32"))
    for value, expected in zip(got, ([2, -2], [-2, 2], [0.5, 8], [1, -3], [1, 3], [True, False]), strict=True):
        np.testing.assert_array_equal(np.asarray(value)[0], expected)


def test_an_operand_of_another_class_gets_its_turn():
    class Other:
        def __radd__(self, other):
            return "its own"

    assert Variable(lambda shape, dtype: np.zeros(2, "float32"), (2,)) + Other() == "its own"
