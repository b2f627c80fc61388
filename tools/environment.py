"""Run Python in one of the repository's own environments, and make that environment first if need be.

    python3 tools/environment.py NAME [arguments for Python]

NAME     folder        pins      package          Python
demo     .venv         demo-*    this tree        the newest that is installed
test     .venv-test    test-*    this tree        the newest that is installed; also for lint, benchmarks and builds
second   .venv-second  test-*    this tree        the other pair of Python and JAX; skipped where it is not installed
wheel    .venv-wheel   demo-*    dist/*.whl       the newest that is installed; made anew each time

Python 3.12 or newer gets the pins *-py312.txt (a newer JAX), Python 3.11 the pins *-py311.txt. PYTHON=... in the
process environment names the interpreter for all but `second`. An environment is kept until its pins or its
interpreter change: their hash is in its file `pins.stamp`. Needs nothing but the standard library, and runs on
older versions of Python than the package does, so that it can look for a newer one.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = {"demo": ".venv", "test": ".venv-test", "second": ".venv-second", "wheel": ".venv-wheel"}
PINS = {"demo": "demo", "test": "test", "second": "test", "wheel": "demo"}
NEWEST_FIRST = ("python3.13", "python3.12", "python3", "python3.11")
# Says the version and the path, and fails where an environment could not be made (Debian ships venv apart).
# In an active environment the base executable is the Python that the environment was made from.
PROBE = "import sys, venv, ensurepip; print(*sys.version_info[:2]); print(getattr(sys, '_base_executable', sys.executable))"


def main(arguments):
    if not arguments or arguments[0] not in FOLDERS:
        sys.exit(__doc__)
    name, rest = arguments[0], arguments[1:]
    version, interpreter = find_interpreter(name)
    if interpreter is None:
        print(f"skipped: this needs Python {version}, which was not found")
        return 0
    python = make_environment(name, version, interpreter)
    return subprocess.call([python, *rest]) if rest else 0


def find_interpreter(name):
    """The version, as a pair of numbers, and the path; for `second` the wanted version as text and maybe None."""
    first = find_first()
    if name != "second":
        return first
    names, wanted = (("python3.11",), "3.11") if first[0] >= (3, 12) else (("python3.13", "python3.12"), "3.12 or 3.13")
    return next(candidates(names), (wanted, None))


def find_first():
    names = (os.environ["PYTHON"],) if os.environ.get("PYTHON") else NEWEST_FIRST
    for version, path in candidates(names):
        if version >= (3, 11):
            return version, path
    sys.exit(f"No usable Python: expected 3.11 or newer with venv and ensurepip, tried {', '.join(names)}. PYTHON=... names another.")


def candidates(names):
    """Version and path of each interpreter of these names that runs."""
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for name in names:
        # pyenv's shim may be on the PATH and refuse, so the versions that pyenv keeps are tried as well.
        for path in [shutil.which(name), *sorted(glob.glob(os.path.join(pyenv, "versions", "*", "bin", name)), reverse=True)]:
            found = probe(path) if path else None
            if found:
                yield found


def probe(path):
    try:
        result = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if result.returncode != 0:
        return None
    version, executable = result.stdout.splitlines()
    major, minor = version.split()
    return (int(major), int(minor)), executable


def make_environment(name, version, interpreter):
    """Make or update the environment, and return the path of its Python."""
    folder = os.path.join(ROOT, FOLDERS[name])
    pins = os.path.join(ROOT, "requirements", f"{PINS[name]}-{'py312' if version >= (3, 12) else 'py311'}.txt")
    python = os.path.join(folder, "Scripts" if os.name == "nt" else "bin", "python")
    pins_stamp, package_stamp = os.path.join(folder, "pins.stamp"), os.path.join(folder, "package.stamp")
    pins_hash = digest(read(pins), interpreter)
    if name == "wheel" or content(pins_stamp) != pins_hash:
        print(f"Making {FOLDERS[name]} with {interpreter} and {os.path.relpath(pins, ROOT)}", flush=True)
        run([interpreter, "-m", "venv", "--clear", folder])
        # Without --no-compile, pip compiles every file of every package; Python does it for those that are imported.
        install(python, "--no-compile", "-r", pins)
        write(pins_stamp, pins_hash)
    package_hash = digest(read(os.path.join(ROOT, "pyproject.toml")), ROOT)
    if content(package_stamp) != package_hash:
        if name == "wheel":
            (wheel,) = glob.glob(os.path.join(ROOT, "dist", "*.whl"))
            install(python, "--no-deps", wheel)
        else:
            # hatchling is among the pins: no isolated build that would fetch another one.
            install(python, "--no-deps", "--no-build-isolation", "-e", ROOT)
        run([python, "-m", "pip", "--quiet", "check"])
        write(package_stamp, package_hash)
    return python


def install(python, *arguments):
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def run(command):
    status = subprocess.call(command)
    if status != 0:
        sys.exit(f"failed with exit status {status}: {' '.join(command)}")


def digest(*texts):
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def content(path):
    return read(path) if os.path.exists(path) else None


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
