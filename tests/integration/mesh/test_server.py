"""Health, reflection, the address, and the end of a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc
from support.tokens import bearer

from mesh import contracts

Serve = Callable[..., Awaitable[Any]]
GET = pb.GetUserRequest(user_id="u1")
SUBSCRIBE = notify_pb.SubscribeRequest(user_id="u1")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
OWN = {
    "marquee.user.v1.UserService",
    "marquee.notify.v1.NotificationService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
}


async def for_ever(request: Any, context: Any) -> AsyncIterator[int]:
    yield 0
    await asyncio.Event().wait()


class TestHealth:
    async def test_check_knows_the_server_and_its_services(self, serve: Serve) -> None:
        running = await serve()
        async with grpc.aio.insecure_channel(running.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for name in ("", "marquee.user.v1.UserService"):
                reply = await health.Check(health_pb2.HealthCheckRequest(service=name))
                assert reply.status == SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await health.Check(health_pb2.HealthCheckRequest(service="marquee.Nothing"))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            await running.server.set_serving(False)
            reply = await health.Check(health_pb2.HealthCheckRequest())
            assert reply.status == NOT_SERVING

    async def test_watch_tells_of_changes_and_does_not_hold_up_the_end(self, serve: Serve) -> None:
        running = await serve(drain_seconds=0.1, grace_seconds=20)
        async with grpc.aio.insecure_channel(running.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="marquee.user.v1.UserService")
            )
            assert (await watch.read()).status == SERVING
            begin = time.monotonic()
            draining = asyncio.create_task(running.server.drain())
            assert (await watch.read()).status == NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            await draining
        assert time.monotonic() - begin < 10


async def services_of(address: str, *metadata: tuple[str, str]) -> set[str]:
    async with grpc.aio.insecure_channel(address) as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        replies = reflection.ServerReflectionInfo(iter([ask]), metadata=metadata)
        reply = await replies.read()
        return {service.name for service in reply.list_services_response.service}


class TestReflection:
    async def test_a_service_tells_of_itself(self, serve: Serve) -> None:
        assert await services_of((await serve()).address) == OWN

    async def test_the_edge_is_told_of_the_whole_mesh(self, serve: Serve) -> None:
        found = await services_of((await serve()).address, ("x-marquee-reflection-scope", "mesh"))
        assert found >= set(contracts.services())

    async def test_files_of_the_whole_mesh_can_be_had(self, serve: Serve) -> None:
        running = await serve()
        async with grpc.aio.insecure_channel(running.address) as channel:
            ask = reflection_pb2.ServerReflectionRequest(
                file_containing_symbol="marquee.reco.v1.RecommendationService"
            )
            replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                iter([ask]), metadata=[("x-marquee-reflection-scope", "mesh")]
            )
            assert (await replies.read()).file_descriptor_response.file_descriptor_proto

    async def test_it_can_be_turned_off(self, serve: Serve) -> None:
        running = await serve(reflection=False)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services_of(running.address)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_metadata_that_the_edge_lets_through_are_taken_every_time(serve: Serve) -> None:
    running = await serve()
    async with running.channel() as channel:
        users = pb_grpc.UserServiceStub(channel)
        metadata = [*bearer(running.issuer.mint()), ("x-long", "x" * 12_000)]
        for _ in range(40):
            await users.GetUser(GET, metadata=metadata, timeout=20)


async def test_a_second_server_on_the_port_says_so(serve: Serve) -> None:
    running = await serve()
    with pytest.raises(OSError, match=f"cannot listen on {running.address}: Address already"):
        await serve(listen=running.address)


async def test_a_foreign_address_is_refused(serve: Serve) -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:50051: "):
        await serve(listen="192.0.2.1:50051")


class TestDrain:
    async def test_a_call_under_way_is_finished_and_new_ones_are_refused(
        self, behaviour: Any, serve: Serve
    ) -> None:
        started, finish = asyncio.Event(), asyncio.Event()

        async def handler(request: Any, context: Any) -> None:
            started.set()
            await finish.wait()

        running = await serve(drain_seconds=0, grace_seconds=10)
        behaviour.unary = handler
        async with (
            running.channel() as channel,
            running.channel() as other,
        ):
            call = asyncio.ensure_future(pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=20))
            await started.wait()
            draining = asyncio.create_task(running.server.drain())
            await asyncio.sleep(0.2)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await pb_grpc.UserServiceStub(other).GetUser(GET, timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert not draining.done()
            finish.set()
            assert (await call).user.id == "u1"
            await draining

    async def test_calls_are_still_served_during_the_pause(self, serve: Serve) -> None:
        running = await serve(drain_seconds=1, grace_seconds=1)
        async with running.channel() as channel:
            draining = asyncio.create_task(running.server.drain())
            await asyncio.sleep(0.1)
            health = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
            assert (await pb_grpc.UserServiceStub(channel).GetUser(GET)).user.id == "u1"
            await draining

    async def test_a_stream_that_knows_of_the_end_ends_by_itself(
        self, behaviour: Any, serve: Serve
    ) -> None:
        running = await serve(grace_seconds=20)

        async def stream(request: Any, context: Any) -> AsyncIterator[int]:
            yield 0
            await running.draining.wait()
            yield 1

        behaviour.stream = stream
        async with running.channel() as channel:
            call = notify_grpc.NotificationServiceStub(channel).Subscribe(SUBSCRIBE)
            assert (await call.read()).cursor == "0"
            await asyncio.gather(running.server.drain(), assert_ends(call, "1"))

    async def test_a_stream_that_does_not_is_ended(self, behaviour: Any, serve: Serve) -> None:
        running = await serve(grace_seconds=20)
        behaviour.stream = for_ever
        begin = time.monotonic()
        async with running.channel() as channel:
            call = notify_grpc.NotificationServiceStub(channel).Subscribe(SUBSCRIBE)
            await call.read()
            await running.server.drain()
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - begin < 10

    async def test_a_call_that_outlasts_the_grace_is_cancelled(
        self, behaviour: Any, serve: Serve
    ) -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def handler(request: Any, context: Any) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.2)  # for example to abort a transaction
                ended.set()

        running = await serve(grace_seconds=0.3)
        behaviour.unary = handler
        async with running.channel() as channel:
            call = pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=20)
            waiting = asyncio.ensure_future(call.code())
            await started.wait()
            await running.server.drain()
            assert ended.is_set(), "drain waits for what a handler does at its end"
            assert await waiting in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


async def assert_ends(call: Any, last: str) -> None:
    assert (await call.read()).cursor == last
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
