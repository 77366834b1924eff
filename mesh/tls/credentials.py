"""Credentials of gRPC: TLS 1.2 or 1.3, which is what gRPC speaks by itself."""

from __future__ import annotations

import grpc

from mesh.tls.files import Material
from mesh.tls.watch import CertificateWatch


def server_credentials(watch: CertificateWatch) -> grpc.ServerCredentials:
    """Makes credentials of a server that follow a watch.

    Each new connection is shown what is in use at that moment; those that exist go on. If the
    watch has authorities when this is called, clients must show a certificate signed by one of
    them.

    Args:
        watch: Has a certificate.
    """
    served = watch.material

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Called before each handshake, in a thread of gRPC's and under a lock of gRPC's: it must
        # be quick. None leaves what was returned last.
        nonlocal served
        material = watch.material
        if material is served:
            return None
        served = material
        return _configuration(material)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(served),
        fetch,  # type: ignore[arg-type]  # the stubs do not know that it may return None
        require_client_authentication=served.authorities is not None,
    )


def channel_credentials(material: Material) -> grpc.ChannelCredentials:
    """Makes credentials of a channel; without authorities, those of the system are trusted."""
    return grpc.ssl_channel_credentials(
        root_certificates=None if material.authorities is None else material.authorities.pem,
        private_key=material.key,
        certificate_chain=None if material.chain is None else material.chain.pem,
    )


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    if material.chain is None or material.key is None:
        raise ValueError("a server needs a certificate")
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.chain.pem)],
        root_certificates=None if material.authorities is None else material.authorities.pem,
    )
