"""One capture, made concrete for several batch sizes and both modes, equals the function run directly in plain JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pellucid import Variable, value_and_grad
from pellucid.graph.instantiate import InstantiationError
from tests.cases import some_slow
from tests.graph.helpers import Net, assert_graph_equals_plain_jax, integers, normal, spec

# ---- What must trace with a symbolic batch: (function of self, x, training; shapes of weights; shape of a row) ----


def conv(m, x, t):
    return lax.conv_general_dilated(x, jnp.asarray(m.w), (1, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def conv_transpose(m, x, t):
    return lax.conv_transpose(x, jnp.asarray(m.w), (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def max_pooling(m, x, t):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def average_pooling(m, x, t):
    return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "SAME") / 4


def rnn(m, x, t):
    def step(h, x):
        h = jnp.tanh(x @ m.w + h @ m.u)
        return h, h

    last, every = lax.scan(step, jnp.zeros((x.shape[0], m.u.shape[0])), x.swapaxes(0, 1))
    return last, every.swapaxes(0, 1)


def attention(m, x, t):
    q, k, v = x @ m.q, x @ m.k, x @ m.v
    return jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k) / 2.0) @ v


def layer_norm(m, x, t):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-3) * m.w


def reshape_and_back(m, x, t):
    return (x.reshape(-1, x.shape[-1]) @ m.w).reshape(x.shape[0], -1)


def gather(m, x, t):
    order = jnp.argsort(x, axis=1)[:, :2]
    return jnp.take_along_axis(x, order, axis=1)


def rows_by_map(m, x, t):
    return lax.map(lambda row: jnp.tanh(row @ m.w), x)


def rows_by_vmap(m, x, t):
    return jax.vmap(lambda row: jnp.tanh(row @ m.w))(x)


def rows_by_scan(m, x, t):
    return lax.scan(lambda c, row: (c + row, c * row), jnp.zeros(x.shape[1]), x)


def remat(m, x, t):
    return jax.checkpoint(lambda x: jnp.sin(x @ m.w))(x)


def cond(m, x, t):
    return lax.cond(x.sum() > 0, lambda x: x * 2, lambda x: jnp.sin(x), x)


def switch(m, x, t):
    return lax.switch((x.sum() > 0).astype(int), [lambda x: x * 2, lambda x: jnp.sin(x)], x)


def loop(m, x, t):
    return lax.fori_loop(0, 3, lambda i, x: jnp.sin(x) + i, x)


def while_loop(m, x, t):  # forward only: JAX has no reverse mode for it
    return lax.stop_gradient(lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] * 2, s[1] + 1), (lax.stop_gradient(x), 0))[0])


def per_sample_gradients(m, x, t):
    return jax.vmap(jax.grad(lambda row: jnp.tanh(row @ m.w).sum()))(x)


def inner_step(m, x, t):
    """A step of gradient descent inside ``call``, by Pellucid's own value_and_grad where the weight is a Variable."""
    loss = lambda w: jnp.sum(jnp.tanh(x @ w) ** 2)
    gradient = value_and_grad(lambda: loss(m.w), [m.w])()[1][0] if isinstance(m.w, Variable) else jax.grad(loss)(m.w)
    return x @ (m.w - 0.1 * gradient)


def solve(m, x, t):
    return jnp.linalg.solve(x[:, :, None] * x[:, None] + 3 * jnp.eye(3), x[..., None])[..., 0]


