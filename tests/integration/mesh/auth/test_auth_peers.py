"""The tokens that a service shows its peers, from a file and from a real token endpoint."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from support.http import Answer, HttpServer, Request
from support.tokens import Issuer, bearer

from mesh.auth import peer_tokens
from mesh.auth.caller import current_caller
from mesh.auth.peer_tokens import ClientCredentials, TokenFile
from mesh.errors import MeshError
from mesh.peers import open_channel

Serve = Callable[..., Awaitable[Any]]
GET = pb.GetUserRequest(user_id="ada")


def reason_in(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    assert status.details[0].Unpack(info)
    return str(info.reason)


class Endpoint:
    """A token endpoint of one client.

    Attributes:
        seconds: How long its tokens are good for; what it says of it, too.
        trouble: Answered instead of a token.
        audience: Whom its tokens are for; empty: the mesh.
        count: How many tokens it gave.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self.secret = "s3:cret/é"
        self.seconds: float | None = 3600.0
        self.trouble: Answer | None = None
        self.delay = 0.0
        self.audience = ""
        self.count = 0

    def answer(self, request: Request) -> Answer:
        if self.trouble is not None:
            return self.trouble
        shown = base64.b64decode(request.headers["authorization"].removeprefix("Basic "))
        if shown != b"user+service:s3%3Acret%2F%C3%A9" or request.method != "POST":
            return Answer(401, json={"error": "invalid_client"})
        assert request.form == {"grant_type": "client_credentials"}
        self.count += 1
        said = {} if self.seconds is None else {"expires_in": self.seconds}
        claims = {"aud": self.audience} if self.audience else {}
        token = self._issuer.mint("service:user", **claims)
        answer = {"access_token": token, "token_type": "bearer"}
        return Answer(json={**answer, **said}, delay=self.delay)


@pytest.fixture
def endpoint(issuer: Issuer) -> Endpoint:
    return Endpoint(issuer)


@pytest.fixture
def source(endpoint: Endpoint, tmp_path: Path) -> Iterator[ClientCredentials]:
    secret = tmp_path / "secret"
    secret.write_text(f"{endpoint.secret}\n")
    with HttpServer(endpoint.answer) as server:
        yield ClientCredentials(f"{server.url}/token", "user service", secret)


async def reason_of(source: ClientCredentials) -> str:
    with pytest.raises(MeshError) as refused:
        await source()
    return refused.value.reason


