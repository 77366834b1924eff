"""Keys that are published in a file or at an address, rotated, withdrawn, and out of reach."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from support.http import Answer, HttpServer
from support.tokens import Issuer, bearer

Serve = Callable[..., Awaitable[Any]]
GET = pb.GetUserRequest(user_id="ada")
CACHE_SECONDS = 1.0


class Caller:
    """Calls a server with tokens."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = pb_grpc.UserServiceStub(channel)

    async def reason(self, token: str) -> str:
        """The reason why a token is refused; empty: it is taken."""
        try:
            await self._stub.GetUser(GET, metadata=bearer(token), timeout=20)
        except grpc.aio.AioRpcError as error:
            info = error_details_pb2.ErrorInfo()
            status = rpc_status.from_call(error)
            assert status is not None
            assert status.details[0].Unpack(info)
            return str(info.reason)
        return ""

    async def until(self, token: str, reason: str, *, within: float = 15.0) -> float:
        """Waits until a token is answered so, and returns after how many seconds it was."""
        begin = time.monotonic()
        async with asyncio.timeout(within):
            while await self.reason(token) != reason:
                await asyncio.sleep(0.05)
        return time.monotonic() - begin


@asynccontextmanager
async def calling(serve: Serve, **settings: Any) -> AsyncIterator[Caller]:
    running = await serve(**{"auth_cache_seconds": CACHE_SECONDS, **settings})
    async with grpc.aio.insecure_channel(running.address) as channel:
        yield Caller(channel)


@pytest.fixture
def own_issuer(tmp_path: Path) -> Issuer:
    """An issuer of the test's own, whose keys it may change."""
    return Issuer(tmp_path)


@pytest.fixture
def publisher(own_issuer: Issuer) -> Iterator[HttpServer]:
    """Serves its keys."""
    with HttpServer(lambda _: Answer(json=own_issuer.jwks())) as server:
        yield server


class TestFile:
    async def test_rotation_and_withdrawal(self, serve: Serve, own_issuer: Issuer) -> None:
        async with calling(serve, auth_jwks=str(own_issuer.jwks_path)) as caller:
            old_kid, old = own_issuer.kid, own_issuer.mint()
            assert await caller.reason(old) == ""
            own_issuer.add_key()
            new = own_issuer.mint()
            await caller.until(new, "")
            assert await caller.reason(old) == "", "both are published"
            own_issuer.withdraw(old_kid)
            await caller.until(old, "TOKEN_KEY_UNKNOWN")
            assert await caller.reason(new) == ""

    async def test_one_that_is_written_in_place(self, serve: Serve, own_issuer: Issuer) -> None:
        async with calling(serve, auth_jwks=str(own_issuer.jwks_path)) as caller:
            token, path = own_issuer.mint(), own_issuer.jwks_path
            before = path.stat()
            path.write_text(path.read_text().replace(own_issuer.kid, own_issuer.kid[::-1]))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            await caller.until(token, "TOKEN_KEY_UNKNOWN")

    async def test_the_default_cache_time_does_not_delay_a_file(
        self, serve: Serve, own_issuer: Issuer
    ) -> None:
        async with calling(
            serve, auth_jwks=str(own_issuer.jwks_path), auth_cache_seconds=3600
        ) as caller:
            own_issuer.add_key()
            await caller.until(own_issuer.mint(), "", within=10)

    async def test_a_damaged_or_missing_file_changes_nothing_at_first(
        self, serve: Serve, own_issuer: Issuer
    ) -> None:
        async with calling(serve, auth_jwks=str(own_issuer.jwks_path)) as caller:
            token = own_issuer.mint()
            own_issuer.jwks_path.write_text("{")
            await asyncio.sleep(1.5)
            assert await caller.reason(token) == ""
            own_issuer.jwks_path.unlink()
            await asyncio.sleep(1.5)
            assert await caller.reason(token) == ""
            own_issuer.add_key()
            await caller.until(own_issuer.mint(), "")

    async def test_in_the_end_it_does(self, serve: Serve, own_issuer: Issuer) -> None:
        async with calling(
            serve, auth_jwks=str(own_issuer.jwks_path), auth_cache_seconds=0.2
        ) as caller:
            token = own_issuer.mint()
            own_issuer.jwks_path.write_text("{")
            await caller.until(token, "KEYS_UNAVAILABLE")
            own_issuer.publish()
            await caller.until(token, "")


