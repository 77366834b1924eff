"""A development authority and the certificates that it signs, for `marquee up --tls`."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devstack.errors import DevstackError
from devstack.files import PRIVATE, PUBLIC, make_private_directory, write_atomically

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
"""The names under which every server of an embedded stack is called."""

_AUTHORITY_LIFETIME = timedelta(days=365)
_AUTHORITY_LEFT = timedelta(days=30)
_CLOCK_SKEW = timedelta(minutes=5)


class CertificateError(DevstackError):
    """The development authority cannot do what was asked."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a certificate and its private key are, in PEM form."""

    certificate: Path
    key: Path


class Authority:
    """An authority in one directory.

    Args:
        directory: Holds `ca.pem`, `ca-key.pem` and what is issued.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def certificate(self) -> Path:
        """Its own certificate, which callers of the mesh trust."""
        return self.directory / "ca.pem"

    @property
    def _key(self) -> Path:
        return self.directory / "ca-key.pem"

    def prepare(self, now: float | None = None) -> None:
        """Makes the authority if there is none, or if it ends soon.

        The key is written once and stays: at whatever moment this is interrupted, the certificate
        that is there belongs to it. One that does not, such as of a directory copied in part, is
        replaced.

        Raises:
            CertificateError: What is there cannot be read.
        """
        make_private_directory(self.directory)
        moment = _moment(now)
        key = self._kept_key(self._key)
        if self.certificate.exists():
            certificate = self._read_certificate()
            ends_soon = certificate.not_valid_after_utc - moment <= _AUTHORITY_LEFT
            if _belong_together(certificate, key) and not ends_soon:
                return
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Marquee development authority")])
        certificate = (
            _builder(name, key.public_key(), name, key.public_key())
            .not_valid_before(moment - _CLOCK_SKEW)
            .not_valid_after(moment + _AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_atomically(self.certificate, _pem(certificate), PUBLIC)

    def leaf(self, name: str) -> Leaf:
        """Where the certificate of a name is, whether or not it was issued."""
        return Leaf(self.directory / f"{name}.pem", self.directory / f"{name}-key.pem")

    def issue(
        self, name: str, hosts: Collection[str], lifetime: timedelta, now: float | None = None
    ) -> Leaf:
        """Signs a certificate and writes it, replacing the one of that name.

        The private key stays the same, so that a reader never meets a certificate and a key that
        do not belong together.

        Args:
            name: The path of its files below the directory; its last part is the common name.
            hosts: Names and IP addresses of a server; of none, it is a client's only.
            lifetime: How long it is good for, at most as long as the authority is.
            now: Seconds since the epoch; None: the clock's.

        Raises:
            CertificateError: There is no authority, something of it cannot be read, or its
                certificate and its key do not belong together.
        """
        authority, signing_key = self._load()
        leaf = self.leaf(name)
        key = self._kept_key(leaf.key)
        moment = _moment(now)
        left = authority.not_valid_after_utc - moment
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, Path(name).name)])
        builder = (
            _builder(subject, key.public_key(), authority.subject, signing_key.public_key())
            .not_valid_before(moment - _CLOCK_SKEW)
            .not_valid_after(moment + min(lifetime, left))
        )
        if hosts:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .sign(signing_key, hashes.SHA256())
        )
        write_atomically(leaf.certificate, _pem(certificate), PUBLIC)
        return leaf

    def _kept_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        """Returns the key in a file, made if there is none."""
        if path.exists():
            return _read_key(path)
        key = ec.generate_private_key(ec.SECP256R1())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, _key_pem(key), PRIVATE)
        return key

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        certificate, key = self._read_certificate(), _read_key(self._key)
        if not _belong_together(certificate, key):
            raise CertificateError(
                f"{self._key} is not the key of {self.certificate}: `marquee up --tls` makes "
                "another certificate"
            )
        return certificate, key

    def _read_certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self.certificate.read_bytes())
        except FileNotFoundError:
            raise CertificateError(
                f"there is no authority in {self.directory}: `marquee up --tls` makes one, "
                "or name the directory of the stack with --data-dir"
            ) from None
        except (OSError, ValueError) as error:
            raise CertificateError(f"{self.certificate} cannot be read: {error}") from error


class Certificates:
    """The certificates of a stack's parts, renewed as they grow old.

    Args:
        authority: Signs them.
        hosts: By the name of a part, under what it is called; of none, it is a client only.
        lifetime: How long each is good for; it is renewed when half of that is over.
    """

    def __init__(
        self,
        authority: Authority,
        hosts: Mapping[str, Collection[str]],
        lifetime: timedelta = timedelta(days=30),
    ) -> None:
        self._authority = authority
        self._hosts = hosts
        self._lifetime = lifetime
        self._renew_at = 0.0

    def renew(self, now: float | None = None) -> bool:
        """Issues the certificates anew if they are old.

        Returns:
            Whether it did.

        Raises:
            CertificateError: There is no authority, or something of it cannot be read.
            OSError: A file cannot be written.
        """
        moment = time.time() if now is None else now
        if moment < self._renew_at:
            return False
        for name, hosts in self._hosts.items():
            self._authority.issue(name, hosts, self._lifetime, moment)
        self._renew_at = moment + self._lifetime.total_seconds() / 2
        return True


def _builder(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signing_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key), critical=False
        )
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise CertificateError(f"the private key {path} cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path} is not a key on an elliptic curve")
    return key


def _belong_together(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    return certificate.public_key() == key.public_key()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _moment(now: float | None) -> datetime:
    return datetime.fromtimestamp(time.time() if now is None else now, UTC)