class TestClientCredentials:
    async def test_a_token_is_asked_for_once(
        self, source: ClientCredentials, endpoint: Endpoint
    ) -> None:
        endpoint.delay = 0.3
        tokens = await asyncio.gather(*(source() for _ in range(50)))
        assert len(set(tokens)) == 1
        assert await source() == tokens[0]
        assert endpoint.count == 1

    async def test_it_is_renewed_before_its_end(
        self,
        source: ClientCredentials,
        endpoint: Endpoint,
        eventually: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(peer_tokens, "_RENEWED_AFTER", 0.01)
        endpoint.seconds = 60
        first = await source()
        await asyncio.sleep(0.6)
        endpoint.delay = 4
        async with asyncio.timeout(3):
            assert await source() == first, "nobody waits while the old one is good"

        async def renewed() -> bool:
            return await source() != first

        await eventually(renewed)
        assert endpoint.count >= 2

    async def test_a_failing_endpoint_leaves_the_old_one_to_its_end(
        self,
        source: ClientCredentials,
        endpoint: Endpoint,
        eventually: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(peer_tokens, "_RENEWED_AFTER", 0.01)
        endpoint.seconds = 4
        first = await source()
        endpoint.trouble = Answer(503)
        await asyncio.sleep(0.1)
        assert await source() == first
        await asyncio.sleep(1)
        assert await source() == first

        async def gone() -> bool:
            try:
                return await source() == ""
            except MeshError as error:
                return error.reason == "PEER_TOKEN_UNAVAILABLE"

        await eventually(gone)
        endpoint.trouble = None

        async def back() -> bool:
            try:
                return await source() != first
            except MeshError:
                return False

        await eventually(back)

    @pytest.mark.parametrize(
        ("trouble", "reason"),
        [
            (Answer(400, json={"error": "invalid_client"}), "PEER_TOKEN_MISSING"),
            (Answer(401), "PEER_TOKEN_MISSING"),
            (Answer(403), "PEER_TOKEN_MISSING"),
            (Answer(302), "PEER_TOKEN_UNAVAILABLE"),
            (Answer(500), "PEER_TOKEN_UNAVAILABLE"),
            (Answer(body=b"<html>"), "PEER_TOKEN_UNAVAILABLE"),
            (Answer(body=b"x" * (1 << 20)), "PEER_TOKEN_UNAVAILABLE"),
            (Answer(json=[]), "PEER_TOKEN_UNAVAILABLE"),
            (Answer(json={}), "PEER_TOKEN_UNAVAILABLE"),
            (
                Answer(json={"access_token": "a\nb", "token_type": "bearer"}),
                "PEER_TOKEN_UNAVAILABLE",
            ),
            (Answer(json={"access_token": "a", "token_type": "mac"}), "PEER_TOKEN_UNAVAILABLE"),
            (
                Answer(json={"access_token": "a", "token_type": "bearer", "expires_in": 0}),
                "PEER_TOKEN_UNAVAILABLE",
            ),
            (
                Answer(json={"access_token": "a", "token_type": "bearer", "expires_in": "soon"}),
                "PEER_TOKEN_UNAVAILABLE",
            ),
            (
                Answer(json={"access_token": "a", "token_type": "bearer"}),
                "PEER_TOKEN_UNAVAILABLE",
            ),
        ],
    )
    async def test_what_is_no_token(
        self, trouble: Answer, reason: str, source: ClientCredentials, endpoint: Endpoint
    ) -> None:
        endpoint.trouble = trouble
        assert await reason_of(source) == reason

    async def test_an_endpoint_that_refuses_is_not_asked_all_the_time(
        self, source: ClientCredentials, endpoint: Endpoint
    ) -> None:
        asked = 0

        def answer(request: Request) -> Answer:
            nonlocal asked
            asked += 1
            return Answer(401)

        endpoint.secret = "changed"
        endpoint.answer = answer  # type: ignore[method-assign]  # counts
        with HttpServer(answer) as server:
            source._url = server.url
            for _ in range(50):
                assert await reason_of(source) == "PEER_TOKEN_MISSING"
        assert asked < 10

    async def test_a_token_may_tell_its_end_itself(
        self, source: ClientCredentials, endpoint: Endpoint
    ) -> None:
        endpoint.seconds = None
        assert await source() == await source()
        assert endpoint.count == 1

    async def test_a_secret_may_change(
        self, endpoint: Endpoint, tmp_path: Path, eventually: Any
    ) -> None:
        secret = tmp_path / "other"
        with HttpServer(endpoint.answer) as server:
            source = ClientCredentials(server.url, "user service", secret)
            assert await reason_of(source) == "PEER_TOKEN_MISSING"
            secret.write_text(endpoint.secret)

            async def taken() -> bool:
                try:
                    return bool(await source())
                except MeshError:
                    return False

            await eventually(taken)

    async def test_an_endpoint_that_is_away(
        self, tmp_path: Path, free_port: Callable[[], int]
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("secret")
        source = ClientCredentials(f"http://127.0.0.1:{free_port()}/", "me", secret)
        assert await reason_of(source) == "PEER_TOKEN_UNAVAILABLE"


class TestChannels:
    @pytest.fixture
    async def running(self, serve: Serve, behaviour: Any) -> Any:
        async def unary(request: Any, context: Any) -> None:
            behaviour.seen.append(current_caller.get())

        async def stream(request: Any, context: Any) -> AsyncIterator[int]:
            behaviour.seen.append(current_caller.get())
            yield 1

        behaviour.unary, behaviour.stream = unary, stream
        return await serve()

    async def test_every_call_shows_the_token(
        self, running: Any, source: ClientCredentials, behaviour: Any
    ) -> None:
        async with open_channel(running.address, token_source=source) as channel:
            await pb_grpc.UserServiceStub(channel).GetUser(GET)
            request = notify_pb.SubscribeRequest(user_id="ada")
            stream = notify_grpc.NotificationServiceStub(channel).Subscribe(request)
            assert (await stream.read()).cursor == "1"
        assert [caller.subject for caller in behaviour.seen] == ["service:user"] * 2

    async def test_a_token_of_the_calls_own_counts(
        self, running: Any, source: ClientCredentials, behaviour: Any, issuer: Issuer
    ) -> None:
        async with open_channel(running.address, token_source=source) as channel:
            own = bearer(issuer.mint("ada"))
            await pb_grpc.UserServiceStub(channel).GetUser(GET, metadata=own)
        assert [caller.subject for caller in behaviour.seen] == ["ada"]

    async def test_a_token_that_a_peer_refuses_is_given_up(
        self, running: Any, source: ClientCredentials, endpoint: Endpoint, eventually: Any
    ) -> None:
        endpoint.audience = "somebody else"
        async with open_channel(running.address, token_source=source) as channel:
            users = pb_grpc.UserServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await users.GetUser(GET)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            endpoint.audience = ""

            async def taken() -> bool:
                try:
                    await users.GetUser(GET)
                except grpc.aio.AioRpcError:
                    return False
                return True

            await eventually(taken)
        assert endpoint.count == 2

    async def test_a_token_that_is_always_refused_makes_few_requests(
        self, running: Any, source: ClientCredentials, endpoint: Endpoint
    ) -> None:
        endpoint.audience = "somebody else"
        async with open_channel(running.address, token_source=source) as channel:
            users = pb_grpc.UserServiceStub(channel)
            for _ in range(30):
                with pytest.raises(grpc.aio.AioRpcError):
                    await users.GetUser(GET)
        assert 1 <= endpoint.count <= 3

    async def test_a_file_is_followed(
        self, running: Any, tmp_path: Path, issuer: Issuer, behaviour: Any
    ) -> None:
        path = tmp_path / "token"
        path.write_text(issuer.mint("service:one"))
        async with open_channel(running.address, token_source=TokenFile(path)) as channel:
            users = pb_grpc.UserServiceStub(channel)
            await users.GetUser(GET)
            path.write_text(issuer.mint("service:another"))
            await users.GetUser(GET)
        assert [caller.subject for caller in behaviour.seen] == ["service:one", "service:another"]

    @pytest.mark.parametrize(
        "kind", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
    )
    async def test_without_a_token_nothing_is_sent(
        self, kind: str, running: Any, tmp_path: Path, behaviour: Any
    ) -> None:
        missing = TokenFile(tmp_path / "nothing")
        async with open_channel(running.address, token_source=missing) as channel:
            # A server would answer UNIMPLEMENTED.
            make = getattr(channel, kind)("/x/y")
            call = make(b"") if kind.startswith("unary") else make(iter([b""]))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await (call if kind.endswith("unary") else call.read())
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert reason_in(refused.value) == "PEER_TOKEN_MISSING"
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED

    async def test_an_endpoint_that_is_away_is_unavailable(
        self, running: Any, tmp_path: Path, free_port: Callable[[], int], behaviour: Any
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("secret")
        source = ClientCredentials(f"http://127.0.0.1:{free_port()}/", "me", secret)
        async with open_channel(running.address, token_source=source) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await pb_grpc.UserServiceStub(channel).GetUser(GET)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_in(refused.value) == "PEER_TOKEN_UNAVAILABLE"
        assert not behaviour.seen

    async def test_the_deadline_of_the_call_counts(
        self, running: Any, source: ClientCredentials, endpoint: Endpoint
    ) -> None:
        endpoint.delay = 4
        async with open_channel(running.address, token_source=source) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=0.5)
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
