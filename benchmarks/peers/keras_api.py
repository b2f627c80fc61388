"""The workloads in Keras's API: the same script for Keras and for Pellucid, which differ in one import."""

import importlib
import itertools
from types import ModuleType
from typing import Any

from benchmarks.workloads import Data, Workload

# Not an attribute of the model and not an int: a library that watches what `call` reads and changes should find nothing here to act on.
RUNS_OF_CALL = itertools.count()


def keras_trainer(workload: Workload, data: Data) -> "Trainer":
    return Trainer(importlib.import_module("keras"), workload, data)


def pellucid_trainer(workload: Workload, data: Data) -> "Trainer":
    return Trainer(importlib.import_module("pellucid"), workload, data)


class Trainer:
    """Trains with the options that `compile` and `fit` have by default."""

    def __init__(self, keras: ModuleType, workload: Workload, data: Data):
        make_model, split = MODELS[workload.model]
        self.model = make_model(keras)
        self.training = split(*data.training)
        self.validation = split(*data.validation)
        self.batch_size = workload.batch_size

    def fit(self, epochs: int, validate: bool) -> float:
        inputs, targets = self.training
        validation = {"validation_data": self.validation, "validation_batch_size": self.batch_size} if validate else {}
        history = self.model.fit(inputs, targets, batch_size=self.batch_size, epochs=epochs, verbose=0, **validation)
        return float(history.history["loss"][-1])

    def count_calls(self) -> int:
        """Runs of `call` up to now. Ask once, as asking counts too."""
        return next(RUNS_OF_CALL)


def wide_and_deep(keras: ModuleType) -> Any:
    class WideAndDeepModel(keras.Model):
        def __init__(self, units=30, activation="relu", **kwargs):
            super().__init__(**kwargs)
            self.hidden1 = keras.layers.Dense(units, activation=activation)
            self.hidden2 = keras.layers.Dense(units, activation=activation)
            self.main_output = keras.layers.Dense(1)
            self.aux_output = keras.layers.Dense(1)

        def call(self, inputs):
            next(RUNS_OF_CALL)
            input_A, input_B = inputs
            hidden1 = self.hidden1(input_B)
            hidden2 = self.hidden2(hidden1)
            concat = keras.layers.concatenate([input_A, hidden2])
            main_output = self.main_output(concat)
            aux_output = self.aux_output(hidden2)
            return main_output, aux_output

    model = WideAndDeepModel()
    model.compile(loss=["mse", "mse"], loss_weights=[0.9, 0.1], optimizer="sgd")
    return model


def mlp(keras: ModuleType) -> Any:
    class MLP(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden1 = keras.layers.Dense(512, activation="relu")
            self.hidden2 = keras.layers.Dense(512, activation="relu")
            self.logits = keras.layers.Dense(10)

        def call(self, inputs):
            next(RUNS_OF_CALL)
            return self.logits(self.hidden2(self.hidden1(inputs)))

    model = MLP()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=keras.optimizers.Adam(1e-3))
    return model


