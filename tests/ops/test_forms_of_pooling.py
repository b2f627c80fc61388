"""Pooling in passes over the axes, the form for a CPU, gives the values and derivatives of XLA's operations on windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pellucid import ops
from pellucid.core.forms import FASTER_ON
from tests.cases import some_slow

pytestmark = pytest.mark.skipif(jax.default_backend() not in FASTER_ON["max_of_windows"], reason="this device takes the plain form")
RANDOM = np.random.default_rng(0)
CASES = [  # (shape, window, strides, padding, data format)
    ((2, 6, 7, 3), 2, 2, "valid", "channels_last"),
    ((2, 7, 8, 3), 3, 2, "same", "channels_last"),
    ((2, 6, 5, 2), (3, 2), 1, "same", "channels_last"),
    ((2, 9, 8, 2), 2, 3, "valid", "channels_last"),
    ((2, 9, 4, 2), (3, 1), (1, 2), "same", "channels_last"),
    ((2, 2, 7, 6), 3, (2, 3), "valid", "channels_first"),
    ((2, 11, 3), 5, 2, "valid", "channels_last"),
    ((1, 4, 5, 4, 2), 2, 2, "same", "channels_last"),
    ((2, 5, 5, 2), 5, 5, "valid", "channels_last"),
    ((1, 600, 1), 2, 300, "valid", "channels_last"),
]
OFTEN = [CASES[1], CASES[5], CASES[-1]]


def plain(name, x, window, strides, padding, data_format):
    """The same by XLA's operations on windows. Maxima beyond the edges are -inf."""
    rank = x.ndim - 2
    per_axis = lambda v: (v,) * rank if isinstance(v, int) else v
    outer = lambda v: (1, *per_axis(v), 1) if data_format == "channels_last" else (1, 1, *per_axis(v))
    maximum = name == "max_pool"
    kind, start = (jax.lax.max, -np.inf) if maximum else (jax.lax.add, 0)
    pooled = lambda x: jax.lax.reduce_window(x, np.array(start, x.dtype), kind, outer(window), outer(strides), padding.upper())
    return pooled(x) if maximum else pooled(x) / pooled(jnp.ones_like(x))


def of(name, case):
    shape, *options = case
    return lambda x: getattr(ops, name)(x, *options), lambda x: plain(name, x, *options)


def with_ties(shape):
    return RANDOM.integers(-2, 3, shape).astype("float32")


def assert_close(a, b, **options):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, **options)


@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
@pytest.mark.parametrize("case", some_slow([(c,) for c in CASES], [(c,) for c in OFTEN]))
def test_values_and_derivatives_are_those_of_the_plain_form(name, case):
    own, theirs = of(name, case)
    rows, direction = np.stack([with_ties(case[0]) for _ in range(2)]), RANDOM.normal(size=case[0]).astype("float32")
    weights = RANDOM.normal(size=jax.eval_shape(theirs, rows[0]).shape).astype("float32")

    @jax.jit
    def values_and_gradients(rows, weights):
        first, other = ((theirs(x), jax.vjp(theirs, x)[1](weights)[0]) for x in rows)
        batched = jax.vmap(lambda x: (own(x), jax.vjp(own, x)[1](weights)[0]))(rows)
        y, backward = jax.vjp(own, rows[0])
        return first, other, batched, (y, backward(weights)[0]), jax.jvp(own, (rows[0],), (direction,))

    first, other, batched, (y, gradient), (_, tangent) = values_and_gradients(rows, weights)
    assert_close(y, first[0])
    assert_close(gradient, first[1], err_msg="by reverse mode: of equal maxima the first has it")
    assert_close(np.vdot(tangent, weights), np.vdot(direction, first[1]), err_msg="by forward mode")
    for both, one, two in zip(batched, first, other, strict=True):
        assert_close(both, np.stack([one, two]), err_msg="under vmap")


@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
@pytest.mark.parametrize("case", some_slow([(c,) for c in CASES[:7]], [(CASES[1],)]))
def test_second_derivatives_are_those_of_the_plain_form(name, case):
    """The outputs y are linear in x around it, J dx: the second derivatives of the sum of y cubed are 6 J' diag(y) J."""
    own, theirs = of(name, case)
    x = with_ties((1, *case[0][1:]))
    hessian = jax.jit(jax.jacfwd(jax.grad(lambda x: (own(x) ** 3).sum())))(x).reshape(x.size, x.size)
    jacobian = jax.jit(jax.jacrev(theirs))(x).reshape(-1, x.size)
    assert_close(hessian, jacobian.T @ (6 * theirs(x).reshape(-1, 1) * jacobian), err_msg=str(case))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_infinite_and_undefined_elements_are_treated_as_by_the_plain_form(padding):
    own, theirs = of("max_pool", (None, 3, 2, padding, "channels_last"))
    x = with_ties((2, 7, 8, 3))
    x[0, :4] = -np.inf  # whole windows, those at the edge included
    x[1, 3, 3] = np.inf
    gradient = lambda f: jax.jit(jax.grad(lambda x: jnp.where(jnp.isinf(y := f(x)), 2 * y, y).sum()))(x)
    np.testing.assert_array_equal(gradient(own), gradient(theirs))
    x[1, 5, 5] = np.nan
    np.testing.assert_array_equal(own(x), theirs(x))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "uint8", "int32"])
def test_every_dtype_is_pooled(dtype):
    x = RANDOM.integers(0, 100, (2, 6, 6, 2)).astype(dtype)
    largest = ops.max_pool(x, 2)
    assert largest.dtype == dtype
    np.testing.assert_array_equal(largest, x.reshape(2, 3, 2, 3, 2, 2).max((2, 4)))


def test_windows_longer_than_the_passes_take_are_pooled_too():
    for name, size, strides in (("max_pool", 40, 20), ("average_pool", 40, 20), ("average_pool", 12, 1)):
        own, theirs = of(name, (None, size, strides, "same", "channels_last"))
        x = with_ties((1, 81, 2))
        results = jax.jit(lambda x: [(y, backward(y)) for y, backward in (jax.vjp(f, x) for f in (own, theirs))])(x)  # noqa: B023
        jax.tree.map(assert_close, *results)


@pytest.mark.parametrize("name", ["max_pool", "average_pool"])
def test_no_search_in_windows_is_left_in_a_compiled_gradient(name):
    def loss(x):
        return sum((of(name, case)[0](x) ** 2).sum() for case in CASES[:3])

    program = jax.jit(jax.grad(loss)).lower(with_ties(CASES[0][0])).compile().as_text()
    assert "select-and-scatter" not in program and "reduce-window" not in program
