"""`marquee cert`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.options import DataDirOption, LifetimeOption, lifetime_of
from cli.errors import CliError
from devstack.certificates import Authority
from devstack.state import DEFAULT_DIRECTORY, DataDirectory
from mesh.ids import is_id

_CLIENTS = "clients"


def cert(
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose certificate it is.")],
    lifetime: LifetimeOption = "30d",
    data_dir: DataDirOption = DEFAULT_DIRECTORY,
) -> int:
    """Issue a client's certificate, for a stack that runs with --mtls.

    It is signed by the authority of the stack in --data-dir. Prints the paths of the certificate
    and of its key, one on each line.
    """
    if not is_id(name) or name.startswith("."):
        raise CliError(f"{name!r} cannot be the name of a certificate: A-Z a-z 0-9 . _ ~ -")
    authority = Authority(DataDirectory(data_dir).tls)
    leaf = authority.issue(f"{_CLIENTS}/{name}", (), lifetime_of(lifetime))
    print(leaf.certificate)
    print(leaf.key)
    return 0
