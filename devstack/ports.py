"""Which port each component of the embedded stack listens on."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

from devstack.errors import DevstackError, PortInUseError

_HIGHEST_PORT = 65_535
_BETWEEN_REPLICAS = 10
_REPLICATED = ("user", "reco", "notify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One TCP port per component; the defaults are what the documentation shows.

    The port of a service is that of its first replica; each further one listens 10 above the one
    before, unless `replicas` has a port for its name.
    """

    edge: int = 8080
    edge_admin: int = 9901
    user: int = 50051
    reco: int = 50052
    notify: int = 50053
    mongodb: int = 27117
    kafka: int = 19092
    otlp: int = 14317
    replicas: Mapping[str, int] = field(default_factory=dict)
    """By the name of the replica, `reco-1`."""

    @classmethod
    def shifted(cls, offset: int, replicas: int = 1) -> Ports:
        """The defaults, each moved by `offset`, so that several stacks share a machine.

        Args:
            offset: How far; it may be negative.
            replicas: How many of each service there will be.

        Raises:
            DevstackError: The offset moves a port out of 1-65535.
        """
        moved = {name: port + offset for name, port in cls().by_name().items()}
        ports = cls(**moved, replicas={})
        last = {name: ports.of(name) for name in _replicas(replicas)}
        for name, port in {**moved, **last}.items():
            if not 0 < port <= _HIGHEST_PORT:
                raise DevstackError(
                    f"--port-offset {offset} moves the port of {name} to {port}, "
                    f"outside 1-{_HIGHEST_PORT}: choose a smaller offset"
                )
        return ports

    @classmethod
    def free(cls, host: str = "127.0.0.1", replicas: int = 1) -> Ports:
        """Ports that nobody used a moment ago, for tests and throw-away stacks.

        Args:
            host: Where they are to be bound.
            replicas: How many of each service there will be.
        """
        with ExitStack() as held:
            # All are held until the last is known: the kernel may hand out a released one twice.
            return cls(
                **{name: _free_port(host, held) for name in cls().by_name()},
                replicas={name: _free_port(host, held) for name in _replicas(replicas)},
            )

    def of(self, component: str) -> int:
        """The port of a component or of a replica, `reco-1`; envoy's is `edge`."""
        if component in self.replicas:
            return self.replicas[component]
        service, _, number = component.partition("-")
        above = int(number) * _BETWEEN_REPLICAS if number else 0
        return int(getattr(self, "edge" if service == "envoy" else service)) + above

    def by_name(self) -> dict[str, int]:
        """Every port but those of further replicas."""
        return {name: port for name, port in asdict(self).items() if name != "replicas"}


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


def _replicas(count: int) -> list[str]:
    """The names of all replicas but the first of each service."""
    return [f"{service}-{number}" for service in _REPLICATED for number in range(1, count)]


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
