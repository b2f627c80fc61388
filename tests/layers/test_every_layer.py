"""What holds of every layer, by the cases of its table: it is Keras's layer, and one capture serves any batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import pellucid
from pellucid import layers
from tests.layers.case import Case, assert_close
from tests.layers.tables import CASES


def of_cases(chosen: Callable[[Case], bool] = lambda case: True) -> Any:
    """The test runs for each case that is chosen."""
    names = [n for n, case in CASES.items() if chosen(case)]
    return pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if CASES[n].slow else ()) for n in names])


each_case = of_cases()


@each_case
def test_outputs_and_gradients_are_those_of_keras(name):
    case = CASES[name]
    ours, theirs = case.pair()
    assert_close(ours(case.given, **case.options), theirs(case.given, **case.options), **case.close)
    assert [(w.name, w.shape, w.dtype) for w in ours.weights] == [
        (w.name, tuple(w.shape), w.dtype) for w in theirs.weights if "seed_generator" not in w.path
    ]
    floats = [i for i, x in enumerate(jax.tree.leaves(case.given)) if jnp.issubdtype(x.dtype, jnp.floating)]

    takes_mode = "training" in inspect.signature(type(theirs).call).parameters
    mode = {"training": not case.draws} if takes_mode else {}

    def gradients(layer: Any) -> Any:
        def loss(weights: Any, given: list) -> Any:
            leaves, tree = jax.tree.flatten(case.given)
            for i, x in zip(floats, given, strict=True):
                leaves[i] = x
            state = [jnp.asarray(v.value) for v in layer.non_trainable_variables]
            inputs = jax.tree.unflatten(tree, leaves)
            outputs, _ = layer.stateless_call(weights, state, inputs, **mode, **case.options)
            return sum(jnp.sin(y).sum() for y in jax.tree.leaves(outputs) if jnp.issubdtype(y.dtype, jnp.floating))

        weights = [jnp.asarray(v.value) for v in layer.trainable_variables]
        return jax.jit(jax.grad(loss, (0, 1)))(weights, [jax.tree.leaves(case.given)[i] for i in floats])

    assert_close(gradients(ours), gradients(theirs), rtol=1e-4, atol=1e-4)


@of_cases(lambda case: not case.draws)
def test_in_training_outputs_and_state_are_those_of_keras(name):
    case = CASES[name]
    ours, theirs = case.pair()
    mode = {"training": True} if "training" in inspect.signature(type(theirs).call).parameters else {}
    assert_close(ours(case.given, **mode, **case.options), theirs(case.given, **mode, **case.options), **case.close)
    assert_close([w.value for w in ours.weights], [w.value for w in theirs.weights if "seed_generator" not in w.path], **case.close)


@each_case
def test_captured_once_it_computes_the_same_at_any_batch_size(name):
    case = CASES[name]
    layer, options = case.make(pellucid), case.options

    class Model(pellucid.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def call(self, inputs):
            return self.layer(inputs["x"], **{k: inputs.get(k, v) for k, v in options.items()})

    model = Model()
    inputs = {"x": case.inputs, **{k: v for k, v in case.call.items() if any(isinstance(a, np.ndarray) for a in jax.tree.leaves(v))}}
    graph = model.capture(inputs)
    twice = jax.tree.map(lambda a: jnp.asarray(np.concatenate([a, a])), inputs)  # not the size of the capture
    outputs = jax.tree.leaves(graph.run(twice, False, 2 * case.rows)[0])
    eager = jax.tree.leaves(model.layer(case.given, **case.options))
    assert_close([y[: case.rows] for y in outputs], eager, **case.close)
    is_shape = lambda s: isinstance(s, tuple) and not any(isinstance(d, tuple) for d in s)
    assert jax.tree.leaves(graph.outputs, is_leaf=is_shape) == [(None, *y.shape[1:]) for y in eager]
    assert model.ledger.call_count == 1
    assert (graph.coupling(False) is not None) == case.couples, graph.coupling(False)
    (row,) = [node for node in graph.nodes if node.path == "layer"]
    assert row.parameters == sum(w.size for w in model.layer.weights)


@of_cases(lambda case: case.config)
def test_a_config_makes_an_equal_layer_in_either_library(name):
    case = CASES[name]
    ours, theirs = case.make(pellucid), case.make(keras)
    copy = type(ours).from_config(ours.get_config())
    assert type(copy) is type(ours) and copy.name == ours.name and copy.get_config() == ours.get_config()
    for source, of, into in ((ours, layers, keras.layers), (theirs, keras.layers, layers)):
        read = into.deserialize(of.serialize(source))
        again = of.deserialize(into.serialize(read))
        assert type(again) is type(source) and again.get_config() == source.get_config()
    copy(case.given, **case.options)
    ours(case.given, **case.options)
    assert [(w.name, w.shape) for w in copy.weights] == [(w.name, w.shape) for w in ours.weights]


@each_case
def test_in_mixed_precision_types_are_those_of_keras(name):
    case = CASES[name]

    def types(k: Any) -> tuple:
        layer = case.make(k)
        outputs = layer(case.given, **case.options)
        weights = [w for w in layer.weights if "seed_generator" not in w.path]
        return [jnp.dtype(y.dtype) for y in jax.tree.leaves(outputs)], [jnp.dtype(w.dtype) for w in weights]

    before = keras.config.dtype_policy(), pellucid.config.dtype_policy()
    try:
        for k in (keras, pellucid):
            k.config.set_dtype_policy("mixed_bfloat16")
        ours, theirs = types(pellucid), types(keras)
    finally:
        for k, policy in zip((keras, pellucid), before, strict=True):
            k.config.set_dtype_policy(policy)
    assert ours == theirs


@each_case
def test_masks_are_those_of_keras(name):
    case = CASES[name]
    ours, theirs = case.pair()
    assert ours.supports_masking == theirs.supports_masking
    if case.mask is None:
        return
    mask = jnp.asarray(case.mask)
    assert_close(ours.compute_mask(case.given, mask), theirs.compute_mask(case.given, mask))


def test_every_layer_is_in_a_table():
    classes = {n for n in layers.__all__ if isinstance(getattr(layers, n), type)} - {"Layer"}
    assert {getattr(layers, n) for n in classes} <= {type(case.make(pellucid)) for case in CASES.values()} | {
        layers.Wrapper,  # which has no call
    }
