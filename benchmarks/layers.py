"""Single layers, forward and with gradients, beside plain JAX, Keras on JAX and PyTorch: where a step's time may still be had.

    python -m benchmarks.layers
    python -m benchmarks.layers --layers GRU MaxPooling2D --seconds 1 --json layers.json

All in one process, in turn, round after round, and sorted by the worst ratio. Gradients are those of a weighted
sum of the outputs, by the weights and the input.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import pellucid
from benchmarks.peers.jax_by_hand import gru_layer, layer_norm

try:
    import torch
except ImportError:
    torch = None

ROUNDS = 7
OURS = "pellucid"


class Case(NamedTuple):
    """A layer of one size.

    Args:
        shape: of the input.
        make: gives the layer, of Keras's API.
        plain: (weights in Keras's order, input) -> output, in plain JAX.
        torch: gives PyTorch's module, called with the input as `as_torch` gives it.
        as_torch: brings the input into PyTorch's layout.
        tokens: for an input of whole numbers below it, instead of normal ones.
        training: whether the layer is called in training.
    """

    shape: tuple[int, ...]
    make: Callable[[ModuleType], Any]
    plain: Callable[[list, Any], Any]
    torch: Callable[[], Any]
    as_torch: Callable[[np.ndarray], np.ndarray] = lambda x: x
    tokens: int | None = None
    training: bool = False


def dense(rows: int, inputs: int, units: int) -> Case:
    return Case((rows, inputs), lambda k: k.layers.Dense(units), lambda w, x: x @ w[0] + w[1], lambda: torch.nn.Linear(inputs, units))


def convolution(shape: tuple[int, ...], filters: int) -> Case:
    rank, channels = len(shape) - 2, shape[-1]
    letters = "NHWC"[: rank + 1] + "C", "HWIO"[:rank] + "IO"

    def plain(w: list, x: Any) -> Any:
        numbers = (letters[0], letters[1], letters[0])
        return jax.lax.conv_general_dilated(x, w[0], (1,) * rank, "VALID", dimension_numbers=numbers) + w[1]

    return Case(
        shape,
        lambda k: getattr(k.layers, f"Conv{rank}D")(filters, 3),
        plain,
        lambda: getattr(torch.nn, f"Conv{rank}d")(channels, filters, 3),
        channels_first,
    )


def pooling(kind: str, shape: tuple[int, ...], size: int, stride: int) -> Case:
    window, strides = (1, size, size, 1), (1, stride, stride, 1)

    def plain(w: list, x: Any) -> Any:
        if kind == "Max":
            return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, "VALID")
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, "VALID") / size**2

    names = {"Max": ("MaxPooling2D", "MaxPool2d"), "Average": ("AveragePooling2D", "AvgPool2d")}[kind]
    make = lambda k: getattr(k.layers, names[0])(size, stride)
    return Case(shape, make, plain, lambda: getattr(torch.nn, names[1])(size, stride), channels_first)


def layer_normalization(rows: int, features: int) -> Case:
    plain = lambda w, x: layer_norm(x, *w)
    return Case((rows, features), lambda k: k.layers.LayerNormalization(), plain, lambda: torch.nn.LayerNorm(features, eps=1e-3))


def batch_normalization(shape: tuple[int, ...]) -> Case:
    def plain(w: list, x: Any) -> Any:
        axes = tuple(range(x.ndim - 1))
        return (x - x.mean(axes)) * jax.lax.rsqrt(x.var(axes) + 1e-3) * w[0] + w[1]

    module = lambda: (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(shape[-1], eps=1e-3)
    return Case(shape, lambda k: k.layers.BatchNormalization(), plain, module, channels_first, training=True)


def attention(batch: int, steps: int, features: int, heads: int) -> Case:
    size = features // heads

    def plain(w: list, x: Any) -> Any:
        flat = x.reshape(-1, features)
        project = lambda kernel, bias: (flat @ kernel.reshape(features, -1) + bias.reshape(-1)).reshape(batch, steps, heads, size)
        q, k, v = (project(*w[i : i + 2]) for i in (0, 2, 4))
        weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k) / size**0.5)
        out = jnp.einsum("bhts,bshd->bthd", weights, v).reshape(-1, features) @ w[6].reshape(-1, features) + w[7]
        return out.reshape(x.shape)

    class SelfAttention(torch.nn.MultiheadAttention if torch else object):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return super().forward(x, x, x, need_weights=False)[0]

    def make(k: ModuleType) -> Any:
        class Attention(k.layers.MultiHeadAttention):  # type: ignore[name-defined,misc]
            def build(self, shape: Any) -> None:
                super().build(shape, shape)

            def call(self, x: Any) -> Any:
                return super().call(x, x)

            def compute_output_shape(self, shape: Any) -> Any:
                return shape

            def compute_output_spec(self, x: Any) -> Any:
                return k.KerasTensor(x.shape, x.dtype)

        return Attention(heads, size)

    return Case((batch, steps, features), make, plain, lambda: SelfAttention(features, heads, batch_first=True))


def embedding(shape: tuple[int, ...], rows: int, features: int) -> Case:
    module = lambda: torch.nn.Embedding(rows, features)
    return Case(
        shape, lambda k: k.layers.Embedding(rows, features), lambda w, x: w[0][x], module, lambda x: x.astype(np.int64), tokens=rows
    )


def gru(batch: int, steps: int, units: int) -> Case:
    plain = lambda w, x: gru_layer(x.swapaxes(0, 1), *w).swapaxes(0, 1)
    return recurrent((batch, steps, units), lambda k: k.layers.GRU(units, return_sequences=True), plain, "GRU")


def lstm(batch: int, steps: int, units: int) -> Case:
    def plain(w: list, x: Any) -> Any:
        kernel, recurrent_kernel, bias = w
        inputs = (x.reshape(-1, units) @ kernel + bias).reshape(batch, steps, -1).swapaxes(0, 1)

        def step(state: tuple, x: Any) -> tuple:
            h, c = state
            i, f, candidate, o = jnp.split(x + h @ recurrent_kernel, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(candidate)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((batch, units))
        return jax.lax.scan(step, (zeros, zeros), inputs)[1].swapaxes(0, 1)

    return recurrent((batch, steps, units), lambda k: k.layers.LSTM(units, return_sequences=True), plain, "LSTM")


def recurrent(shape: tuple[int, ...], make: Callable, plain: Callable, name: str) -> Case:
    class First(getattr(torch.nn, name) if torch else object):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return super().forward(x)[0]

    return Case(shape, make, plain, lambda: First(shape[-1], shape[-1], batch_first=True))


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


CASES: dict[str, list[Case]] = {
    "Dense": [dense(32, 32, 32), dense(128, 784, 512), dense(2048, 128, 512)],
    "Conv1D": [convolution((32, 128, 16), 32), convolution((32, 256, 64), 64), convolution((16, 512, 128), 128)],
    "Conv2D": [convolution((64, 28, 28, 1), 32), convolution((64, 13, 13, 32), 64), convolution((16, 32, 32, 64), 128)],
    "MaxPooling2D": [
        pooling("Max", (64, 26, 26, 32), 2, 2),
        pooling("Max", (64, 11, 11, 64), 2, 2),
        pooling("Max", (16, 56, 56, 64), 3, 2),
    ],
    "AveragePooling2D": [
        pooling("Average", (64, 26, 26, 32), 2, 2),
        pooling("Average", (64, 11, 11, 64), 2, 2),
        pooling("Average", (16, 56, 56, 64), 3, 2),
    ],
    "LayerNormalization": [layer_normalization(32, 64), layer_normalization(2048, 128), layer_normalization(4096, 768)],
    "BatchNormalization": [batch_normalization((64, 64)), batch_normalization((64, 26, 26, 32)), batch_normalization((32, 32, 32, 128))],
    "MultiHeadAttention": [attention(8, 16, 32, 2), attention(16, 128, 128, 4), attention(4, 256, 256, 8)],
    "Embedding": [embedding((32, 16), 1000, 32), embedding((16, 128), 64, 128), embedding((32, 256), 20_000, 128)],
    "GRU": [gru(32, 16, 16), gru(32, 64, 64), gru(64, 128, 128)],
    "LSTM": [lstm(32, 16, 16), lstm(32, 64, 64), lstm(64, 128, 128)],
}


def forms_of(case: Case) -> dict[str, tuple[Callable, Callable]]:
    """For each peer two functions without arguments, the forward pass and that with gradients; each waits for its result."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, case.tokens, case.shape, np.int32) if case.tokens else rng.standard_normal(case.shape, np.float32)
    layers = {"keras": case.make(keras), OURS: case.make(pellucid)}
    for layer in layers.values():
        layer.build(case.shape)
    weights = [np.asarray(w) for w in layers["keras"].get_weights()]
    layers[OURS].set_weights(weights)
    options = {"training": True} if case.training else {}

    def called(layer: Any) -> Callable:
        others = [jnp.asarray(v) for v in layer.non_trainable_variables]
        return lambda w, x: layer.stateless_call(w, others, x, **options)[0]

    count = len(layers[OURS].trainable_variables)
    given = [jnp.asarray(w) for w in weights[:count]], jnp.asarray(x)
    by = (0,) if case.tokens else (0, 1)
    factors = rng.standard_normal(jax.eval_shape(case.plain, *given).shape, np.float32)
    forms = {}
    for name, function in {"jax": case.plain, **{name: called(layer) for name, layer in layers.items()}}.items():
        weighted = lambda w, x, function=function: (function(w, x) * factors).sum()
        passes = jax.jit(function), jax.jit(jax.grad(weighted, by))
        forms[name] = tuple(lambda run=run: jax.block_until_ready(run(*given)) for run in passes)
    check_equal(forms)
    if torch:
        forms["torch"] = torch_forms(case, x, factors)
    return forms


def check_equal(forms: dict[str, tuple[Callable, Callable]]) -> None:
    """What is compared computes the same."""
    for i in (0, 1):
        wanted = jax.tree.leaves(forms["keras"][i]())
        scale = max(float(jnp.abs(b).max()) for b in wanted)
        for name in ("jax", OURS):
            for a, b in zip(jax.tree.leaves(forms[name][i]()), wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4 * scale, err_msg=name)


def torch_forms(case: Case, x: np.ndarray, factors: np.ndarray) -> tuple[Callable, Callable]:
    module, given = case.torch(), torch.from_numpy(case.as_torch(x))
    weights = torch.from_numpy(case.as_torch(factors) if factors.ndim == x.ndim else factors)
    given.requires_grad_(not case.tokens)
    parameters = [*module.parameters()]

    def forward() -> None:
        with torch.no_grad():
            module(given)

    def gradients() -> None:
        given.grad = None
        for p in parameters:
            p.grad = None
        module(given).backward(weights)

    return forward, gradients


def measure(case: Case, seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    """("forward" or "gradients", microseconds by peer)"""
    forms = forms_of(case)
    for i, title in enumerate(("forward", "gradients")):
        runs = {name: pair[i] for name, pair in forms.items()}
        counts = {name: max(1, int(seconds / ROUNDS / max(timed(run, 3), 1e-7))) for name, run in runs.items()}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _, (name, run) in itertools.product(range(ROUNDS), runs.items()):
            times[name].append(timed(run, counts[name]) * 1e6)
        yield title, {name: statistics.median(each) for name, each in times.items()}


def timed(run: Callable, count: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each form of each layer, about")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 132)
    if torch is None:
        console.print("PyTorch is not installed, and left out.", style="yellow")
    rows = []
    for name in options.layers:
        for case in CASES[name]:
            with console.status(f"{name}, {' x '.join(map(str, case.shape))}"):
                for title, times in measure(case, options.seconds):
                    rows.append({"layer": name, "input": case.shape, "pass": title, "us": times})
    rows.sort(key=worst, reverse=True)
    console.print(make_table(rows))
    console.print("Times the others': above 1, Pellucid is the slower one. Sorted by the largest.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def ratios(row: dict) -> dict[str, float]:
    return {name: row["us"][OURS] / us for name, us in row["us"].items() if name != OURS}


def worst(row: dict) -> float:
    return max(ratios(row).values())


def make_table(rows: list[dict]) -> Table:
    table = Table("layer", "input", "pass")
    titles = {"jax": "× plain JAX", "keras": "× Keras", "torch": "× PyTorch"}
    for title in ("µs", *(titles[name] for name in ratios(rows[0]))):
        table.add_column(title, justify="right")
    for row in rows:
        cells = [f"{row['us'][OURS]:,.1f}", *(f"{ratio:.2f}" for ratio in ratios(row).values())]
        table.add_row(row["layer"], " x ".join(map(str, row["input"])), row["pass"], *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
