"""Optimizers take Keras's steps, with Keras's names, arguments and defaults."""

import inspect
import json

import keras
import numpy as np
import pytest

import pellucid
from tests.cases import some_slow
from tests.optimizers.rules import ONE_EACH, RULES, gradients, ours_and_theirs, run, start

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("rule", some_slow(RULES, [*list(RULES)[::4]]))
def test_twenty_steps_are_those_of_keras_also_when_the_learning_rate_changes(rule):
    ours, theirs = ours_and_theirs(RULES[rule], rates={12: 0.02, 13: 0.2, 16: 0.01})
    assert np.abs(ours[-1] - ours[0]).min() > 0
    np.testing.assert_allclose(ours, theirs, **CLOSE)


COMMON = {
    "weight decay": {"weight_decay": 0.1},
    "norms clipped": {"clipnorm": 0.5},
    "values clipped": {"clipvalue": 0.3},
    "the common norm clipped": {"global_clipnorm": 1.0},
    "clipping and decay": {"global_clipnorm": 0.7, "weight_decay": 0.2},
    "zero for no clipping": {"clipnorm": 0.0},
    "averages": {"use_ema": True, "ema_momentum": 0.8},
    "averages that overwrite": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    "loss scale": {"loss_scale_factor": 8.0},
    "accumulated": {"gradient_accumulation_steps": 3},
    "accumulated, clipped": {"gradient_accumulation_steps": 4, "global_clipnorm": 0.4, "weight_decay": 0.05, "loss_scale_factor": 2.0},
    "accumulated, averaged": {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 2},
}


@pytest.mark.parametrize("rule", some_slow(["SGD with momentum", "Adam"], ["Adam"]))
@pytest.mark.parametrize("arguments", some_slow(COMMON, list(COMMON)[::3]))
def test_common_arguments_act_as_in_keras(rule, arguments):
    ours, theirs = ours_and_theirs(RULES[rule], 12, names=["kernel", "bias", "scale"], **COMMON[arguments])
    np.testing.assert_allclose(ours, theirs, **CLOSE)


@pytest.mark.parametrize("rule", some_slow(ONE_EACH, ["Adam", "Adafactor", "Muon"]))
def test_every_rule_takes_all_of_them_as_keras_does(rule):
    arguments = {"weight_decay": 0.1, "clipnorm": 0.5, "use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}
    ours, theirs = ours_and_theirs(ONE_EACH[rule], 8, names=["kernel", "bias"], **arguments)
    np.testing.assert_allclose(ours, theirs, **CLOSE)


@pytest.mark.parametrize("rule", ["SGD", "Muon"])
def test_exclusions_from_weight_decay_are_those_of_keras(rule):
    after = []
    for k in (pellucid, keras):
        optimizer, variables = RULES[rule](k, weight_decay=0.3), start(k)
        optimizer.exclude_from_weight_decay(var_list=variables[:1], var_names=["bias", "sc.le"])
        after.append(run(optimizer, variables, gradients(4)))
    np.testing.assert_allclose(*after, **CLOSE)
    kept = pellucid.optimizers.SGD(1.0, weight_decay=0.5)
    kept.exclude_from_weight_decay(var_names=["b.as"])
    variables = start(pellucid)
    before = [v.numpy() for v in variables]
    kept.apply([np.zeros(v.shape, "float32") for v in variables], variables)
    assert [np.array_equal(v.numpy(), old) for v, old in zip(variables, before, strict=True)] == [v.name == "bias" for v in variables]


def test_final_values_are_the_averages_of_keras():
    after = []
    for k in (pellucid, keras):
        optimizer, variables = k.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.6), start(k)
        trained = run(optimizer, variables, gradients(6))[-1]
        optimizer.finalize_variable_values(variables)
        after.append(np.concatenate([np.ravel(np.asarray(v.value)) for v in variables]))
        assert np.abs(after[-1] - trained).max() > 0.01
    np.testing.assert_allclose(*after, **CLOSE)


def test_the_counters_are_those_of_keras_while_gradients_are_accumulated():
    optimizers = [k.optimizers.SGD(0.1, gradient_accumulation_steps=3) for k in (pellucid, keras)]
    for ours, theirs in zip(*(iterations(o, k) for o, k in zip(optimizers, (pellucid, keras), strict=True)), strict=True):
        assert ours == theirs


def iterations(optimizer, k):
    variables = start(k)
    for step in gradients(8):
        optimizer.apply(step, variables)
        yield int(optimizer.iterations)


def test_schedules_count_calls_while_gradients_are_accumulated():
    after = []
    for k in (pellucid, keras):
        schedule = k.optimizers.schedules.ExponentialDecay(0.5, decay_steps=2, decay_rate=0.5)
        optimizer, variables = k.optimizers.SGD(schedule, gradient_accumulation_steps=2), start(k)
        after.append((run(optimizer, variables, gradients(6)), float(optimizer.learning_rate)))
    np.testing.assert_allclose(after[0][0], after[1][0], **CLOSE)
    assert after[0][1] == pytest.approx(after[1][1])


# ---- Names, arguments, defaults ----


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras's variables
@pytest.mark.parametrize("rule", ONE_EACH)
def test_arguments_defaults_and_config_are_those_of_keras(rule):
    name = type(ONE_EACH[rule](pellucid)).__name__
    ours, theirs = getattr(pellucid.optimizers, name), getattr(keras.optimizers, name)
    assert equal(ours().get_config(), theirs(name=ours().name).get_config())
    known = inspect.signature(theirs).parameters
    positional = [p for p in inspect.signature(ours).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in positional] == list(known)[: len(positional)]
    given = {n: 0.125 if n in ("learning_rate", "epsilon") else p.default for n, p in known.items() if n != "kwargs"}
    given["name"] = "other"
    assert equal(ours(**given).get_config(), theirs(**given).get_config())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras's variables
@pytest.mark.parametrize("rule", ["SGD", "AdamW", "Muon"])
def test_each_library_reads_what_the_other_wrote(rule):
    name = type(ONE_EACH[rule](pellucid)).__name__
    ours, theirs = (
        getattr(k.optimizers, name)(k.optimizers.schedules.CosineDecay(0.5, 8, warmup_target=1.0, warmup_steps=2), clipnorm=0.5, name="x")
        for k in (pellucid, keras)
    )
    written = [json.loads(json.dumps(k.optimizers.serialize(o))) for k, o in ((pellucid, ours), (keras, theirs))]
    assert written[0] == written[1]
    assert keras.optimizers.deserialize(written[0]).get_config() == theirs.get_config()
    assert pellucid.optimizers.deserialize(written[1]).get_config() == ours.get_config()


def equal(ours, theirs):
    """Whether two configs are: a rate comes back from a float32."""
    return ours == {**theirs, "learning_rate": pytest.approx(theirs["learning_rate"])}


@pytest.mark.parametrize("rule", ONE_EACH)
def test_every_optimizer_of_keras_goes_by_its_name(rule):
    name = type(ONE_EACH[rule](pellucid)).__name__
    for identifier in (name, name.lower()):
        assert type(pellucid.optimizers.get(identifier)).__name__ == name
