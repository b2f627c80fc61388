"""The workloads in plain JAX, as one would write them for speed: no layers, no library, each trainer made for what it times.

Several forms of each were timed (see the README); these are the fastest of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.workloads import SEED, Arrays, Data, Workload

Tree = Any


class Model(NamedTuple):
    """Pure functions, and one choice.

    Args:
        init: makes the training state from a generator; its first item is the parameters.
        step: (state, batch) -> (state, mean loss of the batch).
        loss: (parameters, inputs..., target) -> mean loss of a batch in evaluation, or None where it is not wanted.
        gather_epoch: bring all rows into the epoch's order at once, or each batch when its turn comes. Small rows are
            faster at once, and wide ones, 3 kB each, in their turn.
    """

    init: Callable
    step: Callable
    loss: Callable | None
    gather_epoch: bool


def descent(loss: Callable, update: Callable) -> Callable:
    """The usual step: ``update(state, gradients)`` gives the next state."""

    def step(state: Tree, batch: Arrays) -> tuple[Tree, jax.Array]:
        value, gradients = jax.value_and_grad(loss)(state[0], *batch)
        return update(state, gradients), value

    return step


class ScanTrainer:
    """One dispatch an epoch: data on the device, a scan over the full batches, then one step for the rows that are left."""

    def __init__(self, workload: Workload, data: Data):
        self.model = MODELS[workload.model]
        self.batch_size = workload.batch_size
        self.rng = np.random.default_rng(SEED)
        self.state = jax.device_put(self.model.init(self.rng), may_alias=False)
        self.training, self.validation = jax.device_put((data.training, data.validation))
        self.order = self.shuffled()

    def fit(self, epochs: int, validate: bool) -> float:
        for _ in range(epochs):
            self.state, loss = self.train_epoch(self.state, self.training, self.order)
            validation_loss = self.evaluate(self.state[0], self.validation) if validate else 0.0
            self.order = self.shuffled()  # for the next epoch, while the device still works on this one
            loss, validation_loss = float(loss), float(validation_loss)
        return loss

    def shuffled(self) -> np.ndarray:
        return self.rng.permutation(len(self.training[0])).astype(np.int32)

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def train_epoch(self, state, arrays, order):
        if self.model.gather_epoch:
            return self.over_batches(self.model.step, state, take(arrays, order))
        return self.over_batches(lambda state, rows: self.model.step(state, take(arrays, rows)), state, order)

    @partial(jax.jit, static_argnums=0)
    def evaluate(self, parameters, arrays):
        return self.over_batches(lambda none, batch: (none, self.model.loss(parameters, *batch)), None, arrays)[1]

    def over_batches(self, step, state, arrays):
        """`step` on batch after batch of the arrays' rows; the last state and the mean loss of a row."""
        rows = len(jax.tree.leaves(arrays)[0])
        full = rows // self.batch_size * self.batch_size
        state, losses = jax.lax.scan(step, state, jax.tree.map(lambda x: x[:full].reshape(-1, self.batch_size, *x.shape[1:]), arrays))
        total = losses.sum() * self.batch_size
        if rows > full:
            state, loss = step(state, jax.tree.map(lambda x: x[full:], arrays))
            total += loss * (rows - full)
        return state, total / rows

    def count_calls(self) -> None:
        """There is no `call` here."""


