"""Settings, read from MARQUEE_* variables of the environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict, SettingsError

from mesh.auth.settings import AuthSettings
from mesh.tls.settings import TlsSettings

PREFIX = "MARQUEE_"


class MeshSettings(AuthSettings, TlsSettings):
    """What every service needs to know. Each field is read from MARQUEE_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

    listen: Annotated[str, Field(description="host:port on which gRPC is served")]
    mongodb_uri: Annotated[
        str,
        Field(repr=False, description="MongoDB connection string; must name a replica set member"),
    ]
    kafka_bootstrap: Annotated[str, Field(description="Kafka bootstrap servers, host:port[,…]")]
    kafka_session_timeout_ms: Annotated[
        int, Field(ge=1000, le=300_000, description="how soon a dead consumer is noticed, ms")
    ] = 30_000
    otlp_endpoint: Annotated[
        str, Field(description="OTLP/gRPC endpoint for traces, http://host:port; empty: off")
    ] = ""
    otlp_metrics_endpoint: Annotated[
        str, Field(description="OTLP/gRPC endpoint for metrics, http://host:port; empty: off")
    ] = ""
    instance_id: Annotated[
        str,
        Field(min_length=1, description="names this replica; the same again after its restart"),
    ] = "local"
    data_dir: Annotated[Path, Field(description="where the service may keep files")] = Path(
        ".marquee"
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(description="least severity logged")
    ] = "INFO"
    reflection: Annotated[bool, Field(description="whether gRPC reflection is served")] = True
    drain_seconds: Annotated[
        float,
        Field(ge=0, le=120, description="how long health says NOT_SERVING before connections end"),
    ] = 3.0  # the edge checks each second and waits a second for the answer
    grace_seconds: Annotated[
        float, Field(ge=0, le=120, description="how long calls under way may take at the end")
    ] = 10.0
    max_message_bytes: Annotated[
        int, Field(ge=65_536, description="largest gRPC message taken or sent")
    ] = 8 * 1024 * 1024
    max_concurrent_rpcs: Annotated[
        int, Field(ge=1, description="calls served at once before RESOURCE_EXHAUSTED")
    ] = 1000
    max_streams: Annotated[
        int, Field(ge=1, description="live streams served at once, apart from the calls")
    ] = 1000
    max_calls_per_user: Annotated[
        int, Field(ge=1, description="calls and live streams that one person may have under way")
    ] = 100

    @field_validator("listen")
    @classmethod
    def _listen_is_host_and_port(cls, value: str) -> str:
        if not _is_host_and_port(value):
            raise ValueError("must be host:port, for example 0.0.0.0:50051")
        return value

    @field_validator("kafka_bootstrap")
    @classmethod
    def _kafka_bootstrap_names_servers(cls, value: str) -> str:
        servers = [server.strip() for server in value.split(",")]
        if not all(_is_host_and_port(server) for server in servers):
            raise ValueError(
                "must be host:port[,host:port…], for example kafka-0:9092,kafka-1:9092"
            )
        return ",".join(servers)

    @field_validator("otlp_endpoint", "otlp_metrics_endpoint")
    @classmethod
    def _otlp_endpoint_is_a_url(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        if value and not (scheme in {"http", "https"} and rest):
            raise ValueError("must be http://host:port or https://host:port, or empty")
        return value

    @field_validator("mongodb_uri")
    @classmethod
    def _mongodb_uri_has_its_scheme(cls, value: str) -> str:
        if not value.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("must begin with mongodb:// or mongodb+srv://")
        return value


SettingsT = TypeVar("SettingsT", bound=MeshSettings)


def _is_host_and_port(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and int(port) < 65_536


def load_settings(kind: type[SettingsT]) -> SettingsT:
    """Reads the settings of a service, or ends the process with one clear line on standard error.

    Raises:
        SystemExit: A variable is missing or wrong; status 2.
    """
    try:
        return kind()  # type: ignore[call-arg]  # the fields come from the environment
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{'_'.join(str(part) for part in problem['loc']).upper()}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False)
        )
    except SettingsError as error:
        # A field of a composite type whose variable is not JSON; the cause may quote its value.
        problems = str(error)
    print(f"configuration error: {problems}", file=sys.stderr)
    raise SystemExit(2)
