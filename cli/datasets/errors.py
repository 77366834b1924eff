"""What is wrong with a data set, said in one line."""

from __future__ import annotations

from pathlib import Path

from cli.errors import CliError

_SHOWN = 3


class DatasetError(CliError):
    """A data set cannot be read; nothing of it was used."""


class Problems:
    """Collects the rows of one file that cannot be read, and raises them together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._first: list[str] = []

    def add(self, line: int, reason: str) -> None:
        """Notes a row; `line` counts from 1."""
        self._count += 1
        if len(self._first) < _SHOWN:
            self._first.append(f"line {line}: {reason}")

    def raise_if_any(self) -> None:
        """Ends the reading of the file.

        Raises:
            DatasetError: A row was noted; the message shows the first few and counts all.
        """
        if self._count:
            more = self._count - len(self._first)
            rest = f"; and {more:,} more" if more else ""
            raise DatasetError(
                f"{self._path}: {'; '.join(self._first)}{rest} - nothing of this data set was used"
            )
