"""Text files line by line, with the place of whatever cannot be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cli.datasets.errors import DatasetError


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Yields the lines of a file with their line ends, without a byte order mark.

    Raises:
        DatasetError: The file cannot be opened, or a line is not text of that encoding.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode(encoding)
                except UnicodeDecodeError as error:
                    raise DatasetError(
                        f"{path}: line {number}: byte {error.start + 1} is not {encoding}"
                        " - nothing of this data set was used"
                    ) from error
                yield text.removeprefix("\ufeff") if number == 1 else text
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
