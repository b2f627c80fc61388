"""``python -m pellucid script.py`` runs a Keras script on Pellucid."""

import pathlib
import runpy
import sys

import pellucid

USAGE = "usage: python -m pellucid script.py [its arguments]\nRuns a script that imports keras, with Pellucid in Keras's place."


def main() -> None:
    """Runs the script named on the command line with ``keras`` meaning Pellucid."""
    asked = sys.argv[1:2] in (["-h"], ["--help"])
    if asked or len(sys.argv) < 2:
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 1)
    if not pathlib.Path(sys.argv[1]).exists():
        sys.exit(f"python -m pellucid: there is no file {sys.argv[1]!r}")
    pellucid.install_as_keras()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(pathlib.Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
