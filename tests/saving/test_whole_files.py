"""A file of weights is the new one or the one before, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import pellucid
from pellucid import layers
from tests.cases import some_slow

ENDINGS = pytest.mark.parametrize("ending", ["weights.h5", "safetensors"])
SOME = pytest.mark.parametrize("ending", some_slow(["weights.h5", "safetensors"], ["weights.h5"]))


def model(value):
    made = pellucid.Sequential([pellucid.Input((4,)), layers.Dense(3), layers.Dense(2)])
    made.set_weights([np.full(w.shape, value) for w in made.weights])
    return made


@ENDINGS
def test_an_error_in_the_middle_leaves_the_file_before(ending, tmp_path, monkeypatch):
    path = tmp_path / f"a.{ending}"
    model(1.0).save_weights(path)
    made, seen = model(2.0), []

    class Full(OSError):
        pass

    def fails(variable, dtype=None, copy=None):
        seen.append(variable)
        if len(seen) == 3:
            raise Full(28, "No space left on device")
        return np.full(variable.shape, 2.0)

    monkeypatch.setattr(pellucid.Variable, "__array__", fails)
    with pytest.raises(Full, match=r"No space left on device: '.*a\."):
        made.save_weights(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [path.name]
    made.load_weights(path)
    assert all((w == 1.0).all() for w in made.get_weights())


@SOME
def test_a_process_that_is_killed_while_it_writes_leaves_the_file_before(ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    model(1.0).save_weights(path)
    script = f"""
        import time, numpy as np, pellucid
        made = pellucid.Sequential([pellucid.Input((4,)), pellucid.layers.Dense(3), pellucid.layers.Dense(2)])
        plain, seen = pellucid.Variable.__array__, []
        def slow(variable, dtype=None, copy=None):
            seen.append(variable)
            if len(seen) == 3:
                print("half", flush=True)
                time.sleep(60)
            return plain(variable, dtype, copy)
        pellucid.Variable.__array__ = slow
        made.save_weights({str(path)!r})
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, env=dict(os.environ), text=True)
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    made = model(0.0)
    assert made.load_weights(path).complete
    assert all((w == 1.0).all() for w in made.get_weights())


@SOME
def test_a_reader_never_sees_half_a_file(ending, tmp_path):
    path, made, reader = tmp_path / f"a.{ending}", model(1.0), model(0.0)
    made.save_weights(path)
    script = f"""
        import numpy as np, pellucid
        made = pellucid.Sequential([pellucid.Input((4,)), pellucid.layers.Dense(3), pellucid.layers.Dense(2)])
        print("go", flush=True)
        for value in range(20):
            made.set_weights([np.full(w.shape, value) for w in made.weights])
            made.save_weights({str(path)!r})
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, env=dict(os.environ), text=True)
    assert process.stdout.readline() == "go\n"
    while process.poll() is None:
        assert reader.load_weights(path).complete
        assert len({float(x) for w in reader.get_weights() for x in w.ravel()}) == 1
        time.sleep(0.002)
    process.stdout.close()
    assert process.returncode == 0


def test_a_folder_that_is_not_there_or_a_name_that_is_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no/a\.weights\.h5"):
        model(1.0).save_weights(tmp_path / "no" / "a.weights.h5")
    (tmp_path / "d.weights.h5").mkdir()
    with pytest.raises(IsADirectoryError, match=r"d\.weights\.h5"):
        model(1.0).save_weights(tmp_path / "d.weights.h5")
    assert os.listdir(tmp_path) == ["d.weights.h5"]
