"""The command `pellucid`: scripts run as written, stories are told, models drawn."""

from __future__ import annotations

import json
import os
import pathlib
import re
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

    SIZE = 3

    class Net(keras.Model):
        def __init__(self, units=3):
            super().__init__()
            self.out = layers.Dense(units)
        def call(self, x):
            return self.out(x)

    class Sized(Net):
        def __init__(self, units):
            super().__init__(units)

    class Wrong(Net):
        def call(self, x):
            return self.out(x) @ x

    made = Net(4)

    def make():
        return Net(5)

    def nothing():
        return None

    def train():
        model = Net(1)
        model.compile("sgd", "mse")
        model.fit(np.ones((20, 3)), np.ones((20, 1)), verbose=0)

    if __name__ == "__main__":
        print("arguments", sys.argv[1:])
        if "idle" not in sys.argv:
            train()
        if "stdin" in sys.argv:
            print("read", input(), sys.stdin.read())
        if "unfiltered" in sys.argv:
            keras.config.disable_traceback_filtering()
        if "fail" in sys.argv:
            try:
                layers.Dense(-1)
            except ValueError as error:
                raise RuntimeError("at the end") from error
        if "matmul" in sys.argv:
            keras.ops.matmul(np.ones((2, 3)), np.ones((2, 3)))
        if "exit" in sys.argv:
            sys.exit(int(sys.argv[-1]))
"""
STORY = "`call` of Net ran once."
EXPECTED = "expected a Model, a class of models that needs no arguments, or a function that makes one"
MANY = """
import json, sys
from pellucid import cli
sys.path[0] = ""
for arguments in json.load(sys.stdin):
    try:
        code = cli.main(arguments)
    except SystemExit as end:
        code = end.code
    for stream in (sys.stdout, sys.stderr):
        print(f"\\0{code}\\0", end="", file=stream, flush=True)
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))

    def start(*command, stdin=""):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "100"}
        command = [sys.executable, *command]
        return subprocess.run(command, cwd=tmp_path, env=environment, input=stdin, capture_output=True, text=True, timeout=120)

    return start


@pytest.fixture
def pellucid(start):
    return lambda *arguments, stdin="": start("-m", "pellucid", *arguments, stdin=stdin)


@pytest.fixture
def pellucid_many(start):
    """Runs commands one after the other in one process: (code, stdout, stderr) of each."""

    def run(*commands):
        done = start("-c", MANY, stdin=json.dumps(commands))
        out, err = (text.split("\0") for text in (done.stdout, done.stderr))
        assert len(err) == 2 * len(commands) + 1, done.stderr
        return list(zip(map(int, err[1::2]), out[::2], err[::2], strict=False))

    return run


def test_explain_tells_the_story_after_the_scripts_own_output(pellucid):
    done = pellucid("explain", "script.py", "one", "--two")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("arguments ['one', '--two']\n\n`call` of Net ran once.\n  1. In fit (script.py:")


def test_profile_measures_the_model_that_a_script_fits_after_the_scripts_own_output(pellucid):
    done = pellucid("profile", "script.py", "one", "--two")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("arguments ['one', '--two']\n\nNet on ")
    assert "A step of training, 20 rows: " in done.stdout and "A step of prediction, 20 rows: " in done.stdout
    assert " out (Dense) " in done.stdout and max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.slow
def test_profile_of_a_script_that_fits_nothing_or_fails_is_told(pellucid):
    done = pellucid("profile", "script.py", "idle")
    assert done.returncode == 2 and "pellucid profile: 'script.py' fitted no model" in done.stderr
    done = pellucid("profile", "script.py", "exit", "3")
    assert done.returncode == 3 and "A step of" not in done.stdout
    done = pellucid("profile", "script.py", "exit", "0")
    assert done.returncode == 0 and "A step of training" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("given", ["Batches()", "iter([Batches()[0]] * 40), steps_per_epoch=40", "Batches(), validation_data=Batches()"])
def test_profile_of_a_script_whose_data_iterate(pellucid, tmp_path, given):
    (tmp_path / "streams.py").write_text(
        f"""
import keras, numpy as np

class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 12
    def __getitem__(self, index):
        return np.ones((16, 3), "float32"), np.ones((16, 2), "float32")

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="only")])
model.compile("sgd", "mse")
model.fit({given}, verbose=0)
"""
    )
    done = pellucid("profile", "streams.py")
    assert done.returncode == 0 and "A step of training, 16 rows" in done.stdout and " only (Dense) " in done.stdout, done.stderr


@pytest.mark.slow
def test_profile_of_a_model_that_runs_eagerly_says_why_not(pellucid, tmp_path):
    (tmp_path / "eager.py").write_text(
        """
import keras, numpy as np
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile("sgd", "mse", run_eagerly=True)
model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
"""
    )
    done = pellucid("profile", "eager.py")
    assert done.returncode == 2 and "compile(run_eagerly=True) computes operation by operation" in done.stderr


def test_explain_tells_the_story_of_a_script_that_fails_and_shows_the_users_frames_only(pellucid):
    done = pellucid("explain", "script.py", "fail")
    assert done.returncode == 1 and STORY in done.stdout
    assert done.stderr.strip().endswith("RuntimeError: at the end") and "units=-1" in done.stderr
    files = re.findall(r'File "(.*?)"', done.stderr)
    assert files == ["script.py", "script.py"]  # of the error, and of the one that led to it


@pytest.mark.slow
def test_a_function_of_jaxs_that_fails_in_a_script_shows_the_users_frames_only(pellucid):
    done = pellucid("run", "script.py", "idle", "matmul")
    assert done.returncode == 1 and "dot_general" in done.stderr
    assert re.findall(r'File "(.*?)"', done.stderr) == ["script.py"] and "JAX has removed" not in done.stderr