ROWS = {  # name: (function, weights, shape of a row or a function of the batch size)
    "dense": (lambda m, x, t: jax.nn.gelu(x @ m.w + m.b), {"w": (3, 5), "b": (5,)}, (3,)),
    "conv": (conv, {"w": (3, 3, 2, 4)}, (6, 6, 2)),
    "conv transpose": (conv_transpose, {"w": (3, 3, 2, 4)}, (4, 4, 2)),
    "max pooling": (max_pooling, {}, (6, 6, 2)),
    "average pooling": (average_pooling, {}, (5, 5, 2)),
    "rnn by scan over time": (rnn, {"w": (3, 4), "u": (4, 4)}, (5, 3)),
    "attention": (attention, {"q": (3, 4), "k": (3, 4), "v": (3, 4)}, (5, 3)),
    "embedding": (lambda m, x, t: jnp.take(jnp.asarray(m.w), x, axis=0), {"w": (5, 3)}, lambda n: integers(n, 4)),
    "layer norm": (layer_norm, {"w": (3,)}, (5, 3)),
    "reshape -1 and back": (reshape_and_back, {"w": (3, 2)}, (5, 3)),
    "flatten": (lambda m, x, t: x.reshape(x.shape[0], -1) @ m.w, {"w": (15, 2)}, (5, 3)),
    "one hot": (lambda m, x, t: jax.nn.one_hot(x, 5) @ m.w, {"w": (5, 2)}, lambda n: integers(n)),
    "top k": (lambda m, x, t: lax.top_k(x, 2), {}, (5,)),
    "sort": (lambda m, x, t: jnp.sort(x, axis=-1), {}, (5,)),
    "sort rows": (lambda m, x, t: jnp.sort(x, axis=0), {}, (5,)),
    "argmax": (lambda m, x, t: jnp.argmax(x, axis=-1), {}, (5,)),
    "cumsum": (lambda m, x, t: jnp.cumsum(x, axis=1), {}, (5,)),
    "cumsum over rows": (lambda m, x, t: jnp.cumsum(x, axis=0), {}, (5,)),
    "flip rows": (lambda m, x, t: x[::-1], {}, (5,)),
    "all but the first row": (lambda m, x, t: x[1:], {}, (5,)),
    "gather": (gather, {}, (5,)),
    "fft": (lambda m, x, t: jnp.abs(jnp.fft.rfft(x)), {}, (6,)),
    "resize": (lambda m, x, t: jax.image.resize(x, (x.shape[0], 7, 5, 2), "bilinear"), {}, (4, 4, 2)),
    "einsum": (lambda m, x, t: jnp.einsum("bij,jk,bik->bi", x, m.w, x), {"w": (3, 3)}, (4, 3)),
    "map over rows": (rows_by_map, {"w": (3, 2)}, (3,)),
    "vmap over rows": (rows_by_vmap, {"w": (3, 2)}, (3,)),
    "scan over rows": (rows_by_scan, {}, (3,)),
    "remat": (remat, {"w": (3, 2)}, (3,)),
    "cond": (cond, {}, (3,)),
    "switch": (switch, {}, (3,)),
    "fori loop": (loop, {}, (3,)),
    "while loop": (while_loop, {}, (3,)),
    "per-sample gradients": (per_sample_gradients, {"w": (3, 2)}, (3,)),
    "a gradient step inside": (inner_step, {"w": (3, 2)}, (3,)),
    "scan over a weight": (lambda m, x, t: lax.scan(lambda c, w: (jnp.tanh(c * w), c), x, jnp.asarray(m.w)), {"w": (4, 3)}, (3,)),
    "solve": (solve, {}, (3,)),
    "batch statistics": (lambda m, x, t: (x - x.mean(0)) / (x.std(0) + 1e-3) * m.w, {"w": (3,)}, (3,)),
    "products of rows": (lambda m, x, t: x @ x.T, {}, (3,)),
    "times the batch size": (lambda m, x, t: x * x.shape[0], {}, (3,)),
    "over the batch size": (lambda m, x, t: x.sum(0) / x.shape[0], {}, (3,)),
    "arange of the batch": (lambda m, x, t: x * jnp.arange(x.shape[0])[:, None], {}, (3,)),
    "ones of the batch": (lambda m, x, t: jnp.concatenate([jnp.ones((x.shape[0], 1)), x], axis=1), {}, (3,)),
    "shape in several places": (
        lambda m, x, t: jnp.broadcast_to(x[:, None], (x.shape[0], 2, x.shape[1])).reshape(2 * x.shape[0], -1),
        {},
        (3,),
    ),
    "dict of arrays": (
        lambda m, x, t: {"sum": x["a"] @ m.w + x["b"], "b": x["b"]},
        {"w": (3, 2)},
        lambda n: {"a": normal(n, 3), "b": normal(n, 2)},
    ),
    "bfloat16": (lambda m, x, t: (x.astype(jnp.bfloat16) * 2).astype(jnp.float32) * m.w, {"w": (3,)}, (3,)),
    "logsumexp": (lambda m, x, t: jax.scipy.special.logsumexp(x, axis=-1), {}, (3,)),
    "where with nan": (lambda m, x, t: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), 0.0), {}, (3,)),
    "random by key": (lambda m, x, t: x * jax.random.normal(jax.random.key(0), x.shape), {}, (3,)),
    "median": (lambda m, x, t: jnp.median(x, axis=1), {}, (4,)),
    "pad": (lambda m, x, t: jnp.pad(x, ((0, 0), (1, 2))), {}, (4,)),
    "roll": (lambda m, x, t: jnp.roll(x, 1, axis=1), {}, (4,)),
}


