"""Options that several commands share."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CliError

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
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="MARQUEE_TOKEN_FILE",
        dir_okay=False,
        help="A file that holds a token for the mesh; read again when it changes. Without it: the "
        "token in MARQUEE_TOKEN, or one signed by the stack running in --data-dir.",
    ),
]
CaFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="MARQUEE_CA_FILE",
        dir_okay=False,
        help="The authorities (PEM) that certify the edge; it is then called by TLS. Without it: "
        "as the stack running in --data-dir asks for it.",
    ),
]
CertFileOption = Annotated[
    Path | None,
    typer.Option(
        envvar="MARQUEE_CERT_FILE",
        dir_okay=False,
        help="A certificate (PEM) for an edge that asks for one.",
    ),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(envvar="MARQUEE_KEY_FILE", dir_okay=False, help="The key of --cert-file."),
]
DataDirOption = Annotated[
    Path,
    typer.Option(file_okay=False, help="The data directory of the running stack."),
]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=30)

LifetimeOption = Annotated[
    str, typer.Option(metavar="TIME", help="How long it is good for, such as 90s, 15m, 1h.")
]
SeedOption = Annotated[
    int,
    typer.Option(min=0, max=2**32 - 1, help="The same seed makes the same choices."),
]


def lifetime_of(text: str, longest: timedelta = _LONGEST) -> timedelta:
    """Reads a `LifetimeOption`.

    Args:
        text: What a person wrote.
        longest: The longest that is allowed, in whole hours.

    Raises:
        CliError: It is no time, or a longer one.
    """
    match = re.fullmatch(r"([0-9]{1,8})([smhd])", text)
    value = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < value <= longest:
        most = f"{longest.days}d" if longest.days > 1 else f"{longest // timedelta(hours=1)}h"
        raise CliError(f"--lifetime {text!r}: write for example 90s, 15m or 1h; at most {most}")
    return value
