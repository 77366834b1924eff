"""What one caller can take from the others, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from support.tokens import ALL_SCOPES

Serve = Callable[..., Awaitable[Any]]


async def endless(request: Any, context: Any) -> AsyncIterator[int]:
    yield 0
    await asyncio.Event().wait()


def subscribe(channel: Any, person: str) -> Any:
    request = notify_pb.SubscribeRequest(user_id=person)
    return notify_grpc.NotificationServiceStub(channel).Subscribe(request, timeout=60)


async def refusal(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(refused.value)
    assert status is not None
    kinds = {detail.TypeName() for detail in status.details}
    assert "google.rpc.RetryInfo" in kinds
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.reason


@pytest.fixture
def scopes() -> list[str]:
    return [scope for scope in ALL_SCOPES if scope != "subjects.any"]


async def test_one_person_holds_no_more_than_their_share(
    behaviour: Any, serve: Serve, scopes: list[str]
) -> None:
    behaviour.stream = endless
    running = await serve(max_calls_per_user=3)
    ada, bob = (running.issuer.mint(person, scopes) for person in ("ada", "bob"))
    async with running.channel(ada) as channel, running.channel(bob) as other:
        held = [subscribe(channel, "ada") for _ in range(3)]
        await asyncio.gather(*(stream.read() for stream in held))
        assert await refusal(subscribe(channel, "ada").read()) == "TOO_MANY_CALLS"
        get = pb.GetUserRequest(user_id="ada")
        assert await refusal(pb_grpc.UserServiceStub(channel).GetUser(get)) == "TOO_MANY_CALLS"
        await subscribe(other, "bob").read()
        held[0].cancel()
        async with asyncio.timeout(20):
            while True:
                try:
                    await pb_grpc.UserServiceStub(channel).GetUser(get)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)


async def test_live_streams_keep_out_no_call(behaviour: Any, serve: Serve) -> None:
    behaviour.stream = endless
    running = await serve(max_streams=2, max_concurrent_rpcs=1, max_calls_per_user=1)
    async with running.channel() as channel:  # a service's: one person's share does not bind it
        held = [subscribe(channel, "ada") for _ in range(2)]
        await asyncio.gather(*(stream.read() for stream in held))
        assert await refusal(subscribe(channel, "ada").read()) == "TOO_MANY_CALLS"
        answer = await pb_grpc.UserServiceStub(channel).GetUser(pb.GetUserRequest(user_id="u1"))
        assert answer.user.id == "u1"