class StepTrainer:
    """One dispatch a step: batches cut from NumPy arrays, losses summed on the device and fetched when the epoch has ended."""

    def __init__(self, workload: Workload, data: Data):
        self.model = MODELS[workload.model]
        self.batch_size = workload.batch_size
        self.data = data
        self.rng = np.random.default_rng(SEED)
        self.state = jax.device_put(self.model.init(self.rng), may_alias=False)

    def fit(self, epochs: int, validate: bool) -> float:
        rows = len(self.data.training[0])
        for _ in range(epochs):
            total = validation_total = np.float32(0)
            for batch in self.batches(self.data.training, self.rng.permutation(rows)):
                self.state, total = self.train_step(self.state, total, batch)
            for batch in self.batches(self.data.validation) if validate else ():
                validation_total = self.evaluate_step(self.state[0], validation_total, batch)
            loss, validation_total = float(total) / rows, float(validation_total)
        return loss

    @partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
    def train_step(self, state, total, batch):
        state, loss = self.model.step(state, batch)
        return state, total + loss * len(batch[0])

    @partial(jax.jit, static_argnums=0, donate_argnums=2)
    def evaluate_step(self, parameters, total, batch):
        return total + self.model.loss(parameters, *batch) * len(batch[0])

    def batches(self, arrays, order=None):
        if order is not None and self.model.gather_epoch:
            arrays, order = take(arrays, order), None
        for start in range(0, len(arrays[0]), self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield take(arrays, rows if order is None else order[rows])

    def count_calls(self) -> None:
        """There is no `call` here."""


def take(arrays, rows):
    return [x[rows] for x in arrays]


def dense(rng: np.random.Generator, inputs: int, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (Glorot's uniform distribution) and bias."""
    limit = (6 / (inputs + units)) ** 0.5
    return rng.uniform(-limit, limit, (inputs, units)).astype(np.float32), np.zeros(units, np.float32)


def wide_and_deep_init(rng):
    return ({"hidden1": dense(rng, 6, 30), "hidden2": dense(rng, 30, 30), "main": dense(rng, 35, 1), "aux": dense(rng, 30, 1)},)


def wide_and_deep_loss(parameters, a, b, target):
    affine = lambda name, x: x @ parameters[name][0] + parameters[name][1]
    hidden1 = jax.nn.relu(affine("hidden1", b))
    hidden2 = jax.nn.relu(affine("hidden2", hidden1))
    main = affine("main", jnp.concatenate([a, hidden2], axis=1))
    aux = affine("aux", hidden2)
    return 0.9 * jnp.mean((main - target) ** 2) + 0.1 * jnp.mean((aux - target) ** 2)


def sgd(state, gradients, learning_rate=0.01):
    return (jax.tree.map(lambda p, g: p - learning_rate * g, state[0], gradients),)


def mlp_init(rng):
    parameters = [dense(rng, 784, 512), dense(rng, 512, 512), dense(rng, 512, 10)]
    zeros = jax.tree.map(np.zeros_like, parameters)
    return parameters, zeros, zeros, np.float32(0)


def mlp_loss(parameters, x, labels):
    *hidden, (kernel, bias) = parameters
    for weights, shift in hidden:
        x = jax.nn.relu(x @ weights + shift)
    log_probabilities = jax.nn.log_softmax(x @ kernel + bias)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()


def adam(state, gradients, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-7):
    parameters, first, second, count = state
    count += 1
    first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, gradients)
    rate = learning_rate * jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
    parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + epsilon), parameters, first, second)
    return parameters, first, second, count


def normalized_init(rng):
    layers = [dense(rng, 32, 64), dense(rng, 64, 64), dense(rng, 64, 1)]
    scales = [(np.ones(64, np.float32), np.zeros(64, np.float32)) for _ in range(2)]
    moving = [(np.zeros(64, np.float32), np.ones(64, np.float32)) for _ in range(2)]
    zeros = jax.tree.map(np.zeros_like, (layers, scales))
    return (layers, scales), zeros, zeros, np.float32(0), moving, np.asarray(jax.random.key_data(jax.random.key(SEED)))


def normalized_step(state, batch, momentum=0.99, epsilon=1e-3, rate=0.2):
    parameters, first, second, count, moving, seed = state
    keys = jax.random.split(jax.random.wrap_key_data(seed), 3)

    def loss(parameters):
        (layers, scales), (x, target), new = parameters, batch, []
        for (kernel, bias), (gamma, beta), (mean, variance), key in zip(layers, scales, moving, keys[1:]):
            x = x @ kernel + bias
            now, spread = x.mean(0), x.var(0)
            new.append((mean * momentum + now * (1 - momentum), variance * momentum + spread * (1 - momentum)))
            x = jax.nn.relu((x - now) * (jax.lax.rsqrt(spread + epsilon) * gamma) + beta)
            x = jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)
        kernel, bias = layers[-1]
        return jnp.mean((x @ kernel + bias - target) ** 2), new

    (value, moving), gradients = jax.value_and_grad(loss, has_aux=True)(parameters)
    return (*adam((parameters, first, second, count), gradients), moving, jax.random.key_data(keys[0])), value


