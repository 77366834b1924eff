"""Certificates for tests: authorities, what they sign, and files replaced as in production.

    authority = Authority()
    issued = authority.issue("user")                 # for localhost and 127.0.0.1, 30 days
    files = issued.write(tmp_path)                   # files.certificate, files.key
    ca = authority.write(tmp_path)                   # the path of ca.crt
    replace(ca, authority.pem + other.pem)           # all at once, by renaming
    secret = Secret(tmp_path / "secret", {"tls.crt": …})   # as Kubernetes mounts one
    secret.swap({"tls.crt": …})

Bad ones: `issue(..., begin=…, end=…)` takes times from now; `encrypted(key)` needs a passphrase.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.tls.files import TlsFiles

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
HOSTS = ("localhost", "127.0.0.1")
MONTH = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, its intermediates and its key in PEM form."""

    certificate: bytes
    key: bytes
    serial: int

    def write(self, directory: Path, name: str = "tls") -> TlsFiles:
        """Writes <name>.crt and <name>.key."""
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        replace(certificate, self.certificate)
        replace(key, self.key)
        return TlsFiles(certificate, key)


class Authority:
    """Signs certificates; with a parent it is an intermediate one."""

    def __init__(
        self,
        name: str = "test authority",
        *,
        parent: Authority | None = None,
        begin: timedelta = timedelta(hours=-1),
        end: timedelta = MONTH,
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._chain = b""
        self.certificate = _sign(
            _builder(self._name, self._key, begin, end).add_extension(
                x509.BasicConstraints(ca=True, path_length=None), critical=True
            ),
            *((parent._name, parent._key) if parent else (self._name, self._key)),
        )
        self.pem = self.certificate.public_bytes(Encoding.PEM)
        if parent is not None:
            self._chain = self.pem + parent._chain

    def issue(
        self,
        name: str = "test",
        *,
        hosts: Sequence[str] = HOSTS,
        begin: timedelta = timedelta(hours=-1),
        end: timedelta = MONTH,
        key: PrivateKey | None = None,
    ) -> Issued:
        """Signs a certificate for servers and clients; its times are counted from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(_name(name), key, begin, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
            )
        )
        certificate = _sign(builder, self._name, self._key)
        return Issued(
            certificate.public_bytes(Encoding.PEM) + self._chain,
            _key_pem(key, NoEncryption()),
            certificate.serial_number,
        )

    def write(self, directory: Path, name: str = "ca") -> Path:
        """Writes <name>.crt."""
        path = directory / f"{name}.crt"
        replace(path, self.pem)
        return path


class Secret:
    """A directory as Kubernetes mounts a Secret: all of its files are replaced in one step."""

    def __init__(self, directory: Path, files: Mapping[str, bytes]) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._version = 0
        self.swap(files)
        for name in files:
            (directory / name).symlink_to(f"..data/{name}")

    def swap(self, files: Mapping[str, bytes]) -> None:
        """Writes a new version beside the old one and lets the link point to it."""
        self._version += 1
        version = self.directory / f"..version_{self._version}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
        link = self.directory / "..data"
        new = self.directory / "..data_tmp"
        old = link.resolve() if link.exists() else None
        new.symlink_to(version.name)
        new.replace(link)
        if old is not None:
            shutil.rmtree(old)


def replace(path: Path, content: bytes) -> None:
    """Puts a new file in the place of an old one, all at once."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def encrypted(key: bytes) -> bytes:
    """Returns a key as it is kept with a passphrase."""
    plain = load_pem_private_key(key, password=None)
    return plain.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, key: PrivateKey, begin: timedelta, end: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )


def _sign(
    builder: x509.CertificateBuilder, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    return builder.issuer_name(issuer).sign(key, hashes.SHA256())


def _key_pem(key: PrivateKey, encryption: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
