"""A training loop in plain JAX and optax over `functionalize`: the model stays a Keras model, the loop is yours."""

import jax
import numpy as np
import optax

import pellucid as keras
from pellucid import layers
from pellucid.datasets import california_housing


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.scale = layers.Normalization()
        self.hidden = [layers.Dense(64, activation="relu") for _ in range(2)]
        self.drop, self.out = layers.Dropout(0.1), layers.Dense(1)

    def call(self, x, training=None):
        x = self.scale(x)
        for layer in self.hidden:
            x = self.drop(layer(x), training=training)
        return self.out(x)


def main(rows=15_480, epochs=10, batch_size=64):
    keras.utils.set_random_seed(1)
    (x, y), (x_test, y_test) = california_housing.load_data(test_split=0.25)
    x, x_test = california_housing.to_averages(x), california_housing.to_averages(x_test)
    x, y, y_test = x[:rows], (y[:rows, None] / 1e5).astype("float32"), y_test[:, None] / 1e5

    model = Net()
    model.scale.adapt(x)
    model.build((None, x.shape[1]))
    model.compile(loss="mse")
    pure = keras.functionalize(model)
    params, state = pure.params, pure.state
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(3e-3, epochs * rows // batch_size)))
    slots = optimizer.init(params)

    @jax.jit
    def epoch(carry, batches):
        def step(carry, batch):
            params, state, slots = carry
            (loss, (_, state)), grads = jax.value_and_grad(pure.loss, has_aux=True)(params, state, *batch)
            updates, slots = optimizer.update(grads, slots, params)
            return (optax.apply_updates(params, updates), state, slots), loss

        carry, losses = jax.lax.scan(step, carry, batches)
        return carry, losses.mean()

    rng = np.random.default_rng(1)
    carry, means = (params, state, slots), []
    for number in range(epochs):
        order = rng.permutation(len(x))[: len(x) // batch_size * batch_size].reshape(-1, batch_size)
        carry, loss = epoch(carry, (x[order].astype("float32"), y[order]))
        means.append(float(loss))
        print(f"epoch {number + 1}: loss {means[-1]:.4f}")

    pure.update(*carry[:2])  # the model has the values now, and can be used, saved and trained as ever
    print(f"loss of the test data: {model.evaluate(x_test, y_test, verbose=0):.4f}; `call` ran {model.ledger.call_count} time")
    return means


if __name__ == "__main__":
    main()
