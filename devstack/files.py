"""Files that other processes read while this one writes them."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


def make_private_directory(path: Path) -> None:
    """Makes a directory, with its parents, that only this user may enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)  # also one that was made by somebody less careful


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Writes a file so that a reader sees the old content or the new one, never a part.

    Args:
        path: The file; its directory exists.
        content: What is to be in it.
        mode: Its permissions, from the first byte on.
    """
    # mkstemp makes files that nobody else may read; wider permissions come before the name does.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        Path(draft).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
        raise
