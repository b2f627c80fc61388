"""``python -m pellucid script.py`` runs a Keras script on Pellucid."""

import pathlib
import runpy
import sys

import pellucid


def main() -> None:
    """Runs the script named on the command line with ``keras`` meaning Pellucid."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit("usage: python -m pellucid script.py [its arguments]\nRuns a script that imports keras, with Pellucid in Keras's place.")
    pellucid.install_as_keras()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(pathlib.Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
