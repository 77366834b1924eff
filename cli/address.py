"""Where the mesh is that a command talks to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError
from devstack.state import find_stack


@dataclass(frozen=True, slots=True)
class Target:
    """A mesh.

    Attributes:
        edge: host:port of its edge.
        otlp: Where this command sends its spans, `http://host:port`; empty: nowhere.
    """

    edge: str
    otlp: str


def find_target(edge: str | None, data_dir: Path) -> Target:
    """Finds the mesh to talk to.

    Args:
        edge: What --edge or MARQUEE_EDGE says, if anything.
        data_dir: Otherwise: the data directory of the running stack.

    Raises:
        CliError: The address is not host:port.
        DevstackError: No address is given and no stack runs there.
    """
    otlp = os.environ.get("MARQUEE_OTLP_ENDPOINT", "")
    if edge:
        _check(edge)
        return Target(edge, otlp)
    endpoints = find_stack(data_dir).endpoints
    return Target(endpoints.edge, otlp or endpoints.otlp)


def _check(edge: str) -> None:
    host, _, port = edge.rpartition(":")
    if not host or "/" in edge or not (port.isdigit() and 0 < int(port) < 65_536):
        raise CliError(f"{edge!r} is not the address of an edge: give host:port")
