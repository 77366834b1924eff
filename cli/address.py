"""Where the mesh is that a command talks to."""

from __future__ import annotations

from pathlib import Path

from cli.errors import CliError
from devstack.state import find_stack


def find_edge(edge: str | None, data_dir: Path) -> str:
    """Finds the edge to talk to.

    Args:
        edge: What --edge or MARQUEE_EDGE says, if anything.
        data_dir: Otherwise: the data directory of the running stack.

    Returns:
        host:port.

    Raises:
        CliError: What is said is not host:port.
        DevstackError: Nothing is said and no stack runs there.
    """
    return checked_address(edge) if edge else find_stack(data_dir).endpoints.edge


def checked_address(edge: str) -> str:
    """Returns the address of an edge as it was given.

    Raises:
        CliError: It is not host:port.
    """
    host, _, port = edge.rpartition(":")
    if not host or "/" in edge or not (port.isdigit() and 0 < int(port) < 65_536):
        raise CliError(f"{edge!r} is not the address of an edge: give host:port")
    return edge
