"""``import keras`` that means Pellucid, in a process of its own."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

SRC = pathlib.Path(__file__).parents[2] / "src"


def run(*arguments, script=None, folder=None):
    """Runs Python on arguments (and a script written for it). Returns what ended."""
    environment = {**os.environ, "PYTHONPATH": str(SRC), "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    if script is not None:
        path = folder / "script.py"
        path.write_text(textwrap.dedent(script))
        arguments = [a if a != "script.py" else str(path) for a in arguments]
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


SCRIPT = """
    import importlib, pickle, sys
    import numpy as np
    import keras
    import keras.ops as K
    from keras import layers, Model
    from keras.layers import Dense
    from keras.utils import set_random_seed
    import pellucid
    import helper_beside_the_script

    assert keras is pellucid and K is pellucid.ops and layers is pellucid.layers and Dense is pellucid.layers.Dense
    assert helper_beside_the_script.Dense is Dense
    assert importlib.import_module("keras.losses") is pellucid.losses

    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = Dense(1)
        def call(self, inputs):
            return K.tanh(self.out(inputs))

    if __name__ == "__main__":
        set_random_seed(0)
        model = Mine()
        model.compile(optimizer="sgd", loss="mse")
        model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
        print("trained", len(model.weights), sys.argv[1:], sys.argv[0].endswith("script.py"))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "helper_beside_the_script.py").write_text("from keras.layers import Dense\n")
    return tmp_path


def test_a_keras_script_runs_on_pellucid_with_its_arguments(folder):
    done = run("-m", "pellucid", "script.py", "--epochs", "3", "-h", script=SCRIPT, folder=folder)
    assert done.stdout == "trained 2 ['--epochs', '3', '-h'] True\n", done.stderr
    assert done.returncode == 0 and done.stderr == ""


def test_install_as_keras_does_the_same_inside_a_script(folder):
    done = run(
        "script.py",
        script="import pellucid\npellucid.install_as_keras()\npellucid.install_as_keras()\n" + textwrap.dedent(SCRIPT),
        folder=folder,
    )
    assert done.stdout.startswith("trained 2"), done.stderr


def test_python_stays_sane_after_it(folder):
    script = """
        import importlib, importlib.util, pickle, sys, json
        import pellucid
        pellucid.install_as_keras()
        import keras.layers.core, keras.losses
        assert sys.modules["keras.layers.core"] is sys.modules["pellucid.layers.core"]
        for name in ("pellucid", "pellucid.layers", "pellucid.layers.core", "pellucid.losses"):
            module = sys.modules[name]
            assert module.__name__ == module.__spec__.name == name, (name, module.__spec__)
            assert importlib.util.find_spec(name) is module.__spec__
        assert pickle.loads(pickle.dumps(pellucid.layers.Dense)) is pellucid.layers.Dense
        assert pickle.loads(b"ckeras.layers\\nDense\\n.") is pellucid.layers.Dense
        assert pickle.loads(pickle.dumps(pellucid.optimizers.SGD)) is pellucid.optimizers.SGD
        assert importlib.import_module("json") is json and importlib.reload(json) is json
        assert importlib.util.find_spec("no_such_module_anywhere") is None
        print("sane")
    """
    done = run("script.py", script=script, folder=folder)
    assert done.stdout == "sane\n", done.stderr


def test_a_plain_module_does_not_become_a_package(folder):
    script = """
        import pellucid
        pellucid.install_as_keras()
        import keras.layers.core
        print(hasattr(pellucid.layers.core, "__path__"))
    """
    assert run("script.py", script=script, folder=folder).stdout == "False\n"


def test_asking_for_a_module_that_is_not_there_does_not_find_it(folder):
    script = """
        import importlib.util
        import pellucid
        pellucid.install_as_keras()
        assert importlib.util.find_spec("keras.layers") is not None
        try:
            print(importlib.util.find_spec("keras.no_such_module"))
        except ModuleNotFoundError:
            print(None)
    """
    assert run("script.py", script=script, folder=folder).stdout == "None\n"


def test_missing_module_says_what_keras_is_here(folder):
    done = run("-m", "pellucid", "script.py", script="import keras.no_such_module", folder=folder)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError") and "Pellucid" in last and "keras.no_such_module" in last


def test_a_script_can_fall_back_where_a_module_is_missing(folder):
    script = """
        try:
            from keras.src import anything
        except ImportError as error:
            print("fallback", error.name)
    """
    assert run("-m", "pellucid", "script.py", script=script, folder=folder).stdout == "fallback keras.src\n"


def test_real_keras_imported_before_is_an_error_that_says_so(folder):
    script = """
        import keras
        import pellucid
        try:
            pellucid.install_as_keras()
        except RuntimeError as error:
            print(error)
        import keras.layers
        print(keras.layers.__name__.startswith("keras"))
    """
    done = run("script.py", script=script, folder=folder)
    message, still_keras = done.stdout.strip().splitlines()
    assert "imported already" in message and "before" in message and still_keras == "True"


@pytest.mark.parametrize(
    "arguments, code",
    [([], 2), (["--help"], 0)],
)
def test_usage(arguments, code):
    done = run("-m", "pellucid", *arguments)
    assert "python -m pellucid script.py" in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert done.returncode == code


def test_script_that_does_not_exist_is_named_without_a_traceback(folder):
    done = run("-m", "pellucid", "nowhere.py", folder=folder)
    assert done.returncode != 0 and "nowhere.py" in done.stderr and "Traceback" not in done.stderr
