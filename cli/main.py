"""The entry point."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from cli.errors import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line; without arguments it shows the help.

    Args:
        arguments: Without the name of the program; None: those of this process.

    Raises:
        SystemExit: Always, with the status of `cli.application.run`.
    """
    try:
        # It takes a second to load, in which an impatient Ctrl-C is no reason for a traceback.
        from cli.application import run  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(given or ["--help"]))