@pytest.mark.parametrize("name", some_slow(ROWS, list(ROWS)[::2]))
def test_a_capture_equals_plain_jax_at_another_batch_size(name):
    function, weights, row = ROWS[name]
    inputs = row if callable(row) else lambda n: normal(n, *row, seed=1)
    assert_graph_equals_plain_jax(function, {k: normal(*s) for k, s in weights.items()}, inputs, modes=(False,))


@pytest.mark.parametrize(
    "name", ["dense", "rnn by scan over time", "sort rows", "all but the first row", "products of rows", "over the batch size"]
)
def test_a_capture_equals_plain_jax_for_one_row(name):
    function, weights, row = ROWS[name]
    assert_graph_equals_plain_jax(function, {k: normal(*s) for k, s in weights.items()}, lambda n: normal(n, *row), (1,), (False,))


# ---- Weights read inside transformations of the user's own ----


ran_before = jax.jit(lambda x, w: jnp.tanh(x @ w))


@jax.custom_vjp
def clipped_gradient(x, limit):
    return jnp.sin(x)


def _forward(x, limit):
    return jnp.sin(x), (x, limit)


def _backward(saved, cotangent):
    x, limit = saved
    return jnp.clip(cotangent * jnp.cos(x), -limit, limit), jnp.zeros_like(limit)


clipped_gradient.defvjp(_forward, _backward)


@jax.custom_jvp
def scaled(x, w):
    return x @ w


@scaled.defjvp
def _scaled_jvp(primals, tangents):
    (x, w), (dx, dw) = primals, tangents
    return x @ w, 3.0 * (dx @ w) + 5.0 * (x @ dw)  # not the true derivative, so that losing the rule shows


def in_jit(m, x, t):
    return jax.jit(lambda x: jnp.tanh(x @ m.w))(x)


def in_scan(m, x, t):
    return lax.scan(lambda c, _: (jnp.tanh(c @ m.w), None), x, None, length=3)[0]


def in_cond(m, x, t):
    return lax.cond(x.sum() > -100, lambda x: jnp.tanh(x @ m.w), lambda x: x, x)


def in_remat(m, x, t):
    return jax.checkpoint(lambda x: jnp.tanh(x @ m.w))(x)


def in_vmap(m, x, t):
    return jax.vmap(lambda row: jnp.tanh(row @ m.w))(x)


def in_grad(m, x, t):
    return jax.grad(lambda x: jnp.tanh(x @ m.w).sum())(x)


def in_value_and_grad_of_the_weight(m, x, t):
    value, gradient = jax.value_and_grad(lambda w: jnp.tanh(x @ w).sum())(jnp.asarray(m.w))
    return x @ gradient * value


def in_jvp(m, x, t):
    return jax.jvp(lambda x: jnp.tanh(x @ m.w), (x,), (jnp.ones_like(x),))


def in_map(m, x, t):
    return lax.map(lambda row: jnp.tanh(row @ m.w), x)


def in_fori_loop(m, x, t):
    return lax.fori_loop(0, 2, lambda i, x: jnp.tanh(x @ m.w), x)


def in_custom_vjp(m, x, t):
    return clipped_gradient(x @ m.w, 0.3)


def in_custom_jvp(m, x, t):
    return scaled(x, jnp.asarray(m.w))


def in_a_jit_that_ran_before(m, x, t):
    return ran_before(x, jnp.asarray(m.w))


def in_one_remat_twice(m, x, t):
    block = jax.checkpoint(lambda x: jnp.tanh(x @ m.w))
    return block(block(x))


def in_remat_with_a_policy(m, x, t):
    return jax.checkpoint(lambda x: jnp.tanh(x @ m.w), policy=jax.checkpoint_policies.dots_saveable)(x)


def in_scan_in_remat_in_jit(m, x, t):
    scanned = lambda x: lax.scan(lambda c, _: (jnp.tanh(c @ m.w), None), x, None, length=2)[0]
    return jax.jit(jax.checkpoint(scanned))(x)


def in_cond_in_scan_in_vmap(m, x, t):
    turn = lambda c, i: (lax.cond(i > 0, lambda c: jnp.tanh(c @ m.w), lambda c: c, c), None)
    return jax.vmap(lambda row: lax.scan(turn, row, jnp.arange(2))[0])(x)


def in_grad_in_jit(m, x, t):
    return jax.jit(jax.grad(lambda x: jnp.sum((x @ m.w) ** 3)))(x)


def in_custom_vjp_in_scan(m, x, t):
    return lax.scan(lambda c, _: (clipped_gradient(c @ m.w, 0.3), None), x, None, length=2)[0]


def in_custom_jvp_in_remat(m, x, t):
    return jax.checkpoint(lambda x: scaled(x, jnp.asarray(m.w)))(x)


