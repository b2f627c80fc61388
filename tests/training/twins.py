"""Models written once for Keras and for Pellucid: ``k`` is either library."""

import numpy as np

import pellucid


def random_data(seed, *shapes):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


def wide_and_deep(k, named=False):
    class WideAndDeep(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden1 = k.layers.Dense(6, activation="relu")
            self.hidden2 = k.layers.Dense(5, activation="tanh")
            self.main = k.layers.Dense(1)
            self.aux = k.layers.Dense(1)

        def call(self, inputs):
            wide, deep = inputs
            hidden = self.hidden2(self.hidden1(deep))
            main, aux = self.main(k.layers.concatenate([wide, hidden])), self.aux(hidden)
            return {"main": main, "aux": aux} if named else (main, aux)

    return WideAndDeep()


def perceptron(k, classes=3, activation="softmax"):
    class Perceptron(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden = k.layers.Dense(7, activation="relu")
            self.out = k.layers.Dense(classes, activation=activation)

        def call(self, inputs):
            return self.out(self.hidden(inputs))

    return Perceptron()


def normalized(k):
    class Normalized(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden = k.layers.Dense(6, use_bias=False)  # a bias before a normalization has no gradient but rounding
            self.norm = k.layers.BatchNormalization(momentum=0.7)
            self.out = k.layers.Dense(2)

        def call(self, inputs, training=None):
            return self.out(k.ops.tanh(self.norm(self.hidden(inputs), training=training)))

    return Normalized()


def twins(make, x, **options):
    """(ours, theirs) with equal weights, built for inputs like ``x``."""
    import keras

    ours, theirs = make(pellucid, **options), make(keras, **options)
    ours.capture(x)
    inputs = [keras.Input(a.shape[1:]) for a in (x if isinstance(x, list) else [x])]
    theirs(inputs if isinstance(x, list) else inputs[0])  # makes the weights, computes nothing
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def weights_of(model):
    """Copies of the weights of a model of either library."""
    return [np.array(w.value, copy=True) for w in model.weights]
