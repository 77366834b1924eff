"""Settings come from the environment; a wrong one is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from mesh.settings import MeshSettings, load_settings

REQUIRED = {
    "MARQUEE_LISTEN": "127.0.0.1:50051",
    "MARQUEE_MONGODB_URI": "mongodb://db/?replicaSet=rs0",
    "MARQUEE_KAFKA_BOOTSTRAP": "kafka-0:9092, kafka-1:9092",
    "MARQUEE_AUTH_ISSUER": "https://issuer.example.org",
    "MARQUEE_AUTH_AUDIENCE": "marquee",
    "MARQUEE_AUTH_JWKS": "https://issuer.example.org/jwks.json",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MeshSettings.model_fields:
        monkeypatch.delenv(f"MARQUEE_{name.upper()}", raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def failure(capsys: pytest.CaptureFixture[str], kind: type[MeshSettings] = MeshSettings) -> str:
    with pytest.raises(SystemExit) as caught:
        load_settings(kind)
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("configuration error: MARQUEE_") or kind is not MeshSettings
    return str(line)


def test_what_is_required_is_enough() -> None:
    settings = load_settings(MeshSettings)
    assert settings.listen == "127.0.0.1:50051"
    assert settings.kafka_bootstrap == "kafka-0:9092,kafka-1:9092"
    assert settings.data_dir == Path(".marquee")
    assert settings.reflection


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_GRACE_SECONDS", "")
    monkeypatch.setenv("MARQUEE_OTLP_ENDPOINT", "")
    settings = load_settings(MeshSettings)
    assert settings.grace_seconds == 10
    assert settings.otlp_endpoint == ""


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_is_named(
    name: str,
    value: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    assert f"{name}: Field required" in failure(capsys)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LISTEN", "50051", "must be host:port"),
        ("LISTEN", ":50051", "must be host:port"),
        ("LISTEN", "host:65536", "must be host:port"),
        ("LISTEN", "host:²", "must be host:port"),
        ("MONGODB_URI", "localhost:27017", "must begin with mongodb://"),
        ("KAFKA_BOOTSTRAP", "kafka", "must be host:port["),
        ("KAFKA_BOOTSTRAP", "a:1,,b:2", "must be host:port["),
        ("OTLP_ENDPOINT", "localhost:4317", "must be http://host:port"),
        ("OTLP_METRICS_ENDPOINT", "http://", "must be http://host:port"),
        ("GRACE_SECONDS", "long", "valid number"),
        ("GRACE_SECONDS", "-1", "greater than or equal to 0"),
        ("DRAIN_SECONDS", "1000", "less than or equal to 120"),
        ("MAX_CONCURRENT_RPCS", "0", "greater than or equal to 1"),
        ("MAX_MESSAGE_BYTES", "1.5", "valid integer"),
        ("REFLECTION", "perhaps", "valid boolean"),
        ("AUTH_ISSUER", " ", "must not be blank"),
        ("AUTH_JWKS", "ftp://issuer/jwks", "must be http://… or https://… with a host"),
        ("AUTH_JWKS", "https:///jwks.json", "must be http://… or https://… with a host"),
        ("AUTH_JWKS", "https://host:port/", "must be http://… or https://… with a host"),
        ("AUTH_JWKS", "https://me:hunter2@issuer/", "must not hold credentials"),
        ("AUTH_JWKS", "http://issuer.example.org/jwks.json", "must be https://…, for http://…"),
        ("AUTH_JWKS", "HTTP://10.0.0.1/jwks.json", "MARQUEE_AUTH_ALLOW_HTTP=true"),
        ("AUTH_JWKS", "http://localhost.example.org/", "MARQUEE_AUTH_ALLOW_HTTP=true"),
        ("AUTH_JWKS", "http://[2001:db8::1]/", "MARQUEE_AUTH_ALLOW_HTTP=true"),
        ("AUTH_ALLOW_HTTP", "perhaps", "valid boolean"),
        ("PEER_TOKEN_URL", "http://issuer/token", "MARQUEE_AUTH_ALLOW_HTTP=true"),
        ("AUTH_CACHE_SECONDS", "0", "greater than 0"),
        ("AUTH_LEEWAY_SECONDS", "301", "less than or equal to 300"),
        ("PEER_TOKEN_URL", "issuer/token", "must be http://… or https://… with a host"),
        ("PEER_CLIENT_ID", "user", "is of no use without MARQUEE_PEER_TOKEN_URL"),
        ("PEER_CLIENT_SECRET_FILE", "/secret", "is of no use without MARQUEE_PEER_TOKEN_URL"),
        ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_what_is_wrong_is_named(
    name: str,
    value: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(f"MARQUEE_{name}", value)
    line = failure(capsys)
    assert f"MARQUEE_{name}: " in line
    assert says in line


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8000", "false"),
        ("127.1.2.3", "false"),
        ("[::1]:8000", "false"),
        ("localhost", "false"),
        ("issuer.example.org", "true"),
    ],
)
def test_http_on_this_machine_or_where_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, host: str, allowed: str
) -> None:
    monkeypatch.setenv("MARQUEE_AUTH_ALLOW_HTTP", allowed)
    monkeypatch.setenv("MARQUEE_AUTH_JWKS", f"http://{host}/keys")
    monkeypatch.setenv("MARQUEE_PEER_TOKEN_URL", f"http://{host}/token")
    monkeypatch.setenv("MARQUEE_PEER_CLIENT_ID", "user")
    monkeypatch.setenv("MARQUEE_PEER_CLIENT_SECRET_FILE", "/run/secrets/peer")
    settings = load_settings(MeshSettings)
    assert settings.auth_jwks == f"http://{host}/keys"
    assert settings.peer_token_url == f"http://{host}/token"


def test_client_credentials_are_whole_or_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARQUEE_PEER_TOKEN_URL", "https://issuer.example.org/token")
    line = failure(capsys)
    assert "MARQUEE_PEER_CLIENT_ID: must be set" in line
    assert "MARQUEE_PEER_CLIENT_SECRET_FILE: must be set" in line
    monkeypatch.setenv("MARQUEE_PEER_CLIENT_ID", "user")
    monkeypatch.setenv("MARQUEE_PEER_CLIENT_SECRET_FILE", "/run/secrets/peer")
    assert load_settings(MeshSettings).peer_client_id == "user"
    monkeypatch.setenv("MARQUEE_PEER_TOKEN_FILE", "/run/token")
    assert "MARQUEE_PEER_TOKEN_URL: must not be set beside" in failure(capsys)


def test_nothing_turns_authentication_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_JWKS"):
        monkeypatch.setenv(f"MARQUEE_{name}", "")
    line = failure(capsys)
    assert line.count("Field required") == 3


def test_all_that_is_wrong_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARQUEE_LISTEN", "here")
    monkeypatch.setenv("MARQUEE_MONGODB_URI", "secret")
    line = failure(capsys)
    assert "MARQUEE_LISTEN: " in line
    assert "MARQUEE_MONGODB_URI: " in line
    assert "secret" not in line


def test_a_composite_setting_that_is_no_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Settings(MeshSettings):
        weights: Annotated[dict[str, float], Field(default_factory=dict, description="w")]

    monkeypatch.setenv("MARQUEE_WEIGHTS", "{hunter2")
    line = failure(capsys, Settings)
    assert line.startswith("configuration error: ")
    assert "weights" in line
    assert "hunter2" not in line


def test_every_setting_is_described() -> None:
    assert all(field.description for field in MeshSettings.model_fields.values())


def test_settings_do_not_change() -> None:
    settings = load_settings(MeshSettings)
    with pytest.raises(ValueError, match="frozen"):
        settings.listen = "x:1"
