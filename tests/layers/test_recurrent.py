"""Recurrence: masks, states, cells of the user's own, dropout of sequences, and layers applied step by step."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.core import forms, jax_compat
from pellucid.graph.rows import coupling
from tests.cases import some_slow
from tests.layers.case import assert_close, normal

X = normal(3, 6, 4)
MASKS = {
    "none": np.ones((3, 6), bool),
    "right": np.arange(6)[None] < np.array([6, 3, 1])[:, None],
    "left": np.arange(6)[None] >= np.array([0, 3, 5])[:, None],
    "middle": np.array([[1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1]], bool),
    "all": np.zeros((3, 6), bool),
}
MANY, ALL_MASKS = jnp.asarray(np.tile(X, (5, 1, 1))), jnp.asarray(np.concatenate([*MASKS.values()]))  # one call for all
STATE = normal(15, 5)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def like(theirs: Any, ours: Any) -> None:
    """Gives Keras's layer the weights of ours."""
    theirs.set_weights(ours.get_weights() + [np.asarray(w) for w in theirs.weights[len(ours.weights) :]])


class Scan:
    """A capture of one layer."""

    def __init__(self, layer: Any):
        class Model(pellucid.Model):
            def __init__(self):
                super().__init__()
                self.layer = layer

            def call(self, x, training=None):
                return self.layer(x)

        self.model = Model()


# ---- Masks and states ----

OPTIONS = {
    "last": {},
    "states": {"return_state": True},
    "whole": {"return_sequences": True, "return_state": True},
    "backwards": {"return_sequences": True, "go_backwards": True},
    "zeros": {"return_sequences": True, "zero_output_for_mask": True},
    "last zero": {"zero_output_for_mask": True},
}
MAKERS = {
    "SimpleRNN": lambda k, **options: k.layers.SimpleRNN(5, **options),
    "GRU": lambda k, **options: k.layers.GRU(5, **options),
    "LSTM": lambda k, **options: k.layers.LSTM(5, **options),
    "stack": lambda k, **options: k.layers.RNN([k.layers.LSTMCell(4), k.layers.GRUCell(5)], **options),
    "Bidirectional": lambda k, **options: k.layers.Bidirectional(
        k.layers.GRU(5, **{n: v for n, v in options.items() if n not in ("go_backwards", "zero_output_for_mask")})
    ),
}
STATES = {
    "SimpleRNN": [STATE],
    "GRU": [STATE],
    "LSTM": [STATE, STATE / 2],
    "stack": [[STATE[:, :4]] * 2, [STATE]],
    "Bidirectional": [STATE, -STATE],
}


@pytest.mark.parametrize(
    ("name", "options"),
    some_slow(
        itertools.product(MAKERS, OPTIONS), [("GRU", "whole"), ("LSTM", "last zero"), ("stack", "backwards"), ("Bidirectional", "whole")]
    ),
)
def test_with_any_mask_and_initial_state_it_computes_what_keras_does(name, options):
    ours, theirs = MAKERS[name](pellucid, **OPTIONS[options]), MAKERS[name](keras, **OPTIONS[options])
    ours(X)
    theirs(X)
    like(theirs, ours)
    given = {"mask": ALL_MASKS, "initial_state": jax.tree.map(jnp.asarray, STATES[name])}
    assert_close(ours(MANY, **given), theirs(MANY, **given), **CLOSE)


@pytest.mark.parametrize("zeros", [False, True])
def test_an_unrolled_loop_computes_what_the_loop_does(zeros):
    # Keras's gives zeros, not the initial state, before the first real step, and never zeros on request
    loop, unrolled = (layers.GRU(5, return_sequences=True, zero_output_for_mask=zeros, unroll=u) for u in (False, True))
    given = {"mask": ALL_MASKS, "initial_state": jnp.asarray(STATE)}
    loop(X)
    unrolled(X)
    unrolled.set_weights(loop.get_weights())
    assert_close(unrolled(MANY, **given), loop(MANY, **given), **CLOSE)
    lowered = [jax.jit(lambda x, layer=layer: layer(x, **given)).lower(MANY).as_text() for layer in (loop, unrolled)]
    assert ["while" in text for text in lowered] == [True, False]


