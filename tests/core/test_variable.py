"""Variables: arrays with a name that stand wherever an array can, and that never share memory with what users hold."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import pellucid
from pellucid import Variable
from pellucid.errors import CaptureError
from tests.graph.helpers import normal

A = np.array([[2.0, -3.0], [5.0, 7.0]], "float32")
B = np.array([[1.0, 4.0], [-2.0, 0.5]], "float32")

# ---- Operators ----


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "lt", "le", "gt", "ge"])
def test_binary_operators_act_on_the_values(name):
    act = getattr(operator, name)
    for one, other in [(Variable(A), B), (Variable(A), Variable(B)), (Variable(A), jnp.asarray(B)), (jnp.asarray(A), Variable(B))]:
        result = act(one, other)
        assert isinstance(result, jax.Array)
        np.testing.assert_allclose(result, act(A, B), rtol=1e-6)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "matmul", "lt"])
@pytest.mark.parametrize("left", [A, np.float32(2.0)], ids=["array", "scalar"])
def test_a_numpy_operand_on_the_left_leaves_the_operator_to_the_variable(name, left):
    if name == "matmul" and left.ndim == 0:
        left = A[0]
    result = getattr(operator, name)(left, Variable(B))
    assert isinstance(result, jax.Array)
    np.testing.assert_allclose(result, getattr(operator, name)(left, B), rtol=1e-6)


@pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift", "pow"])
def test_integer_operators_act_on_the_values(name):
    act, a, b = getattr(operator, name), np.array([5, 2, 3], "int32"), np.array([1, 2, 0], "int32")
    np.testing.assert_array_equal(act(Variable(a), b), act(a, b))
    np.testing.assert_array_equal(act(jnp.asarray(a), Variable(b)), act(a, b))


@pytest.mark.parametrize("number", [3, 2.5])
def test_python_numbers_do_not_change_the_dtype(number):
    v = Variable(A)
    for result, expected in [(v + number, A + number), (number - v, number - A), (number / v, number / A), (v**2, A**2)]:
        assert result.dtype == jnp.float32
        np.testing.assert_allclose(result, expected.astype("float32"), rtol=1e-6)


def test_unary_operators_act_on_the_value():
    v = Variable(A)
    for result, expected in [(-v, -A), (+v, A), (abs(v), abs(A)), (~Variable(A > 0), ~(A > 0))]:
        np.testing.assert_array_equal(result, expected)


def test_it_is_indexed_and_iterated_like_an_array():
    v = Variable(A)
    np.testing.assert_array_equal(v[0], A[0])
    np.testing.assert_array_equal(v[:, 1:], A[:, 1:])
    np.testing.assert_array_equal(jnp.stack(list(v)), A)
    assert len(v) == 2
    assert (v.ndim, v.size, v.shape, v.dtype) == (2, 4, (2, 2), "float32")
    with pytest.raises(TypeError, match="scalar"):
        len(Variable(1.0, name="scalar"))


def test_it_has_the_methods_of_arrays():
    v = Variable(A)
    np.testing.assert_array_equal(v.T, A.T)
    np.testing.assert_allclose(v.sum(axis=0), A.sum(axis=0))
    np.testing.assert_array_equal(v.reshape(-1), A.reshape(-1))
    np.testing.assert_array_equal(v.at[0].set(0.0), [[0, 0], [5, 7]])
    with pytest.raises(AttributeError, match="nonsense"):
        _ = v.nonsense


# ---- JAX takes it as an array ----

KERNEL = normal(3, 3)
X = normal(4, 3, seed=1)
USES = {
    "jnp.matmul": lambda x, v: jnp.matmul(x, v),
    "array @ variable": lambda x, v: x @ v,
    "jnp.where": lambda x, v: jnp.where(x.sum() > 0, v, 0.0),
    "jnp.einsum": lambda x, v: jnp.einsum("bi,ij->bj", x, v),
    "jnp.concatenate": lambda x, v: jnp.concatenate([x, v]),
    "jnp.take": lambda x, v: jnp.take(v, jnp.array([2, 0]), axis=0),
    "jnp.linalg.norm": lambda x, v: jnp.linalg.norm(v),
    "jax.nn.softmax": lambda x, v: jax.nn.softmax(v),
    "lax.dot": lambda x, v: lax.dot(x, v),
    "lax.add": lambda x, v: lax.add(v, v),
    "lax.dot_general": lambda x, v: lax.dot_general(x, v, (((1,), (0,)), ((), ()))),
    "lax.conv": lambda x, v: lax.conv(x[None, None], v[None, None], (1, 1), "SAME"),
    "scan over it": lambda x, v: lax.scan(lambda c, row: (c + row, c), jnp.zeros(3), v)[1],
    "vmap over it": lambda x, v: jax.vmap(lambda row: row * 2)(v),
    "a user's jit": lambda x, v: jax.jit(lambda x, v: x @ v)(x, v),
    "grad": lambda x, v: jax.grad(lambda w: jnp.tanh(x @ w).sum())(v),
    "a tree": lambda x, v: jax.tree.map(lambda a: a * 2.0, {"a": v})["a"],
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_jax_takes_a_variable_where_it_takes_an_array(use):
    np.testing.assert_allclose(use(jnp.asarray(X), Variable(KERNEL)), use(jnp.asarray(X), jnp.asarray(KERNEL)), rtol=1e-6)


INDEX = np.array(1, "int32")
BY_TYPE = {
    "jnp.zeros_like": (lambda v: jnp.zeros_like(v), KERNEL),
    "jnp.full_like": (lambda v: jnp.full_like(v, 2.0), KERNEL),
    "jnp.result_type": (lambda v: jnp.result_type(v), KERNEL),
    "jax.jvp": (lambda v: jax.jvp(jnp.sin, (v,), (jnp.ones((3, 3)),)), KERNEL),
    "jax.hessian": (lambda v: jax.hessian(lambda a: (a**3).sum())(v), KERNEL),
    "jnp.full": (lambda v: jnp.full((2,), v), INDEX),
    "lax.switch": (lambda v: lax.switch(v, [lambda: 0.0, lambda: 1.0]), INDEX),
    "lax.fori_loop": (lambda v: lax.fori_loop(0, v, lambda i, x: x + 1, 0), INDEX),
    "lax.dynamic_slice": (lambda v: lax.dynamic_slice(jnp.arange(4), (v,), (2,)), INDEX),
    "lax.cond": (lambda v: lax.cond(v, lambda: 1.0, lambda: 2.0), np.array(True)),
}


@pytest.mark.parametrize(("use", "value"), BY_TYPE.values(), ids=BY_TYPE)
def test_jax_takes_a_variable_also_where_it_asks_for_its_data_type(use, value):
    for a, b in zip(jax.tree.leaves(use(Variable(value))), jax.tree.leaves(use(jnp.asarray(value))), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.xfail(strict=True, reason="JAX indexes by JAX and NumPy arrays and whole numbers alone; x[v.value] works")
def test_a_variable_is_an_index():
    assert int(jnp.arange(4)[Variable(INDEX)]) == 1


def test_a_users_jit_sees_the_present_value_of_a_variable_given_as_argument():
    v = Variable(KERNEL)
    product = jax.jit(lambda x, w: x @ w)
    np.testing.assert_allclose(product(X, v), X @ KERNEL, rtol=1e-5)
    v.assign(2 * KERNEL)
    np.testing.assert_allclose(product(X, v), X @ (2 * KERNEL), rtol=1e-5)


def test_a_users_jit_closes_over_a_variable():
    v = Variable(KERNEL)
    np.testing.assert_allclose(jax.jit(lambda x: x @ v)(X), X @ KERNEL, rtol=1e-5)


def test_a_boolean_variable_decides_a_cond_of_jax():
    v = Variable(True)
    assert float(lax.cond(v.value, lambda x: x + 1, lambda x: x - 1, 1.0)) == 2.0


# ---- Values, types ----


@pytest.mark.parametrize(
    ("given_value", "dtype", "expected"),
    [
        ([1.0, 2.0], None, "float32"),
        (np.array([1.0, 2.0]), None, "float32"),  # NumPy's default is float64
        ([1, 2], None, "int32"),
        (np.array([1.0], "float16"), None, "float16"),
        (True, None, "bool"),
        ([1.7, 2.2], "int32", "int32"),
        ([1, 2], jnp.bfloat16, "bfloat16"),
        (np.float32(1.5), "float16", "float16"),
    ],
)
def test_the_dtype_is_the_given_one_or_that_of_the_value(given_value, dtype, expected):
    v = Variable(given_value, dtype=dtype)
    assert v.dtype == expected == v.value.dtype.name
    np.testing.assert_array_equal(v.numpy(), np.asarray(given_value).astype(jnp.dtype(expected)))


def test_literals_take_the_default_float_type():
    pellucid.config.set_floatx("float16")
    assert Variable([0.5]).dtype == "float16"
    assert Variable(lambda shape, dtype: np.ones(shape, dtype), shape=(2,)).dtype == "float16"


def test_an_initializer_is_called_once_with_shape_and_dtype_and_only_when_needed():
    calls = []

    def initializer(shape, dtype):
        calls.append((shape, dtype))
        return np.full(shape, 3.0)

    v = Variable(initializer, shape=(2, np.int64(1)), dtype="float16")
    assert (v.shape, v.dtype, calls) == ((2, 1), "float16", [])
    for _ in range(2):
        assert v.numpy().tolist() == [[3.0], [3.0]]
    assert calls == [((2, 1), "float16")]


def test_an_initializer_needs_a_shape_and_must_keep_it():
    with pytest.raises(ValueError, match="'w'.*shape=None"):
        Variable(lambda shape, dtype: np.ones(shape), name="w")
    v = Variable(lambda shape, dtype: np.ones((3,)), shape=(2,), name="w")
    for _ in range(2):  # the second time, too
        with pytest.raises(ValueError, match=r"'w' returned shape \(3,\); expected \(2,\)"):
            v.numpy()


# ---- Assigning ----


def test_assign_replaces_and_converts():
    v = Variable(A)
    v.assign(B.astype("float64"))
    assert v.dtype == v.value.dtype == "float32"
    np.testing.assert_array_equal(v.numpy(), B)
    v.assign(np.array([[1, 2], [3, 4]]))
    v.assign_add(Variable(np.ones((2, 2), "float32")))
    v.assign_sub(0.5)
    np.testing.assert_array_equal(v.numpy(), [[1.5, 2.5], [3.5, 4.5]])


def test_a_list_can_be_assigned():
    v = Variable(A)
    v.assign([[1, 2], [3, 4]])
    np.testing.assert_array_equal(v.numpy(), [[1.0, 2.0], [3.0, 4.0]])


def test_assign_to_an_integer_variable_truncates_as_astype_does():
    v = Variable([0, 0])
    v.assign(np.array([1.9, -1.9]))
    assert v.numpy().tolist() == [1, -1]
    assert v.value.dtype == "int32"


@pytest.mark.parametrize("method", ["assign", "assign_add", "assign_sub"])
@pytest.mark.parametrize("value", [np.ones((3, 2)), np.ones((2, 3, 2))], ids=["rows", "axes"])
def test_a_wrong_shape_names_the_variable_and_changes_nothing(method, value):
    v = Variable(np.zeros((2, 3, 3), "float32") if value.ndim == 3 else A, name="kernel")
    before = v.numpy()
    with pytest.raises((ValueError, TypeError), match="kernel|shape"):
        getattr(v, method)(value)
    np.testing.assert_array_equal(v.numpy(), before)


def test_assign_does_not_broadcast():
    v = Variable(A, name="kernel")
    with pytest.raises(ValueError, match=r"'kernel': assign got a value of shape \(\); expected \(2, 2\)"):
        v.assign(0.0)


def test_assign_add_of_a_value_that_would_change_the_shape_is_refused():
    v = Variable(np.zeros(2, "float32"), name="bias")
    with pytest.raises(ValueError, match=r"'bias'.*\(3, 2\).*expected \(2,\)"):
        v.assign_add(np.zeros((3, 2), "float32"))


@given(st.lists(st.tuples(st.sampled_from(["assign", "assign_add", "assign_sub"]), st.integers(-100, 100)), max_size=6))
@settings(max_examples=20, deadline=None)
def test_a_sequence_of_assignments_adds_up(steps):
    v, expected = Variable(0), 0
    for method, number in steps:
        getattr(v, method)(number)
        expected = {"assign": number, "assign_add": expected + number, "assign_sub": expected - number}[method]
    assert int(v) == expected


@pytest.mark.parametrize("value", [3.0, np.float32(3.0), np.array(3.0, "float32")], ids=["number", "scalar", "array"])
def test_assigning_inside_a_users_jit_is_refused_and_leaks_no_tracer(value):
    v = Variable(1.0, name="w")

    @jax.jit
    def step(x):
        v.assign(value)
        return x

    with pytest.raises(CaptureError, match="variable 'w' is assigned inside a JAX transformation"):
        step(1.0)
    assert float(v) == 1.0


def test_assigning_a_traced_value_inside_a_users_jit_is_refused():
    v = Variable(1.0, name="w")
    with pytest.raises(CaptureError, match="variable 'w' is assigned inside a JAX transformation"):
        jax.jit(v.assign)(2.0)
    with pytest.raises(CaptureError, match="variable 'w'"):
        jax.jit(lambda x: v.assign_add(x))(2.0)
    assert float(v) == 1.0


def test_a_variable_made_of_a_traced_value_is_refused():
    with pytest.raises(CaptureError, match="would be made from a value of the computation"):
        jax.jit(lambda x: Variable(x).value)(1.0)


# ---- Memory: nobody shares an array ----


def test_numpy_conversions_are_copies():
    v = Variable(A)
    for copy in (v.numpy(), np.array(v), np.asarray(v), np.asarray(v, "float64"), v.__array__()):
        copy[:] = 99.0
    np.testing.assert_array_equal(v.numpy(), A)
    assert np.asarray(v, "float64").dtype == "float64"


def test_the_given_array_is_copied():
    given_value = A.copy()
    v = Variable(given_value)
    given_value[:] = 99.0
    np.testing.assert_array_equal(v.numpy(), A)
    v.assign(given_value)
    given_value[:] = -1.0
    np.testing.assert_array_equal(v.numpy(), np.full((2, 2), 99.0))


@pytest.mark.parametrize(
    "make",
    [lambda a: Variable(a), lambda a: Variable(Variable(a)), lambda a: Variable(lambda shape, dtype: a, shape=a.shape)],
    ids=["array", "variable", "initializer"],
)
def test_variables_made_of_one_array_do_not_share_it(make):
    array = jnp.asarray(A)
    one, other = make(array), make(array)
    pointers = {x.unsafe_buffer_pointer() for x in (array, one.array, other.array)}
    assert len(pointers) == 3
    one.assign_add(1.0)
    np.testing.assert_array_equal(other.numpy(), A)
    np.testing.assert_array_equal(array, A)


def test_an_assigned_array_is_not_shared_either():
    array, one, other = jnp.asarray(B), Variable(A), Variable(A)
    one.assign(array)
    other.assign(one)
    assert len({x.unsafe_buffer_pointer() for x in (array, one.array, other.array)}) == 3


def fitted(model):
    model.compile(optimizer="sgd", loss="mse")
    model.fit(normal(8, 3), normal(8, 1), batch_size=4, epochs=2, verbose=0)


TAKEN = {
    "value": lambda v: v.value,
    "jnp.asarray": lambda v: jnp.asarray(v),
    "identity jit": lambda v: jax.jit(lambda a: a)(v),
    "reshape to its own shape": lambda v: v.reshape(v.shape),
    "full slice": lambda v: v[...],
    "astype": lambda v: v.astype("float32"),
    "device_put": lambda v: jax.device_put(v.value),
}


def test_arrays_taken_from_a_weight_stay_readable_after_training_steps():
    model = _Line()
    model.build((None, 3))
    kernel = model.out.kernel
    for _ in range(2):  # the second time after donation has begun
        now = kernel.numpy()
        taken = {how: take(kernel) for how, take in TAKEN.items()}
        fitted(model)
        assert not np.array_equal(kernel.numpy(), now)
        for how, array in taken.items():
            np.testing.assert_array_equal(array, now, err_msg=how)


class _Line(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.out = pellucid.layers.Dense(1)

    def call(self, x):
        return self.out(x)


# ---- Identity, Python numbers, names ----


def test_equality_is_identity_so_that_variables_are_keys():
    one, other = Variable(1.0), Variable(1.0)
    assert one == one
    assert one != other
    assert {one: "a", other: "b"}[one] == "a"
    before = hash(one)
    one.assign(5.0)
    assert hash(one) == before
    assert one in [other, one] and one not in [other]


@pytest.mark.parametrize(("kind", "expected"), [(float, 3.0), (int, 3), (bool, True), (operator.index, 3)])
def test_scalars_become_python_numbers(kind, expected):
    result = kind(Variable(3))
    assert (type(result), result) == (type(expected), expected)


def test_an_array_of_several_elements_is_no_number():
    for kind in (float, int, bool):
        with pytest.raises(ValueError, match="reshape"):
            kind(Variable(A))


def test_names_are_given_or_numbered():
    assert [Variable(1.0).name, Variable(1.0).name, Variable(1.0, name="gain").name] == ["variable", "variable_1", "gain"]


def test_repr_shows_what_it_is_and_reads_no_value():
    v = Variable(lambda shape, dtype: pytest.fail("the value was made"), shape=(2, 3), name="kernel", trainable=False)
    assert repr(v) == "<Variable path=kernel shape=(2, 3) dtype=float32 trainable=False>"