def accumulated_init(rng):
    parameters = [dense(rng, 32, 64), dense(rng, 64, 64), dense(rng, 64, 1)]
    zeros = jax.tree.map(np.zeros_like, parameters)
    return parameters, zeros, zeros, np.float32(0), zeros, np.int32(0)


def accumulated_loss(parameters, x, target):
    *hidden, (kernel, bias) = parameters
    for weights, shift in hidden:
        x = jax.nn.relu(x @ weights + shift)
    return jnp.mean((x @ kernel + bias - target) ** 2)


def accumulated_update(state, gradients, steps=4):
    *inner, sums, waiting = state
    sums, waiting = jax.tree.map(jnp.add, sums, gradients), waiting + 1

    def update(inner, sums):
        return adam(inner, jax.tree.map(lambda s: s / steps, sums)), jax.tree.map(jnp.zeros_like, sums)

    inner, sums = jax.lax.cond(waiting == steps, update, lambda inner, sums: (inner, sums), tuple(inner), sums)
    return (*inner, sums, waiting % steps)


def cnn_init(rng):
    def kernel(inputs, filters):
        limit = (6 / (9 * (inputs + filters))) ** 0.5
        return rng.uniform(-limit, limit, (3, 3, inputs, filters)).astype(np.float32), np.zeros(filters, np.float32)

    parameters = [kernel(1, 32), kernel(32, 64)], dense(rng, 5 * 5 * 64, 10)
    zeros = jax.tree.map(np.zeros_like, parameters)
    return parameters, zeros, zeros, np.float32(0)


def cnn_loss(parameters, x, labels):
    layers, (kernel, bias) = parameters
    for weights, shift in layers:
        x = jax.lax.conv_general_dilated(x, weights, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.lax.reduce_window(jax.nn.relu(x + shift), -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    log_probabilities = jax.nn.log_softmax(x.reshape(len(x), -1) @ kernel + bias)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1).mean()


def gru_init(rng, units=64):
    def layer(inputs):
        kernel, _ = dense(rng, inputs, 3 * units)
        recurrent = np.linalg.qr(rng.standard_normal((3 * units, units)))[0].T.astype(np.float32)
        return kernel, recurrent, np.zeros((2, 3 * units), np.float32)

    parameters = [layer(16), layer(units)], dense(rng, units, 1)
    zeros = jax.tree.map(np.zeros_like, parameters)
    return parameters, zeros, zeros, np.float32(0)


def gru_layer(x, kernel, recurrent, biases):
    """All outputs of a layer, with time as the first axis of everything."""
    units = len(recurrent)
    inputs = (x.reshape(-1, x.shape[2]) @ kernel + biases[0]).reshape(*x.shape[:2], 3 * units)

    def step(h, x):
        inner = h @ recurrent + biases[1]
        z, r = jnp.split(jax.nn.sigmoid(x[:, : 2 * units] + inner[:, : 2 * units]), 2, axis=1)
        h = z * h + (1 - z) * jnp.tanh(x[:, 2 * units :] + r * inner[:, 2 * units :])
        return h, h

    return jax.lax.scan(step, jnp.zeros((x.shape[1], units)), inputs)[1]


def gru_loss(parameters, x, target):
    layers, (kernel, shift) = parameters
    x = x.swapaxes(0, 1)
    for weights in layers:
        x = gru_layer(x, *weights)
    return jnp.mean((x[-1] @ kernel + shift - target) ** 2)


def transformer_init(rng, d=128):
    norm = lambda: (np.ones(d, np.float32), np.zeros(d, np.float32))
    table = lambda rows: rng.uniform(-0.05, 0.05, (rows, d)).astype(np.float32)
    block = lambda: (norm(), [dense(rng, d, d) for _ in range(4)], norm(), dense(rng, d, 4 * d), dense(rng, 4 * d, d))
    parameters = table(64), table(128), [block() for _ in range(4)], norm(), dense(rng, d, 64)
    zeros = jax.tree.map(np.zeros_like, parameters)
    return parameters, zeros, zeros, np.float32(0)


def layer_norm(x, scale, shift, epsilon=1e-3):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + epsilon) * scale + shift