@pytest.mark.parametrize(
    "make",
    some_slow([*MAKERS.values(), lambda k, **options: k.layers.TimeDistributed(k.layers.BatchNormalization(), **options)], [MAKERS["GRU"]]),
)
def test_a_symbolic_batch_and_a_symbolic_time_trace(make):
    layer = make(pellucid)
    expected = layer(X)
    batch, time = jax.export.symbolic_shape("batch, time")
    takes = isinstance(layer, layers.RNN)
    run = lambda x, mask: layer(x, mask=mask) if takes else layer(x)
    specs = jax.ShapeDtypeStruct((batch, time, 4), "float32"), jax.ShapeDtypeStruct((batch, time), "bool")
    exported = jax.export.export(jax.jit(run))(*specs)
    assert_close(exported.call(X, np.ones((3, 6), bool)), expected, **CLOSE)
    assert exported.call(X[:2, :3], np.ones((2, 3), bool)).shape[0] == 2


def test_stateful_layers_go_on_where_the_batch_before_ended_as_in_keras():
    ours, theirs = (k.layers.LSTM(5, stateful=True, return_sequences=True) for k in (pellucid, keras))
    ours(X)
    theirs(X)
    like(theirs, ours)
    for layer in (ours, theirs):
        layer.reset_state()
    first = ours(X[:, :3])
    assert_close(first, theirs(X[:, :3]), **CLOSE)
    second = ours(X[:, 3:])
    assert_close(second, theirs(X[:, 3:]), **CLOSE)
    ours.reset_states()
    assert_close(jnp.concatenate([first, second], axis=1), ours(X), **CLOSE)
    assert_close(ours.states[0].value, theirs.states[0].value, **CLOSE)
    assert [w.name for w in ours.weights] == ["kernel", "recurrent_kernel", "bias"]  # states are not saved


def test_training_carries_the_states_of_a_stateful_layer_from_batch_to_batch():
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.rnn = layers.GRU(3, stateful=True)

        def call(self, x):
            return self.rnn(x)

    model = Model()
    model.compile(pellucid.optimizers.SGD(0.0), "mse")
    x, y = normal(8, 5, 2), normal(8, 3)
    model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    alone = layers.GRU(3)
    whole = np.concatenate([x[:4], x[4:]], axis=1)
    alone(whole)
    alone.set_weights(model.rnn.get_weights())
    assert_close(model.rnn.states[0].value, alone(whole), **CLOSE)
    with pytest.raises(pellucid.errors.ShapeError, match="keeps the states of 4 rows and got 2.*batches of 4"):
        model.fit(x[:6], y[:6], batch_size=4, shuffle=False, verbose=0)


# ---- Cells of the user's own ----


def counting(k: Any) -> Any:
    """A cell of library ``k`` with nested layers, two states of which neither is the output."""

    class Counting(k.layers.Layer):
        def __init__(self, units, **layer_args):
            super().__init__(**layer_args)
            self.state_size, self.output_size = [units, 1], units + 1
            self.inner = k.layers.Dense(units, activation="tanh")

        def build(self, input_shape):
            self.inner.build((None, input_shape[-1] + self.state_size[0]))
            self.scale = self.add_weight(shape=(self.output_size,), initializer="ones", name="scale")

        def call(self, inputs, states):
            h, count = states
            h = self.inner(k.ops.concatenate([inputs, h], axis=-1))
            return k.ops.concatenate([h * h, count], axis=-1) * self.scale, [h, count + 1]

    return Counting


@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "return_state": True, "go_backwards": True}])
def test_a_cell_of_the_users_own_computes_what_it_does_in_keras(options):
    ours, theirs = (k.layers.RNN(counting(k)(3), **options) for k in (pellucid, keras))
    ours(X)
    theirs(X)
    like(theirs, ours)
    assert_close(ours(X), theirs(X), **CLOSE)
    zeros = {**options, "zero_output_for_mask": True}  # else Keras takes the first state for the output
    ours, theirs = (k.layers.RNN(counting(k)(3), **zeros) for k in (pellucid, keras))
    ours(X)
    theirs(X)
    like(theirs, ours)
    assert_close(ours(MANY, mask=ALL_MASKS), theirs(MANY, mask=ALL_MASKS), **CLOSE)