def in_relu_in_jit_in_vmap(m, x, t):
    return jax.vmap(jax.jit(lambda row: jax.nn.relu(row @ m.w)))(x)


NESTINGS = [
    in_jit,
    in_scan,
    in_cond,
    in_remat,
    in_vmap,
    in_grad,
    in_value_and_grad_of_the_weight,
    in_jvp,
    in_map,
    in_fori_loop,
    in_custom_vjp,
    in_custom_jvp,
    in_a_jit_that_ran_before,
    in_one_remat_twice,
    in_remat_with_a_policy,
    in_scan_in_remat_in_jit,
    in_cond_in_scan_in_vmap,
    in_grad_in_jit,
    in_custom_vjp_in_scan,
    in_custom_jvp_in_remat,
    in_relu_in_jit_in_vmap,
]


@pytest.mark.parametrize("function", NESTINGS)
def test_gradients_of_a_weight_flow_out_of_every_nesting(function):
    ran_before(jnp.zeros((4, 3)), jnp.zeros((3, 3)))
    _, expected = assert_graph_equals_plain_jax(function, {"w": normal(3, 3, seed=3)}, lambda n: normal(n, 3, seed=1), modes=(False,))
    ((_, (gradients, _)),) = expected
    assert np.abs(gradients["w"]).min() > 1e-6  # so that a lost gradient cannot pass for a right one


def test_a_jit_that_ran_before_and_in_another_capture_reads_the_own_weights():
    product = jax.jit(lambda x, m: x @ m.w, static_argnums=1)
    one, other = Net(lambda m, x, t: product(x, m), w=normal(3, 2)), Net(lambda m, x, t: product(x, m), w=normal(3, 2, seed=5))
    x = jnp.asarray(normal(4, 3))
    np.testing.assert_allclose(product(x, one), x @ one.w.numpy(), rtol=1e-5)
    graphs = [net.capture(spec(4, 3)) for net in (one, other, one)]
    for graph, net in zip(graphs, (one, other, one), strict=True):
        net.w.assign(net.w.numpy() * 2)
        np.testing.assert_allclose(graph.run(x, False)[0], x @ net.w.numpy(), rtol=1e-5)
    assert graphs[0] is graphs[2]


def test_a_users_jit_that_closes_over_weights_is_not_frozen_by_an_eager_run():
    net = Net(None, w=normal(3, 2))
    product = jax.jit(lambda x: x @ net.w)
    net.function = lambda m, x, t: product(x)
    x = jnp.asarray(normal(4, 3))
    product(x)  # this run's jaxpr holds the present weights: the capture must not take it
    graph = net.capture(spec(4, 3))
    assert graph.reads == [net.w]
    net.w.assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(graph.run(x, False)[0], np.zeros((4, 2)))


# ---- Gradients that functions define for themselves ----


def test_the_gradient_of_relu_at_zero_is_zero():
    graph = Net(lambda m, x, t: jax.nn.relu(x)).capture(spec(4, 3))
    gradient = jax.grad(lambda x: graph.run(x, False)[0].sum())(jnp.array([[0.0, -1.0, 2.0]] * 5))
    np.testing.assert_array_equal(gradient, [[0.0, 0.0, 1.0]] * 5)


@jax.custom_vjp
def computed_residuals(x, w):
    return x @ w


computed_residuals.defvjp(
    lambda x, w: (x @ w, (jnp.cos(x), w * 2)),
    lambda saved, cotangent: (cotangent @ saved[1].T, saved[0].T @ cotangent),
)


@jax.custom_vjp
def table_rows(table, indices):
    return table[indices]


table_rows.defvjp(
    lambda table, indices: (table[indices], (indices + 0, table * 1)),
    lambda saved, cotangent: (jnp.zeros_like(saved[1]).at[saved[0]].add(2 * cotangent), None),
)


@jax.custom_vjp
def without_residuals(x, unused):
    return jnp.sin(x)


without_residuals.defvjp(lambda x, unused: (jnp.sin(x), None), lambda _, cotangent: (cotangent * 3, None))


@jax.custom_vjp
def tree_of_outputs(x):
    return {"a": jnp.sin(x), "b": x.sum()}


tree_of_outputs.defvjp(
    lambda x: (tree_of_outputs(x), (jnp.cos(x),)),
    lambda saved, cotangent: (cotangent["a"] * saved[0] * 2 + cotangent["b"],),
)


def keyword_options(x, slope):
    return jnp.where(x > 0, x, slope * x)


