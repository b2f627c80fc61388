"""Optimizers keep their state in variables, and can be whatever optax offers."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pellucid
from pellucid import optimizers
from tests.optimizers.rules import RULES

START = np.array([1.0, -2.0, 3.0], "float32")
GRADIENTS = [np.array(g, "float32") for g in ([0.1, -0.2, 0.0], [1.0, 2.0, -3.0], [0.5, 0.5, 0.5], [-1.0, 0.0, 2.0], [0.01, 0.02, 0.03])]


def steps(optimizer, variable, rates=None):
    """The values of a variable after each step."""
    values = []
    for number, gradient in enumerate(GRADIENTS):
        if rates is not None:
            optimizer.learning_rate = rates[number]
        optimizer.apply_gradients([(jnp.asarray(gradient), variable)])
        values.append(np.array(variable.value, copy=True))
    return values


def test_a_schedule_is_asked_for_the_rate_of_each_step():
    asked = optimizers.SGD(lambda step: 0.1 / (1 + step))
    assigned = optimizers.SGD(0.1)
    values = steps(asked, pellucid.Variable(START))
    np.testing.assert_allclose(values, steps(assigned, pellucid.Variable(START), [0.1 / (1 + i) for i in range(5)]), rtol=1e-6)
    np.testing.assert_allclose(asked.learning_rate, 0.1 / 6, rtol=1e-6)
    optax_schedule = optimizers.SGD(optax.linear_schedule(0.1, 0.0, 4))
    expected = steps(assigned, pellucid.Variable(START), [0.1, 0.075, 0.05, 0.025, 0.0])
    np.testing.assert_allclose(steps(optax_schedule, pellucid.Variable(START)), expected, rtol=1e-6)


def test_a_schedule_counts_steps_in_fit():
    class Shift(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.w = pellucid.Variable(0.0)

        def call(self, inputs):
            return inputs * 0 + self.w

    x = np.zeros((8, 1), "float32")
    model = Shift()
    model.compile(optimizer=optimizers.SGD(lambda step: jnp.where(step < 3, 1.0, 0.0)), loss=lambda t, p: -p[:, 0])
    model.fit(x, x, batch_size=2, epochs=2, verbose=0)
    assert float(model.w) == 3.0 and int(model.optimizer.iterations) == 8


# ---- The learning rate ----


def test_the_learning_rate_reads_and_assigns_like_a_number():
    optimizer = optimizers.Adam(0.25)
    assert float(optimizer.learning_rate) == 0.25
    for set_it in (lambda: setattr(optimizer, "learning_rate", 0.5), lambda: optimizer.learning_rate.assign(0.5)):
        optimizer.learning_rate = 0.1
        set_it()
        assert float(optimizer.learning_rate) == 0.5
    assert float(optimizers.SGD(pellucid.Variable(0.75)).learning_rate) == 0.75


# ---- State ----


def test_variables_are_the_counter_the_rate_and_the_slots():
    optimizer = optimizers.Adam(0.1)
    assert [v.path for v in optimizer.variables] == ["adam/iterations", "adam/learning_rate"]
    weights = [pellucid.Variable(START), pellucid.Variable(np.ones((2, 2), "float32"))]
    optimizer.build(weights)
    shapes = [v.shape for v in optimizer.variables]
    assert shapes.count((3,)) == shapes.count((2, 2)) == 2
    assert all(not v.trainable for v in optimizer.variables) and len({v.path for v in optimizer.variables}) == len(shapes)


def test_slots_are_named_after_what_they_are_and_their_variable():
    weights = [pellucid.Variable(START, name="kernel"), pellucid.Variable(START[:1], name="bias")]
    for optimizer, kinds, shared in (
        (optimizers.Adam(0.1), ["momentum", "velocity"], ["power_1", "power_2"]),
        (optimizers.SGD(0.1, momentum=0.9, name="opt"), ["momentum"], []),
        (optimizers.get(optax.chain(optax.trace(0.5), optax.trace(0.9))), ["0/trace", "1/trace"], []),
        (optimizers.get(optax.adam(0.1)), ["mu", "nu"], ["count"]),
    ):
        optimizer.build(weights)
        expected = [f"{kind}/{v}" for kind in kinds for v in ("kernel", "bias")] + shared
        assert sorted(v.path for v in optimizer.variables[2:]) == sorted(f"{optimizer.name}/{path}" for path in expected)


def test_each_step_counts_and_zero_gradients_change_nothing():
    optimizer, w = optimizers.SGD(0.1), pellucid.Variable(START)
    optimizer.apply([jnp.zeros(3)], [w])
    assert int(optimizer.iterations) == 1 and np.array_equal(w.numpy(), START)


def test_state_given_to_another_optimizer_goes_on_the_same():
    first, w = optimizers.RMSprop(0.1, momentum=0.9), pellucid.Variable(START)
    first.apply_gradients([(GRADIENTS[0], w)])
    second, copy = optimizers.RMSprop(0.1, momentum=0.9), pellucid.Variable(w.numpy())
    second.build([copy])
    for mine, other in zip(second.variables, first.variables, strict=True):
        mine.assign(other.numpy())
    for optimizer, variable in ((first, w), (second, copy)):
        optimizer.apply_gradients([(GRADIENTS[1], variable)])
    assert np.array_equal(w.numpy(), copy.numpy()) and int(second.iterations) == 2


def test_slots_belong_to_their_variables():
    """Two sets of variables with one optimizer: each has its own momentum."""
    optimizer, a, b = optimizers.SGD(0.1, momentum=0.9), pellucid.Variable(START), pellucid.Variable(START)
    alone, c = optimizers.SGD(0.1, momentum=0.9), pellucid.Variable(START)
    for gradient in GRADIENTS:
        optimizer.apply([gradient], [a])
        optimizer.apply([-gradient], [b])
        alone.apply([gradient], [c])
    np.testing.assert_allclose(a.numpy(), c.numpy(), rtol=1e-6)


KEEPERS = {
    **{rule: RULES[rule] for rule in ("SGD with momentum", "Adam", "AdamW", "RMSprop, centered with momentum")},
    "optax adam": lambda k: k.optimizers.get(optax.adam(0.1)),
    "optax, masked": lambda k: k.optimizers.get(optax.masked(optax.adam(0.1), lambda p: [x.ndim == 1 for x in p])),
    "optax, by label": lambda k: k.optimizers.get(
        optax.multi_transform({1: optax.adam(0.1), 2: optax.lion(0.1)}, lambda p: [x.ndim for x in p])
    ),
    "optax, accumulated": lambda k: k.optimizers.get(optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2)),
}


@pytest.mark.parametrize("rule", KEEPERS)
def test_a_variable_keeps_its_slots_whichever_others_are_changed_beside_it(rule):
    """`b` is frozen for a while, and `late` is unfrozen late: `a` takes the steps that it takes alone."""
    optimizer, alone = KEEPERS[rule](pellucid), KEEPERS[rule](pellucid)
    a, b, late, expected = (pellucid.Variable(v) for v in (START, np.ones((2, 2), "float32"), START[:1], START))
    gradients = {a: GRADIENTS, b: [np.full((2, 2), g[0]) for g in GRADIENTS], late: [g[:1] for g in GRADIENTS]}
    for number, variables in enumerate(([a, b], [a], [late, b, a], [b, a], [a, late])):
        optimizer.apply([gradients[v][number] for v in variables], variables)
        alone.apply([GRADIENTS[number]], [expected])
        np.testing.assert_allclose(a.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7)
    assert len({v.path for v in optimizer.variables}) == len(optimizer.variables)


def test_a_variable_that_rests_goes_on_with_its_own_momentum():
    optimizer, a, b = optimizers.SGD(1.0, momentum=0.5), pellucid.Variable(0.0), pellucid.Variable(0.0)
    for variables in ([a, b], [a], [a], [a, b]):
        optimizer.apply([np.float32(-1.0)] * len(variables), variables)
    assert float(b) == 1.0 + 1.5  # the velocity was 1, and half of it is kept
    assert float(a) == 1.0 + 1.5 + 1.75 + 1.875


def test_slots_of_a_rule_that_was_left_do_not_come_back():
    optimizer, w = optimizers.SGD(1.0, momentum=0.5), pellucid.Variable(0.0)
    for momentum in (0.5, 0.0, 0.5):
        optimizer.momentum = momentum
        optimizer.apply([np.float32(-1.0)], [w])
    assert float(w) == 3.0 and len(optimizer.variables) == 3
    optimizer.momentum = 0.25  # the same slots serve
    optimizer.apply([np.float32(-1.0)], [w])
    assert float(w) == 3.0 + 1.25


def test_half_precision_weights_stay_half():
    w = pellucid.Variable(START, dtype="bfloat16")
    for optimizer in (optimizers.SGD(0.1, momentum=0.9), optimizers.Adam(0.1), optimizers.AdamW(0.1), optimizers.RMSprop(0.1)):
        optimizer.apply([jnp.ones(3, "bfloat16")], [w])
        assert w.dtype == "bfloat16" and w.value.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_norms_of_short_numbers_do_not_overflow(dtype, clip):
    w = pellucid.Variable(np.zeros(4), dtype=dtype)
    optimizers.SGD(1.0, **{clip: 1.0}).apply([jnp.full(4, 300, dtype)], [w])  # its square is above the largest float16
    np.testing.assert_allclose(np.asarray(w.value, "float32"), -0.5, rtol=1e-3)
    optimizers.SGD(1.0, **{clip: 1e4}).apply([jnp.full(4, 300, dtype)], [w])  # short enough
    np.testing.assert_allclose(np.asarray(w.value, "float32"), -300.5, rtol=4e-3)


def test_a_layer_of_float16_trains_with_clipped_gradients():
    model = pellucid.Sequential([pellucid.Input((3,)), pellucid.layers.Dense(2, dtype="float16", kernel_initializer="zeros")])
    model.compile(optimizers.SGD(0.1, clipnorm=1.0), "mse")
    model.fit(np.full((8, 3), 30, "float16"), np.full((8, 2), 30, "float16"), verbose=0)
    np.testing.assert_allclose(np.asarray(model.weights[0].value, "float32"), 0.1 / np.sqrt(6), rtol=2e-3)


# ---- How to say which ----


@pytest.mark.parametrize(
    "given, kind",
    [
        ("sgd", "SGD"),
        ("SGD", "SGD"),
        ("adam", "Adam"),
        ("AdamW", "AdamW"),
        ("adamw", "AdamW"),
        ("rmsprop", "RMSprop"),
        ("RMSprop", "RMSprop"),
        (optimizers.Adam, "Adam"),
        ({"class_name": "Adam", "config": {"learning_rate": 0.5}}, "Adam"),
        (optax.adam(0.1), "OptaxOptimizer"),
    ],
)
def test_get_takes_names_classes_configs_and_optax(given, kind):
    assert type(optimizers.get(given)).__name__ == kind
    with_settings = optimizers.SGD(0.5)
    assert optimizers.get(with_settings) is with_settings


@pytest.mark.parametrize(
    "make",
    [
        lambda: optax.adam(0.1),
        lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.9)),
        lambda: optax.lion(optax.cosine_decay_schedule(0.1, 5)),
        lambda: optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(0.1)),
        lambda: optax.masked(optax.sgd(0.1), [True]),
        lambda: optax.flatten(optax.adam(0.1)),
    ],
    ids=["adam", "clipped", "a schedule of its own", "random keys", "a mask as a list", "flattened"],
)
def test_an_optax_transformation_is_used_as_it_is(make):
    transformation = make()
    parameters, state, expected = [jnp.asarray(START)], transformation.init([jnp.asarray(START)]), []
    for gradient in GRADIENTS:
        updates, state = transformation.update([jnp.asarray(gradient)], state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        expected.append(np.asarray(parameters[0]))
    np.testing.assert_allclose(steps(optimizers.get(make()), pellucid.Variable(START)), expected, rtol=1e-5)


def test_fit_trains_with_an_optax_transformation():
    class Line(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.out = pellucid.layers.Dense(1, kernel_initializer="zeros")

        def call(self, inputs):
            return self.out(inputs)

    x = np.linspace(-1, 1, 12, dtype="float32")[:, None]
    models = [Line(), Line()]
    for model, optimizer in zip(models, (optax.sgd(0.1), "sgd")):
        model.compile(optimizer=optimizer, loss="mse")
        if optimizer == "sgd":
            model.optimizer.learning_rate = 0.1
        model.fit(x, 2 * x, batch_size=4, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(models[0].get_weights()[0], models[1].get_weights()[0], rtol=1e-6)
    assert models[0].get_weights()[0] > 0


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: optimizers.SGD(-0.1), ["SGD", "learning_rate=-0.1"]),
        (lambda: optimizers.Adam(float("nan")), ["Adam", "learning_rate=nan"]),
        (lambda: optimizers.SGD(0.1, momentum=1.5), ["momentum=1.5"]),
        (lambda: optimizers.Adam(beta1=0.9), ["Adam", "beta1"]),
        (lambda: optimizers.get("sdg"), ["'sdg'", "'SGD'"]),
        (lambda: optimizers.get(3), ["3", "optimizer"]),
        (lambda: optimizers.SGD(0.1).apply([jnp.zeros(2)], [pellucid.Variable(START)]), ["(2,)", "(3,)"]),
    ],
)
def test_what_does_not_fit_is_named(make, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert all(word.lower() in str(caught.value).lower() for word in words), str(caught.value)
