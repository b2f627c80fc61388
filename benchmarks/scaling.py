"""What grows with a model: eager calls beside the bare JAX calls, and the first step of models of up to 200 layers.

    python -m benchmarks.scaling

All in one process. `make bench` runs it after the tables.
"""

import functools
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pellucid
from pellucid import layers

ROUNDS, CALLS, MODELS = 15, 300, 3


class Perceptron(pellucid.Model):
    def __init__(self, units: list[int]) -> None:
        super().__init__()
        self.dense = [layers.Dense(n, activation="relu") for n in units]

    def call(self, x: Any) -> Any:
        for dense in self.dense:
            x = dense(x)
        return x


def main() -> None:
    x = jnp.ones((32, 6))
    model = Perceptron([30, 30, 1])
    model(x)
    weights = [v.value for v in model.weights]

    def bare(x: Any) -> Any:
        for kernel, bias in zip(weights[::2], weights[1::2]):
            x = jax.nn.relu(jnp.add(jnp.matmul(x, kernel), bias))
        return x

    pairs = [(timed(bare, x), timed(model, x)) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / theirs for theirs, ours in pairs)
    print(f"eager model(x): {statistics.median(ours for _, ours in pairs):.0f} us, {ratio:.2f} x the bare JAX calls")

    for depth in (50, 100, 200):
        times = [first_step(depth) for _ in range(MODELS)]
        capture, instantiation, compiling, tracing, lowering = (statistics.median(each) for each in zip(*times))
        share = statistics.median((t[0] + t[1]) / t[2] for t in times)
        print(
            f"{depth} layers: capture {capture:.2f} s, its instantiation {instantiation:.2f} s ({share:.0%} of XLA's compilation, "
            f"{compiling:.2f} s); tracing the step with gradients and optimizer {tracing:.2f} s, lowering it {lowering:.2f} s"
        )


def first_step(depth: int) -> tuple[float, float, float, float, float]:
    """Seconds of a new model's capture, instantiation, compilation, tracing and lowering. What others left to be freed is freed before."""
    model = Perceptron([16] * depth)
    model.compile("adam", "mse")
    rows = np.ones((32, 16), np.float32)
    gc.collect()
    model.fit(rows, rows, verbose=0)
    (run,), (program,) = model.ledger, model.ledger.programs
    gc.collect()
    start = time.perf_counter()
    jax.make_jaxpr(functools.partial(model.graph.run, training=True, batch_size=32))(rows)
    return run.seconds, time.perf_counter() - start, program.compiling, program.tracing, program.lowering


def timed(function: Callable[[Any], Any], x: Any) -> float:
    """Microseconds a call."""
    start = time.perf_counter()
    for _ in range(CALLS):
        function(x)
    return (time.perf_counter() - start) / CALLS * 1e6


if __name__ == "__main__":
    main()
