"""`marquee token`."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated

import typer

from cli.commands.options import DataDirOption, LifetimeOption, lifetime_of
from cli.errors import CliError
from cli.scopes import ALL, PERSON, SERVICE, checked_scopes
from devstack.issuer import Issuer
from devstack.state import DEFAULT_DIRECTORY, DataDirectory
from mesh.auth.caller import SERVICE_PREFIX
from mesh.ids import is_id

_OPERATOR = "operator"
# A token cannot be called back, and a stream that it began lives as long as it does.
_LONGEST = timedelta(hours=24)


def token(
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="A token for this user's own data.")
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A token for a backend that acts for any user."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may be used for, instead of the usual; may be repeated."),
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="With every scope; for a service, unless --user.")
    ] = False,
    lifetime: LifetimeOption = "1h",
    *,
    data_dir: DataDirOption = DEFAULT_DIRECTORY,
) -> int:
    """Print a development token.

    It is signed with the key of the stack in --data-dir, and only that stack accepts it. Nothing
    but the token goes to standard output: TOKEN=$(marquee token --user ada). It is good for 24
    hours at most.
    """
    subject = _subject(user, service, admin=admin)
    usual = ALL if admin else PERSON if service is None else SERVICE
    scopes = checked_scopes(scope) if scope else usual
    seconds = lifetime_of(lifetime, _LONGEST).total_seconds()
    issuer = Issuer(DataDirectory(data_dir).auth)
    # Not through rich: it would wrap the line.
    sys.stdout.write(issuer.mint(subject, scopes, seconds) + "\n")
    return 0


def _subject(user: str | None, service: str | None, *, admin: bool) -> str:
    if user is not None and service is not None:
        raise CliError("a token is for a --user or for a --service, not for both")
    if user is None and service is None:
        if not admin:
            raise CliError("whose token? Name a --user or a --service, or ask for --admin")
        service = _OPERATOR
    name = user if service is None else service
    if name is None or not is_id(name):
        raise CliError(f"{name!r} is not an id: 1 to 128 of A-Z a-z 0-9 . _ ~ -")
    return name if service is None else SERVICE_PREFIX + name
