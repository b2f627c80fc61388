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
COUPLED_IN_TRAINING = {n for n in CASES if n.startswith("BatchNormalization")} | {"TimeDistributed, statistics"}


@each_case
def test_outputs_and_gradients_are_those_of_keras(name):
    case = CASES[name]
    ours, theirs = case.pair()
    assert_close(ours(case.given, **case.options), case.outputs_of_keras(theirs), **case.close)
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
            return sum((jnp.sin(y).sum() for y in jax.tree.leaves(outputs) if jnp.issubdtype(y.dtype, jnp.floating)), jnp.zeros(()))

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
    for training, coupled in ((False, case.couples), (True, case.couples or name in COUPLED_IN_TRAINING)):
        assert bool(graph.coupling(training)) == coupled, graph.coupling(training)
    assert graph.cost(case.rows).flops >= 0
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
        outputs = layer(case.given, **case.options)  # what Keras says without computing is not always what it computes
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
    classes = {n for n in layers.__all__ if isinstance(getattr(layers, n), type) and issubclass(getattr(layers, n), layers.Layer)} - {
        "Layer"
    }
    assert {getattr(layers, n) for n in classes} <= {type(case.make(pellucid)) for case in CASES.values()} | {
        layers.Wrapper,  # which has no call
    }


NOT_OFFERED = {"lora_rank", "lora_alpha", "quantization_config", "gptq_unpacked_column_size"}  # those act on layers from outside
OF_EVERY_LAYER = {"name", "dtype", "trainable", "autocast"}


def named_parameters(function: Any) -> list[tuple[str, Any]]:
    """(name, default) of what a function takes by position, of what is its own."""
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in OF_EVERY_LAYER | NOT_OFFERED]
    return [(p.name, short(p.default)) for p in named]


def short(default: Any) -> Any:
    """One number for a tuple of equal ones: they mean the same."""
    numbers = {short(d) for d in default} if isinstance(default, tuple) else {default}
    return numbers.pop() if len(numbers) == 1 else default


NO_LAYERS = {"serialize", "deserialize", "InputLayer"}  # the last one takes what Input takes
SHARED = [n for n in layers.__all__ if hasattr(keras.layers, n) and n not in NO_LAYERS]


@pytest.mark.parametrize("name", SHARED)
def test_arguments_are_those_of_keras_in_their_order_with_their_defaults(name):
    ours, theirs = (named_parameters(getattr(k.layers, name)) for k in (pellucid, keras))
    assert ours[: len(theirs)] == theirs
    layer = getattr(layers, name)
    inits = [vars(cls)["__init__"] for cls in getattr(layer, "__mro__", ()) if "__init__" in vars(cls)]
    assert inits == [] or name == "InputSpec" or {p for init in inits for p in inspect.signature(init).parameters} >= OF_EVERY_LAYER


WRONG_IN_KERAS = {"EinsumDense, dots on the left"}  # it turns the axes around that the dots stand for


@of_cases(lambda case: not any(isinstance(x, np.ndarray) for x in jax.tree.leaves(case.call)))
def test_output_shapes_are_those_of_keras_and_make_no_weights(name):
    case = CASES[name]
    shapes = jax.tree.map(lambda x: (None, *x.shape[1:]), case.inputs)
    ours, theirs = case.make(pellucid), case.make(keras)
    built = ours.built
    told = flat(ours.compute_output_shape(shapes))
    assert ours.built == built and (built or not ours.weights)
    assert told == flat(jax.tree.map(lambda y: (None, *y.shape[1:]), ours(case.given)))
    if name not in WRONG_IN_KERAS:
        assert all(d in (None, mine) for mine, d in zip(told, flat(theirs.compute_output_shape(shapes)), strict=True))


def flat(shapes: Any) -> list[Any]:
    return jax.tree.leaves(shapes, is_leaf=lambda d: d is None)
