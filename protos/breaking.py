"""Checks with buf that the contracts break nobody who uses those of the main branch.

Usage: python protos/breaking.py [REVISION]

REVISION is the commit to compare with; without it, where this branch left `origin/main` or `main`,
or, on main itself, the commit before.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _git(*arguments: str) -> str:
    result = subprocess.run(  # noqa: S603  # fixed arguments
        ["git", *arguments],  # noqa: S607  # git is found where the user has it
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() if result.returncode == 0 else ""


def base_revision() -> str:
    """Returns the commit to compare with, or an empty string if there is none."""
    head = _git("rev-parse", "HEAD")
    for branch in ("origin/main", "main"):
        base = _git("merge-base", branch, "HEAD")
        if base and base != head:
            return base
    return _git("rev-parse", "HEAD~1")


def main() -> None:
    """The command line."""
    revision = sys.argv[1] if len(sys.argv) > 1 else base_revision()
    if not revision or not _git("ls-tree", revision, "buf.yaml"):
        print("breaking: there are no earlier contracts to compare with")
        return
    command = ["buf", "breaking", "--against", f".git#ref={revision}"]
    print(" ".join(command))
    sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)  # noqa: S603  # as above


if __name__ == "__main__":
    main()
