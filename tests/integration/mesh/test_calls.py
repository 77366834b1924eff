"""What a caller sees of a call, over a real connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc

from mesh import errors
from mesh.background import start_background
from mesh.deadline import remaining_seconds
from mesh.mongo.client import Session, connect, in_transaction

Serve = Callable[..., Awaitable[Any]]
GET = pb.GetUserRequest(user_id="u1")


async def failure_of(call: Any) -> tuple[grpc.aio.AioRpcError, status_pb2.Status | None]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    status = await rpc_status.aio.from_call(call) if hasattr(call, "trailing_metadata") else None
    return error, status


def detail(status: status_pb2.Status, kind: Any) -> Any:
    found = kind()
    assert any(packed.Unpack(found) for packed in status.details), f"no {kind.__name__}"
    return found


def raising(error: BaseException) -> Callable[[Any, Any], Awaitable[None]]:
    async def handler(request: Any, context: Any) -> None:
        raise error

    return handler


async def test_errors_reach_the_caller_with_their_details(behaviour: Any, serve: Serve) -> None:
    running = await serve()
    async with running.channel() as channel:
        users = pb_grpc.UserServiceStub(channel)
        behaviour.unary = raising(errors.NotFound("user", "u1"))
        error, status = await failure_of(users.GetUser(GET))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert detail(status, error_details_pb2.ErrorInfo).reason == "USER_NOT_FOUND"
        assert detail(status, error_details_pb2.ResourceInfo).resource_name == "u1"

        behaviour.unary = raising(errors.Unavailable("AWAY", "away", retry_after=1.5))
        error, status = await failure_of(users.GetUser(GET))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        retry = detail(status, error_details_pb2.RetryInfo).retry_delay
        assert retry.ToTimedelta().total_seconds() == 1.5


async def test_an_unexpected_exception_leaks_nothing(behaviour: Any, serve: Serve) -> None:
    running = await serve()
    behaviour.unary = raising(RuntimeError("password=hunter2"))
    async with running.channel() as channel:
        error, status = await failure_of(pb_grpc.UserServiceStub(channel).GetUser(GET))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(error) + str(status)
    assert detail(status, error_details_pb2.ErrorInfo).reason == "INTERNAL"


async def test_many_and_long_violations_still_arrive(behaviour: Any, serve: Serve) -> None:
    running = await serve()
    violations = [errors.FieldViolation(f"rows[{i}].id", "电" * 300) for i in range(1000)]
    behaviour.unary = raising(errors.InvalidArgument(violations))
    async with running.channel() as channel:
        error, status = await failure_of(pb_grpc.UserServiceStub(channel).GetUser(GET))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = detail(status, error_details_pb2.BadRequest).field_violations
    assert found[0].field == "rows[0].id"


async def test_bytes_that_are_no_message_are_the_callers_fault(serve: Serve) -> None:
    running = await serve()
    async with running.channel() as channel:
        call = channel.unary_unary("/marquee.user.v1.UserService/GetUser")(b"\xff\xff\xff")
        error, status = await failure_of(call)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert detail(status, error_details_pb2.BadRequest).field_violations[0].field == "request"
        stream = channel.unary_stream("/marquee.notify.v1.NotificationService/Subscribe")(b"\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_error_within_a_stream_comes_after_what_was_sent(
    behaviour: Any, serve: Serve
) -> None:
    async def stream(request: Any, context: Any) -> AsyncIterator[int]:
        yield 1
        raise errors.Aborted("LOST", "lost")

    running = await serve()
    behaviour.stream = stream
    async with running.channel() as channel:
        call = notify_grpc.NotificationServiceStub(channel).Subscribe(
            notify_pb.SubscribeRequest(user_id="u1")
        )
        assert (await call.read()).cursor == "1"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.ABORTED
        status = await rpc_status.aio.from_call(call)
        assert detail(status, error_details_pb2.ErrorInfo).reason == "LOST"


async def test_an_abandoned_stream_ends_where_it_waits(behaviour: Any, serve: Serve) -> None:
    ended = asyncio.Event()

    async def stream(request: Any, context: Any) -> AsyncIterator[int]:
        try:
            for number in range(10**9):
                yield number
        finally:
            ended.set()

    running = await serve()
    behaviour.stream = stream
    async with running.channel() as channel:
        call = notify_grpc.NotificationServiceStub(channel).Subscribe(
            notify_pb.SubscribeRequest(user_id="u1")
        )
        await call.read()
        call.cancel()  # while the server is held up by a window that nobody empties
        async with asyncio.timeout(5):
            await ended.wait()


class TestDeadlines:
    async def test_work_in_the_background_has_none(
        self, behaviour: Any, serve: Serve, mongo_database: Any
    ) -> None:
        tasks: list[asyncio.Task[float | None]] = []

        async def work() -> float | None:
            await asyncio.sleep(0.6)
            await mongo_database["things"].insert_one({})
            return remaining_seconds()

        async def handler(request: Any, context: Any) -> None:
            tasks.append(start_background(work()))

        running = await serve()
        behaviour.unary = handler
        async with running.channel() as channel:
            await pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=0.5)
        assert await tasks[0] is None

    async def test_the_default_applies(self, behaviour: Any, serve: Serve) -> None:
        async def handler(request: Any, context: Any) -> None:
            behaviour.seen.append(remaining_seconds())

        running = await serve()
        behaviour.unary = handler
        async with running.channel() as channel:
            users = pb_grpc.UserServiceStub(channel)
            await users.GetUser(GET)
            await users.GetUser(GET, timeout=1.5)
            await users.GetUser(GET, timeout=3600)
        default, asked, capped = behaviour.seen
        assert 1.7 < default <= 2, "GetUser's default is 2 s"
        assert 0 < asked < 1.7
        assert 25 < capped <= 30, "GetUser's longest is 30 s"
        assert remaining_seconds() is None

    async def test_the_server_ends_a_call_at_its_default(
        self, behaviour: Any, serve: Serve
    ) -> None:
        cancelled = asyncio.Event()

        async def handler(request: Any, context: Any) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        running = await serve()
        behaviour.unary = handler
        begin = time.monotonic()
        async with running.channel() as channel:
            error, status = await failure_of(pb_grpc.UserServiceStub(channel).GetUser(GET))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert detail(status, error_details_pb2.ErrorInfo).reason == "DEADLINE_EXCEEDED"
        assert cancelled.is_set()
        assert 1.5 < time.monotonic() - begin < 10

    async def test_a_stream_nobody_reads_ends_at_its_deadline(
        self, behaviour: Any, serve: Serve
    ) -> None:
        ended = asyncio.Event()

        async def stream(request: Any, context: Any) -> AsyncIterator[int]:
            try:
                for number in range(10**9):
                    yield number
            finally:
                ended.set()

        running = await serve()
        behaviour.stream = stream
        async with running.channel() as channel:
            call = notify_grpc.NotificationServiceStub(channel).Subscribe(
                notify_pb.SubscribeRequest(user_id="u1"), timeout=0.5
            )
            async with asyncio.timeout(5):
                await ended.wait()
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    async def test_a_database_that_is_away_is_told_before_the_deadline(
        self, behaviour: Any, serve: Serve, free_port: Any
    ) -> None:
        client = connect(f"mongodb://127.0.0.1:{free_port()}/?directConnection=true", "test")

        async def read(request: Any, context: Any) -> None:
            await client["test"]["things"].find_one({})

        async def write(request: Any, context: Any) -> None:
            async def callback(session: Session) -> None:
                await client["test"]["things"].insert_one({}, session=session)

            await in_transaction(client, callback)

        async def reason_of(channel: grpc.aio.Channel) -> str:
            call = pb_grpc.UserServiceStub(channel).GetUser(GET, timeout=2.5)
            error, status = await failure_of(call)
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return "too late"  # this machine may be that slow, but not every time
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            return str(detail(status, error_details_pb2.ErrorInfo).reason)

        running = await serve()
        async with running.channel() as channel:
            for handler in (read, write):
                behaviour.unary = handler
                reasons = [await reason_of(channel)]
                while reasons[-1] == "too late" and len(reasons) < 4:
                    reasons.append(await reason_of(channel))
                assert reasons[-1] == "DATABASE_UNAVAILABLE"
        await client.close()

    async def test_a_timeout_of_the_handlers_own_is_not_the_callers(
        self, behaviour: Any, serve: Serve
    ) -> None:
        running = await serve()
        behaviour.unary = raising(TimeoutError("mine"))
        async with running.channel() as channel:
            error, _ = await failure_of(pb_grpc.UserServiceStub(channel).GetUser(GET))
        assert error.code() is grpc.StatusCode.INTERNAL


async def test_a_message_beyond_the_limit_is_refused(serve: Serve) -> None:
    running = await serve(max_message_bytes=65_536)
    async with running.channel() as channel:
        request = pb.GetUserRequest(user_id="x" * 70_000)
        error, _ = await failure_of(pb_grpc.UserServiceStub(channel).GetUser(request))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_beyond_the_limit_are_refused_but_health_is_not(
    behaviour: Any, serve: Serve
) -> None:
    release, full = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, context: Any) -> None:
        behaviour.seen.append(request)
        if len(behaviour.seen) == 2:
            full.set()
        await release.wait()

    running = await serve(max_concurrent_rpcs=2)
    behaviour.unary = handler
    async with running.channel() as channel:
        users = pb_grpc.UserServiceStub(channel)
        waiting = [users.GetUser(GET, timeout=20) for _ in range(2)]
        await full.wait()
        error, status = await failure_of(users.GetUser(GET))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert detail(status, error_details_pb2.ErrorInfo).reason == "TOO_MANY_CALLS"
        detail(status, error_details_pb2.RetryInfo)
        health = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert await health(b"") == b"\x08\x01"
        release.set()
        await asyncio.gather(*waiting)
        await users.GetUser(GET)
