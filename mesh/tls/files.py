"""Certificates, keys and bundles of authorities: read from PEM files and checked before use."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from mesh.times import now

_BEGINS = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN X509 CERTIFICATE-----")


class CertificateError(OSError):
    """A file cannot be used. The message says why and quotes nothing of what is in it.

    Attributes:
        path: The file.
        problem: What is wrong with it, to follow its name or that of its setting.
    """

    def __init__(self, path: Path, problem: str) -> None:
        """Takes the file and what is wrong with it."""
        super().__init__(f"{path} {problem}")
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Which files one side of a connection shows and trusts.

    Attributes:
        certificate: The own certificate, followed by its intermediates; None: shows none.
        key: The private key of the own certificate; given if and only if `certificate` is.
        authorities: Who may have signed the other side's certificate. A server without this asks
            for none.
    """

    certificate: Path | None = None
    key: Path | None = field(default=None, repr=False)
    authorities: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a certificate and its key are given together")

    def contents(self) -> tuple[bytes | None, ...]:
        """Returns what the files hold, in the order of the fields.

        Raises:
            CertificateError: A file cannot be read.
        """
        return tuple(
            None if path is None else _read(path)
            for path in (self.certificate, self.key, self.authorities)
        )

    def parse(self, contents: tuple[bytes | None, ...]) -> Material:
        """Checks what `contents` returned.

        Raises:
            CertificateError: Something in it is malformed, out of date, or does not fit the rest.
        """
        certificate, key, authorities = contents
        chain = None
        if self.certificate and self.key and certificate is not None and key is not None:
            chain = parse_chain(self.certificate, certificate)
            check_key(self.key, key, chain)
        bundle = None
        if self.authorities and authorities is not None:
            bundle = parse_authorities(self.authorities, authorities)
        return Material(chain, key, bundle)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The certificates of one file.

    Attributes:
        pem: The file.
        first: The first certificate; of a chain, the one that is shown.
        expiry: A chain is of no use after its first certificate expires, a bundle after its last.
    """

    pem: bytes
    first: x509.Certificate
    expiry: datetime


@dataclass(frozen=True, slots=True)
class Material:
    """What gRPC needs; see `TlsFiles`."""

    chain: Certificates | None
    key: bytes | None = field(repr=False)
    authorities: Certificates | None


def read_chain(path: Path) -> Certificates:
    """Reads a certificate and its intermediate authorities.

    Raises:
        CertificateError: The file cannot be used.
    """
    return parse_chain(path, _read(path))


def read_key(path: Path, chain: Certificates) -> bytes:
    """Reads the private key of a certificate.

    Raises:
        CertificateError: The file cannot be used.
    """
    pem = _read(path)
    check_key(path, pem, chain)
    return pem


def read_authorities(path: Path) -> Certificates:
    """Reads a bundle of authorities.

    Raises:
        CertificateError: The file cannot be used.
    """
    return parse_authorities(path, _read(path))


def parse_chain(path: Path, pem: bytes) -> Certificates:
    """Parses a certificate and its intermediate authorities, all of which must be valid now.

    Raises:
        CertificateError: The file cannot be used.
    """
    certificates = _parse(path, pem)
    begin = max(certificate.not_valid_before_utc for certificate in certificates)
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    _check_validity(path, begin, end)
    return Certificates(pem, certificates[0], end)


def parse_authorities(path: Path, pem: bytes) -> Certificates:
    """Parses a bundle of authorities, one of which must be valid now.

    Others may have expired: a bundle often keeps the old authority beside the new one.

    Raises:
        CertificateError: The file cannot be used.
    """
    certificates = _parse(path, pem)
    begin = min(certificate.not_valid_before_utc for certificate in certificates)
    end = max(certificate.not_valid_after_utc for certificate in certificates)
    _check_validity(path, begin, end)
    return Certificates(pem, certificates[0], end)


def check_key(path: Path, pem: bytes, chain: Certificates) -> None:
    """Checks that a private key can be used and belongs to a certificate.

    Raises:
        CertificateError: It cannot or does not.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateError(path, "is encrypted; give a key without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(path, "holds no private key in PEM form") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise CertificateError(path, "holds a key that is neither RSA nor ECDSA")
    try:
        shown = chain.first.public_key()
    except (ValueError, UnsupportedAlgorithm):
        shown = None
    if shown is None or (
        shown.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        != key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ):
        raise CertificateError(path, "is not the key of the certificate")


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CertificateError(path, "is not a file")  # reading a pipe would wait
        return path.read_bytes()
    except CertificateError:
        raise
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no such file"
        raise CertificateError(path, f"cannot be read: {why}") from None


def _parse(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        certificates = []
    # The parser leaves out a last certificate that is not written to its end.
    if not certificates or len(certificates) != sum(pem.count(begin) for begin in _BEGINS):
        raise CertificateError(path, "holds no whole certificates in PEM form")
    return certificates


def _check_validity(path: Path, begin: datetime, end: datetime) -> None:
    moment = now()
    if end <= moment:
        raise CertificateError(path, f"expired at {end:%Y-%m-%dT%H:%M:%SZ}")
    if moment < begin:
        raise CertificateError(path, f"is not valid before {begin:%Y-%m-%dT%H:%M:%SZ}")
