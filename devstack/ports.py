"""Which port each component of the embedded stack listens on."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields

from devstack.errors import DevstackError, PortInUseError

_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One TCP port per component; the defaults are what the documentation shows."""

    edge: int = 8080
    edge_admin: int = 9901
    user: int = 50051
    reco: int = 50052
    notify: int = 50053
    mongodb: int = 27117
    kafka: int = 19092
    otlp: int = 14317

    @classmethod
    def shifted(cls, offset: int) -> Ports:
        """The defaults, each moved by `offset`, so that several stacks share a machine.

        Raises:
            DevstackError: The offset moves a port out of 1-65535.
        """
        moved = {name: port + offset for name, port in asdict(cls()).items()}
        for name, port in moved.items():
            if not 0 < port <= _HIGHEST_PORT:
                raise DevstackError(
                    f"--port-offset {offset} moves the port of {name} to {port}, "
                    f"outside 1-{_HIGHEST_PORT}: choose a smaller offset"
                )
        return cls(**moved)

    @classmethod
    def free(cls, host: str = "127.0.0.1") -> Ports:
        """Ports that nobody used a moment ago, for tests and throw-away stacks."""
        with ExitStack() as held:
            # All are held until the last is known: the kernel may hand out a released one twice.
            return cls(**{field.name: _free_port(host, held) for field in fields(cls)})

    def of(self, component: str) -> int:
        """The port of a component; envoy's is `edge`."""
        return int(getattr(self, "edge" if component == "envoy" else component))


def ensure_free(ports: Ports, components: Iterable[str], host: str) -> None:
    """Checks that every port the given components will listen on can be bound.

    Args:
        ports: The ports of the stack.
        components: Names of the components that will be started.
        host: The address they will bind.

    Raises:
        PortInUseError: The first port, in the order given, that somebody else holds.
    """
    for component in components:
        wanted = [(component, host, ports.of(component))]
        if component == "envoy":
            wanted.append(("envoy admin", "127.0.0.1", ports.edge_admin))
        for label, address, port in wanted:
            if not _can_bind(address, port):
                raise PortInUseError(label, address, port)


def _free_port(host: str, held: ExitStack) -> int:
    probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    probe.bind((host, 0))
    return int(probe.getsockname()[1])


def _can_bind(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: connections of an earlier run in TIME_WAIT do not count as "in use".
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
