"""How a client recognises the mesh, and itself to the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of a TLS connection, in PEM. They are read when the connection is set up.

    Attributes:
        ca_file: Whose certificates are believed; None: those that gRPC brings along.
        cert_file: The client's own certificates, for servers that ask (mTLS); with `key_file`.
        key_file: The key of `cert_file`.
        server_name: The name the server's certificate must carry, if it is not the target's.
    """

    ca_file: Path | str | None = None
    cert_file: Path | str | None = None
    key_file: Path | str | None = None
    server_name: str = ""

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a client certificate needs both cert_file and key_file")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
            OSError: One of them cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.ca_file),
            private_key=_read(self.key_file),
            certificate_chain=_read(self.cert_file),
        )


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
