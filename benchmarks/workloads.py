"""What is trained: sizes and synthetic data. The models are in the peers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

SEED = 0

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Workload:
    """One model, its number of rows and its batch size.

    Args:
        model: the model's name in the peers, and the function below that makes its data.
        base: the workload whose step is compared with this one's, for the same peer.
    """

    name: str
    model: str
    rows: int
    batch_size: int
    validation_rows: int = 0
    base: str | None = None

    @property
    def steps(self) -> int:
        """Steps in an epoch, a smaller last one included."""
        return -(-self.rows // self.batch_size)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("wide_and_deep", "wide_and_deep", rows=11_610, batch_size=32, validation_rows=3_870),
        Workload("mlp", "mlp", rows=12_800, batch_size=128),
        Workload("gan", "gan", rows=12_800, batch_size=64),
        Workload("normalized", "normalized", rows=12_800, batch_size=64),
        Workload("accumulated", "accumulated", rows=12_800, batch_size=64),
        Workload("cnn", "cnn", rows=1_280, batch_size=64),
        Workload("gru", "gru", rows=640, batch_size=32),
        Workload("transformer", "transformer", rows=64, batch_size=16),
        Workload("wide_and_deep_large", "wide_and_deep", rows=1_161_000, batch_size=32, base="wide_and_deep"),
    )
}


class Data(NamedTuple):
    """Inputs and then the target, one array each, for training and for validation."""

    training: Arrays
    validation: Arrays


def make_data(workload: Workload) -> Data:
    """The same data in every process."""
    arrays = MAKERS[workload.model](np.random.default_rng(SEED), workload.rows + workload.validation_rows)
    return Data(tuple(x[: workload.rows] for x in arrays), tuple(x[workload.rows :] for x in arrays))


def wide_and_deep(rng: np.random.Generator, rows: int) -> Arrays:
    """Two inputs, (rows, 5) and (rows, 6), and a target (rows, 1) that follows from them, with noise."""
    a, b, noise = (rng.standard_normal((rows, width), np.float32) for width in (5, 6, 1))
    target = a @ normal(rng, 5, 1) + np.tanh(b @ normal(rng, 6, 1)) + np.float32(0.1) * noise
    return a, b, target


def mlp(rng: np.random.Generator, rows: int) -> Arrays:
    """An input (rows, 784) and a label from 0 to 9 (rows,), which is right four times out of five."""
    x = rng.standard_normal((rows, 784), np.float32)
    labels = np.argmax(x @ normal(rng, 784, 10), axis=1)
    wrong = rng.random(rows) < 0.2
    labels[wrong] = rng.integers(0, 10, wrong.sum())
    return x, labels.astype(np.int32)


def gan(rng: np.random.Generator, rows: int) -> Arrays:
    """Points (rows, 16) near a curve."""
    angle = rng.random((rows, 1), np.float32) * np.float32(2 * np.pi)
    return (np.sin(angle * np.arange(1, 17, dtype=np.float32)) + np.float32(0.1) * rng.standard_normal((rows, 16), np.float32),)


def regression(rng: np.random.Generator, rows: int) -> Arrays:
    """An input (rows, 32) and a target (rows, 1) that follows from it, with noise."""
    x, noise = rng.standard_normal((rows, 32), np.float32), rng.standard_normal((rows, 1), np.float32)
    return x, np.tanh(x @ normal(rng, 32, 1)) + np.float32(0.1) * noise


def gru(rng: np.random.Generator, rows: int) -> Arrays:
    """Series (rows, 64, 16) and a target (rows, 1): what two steps, the first and the middle one, have in common."""
    x = rng.standard_normal((rows, 64, 16), np.float32)
    return x, np.tanh(np.sum(x[:, 0] * x[:, 32], axis=1, keepdims=True) / 4)


def cnn(rng: np.random.Generator, rows: int) -> Arrays:
    """Images (rows, 28, 28, 1) of noise, and a label from 0 to 9 (rows,): which of ten patterns is in its middle, about."""
    patterns = rng.standard_normal((10, 7, 7, 1), np.float32)
    labels, places = rng.integers(0, 10, rows, dtype=np.int32), rng.integers(9, 13, (rows, 2))
    x = np.float32(0.5) * rng.standard_normal((rows, 28, 28, 1), np.float32)
    for image, label, (top, left) in zip(x, labels, places):
        image[top : top + 7, left : left + 7] += patterns[label]
    return x, labels


def transformer(rng: np.random.Generator, rows: int) -> Arrays:
    """Tokens (rows, 128) from 0 to 63, and those that follow: three times out of four the one that the last two say."""
    tokens = rng.integers(0, 64, (rows, 129), np.int32)
    for at in range(2, 129):
        told = (3 * tokens[:, at - 1] + tokens[:, at - 2]) % 64
        tokens[:, at] = np.where(rng.random(rows) < 0.75, told, tokens[:, at])
    return tokens[:, :-1], tokens[:, 1:]


def normal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.standard_normal((rows, columns), np.float32) / np.float32(rows**0.5)


MAKERS = {
    "wide_and_deep": wide_and_deep,
    "mlp": mlp,
    "gan": gan,
    "normalized": regression,
    "accumulated": regression,
    "gru": gru,
    "cnn": cnn,
    "transformer": transformer,
}
