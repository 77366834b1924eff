"""`marquee keys`."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.aio import run
from cli.commands.options import DataDirOption
from cli.terminal import make_console
from cli.views.text import cell, plain_table
from devstack.issuer import CACHE_S, SIGNS_AFTER_S, Issuer
from devstack.state import DEFAULT_DIRECTORY, DataDirectory

app = typer.Typer(
    help="The keys with which a development stack signs its tokens.",
    rich_markup_mode=None,
)


@app.command("list")
def list_keys(data_dir: DataDirOption = DEFAULT_DIRECTORY) -> int:
    """Show the keys whose tokens are accepted, oldest first."""
    issuer = _issuer(data_dir)
    table = plain_table()
    for heading in ("key", "made", "signs new tokens"):
        table.add_column(heading)
    for key in issuer.known_keys():
        made = datetime.fromtimestamp(key.made_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        table.add_row(cell(key.kid), made, "yes" if key.signs else "")
    make_console().print(table)
    return 0


@app.command()
def rotate(data_dir: DataDirOption = DEFAULT_DIRECTORY) -> int:
    """Make a new key and wait until it signs; the tokens of the others stay good.

    It is published first and signs a few seconds later, so that nobody ever meets a token whose
    key they do not know. Prints the name of the new key. May be done while the stack runs.
    """
    kid = _issuer(data_dir).rotate()
    print(f"published; it signs in {SIGNS_AFTER_S:g} s", file=sys.stderr)
    return run(_wait_and_print(kid))


@app.command()
def withdraw(
    kid: Annotated[str, typer.Argument(metavar="KEY", help="As `marquee keys list` names it.")],
    data_dir: DataDirOption = DEFAULT_DIRECTORY,
) -> int:
    """Delete a key, so that its tokens are refused.

    May be done while the stack runs, but not to the key that signs: rotate first.
    """
    _issuer(data_dir).withdraw(kid)
    print(f"withdrawn; its tokens are refused within {CACHE_S:g} s", file=sys.stderr)
    return 0


async def _wait_and_print(kid: str) -> int:
    await asyncio.sleep(SIGNS_AFTER_S)
    print(kid)
    return 0


def _issuer(data_dir: DataDirOption) -> Issuer:
    return Issuer(DataDirectory(data_dir).auth)
