"""Where the mesh is that a command talks to, what it shows there, and whom it trusts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError
from cli.tokens import TOKEN_VARIABLE, StackTokens, Tokens, given_tokens
from devstack.issuer import Issuer
from devstack.stack import Stack
from devstack.state import CallerTls, DataDirectory, StackInfo, find_stack
from marquee_client.targets import stays_on_this_machine
from mesh.tls.files import TlsFiles


@dataclass(frozen=True, slots=True)
class Edge:
    """The entrance of a mesh.

    Attributes:
        address: host:port.
        tokens: What is shown there.
        tls: Whom to trust and which certificate to show; None: it speaks plain text.
    """

    address: str
    tokens: Tokens
    tls: TlsFiles | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What a person says about a mesh; None for what they leave open.

    Attributes:
        edge: host:port; None: the stack that runs in the data directory.
        data_dir: That of a stack, which also signs the tokens for its own edge.
        token_file: A file that holds a token.
        ca_file: The authorities of the edge's certificate; None: plain text, or what the stack
            says of itself.
        cert_file: A certificate to show.
        key_file: Its key.
    """

    edge: str | None
    data_dir: Path
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def find_edge(entry: Entry) -> Edge:
    """Finds the edge to talk to, a token for it, and its authority.

    Raises:
        CliError: What is said is not host:port, there is no token for it, or the token would leave
            this machine in the clear.
        DevstackError: Nothing is said and no stack runs there.
    """
    tokens = given_tokens(entry.token_file)
    if entry.edge:
        address = checked_address(entry.edge)
        stack = _stack_at(address, entry.data_dir)
    else:
        stack = find_stack(entry.data_dir)
        address = stack.endpoints.edge
    if tokens is None:
        if stack is None:
            raise CliError(
                f"there is no token for the mesh at {address}: set {TOKEN_VARIABLE}, "
                "or name a file that holds one with --token-file or MARQUEE_TOKEN_FILE"
            )
        tokens = StackTokens(Issuer(DataDirectory(entry.data_dir).auth))
    tls = _given_tls(entry) or _tls_of(stack)
    if tls is None and not stays_on_this_machine(address):
        raise CliError(
            f"a token would travel to {address} in the clear: name the authority of the edge's "
            "certificate with --ca-file or MARQUEE_CA_FILE"
        )
    return Edge(address, tokens, tls)


def edge_of(stack: Stack) -> Edge:
    """The edge of a stack that this process runs."""
    return Edge(stack.endpoints.edge, StackTokens(stack.issuer), _tls_of(stack.info))


def checked_address(edge: str) -> str:
    """Returns the address of an edge as it was given.

    Raises:
        CliError: It is not host:port.
    """
    host, _, port = edge.rpartition(":")
    if not host or "/" in edge or not (port.isdigit() and 0 < int(port) < 65_536):
        raise CliError(f"{edge!r} is not the address of an edge: give host:port")
    return edge


def _stack_at(address: str, data_dir: Path) -> StackInfo | None:
    info = DataDirectory(data_dir).running()
    return info if info is not None and info.endpoints.edge == address else None


def _given_tls(entry: Entry) -> TlsFiles | None:
    if (entry.cert_file is None) != (entry.key_file is None):
        raise CliError("a certificate and its key go together: --cert-file with --key-file")
    if entry.ca_file is None:
        if entry.cert_file is not None:
            raise CliError("--cert-file is for TLS: name the authority of the edge with --ca-file")
        return None
    return TlsFiles(entry.cert_file, entry.key_file, entry.ca_file)


def _tls_of(stack: StackInfo | None) -> TlsFiles | None:
    tls: CallerTls | None = stack.tls if stack else None
    if tls is None:
        return None
    return TlsFiles(Path(tls.certificate), Path(tls.key), Path(tls.ca))
