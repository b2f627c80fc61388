"""``training`` during a capture: one capture serves both modes, unless Python asks which one it is."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import pellucid
from pellucid import layers, ops
from pellucid.core.frame import functional
from pellucid.core.jax_compat import parts
from pellucid.core.mode import by_training, tells_a_bool
from tests.graph.helpers import FAST, Net, assert_graph_equals_plain_jax, assert_same, instantiated, normal, outputs_and_gradients, spec

# ---- One capture for both modes ----


def double_in_training(x, t):
    return by_training(t, lambda x: jnp.sin(x) * 2, lambda x: x, x)


IN_MODES = {
    "by_training": lambda m, x, t: double_in_training(x * m.w, t),
    "ops.cond": lambda m, x, t: ops.cond(t, lambda x: x * m.w, lambda x: x, x),
    "ops.cond that closes over": lambda m, x, t: ops.cond(t, lambda: x * m.w, lambda: x + 0),
    "where": lambda m, x, t: jnp.where(t, x * m.w, jnp.sin(x)),
    "lax.cond": lambda m, x, t: lax.cond(jnp.asarray(t), lambda x: x * m.w, jnp.sin, x),
    "lax.select": lambda m, x, t: lax.select(jnp.broadcast_to(t, x.shape), x * m.w, jnp.sin(x)),
    "x * training": lambda m, x, t: x * m.w * t,
    "training * x": lambda m, x, t: t * x * m.w,
    "1 - training": lambda m, x, t: x * m.w * (1 - t) + (1.0 - t),
    "training + x": lambda m, x, t: t + x * m.w,
    "training as an array": lambda m, x, t: x * m.w * jnp.asarray(t, jnp.float32),
    "logical operations": lambda m, x, t: jnp.where(jnp.logical_not(t) & (x > 0), x * m.w, 0.0),
    "by_training in scan": lambda m, x, t: lax.scan(lambda c, _: (double_in_training(c * m.w, t), None), x, None, length=3)[0],
    "by_training in remat": lambda m, x, t: jax.checkpoint(lambda x: double_in_training(x * m.w, t))(x),
    "by_training in jit": lambda m, x, t: jax.jit(lambda x: double_in_training(x * m.w, t))(x),
    "by_training in vmap": lambda m, x, t: jax.vmap(lambda x: double_in_training(x * m.w, t))(x),
    "by_training in cond": lambda m, x, t: lax.cond(x.sum() > 0, lambda x: double_in_training(x * m.w, t), lambda x: x, x),
    "by_training in grad": lambda m, x, t: jax.grad(lambda x: double_in_training(x * m.w, t).sum())(x),
    "by_training in by_training": lambda m, x, t: by_training(t, lambda x: double_in_training(x * m.w, t), lambda x: x - m.w, x),
    "by_training in scan in remat in jit": lambda m, x, t: jax.jit(
        jax.checkpoint(lambda x: lax.scan(lambda c, _: (double_in_training(c * m.w, t), None), x, None, length=2)[0])
    )(x),
    "ops.cond in ops.scan": lambda m, x, t: ops.scan(lambda c, _: (ops.cond(t, lambda c: c * m.w, lambda c: c + 1, c), None), x, length=2)[
        0
    ],
    "where in scan": lambda m, x, t: lax.scan(lambda c, _: (jnp.where(t, c * m.w, c + 1), None), x, None, length=2)[0],
    "where in jit": lambda m, x, t: jax.jit(lambda x: jnp.where(t, x * m.w, x + 1))(x),
    "flag given to a jit": lambda m, x, t: jax.jit(lambda x, t: jnp.where(t, x * m.w, x + 1))(x, t),
    "training is not None": lambda m, x, t: double_in_training(x * m.w, t) if t is not None else x,
}


@pytest.mark.parametrize("function", IN_MODES.values(), ids=IN_MODES)
def test_one_capture_serves_both_modes(function):
    net, _ = assert_graph_equals_plain_jax(function, {"w": normal(3)}, lambda n: normal(n, 3, seed=1))
    assert net.graph.training is None
    assert net.ledger[0].training is None


@pytest.mark.parametrize("name", [n for n in IN_MODES if n.startswith("by_training") or n.startswith("ops.cond") or n == "lax.cond"])
@pytest.mark.parametrize("training", [True, False])
def test_no_cond_on_the_mode_is_left(name, training):
    graph = Net(IN_MODES[name], w=normal(3)).capture(spec(4, 3))
    jaxpr = jax.make_jaxpr(lambda x: graph.run(x, training)[0])(spec(6, 3))
    assert str(jaxpr).count("cond[") == (name == "by_training in cond")
    assert "mode" not in {e.primitive.name for e in parts(jaxpr).eqns}


BRANCHES = {
    "if training": lambda m, x, training=False: x * m.w if training else jnp.sin(x),
    "if not training": lambda m, x, training=False: jnp.sin(x) if not training else x * m.w,
    "training is True": lambda m, x, training=False: x * m.w if training is True else jnp.sin(x),
    "training is not True": lambda m, x, training=False: jnp.sin(x) if training is not True else x * m.w,
    "training is False": lambda m, x, training=False: jnp.sin(x) if training is False else x * m.w,
    "training == True": lambda m, x, training=False: x * m.w if training == True else jnp.sin(x),  # noqa: E712
    "training == 1": lambda m, x, training=False: x * m.w if training == 1 else jnp.sin(x),
    "training != 1": lambda m, x, training=False: jnp.sin(x) if training != 1 else x * m.w,
    "isinstance bool": lambda m, x, training=False: x * m.w if isinstance(training, bool) and training else jnp.sin(x),
    "int": lambda m, x, training=False: [jnp.sin(x), x * m.w][int(training)],
    "index": lambda m, x, training=False: [jnp.sin(x), x * m.w][training],
    "float": lambda m, x, training=False: x * m.w * float(training),
    "dict key": lambda m, x, training=False: {True: x * m.w, False: jnp.sin(x)}[training],
    "and": lambda m, x, training=False: x * m.w if training and m.w.shape == (3,) else jnp.sin(x),
    "bool()": lambda m, x, training=False: x * m.w if bool(training) else jnp.sin(x),
    "in a tuple": lambda m, x, training=False: x * m.w if training in (True, None) else jnp.sin(x),
    "if inside scan": lambda m, x, training=False: lax.scan(lambda c, _: (c * m.w if training else jnp.sin(c), None), x, None, length=2)[0],
    "if inside a user's jit": lambda m, x, training=False: jax.jit(lambda x: x * m.w if training else jnp.sin(x))(x),
}


def model_with_call(function, **weights):
    """A model whose ``call`` is the function itself: its bytecode is searched for ``is True``."""
    return type("Branching", (Net,), {"call": function})(None, **weights)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("function", BRANCHES.values(), ids=BRANCHES)
def test_a_python_branch_on_training_makes_a_capture_for_each_mode(function, first):
    net = model_with_call(function, w=normal(3))
    x = jnp.asarray(normal(4, 3, seed=1))
    for training in (first, not first, first):
        graph = net.capture(spec(4, 3), training=training)
        assert graph.training is training
        np.testing.assert_allclose(graph.run(x, training)[0], function(types.SimpleNamespace(w=net.w.numpy()), x, training), rtol=1e-6)
    reasons = [run.reason.name for run in net.ledger]
    assert reasons == ["FIRST", "TRAINING"]
    assert f"`call` branches on `training` at test_modes.py:{function.__code__.co_firstlineno}" in net.ledger[1].sentence
    assert f"training is {not first} now" in net.ledger[1].sentence


class Outer(pellucid.Model):
    """Hands ``training`` on in one of several ways."""

    def __init__(self, hand_on, inner):
        super().__init__()
        self.hand_on, self.inner = hand_on, inner

    def call(self, x, training=False):
        return self.hand_on(self.inner, x, training)


class AsksIfTrue(layers.Layer):
    def call(self, x, training=None):
        return x * 2 if training is True else x


class Branches(layers.Layer):
    def call(self, x, training=None):
        return x * 2 if training else x


class InAHelper(layers.Layer):
    def call(self, x, training=None):
        return self.helper(x, training)

    def helper(self, x, training):
        return x * 2 if training is True else x


def asks_if_true(x, training):
    return x * 2 if training is True else x


def asks_for_its_class(x, training):
    return x * 2 if type(training) is bool and training else x


def asks_in_a_match(x, training):
    match training:
        case True:
            return x * 2
    return x


class Helper:
    """A plain object."""

    def method(self, x, training):
        return asks_if_true(x, training=training)


class InAFunction(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x, training=None):
        return self.function(x, training)


class InAGlobalFunction(layers.Layer):
    def call(self, x, training=None):
        return asks_if_true(x, training)


in_a_method, in_a_lambda = lambda: InAFunction(Helper().method), lambda: InAFunction(lambda x, t: x * 2 if t is not False else x)
by_class, in_a_match = lambda: InAFunction(asks_for_its_class), lambda: InAFunction(asks_in_a_match)


class InAComprehension(layers.Layer):
    def call(self, x, training=None):
        return sum(x for _ in range(1) if (lambda: training is True)()) + x


by_keyword = lambda inner, x, training: inner(x, training=training)
by_position = lambda inner, x, training: inner(x, training)
by_context = lambda inner, x, training: inner(x)


@pytest.mark.parametrize("hand_on", [by_keyword, by_position, by_context], ids=["keyword", "position", "context"])
@pytest.mark.parametrize(
    "inner", [Branches, AsksIfTrue, InAHelper, InAComprehension, InAGlobalFunction, in_a_method, in_a_lambda, by_class, in_a_match]
)
def test_a_nested_layer_gets_the_mode(hand_on, inner):
    model = Outer(hand_on, inner())
    x = jnp.asarray(normal(4, 3))
    for training in (True, False):
        graph = model.capture(spec(4, 3), training=training)
        np.testing.assert_allclose(graph.run(x, training)[0], model(x, training=training))
        np.testing.assert_allclose(graph.run(x, training)[0], x * (1 + training))


def test_the_line_that_asks_is_named():
    model = InAGlobalFunction()
    model = Outer(by_keyword, model)
    for training in (True, False):
        model.capture(spec(4, 3), training=training)
    assert f"branches on `training` at test_modes.py:{asks_if_true.__code__.co_firstlineno + 1}" in model.ledger[1].sentence


class AsksOthers(layers.Layer):
    """Asks, but not a local variable that may be the mode."""

    shift = True

    def call(self, x, training=None):
        if self.shift is True or isinstance(self.shift, bool):
            x = x + 1
        return double_in_training(x, training)


def test_questions_to_attributes_cost_no_second_capture():
    model = Outer(by_keyword, AsksOthers())
    assert model.capture(spec(4, 3), training=True).training is None


@pytest.mark.parametrize(
    ("asks", "function"),
    [
        (True, lambda t: t is True),
        (True, lambda t: True is not t),
        (True, lambda t: isinstance(t, (int, bool))),
        (True, lambda t: isinstance(t, bool | np.bool_)),
        (True, lambda t: type(t) in (int, bool)),
        (True, lambda t: bool is type(t)),
        (True, lambda t: [t is False for _ in range(2)]),
        (True, lambda t: [lambda: t is False]),
        (False, lambda t: t is None),
        (False, lambda t: t == True),  # noqa: E712
        (False, lambda t: isinstance(t.x, bool)),
        (False, lambda t: t.x is True),
        (False, lambda t: isinstance(t, int) and bool(t)),
        (False, lambda t: type(t) is int or bool(t)),
    ],
)
def test_what_tells_a_bool_from_other_objects(asks, function):
    place = tells_a_bool(function.__code__)
    assert (place is not None) is asks
    assert not asks or place.line == function.__code__.co_firstlineno


def test_none_by_position_means_the_callers_mode():
    model = Outer(lambda inner, x, training: inner(x, None), Branches())
    x = jnp.asarray(normal(4, 3))
    np.testing.assert_allclose(model(x, training=True), x * 2)


@pytest.mark.parametrize(
    "use",
    [
        lambda x, t: x * (t > 0),
        lambda x, t: x * (t // 1),
        lambda x, t: x * 2**t,
        lambda x, t: x * (0 <= t),  # noqa: SIM300
        lambda x, t: x * (-t + 2),
    ],
    ids=[">", "//", "**", "<=", "-"],
)
def test_arithmetic_of_a_bool_works_with_the_flag(use):
    assert_graph_equals_plain_jax(lambda m, x, t: use(x, t), {}, lambda n: normal(n, 3))


@pytest.mark.filterwarnings("ignore:closure variable `seen`:pellucid.SideEffectWarning")
def test_a_flag_kept_by_the_user_says_what_it_is():
    seen = []
    Net(lambda m, x, t: seen.append(repr(t)) or x).capture(spec(4, 3))
    assert seen == ["<training: either, chosen when the graph is instantiated>"]


# ---- Layers that differ by mode ----


class Mixed(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(5, activation="relu")
        self.normalization = layers.BatchNormalization(momentum=0.9)
        self.dropout = layers.Dropout(0.5, seed=3)
        self.last = layers.Dense(2)

    def call(self, x, training=False):
        return self.last(self.dropout(self.normalization(self.first(x), training=training)))


def test_dense_normalization_and_dropout_are_captured_once_and_compute_what_call_does():
    model = Mixed()
    model.build((None, 3))
    model.normalization.moving_mean.assign(normal(5))
    variables = model.variables
    values = [jnp.asarray(v.numpy()) for v in variables]
    weights = [i for i, v in enumerate(variables) if v.trainable]

    def results(run, x):
        def of(trainable, x):
            every = list(values)
            for i, value in zip(weights, trainable, strict=True):
                every[i] = value
            outputs, new = functional(run, variables)(every, x)
            return {"outputs": outputs, "new": [n for i, n in enumerate(new) if i not in weights]}

        return outputs_and_gradients(of, [values[i] for i in weights], x)

    batches = [jnp.asarray(normal(n, 3, seed=n)) for n in (1, 7)]
    for training in (True, False):
        graph = model.capture(spec(4, 3), training=training)
        of_graph = lambda x, graph=graph, training=training: graph.run(x, training)[0]
        of_call = lambda x, training=training: model(x, training=training)
        compare = jax.jit(
            lambda batches, runs=(of_graph, of_call): [[results(run, x) for x in batches] for run in runs], compiler_options=FAST
        )
        ours, direct = compare(batches)
        assert_same(ours, direct)
        moved = [
            np.abs(new - old).max() for (r, _) in ours for new, old in zip(r["new"], [v for i, v in enumerate(values) if i not in weights])
        ]
        assert (np.max(moved) > 0) == training
    assert [run.reason.name for run in model.ledger if run.kind == "capture"] == ["FIRST"]


def test_running_the_graph_eagerly_moves_the_state_as_call_does():
    one, other = Mixed(), Mixed()
    x = jnp.asarray(normal(6, 3))
    one.build((None, 3))
    other.build((None, 3))
    other.set_weights(one.get_weights())
    for training in (True, False, True):
        np.testing.assert_allclose(one.capture(spec(6, 3)).run(x, training)[0], other(x, training=training), rtol=1e-4, atol=1e-5)
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_a_frozen_normalization_keeps_its_statistics_and_a_new_capture_says_why():
    model = Mixed()
    x = jnp.asarray(normal(6, 3))
    model.capture(spec(6, 3), training=True)
    model.normalization.trainable = False
    graph = model.capture(spec(6, 3), training=True)
    before = model.normalization.moving_mean.numpy()
    graph.run(x, True)
    np.testing.assert_array_equal(model.normalization.moving_mean.numpy(), before)
    assert model.ledger[1].reason.name == "ATTRIBUTE"
    assert "trainable` changed from True to False" in model.ledger[1].sentence


@pytest.mark.parametrize("nesting", [ops.scan, "bidirectional"])
def test_each_draw_of_dropout_is_new_also_in_a_loop(nesting):
    net = Net(None)
    net.dropout = layers.Dropout(0.5, seed=1)
    if nesting == "bidirectional":
        net.function = lambda m, x, t: (m.dropout(x), m.dropout(x))
    else:
        net.function = lambda m, x, t: ops.scan(lambda c, _: (c, m.dropout(x)), 0, length=2)[1]
    graph = net.capture(spec(4, 50), training=True)
    one, other = graph.run(jnp.ones((4, 50)), True)[0]
    assert not np.array_equal(one, other)
    assert {float(v) for v in np.unique(np.concatenate([one, other]))} == {0.0, 2.0}
    one, other = graph.run(jnp.ones((4, 50)), False)[0]
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "wrap", [jax.jit, jax.checkpoint, jax.vmap, lambda f: lambda x: lax.cond(True, f, f, x)], ids=["jit", "remat", "vmap", "cond"]
)
def test_a_draw_under_a_users_transformation_is_refused_with_the_cure(wrap):
    net = Net(lambda m, x, t: wrap(lambda x: m.dropout(x))(x))
    net.dropout = layers.Dropout(0.5, seed=1)
    state = net.dropout.seed_generator.state
    with pytest.raises(pellucid.CaptureError, match=r"seed_generator_state.*ops\.cond"):
        net.capture(spec(4, 3), training=True)
    assert state.numpy().tolist() == [1, 0]


@pytest.mark.parametrize("training", [True, False])
def test_weights_of_instantiated_helpers_are_the_given_ones(training):
    """The comparison itself: a wrong graph is noticed."""
    net = Net(lambda m, x, t: x * m.w, w=normal(3))
    run = instantiated(net, ["w"], training, lambda x: net.capture(spec(4, 3)))
    with pytest.raises(AssertionError):
        assert_same(run({"w": jnp.ones(3)}, jnp.ones((4, 3))), jnp.asarray(net.w.numpy()) * jnp.ones((4, 3)))
