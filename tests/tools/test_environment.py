import os
import sys

import pytest

from tools import environment

THIS_VERSION = sys.version_info[:2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for interpreters are shell scripts")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without any Python: adds programs to its PATH and to its pyenv."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("PYTHON", raising=False)

    def add(path, shell):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{shell}\n")
        file.chmod(0o755)
        return str(file)

    return add


def prints(version, path="/usr/bin/python"):
    return f"echo '{version}'; echo {path}"


def test_real_interpreter_is_probed():
    version, executable = environment.probe(sys.executable)
    assert version == THIS_VERSION
    assert os.path.exists(executable)


def test_newest_is_preferred(machine):
    machine("bin/python3", prints("3 11"))
    machine("bin/python3.12", prints("3 12", "/opt/python3.12"))
    assert environment.find_interpreter("demo") == ((3, 12), "/opt/python3.12")


def test_shim_that_refuses_falls_back_to_what_pyenv_keeps(machine):
    machine("bin/python3.13", "exit 127")
    machine("bin/python3", prints("3 11"))
    machine("pyenv/versions/3.13.0/bin/python3.13", prints("3 13", "/opt/python3.13"))
    assert environment.find_interpreter("test") == ((3, 13), "/opt/python3.13")


def test_interpreter_without_venv_is_passed_over(machine):
    machine("bin/python3.13", "echo 'No module named ensurepip' >&2; exit 1")
    machine("bin/python3.11", prints("3 11"))
    assert environment.find_interpreter("test")[0] == (3, 11)


def test_second_pair_is_the_other_one(machine):
    machine("bin/python3.11", prints("3 11", "/opt/python3.11"))
    assert environment.find_interpreter("second") == ("3.12 or 3.13", None)
    machine("bin/python3.13", prints("3 13"))
    assert environment.find_interpreter("second") == ((3, 11), "/opt/python3.11")


def test_second_pair_that_is_not_installed_is_skipped(machine, capsys):
    machine("bin/python3.12", prints("3 12"))
    assert environment.main(["second", "-m", "pytest"]) == 0
    assert "skipped: this needs Python 3.11" in capsys.readouterr().out


def test_chosen_interpreter_comes_before_the_newest(machine, monkeypatch):
    machine("bin/python3.13", prints("3 13"))
    monkeypatch.setenv("PYTHON", machine("elsewhere/python", prints("3 11", "/opt/mine")))
    assert environment.find_interpreter("test") == ((3, 11), "/opt/mine")


def test_no_usable_python_is_an_error_that_names_what_was_tried(machine):
    machine("bin/python3", prints("3 9"))
    with pytest.raises(SystemExit, match="expected 3.11 or newer .* tried python3.13, python3.12, python3, python3.11"):
        environment.find_interpreter("demo")


def test_every_environment_has_its_pins_for_both_pairs():
    for kind in set(environment.PINS.values()):
        for pair in ("py311", "py312"):
            lines = environment.read(os.path.join(environment.ROOT, "requirements", f"{kind}-{pair}.txt")).splitlines()
            assert {line.split("==")[0] for line in lines if "==" in line} >= {"jax", "jaxlib", "numpy", "optax", "rich", "hatchling"}
