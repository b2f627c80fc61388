"""Frames make stateful code pure: gradients, branches and loops that carry writes out."""

from __future__ import annotations

import gc
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import pellucid
from pellucid import CaptureError, Variable, ops, value_and_grad
from pellucid.core import frame
from pellucid.core.frame import Frame, Traced, functional
from pellucid.core.mode import by_training

X = np.array([1.0, -2.0, 3.0], "float32")


# ---- Frames ----


def test_reads_see_the_innermost_frame_then_those_around_it_then_the_variable():
    a, b, c = Variable(1.0), Variable(2.0), Variable(3.0)
    with Frame({a: jnp.float32(10.0), b: jnp.float32(20.0)}):
        with Frame({a: jnp.float32(100.0)}):
            assert [float(v.value) for v in (a, b, c)] == [100.0, 20.0, 3.0]
        assert float(a.value) == 10.0
    assert float(a.value) == 1.0


def test_writes_land_in_the_frame_and_not_in_the_variable():
    v = Variable(1.0)
    with Frame() as outer:
        v.assign(5.0)
        with Frame() as inner:
            v.assign_add(1.0)
            assert (float(v.value), list(inner.written)) == (6.0, [v])
        assert float(v.value) == 5.0
        assert list(outer.written) == [v]
    assert float(v) == 1.0


def test_a_frame_ends_with_an_exception_too():
    with pytest.raises(KeyError), Frame():
        raise KeyError
    assert frame.active_frame() is None


def test_threads_do_not_see_each_others_frames():
    v, seen = Variable(1.0), []
    with Frame({v: jnp.float32(7.0)}):
        thread = threading.Thread(target=lambda: seen.append((frame.active_frame(), float(v.value))))
        thread.start()
        thread.join()
        assert float(v.value) == 7.0
    assert seen == [(None, 1.0)]


def test_a_variable_without_a_frame_under_jit_is_its_value():
    v = Variable(2.0)
    assert float(jax.jit(lambda x: x * v)(3.0)) == 6.0


# ---- functional ----


def counted(x):
    counter.assign_add(1.0)
    return x * weight * counter


@pytest.fixture(autouse=True)
def _variables():
    global weight, counter
    weight, counter = Variable(3.0, name="weight"), Variable(0.0, name="counter")


def test_a_functional_form_takes_values_and_returns_outputs_and_new_values():
    pure = functional(counted, [weight, counter])
    outputs, new = jax.jit(pure)([2.0, 10.0], 5.0)
    assert float(outputs) == 5.0 * 2.0 * 11.0
    assert [float(v) for v in new] == [2.0, 11.0]
    assert (float(weight), float(counter)) == (3.0, 0.0)


def test_a_functional_form_is_differentiated_and_vectorised_as_any_function():
    pure = functional(lambda x: x**2 * weight, [weight])
    gradient = jax.grad(lambda values, x: pure(values, x)[0], argnums=(0, 1))([2.0], 3.0)
    assert (float(gradient[0][0]), float(gradient[1])) == (9.0, 12.0)
    np.testing.assert_array_equal(jax.vmap(lambda x: pure([2.0], x)[0])(X), X**2 * 2)


def test_a_functional_form_needs_a_value_for_each_variable():
    with pytest.raises(ValueError, match="zip"):
        functional(counted, [weight, counter])([1.0], 2.0)


def test_a_functional_form_does_not_lose_other_writes_in_silence():
    with pytest.raises((ValueError, CaptureError), match="counter"):
        functional(counted, [weight])([2.0], 5.0)


# ---- value_and_grad ----


def test_values_and_gradients_are_those_of_jax():
    w, b = Variable(np.ones((3, 2), "float32")), Variable(np.zeros(2, "float32"))
    loss = lambda x: jnp.sum(jnp.tanh(x @ w + b) ** 2)
    plain = lambda values, x: jnp.sum(jnp.tanh(x @ values[0] + values[1]) ** 2)
    expected = jax.value_and_grad(plain)([jnp.ones((3, 2)), jnp.zeros(2)], X)
    for run in (value_and_grad(loss, [w, b]), jax.jit(value_and_grad(loss, [w, b]))):
        value, gradients = run(X)
        np.testing.assert_allclose(value, expected[0], rtol=1e-6)
        for a, e in zip(gradients, expected[1], strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-6)