def test_where_the_mask_is_false_the_output_before_stays():
    layer = layers.RNN(counting(pellucid)(3), return_sequences=True)
    real = layer(X[:, [0, 2, 3, 5]])
    y = layer(X, mask=jnp.asarray(np.tile(MASKS["middle"][0], (3, 1))))
    assert_close(y, real[:, jnp.array([0, 0, 1, 2, 2, 3])], **CLOSE)


def test_a_cell_that_assigns_and_draws_is_called_once_in_a_capture_and_trains():
    runs = itertools.count()

    class Noisy(layers.Layer):
        state_size = output_size = 5

        def __init__(self):
            super().__init__()
            self.inner, self.drop = layers.Dense(5), layers.Dropout(0.5)

        def build(self, input_shape):
            self.steps = self.add_weight((), "zeros", trainable=False, name="steps")

        def call(self, inputs, states, training=None):
            next(runs)
            self.steps.assign_add(1.0)
            h = self.drop(jnp.tanh(self.inner(inputs) + states[0]), training=training)
            return h, h  # a state need not be in a list

    model = Scan(layers.RNN(Noisy(), return_sequences=True)).model
    model.compile("sgd", "mse")
    model.fit(X, normal(3, 6, 5), epochs=3, verbose=0)
    model.predict(X[:2], verbose=0)
    assert next(runs) == 1 and model.ledger.call_count == 1
    assert [n.path for n in model.graph.nodes if n.path.startswith("layer")][:2] == ["layer", "layer/cell"]
    assert "layer/cell/inner" in [n.path for n in model.graph.nodes]
    assert float(model.layer.cell.steps) == (3 + 1) * 6
    dropped = np.asarray(model(X, training=True)) == 0
    assert dropped.any() and (dropped[:, 0] != dropped[:, 1]).any()  # each step draws anew
    assert not (np.asarray(model(X, training=False)) == 0).any()


def test_nested_states_and_cells_that_are_no_layers_work():
    class Plain:
        state_size = 4

        def call(self, inputs, states):
            return inputs + states[0], [inputs + states[0]]

    assert_close(layers.RNN(Plain())(X), jnp.asarray(X).sum(1), **CLOSE)
    stack = layers.RNN([counting(pellucid)(3), layers.LSTMCell(2)], return_state=True)
    y, first, second = stack(X, mask=jnp.asarray(MASKS["right"]))
    assert y.shape == (3, 2) and [s.shape for s in first] == [(3, 3), (3, 1)] and [s.shape for s in second] == [(3, 2)] * 2
    assert first[1].ravel().tolist() == [6, 3, 1]  # real steps
    assert_close(y, second[0], **CLOSE)


def test_a_subclass_of_a_built_in_cell_may_have_a_call_of_its_own():
    class Doubled(layers.GRUCell):
        def call(self, inputs, states, training=False):
            h, states = super().call(inputs, states, training=training)
            return 2 * h, states

    doubled, plain = layers.RNN(Doubled(5), return_sequences=True), layers.GRU(5, return_sequences=True)
    doubled(X)
    plain(X)
    doubled.set_weights(plain.get_weights())
    assert_close(doubled(X), 2 * plain(X), **CLOSE)


def test_activations_of_the_users_own_may_be_functions_or_layers():
    for activation in (lambda x: jnp.sin(x), layers.Activation("tanh")):
        layer = layers.SimpleRNN(5, activation=activation)
        model = Scan(layer).model
        assert_close(model.capture(X).run(jnp.asarray(X), False, 3)[0], layer(X), **CLOSE)
        h = jnp.zeros((3, 5))
        for t in range(6):
            h = activation(X[:, t] @ layer.cell.kernel.value + h @ layer.cell.recurrent_kernel.value + layer.cell.bias.value)
        assert_close(layer(X), h, **CLOSE)


# ---- Dropout ----


def echo(**options: Any) -> Any:
    """A recurrent layer that gives its inputs, or what dropout makes of them."""
    layer = layers.SimpleRNN(4, activation=None, return_sequences=True, **options)
    layer(X)
    layer.set_weights([np.eye(4), np.zeros((4, 4)), np.zeros(4)])
    return layer


def test_dropout_drops_the_same_inputs_in_all_steps_of_a_sequence_and_others_in_the_next_one():
    layer, x = echo(dropout=0.5, seed=3), jnp.ones((40, 6, 4))
    y, again = layer(x, training=True), layer(x, training=True)
    assert set(np.unique(y)) == {0.0, 2.0} and (y == y[:, :1]).all() and (y != again).any()
    assert 0.3 < float((y == 0).mean()) < 0.7
    assert (echo(dropout=0.5, seed=3)(x, training=True) == y).all()
    assert_close(layer(x), x, **CLOSE)


