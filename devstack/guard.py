"""Runs a command that dies with its parent: `python guard.py PARENT_PID COMMAND...`.

It is a program of its own rather than a `preexec_fn`, because code that runs between fork and
exec in a process with threads (gRPC has many) may deadlock. The kernel keeps the death signal
across exec. On systems without prctl the command runs without that protection.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Arms the parent-death signal and becomes the command."""
    parent = int(arguments[0])
    command = arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the stack ended before this component could start")
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
