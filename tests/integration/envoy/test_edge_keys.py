"""Where the keys come from, and that the edge notices when they change."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1 import user_service_pb2_grpc as user_grpc
from support.tokens import Issuer, bearer

from devstack.certificates import Authority

GET_USER = "/marquee.user.v1.UserService/GetUser"
CACHE_S = 6.0  # Envoy looks 5 s before it


@pytest.fixture
def own_issuer(tmp_path: Path) -> Issuer:
    directory = tmp_path / "issuer"
    directory.mkdir()
    return Issuer(directory)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def published(issuer: Issuer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serves the issuer's directory over HTTP and gives the port."""
    handler = partial(QuietHandler, directory=str(issuer.jwks_path.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


class Caller:
    """Calls on one connection, as clients do, so that nothing is fresh because that is."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = user_grpc.UserServiceStub(channel)

    def answers(self, token: str) -> str:
        """`OK`, or the reason of the refusal."""
        try:
            self._stub.GetUser(
                user_pb.GetUserRequest(user_id="ada"), metadata=bearer(token), timeout=5
            )
        except grpc.RpcError as error:
            return reason_of(error)
        return "OK"

    def eventually(self, token: str, expected: str, within_s: float) -> None:
        give_up_at = time.monotonic() + within_s
        while (answer := self.answers(token)) != expected:
            assert time.monotonic() < give_up_at, f"still {answer}, not {expected}"
            time.sleep(0.1)


def reason_of(error: grpc.RpcError) -> str:
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


def rotate(issuer: Issuer, caller: Caller, within_s: float) -> None:
    """A key is added, and the old one is withdrawn."""
    old_kid, old = issuer.kid, issuer.mint()
    caller.eventually(old, "OK", within_s)

    issuer.add_key()
    new = issuer.mint()
    caller.eventually(new, "OK", within_s)
    assert caller.answers(old) == "OK"

    issuer.withdraw(old_kid)
    caller.eventually(old, "TOKEN_KEY_UNKNOWN", within_s)
    assert caller.answers(new) == "OK"


@pytest.fixture
def calling(make_edge):
    @contextmanager
    def calling(**changes) -> Iterator[Caller]:
        edge = make_edge(**changes)
        with grpc.insecure_channel(edge.address) as channel:
            yield Caller(channel)

    return calling


def test_a_file_of_keys_is_followed(calling, own_issuer):
    with calling(jwks=own_issuer.jwks_path) as caller:
        rotate(own_issuer, caller, within_s=10)


def test_there_may_be_many_keys(calling, own_issuer):
    for _ in range(60):
        own_issuer.add_key()
    assert own_issuer.jwks_path.stat().st_size > 10_000
    with calling(jwks=own_issuer.jwks_path) as caller:
        rotate(own_issuer, caller, within_s=10)


def test_a_file_is_followed_through_links_as_kubernetes_swaps_them(calling, own_issuer, tmp_path):
    mounted = tmp_path / "mounted"
    mounted.mkdir()

    def publish(version: str) -> None:
        (mounted / version).mkdir()
        (mounted / version / "jwks.json").write_bytes(own_issuer.jwks_path.read_bytes())
        (mounted / "..new").symlink_to(version)
        (mounted / "..new").rename(mounted / "..data")

    publish("..v1")
    (mounted / "jwks.json").symlink_to("..data/jwks.json")
    with calling(jwks=mounted / "jwks.json") as caller:
        old = own_issuer.mint()
        caller.eventually(old, "OK", 10)
        own_issuer.withdraw(own_issuer.kid)
        own_issuer.add_key()
        publish("..v2")

        caller.eventually(old, "TOKEN_KEY_UNKNOWN", 10)
        assert caller.answers(own_issuer.mint()) == "OK"


def test_keys_at_an_address_are_followed(calling, own_issuer):
    with (
        published(own_issuer) as port,
        calling(jwks=f"http://127.0.0.1:{port}/jwks.json", jwks_cache_s=CACHE_S) as caller,
    ):
        rotate(own_issuer, caller, within_s=CACHE_S + 4)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "authority")
    made.prepare()
    return made


def test_keys_come_over_tls(calling, own_issuer, authority):
    leaf = authority.issue("keys", ["localhost"], timedelta(hours=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    with (
        published(own_issuer, context) as port,
        calling(
            jwks=f"https://localhost:{port}/jwks.json", jwks_ca=authority.certificate
        ) as caller,
    ):
        caller.eventually(own_issuer.mint(), "OK", 10)


def test_keys_from_whom_nobody_certifies_are_not_taken(calling, own_issuer, authority):
    leaf = authority.issue("keys", ["elsewhere.example"], timedelta(hours=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    with (
        published(own_issuer, context) as port,
        calling(
            jwks=f"https://localhost:{port}/jwks.json", jwks_ca=authority.certificate
        ) as caller,
    ):
        assert caller.answers(own_issuer.mint()) == "KEYS_UNAVAILABLE"


def test_without_keys_nobody_is_judged(call, form, make_edge, own_issuer, free_port):
    edge = make_edge(jwks=f"http://127.0.0.1:{free_port()}/jwks.json")

    answer = call(edge, GET_USER)

    assert (answer.code, answer.reason) == (14, "KEYS_UNAVAILABLE")
    assert answer.http == (503 if form == "json" else 200)
    assert answer.detail(error_details_pb2.RetryInfo).retry_delay.seconds == 1
    assert call(edge, GET_USER, metadata=()).reason == "TOKEN_MISSING"


def test_an_address_that_is_away_takes_no_keys_with_it(calling, own_issuer):
    # The services, which verify again, say how long they believe keys that cannot be renewed.
    token = own_issuer.mint()
    with published(own_issuer) as port:
        address = f"http://127.0.0.1:{port}/jwks.json"
        with calling(jwks=address, jwks_cache_s=CACHE_S) as caller:
            caller.eventually(token, "OK", 10)
            own_issuer.jwks_path.unlink()
            time.sleep(CACHE_S + 1)
            assert caller.answers(token) == "OK"

            own_issuer.add_key()
            caller.eventually(own_issuer.mint(), "OK", 10)
