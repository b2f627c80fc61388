"""Workloads in PyTorch, eager: a module, a loss, an optimizer, and one batch after the other.

A workload is added by an entry in ``MODELS`` and its name in ``models`` of the peer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.workloads import SEED, Arrays, Data, Workload


class Model(NamedTuple):
    """How a workload is trained.

    Args:
        make: gives the module, its weights drawn from the distributions that the other peers have.
        loss: (module, inputs..., target) -> mean loss of a batch.
        arrays: brings the data into PyTorch's layout and types; done once, before training.
        optimizer: of some parameters, with the settings that the Keras peers give to `compile`.
    """

    make: Callable[[], nn.Module]
    loss: Callable[..., Any]
    arrays: Callable[[Arrays], Arrays]
    optimizer: Callable[[Any], torch.optim.Optimizer] = partial(torch.optim.Adam, lr=1e-3, eps=1e-7)


class Trainer:
    """Trains as PyTorch's users do, without its compiler."""

    def __init__(self, workload: Workload, data: Data):
        torch.manual_seed(SEED)
        self.model = MODELS[workload.model]
        self.module = self.model.make()
        self.optimizer = self.model.optimizer(self.module.parameters())
        self.batch_size = workload.batch_size
        self.training, self.validation = ([torch.from_numpy(a) for a in self.model.arrays(part)] for part in data)

    def fit(self, epochs: int, validate: bool) -> float:
        for _ in range(epochs):
            total = torch.zeros(())
            for batch in self.batches(self.training, shuffle=True):
                self.optimizer.zero_grad()
                loss = self.model.loss(self.module, *batch)
                loss.backward()
                self.optimizer.step()
                total += loss.detach() * len(batch[0])
            if validate:
                self.evaluate()
        return float(total) / len(self.training[0])

    @torch.no_grad()
    def evaluate(self) -> float:
        return float(sum(self.model.loss(self.module, *batch) * len(batch[0]) for batch in self.batches(self.validation, shuffle=False)))

    def batches(self, arrays: list, shuffle: bool) -> Any:
        rows = len(arrays[0])
        order = torch.randperm(rows) if shuffle else torch.arange(rows)
        for part in order.split(self.batch_size):
            yield [a[part] for a in arrays]

    def count_calls(self) -> None:
        """There is no `call` here."""


def as_keras_draws(module: nn.Module) -> nn.Module:
    """Glorot's uniform distribution for kernels, zeros for biases."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    return module


class WideAndDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU())
        self.main, self.aux = nn.Linear(35, 1), nn.Linear(30, 1)
        as_keras_draws(self)

    def forward(self, a: Any, b: Any) -> tuple[Any, Any]:
        hidden = self.hidden(b)
        return self.main(torch.cat([a, hidden], 1)), self.aux(hidden)


def weighted_errors(module: nn.Module, a: Any, b: Any, target: Any) -> Any:
    main, aux = module(a, b)
    return 0.9 * nn.functional.mse_loss(main, target) + 0.1 * nn.functional.mse_loss(aux, target)


def mlp() -> nn.Module:
    return as_keras_draws(nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)))


def cnn() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, filters in ((1, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return as_keras_draws(nn.Sequential(*layers, nn.Flatten(), nn.Linear(5 * 5 * 64, 10)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(128, eps=1e-3), nn.LayerNorm(128, eps=1e-3)
        self.query_key_value, self.output = nn.Linear(128, 3 * 128), nn.Linear(128, 128)
        self.up, self.down = nn.Linear(128, 512), nn.Linear(512, 128)

    def forward(self, x: Any) -> Any:
        heads = self.query_key_value(self.norm1(x)).unflatten(-1, (3, 4, 32)).permute(2, 0, 3, 1, 4)  # of each: batch, heads, tokens
        attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(64, 128), nn.Embedding(128, 128)
        self.blocks = nn.Sequential(*(Block() for _ in range(4)))
        self.norm, self.logits = nn.LayerNorm(128, eps=1e-3), nn.Linear(128, 64)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.positions.weight
        return self.logits(self.norm(self.blocks(x))).transpose(1, 2)  # classes second, as the loss takes them


def transformer() -> nn.Module:
    module = Transformer()
    as_keras_draws(module)
    for block in module.blocks:
        for kernel in block.query_key_value.weight.chunk(3):
            nn.init.xavier_uniform_(kernel)
    for table in (module.tokens, module.positions):
        nn.init.uniform_(table.weight, -0.05, 0.05)
    for norm in (m for m in module.modules() if isinstance(m, nn.LayerNorm)):
        nn.init.ones_(norm.weight)
    return module


def crossentropy(module: nn.Module, x: Any, labels: Any) -> Any:
    return nn.functional.cross_entropy(module(x), labels)


class Recurrent(nn.Module):
    """Two layers GRU, whose recurrent kernels are orthogonal, and an affine map of the last output."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.out = nn.GRU(16, 64, num_layers=2, batch_first=True), nn.Linear(64, 1)
        as_keras_draws(self)
        for kernel in (self.layers.weight_hh_l0, self.layers.weight_hh_l1):
            nn.init.orthogonal_(kernel)

    def forward(self, x: Any) -> Any:
        return self.out(self.layers(x)[0][:, -1])


def squared_error(module: nn.Module, x: Any, target: Any) -> Any:
    return nn.functional.mse_loss(module(x), target)


def channels_first(arrays: Arrays) -> Arrays:
    """Images with the channels before height and width, and labels as PyTorch takes them."""
    x, labels = long_labels(arrays)
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)), labels


def long_labels(arrays: Arrays) -> Arrays:
    """Tokens and labels as PyTorch takes them."""
    return tuple(a if a.dtype == np.float32 else a.astype(np.int64) for a in arrays)


MODELS = {
    "wide_and_deep": Model(WideAndDeep, weighted_errors, long_labels, partial(torch.optim.SGD, lr=0.01)),
    "mlp": Model(mlp, crossentropy, long_labels),
    "cnn": Model(cnn, crossentropy, channels_first),
    "gru": Model(Recurrent, squared_error, long_labels),
    "transformer": Model(transformer, crossentropy, long_labels),
}
