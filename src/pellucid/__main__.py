"""``python -m pellucid script.py`` runs a Keras script on Pellucid; ``python -m pellucid COMMAND`` is the command ``pellucid``."""

import sys

from pellucid import cli


def main() -> None:
    """Runs the script or the command that is named first."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] not in (*cli.commands(), "-h", "--help"):
        arguments = ["run", *arguments]
    sys.exit(cli.main(arguments))


if __name__ == "__main__":
    main()
