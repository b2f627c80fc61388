"""What nobody holds any more is freed: models of shared layers, classes made in a function."""

import gc
import weakref

import numpy as np

import pellucid
from pellucid import layers

X, Y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")


def alive(references):
    gc.collect()
    return sum(r() is not None for r in references)


class Headed(pellucid.Model):
    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.head = backbone, layers.Dense(1)

    def call(self, inputs, training=False):
        return self.head(self.backbone(inputs))


def connected(backbone):
    given = pellucid.Input((3,))
    return pellucid.Model(given, layers.Dense(1)(backbone(layers.Dropout(0.1)(given))))


def test_a_shared_layer_keeps_no_connected_model_alive():
    backbone = layers.Dense(2)
    models = [connected(backbone) for _ in range(3)]
    for model in models:
        model.predict(X, verbose=0)
    references = [weakref.ref(m) for m in models]
    del model, models
    assert alive(references) == 0
    assert len(backbone._state.steps.all()) == 1  # the newest one


def test_a_shared_layer_keeps_no_subclassed_model_alive():
    backbone = layers.Dense(2)
    models = [Headed(backbone) for _ in range(2)]
    for model in models:
        model.predict(X, verbose=0)
    references = [weakref.ref(m) for m in models]
    del model, models
    assert alive(references) == 0


def test_a_layer_whose_model_is_gone_is_named_after_the_next_one():
    backbone = layers.Dense(2, name="shared")
    first, second = Headed(layers.Identity()), Headed(layers.Identity())
    first.inner = layers.Identity()
    first.inner.part = backbone
    assert backbone.path == "inner/shared"
    del first
    gc.collect()
    assert backbone.path == "shared"
    second.middle = layers.Identity()
    second.middle.part = backbone
    assert backbone.path == "middle/shared"


def test_the_calls_that_a_model_or_a_tensor_holds_stay_known():
    layer = layers.Dense(2)
    layer(pellucid.Input((3,)))
    gc.collect()
    assert layer.output.shape == (None, 2)  # of the newest call, though nobody holds it
    model = connected(layer)
    gc.collect()
    assert layer.output is model.layers[-1].input
    tensor = layer(pellucid.Input((3,)))
    gc.collect()
    assert {step.outputs for step in layer._state.steps.all()} == {tensor, model.layers[-1].input}


def classes_made_in_a_function():
    """A model, a loss and a metric of classes of their own, which have been used."""

    class Model(pellucid.Model):
        factor = 2.0

        def __init__(self):
            super().__init__()
            self.head = layers.Dense(1)

        def call(self, inputs, training=False):
            return self.head(inputs) * self.factor

    class Loss(pellucid.losses.Loss):
        def call(self, y_true, y_pred):
            return (y_true - y_pred) ** 2

    class Metric(pellucid.metrics.Mean):
        def result(self):
            return super().result() * 2

    def off(y_true, y_pred):
        return y_true - y_pred

    model = Model()
    model.compile("sgd", Loss(), metrics=[Metric(), off])
    model.fit(X, Y, verbose=0)
    return [weakref.ref(c) for c in (Model, Loss, Metric, off)]


def test_classes_and_functions_made_in_a_function_are_freed():
    assert alive(classes_made_in_a_function()) == 0
