"""Settings of TLS: what cannot work stops the start with one line that names the variable."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from support.certificates import Authority, Issued, encrypted

from mesh.settings import MeshSettings, load_settings
from mesh.tls.files import TlsFiles

AUTHORITY = Authority()
GOOD = AUTHORITY.issue()
DAY = timedelta(days=1)
REQUIRED = {
    "MARQUEE_LISTEN": "127.0.0.1:50051",
    "MARQUEE_MONGODB_URI": "mongodb://db/?replicaSet=rs0",
    "MARQUEE_KAFKA_BOOTSTRAP": "kafka-0:9092",
    "MARQUEE_AUTH_ISSUER": "https://issuer.test",
    "MARQUEE_AUTH_AUDIENCE": "marquee",
    "MARQUEE_AUTH_JWKS": "https://issuer.test/keys",
}
SIDES = {
    "server": ("MARQUEE_TLS_CERT_FILE", "MARQUEE_TLS_KEY_FILE", "MARQUEE_TLS_CLIENT_CA_FILE"),
    "peer": ("MARQUEE_PEER_CERT_FILE", "MARQUEE_PEER_KEY_FILE", "MARQUEE_PEER_CA_FILE"),
}
Set = Callable[..., None]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MeshSettings.model_fields:
        if name.startswith(("tls_", "peer_")):
            monkeypatch.delenv(f"MARQUEE_{name.upper()}", raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    return SIDES[request.param]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: tuple[str, str, str]) -> Set:
    """Writes files and sets the variables of one side to them."""

    def put(issued: Issued = GOOD, authorities: bytes = AUTHORITY.pem) -> None:
        contents = (issued.certificate, issued.key, authorities)
        for variable, content in zip(side, contents, strict=True):
            path = tmp_path / variable
            path.write_bytes(content)
            monkeypatch.setenv(variable, str(path))

    return put


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        load_settings(MeshSettings)
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert "PRIVATE" not in line
    assert "CERTIFICATE" not in line
    return str(line).removeprefix("configuration error: ")


def of(settings: MeshSettings, side: tuple[str, str, str]) -> TlsFiles | None:
    return settings.server_tls if side is SIDES["server"] else settings.peer_tls


def test_without_them_there_is_no_tls() -> None:
    settings = load_settings(MeshSettings)
    assert settings.server_tls is None
    assert settings.peer_tls is None


def test_what_is_set_is_used(put: Set, side: tuple[str, str, str], tmp_path: Path) -> None:
    put()
    files = of(load_settings(MeshSettings), side)
    assert files == TlsFiles(*(tmp_path / variable for variable in side))


def test_a_server_need_not_ask_for_certificates(
    put: Set, side: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    monkeypatch.delenv("MARQUEE_TLS_CLIENT_CA_FILE", raising=False)
    monkeypatch.delenv("MARQUEE_PEER_CERT_FILE", raising=False)
    monkeypatch.delenv("MARQUEE_PEER_KEY_FILE", raising=False)
    files = of(load_settings(MeshSettings), side)
    assert files is not None
    assert (files.certificate is None) != (files.authorities is None)


def test_a_certificate_without_its_key(
    put: Set,
    side: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put()
    monkeypatch.delenv(side[1])
    assert failure(capsys) == f"{side[1]}: must be set, for {side[0]} is"


def test_a_key_without_its_certificate(
    put: Set,
    side: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put()
    monkeypatch.delenv(side[0])
    assert f"{side[1]}: is of no use without {side[0]}" in failure(capsys)


def test_authorities_of_clients_without_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARQUEE_TLS_CLIENT_CA_FILE", str(AUTHORITY.write(tmp_path)))
    assert (
        failure(capsys) == "MARQUEE_TLS_CLIENT_CA_FILE: is of no use without MARQUEE_TLS_CERT_FILE"
    )


def test_a_certificate_for_peers_that_are_not_called_by_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = GOOD.write(tmp_path)
    monkeypatch.setenv("MARQUEE_PEER_CERT_FILE", str(files.certificate))
    monkeypatch.setenv("MARQUEE_PEER_KEY_FILE", str(files.key))
    assert failure(capsys) == "MARQUEE_PEER_CERT_FILE: is of no use without MARQUEE_PEER_CA_FILE"


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "in PEM form"),
        (b"\x30\x82\x01\x00 not PEM", "in PEM form"),
        (GOOD.certificate[:300], "in PEM form"),
        (GOOD.key[:100], "in PEM form"),
    ],
    ids=["missing", "empty", "not text", "half a certificate", "half a key"],
)
def test_a_file_that_is_not_what_it_should_be(
    index: int,
    content: bytes | None,
    problem: str,
    put: Set,
    side: tuple[str, str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put()
    path = tmp_path / side[index]
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    line = failure(capsys)
    assert line.startswith(f"{side[index]}: ")
    assert line.endswith(problem)


@pytest.mark.parametrize("index", range(3))
def test_a_pipe_is_not_waited_for(
    index: int,
    put: Set,
    side: tuple[str, str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put()
    path = tmp_path / side[index]
    path.unlink()
    os.mkfifo(path)
    assert f"{side[index]}: is not a file" in failure(capsys)


def test_the_content_in_place_of_the_file_is_not_shown(
    put: Set,
    side: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put()
    monkeypatch.setenv(side[1], GOOD.key.decode())
    line = failure(capsys)
    assert line.startswith(f"{side[1]}: cannot be read: ")
    assert not any(part in line for part in GOOD.key.decode().splitlines()[1:-1])


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (AUTHORITY.issue().key, "is not the key of the certificate"),
        (encrypted(GOOD.key), "is encrypted; give a key without a passphrase"),
        (GOOD.certificate, "holds no private key in PEM form"),
    ],
    ids=["another", "encrypted", "a certificate"],
)
def test_a_key_that_does_not_fit(
    key: bytes,
    problem: str,
    put: Set,
    side: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(Issued(GOOD.certificate, key, GOOD.serial))
    assert failure(capsys) == f"{side[1]}: {problem}"


def test_a_key_of_a_kind_that_grpc_does_not_take(
    put: Set, side: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    put(AUTHORITY.issue(key=ed25519.Ed25519PrivateKey.generate()))
    assert failure(capsys) == f"{side[1]}: holds a key that is neither RSA nor ECDSA"


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())],
    ids=["RSA", "P-384"],
)
def test_keys_of_other_kinds(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, put: Set, side: tuple[str, str, str]
) -> None:
    put(AUTHORITY.issue(key=key))
    assert of(load_settings(MeshSettings), side)


@pytest.mark.parametrize(
    ("begin", "end", "problem"),
    [(-2 * DAY, -DAY, "expired at "), (DAY, 2 * DAY, "is not valid before ")],
    ids=["past", "future"],
)
def test_a_certificate_out_of_its_time(
    begin: timedelta,
    end: timedelta,
    problem: str,
    put: Set,
    side: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(AUTHORITY.issue(begin=begin, end=end))
    assert failure(capsys).startswith(f"{side[0]}: {problem}20")
    old = Authority(begin=begin, end=end)
    put(authorities=old.pem)
    assert f"{side[2]}: {problem}20" in failure(capsys)
    put(authorities=old.pem + AUTHORITY.pem)
    assert load_settings(MeshSettings), "an old authority may stay beside the new one"


def test_a_chain_that_is_cut_in_its_intermediate(
    put: Set, side: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    issued = Authority("intermediate", parent=AUTHORITY).issue()
    put(issued)
    assert of(load_settings(MeshSettings), side)
    put(Issued(issued.certificate[:-200], issued.key, issued.serial))
    assert failure(capsys) == f"{side[0]}: holds no whole certificates in PEM form"