def transformer_loss(parameters, tokens, following, heads=4):
    """All but the attention is on a table of (tokens, features): products with three axes are slower backwards."""
    (words, positions, blocks, norm, (kernel, bias)), (batch, time) = parameters, tokens.shape
    x = (words[tokens] + positions).reshape(batch * time, -1)
    mask = jnp.tril(jnp.ones((time, time), bool))
    affine = lambda x, weights: x @ weights[0] + weights[1]
    for norm1, (query, key, value, output), norm2, up, down in blocks:
        y = layer_norm(x, *norm1)
        q, k, v = (affine(y, weights).reshape(batch, time, heads, -1) for weights in (query, key, value))
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(mask, scores, -1e30))
        x = x + affine(jnp.einsum("bhts,bshd->bthd", weights, v).reshape(x.shape), output)
        x = x + affine(jax.nn.gelu(affine(layer_norm(x, *norm2), up), approximate=False), down)
    log_probabilities = jax.nn.log_softmax(layer_norm(x, *norm) @ kernel + bias)
    return -jnp.take_along_axis(log_probabilities, following.reshape(-1, 1), axis=1).mean()


def gan_init(rng):
    both = [[dense(rng, 8, 32), dense(rng, 32, 16)], [dense(rng, 16, 32), dense(rng, 32, 1)]]
    states = [(p, jax.tree.map(np.zeros_like, p), jax.tree.map(np.zeros_like, p), np.float32(0)) for p in both]
    return (*states, np.asarray(jax.random.key_data(jax.random.key(SEED))))


def gan_step(state, batch):
    generator, judge, seed = state
    (real,) = batch
    key, one, two = jax.random.split(jax.random.wrap_key_data(seed), 3)

    def net(parameters, x):
        (kernel, bias), (last, shift) = parameters
        return jax.nn.relu(x @ kernel + bias) @ last + shift

    def judge_loss(parameters, noise):
        scores = net(parameters, jnp.concatenate([net(generator[0], noise), real]))
        wanted = jnp.concatenate([jnp.zeros((len(real), 1)), jnp.ones((len(real), 1))])
        return jnp.mean((scores - wanted) ** 2)

    def generator_loss(parameters, noise):
        return jnp.mean((net(judge[0], net(parameters, noise)) - 1) ** 2)

    loss, gradients = jax.value_and_grad(judge_loss)(judge[0], jax.random.normal(one, (len(real), 8)))
    judge = adam(judge, gradients)
    _, gradients = jax.value_and_grad(generator_loss)(generator[0], jax.random.normal(two, (len(real), 8)))
    return (adam(generator, gradients), judge, jax.random.key_data(key)), loss


MODELS = {
    "wide_and_deep": Model(wide_and_deep_init, descent(wide_and_deep_loss, sgd), wide_and_deep_loss, gather_epoch=True),
    "mlp": Model(mlp_init, descent(mlp_loss, adam), mlp_loss, gather_epoch=False),
    "gan": Model(gan_init, gan_step, None, gather_epoch=True),
    "normalized": Model(normalized_init, normalized_step, None, gather_epoch=True),
    "cnn": Model(cnn_init, descent(cnn_loss, adam), cnn_loss, gather_epoch=False),
    "gru": Model(gru_init, descent(gru_loss, adam), None, gather_epoch=False),
    "transformer": Model(transformer_init, descent(transformer_loss, adam), None, gather_epoch=False),
    "accumulated": Model(accumulated_init, descent(accumulated_loss, accumulated_update), None, gather_epoch=True),
}