def test_writes_inside_last_and_count_once():
    value, gradients = value_and_grad(lambda: counted(2.0), [weight])()
    assert (float(value), float(gradients[0]), float(counter)) == (6.0, 2.0, 1.0)
    value_and_grad(lambda: counted(2.0), [weight])()
    assert float(counter) == 2.0


def test_auxiliary_values_keep_their_structure():
    (value, aux), _ = value_and_grad(lambda: (weight**2, {"twice": weight * 2, "text": None}), [weight], has_aux=True)()
    assert (float(value), float(aux["twice"]), aux["text"]) == (9.0, 6.0, None)


def test_arguments_and_keywords_are_handed_on():
    value, (gradient,) = value_and_grad(lambda x, power=1: (weight * x) ** power, [weight])(2.0, power=3)
    assert (float(value), float(gradient)) == (216.0, 3 * 36 * 2)


def test_a_variable_that_is_not_read_has_gradient_zero():
    _, gradients = value_and_grad(lambda: counter * 2.0, [weight, counter])()
    assert [float(g) for g in gradients] == [0.0, 2.0]


def test_a_variable_that_is_written_before_it_is_read_has_the_gradient_of_its_old_value():
    def loss():
        weight.assign(weight * 2)
        return weight**2

    value, (gradient,) = value_and_grad(loss, [weight])()
    assert (float(value), float(gradient), float(weight)) == (36.0, 24.0, 6.0)  # d (2 w)^2 = 8 w


def test_gradients_of_gradients():
    inner = lambda: value_and_grad(lambda: weight**3, [weight])()[1][0]
    _, (second,) = value_and_grad(inner, [weight])()
    assert float(second) == 18.0  # 6 w


@pytest.mark.parametrize("variables", [(), "all"])
def test_an_exception_inside_keeps_the_state_and_the_frames(variables):
    def loss():
        counter.assign_add(1.0)
        raise KeyError

    with pytest.raises(KeyError):
        value_and_grad(loss, [weight] if variables else [])()
    assert float(counter) == 0.0
    assert frame.active_frame() is None


def test_a_gradient_in_a_users_jit_reads_but_may_not_write():
    run = jax.jit(lambda x: value_and_grad(lambda: x * weight, [weight])()[1][0])
    assert float(run(4.0)) == 4.0
    with pytest.raises(CaptureError, match="'counter' is assigned inside a JAX transformation"):
        jax.jit(lambda x: value_and_grad(lambda: counted(x), [weight])()[0])(4.0)
    assert float(counter) == 0.0


# ---- Branches and loops that carry writes ----
# Each is run at once, inside a user's functional form under jit, and in a capture; all must agree with plain Python.


def branch(x, positive):
    def yes(x):
        counter.assign_add(1.0)
        return x * 2

    return ops.cond(positive, yes, lambda x: x - 1, x)


def branch_without_operands(x, positive):
    return ops.cond(positive, lambda: counter.assign(x.sum()) or x, lambda: x * 0)


def both_branches_write(x, positive):
    return ops.cond(positive, lambda: counter.assign(1.0) or x, lambda: weight.assign(1.0) or x)


def scanned(x, positive):
    def turn(carry, v):
        counter.assign(counter * 2 + v)
        return carry + counter, carry

    return ops.scan(turn, jnp.float32(1.0), x)


def scanned_backwards(x, positive):
    return ops.scan(lambda c, v: (counter.assign_add(v) or c * 2 + counter, c), jnp.float32(1.0), x, reverse=True)


def scanned_by_length(x, positive):
    return ops.scan(lambda c, _: (c * (counter.assign_add(1.0) or counter.value), None), x, length=3)[0]


def counted_loop(x, positive):
    return ops.fori_loop(0, 4, lambda i, v: v + i * (counter.assign_add(1.0) or counter.value), x)


def bounded_loop(x, positive):
    return ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * (counter.assign_add(1.0) or counter.value)), (0, x))


def mapped(x, positive):
    return ops.map(lambda v: v * (counter.assign_add(1.0) or counter.value), x)


def nested(x, positive):
    def turn(carry, v):
        return ops.cond(v > 0, lambda: counter.assign_add(10.0) or carry + v, lambda: carry), counter.value

    return ops.scan(turn, jnp.float32(0.0), x)


def switched(x, positive):
    index = jnp.asarray(positive, "int32") * 2
    return ops.switch(index, [lambda: counter.assign(5.0) or x, lambda: x * 7, lambda: counter.assign_add(1.0) or x * counter])


