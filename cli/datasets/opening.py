"""Finds out what a data set is and reads it."""

from __future__ import annotations

from pathlib import Path

from cli.datasets import csv_files, udata
from cli.datasets.atomic import find_interactions, read_atomic
from cli.datasets.errors import DatasetError
from cli.datasets.records import Dataset
from cli.datasets.wheel import ML_100K, find_ml_100k


def open_dataset(name: str) -> Dataset:
    """Reads a data set.

    Args:
        name: `ml-100k` (unless there is a directory of that name), the path of a directory in one
            of the formats, or the path of an `.inter` file.

    Raises:
        DatasetError: There is no such data set, its format is unknown, or rows cannot be read.
    """
    path = Path(name).expanduser()
    if name == ML_100K and not path.exists():
        return read_atomic(find_ml_100k())
    if path.is_file() and path.suffix == ".inter":
        return read_atomic(path)
    if path.is_dir():
        return _read_directory(path)
    if path.exists():
        raise DatasetError(f"{path} is neither a directory nor an .inter file")
    raise DatasetError(f"there is no data set {name!r}: give {ML_100K!r} or the path of one")


def _read_directory(directory: Path) -> Dataset:
    if (directory / csv_files.RATINGS).exists():
        return csv_files.read_csv_directory(directory)
    if (directory / udata.RATINGS).exists():
        return udata.read_udata_directory(directory)
    interactions = find_interactions(directory)
    if interactions is None:
        raise DatasetError(f"{directory} holds neither ratings.csv, nor u.data, nor an .inter file")
    return read_atomic(interactions)
