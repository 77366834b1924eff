"""Which hosts are this machine."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Tells whether whatever is sent to a host stays on this machine.

    Args:
        host: An address without brackets, or a name; names other than `localhost` may be anywhere.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
