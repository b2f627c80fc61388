"""What a model keeps is bounded: programs, graphs of steps, what serves batches of other shapes."""

import gc
import weakref

import numpy as np
import pytest

import pellucid
from pellucid import layers
from pellucid.graph import cache
from pellucid.training import machine

X, Y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
CHANGED = "a number or setting that losses, metrics or the optimizer hold has changed"


class Scaled(pellucid.losses.Loss):
    alpha = 1.0

    def call(self, y_true, y_pred):
        return self.alpha * (y_true - y_pred) ** 2


class Stepping(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1)

    def call(self, inputs):
        return self.head(inputs)

    def train_step(self, data):
        x, y = data
        loss, gradients = pellucid.value_and_grad(lambda: self.compute_loss(x, y, self(x)), self.trainable_variables)()
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


def trained_with(model, alphas):
    """References to what each value made: the programs, and the graphs of steps."""
    found = []
    for alpha in alphas:
        model._machine.settings.loss.alpha = alpha
        model.train_on_batch(X, Y)
        found.append(weakref.ref(model._machine._programs.values()[-1]))
    gc.collect()
    return [r() is not None for r in found]


def test_the_programs_used_last_are_kept_and_another_comes_back_with_that_reason(monkeypatch):
    monkeypatch.setattr(machine, "PROGRAMS", 3)
    model = pellucid.Sequential([layers.Dense(1)])
    model.compile("sgd", Scaled())
    assert trained_with(model, [1.0, 2.0, 3.0, 1.0, 4.0]) == [True, False, True, True, True]
    assert [p.reason for p in model.ledger.programs[1:]] == [f"compiled again for training in train_on_batch, because {CHANGED}"] * 3
    trained_with(model, [2.0])
    assert model.ledger.programs[-1].reason == (
        "compiled again for training in train_on_batch, because its program was dropped: a model keeps the 3 programs that it used last"
    )


def test_the_graphs_of_steps_for_the_settings_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(machine, "STEPS", 2)
    model = Stepping()
    model.compile("sgd", Scaled())
    assert trained_with(model, [1.0, 2.0, 3.0]) == [False, True, True]
    assert f"because {CHANGED}" in model.ledger[-1].sentence
    trained_with(model, [1.0])
    assert "because its graphs were dropped: a model keeps those of the 2 steps and settings that it used last" in model.ledger[-1].sentence
    assert len(model._machine._own_steps) == 2


def test_what_settings_were_is_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(machine, "_REMEMBERED", 4)
    model = pellucid.Sequential([layers.Dense(1)])
    model.compile("sgd", Scaled())
    trained_with(model, map(float, range(6)))
    assert len(model._machine._numbered) == 4


class Lengths(pellucid.utils.PyDataset):
    """A batch of each of some lengths."""

    def __init__(self, lengths):
        super().__init__()
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        return np.ones((2, self.lengths[i], 1), "float32"), np.ones((2, 1), "float32")


class Summing(pellucid.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1)

    def call(self, inputs):
        return self.head(sum(inputs[:, i] for i in range(inputs.shape[1])))  # needs to know the length


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* lengths came")
def test_batches_of_many_lengths_in_one_fit_keep_few_graphs(monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 3)
    counts = []

    class Counting(pellucid.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            gc.collect()
            graphs = [run.graph for run in self.model.ledger.captures]
            counts.append(sum(graph is not None for graph in graphs))

    model = Summing()
    model.compile("sgd", "mse")
    model.fit(Lengths([*range(1, 9), 2]), epochs=1, shuffle=False, verbose=0, callbacks=[Counting()])
    assert max(counts) == 4  # the first batch's, too
    assert model.ledger[-1].sentence == "captured again because its graph was dropped: a model keeps the 3 graphs that it used last"


@pytest.mark.filterwarnings("ignore:.* lengths came")
def test_the_means_of_an_epoch_go_on_when_what_serves_a_length_is_made_again(monkeypatch):
    def losses():
        pellucid.utils.set_random_seed(0)
        model = Summing()
        model.compile(pellucid.optimizers.SGD(0.0), "mse")
        return model.fit(Lengths([1, 2, 3, 4, 5, 6, 2, 1, 4]), epochs=2, shuffle=False, verbose=0).history["loss"]

    expected = losses()
    monkeypatch.setattr(cache, "KEPT", 2)
    assert losses() == pytest.approx(expected, rel=1e-6)


def test_another_compile_lets_go_of_the_optimizer_before():
    model = pellucid.Sequential([layers.Dense(1)])
    optimizer = pellucid.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    gone = weakref.ref(optimizer)
    del optimizer
    model.compile("sgd", "mse")
    gc.collect()
    assert gone() is None


def test_the_symbolic_values_of_few_graphs_are_kept():
    model = Summing()
    for length in range(1, 36):
        model.capture((None, length, 1))
        assert model.get_layer("head").output.shape == (None, 1)
    assert len(model._state.views) == 32
