"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="ml-100k (MovieLens-100K from the recbole package), an .inter file, or a directory "
        "with RecBole atomic files, with ratings.csv and movies.csv, or with u.data and u.item.",
    ),
]
EdgeOption = Annotated[
    str | None,
    typer.Option(
        envvar="MARQUEE_EDGE",
        metavar="HOST:PORT",
        help="The edge of the mesh. Without it: that of the stack running in --data-dir.",
    ),
]
DataDirOption = Annotated[
    Path,
    typer.Option(file_okay=False, help="The data directory of the running stack."),
]
SeedOption = Annotated[
    int,
    typer.Option(min=0, max=2**32 - 1, help="The same seed makes the same choices."),
]