@pytest.mark.slow
def test_all_frames_are_shown_where_the_script_asks_for_them(pellucid):
    done = pellucid("explain", "script.py", "idle", "unfiltered", "fail")
    assert done.returncode == 1 and os.path.join("pellucid", "cli.py") in done.stderr


@pytest.mark.slow
def test_no_model_ran_is_said_of_scripts_that_end_well(pellucid_many):
    ends = [([], 0, True), (["exit", "0"], 0, True), (["exit", "3"], 3, False), (["fail"], 1, False)]
    done = pellucid_many(*(["explain", "script.py", "idle", *arguments] for arguments, _, _ in ends))
    assert [(code, "No model ran." in out) for code, out, _ in done] == [(code, said) for _, code, said in ends]


def test_explain_hands_on_arguments_standard_input_and_the_exit_status(pellucid):
    done = pellucid("explain", "script.py", "-h", "--", "stdin", "exit", "3", stdin="first\nsecond\n")
    assert done.returncode == 3 and done.stderr == ""
    assert "arguments ['-h', '--', 'stdin', 'exit', '3']" in done.stdout and "read first second" in done.stdout
    assert STORY in done.stdout


@pytest.mark.slow
def test_an_error_of_syntax_is_shown_without_frames(pellucid, tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\ndef (:\n")
    done = pellucid("explain", "broken.py")
    assert done.returncode == 1 and re.findall(r'File "(.*?)", line (\d)', done.stderr) == [("broken.py", "2")]
    assert "No model ran" not in done.stdout


def test_graph_prints_a_summary_without_data(pellucid):
    done = pellucid("graph", "script:Net", "--input", "32,784")
    assert done.returncode == 0 and "(None, 3)" in done.stdout and "2,355" in done.stdout
    assert "arguments" not in done.stdout  # the module was imported, not run as a script


@pytest.mark.slow
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


@pytest.mark.slow
def test_run_is_what_running_the_package_does(pellucid):
    for arguments in (["run", "script.py", "one"], ["script.py", "one"]):
        done = pellucid(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "arguments ['one']\n", "")


@pytest.mark.slow
def test_a_model_is_named_by_module_or_by_file(pellucid_many, tmp_path):
    (tmp_path / "package" / "inner").mkdir(parents=True)
    for folder in ("package", "package/inner"):
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "package" / "nets.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "package" / "inner" / "models.py").write_text("from ..nets import Net, make")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "alone.py").write_text(textwrap.dedent(SCRIPT))
    names = {
        "script:Net": 15,
        "./script.py:Net": 15,
        f"{tmp_path}/script.py:Net": 15,
        "script.py:made": 20,
        "script:make": 25,
        "folder/alone.py:Net": 15,
        "package/inner/models.py:Net": 15,
        "package.inner.models:make": 25,
    }
    for (code, out, err), count in zip(pellucid_many(*(["graph", n, "--input", "32,4"] for n in names)), names.values(), strict=True):
        assert (code, err) == (0, "") and f"Total params: {count} " in out


def test_what_cannot_be_done_is_told_without_a_traceback(pellucid_many, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "json.py").write_text("")
    graph = lambda name, *more, shape="32,3": ["graph", name, "--input", shape, *more]
    told = {
        "expected a name for each input, or for none": graph("script:Net", "--input", "32,3", shape="a=32,3"),
        "the name 'a' is there twice; expected one shape for each input": graph("script:Net", "--input", "a=32,4", shape="a=32,3"),
        "--input '32,3:float33': expected whole numbers": graph("script:Net", shape="32,3:float33"),
        "--input '32,x': expected whole numbers": graph("script:Net", shape="32,x"),
        "'script' has no 'Nets'. Did you mean 'Net'?": graph("script:Nets"),
        "expected MODULE:MODEL": graph("script"),
        "No module named 'nowhere': expected a module, or a file such as models.py": graph("nowhere:Net"),
        "there is no file 'nowhere.py'": graph("nowhere.py:Net"),
        "has the name of another module, 'json'": graph("./folder/json.py:Net"),
        f"'script:SIZE' is of type int; {EXPECTED}": graph("script:SIZE"),
        f"'script:layers' is of type module; {EXPECTED}": graph("script:layers"),
        f"'script:layers.Dense' is the class Dense, which is no Model; {EXPECTED}": graph("script:layers.Dense"),
        f"cannot be called without arguments (missing a required argument: 'units'); {EXPECTED}": graph("script:Sized"),
        f"'script:nothing' returned a value of type NoneType; {EXPECTED}": graph("script:nothing"),
        "'net.xyz'; expected a name that ends in .svg": graph("script:Net", "-o", "net.xyz"),
        "nowhere': 'nowhere/net.json'": graph("script:Net", "-o", "nowhere/net.json"),
        "there is no file 'nowhere.py'.": ["explain", "nowhere.py"],
        "the following arguments are required: script\n": ["explain"],
        "usage: pellucid": [],
    }
    for words, (code, out, err) in zip(told, pellucid_many(*told.values()), strict=True):
        assert code == 2 and words in err and "Traceback" not in err and not out, (words, err)


def test_a_model_that_fails_is_told_at_the_users_line(pellucid_many, tmp_path):
    (tmp_path / "imports.py").write_text("import nowhere")
    commands = (["graph", "script:Wrong", "--input", "32,4"], ["graph", "imports:Net", "--input", "32,4"])
    (code, _, shapes), (also, _, missing) = pellucid_many(*commands)
    assert code == also == 1
    assert "return self.out(x) @ x" in shapes and "in layer 'wrong'" in shapes and len(re.findall(r'File "', shapes)) == 1
    assert re.findall(r'File ".*?(\w+\.py)"', missing) == ["imports.py"] and "No module named 'nowhere'" in missing
