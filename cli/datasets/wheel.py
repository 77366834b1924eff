"""MovieLens-100K as it ships inside the recbole wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from cli.datasets.errors import DatasetError

ML_100K = "ml-100k"
_INSTALL = "pip install --no-deps recbole==1.2.1"


def find_ml_100k() -> Path:
    """Returns the data set's `.inter` file, without importing recbole (which needs PyTorch).

    Raises:
        DatasetError: recbole is not installed, or does not contain the file.
    """
    spec = find_spec("recbole")
    if spec is None:
        raise DatasetError(
            f"{ML_100K} comes with the recbole package, which is not installed: {_INSTALL}"
        )
    for root in spec.submodule_search_locations or ():
        path = Path(root) / "dataset_example" / ML_100K / f"{ML_100K}.inter"
        if path.exists():
            return path
    raise DatasetError(f"the installed recbole holds no {ML_100K}: {_INSTALL}")
