"""What optimizers do beside their rules, in plain code, in compiled steps, and as pure functions."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid
from pellucid import optimizers
from pellucid.core import forms
from pellucid.core.frame import Traced, functional
from tests.cases import some_slow
from tests.optimizers.rules import ONE_EACH, RULES, flat, gradients, run, run_eagerly, start

ALL_ARGUMENTS = {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2, "clipnorm": 0.9}


# ---- Pure and compiled ----


def compiled(optimizer, variables, function):
    """A function of arrays as one compiled program over the state of an optimizer and variables, which it changes."""
    state = [*variables, *optimizer.variables]
    program = jax.jit(functional(function, state))

    def call(*args):
        outputs, new = program([v.value for v in state], *args)
        for variable, value in zip(state, new, strict=True):
            variable.assign(value)
        return outputs

    return call


@pytest.mark.parametrize("arguments", [{}, ALL_ARGUMENTS], ids=["plain", "with all arguments"])
@pytest.mark.parametrize("rule", some_slow(ONE_EACH, list(ONE_EACH)[::3]))
def test_stateless_steps_under_jit_are_the_same_steps(rule, arguments):
    names = ["kernel", "bias", "scale"]
    stateful, pure, weights = ONE_EACH[rule](pellucid, **arguments), ONE_EACH[rule](pellucid, **arguments), start(pellucid, names)
    expected = run_eagerly(stateful, start(pellucid, names), gradients(3, names))
    pure.build(weights)
    step, before = jax.jit(pure.stateless_apply), flat(weights)
    values, state = [w.value for w in weights], [v.value for v in pure.variables]
    for number, grads in enumerate(gradients(3, names)):
        values, state = step(state, grads, values)
        np.testing.assert_allclose(flat(values), expected[number], rtol=1e-5, atol=1e-6)
    assert np.array_equal(flat(weights), before) and int(pure.iterations) == 0
    for value, variable in zip(state, stateful.variables, strict=True):
        np.testing.assert_allclose(value, variable.numpy(), rtol=1e-4, atol=1e-6, err_msg=variable.path)


def test_one_program_serves_all_learning_rates_and_all_rounds_of_accumulation():
    optimizer, (w,) = optimizers.SGD(1.0, gradient_accumulation_steps=2), start(pellucid, ["scale"])
    optimizer.build([w])
    traces = []

    def step(g):
        traces.append(1)
        optimizer.apply([g], [w])

    call, first = compiled(optimizer, [w], step), float(w)
    for rate in (1.0, 0.5):
        optimizer.learning_rate = rate
        for g in (1.0, 3.0):
            call(jnp.float32(g))
    assert float(w) == pytest.approx(first - 2.0 - 1.0) and len(traces) == 1


@pytest.mark.parametrize("rule", ["SGD", "Adam", "Muon"])
def test_fit_takes_the_steps_that_apply_takes(rule):
    """In `fit`, a compiled loop; beside it, the same gradients by hand."""
    x = np.random.default_rng(3).normal(size=(12, 3)).astype("float32")
    y = x @ np.ones((3, 2), "float32")
    models = [pellucid.Sequential([pellucid.layers.Dense(2)]) for _ in range(2)]
    for model in models:
        model.build((None, 3))
        model.compile(optimizer=RULES[rule](pellucid, **ALL_ARGUMENTS), loss="mse")
    models[1].set_weights(models[0].get_weights())
    models[0].fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0)
    kernel, bias = models[1].trainable_variables
    for i in [0, 3, 6, 9] * 2:
        loss = lambda i=i: jnp.mean((x[i : i + 3] @ kernel.value + bias.value - y[i : i + 3]) ** 2)
        models[1].optimizer.apply(pellucid.value_and_grad(loss, [kernel, bias])()[1], [kernel, bias])
    np.testing.assert_allclose(*(flat(m.trainable_variables) for m in models), rtol=1e-4, atol=1e-5)
    assert int(models[0].optimizer.iterations) == 4 and models[0].ledger.call_count == 1


def test_what_is_assigned_after_compile_counts_from_the_next_fit_on():
    x = np.ones((4, 2), "float32")
    model = pellucid.Sequential([pellucid.layers.Dense(2, kernel_initializer="ones")])
    model.build((None, 2))
    model.compile(optimizer=optimizers.SGD(1.0, weight_decay=0.5), loss=lambda t, p: 0 * p[:, 0])
    kernel = model.trainable_variables[0]
    model.fit(x, x, batch_size=4, verbose=0)
    assert kernel.numpy()[0, 0] == 0.5
    model.optimizer.exclude_from_weight_decay(var_list=[kernel])
    model.fit(x, x, batch_size=4, verbose=0)
    assert kernel.numpy()[0, 0] == 0.5
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.fit(x, x, batch_size=4, verbose=0)
    assert kernel.numpy()[0, 0] == 0.25


# ---- What a plain step computes ----


def test_a_plain_step_computes_nothing_that_a_step_by_hand_does_not():
    w, rate, count = pellucid.Variable(np.ones(3, "float32")), pellucid.Variable(0.1), pellucid.Variable(np.int32(0))
    optimizer = optimizers.SGD(0.1)

    def by_hand(g):
        w.assign(w - rate * g)
        count.assign(count + 1)

    g = jax.ShapeDtypeStruct((3,), "float32")
    ours, hand = (Traced(f, g).jaxpr.eqns for f in (lambda g: optimizer.apply([g], [w]), by_hand))
    assert sorted(e.primitive.name for e in ours) == sorted(e.primitive.name for e in hand)


def test_arguments_that_are_not_used_add_no_slots_and_no_equations():
    (w,) = start(pellucid, ["scale"])
    plain, other = optimizers.Adam(), optimizers.Adam(clipnorm=0, ema_momentum=0.5, ema_overwrite_frequency=3)
    traced = [Traced(lambda g, o=o: o.apply([g], [w]), jax.ShapeDtypeStruct((), "float32")) for o in (plain, other)]
    ours, theirs = ([e.primitive.name for e in t.jaxpr.eqns] for t in traced)
    assert ours == theirs and [v.path for v in plain.variables] == [v.path for v in other.variables]


# ---- The tail of an epoch ----


FEW = ["kernel", "bias", "scale"]


def by_means(rule, groups, **arguments):
    """The weights after one update for each group of gradients, with their mean: no accumulation at all."""
    optimizer, variables = RULES[rule](pellucid, **arguments), start(pellucid, FEW)
    means = [[np.mean(g, axis=0, dtype="float32") for g in zip(*group, strict=True)] for group in groups]
    return run(optimizer, variables, means)[-1], int(optimizer.iterations)


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("rule", ["SGD", "AdamW", "Nadam"])
def test_flush_applies_the_tail_of_each_epoch_scaled_by_its_count(rule, traced):
    """Epochs of 5 batches, updates after 3: 3 + 2 in each, and none is carried over to the next."""
    g = gradients(10, FEW)
    expected, updates = by_means(rule, [g[0:3], g[3:5], g[5:8], g[8:10]], clipnorm=0.8)
    optimizer, variables = RULES[rule](pellucid, clipnorm=0.8, gradient_accumulation_steps=3), start(pellucid, FEW)
    optimizer.build(variables)
    apply, flush = (lambda g: optimizer.apply(g, variables)), (lambda: optimizer.flush(variables))
    if traced:
        apply, flush = compiled(optimizer, variables, apply), compiled(optimizer, variables, flush)
    for epoch in (g[:5], g[5:]):
        for step in epoch:
            apply(step)
        flush()
    np.testing.assert_allclose(flat(variables), expected, rtol=1e-5, atol=1e-6)
    assert int(optimizer.iterations) == updates == 4


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "compiled"])
def test_flush_changes_nothing_where_nothing_waits(traced):
    optimizer, variables = RULES["SGD with momentum"](pellucid, gradient_accumulation_steps=2, weight_decay=0.5), start(pellucid)
    optimizer.build(variables)
    flush = lambda: optimizer.flush(variables)
    flush = compiled(optimizer, variables, flush) if traced else flush
    for _ in range(2):  # at the start, and after a whole round
        before = [v.numpy() for v in (*variables, *optimizer.variables)]
        flush()
        assert all(np.array_equal(old, v.numpy()) for old, v in zip(before, (*variables, *optimizer.variables), strict=True))
        run(optimizer, variables, gradients(2))


def test_flush_without_accumulation_is_nothing():
    optimizer, variables = optimizers.SGD(0.1), start(pellucid)
    optimizer.flush(variables)
    run(optimizer, variables, gradients(1))
    before = flat(variables)
    optimizer.flush()
    assert np.array_equal(flat(variables), before) and int(optimizer.iterations) == 1


def test_the_tail_has_the_rate_of_its_last_batch():
    (w,) = start(pellucid, ["scale"])
    first, optimizer = float(w), optimizers.SGD(lambda step: step.astype("float32"), gradient_accumulation_steps=4)
    for _ in range(3):
        optimizer.apply([np.float32(1)], [w])
    optimizer.flush([w])
    assert float(w) == pytest.approx(first - 2.0)
    for _ in range(4):  # a whole round from here on
        optimizer.apply([np.float32(1)], [w])
    assert float(w) == pytest.approx(first - 2.0 - 6.0) and int(optimizer.iterations) == 2


def test_the_averages_follow_the_tail():
    (w,) = start(pellucid, ["scale"])
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5)
    w.assign(8.0)
    for g in (4.0, 4.0, 2.0):
        optimizer.apply([np.float32(g)], [w])
    optimizer.flush([w])  # weights after the calls: 8, 4, 4, then 2
    assert float(w) == 2.0
    optimizer.finalize_variable_values([w])
    assert float(w) == 0.5 * 4.0 + 0.5 * 2.0


def test_a_shorter_round_counts_from_the_next_call_on():
    (w,) = start(pellucid, ["scale"])
    first, optimizer = float(w), optimizers.SGD(1.0, gradient_accumulation_steps=4)
    optimizer.apply([np.float32(2)], [w])
    optimizer.gradient_accumulation_steps = 2
    optimizer.apply([np.float32(4)], [w])
    assert float(w) == pytest.approx(first - 3.0)


# ---- Averages ----


def test_variables_that_were_never_trained_keep_their_values_at_the_end():
    a, b = start(pellucid, ["kernel", "bias"])
    optimizer = optimizers.SGD(0.1, use_ema=True)
    run(optimizer, [a], gradients(3, ["kernel"]))
    before = b.numpy()
    optimizer.finalize_variable_values([a, b])
    assert np.array_equal(b.numpy(), before)
    plain, trained = optimizers.SGD(0.1), a.numpy()
    plain.build([a])
    plain.finalize_variable_values([a])
    assert np.array_equal(a.numpy(), trained)


def test_the_average_of_a_variable_that_is_unfrozen_late_starts_at_its_value():
    a, late = start(pellucid, ["kernel", "scale"])
    optimizer, first = optimizers.SGD(0.0, use_ema=True, ema_momentum=0.9), float(late)
    run(optimizer, [a], gradients(3, ["kernel"]))
    run(optimizer, [a, late], gradients(3, ["kernel", "scale"]))
    optimizer.finalize_variable_values([a, late])
    assert float(late) == pytest.approx(first)


def test_an_average_does_not_share_memory_with_its_variable():
    """A step donates the weights: an average that were the same array would be gone with them."""
    model = pellucid.Sequential([pellucid.layers.Dense(1)])
    model.build((None, 2))
    model.compile(optimizer=optimizers.SGD(0.1, use_ema=True), loss="mse")
    x = np.ones((8, 2), "float32")
    for _ in range(2):
        model.fit(x, x[:, :1], batch_size=4, verbose=0)
    assert all(np.isfinite(v.numpy()).all() for v in model.optimizer.variables)


# ---- State ----


@pytest.mark.parametrize("arguments", [{}, ALL_ARGUMENTS], ids=["plain", "with all arguments"])
@pytest.mark.parametrize("rule", [*ONE_EACH, "Adam, amsgrad", "RMSprop, centered with momentum", "Muon, options"])
def test_the_size_of_the_state_is_known_before_it_is_made(rule, arguments):
    optimizer, variables = RULES[rule](pellucid, **arguments), start(pellucid)
    size, counters = optimizer.state_size(variables), len(optimizer.variables)
    assert len(optimizer.variables) == counters == (4 if arguments else 2)
    optimizer.build(variables)
    slots = optimizer.variables[counters:]
    assert size == (sum(v.size for v in slots), sum(v.size * v.dtype.itemsize for v in slots))


SLOTS = {
    "SGD with momentum": ["momentum"],
    "Adam, amsgrad": ["momentum", "velocity", "velocity_hat"],
    "AdamW": ["momentum", "velocity"],
    "Adamax": ["momentum", "norm"],
    "Nadam": ["momentum", "velocity"],
    "Lamb": ["momentum", "velocity"],
    "Lion": ["momentum"],
    "RMSprop, centered with momentum": ["average_gradient", "momentum", "velocity"],
    "Adagrad": ["accumulator"],
    "Adadelta": ["accumulated_delta_var", "accumulated_grad"],
    "Adafactor": ["column", "row"],
    "Ftrl": ["accumulator", "linear"],
    "Muon": ["momentum"],
}


@pytest.mark.parametrize("rule", SLOTS)
def test_slots_are_named_after_what_they_are_and_their_variable(rule):
    model = pellucid.Sequential([pellucid.layers.Dense(2, name="dense")])
    model.build((None, 3))
    optimizer = RULES[rule](pellucid, name="opt", use_ema=True, gradient_accumulation_steps=2)
    optimizer.build(model.trainable_variables)
    kernel = next(v.path for v in model.trainable_variables if v.path.endswith("kernel"))
    expected = [f"opt/{kind}/{kernel}" for kind in sorted([*SLOTS[rule], "average", "gradient_accumulator"])]
    assert kernel.endswith("dense/kernel") and sorted(v.path for v in optimizer.variables if v.path.endswith(kernel)) == expected
    assert [v.path for v in optimizer.variables[:4]] == ["opt/iterations", "opt/learning_rate", "opt/calls", "opt/accumulated"]
    assert len({v.path for v in optimizer.variables}) == len(optimizer.variables)


@pytest.mark.parametrize("rule", ONE_EACH)
def test_a_variable_keeps_its_slots_whichever_others_are_changed_beside_it(rule):
    """`b` is frozen for a while: `a` takes the steps that it takes alone."""
    arguments = {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}
    optimizer, alone = ONE_EACH[rule](pellucid, **arguments), ONE_EACH[rule](pellucid, **arguments)
    (a, b), (expected,) = start(pellucid, ["kernel", "bias"]), start(pellucid, ["kernel"])
    for (g, h), frozen in zip(gradients(6, ["kernel", "bias"]), [0, 1, 1, 0, 0, 0], strict=True):
        optimizer.apply([g] if frozen else [h, g], [a] if frozen else [b, a])
        alone.apply([g], [expected])
        np.testing.assert_allclose(a.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7)


# ---- Calling it ----


def test_apply_without_variables_takes_those_it_was_built_for():
    optimizer, (w,) = optimizers.SGD(1.0), start(pellucid, ["bias"])
    before = w.numpy()
    assert not optimizer.built
    optimizer.build([w])
    optimizer.apply([np.ones(3, "float32")])
    np.testing.assert_allclose(w.numpy(), before - 1)
    assert optimizer.built


def test_apply_gradients_returns_the_count():
    optimizer, (w,) = optimizers.SGD(), start(pellucid, ["bias"])
    for expected in (1, 2):
        assert int(optimizer.apply_gradients([(np.ones(3, "float32"), w)])) == expected


def test_no_gradients_are_no_step():
    optimizer = optimizers.SGD()
    optimizer.apply([], [])
    assert int(optimizer.iterations) == 0 and not optimizer.built


def test_variables_without_a_gradient_stay_and_are_named():
    a, b = start(pellucid, ["kernel", "bias"])
    optimizer, before = optimizers.SGD(0.1, momentum=0.5), b.numpy()
    with pytest.warns(UserWarning, match="no gradient for 'bias'"):
        optimizer.apply([np.ones(a.shape, "float32"), None], [a, b])
    assert np.array_equal(b.numpy(), before) and int(optimizer.iterations) == 1


def test_the_loss_is_scaled_by_the_factor():
    assert float(optimizers.SGD(loss_scale_factor=4.0).scale_loss(jnp.float32(2.0))) == 8.0
    assert optimizers.SGD().scale_loss(2.0) == 2.0


def test_an_infinite_gradient_is_not_clipped_into_a_good_step():
    for arguments in ({"clipnorm": 1.0}, {"global_clipnorm": 1.0}):
        (w,) = start(pellucid, ["bias"])
        optimizers.SGD(1.0, **arguments).apply([np.array([np.inf, 1, 1], "float32")], [w])
        assert np.isnan(w.numpy()).any()


def test_weights_held_at_zero_by_ftrl_are_exactly_zero():
    (w,) = start(pellucid, ["bias"])
    optimizers.Ftrl(0.1, l1_regularization_strength=100.0).apply([np.ones(3, "float32")], [w])
    assert np.array_equal(w.numpy(), np.zeros(3))


@pytest.mark.parametrize("rule", some_slow(ONE_EACH, list(ONE_EACH)[::3]))
def test_half_precision_weights_stay_half(rule):
    optimizer, w = ONE_EACH[rule](pellucid, **ALL_ARGUMENTS), pellucid.Variable(np.full((3, 2), 0.125), dtype="bfloat16")
    for _ in range(2):
        optimizer.apply([jnp.ones((3, 2), "bfloat16")], [w])
    assert w.value.dtype == jnp.bfloat16 and np.isfinite(w.numpy().astype("float32")).all() and float(w[0, 0]) < 0.125


# ---- Configs ----


@pytest.mark.parametrize("arguments", [{}, ALL_ARGUMENTS], ids=["plain", "with all arguments"])
@pytest.mark.parametrize("rule", RULES)
def test_a_config_makes_an_equal_optimizer(rule, arguments):
    made = RULES[rule](pellucid, **arguments)
    for copy in (type(made).from_config(made.get_config()), optimizers.deserialize(optimizers.serialize(made))):
        assert type(copy) is type(made) and copy.get_config() == made.get_config() and copy.rule() == made.rule()


def test_a_schedule_goes_into_the_config_and_comes_back():
    schedule = optimizers.schedules.PolynomialDecay(0.5, 4, 0.0)
    config = optimizers.Adam(schedule).get_config()
    assert config["learning_rate"] == optimizers.schedules.serialize(schedule)
    for copy in (optimizers.Adam.from_config(config), optimizers.get({"class_name": "adam", "config": config})):
        copy.iterations.assign(2)
        assert float(copy.learning_rate) == 0.25
    assert config["learning_rate"]["class_name"] == "PolynomialDecay"  # it was not changed


def test_a_class_of_ones_own_comes_back_by_its_name():
    class Own(optimizers.SGD):
        pass

    made = optimizers.deserialize(optimizers.serialize(Own(0.5)), custom_objects={"Own": Own})
    assert type(made) is Own and made.get_config() == Own(0.5).get_config()


# ---- What does not fit ----

WRONG = {
    "two clips": (lambda: optimizers.SGD(clipnorm=1.0, clipvalue=2.0), ["SGD", "clipnorm=1.0 and clipvalue=2.0", "one of"]),
    "three clips": (lambda: optimizers.Adam(clipnorm=1.0, clipvalue=2.0, global_clipnorm=3.0), ["global_clipnorm=3.0"]),
    "negative clipnorm": (lambda: optimizers.SGD(clipnorm=-1.0), ["clipnorm=-1.0", "at least 0"]),
    "negative clipvalue": (lambda: optimizers.SGD(clipvalue=-1.0), ["clipvalue=-1.0"]),
    "negative global_clipnorm": (lambda: optimizers.SGD(global_clipnorm=-1.0), ["global_clipnorm=-1.0"]),
    "negative weight decay": (lambda: optimizers.Lion(weight_decay=-0.1), ["Lion", "weight_decay=-0.1"]),
    "AdamW without decay": (lambda: optimizers.AdamW(weight_decay=None), ["AdamW", "weight_decay=None", "Adam"]),
    "one step accumulated": (lambda: optimizers.SGD(gradient_accumulation_steps=1), ["gradient_accumulation_steps=1", "at least 2"]),
    "half a step": (lambda: optimizers.SGD(gradient_accumulation_steps=2.5), ["gradient_accumulation_steps=2.5", "int"]),
    "ema_momentum": (lambda: optimizers.SGD(use_ema=True, ema_momentum=1.5), ["ema_momentum=1.5", "[0, 1]"]),
    "ema_overwrite_frequency": (lambda: optimizers.SGD(use_ema=True, ema_overwrite_frequency=0), ["ema_overwrite_frequency=0"]),
    "loss_scale_factor": (lambda: optimizers.SGD(loss_scale_factor=0.0), ["loss_scale_factor=0.0", "above zero"]),
    "momentum": (lambda: optimizers.SGD(momentum=-0.5), ["momentum=-0.5", "[0, 1]"]),
    "beta_1": (lambda: optimizers.Adam(beta_1=1.5), ["Adam", "beta_1=1.5"]),
    "beta_1 of Lion": (lambda: optimizers.Lion(beta_1=0.0), ["Lion", "beta_1=0.0"]),
    "beta_2 of Lion": (lambda: optimizers.Lion(beta_2=-1.0), ["Lion", "beta_2=-1.0"]),
    "epsilon": (lambda: optimizers.Nadam(epsilon=-1e-7), ["Nadam", "epsilon=-1e-07"]),
    "rho": (lambda: optimizers.Adadelta(rho=2.0), ["Adadelta", "rho=2.0"]),
    "rho of RMSprop": (lambda: optimizers.RMSprop(rho=-1.0), ["RMSprop", "rho=-1.0"]),
    "accumulator": (lambda: optimizers.Adagrad(initial_accumulator_value=-1), ["initial_accumulator_value=-1"]),
    "Ftrl's power": (lambda: optimizers.Ftrl(learning_rate_power=0.5), ["learning_rate_power=0.5"]),
    "Ftrl's l1": (lambda: optimizers.Ftrl(l1_regularization_strength=-1.0), ["l1_regularization_strength=-1.0"]),
    "Adafactor's decay": (lambda: optimizers.Adafactor(beta_2_decay=0.8), ["beta_2_decay=0.8"]),
    "Adafactor's threshold": (lambda: optimizers.Adafactor(clip_threshold=0.0), ["clip_threshold=0.0"]),
    "Muon's momentum": (lambda: optimizers.Muon(momentum=2.0), ["Muon", "momentum=2.0"]),
    "no variables": (lambda: optimizers.SGD().apply([1.0]), ["sgd", "build"]),
    "too few gradients": (lambda: optimizers.SGD().apply([1.0], start(pellucid)), ["1 gradients for 6 variables"]),
    "no gradient at all": (lambda: optimizers.SGD().apply([None], start(pellucid, ["bias"])), ["None", "expected one"]),
    "stateless before build": (lambda: optimizers.SGD().stateless_apply([], [], []), ["stateless_apply before build"]),
    "too few optimizer variables": (lambda: built().stateless_apply([1], [0.0], [0.0]), ["1 optimizer_variables", "expected 2"]),
    "too many trainable variables": (lambda: built().stateless_apply([0, 0.1], [0.0], [0.0, 1.0]), ["2 trainable_variables", "expected 1"]),
    "an unknown class": (lambda: optimizers.deserialize({"class_name": "Adamm", "config": {}}), ["'Adamm'", "'Adam'"]),
}


def built():
    optimizer = optimizers.SGD()
    optimizer.build(start(pellucid, ["scale"]))
    return optimizer


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case):
    make, words = WRONG[case]
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.skipif(jax.default_backend() != "cpu" or jax.__version_info__ < (0, 12), reason="older versions keep the copies either way")
def test_no_weight_is_copied_in_the_loop_for_the_gradients_that_still_need_it(monkeypatch):
    x, weights = jnp.ones((8, 96)), [pellucid.Variable(np.ones((96, 96), "float32"), name=f"w{i}") for i in range(3)]
    optimizer = optimizers.Adam()
    optimizer.build(weights)

    def loss(values):
        y = x
        for w in values:
            y = jnp.tanh(y @ w)
        return y.sum()

    def copies(*state):
        turn = lambda i, s: optimizer.stateless_apply(s[1], jax.grad(loss)(s[0]), s[0])
        epoch = jax.jit(lambda *s: jax.lax.fori_loop(0, 5, turn, s), donate_argnums=(0, 1))
        body = epoch.lower(*state).compile().as_text().partition("ENTRY")[0]
        return len(re.findall(r"= f32\[96,96\]\S* copy\(", body))

    state = [w.value for w in weights], [v.value for v in optimizer.variables]
    assert copies(*state) == 0
    monkeypatch.setitem(forms.FASTER_ON, "gradients", frozenset())
    assert copies(*state) > 0