class TestAddress:
    async def test_rotation_and_withdrawal(
        self, serve: Serve, own_issuer: Issuer, publisher: HttpServer
    ) -> None:
        async with calling(serve, auth_jwks=f"{publisher.url}/keys") as caller:
            old_kid, old = own_issuer.kid, own_issuer.mint()
            assert await caller.reason(old) == ""
            assert publisher.requests[0].path == "/keys"
            own_issuer.add_key()
            new = own_issuer.mint()
            await caller.until(new, "")
            assert await caller.reason(old) == ""
            own_issuer.withdraw(old_kid)
            await caller.until(old, "TOKEN_KEY_UNKNOWN")
            assert await caller.reason(new) == ""

    async def test_a_new_key_is_looked_for_before_the_time(
        self, serve: Serve, own_issuer: Issuer, publisher: HttpServer
    ) -> None:
        async with calling(serve, auth_jwks=publisher.url, auth_cache_seconds=3600) as caller:
            own_issuer.add_key()
            await caller.until(own_issuer.mint(), "", within=20)
            assert len(publisher.requests) == 2

    async def test_garbage_does_not_hammer_the_publisher(
        self, serve: Serve, own_issuer: Issuer, publisher: HttpServer
    ) -> None:
        async with calling(serve, auth_jwks=publisher.url, auth_cache_seconds=3600) as caller:
            claims, key = own_issuer.claims(), own_issuer.private_pem().decode()
            reasons = await asyncio.gather(
                *(caller.reason(own_issuer.sign(claims, key, kid=f"g{n}")) for n in range(300))
            )
            assert set(reasons) == {"TOKEN_KEY_UNKNOWN"}
            assert await caller.reason(own_issuer.mint()) == ""
        assert len(publisher.requests) < 10

    @pytest.mark.parametrize(
        "trouble",
        [
            Answer(500),
            Answer(302),
            Answer(json={"error": "later"}),
            Answer(body=b" " * (2 << 20)),
        ],
        ids=lambda answer: f"{answer.status} {len(answer.body)}",
    )
    async def test_an_outage(
        self, trouble: Answer, serve: Serve, own_issuer: Issuer, publisher: HttpServer
    ) -> None:
        async with calling(serve, auth_jwks=publisher.url, auth_cache_seconds=0.3) as caller:
            token = own_issuer.mint()
            good = publisher.answer
            publisher.answer = lambda _: trouble
            asked = len(publisher.requests)
            while len(publisher.requests) == asked:
                await asyncio.sleep(0.02)
            assert await caller.reason(token) == "", "the last keys serve"
            await caller.until(token, "KEYS_UNAVAILABLE")
            publisher.answer = good
            await caller.until(token, "")

    async def test_a_slow_publisher_delays_nobody(
        self, serve: Serve, own_issuer: Issuer, publisher: HttpServer
    ) -> None:
        async with calling(serve, auth_jwks=publisher.url) as caller:
            good = publisher.answer
            publisher.answer = lambda request: Answer(json=own_issuer.jwks(), delay=8)
            asked = len(publisher.requests)
            while len(publisher.requests) == asked:
                await asyncio.sleep(0.02)
            for _ in range(5):
                begin = time.monotonic()
                assert await caller.reason(own_issuer.mint()) == ""
                assert time.monotonic() - begin < 4
            begin = time.monotonic()
            assert await caller.reason(own_issuer.bad("unknown key").token or "")
            assert time.monotonic() - begin < 4.5, "who shows garbage waits no longer than a little"
            publisher.answer = good

    async def test_one_that_is_away_at_the_start(
        self, serve: Serve, own_issuer: Issuer, free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        async with calling(serve, auth_jwks=f"http://127.0.0.1:{port}/") as caller:
            token = own_issuer.mint()
            assert await caller.reason(token) == "KEYS_UNAVAILABLE"
            assert await caller.reason("garbage") == "TOKEN_MALFORMED"
            with HttpServer(lambda _: Answer(json=own_issuer.jwks()), port=port):
                await caller.until(token, "")

    async def test_one_that_never_answers_at_the_start(
        self, serve: Serve, own_issuer: Issuer, publisher: HttpServer
    ) -> None:
        good = publisher.answer
        publisher.answer = lambda _: Answer(json=own_issuer.jwks(), delay=60)
        begin = time.monotonic()
        async with calling(serve, auth_jwks=publisher.url) as caller:
            assert time.monotonic() - begin < 20
            token = own_issuer.mint()
            assert await caller.reason(token) == "KEYS_UNAVAILABLE"
            publisher.answer = good
            await caller.until(token, "")
