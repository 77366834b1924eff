"""How the command ends when it cannot do what was asked."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


class CliError(Exception):
    """Something the person at the terminal can act on; `str(error)` is one line.

    Attributes:
        status: The exit status.
    """

    status = 1


def one_line(text: str) -> str:
    """Joins the lines of a message."""
    return " ".join(text.split())


def report(error: Exception) -> None:
    """Writes the one line of an error to standard error."""
    print(f"marquee: {one_line(str(error))}", file=sys.stderr)