def normalized(keras: ModuleType) -> Any:
    class Normalized(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden = [keras.layers.Dense(64) for _ in range(2)]
            self.norms = [keras.layers.BatchNormalization() for _ in range(2)]
            self.drops = [keras.layers.Dropout(0.2) for _ in range(2)]
            self.out = keras.layers.Dense(1)

        def call(self, x, training=None):
            next(RUNS_OF_CALL)
            for hidden, norm, drop in zip(self.hidden, self.norms, self.drops):
                x = drop(keras.ops.relu(norm(hidden(x), training=training)), training=training)
            return self.out(x)

    model = Normalized()
    model.compile(loss="mse", optimizer="adam")
    return model


def accumulated(keras: ModuleType) -> Any:
    class Perceptron(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.hidden1 = keras.layers.Dense(64, activation="relu")
            self.hidden2 = keras.layers.Dense(64, activation="relu")
            self.out = keras.layers.Dense(1)

        def call(self, x):
            next(RUNS_OF_CALL)
            return self.out(self.hidden2(self.hidden1(x)))

    model = Perceptron()
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(1e-3, gradient_accumulation_steps=4))
    return model


def cnn(keras: ModuleType) -> Any:
    class CNN(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.convolutions = [keras.layers.Conv2D(filters, 3, activation="relu") for filters in (32, 64)]
            self.pools = [keras.layers.MaxPooling2D() for _ in range(2)]
            self.flatten = keras.layers.Flatten()
            self.logits = keras.layers.Dense(10)

        def call(self, x):
            next(RUNS_OF_CALL)
            for convolution, pool in zip(self.convolutions, self.pools):
                x = pool(convolution(x))
            return self.logits(self.flatten(x))

    model = CNN()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=keras.optimizers.Adam(1e-3))
    return model


def gru(keras: ModuleType) -> Any:
    class Recurrent(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.lower = keras.layers.GRU(64, return_sequences=True)
            self.upper = keras.layers.GRU(64)
            self.out = keras.layers.Dense(1)

        def call(self, x):
            next(RUNS_OF_CALL)
            return self.out(self.upper(self.lower(x)))

    model = Recurrent()
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(1e-3))
    return model


def transformer(keras: ModuleType) -> Any:
    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm1, self.norm2 = keras.layers.LayerNormalization(), keras.layers.LayerNormalization()
            self.attention = keras.layers.MultiHeadAttention(num_heads=4, key_dim=32)
            self.up, self.down = keras.layers.Dense(512, activation="gelu"), keras.layers.Dense(128)

        def call(self, x):
            y = self.norm1(x)
            x = x + self.attention(y, y, use_causal_mask=True)
            return x + self.down(self.up(self.norm2(x)))

    class Transformer(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.tokens, self.positions = keras.layers.Embedding(64, 128), keras.layers.Embedding(128, 128)
            self.blocks = [Block() for _ in range(4)]
            self.norm, self.logits = keras.layers.LayerNormalization(), keras.layers.Dense(64)

        def call(self, tokens):
            next(RUNS_OF_CALL)
            x = self.tokens(tokens) + self.positions(keras.ops.arange(128))
            for block in self.blocks:
                x = block(x)
            return self.logits(self.norm(x))

    model = Transformer()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=keras.optimizers.Adam(1e-3))
    return model


def gan(keras: ModuleType) -> Any:
    """A generator and a judge. On JAX, Keras takes a step of the stateless form only, and one optimizer: it trains both at once."""

    def net(hidden: int, outputs: int, inputs: int) -> Any:
        layers = [keras.layers.Dense(hidden, activation="relu"), keras.layers.Dense(outputs)]
        return keras.Sequential([keras.Input((inputs,)), *layers])

    class GAN(keras.Model):
        def __init__(self):
            super().__init__()
            self.generator, self.judge = net(32, 16, 8), net(32, 1, 16)
            self.mean = keras.metrics.Mean(name="loss")
            self.seed = keras.random.SeedGenerator(0)

        def losses_of(self, generate, judge, real, noise):
            rows = keras.ops.shape(real)[0]
            scores = judge(keras.ops.concatenate([generate(noise), real], axis=0))
            wanted = keras.ops.concatenate([keras.ops.zeros((rows, 1)), keras.ops.ones((rows, 1))], axis=0)
            return keras.ops.mean(keras.ops.square(scores - wanted))

        @property
        def metrics(self):
            return [self.mean]

    class Stateful(GAN):
        def compile(self):
            super().compile()
            self.of_generator, self.of_judge = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)

        def train_step(self, real):
            rows = keras.ops.shape(real)[0]
            noise = lambda: keras.random.normal((rows, 8), seed=self.seed)
            first, second = noise(), noise()
            judged, generated = self.judge.trainable_variables, self.generator.trainable_variables
            loss, grads = keras.value_and_grad(lambda: self.losses_of(self.generator, self.judge, real, first), judged)()
            other, others = keras.value_and_grad(
                lambda: keras.ops.mean(keras.ops.square(self.judge(self.generator(second)) - 1)), generated
            )()
            self.of_judge.apply(grads, judged)
            self.of_generator.apply(others, generated)
            self.mean.update_state(loss)
            return {"loss": self.mean.result()}

    class Stateless(GAN):
        def train_step(self, state, data):
            import jax

            trainable, others, of_optimizer, of_metrics = state
            key = jax.random.fold_in(jax.random.key(0), of_optimizer[0])
            first, second = jax.random.normal(key, (2, data.shape[0], 8))
            split = len(self.generator.trainable_variables)

            def judge_loss(judged, generated):
                return self.losses_of(
                    lambda z: self.generator.stateless_call(generated, [], z)[0],
                    lambda x: self.judge.stateless_call(judged, [], x)[0],
                    data,
                    first,
                )

            def generator_loss(generated, judged):
                made = self.generator.stateless_call(generated, [], second)[0]
                return keras.ops.mean(keras.ops.square(self.judge.stateless_call(judged, [], made)[0] - 1))

            loss, grads = jax.value_and_grad(judge_loss)(trainable[split:], trainable[:split])
            _, generated = jax.value_and_grad(generator_loss)(trainable[:split], trainable[split:])
            trainable, of_optimizer = self.optimizer.stateless_apply(of_optimizer, [*generated, *grads], trainable)
            of_metrics = self.mean.stateless_update_state(of_metrics, loss)
            return {"loss": self.mean.stateless_result(of_metrics)}, (trainable, others, of_optimizer, of_metrics)

    if keras.__name__ == "pellucid":
        model = Stateful()
        model.compile()
    else:
        model = Stateless()
        model.compile(optimizer=keras.optimizers.Adam(1e-3))
        model.built = True
    return model


# How to make the compiled model, and how `fit` wants the arrays: as inputs and targets.
MODELS = {
    "wide_and_deep": (wide_and_deep, lambda a, b, target: ([a, b], [target, target])),
    "mlp": (mlp, lambda x, labels: (x, labels)),
    "gan": (gan, lambda real: (real, None)),
    "normalized": (normalized, lambda x, target: (x, target)),
    "accumulated": (accumulated, lambda x, target: (x, target)),
    "cnn": (cnn, lambda x, labels: (x, labels)),
    "gru": (gru, lambda x, target: (x, target)),
    "transformer": (transformer, lambda tokens, following: (tokens, following)),
}
