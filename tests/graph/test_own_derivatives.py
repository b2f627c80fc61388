"""Functions with derivatives of their own, such as relu, are differentiated once in a graph, and stay apart where they differ."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from tests.graph.helpers import assert_graph_equals_plain_jax, normal
from tests.models.test_own_steps import X, Y


def fitted(function):
    class Line(pellucid.Model):
        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1], 1), initializer="ones", name="w")

        def call(self, x):
            return function(x, self.w)

    model = Line()
    model.compile("sgd", "mse")
    model.fit(X[:32], Y[:32], verbose=0, shuffle=False)
    return model


def with_rule(body, rule):
    function = jax.custom_jvp(body)
    function.defjvp(rule)
    return function


def with_backward(body, backward):
    function = jax.custom_vjp(body)
    function.defvjp(lambda x: (body(x), x), backward)
    return function


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_the_rule_of_a_function_runs_once_for_all_its_calls_of_the_same_types(kind):
    runs = itertools.count()

    def rule(primals, tangents):
        next(runs)
        return jnp.sin(primals[0]), 3 * tangents[0]

    def backward(saved, cotangent):
        next(runs)
        return (3 * cotangent,)

    wave = with_rule(jnp.sin, rule) if kind == "jvp" else with_backward(jnp.sin, backward)

    def repeated(x, w):
        y = jnp.concatenate([x, x, x], axis=1)[:, :1] * 0 + x @ w
        for _ in range(8):
            y = wave(y)
        return y + wave(x)[:, :1]  # of another type

    fitted(repeated)
    count = next(runs)
    # of the symbolic types and of the concrete ones, for either type: more calls would be as many
    assert count <= 4 if kind == "jvp" else count <= 6


def test_relu_has_no_slope_at_zero_in_any_layer():
    def thrice(m, x, t):
        zeros = 0 * (x @ m.w)
        return jax.nn.relu(zeros) + jax.nn.relu(zeros + 1) + jax.nn.relu(zeros), jax.nn.relu(x @ m.w)

    assert_graph_equals_plain_jax(thrice, {"w": normal(3, 3)}, lambda n: normal(n, 3), modes=(False,))
    model = fitted(lambda x, w: jax.nn.relu(jax.nn.relu(0 * x @ w)))
    np.testing.assert_array_equal(model.w.numpy(), np.ones((3, 1)))


def test_functions_with_one_rule_and_other_bodies_stay_apart():
    def rule(primals, tangents):
        return primals[0], 2 * tangents[0]

    double, triple = with_rule(lambda x: 2 * x, rule), with_rule(lambda x: 3 * x, rule)
    assert_graph_equals_plain_jax(
        lambda m, x, t: double(x @ m.w) + triple(x @ m.w), {"w": normal(3, 2)}, lambda n: normal(n, 3), modes=(False,)
    )


def test_functions_with_one_body_and_other_rules_stay_apart():
    def scaled(factor):
        return with_rule(jnp.sin, lambda primals, tangents: (jnp.sin(primals[0]), factor * tangents[0]))

    functions = [scaled(factor) for factor in (1.0, 2.0, 5.0)]

    def each(m, x, t):
        return tuple(f(x @ m.w) for f in functions)

    assert_graph_equals_plain_jax(each, {"w": normal(3, 2)}, lambda n: normal(n, 3), modes=(False,))


def test_functions_with_arguments_that_are_no_arrays_stay_apart():
    def powers(m, x, t):
        y = x @ m.w
        return jax.nn.softmax(y, axis=-1) + jax.nn.softmax(y.reshape(-1, 2, 1), axis=1).reshape(-1, 2) + raised(y, 2) + raised(y, 3)

    raised = jax.custom_jvp(lambda x, n: x**n, nondiff_argnums=(1,))
    raised.defjvp(lambda n, primals, tangents: (primals[0] ** n, (n + 1) * tangents[0]))
    assert_graph_equals_plain_jax(powers, {"w": normal(3, 2)}, lambda n: normal(n, 3), modes=(False,))


def test_functions_of_other_structures_stay_apart():
    pair = with_rule(lambda tree: sum(jax.tree.leaves(tree)), lambda p, t: (sum(jax.tree.leaves(p[0])), 2 * jax.tree.leaves(t[0])[0]))

    def each(m, x, t):
        y = x @ m.w
        return pair((y, 2 * y)) + pair({"b": y, "a": 3 * y})

    assert_graph_equals_plain_jax(each, {"w": normal(3, 2)}, lambda n: normal(n, 3), modes=(False,))