def computed_again(x, positive):
    return ops.remat(lambda v, factor: (counter.assign_add(1.0) or v * counter) * factor)(x, 2)


def rows_at_once(x, positive):
    return ops.vectorized_map(lambda v: v * weight + counter, x)


def combined(x, positive):
    return ops.associative_scan(lambda a, b: a + b + weight, x)


def remat_in_scan_in_cond(x, positive):
    def turn(carry, v):
        return ops.remat(lambda c: (counter.assign_add(v), c * weight + counter)[1])(carry), v

    return ops.cond(positive, lambda: ops.scan(turn, jnp.float32(0.0), x), lambda: (jnp.float32(0.0), x))


EXPECTED = {  # function: what plain Python gives for X: (outputs where positive, counter), (outputs where not, counter)
    branch: (([2.0, -4.0, 6.0], 1.0), ([0.0, -3.0, 2.0], 0.0)),
    branch_without_operands: (([1.0, -2.0, 3.0], 2.0), ([0.0, 0.0, 0.0], 0.0)),
    both_branches_write: (([1.0, -2.0, 3.0], 1.0), ([1.0, -2.0, 3.0], 0.0)),
    scanned: (((5.0, [1.0, 2.0, 2.0]), 3.0),) * 2,
    scanned_backwards: (((24.0, [11.0, 5.0, 1.0]), 2.0),) * 2,
    scanned_by_length: (([6.0, -12.0, 18.0], 3.0),) * 2,
    counted_loop: (([21.0, 18.0, 23.0], 4.0),) * 2,
    bounded_loop: (((3, [6.0, -12.0, 18.0]), 3.0),) * 2,
    mapped: (([1.0, -4.0, 9.0], 3.0),) * 2,
    nested: (((4.0, [10.0, 10.0, 20.0]), 20.0),) * 2,
    switched: (([1.0, -2.0, 3.0], 1.0), ([1.0, -2.0, 3.0], 5.0)),
    computed_again: (([2.0, -4.0, 6.0], 1.0),) * 2,
    rows_at_once: (([3.0, -6.0, 9.0], 0.0),) * 2,
    combined: (([1.0, 2.0, 8.0], 0.0),) * 2,
    remat_in_scan_in_cond: (((8.0, [1.0, -2.0, 3.0]), 2.0), ((0.0, [1.0, -2.0, 3.0]), 0.0)),
}


@pytest.mark.parametrize("function", [scanned, scanned_backwards])
def test_the_expectations_of_scans_are_those_of_plain_python(function):
    count, carry, ys = 0.0, 1.0, []
    for v in X if function is scanned else X[::-1]:
        ys.append(carry)
        count = count * 2 + v if function is scanned else count + v
        carry = carry + count if function is scanned else carry * 2 + count
    assert (((carry, ys if function is scanned else ys[::-1]), count),) * 2 == EXPECTED[function]


def at_once(function, x, positive):
    outputs = function(x, positive)
    return outputs, float(counter)


def traced(function, x, positive):
    outputs, (count, _) = jax.jit(functional(function, [counter, weight]))([counter.value, weight.value], x, positive)
    assert float(counter) == 0.0
    return outputs, float(count)


def in_a_capture(function, x, positive):
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.variables_used = [counter, weight]

        def call(self, inputs):
            return jax.tree.map(
                lambda y: y[None] * jnp.ones((inputs.shape[0], *[1] * jnp.ndim(y))), function(jnp.asarray(X), inputs[0, 0] > 0)
            )

    graph = Model().capture((4, 1))
    outputs, _ = graph.run(jnp.full((2, 1), 1.0 if positive else -1.0), False)
    return jax.tree.map(lambda y: y[1], outputs), float(counter)


@pytest.mark.parametrize("run", [at_once, traced, in_a_capture])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("function", EXPECTED)
def test_branches_and_loops_carry_writes_out(function, positive, run):
    outputs, count = run(function, jnp.asarray(X), positive)
    expected, expected_count = EXPECTED[function][not positive]
    for a, e in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected, is_leaf=lambda v: isinstance(v, list)), strict=True):
        np.testing.assert_allclose(a, e)
    assert count == expected_count
    if function is both_branches_write and run is at_once:
        assert float(weight) == (3.0 if positive else 1.0)