options = jax.custom_vjp(keyword_options, nondiff_argnums=(1,))
options.defvjp(
    lambda x, slope: (keyword_options(x, slope), (x > 0,)),
    lambda slope, saved, cotangent: (jnp.where(saved[0], cotangent, -slope * cotangent),),
)


@jax.custom_jvp
def of_two(x, y):
    return x * y


of_two.defjvps(lambda dx, out, x, y: 2 * dx * y, None)


def grad_of_a_custom_vjp(m, x, t):
    return jax.grad(lambda x: computed_residuals(x, m.w.sum() * jnp.ones((3, 2))).sum())(x)


OWN_GRADIENTS = {
    "custom_vjp with computed residuals": (lambda m, x, t: computed_residuals(x, jnp.asarray(m.w)), {"w": (3, 2)}, (3,)),
    "custom_vjp with integer inputs": (lambda m, x, t: table_rows(jnp.asarray(m.w), x), {"w": (5, 3)}, lambda n: integers(n, 2)),
    "custom_vjp whose gradient is None": (lambda m, x, t: without_residuals(x, jnp.asarray(m.w)), {"w": (3,)}, (3,)),
    "custom_vjp of a tree": (lambda m, x, t: tree_of_outputs(x * m.w), {"w": (3,)}, (3,)),
    "custom_vjp with options": (lambda m, x, t: options(x @ m.w, 0.25), {"w": (3, 2)}, (3,)),
    "custom_vjp under vmap": (lambda m, x, t: jax.vmap(computed_residuals, (0, None))(x[:, None], jnp.asarray(m.w)), {"w": (3, 2)}, (3,)),
    "custom_vjp under remat": (lambda m, x, t: jax.checkpoint(computed_residuals)(x, jnp.asarray(m.w)), {"w": (3, 2)}, (3,)),
    "custom_vjp under jit": (lambda m, x, t: jax.jit(computed_residuals)(x, jnp.asarray(m.w)), {"w": (3, 2)}, (3,)),
    "custom_vjp under the user's grad": (grad_of_a_custom_vjp, {"w": (2,)}, (3,)),
    "custom_jvp with one rule for each input": (lambda m, x, t: of_two(x, m.w * x), {"w": (3,)}, (3,)),
    "relu family": (lambda m, x, t: jax.nn.relu6(x @ m.w) + jax.nn.silu(x @ m.w) + jax.nn.elu(x @ m.w), {"w": (3, 2)}, (3,)),
    "stop_gradient": (lambda m, x, t: lax.stop_gradient(x @ m.w) * m.w.sum(), {"w": (3, 2)}, (3,)),
    "logsumexp and softmax": (lambda m, x, t: jax.nn.log_softmax(x @ m.w), {"w": (3, 2)}, (3,)),
}


@pytest.mark.parametrize(("function", "weights", "row"), OWN_GRADIENTS.values(), ids=OWN_GRADIENTS)
def test_gradients_that_functions_define_are_kept(function, weights, row):
    inputs = row if callable(row) else lambda n: normal(n, *row, seed=1)
    assert_graph_equals_plain_jax(function, {k: normal(*s) for k, s in weights.items()}, inputs, modes=(False,))


@pytest.mark.parametrize("nesting", [lambda f: f, jax.jit, jax.checkpoint], ids=["plain", "jit", "remat"])
def test_residuals_that_are_the_inputs_themselves_are_kept(nesting):
    @jax.custom_vjp
    def product(x, w):
        return x @ w

    product.defvjp(lambda x, w: (x @ w, (w, x)), lambda saved, cotangent: (2 * cotangent @ saved[0].T, 3 * saved[1].T @ cotangent))
    function = lambda m, x, t: nesting(product)(x, jnp.asarray(m.w))
    assert_graph_equals_plain_jax(function, {"w": normal(3, 2)}, lambda n: normal(n, 3), modes=(False,))


def test_a_custom_vjp_that_closes_over_a_weight_never_loses_its_gradient_silently():
    @jax.custom_vjp
    def product(x):
        return x @ net.w

    product.defvjp(lambda x: (x @ net.w, None), lambda _, cotangent: (cotangent @ net.w.value.T,))
    net = Net(lambda m, x, t: product(x), w=normal(3, 2))
    graph = net.capture(spec(4, 3))
    x = jnp.asarray(normal(4, 3))
    np.testing.assert_allclose(graph.run(x, False)[0], x @ net.w.numpy(), rtol=1e-5)
    with pytest.raises(
        (jax.errors.UnexpectedTracerError, InstantiationError)
    ):  # plain JAX refuses it, too: no rule says what the gradient is
        value_and_grad(lambda: graph.run(x, False)[0].sum(), [net.w])()
