"""Where the mesh is that a command talks to, and what the command shows there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError
from cli.tokens import TOKEN_VARIABLE, StackTokens, Tokens, given_tokens
from devstack.issuer import Issuer
from devstack.stack import Stack
from devstack.state import DataDirectory, find_stack


@dataclass(frozen=True, slots=True)
class Edge:
    """The entrance of a mesh.

    Attributes:
        address: host:port.
        tokens: What is shown there.
    """

    address: str
    tokens: Tokens


def find_edge(edge: str | None, data_dir: Path, token_file: Path | None = None) -> Edge:
    """Finds the edge to talk to and a token for it.

    Args:
        edge: What --edge or MARQUEE_EDGE says, if anything.
        data_dir: Otherwise: the data directory of the running stack. It also signs the tokens for
            its own edge, unless others are given.
        token_file: What --token-file or MARQUEE_TOKEN_FILE says, if anything.

    Raises:
        CliError: What is said is not host:port, or there is no token for it.
        DevstackError: Nothing is said and no stack runs there.
    """
    given = given_tokens(token_file)
    if not edge:
        return Edge(find_stack(data_dir).endpoints.edge, given or _signed_in(data_dir))
    address = checked_address(edge)
    if given is None:
        local = DataDirectory(data_dir).running()
        if local is None or local.endpoints.edge != address:
            raise CliError(
                f"there is no token for the mesh at {address}: set {TOKEN_VARIABLE}, "
                "or name a file that holds one with --token-file or MARQUEE_TOKEN_FILE"
            )
        given = _signed_in(data_dir)
    return Edge(address, given)


def edge_of(stack: Stack) -> Edge:
    """The edge of a stack that this process runs."""
    return Edge(stack.endpoints.edge, StackTokens(stack.issuer))


def checked_address(edge: str) -> str:
    """Returns the address of an edge as it was given.

    Raises:
        CliError: It is not host:port.
    """
    host, _, port = edge.rpartition(":")
    if not host or "/" in edge or not (port.isdigit() and 0 < int(port) < 65_536):
        raise CliError(f"{edge!r} is not the address of an edge: give host:port")
    return edge


def _signed_in(data_dir: Path) -> Tokens:
    return StackTokens(Issuer(DataDirectory(data_dir).auth))
