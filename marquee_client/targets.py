"""What the name of a target says about where its bytes go."""

from __future__ import annotations

import ipaddress
from typing import Final

_NAMED: Final = ("dns", "ipv4", "ipv6")
_LOCAL: Final = ("unix", "unix-abstract", "vsock")


def endpoints(target: str) -> list[tuple[str, int | None]]:
    """Splits a gRPC target into hosts and ports.

    Args:
        target: `host:port`, or a URI of the schemes dns, ipv4 and ipv6.

    Returns:
        One pair per address, the port None where the target names none. Empty for a target of
        another scheme.
    """
    scheme, colon, rest = target.partition(":")
    if colon and scheme in _NAMED:
        # dns://authority/host:port asks the authority for the host
        if rest.startswith("//"):
            rest = rest.removeprefix("//").partition("/")[2]
        return [_host_and_port(address) for address in rest.split(",")]
    if scheme in _LOCAL or "/" in target or not target:
        return []
    return [_host_and_port(target)]


def stays_on_this_machine(target: str) -> bool:
    """Tells whether whatever is sent to a target is sent to this machine.

    Args:
        target: A gRPC target. Names other than `localhost` may be anywhere.
    """
    scheme, colon, _ = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return True
    found = endpoints(target)
    return bool(found) and all(_is_loopback(host) for host, _ in found)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_and_port(address: str) -> tuple[str, int | None]:
    if address.startswith("["):
        host, _, port = address.removeprefix("[").partition("]")
        port = port.removeprefix(":")
    elif address.count(":") == 1:
        host, _, port = address.partition(":")
    else:
        host, port = address, ""
    return host, int(port) if port.isascii() and port.isdigit() else None
