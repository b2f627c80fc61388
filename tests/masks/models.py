"""Models with masks, written once for Keras and for Pellucid: ``k`` is either library."""

from __future__ import annotations

import numpy as np

TOKENS = np.array([[1, 2, 0, 0], [3, 0, 0, 0], [1, 1, 1, 1], [5, 4, 3, 0]], "float32")
TARGETS = np.arange(16, dtype="float32").reshape(4, 4, 1)
TABLE = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)
KERNEL = {"kernel_initializer": "ones"}


def layers_of(k):
    class Table(k.layers.Layer):
        """Makes a mask, as an embedding does."""

        def build(self, input_shape):
            self.table = self.add_weight(shape=(10, 4), initializer=lambda *_, **__: k.ops.convert_to_tensor(TABLE), name="table")

        def call(self, tokens):
            return k.ops.take(self.table, k.ops.cast(tokens, "int32"), axis=0)

        def compute_mask(self, tokens, previous_mask=None):
            return k.ops.not_equal(tokens, 0)

    class Masked(k.layers.Layer):
        """Takes a mask, and hands it on."""

        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, x, mask=None):
            return x * 3 if mask is None else x * k.ops.expand_dims(k.ops.cast(mask, "float32"), -1)

    class Block(k.layers.Layer):
        """A layer of layers that says nothing of masks."""

        def __init__(self):
            super().__init__()
            self.masked, self.dense = Masked(), k.layers.Dense(1, **KERNEL)

        def build(self, input_shape):
            self.dense.build(input_shape)

        def call(self, x):
            return self.dense(self.masked(x))

    return Table, Masked, Block


def subclassed(k):
    Table, Masked, _ = layers_of(k)

    class Model(k.Model):
        def __init__(self):
            super().__init__()
            self.table, self.dense, self.drop = Table(), k.layers.Dense(3, **KERNEL), k.layers.Dropout(0.0)
            self.masked, self.out = Masked(), k.layers.Dense(1, **KERNEL)

        def call(self, x):
            return self.out(self.masked(self.drop(self.dense(self.table(x)))))

    return Model()


def functional(k):
    Table, Masked, _ = layers_of(k)
    x = k.Input((4,))
    h = k.layers.Dropout(0.0)(k.layers.Dense(3, **KERNEL)(Table()(x)))
    return k.Model(x, k.layers.Dense(1, **KERNEL)(Masked()(h)))


def sequential(k):
    Table, Masked, _ = layers_of(k)
    return k.Sequential([Table(), k.layers.Dense(3, **KERNEL), Masked(), k.layers.Dense(1, **KERNEL)])


def nested(k):
    Table, Masked, _ = layers_of(k)
    x, h = k.Input((4,)), k.Input((4, 3))
    inner = k.Model(x, k.layers.Dense(3, **KERNEL)(Table()(x)))
    tail = k.Model(h, k.layers.Dense(1, **KERNEL)(Masked()(h)))
    whole = k.Input((4,))
    return k.Model(whole, tail(inner(whole)))


def with_block(k):
    Table, _, Block = layers_of(k)

    class Model(k.Model):
        def __init__(self):
            super().__init__()
            self.table, self.block = Table(), Block()

        def call(self, x):
            return self.block(self.table(x))

    return Model()


def with_block_connected(k):
    Table, _, Block = layers_of(k)
    x = k.Input((4,))
    return k.Model(x, Block()(Table()(x)))


def with_added_branches(k):
    Table, Masked, _ = layers_of(k)

    class Model(k.Model):
        def __init__(self):
            super().__init__()
            self.table, self.dense, self.add = Table(), k.layers.Dense(4, **KERNEL), k.layers.Add()
            self.masked, self.out = Masked(), k.layers.Dense(1, **KERNEL)

        def call(self, x):
            h = self.table(x)
            return self.out(self.masked(self.add([h, self.dense(h)])))

    return Model()


MODELS = [subclassed, functional, sequential, nested, with_block, with_block_connected, with_added_branches]