def test_the_condition_of_a_while_loop_sees_what_the_body_assigns():
    def body(x):
        counter.assign_add(1.0)
        return x * 2

    out = ops.while_loop(lambda x: counter.value < 3, body, jnp.float32(1.0), maximum_iterations=10)
    assert (float(out), float(counter)) == (8.0, 3.0)


def test_a_while_loop_keeps_to_its_maximum_and_its_structure():
    assert ops.while_loop(lambda i: True, lambda i: i + 1, 0, maximum_iterations=5) == 5
    i, pair = ops.while_loop(lambda i, p: i < 2, lambda i, p: (i + 1, [p[0] * 2, p[1]]), [0, [1.0, 5.0]])
    assert (int(i), [float(v) for v in pair]) == (2, [4.0, 5.0])


def test_gradients_flow_through_loops_and_branches_around_a_weight():
    def loss():
        y, _ = ops.scan(lambda c, v: (c * weight + v, None), jnp.float32(1.0), jnp.asarray(X))
        return ops.cond(y > 0, lambda: y * weight, lambda: -y)

    plain = lambda w: lax.cond(((w + 1) * w - 2) * w + 3 > 0, lambda: (((w + 1) * w - 2) * w + 3) * w, lambda: -(((w + 1) * w - 2) * w + 3))
    value, (gradient,) = value_and_grad(loss, [weight])()
    np.testing.assert_allclose([value, gradient], jax.value_and_grad(plain)(3.0), rtol=1e-6)


def test_by_training_with_a_plain_bool_calls_one_function():
    calls = []
    for training in (True, False):
        by_training(training, lambda x: calls.append("training"), lambda x: calls.append("not"), 1.0)
    assert calls == ["training", "not"]


def test_a_branch_of_other_shape_is_jaxs_error():
    run = jax.jit(lambda p, x: ops.cond(p, lambda x: x, lambda x: x[:2], x))
    with pytest.raises(TypeError, match="must have"):
        run(True, X)


def test_seeds_drawn_in_a_loop_are_all_different():
    generator = pellucid.random.SeedGenerator(1)
    draws = ops.scan(lambda c, _: (c, jax.random.normal(generator.next())), 0, length=5)[1]
    assert len(set(np.asarray(draws).tolist())) == 5
    expected = [float(jax.random.normal(pellucid.random.SeedGenerator(1).next()))]
    np.testing.assert_allclose(draws[0], expected[0], rtol=1e-6)


# ---- A program of reads and writes, against plain Python ----

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(-3, 3)),
        st.tuples(st.just("scale"), st.integers(-2, 2)),
        st.tuples(st.just("cond"), st.integers(-3, 3)),
        st.tuples(st.just("loop"), st.integers(0, 3)),
    ),
    max_size=5,
)


@given(STEPS, st.integers(-3, 3))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_sequence_of_stateful_steps_is_what_python_computes(steps, start):
    def run(x, number, cond, repeat):
        for kind, n in steps:
            if kind == "add":
                number.assign_add(n)
            elif kind == "scale":
                number.assign(number * n)
            elif kind == "cond":
                cond(number.value > n, lambda: number.assign(number + x), lambda: None)
            else:
                repeat(n, lambda: number.assign(number * 2 - x))
        return number.value

    class Plain:
        def __init__(self, value):
            self.value = value

        def assign(self, value):
            self.value = value

        def assign_add(self, value):
            self.value += value

        __mul__ = lambda self, other: self.value * other
        __add__ = lambda self, other: self.value + other

    def times(n, function):
        for _ in range(n):
            function()

    expected = run(2, Plain(start), lambda p, yes, no: yes() if p else no(), times)
    number = Variable(0)
    stateful = lambda x: run(
        x,
        number,
        lambda p, yes, no: ops.cond(p, lambda: yes() or 0, lambda: no() or 0),
        lambda n, f: ops.fori_loop(0, n, lambda i, v: f() or v, 0),
    )
    output, (new,) = jax.jit(functional(stateful, [number]), compiler_options={"xla_backend_optimization_level": 0})([jnp.int32(start)], 2)
    assert int(output) == int(new) == expected
    assert int(number) == 0


def test_nothing_is_collected_while_a_function_is_traced_and_the_users_setting_stays():
    seen = []
    Traced(lambda: seen.append(gc.isenabled()))
    assert seen == [False] and gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        Traced(lambda: 1 // 0)
    assert gc.isenabled()
    gc.disable()
    try:
        Traced(lambda: None)
        assert not gc.isenabled()
    finally:
        gc.enable()
