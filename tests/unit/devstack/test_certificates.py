from __future__ import annotations

import ipaddress
import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import verification

from devstack import certificates
from devstack.certificates import LOOPBACK, Authority, CertificateError, Certificates
from devstack.files import write_atomically

NOW = 1_900_000_000.0
DAY = 86_400.0


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path / "tls")
    made.prepare(NOW)
    return made


def read(path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def verifier(authority, now=NOW) -> verification.PolicyBuilder:
    store = verification.Store([read(authority.certificate)])
    return verification.PolicyBuilder().store(store).time(datetime.fromtimestamp(now, UTC))


def subject(host: str) -> verification.Subject:
    if host.isalpha():
        return x509.DNSName(host)
    return x509.IPAddress(ipaddress.ip_address(host))


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("host", [*LOOPBACK, "reco"])
def test_a_server_is_known_by_its_names(authority, host):
    leaf = authority.issue("reco", (*LOOPBACK, "reco"), timedelta(hours=1), NOW)

    verifier(authority).build_server_verifier(subject(host)).verify(read(leaf.certificate), [])
    with pytest.raises(verification.VerificationError):
        verifier(authority).build_server_verifier(x509.DNSName("notify")).verify(
            read(leaf.certificate), []
        )


def test_a_client_cannot_pose_as_a_server(authority):
    leaf = authority.issue("ada", (), timedelta(hours=1), NOW)

    (purpose,) = (
        read(leaf.certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )
    assert purpose == x509.ExtendedKeyUsageOID.CLIENT_AUTH
    with pytest.raises(verification.VerificationError):
        verifier(authority).build_server_verifier(x509.DNSName("ada")).verify(
            read(leaf.certificate), []
        )


def test_what_it_signs_ends_soon_and_cannot_sign(authority):
    leaf = authority.issue("reco", LOOPBACK, timedelta(hours=1), NOW)
    certificate = read(leaf.certificate)

    assert certificate.not_valid_after_utc.timestamp() == NOW + 3600
    assert certificate.not_valid_before_utc.timestamp() < NOW
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    # Nothing outlives the authority itself.
    longest = read(authority.issue("x", (), timedelta(days=9999), NOW).certificate)
    end = read(authority.certificate).not_valid_after_utc
    assert longest.not_valid_after_utc == end


def test_private_keys_are_for_their_owner_only(authority):
    leaf = authority.issue("reco", LOOPBACK, timedelta(hours=1), NOW)

    assert mode(authority.directory) == 0o700
    assert [mode(authority.directory / name) for name in ("ca-key.pem", "reco-key.pem")] == [
        0o600,
        0o600,
    ]
    assert b"PRIVATE" not in authority.certificate.read_bytes() + leaf.certificate.read_bytes()
    # The pair can be served.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(leaf.certificate, leaf.key)


def test_the_authority_outlives_the_stack_and_is_replaced_in_time(authority):
    before = authority.certificate.read_bytes()
    again = Authority(authority.directory)
    again.prepare(NOW + 300 * DAY)
    assert authority.certificate.read_bytes() == before

    again.prepare(NOW + 340 * DAY)

    assert authority.certificate.read_bytes() != before
    again.issue("reco", LOOPBACK, timedelta(hours=1), NOW + 340 * DAY)


def test_an_interrupted_renewal_harms_nothing(authority, monkeypatch):
    before = authority.certificate.read_bytes()

    def interrupted(path, content, mode):
        if path == authority.certificate:
            raise KeyboardInterrupt
        write_atomically(path, content, mode)

    monkeypatch.setattr(certificates, "write_atomically", interrupted)
    interrupted_at = NOW + 340 * DAY
    with pytest.raises(KeyboardInterrupt):
        authority.prepare(interrupted_at)
    monkeypatch.undo()

    assert authority.certificate.read_bytes() == before
    # The pair still belongs together.
    leaf = authority.issue("reco", LOOPBACK, timedelta(hours=1), interrupted_at)
    for _ in range(2):
        servers = verifier(authority, interrupted_at).build_server_verifier(subject("localhost"))
        servers.verify(read(leaf.certificate), [])
        # Nor does a renewal make what was signed before it worthless.
        authority.prepare(interrupted_at)
    assert authority.certificate.read_bytes() != before


def test_a_certificate_of_another_key_is_replaced(authority, tmp_path):
    other = Authority(tmp_path / "other")
    other.prepare(NOW)
    key = authority.directory / "ca-key.pem"
    key.write_bytes((other.directory / "ca-key.pem").read_bytes())
    before = authority.certificate.read_bytes()
    with pytest.raises(CertificateError, match=r"is not the key of .*ca\.pem: `marquee up --tls`"):
        authority.issue("reco", LOOPBACK, timedelta(hours=1), NOW)

    authority.prepare(NOW)

    assert authority.certificate.read_bytes() != before
    leaf = authority.issue("reco", LOOPBACK, timedelta(hours=1), NOW)
    verifier(authority).build_server_verifier(x509.DNSName("localhost")).verify(
        read(leaf.certificate), []
    )


def test_certificates_are_renewed_under_the_same_key(authority):
    hosts = {"edge": LOOPBACK, "cli": ()}
    renewed = Certificates(authority, hosts, timedelta(hours=2))
    assert renewed.renew(NOW)
    leaf = authority.leaf("edge")
    first, key = read(leaf.certificate), leaf.key.read_bytes()
    assert not renewed.renew(NOW + 3599)
    assert renewed.renew(NOW + 3601)

    second = read(leaf.certificate)
    assert second.serial_number != first.serial_number
    assert second.not_valid_after_utc - first.not_valid_after_utc == timedelta(seconds=3601)
    assert leaf.key.read_bytes() == key
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(leaf.certificate, leaf.key)


def test_without_an_authority_there_is_one_clear_line(tmp_path):
    with pytest.raises(CertificateError, match="marquee up --tls") as raised:
        Authority(tmp_path).issue("ada", (), timedelta(hours=1))
    assert "\n" not in str(raised.value)


def test_a_damaged_key_is_named_and_not_quoted(authority):
    (authority.directory / "ca-key.pem").write_text("secret")
    with pytest.raises(CertificateError, match=r"ca-key\.pem") as raised:
        authority.issue("ada", (), timedelta(hours=1), NOW)
    assert "secret" not in str(raised.value)
