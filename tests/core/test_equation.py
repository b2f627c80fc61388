"""A function of arrays that is one equation of a capture: it keeps its own gradient and sees the sizes of the program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import ops
from pellucid.core import jax_compat
from pellucid.core.equation import equation

SEEN: list[tuple] = []


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def with_clipped_gradient(x, power):
    return x**power


def clipped(power, x, g):
    return (jnp.clip(g * power * x ** (power - 1), -1, 1),)


with_clipped_gradient.defvjp(lambda x, power: (x**power, x), clipped)


@equation
def clipped_power(x, power=2, *, bias=None):
    """The power of x, whose gradient is clipped: only a rule of its own says so."""
    y = with_clipped_gradient(x, power)
    return y if bias is None else y + bias


@equation
def noting_its_size(x):
    SEEN.append(x.shape)
    return x + x


@equation
def centred(x):
    """Two outputs, of which one needs all rows."""
    return {"centred": x - x.mean(0), "same": x}


def plainly(x, w):
    return clipped_power(x * w, power=3, bias=w)


def in_scan(x, w):
    return ops.scan(lambda carry, _: (clipped_power(carry * w, 3), None), x, None, length=2)[0]


def in_cond(x, w):
    return ops.cond(x.sum() > -1e9, lambda x: clipped_power(x * w, 3), lambda x: x, x)


def in_jit(x, w):
    return jax.jit(lambda x: clipped_power(x * w, power=3))(x)


def in_checkpoint(x, w):
    return jax.checkpoint(lambda x: clipped_power(x * w, power=3))(x)


def in_vmap(x, w):
    return jax.vmap(lambda row: clipped_power(row * w, power=3))(x)


def in_own_gradient(x, w):
    return jax.grad(lambda x: clipped_power(x * w, power=3).sum())(x) * w


BODIES = [plainly, in_scan, in_cond, in_jit, in_checkpoint, in_vmap, in_own_gradient]


def model_of(body):
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.w = self.add_weight((4,), initializer=np.linspace(0.2, 1.5, 4))

        def call(self, x):
            return body(x, self.w.value)

    return Model()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("rows", [3, 8])
def test_values_and_gradients_are_those_of_the_function_at_any_batch_size(body, rows):
    model = model_of(body)
    graph = model.capture(np.ones((5, 4), "float32"))
    x = jnp.linspace(-2, 2, rows * 4).reshape(rows, 4)

    def loss(run, w, x):
        return jnp.sin(run(x, w)).sum()

    captured = lambda x, w: model.stateless_call([w], [], x)[0]
    assert model.graph is graph

    def instantiated(x, w):
        with pellucid.core.frame.Frame({model.w: w}):
            return graph.run(x, False)[0]

    w = model.w.value
    want = jax.value_and_grad(functools.partial(loss, body), (0, 1))(w, x)
    for run in (captured, instantiated):
        got = jax.jit(jax.value_and_grad(functools.partial(loss, run), (0, 1)))(w, x)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), got, want)


def test_a_capture_holds_one_equation_which_is_a_node():
    graph = model_of(plainly).capture(np.ones((5, 4), "float32"))
    names = [e.primitive.name for e in jax_compat.parts(graph.jaxpr).eqns]
    assert names.count("op") == 1 and "custom_vjp_call" not in names
    assert [n.kind for n in graph.nodes] == ["multiply", "clipped_power"]


@pytest.mark.filterwarnings("ignore::pellucid.SideEffectWarning")  # of the note that the function takes
def test_the_function_sees_the_sizes_of_each_program():
    graph = model_of(lambda x, w: noting_its_size(x * w)).capture(np.ones((5, 4), "float32"))
    SEEN.clear()
    for rows in (6, 2):
        graph.run(jnp.ones((rows, 4)), False)
    assert SEEN == [(6, 4), (2, 4)]


@pytest.mark.parametrize("key, why", [("same", None), ("centred", "batch")])
def test_the_proof_for_rows_looks_inside(key, why):
    class Model(pellucid.Model):
        def call(self, x):
            return centred(x)[key] if key == "centred" else clipped_power(x)

    graph = Model().capture(np.ones((5, 4), "float32"))
    found = graph.coupling(True)
    assert found is None if why is None else why in str(found)
    assert graph.cost(10).flops > 0


def test_an_equal_second_capture_keeps_its_programs():
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out, self.note = pellucid.layers.Dense(1), 1

        def call(self, x):
            _ = self.note
            return clipped_power(self.out(x), power=3, bias=None)

    model, x = Model(), np.ones((8, 4), "float32")
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], verbose=0)
    model.note = 2
    model.fit(x, x[:, :1], verbose=0)
    assert model.ledger.call_count == 2 and len(model.ledger.programs) == 1


def test_a_graph_that_becomes_part_of_another_capture_keeps_the_equation():
    x = pellucid.Input((4,))
    model = pellucid.Model(x, model_of(plainly)(x))
    graph = model.capture(np.ones((5, 4), "float32"))
    assert [e.primitive.name for e in jax_compat.parts(graph.jaxpr).eqns].count("op") == 1
    rows = jnp.linspace(-1, 1, 12).reshape(3, 4)
    np.testing.assert_allclose(graph.run(rows, False)[0], plainly(rows, model.weights[0].value), rtol=1e-6)
