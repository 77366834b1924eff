"""The settings of tokens: whose are taken from callers, and which are shown to peers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from mesh.auth.keys import STALE_FACTOR
from mesh.loopback import is_loopback


class AuthSettings(BaseSettings):
    """Which tokens a service takes, and where its own come from.

    Nothing turns authentication off. Authorities of https addresses are the system's; SSL_CERT_FILE
    names others.
    """

    auth_allow_http: Annotated[
        bool,
        Field(
            description="whether auth_jwks and peer_token_url may be http://… on another machine: "
            "only where something else, such as a sidecar, encrypts the connection"
        ),
    ] = False
    auth_issuer: Annotated[str, Field(description="the `iss` that callers' tokens must carry")]
    auth_audience: Annotated[
        str, Field(description="the `aud` that callers' tokens must carry, perhaps among others")
    ]
    auth_jwks: Annotated[
        str,
        Field(
            description="where the issuer's public keys are: a file, followed when it changes, or "
            "an http(s) URL"
        ),
    ]
    auth_cache_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=3600,
            description="how long published keys are believed: a withdrawn one is refused within "
            f"this time; while they cannot be had, the last ones serve {STALE_FACTOR} times as "
            "long",
        ),
    ] = 60.0
    auth_leeway_seconds: Annotated[
        float,
        Field(ge=0, le=300, description="how far the issuer's clock may be from this one's"),
    ] = 30.0
    peer_token_file: Annotated[
        Path | None,
        Field(description="holds the token shown to peers; read again when it changes"),
    ] = None
    peer_token_url: Annotated[
        str,
        Field(
            validate_default=True,
            description="instead of peer_token_file: the token endpoint of the issuer, for OAuth "
            "2.0 client credentials",
        ),
    ] = ""
    peer_client_id: Annotated[
        str, Field(validate_default=True, description="this service's name at peer_token_url")
    ] = ""
    peer_client_secret_file: Annotated[
        Path | None,
        Field(validate_default=True, description="holds this service's secret at peer_token_url"),
    ] = None

    @field_validator("auth_issuer", "auth_audience", "auth_jwks")
    @classmethod
    def _is_not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value

    @field_validator("auth_jwks", "peer_token_url")
    @classmethod
    def _url_is_usable(cls, value: str, info: ValidationInfo) -> str:
        if value and (info.field_name == "peer_token_url" or "://" in value):
            _ensure_address(value, allow_http=info.data.get("auth_allow_http", True))
        return value

    @field_validator("peer_token_url")
    @classmethod
    def _there_is_one_source(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("peer_token_file") is not None:
            raise ValueError("must not be set beside MARQUEE_PEER_TOKEN_FILE")
        return value

    @field_validator("peer_client_id", "peer_client_secret_file")
    @classmethod
    def _credentials_are_whole(
        cls, value: str | Path | None, info: ValidationInfo
    ) -> str | Path | None:
        url = info.data.get("peer_token_url")  # missing: it is wrong itself
        if url and not value:
            raise ValueError("must be set, for MARQUEE_PEER_TOKEN_URL is")
        if url == "" and value:
            raise ValueError("is of no use without MARQUEE_PEER_TOKEN_URL")
        return value


def _ensure_address(url: str, *, allow_http: bool) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be http://… or https://… with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials")
    if parts.scheme == "http" and not allow_http and not is_loopback(str(parts.hostname)):
        raise ValueError(
            "must be https://…, for http://… leaves this machine in the clear; set "
            "MARQUEE_AUTH_ALLOW_HTTP=true where something else encrypts the connection"
        )
