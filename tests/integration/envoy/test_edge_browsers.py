"""grpc-web, and who may call from which web page."""

from __future__ import annotations

import struct

import httpx
import pytest
from marquee.user.v1 import user_service_pb2 as user_pb
from support.tokens import bearer

GET_USER = "marquee.user.v1.UserService/GetUser"


@pytest.fixture(scope="module")
def client(edge):
    headers = {"content-type": "application/json", **dict(bearer(edge.issuer.mint()))}
    with httpx.Client(base_url=f"http://{edge.address}", headers=headers, timeout=10) as opened:
        yield opened


def grpc_web_frames(body: bytes) -> list[tuple[int, bytes]]:
    frames = []
    while body:
        kind, length = struct.unpack(">BI", body[:5])
        frames.append((kind, body[5 : 5 + length]))
        body = body[5 + length :]
    return frames


@pytest.mark.parametrize(("user_id", "status"), [("ada", "0"), ("", "3"), ("slow", "4")])
def test_grpc_web(client, user_id, status):
    message = user_pb.GetUserRequest(user_id=user_id).SerializeToString()
    reply = client.post(
        f"/{GET_USER}",
        content=struct.pack(">BI", 0, len(message)) + message,
        headers={
            "content-type": "application/grpc-web+proto",
            "x-grpc-web": "1",
            "origin": "https://example.org",
        },
    )

    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == "https://example.org"
    assert "grpc-status" in reply.headers["access-control-expose-headers"]
    frames = grpc_web_frames(reply.content)
    trailers = dict(
        line.split(":", 1)
        for kind, frame in frames
        if kind == 0x80
        for line in frame.decode().splitlines()
    )
    assert (trailers or reply.headers)["grpc-status"] == status
    if status == "0":
        assert user_pb.GetUserResponse.FromString(frames[0][1]).user.id == user_id


@pytest.mark.parametrize(
    "origin", ["https://example.org.evil.example", "http://example.org", "null"]
)
def test_other_origins_may_not_ask(client, origin):
    reply = client.options(
        f"/{GET_USER}", headers={"origin": origin, "access-control-request-method": "POST"}
    )

    assert "access-control-allow-origin" not in reply.headers


def test_no_origin_may_call_unless_named(make_edge):
    edge = make_edge(cors_origins=())
    reply = edge.post(GET_USER, '{"userId": "ada"}', origin="https://example.org")

    assert reply.status_code == 200  # who is no browser may send what it likes
    assert "access-control-allow-origin" not in reply.headers


def test_a_browser_may_ask_beforehand(client):
    reply = client.options(
        f"/{GET_USER}",
        headers={
            "origin": "https://example.org",
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-grpc-web,content-type",
        },
    )

    assert reply.status_code == 200
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert "x-grpc-web" in reply.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in reply.headers
