"""The settings of TLS; the files they name are checked when the settings are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from mesh.tls.files import CertificateError, TlsFiles, read_authorities, read_chain, read_key

ResultT = TypeVar("ResultT")


class TlsSettings(BaseSettings):
    """Which certificates a service shows and whom it trusts. Files are in PEM form."""

    tls_cert_file: Annotated[
        Path | None,
        Field(description="the server's certificate and its intermediates; the port is TLS only"),
    ] = None
    tls_key_file: Annotated[
        Path | None, Field(validate_default=True, description="the key of tls_cert_file")
    ] = None
    tls_client_ca_file: Annotated[
        Path | None,
        Field(description="clients must show a certificate that one of these authorities signed"),
    ] = None
    peer_ca_file: Annotated[
        Path | None,
        Field(description="peers are called by TLS and must be certified by these authorities"),
    ] = None
    peer_cert_file: Annotated[
        Path | None, Field(description="the certificate that is shown to peers")
    ] = None
    peer_key_file: Annotated[
        Path | None, Field(validate_default=True, description="the key of peer_cert_file")
    ] = None

    @property
    def server_tls(self) -> TlsFiles | None:
        """The files of the server; None: it speaks plain text."""
        if self.tls_cert_file is None:
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)

    @property
    def peer_tls(self) -> TlsFiles | None:
        """The files of channels to peers; None: peers are called in plain text."""
        if self.peer_ca_file is None:
            return None
        return TlsFiles(self.peer_cert_file, self.peer_key_file, self.peer_ca_file)

    @field_validator("tls_cert_file", "peer_cert_file")
    @classmethod
    def _certificate_is_usable(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            if info.field_name == "peer_cert_file":
                _require(info, "peer_ca_file")
            _checked(lambda: read_chain(value))
        return value

    @field_validator("tls_key_file", "peer_key_file")
    @classmethod
    def _key_belongs_to_the_certificate(
        cls, value: Path | None, info: ValidationInfo
    ) -> Path | None:
        name = str(info.field_name).replace("key", "cert")
        if value is not None:
            _require(info, name)
        certificate = info.data.get(name)
        if certificate is not None:
            if value is None:
                raise ValueError(f"must be set, for {_variable(name)} is")
            _checked(lambda: read_key(value, read_chain(certificate)))
        return value

    @field_validator("tls_client_ca_file", "peer_ca_file")
    @classmethod
    def _authorities_are_usable(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            if info.field_name == "tls_client_ca_file":
                _require(info, "tls_cert_file")
            _checked(lambda: read_authorities(value))
        return value


def _require(info: ValidationInfo, name: str) -> None:
    """Another field must be set; one that is wrong itself is missing from the data."""
    if info.data.get(name, ...) is None:
        raise ValueError(f"is of no use without {_variable(name)}")


def _checked(read: Callable[[], ResultT]) -> ResultT:
    """Reads a file; its name is not repeated, it could be a key put there by mistake."""
    try:
        return read()
    except CertificateError as error:
        raise ValueError(error.problem) from None


def _variable(name: str) -> str:
    return f"MARQUEE_{name.upper()}"
