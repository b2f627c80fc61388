"""A model written once for Keras and for Pellucid, and counts of casts."""

from __future__ import annotations

import numpy as np

from pellucid.core import jax_compat

CLASSES = 3


def data(rows=32, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 6)).astype("float32")
    return x, (x[:, :1] > 0).astype("int32")[:, 0] + (x[:, 1] > 0.5)


def classifier(k, policy, head="float32"):
    """Two dense layers and a batch normalization of a policy, and a head."""

    class Classifier(k.Model):
        def __init__(self):
            super().__init__(dtype=policy)
            self.body = k.layers.Dense(16, activation="relu", dtype=policy)
            self.norm = k.layers.BatchNormalization(momentum=0.8, dtype=policy)
            self.more = k.layers.Dense(8, activation="tanh", dtype=policy)
            self.head = k.layers.Dense(CLASSES, dtype=head)

        def call(self, x, training=None):
            return self.head(self.more(self.norm(self.body(x), training=training)))

    model = Classifier()
    model(np.ones((2, 6), "float32"))
    generator = np.random.default_rng(1)
    ones = ("gamma", "variance")
    model.set_weights([np.ones(w.shape) if any(o in w.path for o in ones) else generator.normal(size=w.shape) * 0.4 for w in model.weights])
    return model


def casts(jaxpr, to):
    """The sizes of what is cast to a type, in all of a jaxpr."""
    found = []
    for eqn in jax_compat.parts(jaxpr).eqns:
        if eqn.primitive.name == "convert_element_type" and str(eqn.outvars[0].aval.dtype) == to:
            found.append(tuple(eqn.outvars[0].aval.shape))
        for inner in jax_compat.nested_jaxprs(eqn):
            found += casts(inner, to)
    return found


def reads(jaxpr):
    """(path, type) of each equation that reads a variable, in all of a jaxpr."""
    found = []
    for eqn in jax_compat.parts(jaxpr).eqns:
        if eqn.primitive.name == "read_variable":
            found.append((eqn.params["variable"].path, str(eqn.outvars[0].aval.dtype)))
        for inner in jax_compat.nested_jaxprs(eqn):
            found += reads(inner)
    return found


def train_programs(model):
    return [p for key, p in model._machine._programs.items() if key[0] == "train"]
