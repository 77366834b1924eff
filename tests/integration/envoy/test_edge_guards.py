"""What a hostile client meets before any service does."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import replace

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1 import user_service_pb2_grpc as user_grpc
from support.edge_replicas import Replica, until
from support.tokens import bearer

GET_USER = "marquee.user.v1.UserService/GetUser"
UNSAFE = "/marquee.user.v1.UserService/UpdatePreferences"
ADA = '{"userId": "ada"}'


@pytest.fixture
def replica_edge(make_edge, base_config):
    """Starts an edge with one replica of the user service behind it."""
    with Replica() as replica:
        user, *others = base_config.upstreams

        def start(**changes):
            upstreams = (replace(user, endpoints=(replica.endpoint,)), *others)
            return replica, make_edge(upstreams=upstreams, **changes)

        yield start


class TestHeaders:
    def test_callers_do_not_steer_envoy(self, replica_edge):
        replica, edge = replica_edge()
        replica.fails = grpc.StatusCode.UNAVAILABLE
        steering = (
            ("x-envoy-retry-on", "5xx,reset,retriable-status-codes"),
            ("x-envoy-retry-grpc-on", "unavailable"),
            ("x-envoy-max-retries", "5"),
            ("x-envoy-hedge-on-per-try-timeout", "true"),
        )
        with grpc.insecure_channel(edge.address) as channel:
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(UNSAFE)(
                    b"", metadata=bearer(edge.issuer.mint()) + steering, timeout=5
                )
            assert replica.calls == 1

            replica.fails, replica.lasts_s = None, 0.3
            hurried = (("x-envoy-upstream-rq-timeout-ms", "50"),)
            channel.unary_unary(UNSAFE)(
                b"", metadata=bearer(edge.issuer.mint()) + hurried, timeout=5
            )
        assert not any(name.startswith("x-envoy-retry") for name in replica.metadata[0])
        assert "x-envoy-upstream-rq-timeout-ms" not in replica.metadata[1]

    def test_callers_do_not_speak_for_the_edge(self, replica_edge):
        replica, edge = replica_edge()
        forged = (
            ("x-marquee-reflection-scope", "mesh"),
            ("x-marquee-anything", "x"),
            ("marquee-hash", "x"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-client-cert", "Hash=0;Subject=admin"),
        )
        with grpc.insecure_channel(edge.address) as channel:
            channel.unary_unary(UNSAFE)(b"", metadata=bearer(edge.issuer.mint()) + forged)

        (seen,) = replica.metadata
        assert not any("marquee" in name for name in seen)
        assert "x-forwarded-client-cert" not in seen
        assert seen["x-forwarded-proto"] == "http"

    def test_a_caller_does_not_choose_its_address(self, make_edge):
        edge = make_edge(open_rate_per_s=1, open_rate_burst=10)
        refused = 0
        with grpc.insecure_channel(edge.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for number in range(30):
                forged = (("x-forwarded-for", f"198.51.100.{number}"),)
                try:
                    stub.Check(health_pb2.HealthCheckRequest(), metadata=forged)
                except grpc.RpcError:
                    refused += 1

        assert refused >= 10

    def test_answers_tell_nothing_of_the_inside(self, edge):
        reply = edge.post(GET_USER, ADA)

        assert reply.headers["server"] == "marquee"
        assert not [name for name in reply.headers if name.startswith("x-envoy-")]

    @pytest.mark.parametrize(
        "headers",
        [{f"x-{n}": "y" for n in range(120)}, {"x-large": "y" * 20_000}],
        ids=["many", "large"],
    )
    def test_headers_are_limited(self, edge, headers):
        reply = edge.post(GET_USER, ADA, **headers)

        assert reply.status_code == 431
        assert reply.json()["details"][0]["reason"] == "MALFORMED_REQUEST"

    @pytest.mark.parametrize(
        "path", [f"/{GET_USER}", f"//{GET_USER}", f"/x/../{GET_USER}", f"/./{GET_USER}"]
    )
    def test_paths_are_made_plain_before_they_are_judged(self, edge, path):
        token = edge.issuer.mint("ada", ["catalog.read"])
        head = (
            f"POST {path} HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {token}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
        )

        reply = exchange(edge, head.encode())

        assert b" 403 " in reply.split(b"\r\n")[0]
        assert b"users.read" in reply


class TestConnections:
    def test_there_are_only_so_many(self, make_edge):
        edge = make_edge(max_connections=3)
        held = [connected(edge) for _ in range(3)]
        try:
            with connected(edge) as one_more:
                one_more.settimeout(5)
                assert one_more.recv(1) == b""  # closed at once
            # Operators get in all the same.
            assert edge.stats("global_downstream_max_connections")
        finally:
            for connection in held:
                connection.close()
        until(
            lambda: edge.post(GET_USER, ADA).status_code == 200 if may_post(edge) else False,
            10,
            "nobody is let in again",
        )

    def test_http2_is_bounded(self, edge):
        client = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
        with connected(edge) as connection:
            connection.sendall(client)
            settings, window = http2_limits(connection)

        assert settings[3] == 100  # MAX_CONCURRENT_STREAMS
        assert settings[4] == 65536  # INITIAL_WINDOW_SIZE
        assert window == 1048576

    def test_a_silent_call_is_ended(self, replica_edge):
        replica, edge = replica_edge(stream_idle_s=0.4)
        replica.lasts_s = 2.0
        began = time.monotonic()
        with grpc.insecure_channel(edge.address) as channel, pytest.raises(grpc.RpcError) as ended:
            channel.unary_unary(UNSAFE)(b"", metadata=bearer(edge.issuer.mint()))

        assert time.monotonic() - began < 1.9
        assert ended.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    def test_one_broken_request_does_not_end_others_on_its_connection(self, edge):
        with grpc.insecure_channel(edge.address) as channel:
            notifications = notify_grpc.NotificationServiceStub(channel)
            token = bearer(edge.issuer.mint())
            stream = notifications.Subscribe(notify_pb.SubscribeRequest(), metadata=token)
            broken = user_grpc.UserServiceStub(channel)
            with pytest.raises(grpc.RpcError):
                broken.GetUser(user_pb.GetUserRequest(), metadata=(*token, ("an_underscore", "x")))

            assert [message.cursor for message in stream] == ["0", "1", "2"]

    def test_a_malformed_header_spoils_no_call_to_the_service(self, replica_edge):
        # grpc's core resets a call for it, which would be held against the replica, and keeps a
        # malformed value by its name for as long as the connection lasts.
        _, edge = replica_edge()
        replies = [
            edge.post(UNSAFE.removeprefix("/"), **{"x-some-bin": value}).status_code
            for value in ("!!!", *["AAEC"] * 5)
        ]

        assert replies == [200] * 6


class TestOverload:
    def test_memory_is_given_up_step_by_step(self, make_edge):
        edge = make_edge(max_heap_bytes=1)

        until(lambda: edge.post(GET_USER, ADA).status_code == 503, 10, "requests are taken still")
        steps = edge.stats(r"^overload\..*\.active$")
        actions = {name.split(".")[-2]: value for name, value in steps.items()}
        assert actions == {
            "shrink_heap": 1,
            "disable_http_keepalive": 1,
            "stop_accepting_requests": 1,
            "reset_high_memory_stream": 1,
        }

    def test_there_is_enough_of_it_by_default(self, edge):
        assert set(edge.stats(r"^overload\..*\.active$").values()) == {0}


class TestDraining:
    def test_calls_end_and_connections_are_told_to_go(self, make_edge):
        edge = make_edge()
        with grpc.insecure_channel(edge.address) as channel:
            stub = notify_grpc.NotificationServiceStub(channel)
            token = bearer(edge.issuer.mint())
            stream = stub.Subscribe(notify_pb.SubscribeRequest(), metadata=token)
            assert next(stream).cursor == "0"
            httpx.post(f"http://{edge.admin}/drain_listeners?graceful").raise_for_status()
            # While it drains, calls are served, and their answers ask the caller to leave.
            reply = edge.post(GET_USER, ADA)
            assert reply.status_code == 200
            assert reply.headers["connection"] == "close"

            assert [message.cursor for message in stream] == ["1", "2"]
        until(lambda: not accepts(edge), 10, "the port is still open")


def exchange(edge, sent: bytes) -> bytes:
    with connected(edge) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def connected(edge) -> socket.socket:
    host, _, port = edge.address.partition(":")
    return socket.create_connection((host, int(port)), 5)


def accepts(edge) -> bool:
    try:
        connected(edge).close()
    except OSError:
        return False
    return True


def may_post(edge) -> bool:
    with connected(edge) as probe:
        probe.settimeout(0.2)
        try:
            return probe.recv(1) != b""
        except TimeoutError:
            return True


def http2_limits(connection: socket.socket) -> tuple[dict[int, int], int]:
    """The server's first settings, and the window of the connection."""
    settings: dict[int, int] = {}
    window, received = 65535, b""
    connection.settimeout(5)
    while window == 65535:
        received += connection.recv(4096)
        while len(received) >= 9:
            length = int.from_bytes(received[:3], "big")
            if len(received) < 9 + length:
                break
            kind, payload = received[3], received[9 : 9 + length]
            received = received[9 + length :]
            if kind == 4:
                settings |= dict(struct.iter_unpack(">HI", payload))
            elif kind == 8:
                window += int.from_bytes(payload, "big")
    return settings, window
