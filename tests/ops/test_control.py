"""Control flow in ``call``: it computes what Python would, and carries out what it writes."""

import jax
import numpy as np
import pytest

import pellucid
from pellucid import ops

X = np.arange(12, dtype="float32").reshape(4, 3) / 10


def eager_and_compiled(function, *inputs):
    """What a function gives in eager code, and as the ``call`` of a model."""

    class Model(pellucid.Model):
        def call(self, inputs):
            return function(*inputs)

    return function(*map(ops.array, inputs)), Model().predict(list(inputs), verbose=0)


FORMS = {
    "cond, true": (lambda x: ops.cond(x.shape[1] == 3, lambda x: x + 1, lambda x: x - 1, x), lambda x: x + 1),
    "cond on values": (lambda x: ops.map(lambda r: ops.cond(r.sum() > 1, lambda r: r * 2, lambda r: -r, r), x),
                       lambda x: np.stack([r * 2 if r.sum() > 1 else -r for r in x])),
    "scan": (lambda x: ops.scan(lambda c, r: (c + r, c * r), x[:, 0], x.T)[1].T,
             lambda x: np.stack([x[:, 0] ** 2, 2 * x[:, 0] * x[:, 1], (2 * x[:, 0] + x[:, 1]) * x[:, 2]], 1)),
    "while_loop": (lambda x: ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1], lambda x: 8 * x),
    "while_loop of one": (lambda x: ops.while_loop(lambda y: y.sum() < 100, lambda y: y * 2, x), lambda x: x * 16),
    "while_loop, bounded": (lambda x: ops.while_loop(lambda y: True, lambda y: y + 1, x, maximum_iterations=4), lambda x: x + 4),
    "fori_loop": (lambda x: ops.fori_loop(0, 5, lambda i, y: y + i, x), lambda x: x + 10),
    "map": (lambda x: ops.map(lambda r: r * r.sum(), x), lambda x: x * x.sum(1, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_control_flow_is_that_of_python(form):
    function, by_hand = FORMS[form]
    for result in eager_and_compiled(function, X):
        np.testing.assert_allclose(result, by_hand(X), rtol=1e-6, atol=1e-6)


class Counter(pellucid.layers.Layer):
    def __init__(self, form):
        super().__init__()
        self.form = form
        self.noise = pellucid.random.SeedGenerator(1)

    def build(self, input_shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.scale = self.add_weight(shape=(), initializer="ones")

    def once(self, x):
        self.count.assign_add(1.0)
        return x * self.scale + 0 * jax.random.normal(self.noise.next())

    def call(self, inputs):
        if self.form == "cond":
            return ops.cond(ops.sum(inputs) > -1e9, self.once, lambda x: x, inputs)
        if self.form == "scan":
            return ops.scan(lambda x, _: (self.once(x), None), inputs, length=3)[0]
        if self.form == "while_loop":
            return ops.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, self.once(x)), (0, inputs))[1]
        if self.form == "fori_loop":
            return ops.fori_loop(0, 3, lambda i, x: self.once(x), inputs)
        return ops.map(self.once, inputs.T).T


@pytest.mark.parametrize("form", ["cond", "scan", "map", "fori_loop", "while_loop"])
def test_what_a_loop_writes_and_learns_comes_out_in_every_step(form):
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.counter = Counter(form)

        def call(self, inputs):
            return self.counter(inputs)

    times = 1 if form == "cond" else 3
    model = Model()
    model.capture((None, 3))
    trains = form not in ("while_loop",)  # JAX cannot differentiate a loop of unknown length
    model.compile(optimizer=pellucid.optimizers.SGD(0.1), loss="mse")
    if trains:
        model.fit(X, 0 * X, batch_size=2, epochs=2, shuffle=False, verbose=0)
        assert float(model.counter.scale) < 1
    else:
        model.evaluate(X, 0 * X, batch_size=2, verbose=0)
        model.evaluate(X, 0 * X, batch_size=2, verbose=0)
    assert float(model.counter.count) == 4 * times
    assert int(model.counter.noise.state.numpy()[1]) == 4 * times


def test_gradients_flow_through_loops_to_weights():
    w = pellucid.Variable(2.0)
    value, (gradient,) = pellucid.value_and_grad(lambda: ops.scan(lambda c, _: (c * w, None), ops.array(1.0), length=3)[0], [w])()
    assert float(value) == 8.0 and float(gradient) == 12.0


def test_stop_gradient_is_a_constant_to_gradients():
    w = pellucid.Variable(3.0)
    _, (gradient,) = pellucid.value_and_grad(lambda: w * ops.stop_gradient(w.value), [w])()
    assert float(gradient) == 3.0
