"""What it costs that nothing is silent: captures with and without watching, steps with and without `nan="raise"`.

    python -m benchmarks.glassbox

All in one process, in turn. `make bench` runs it after the tables.
"""

import functools
import gc
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import pellucid
from benchmarks.peers.keras_api import MODELS
from benchmarks.workloads import WORKLOADS, make_data
from pellucid import layers
from pellucid.graph import watch

ROUNDS = 11
EPOCHS = 20


class Block(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.norm, self.relu = layers.Dense(16), layers.BatchNormalization(), layers.ReLU()

    def call(self, x: Any, training: Any = None) -> Any:
        return x + self.relu(self.norm(self.dense(x), training=training))


class Deep(pellucid.Model):
    """A hundred blocks, whose capture is long."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Block() for _ in range(100)]

    def call(self, x: Any, training: Any = None) -> Any:
        for block in self.blocks:
            x = block(x, training=training)
        return x


def main() -> None:
    warnings.simplefilter("ignore")
    workload = WORKLOADS["wide_and_deep"]
    make_model, split = MODELS[workload.model]
    data = make_data(workload)
    inputs, targets = split(*data.training)

    def first_epoch() -> None:
        make_model(pellucid).fit(inputs, targets, batch_size=workload.batch_size, epochs=1, verbose=0)

    whole = timed(first_epoch)
    for name, make, shape in (
        ("wide_and_deep", lambda: make_model(pellucid), [(None, 5), (None, 6)]),
        ("100 blocks", Deep, (None, 16)),
    ):
        watched, bare = captures(make, shape)
        share = f", {(watched - bare) / whole:+.1%} of a first epoch of {whole:.2f} s" if name == "wide_and_deep" else ""
        print(f"capture of {name}: {watched * 1e3:.1f} ms watched, {bare * 1e3:.1f} ms not ({watched / bare:.2f} x){share}")

    def steps(**options: Any) -> Callable[[], None]:
        model = make_model(pellucid)
        model.compile(loss=["mse", "mse"], loss_weights=[0.9, 0.1], optimizer="sgd", **options)
        run = lambda: model.fit(inputs, targets, batch_size=workload.batch_size, epochs=EPOCHS, verbose=0)
        run()
        return lambda: timed(run) / (EPOCHS * workload.steps) * 1e6

    plain, checked = steps(), steps(nan="raise")
    pairs = [(plain(), checked()) for _ in range(ROUNDS)]
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"step of wide_and_deep: {statistics.median(a for a, _ in pairs):.1f} us; with nan='raise' {ratio:.3f} x")


def captures(make: Callable[[], Any], shape: Any) -> tuple[float, float]:
    """Median seconds of a capture that is watched, and of one that is not."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * ROUNDS + 2):
        model, watch.enabled = make(), number % 2 == 0
        gc.collect()
        times[watch.enabled].append(timed(functools.partial(model.build, shape)))
    watch.enabled = True
    return statistics.median(times[True][1:]), statistics.median(times[False][1:])


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