def test_recurrent_dropout_has_others_for_each_gate():
    cell = layers.GRUCell(4, dropout=0.5, recurrent_dropout=0.5)
    cell.build((None, 3))
    of_inputs, of_states = cell.factors(16, True)
    assert of_inputs.shape == (3, 16, 3) and of_states.shape == (3, 16, 4)
    assert (of_states[0] != of_states[1]).any() and set(np.unique(of_states)) == {0.0, 2.0}


def test_a_stack_with_a_cell_of_the_users_own_drops_the_same_in_all_steps():
    class Same(layers.Layer):
        state_size = 4

        def call(self, inputs, states):
            return inputs, states

    lower = layers.SimpleRNNCell(4, activation=None, dropout=0.5)
    layer = layers.RNN([lower, Same()], return_sequences=True)
    layer(X)
    lower.set_weights([np.eye(4), np.zeros((4, 4)), np.zeros(4)])
    y = np.asarray(layer(jnp.ones((40, 6, 4)), training=True))
    assert set(np.unique(y)) == {0.0, 2.0} and (y == y[:, :1]).all()


def test_a_bidirectional_gru_with_dropout_is_captured_once_and_trains():
    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.rnn = layers.Bidirectional(layers.GRU(6, dropout=0.2, recurrent_dropout=0.1))
            self.out = layers.Dense(1)

        def call(self, x):
            return self.out(self.rnn(x))

    pellucid.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 5, 3)).astype("float32")
    y = x[:, 0, :1] - x[:, -1, :1]
    model = Model()
    model.compile(pellucid.optimizers.Adam(0.02), "mse")
    losses = model.fit(x, y, batch_size=16, epochs=20, verbose=0).history["loss"]
    assert model.ledger.call_count == 1 and losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize("name", ["dropout", "stack", "own"])
def test_rows_stay_apart_so_that_a_smaller_last_batch_needs_no_program(name):
    layer = {
        "dropout": lambda: layers.Bidirectional(layers.GRU(3, dropout=0.2, recurrent_dropout=0.2, return_sequences=True)),
        "stack": lambda: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)], go_backwards=True),
        "own": lambda: layers.TimeDistributed(layers.RNN(Local(3), return_sequences=True)),
    }[name]()
    graph = Scan(layer).model.capture(X if name != "own" else normal(2, 3, 4, 5))
    assert coupling(graph.jaxpr, True) is None and coupling(graph.jaxpr, False) is None


# ---- Bidirectional ----


def test_a_bidirectional_layer_makes_new_layers_with_keras_names_and_takes_weights():
    inner = layers.GRU(2, name="mine")
    layer = layers.Bidirectional(inner)
    layer(X)
    assert (layer.forward_layer.name, layer.backward_layer.name) == ("forward_mine", "backward_mine") and layer.forward_layer is not inner
    assert layer.backward_layer.go_backwards and not layer.forward_layer.go_backwards and not inner.built
    again = layers.Bidirectional(layers.GRU(2), weights=layer.get_weights())
    assert_close(again(X), layer(X), **CLOSE)
    states = layers.Bidirectional(layers.LSTM(2, return_state=True, stateful=True), merge_mode=None)(X)
    assert len(states) == 6


def test_a_bidirectional_layer_of_a_cell_that_is_known_here_alone():
    layer = layers.Bidirectional(layers.RNN(Local(3), return_sequences=True))
    assert layer(X).shape == (3, 6, 6)


class Local(layers.Layer):
    """A cell that is not registered."""

    def __init__(self, units: int, **layer_args: Any):
        super().__init__(**layer_args)
        self.state_size = units
        self.inner = layers.Dense(units)

    def call(self, inputs: Any, states: Any) -> tuple:
        h = jnp.tanh(self.inner(inputs) + states[0])
        return h, [h]


