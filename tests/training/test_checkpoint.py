"""ModelCheckpoint writes the files that Keras's writes, and what it writes can be trained on."""

import os

import keras
import numpy as np
import pytest

import pellucid
from pellucid.callbacks import Callback, ModelCheckpoint
from tests.training.twins import random_data

X, Y = random_data(5, (24, 3), (24, 1))


class Recorder:
    """A model that notes what it is asked to save."""

    def __init__(self):
        self.saved, self.metrics = [], []

    def save_weights(self, path, overwrite=True):
        self.saved.append(os.path.basename(path))


def saved(k, folder, name, epochs, batches=0, **options):
    """The names of the files, by made-up values of two quantities an epoch."""
    model = Recorder()
    callback = k.callbacks.ModelCheckpoint(os.path.join(folder, name), save_weights_only=True, **options)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, (loss, accuracy) in enumerate(epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(batches):
            callback.on_train_batch_end(batch, {"loss": loss})
        callback.on_epoch_end(epoch, {"val_loss": loss, "val_accuracy": accuracy})
    return model.saved


VALUES = [(3.0, 0.2), (2.0, 0.4), (2.5, 0.3), (1.0, 0.3), (1.0, 0.5)]
CASES = {
    "each epoch": ("{epoch:02d}-{val_loss:.1f}.weights.h5", {}),
    "one name": ("a.weights.h5", {}),
    "the best": ("{epoch}.weights.h5", {"save_best_only": True}),
    "the best by accuracy": ("{epoch}.weights.h5", {"save_best_only": True, "monitor": "val_accuracy", "mode": "max"}),
    "the most": ("{epoch}.weights.h5", {"save_best_only": True, "mode": "max"}),
    "a threshold": ("{epoch}.weights.h5", {"save_best_only": True, "initial_value_threshold": 2.2}),
    "a threshold to exceed": ("{epoch}.weights.h5", {"save_best_only": True, "mode": "max", "initial_value_threshold": 2.2}),
    "every 4 batches": ("{epoch}-{batch}.weights.h5", {"save_freq": 4, "batches": 6}),
    "every 7 batches": ("{epoch}-{batch}-{loss:.0f}.weights.h5", {"save_freq": 7, "batches": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_files_are_those_of_keras(case, tmp_path):
    name, options = CASES[case]
    ours, theirs = (saved(k, tmp_path, name, VALUES, **options) for k in (pellucid, keras))
    assert ours == theirs and ours


def model(units=1):
    made = pellucid.Sequential([pellucid.Input((3,)), pellucid.layers.Dense(units)])
    made.compile("adam", "mse", metrics=["mae"])
    return made


def test_training_goes_on_from_a_file(tmp_path):
    whole, first, second = model(), model(), model()
    first.set_weights(whole.get_weights())
    path = tmp_path / "new" / "{epoch}.weights.h5"
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    whole.fit(X, Y, epochs=4, **options)
    first.fit(X, Y, epochs=2, callbacks=[ModelCheckpoint(path, save_weights_only=True)], **options)
    assert sorted(os.listdir(path.parent)) == ["1.weights.h5", "2.weights.h5"]
    assert second.load_weights(path.parent / "2.weights.h5").optimizer == "loaded"
    second.fit(X, Y, epochs=4, initial_epoch=2, **options)
    np.testing.assert_array_equal(whole.layers[0].kernel, second.layers[0].kernel)


def test_the_weights_after_a_number_of_batches_are_those_of_that_batch(tmp_path):
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights())

    made, saves = model(), ModelCheckpoint(tmp_path / "{batch}.safetensors", save_weights_only=True, save_freq=2)
    made.fit(X, Y, batch_size=4, epochs=1, callbacks=[Watch(), saves], verbose=0)
    assert sorted(os.listdir(tmp_path)) == ["2.safetensors", "4.safetensors", "6.safetensors"]
    made.load_weights(tmp_path / "4.safetensors")
    for a, b in zip(made.get_weights(), seen[3], strict=True):
        np.testing.assert_array_equal(a, b)


def test_saving_once_an_epoch_does_not_part_the_steps(tmp_path):
    for options, parted in (({}, False), ({"save_freq": 3}, True)):
        callback = ModelCheckpoint(tmp_path / "a.weights.h5", save_weights_only=True, **options)
        assert pellucid.callbacks.CallbackList([callback]).listens("train", to_each_step=True) is parted


def test_what_it_prints(tmp_path, capsys):
    saved(pellucid, tmp_path, "{epoch}.weights.h5", VALUES[:3], save_best_only=True, verbose=1)
    lines = capsys.readouterr().out.split("\n")
    assert [line for line in lines if line][:3] == [
        "Epoch 1: val_loss improved from inf to 3.00000",
        f"Epoch 1: the weights are saved in {tmp_path / '1.weights.h5'}",
        "Epoch 2: val_loss improved from 3.00000 to 2.00000",
    ]
    assert lines[-2] == "Epoch 3: val_loss did not improve from 2.00000"


def test_what_cannot_be_compared_is_saved_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="there is no 'val_x' in the logs"):
        assert saved(pellucid, tmp_path, "a.weights.h5", VALUES[:1], save_best_only=True, monitor="val_x", mode="min")
    with pytest.warns(UserWarning, match=r"'val_loss' is an array of shape \(2,\); expected a number"):
        assert saved(pellucid, tmp_path, "a.weights.h5", [(np.ones(2), 1)], save_best_only=True)


WRONG = {
    "whole models": ({"save_weights_only": False}, NotImplementedError, "save_weights_only=False; expected True"),
    "an ending": ({"filepath": "a.h5"}, ValueError, "filepath='a.h5'; expected a name that ends in '.weights.h5' or '.safetensors'"),
    "a frequency": ({"save_freq": "batch"}, ValueError, "save_freq='batch'; expected 'epoch' or a number of batches"),
    "no batches": ({"save_freq": 0}, ValueError, "save_freq=0"),
    "a mode": ({"mode": "up"}, ValueError, "mode='up'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    options, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        ModelCheckpoint(**{"filepath": "a.weights.h5", "save_weights_only": True, **options})


def test_a_name_that_is_not_in_the_logs(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be filled in \(KeyError: 'x'\); known names: epoch, val_loss, val_accuracy"):
        saved(pellucid, tmp_path, "{x}.weights.h5", VALUES)
