"""Control flow in ``call``: it computes what Python would, and carries out what it writes."""

import functools

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


# ---- Rows at once ----


class Noisy(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.noise = pellucid.random.SeedGenerator(3)
        self.drop = pellucid.layers.Dropout(0.5, seed=1)

    def call(self, x, training=None):
        drawn = ops.vectorized_map(lambda row: pellucid.random.normal(row.shape, seed=self.noise), x)
        return drawn, ops.vectorized_map(lambda row: self.drop(ops.ones_like(row), training=training), x)


def test_each_row_draws_for_itself_and_each_call_anew():
    model = Noisy()
    x = np.zeros((64, 32), "float32")
    model.capture(x)
    first, second = model(x, training=True), model(x, training=True)
    for drawn in (first[0], first[1], second[0]):
        assert len(np.unique(np.asarray(drawn), axis=0)) == 64
    assert not np.array_equal(first[0], second[0])
    assert abs(float(first[0].mean())) < 0.1 and abs(float(first[1].mean()) - 1) < 0.1
    again = Noisy()
    outputs = again.predict(x, batch_size=64, verbose=0)
    np.testing.assert_allclose(outputs[0], first[0], rtol=1e-6)
    np.testing.assert_array_equal(outputs[1], 1)
    assert int(again.noise.state.numpy()[1]) == 1


def test_a_variable_assigned_for_rows_at_once_is_told_of():
    count = pellucid.Variable(0.0, name="count")

    def once(row):
        count.assign_add(1.0)
        return row

    with pytest.raises(pellucid.CaptureError, match="'count' is assigned inside vectorized_map.*each row.*ops.map.*assign .* outside"):
        ops.vectorized_map(once, X)
    with pytest.raises(pellucid.CaptureError, match="'count' is assigned inside associative_scan: assign it outside"):
        ops.associative_scan(lambda a, b: (count.assign(1.0), a + b)[1], X)
    assert float(count) == 0


def test_a_switch_takes_the_nearest_of_its_branches():
    branches = [lambda x: x, lambda x: x + 1, lambda x: x + 2]
    for index, expected in ((-3, 0), (0, 0), (1, 1), (9, 2)):
        assert float(ops.switch(index, branches, 0.0)) == expected
        assert float(jax.jit(lambda i: ops.switch(i, branches, 0.0))(index)) == expected
    with pytest.raises(ValueError, match="branches is empty"):
        ops.switch(0, [])
    assert ops.associative_scan(ops.add, X, reverse=True, axis=1)[:, 0] == pytest.approx(X.sum(1))


# ---- Gradients of weights, however nested ----


def in_scan(f, x):
    return ops.scan(lambda c, _: (f(c), None), x, length=2)[0]


def in_cond(f, x):
    return ops.cond(x.sum() > -1e9, f, lambda x: x * 0, x)


def in_switch(f, x):
    return ops.switch((x.sum() > -1e9).astype("int32"), [lambda x: x * 0, f], x)


def in_rows(f, x):
    return ops.vectorized_map(lambda row: f(row[None])[0], x)


NESTINGS = [(ops.remat, in_scan, in_cond), (in_cond, in_scan, ops.remat), (in_rows, in_scan, ops.remat), (in_scan, in_switch, in_rows)]


@pytest.mark.parametrize("nesting", NESTINGS, ids=lambda nesting: " in ".join(f.__name__ for f in nesting))
def test_gradients_of_weights_are_right_in_every_nesting(nesting):
    class Model(pellucid.Model):
        def __init__(self, nesting):
            super().__init__()
            self.nesting = nesting
            self.cell, self.scale = pellucid.layers.Dense(3, activation="tanh", kernel_initializer="ones"), pellucid.Variable(1.5)

        def call(self, x):
            f = lambda x: self.cell(x) * self.scale
            for around in self.nesting:
                f = around(f) if around is ops.remat else functools.partial(around, f)
            return f(x)

    turns = 2 if in_scan in nesting else 1
    by_hand = jax.grad(
        lambda kernel, scale: sum_of_turns(kernel, scale, turns), (0, 1)
    )(np.ones((3, 3), "float32"), 1.5)  # fmt: skip
    model = Model(nesting)
    model.build((None, 3))
    model.compile(optimizer=pellucid.optimizers.SGD(1.0), loss=lambda y, outputs: ops.mean(outputs, axis=-1))
    before = [np.asarray(v.value) for v in (model.cell.kernel, model.scale)]
    model.fit(X, X, batch_size=4, verbose=0, shuffle=False)
    for v, old, gradient in zip((model.cell.kernel, model.scale), before, by_hand, strict=True):
        np.testing.assert_allclose(old - v.value, gradient, rtol=1e-4, atol=1e-5)
        assert np.abs(gradient).max() > 1e-3
    assert model.ledger.call_count == 1


def sum_of_turns(kernel, scale, turns):
    x = X
    for _ in range(turns):
        x = jax.numpy.tanh(x @ kernel) * scale
    return x.mean()