class Own(layers.Layer):
    """A cell with layers of its own, and a weight that all steps read."""

    def __init__(self, units: int, drop: float = 0.0, **layer_args: Any):
        super().__init__(**layer_args)
        self.state_size = units
        self.of_inputs, self.of_state = layers.Dense(units), layers.Dense(units, use_bias=False)
        self.drop = layers.Dropout(drop) if drop else None

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((self.state_size,), "ones", name="scale")

    def call(self, inputs: Any, states: Any, training: Any = False) -> tuple:
        h = jnp.tanh(self.of_inputs(inputs) + self.of_state(states[0] * self.scale))
        h = self.drop(h, training=training) if self.drop else h
        return h, [h]


def products_in_loops(jaxpr: Any, inside: bool = False) -> int:
    eqns = jax_compat.parts(jaxpr).eqns
    nested = lambda e: sum(products_in_loops(j, inside or e.primitive.name == "scan") for j in jax_compat.nested_jaxprs(e))
    return sum((inside and e.primitive.name == "dot_general") + nested(e) for e in eqns)


@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_a_cell_of_ones_own_trains_as_in_the_plain_loop(monkeypatch, drop):
    weights, products = [], []
    for platforms in (frozenset({"cpu"}), frozenset()):
        monkeypatch.setitem(forms.FASTER_ON, "scan", platforms)
        pellucid.utils.set_random_seed(0)
        model = Scan(layers.RNN(Own(3, drop))).model
        model.compile(optimizer=pellucid.optimizers.SGD(0.1), loss="mse")
        model.fit(np.tile(X, (3, 1, 1)), np.ones((9, 3)), batch_size=4, epochs=2, verbose=0)
        weights.append(model.get_weights())
        products.append(products_in_loops(model.graph.jaxpr))
    for own, plain in zip(*weights, strict=True):
        assert_close(own, plain, **CLOSE)
    assert products == ([2, 2] if drop else [1, 2])  # what assigns, as a seed's state, takes the plain loop


# ---- TimeDistributed ----

IMAGES = normal(2, 3, 4, 4, 2)
INNER = {
    "an image": (lambda k: k.layers.Conv2D(3, 2), IMAGES),
    "nested": (lambda k: k.layers.TimeDistributed(k.layers.Dense(2)), normal(2, 3, 4, 5)),
    "several layers": (lambda k: k.Sequential([k.layers.Dense(3, activation="relu"), k.layers.Dense(2)]), X),
    "statistics": (lambda k: k.Sequential([k.layers.Dense(3), k.layers.BatchNormalization()]), X),
    "a function of the rows": (lambda k: k.layers.Dense(3, activation=lambda y: y - y.mean(0)), X),
    "an axis of the rows": (lambda k: k.layers.UnitNormalization(axis=0), X),
    "an axis of the rows, from the end": (lambda k: k.layers.Softmax(axis=-2), X),
}


@pytest.mark.parametrize("name", INNER)
def test_a_layer_in_time_computes_what_it_does_in_keras(name):
    make, x = INNER[name]
    ours, theirs = (k.layers.TimeDistributed(make(k)) for k in (pellucid, keras))
    ours(x)
    theirs(x)
    like(theirs, ours)
    assert_close(ours(x, training=True), theirs(x, training=True), **CLOSE)
    assert_close(ours.get_weights(), [np.asarray(w) for w in theirs.weights], **CLOSE)  # statistics too


def centred(k: Any) -> Any:
    class Centred(k.layers.Layer):
        def call(self, inputs):
            return inputs - inputs.mean(0)

    return Centred()


def test_steps_are_folded_into_rows_only_where_rows_cannot_meet():
    x = jnp.asarray(X)
    expected = x - x.mean(0)
    assert_close(layers.TimeDistributed(centred(pellucid))(x), expected, **CLOSE)
    assert_close(keras.layers.TimeDistributed(centred(keras))(x), expected, **CLOSE)
    apart = lambda inner: layers.wrapping.rows_are_apart(inner)
    assert apart(layers.Dense(2)) and apart(layers.Dropout(0.5)) and apart(layers.GRU(2)) and apart(pellucid.Sequential([layers.Dense(2)]))
    assert apart(layers.Bidirectional(layers.GRU(2))) and not apart(layers.Bidirectional(layers.GRU(2, stateful=True)))
    assert not apart(pellucid.Sequential([layers.BatchNormalization()])) and not apart(layers.GRU(2, stateful=True))
    assert not apart(layers.Dropout(0.5, noise_shape=(1, 4))) and apart(layers.Dropout(0.5, noise_shape=(None, 4)))
    assert not apart(layers.Lambda(jnp.sin)) and not apart(layers.SpectralNormalization(layers.Dense(2)))
    symbolic = pellucid.Input((4,))
    assert not apart(pellucid.Model(symbolic, symbolic - pellucid.ops.mean(symbolic, axis=0)))


