"""The command `pellucid`: scripts run as written, stories are told, models drawn."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

SOURCE = pathlib.Path(__file__).parents[2] / "src"
SCRIPT = """
    import sys
    import numpy as np
    import keras
    from keras import layers

    class Net(keras.Model):
        def __init__(self, units=3):
            super().__init__()
            self.out = layers.Dense(units)
        def call(self, x):
            return self.out(x)

    def train():
        model = Net(1)
        model.compile("sgd", "mse")
        model.fit(np.ones((20, 3)), np.ones((20, 1)), verbose=0)

    if __name__ == "__main__":
        train()
        print("arguments", sys.argv[1:])
        if "fail" in sys.argv:
            raise ValueError("at the end")
"""


@pytest.fixture
def pellucid(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100"}
        command = [sys.executable, "-m", "pellucid", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_explain_tells_the_story_after_the_scripts_own_output(pellucid):
    done = pellucid("explain", "script.py", "one", "--two")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("arguments ['one', '--two']\n\n`call` of Net ran once.\n  1. In fit (script.py:")


def test_explain_tells_the_story_of_a_script_that_fails(pellucid):
    done = pellucid("explain", "script.py", "fail")
    assert done.returncode == 1 and "`call` of Net ran once." in done.stdout
    assert done.stderr.strip().endswith("ValueError: at the end")


def test_graph_prints_a_summary_without_data(pellucid):
    done = pellucid("graph", "script:Net", "--input", "32,784")
    assert done.returncode == 0 and "(None, 3)" in done.stdout and "2,355" in done.stdout
    assert "arguments" not in done.stdout  # the module was imported, not run as a script


def test_graph_takes_inputs_by_name_and_data_types(pellucid, tmp_path):
    (tmp_path / "two.py").write_text(
        textwrap.dedent(
            """
            import keras

            class Two(keras.Model):
                def call(self, inputs):
                    return inputs["ids"] * 2, inputs["x"]
            """
        )
    )
    arguments = ["--input", "x=32,784", "--input", "ids=None,10:int32", "-o", "two.json"]
    done = pellucid("graph", "two:Two", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "two.json\n", "")
    text = (tmp_path / "two.json").read_text()
    assert "int32" in text and "input_x" in text and "784" in text


def test_run_is_what_running_the_package_does(pellucid):
    for arguments in (["run", "script.py", "one"], ["script.py", "one"]):
        done = pellucid(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "arguments ['one']\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["graph", "script:Net", "--input", "a=32,3", "--input", "32,3"], "expected a name for each input, or for none"),
        (["graph", "script:Net", "--input", "32,3:float33"], "--input '32,3:float33': expected whole numbers"),
        (["graph", "script:Net", "--input", "32,x"], "--input '32,x': expected whole numbers"),
        (["graph", "script:Nets", "--input", "32,3"], "'script' has no 'Nets'"),
        (["graph", "script", "--input", "32,3"], "expected MODULE:MODEL"),
        (["graph", "nowhere:Net", "--input", "32,3"], "No module named 'nowhere'"),
        (["graph", "script:layers.Dense", "--input", "32,3"], "missing 1 required positional argument"),
        (["explain", "nowhere.py"], "there is no file 'nowhere.py'"),
    ],
)
def test_bad_arguments_are_told_without_a_traceback(pellucid, arguments, words):
    done = pellucid(*arguments)
    assert done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr
