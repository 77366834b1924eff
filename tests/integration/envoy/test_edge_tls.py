"""TLS of the edge's port and towards the services; certificates renewed without a restart."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from marquee_envoy.config import Endpoint, ServerTls, UpstreamTls
from support.edge_replicas import Replica, until
from support.tokens import bearer

from devstack.certificates import Authority, Leaf

CALL = "/marquee.user.v1.UserService/UpdatePreferences"
AN_HOUR = timedelta(hours=1)


def authority_in(directory: Path) -> Authority:
    made = Authority(directory)
    made.prepare()
    return made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return authority_in(tmp_path / "authority")


@pytest.fixture
def strangers(tmp_path: Path) -> Authority:
    return authority_in(tmp_path / "strangers")


@pytest.fixture
def leaf(authority: Authority) -> Leaf:
    return authority.issue("edge", ["localhost"], AN_HOUR)


@contextmanager
def channel_to(edge, authority: Authority, own: Leaf | None = None) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(),
        own and own.key.read_bytes(),
        own and own.certificate.read_bytes(),
    )
    address = edge.address.replace("127.0.0.1", "localhost")
    with grpc.secure_channel(address, credentials) as channel:
        yield channel


def code_of(edge, channel) -> grpc.StatusCode:
    try:
        channel.unary_unary(CALL)(b"", metadata=bearer(edge.issuer.mint()), timeout=5)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def handshake(edge, **options) -> tuple[int, str | None, str | None]:
    """The serial number of the shown certificate, the agreed protocol, and the TLS version."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in options.items():
        setattr(context, name, value)
    host, _, port = edge.address.partition(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain) as secured,
    ):
        shown = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
        return shown.serial_number, secured.selected_alpn_protocol(), secured.version()


def serial_of(leaf: Leaf) -> int:
    return x509.load_pem_x509_certificate(leaf.certificate.read_bytes()).serial_number


@pytest.fixture
def served(make_edge, base_config):
    """An edge with one replica behind it."""
    with Replica() as replica:
        user, *others = base_config.upstreams

        def served(**changes):
            upstreams = (replace(user, endpoints=(replica.endpoint,)), *others)
            return make_edge(upstreams=upstreams, **changes)

        yield served


def test_calls_come_over_tls_and_not_without(served, authority, leaf):
    edge = served(tls=ServerTls(certificate=leaf.certificate, key=leaf.key))

    with channel_to(edge, authority) as channel:
        assert code_of(edge, channel) == grpc.StatusCode.OK
    assert handshake(edge)[1] == "h2"
    with grpc.insecure_channel(edge.address) as channel:
        assert code_of(edge, channel) == grpc.StatusCode.UNAVAILABLE


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # that is the point
def test_old_versions_of_tls_are_refused(served, leaf):
    edge = served(tls=ServerTls(certificate=leaf.certificate, key=leaf.key))
    newest_allowed = ssl.TLSVersion.TLSv1_2

    assert handshake(edge, maximum_version=newest_allowed)[2] == "TLSv1.2"
    # Security level 0, or this machine's own library would not even ask for it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, _, port = edge.address.partition(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version|unsupported"),
    ):
        context.wrap_socket(plain)


def test_a_renewed_certificate_is_shown_without_a_restart(served, authority, leaf):
    edge = served(tls=ServerTls(certificate=leaf.certificate, key=leaf.key))
    first = serial_of(leaf)
    assert handshake(edge)[0] == first

    with channel_to(edge, authority) as channel:
        assert code_of(edge, channel) == grpc.StatusCode.OK
        authority.issue("edge", ["localhost"], AN_HOUR)
        second = serial_of(leaf)
        assert second != first
        until(lambda: handshake(edge)[0] == second, 10, "the old certificate is still shown")
        # Who is connected stays so.
        assert code_of(edge, channel) == grpc.StatusCode.OK


def test_callers_must_show_a_certificate_where_that_is_asked(served, authority, strangers, leaf):
    edge = served(
        tls=ServerTls(certificate=leaf.certificate, key=leaf.key, client_ca=authority.certificate)
    )
    known = authority.issue("caller", [], AN_HOUR)
    unknown = strangers.issue("caller", [], AN_HOUR)

    with channel_to(edge, authority, known) as channel:
        assert code_of(edge, channel) == grpc.StatusCode.OK
    for own in (None, unknown):
        with channel_to(edge, authority, own) as channel:
            assert code_of(edge, channel) == grpc.StatusCode.UNAVAILABLE


def test_authorities_of_callers_are_followed(served, authority, strangers, leaf, tmp_path):
    trusted = tmp_path / "trusted" / "ca.pem"
    trusted.parent.mkdir()
    trusted.write_bytes(authority.certificate.read_bytes())
    edge = served(tls=ServerTls(certificate=leaf.certificate, key=leaf.key, client_ca=trusted))
    fresh = strangers.issue("caller", [], AN_HOUR)

    def is_let_in() -> bool:
        with channel_to(edge, authority, fresh) as channel:
            return code_of(edge, channel) == grpc.StatusCode.OK

    assert not is_let_in()
    renewed = trusted.with_suffix(".new")
    renewed.write_bytes(strangers.certificate.read_bytes())
    renewed.replace(trusted)
    until(is_let_in, 10, "the new authority is not trusted")


@contextmanager
def secure_replica(authority: Authority, hosts: list[str]) -> Iterator[Replica]:
    """A replica that shows a certificate and asks for one."""
    leaf = authority.issue("service", hosts, AN_HOUR)
    replica = Replica(
        grpc.ssl_server_credentials(
            [(leaf.key.read_bytes(), leaf.certificate.read_bytes())],
            authority.certificate.read_bytes(),
            require_client_auth=True,
        )
    )
    with replica:
        yield replica


@pytest.fixture
def towards(make_edge, base_config):
    """An edge that calls one replica by TLS."""

    def towards(endpoint: Endpoint, tls: UpstreamTls):
        upstreams = tuple(
            replace(u, endpoints=(endpoint,), san="user.mesh") for u in base_config.upstreams
        )
        return make_edge(wait_for=set(), upstreams=upstreams, upstream_tls=tls)

    return towards


def is_well(edge) -> bool:
    gauge = "cluster.user.membership_healthy"
    return edge.stats(gauge).get(gauge) == 1


def test_services_are_called_and_checked_by_mutual_tls(towards, authority, leaf):
    tls = UpstreamTls(ca=authority.certificate, certificate=leaf.certificate, key=leaf.key)
    with secure_replica(authority, ["user.mesh"]) as replica:
        edge = towards(replica.endpoint, tls)
        until(lambda: is_well(edge), 10, "the health check fails")
        with grpc.insecure_channel(edge.address) as channel:
            assert code_of(edge, channel) == grpc.StatusCode.OK


def test_a_service_of_another_name_is_not_called(towards, authority, leaf):
    tls = UpstreamTls(ca=authority.certificate, certificate=leaf.certificate, key=leaf.key)
    with secure_replica(authority, ["reco.mesh"]) as replica:
        edge = towards(replica.endpoint, tls)
        with grpc.insecure_channel(edge.address) as channel:
            assert code_of(edge, channel) == grpc.StatusCode.UNAVAILABLE
        failed = "cluster.user.ssl.fail_verify_san"
        until(lambda: edge.stats(failed).get(failed, 0) > 0, 10, "fails for another reason")
        assert not is_well(edge)
        assert replica.calls == 0


def test_a_service_of_strangers_is_not_called(towards, authority, strangers, leaf):
    tls = UpstreamTls(ca=authority.certificate, certificate=leaf.certificate, key=leaf.key)
    with secure_replica(strangers, ["user.mesh"]) as replica:
        edge = towards(replica.endpoint, tls)
        with grpc.insecure_channel(edge.address) as channel:
            assert code_of(edge, channel) == grpc.StatusCode.UNAVAILABLE
        assert not is_well(edge)


def test_what_the_edge_shows_to_services_is_renewed(towards, authority, strangers):
    # A certificate that the service does not take becomes one that it does.
    own = strangers.issue("edge", [], AN_HOUR)
    tls = UpstreamTls(ca=authority.certificate, certificate=own.certificate, key=own.key)
    with secure_replica(authority, ["user.mesh"]) as replica:
        edge = towards(replica.endpoint, tls)
        with grpc.insecure_channel(edge.address) as channel:
            assert code_of(edge, channel) == grpc.StatusCode.UNAVAILABLE
        good = authority.issue("edge", [], AN_HOUR)
        good.key.replace(own.key)
        good.certificate.replace(own.certificate)

        until(lambda: is_well(edge), 20, "the renewed certificate is not shown")