def test_a_layer_in_time_is_captured_once_at_either_way():
    for inner, path in ((layers.Dense(2), "layer/layer"), (centred(pellucid), "layer/layer")):
        model = Scan(layers.TimeDistributed(inner)).model
        graph = model.capture(X)
        assert [n.path for n in graph.nodes if n.path == path] == [path] and model.ledger.call_count == 1
        assert_close(graph.run(jnp.asarray(X[:2]), False, 2)[0], model.layer(X[:2]), **CLOSE)


def test_dropout_in_time_draws_anew_for_each_step():
    for noise in (None, (1, 4)):  # folded, and one step after the other
        y = np.asarray(layers.TimeDistributed(layers.Dropout(0.5, noise_shape=noise))(jnp.ones((8, 6, 4)), training=True))
        assert set(np.unique(y)) == {0.0, 2.0} and (y[:, 0] != y[:, 1]).any()
        assert noise is None or (y == y[:1]).all()


# ---- What is refused ----


class NoState(layers.Layer):
    def call(self, inputs: Any, states: Any) -> Any:
        return inputs, states


class TooMany(layers.Layer):
    state_size = 4

    def call(self, inputs: Any, states: Any) -> Any:
        return inputs, [inputs, inputs]


ERRORS = [
    (lambda: layers.GRU(0), r"GRUCell: units=0; expected a positive whole number"),
    (lambda: layers.GRU(2, dropout=1.5), r"GRU: dropout=1.5; expected a number in \[0, 1\]"),
    (lambda: layers.LSTM(2, use_cudnn=True), "use_cudnn=True; expected 'auto' or False"),
    (lambda: layers.GRU(2, stateful="yes"), "GRU: stateful='yes'; expected True or False"),
    (lambda: layers.RNN(NoState()), r"RNN: cell=.* has no attribute `state_size`.*GRUCell\(32\)"),
    (lambda: layers.StackedRNNCells([3]), r"StackedRNNCells: cell=3 has no method `call"),
    (lambda: layers.GRU(2)(X[0]), r"GRU.* got an input of shape \(6, 4\); expected ndim=3"),
    (lambda: layers.GRU(2)(X, mask=jnp.ones(3, bool)), r"mask has shape \(3,\).*expected a boolean for each row and step"),
    (lambda: layers.RNN(TooMany())(X), "a cell returned 2 new states and got 1"),
    (lambda: layers.GRU(2, stateful=True).build((None, 6, 4)), "is stateful, and keeps a state for each row: the batch size must be known"),
    (lambda: layers.Bidirectional(3), r"Bidirectional: layer=3; expected a recurrent layer, such as GRU\(4\)"),
    (lambda: layers.Bidirectional(layers.Dense(3)), r"layer=<Dense.*; expected a recurrent layer, such as GRU\(4\)"),
    (lambda: layers.Bidirectional(layers.GRU(3), "max"), r"merge_mode='max'; expected one of \['concat', 'sum', 'ave', 'mul', None\]"),
    (
        lambda: layers.Bidirectional(layers.GRU(3), backward_layer=layers.GRU(3)),
        "go_backwards=False and backward_layer .*expected one that",
    ),
    (
        lambda: layers.Bidirectional(layers.GRU(3), backward_layer=layers.GRU(3, go_backwards=True, return_state=True)),
        "return_state=False and backward_layer return_state=True; expected the same of both",
    ),
    (lambda: layers.TimeDistributed(3), r"TimeDistributed: layer=3; expected a layer"),
    (lambda: layers.TimeDistributed(layers.Dense(2))(X[0]), r"TimeDistributed .* got inputs of 2 axes; expected three or more"),
    (
        lambda: layers.TimeDistributed(layers.Dense(2))(X, mask=jnp.ones(3, bool)),
        r"got a mask of shape \(3,\); expected \(batch, time, \.\.\.\)",
    ),
]


@pytest.mark.parametrize(("make", "message"), ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_an_error_names_the_argument_and_what_was_expected(make, message):
    with pytest.raises(Exception, match=message):
        make()
