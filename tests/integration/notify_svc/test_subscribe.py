import asyncio
import time
from typing import Any

import grpc
import pytest
from marquee.notify.v1 import notification_service_pb2 as pb
from marquee.user.v1 import user_pb2


def subscribe(stub: Any, cursor: str = "", user_id: str = "ada") -> Any:
    return stub.Subscribe(pb.SubscribeRequest(user_id=user_id, cursor=cursor))


def sequences(messages: list[pb.SubscribeResponse]) -> list[int]:
    return [message.notification.sequence for message in messages]


async def test_a_stream_begins_with_a_heartbeat_and_goes_on_with_news(
    world: Any, make: Any, read: Any
) -> None:
    await world.handle(make.list_changed("Before"))
    async with world.running() as stub:
        phone, tablet, other = subscribe(stub), subscribe(stub), subscribe(stub, user_id="bob")
        for stream in (phone, tablet, other):
            (first,) = await read(stream, 1)
            assert first.HasField("heartbeat")
            assert first.cursor
        await world.handle(make.list_changed("Heat"), make.list_changed("Ronin"))
        await world.handle(make.list_changed("Fargo", user_id="bob"))
        for stream in (phone, tablet):
            news = await read(stream, 2)
            assert sequences(news) == [2, 3]
            assert [message.notification.title for message in news] == [
                "New for you: Heat",
                "New for you: Ronin",
            ]
        (of_bob,) = await read(other, 1)
        assert of_bob.notification.user_id == "bob"
        for stream in (phone, tablet, other):
            stream.cancel()


async def test_a_resumed_stream_brings_what_was_missed_first(
    world: Any, make: Any, read: Any
) -> None:
    async with world.running() as stub:
        stream = subscribe(stub)
        (first,) = await read(stream, 1)
        stream.cancel()
        for number in range(120):
            await world.handle(make.list_changed(f"Movie {number}"))
        stream = subscribe(stub, first.cursor)
        messages = await read(stream, 121)
        assert messages[0].cursor == first.cursor
        assert messages[0].HasField("heartbeat")
        assert sequences(messages[1:]) == list(range(1, 121))
        await world.handle(make.list_changed("Live"))
        (live,) = await read(stream, 1)
        assert live.notification.sequence == 121
        stream.cancel()
        stream = subscribe(stub, messages[100].cursor)
        assert sequences((await read(stream, 22))[1:]) == list(range(101, 122))
        stream.cancel()


async def test_nothing_is_missed_across_a_restart(world: Any, make: Any, eventually: Any) -> None:
    """A client that resumes after every error sees each notification once, in order."""
    seen: list[int] = []
    cursor = ""

    async def read_on(stream: Any) -> None:
        nonlocal cursor
        async for message in stream:
            cursor = message.cursor
            if message.HasField("notification"):
                seen.append(message.notification.sequence)

    async def follow(stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read_on(subscribe(stub, cursor))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    async def subscribed() -> bool:
        return cursor != ""

    async def complete() -> bool:
        return len(seen) >= 60

    async def produce() -> None:
        for number in range(60):
            await world.handle(make.list_changed(f"Movie {number}"))
            await asyncio.sleep(0.01)

    producing: asyncio.Task[None] | None = None
    for _ in range(4):
        async with world.running() as stub:
            following = asyncio.create_task(follow(stub))
            await eventually(subscribed)
            producing = producing or asyncio.create_task(produce())
            await asyncio.sleep(0.2)
        await asyncio.wait_for(following, 30)
    assert producing is not None
    await producing
    async with world.running() as stub:
        following = asyncio.create_task(follow(stub))
        await eventually(complete)
    await asyncio.wait_for(following, 30)
    assert seen == list(range(1, 61))


async def test_a_draining_server_ends_its_streams_and_is_gone(world: Any, read: Any) -> None:
    async with world.running() as stub:
        streams = [subscribe(stub) for _ in range(5)]
        for stream in streams:
            await read(stream, 1)
        begin = time.monotonic()
    # Streams that did not end by themselves would hold the server for all of its grace, 20 s.
    assert time.monotonic() - begin < 15
    for stream in streams:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "subscribe again" in (caught.value.details() or "")


async def test_an_idle_stream_beats(world: Any, read: Any) -> None:
    async with world.running(heartbeat_seconds=0.1) as stub:
        stream = subscribe(stub)
        messages = await read(stream, 4)
        assert all(message.HasField("heartbeat") for message in messages)
        assert len({message.cursor for message in messages}) == 1
        stream.cancel()


async def test_muted_streams_stay_silent_also_on_resumption(
    world: Any, make: Any, read: Any
) -> None:
    async with world.running() as stub:
        stream = subscribe(stub)
        (first,) = await read(stream, 1)
        await world.handle(make.user_changed(1, user_pb2.CHANNEL_STREAM), make.list_changed("A"))
        await world.handle(make.user_changed(2, user_pb2.CHANNEL_INBOX), make.list_changed("B"))
        assert sequences(await read(stream, 1)) == [2]
        stream.cancel()
        stream = subscribe(stub, first.cursor)
        assert sequences((await read(stream, 2))[1:]) == [2]
        stream.cancel()


async def test_a_subscriber_who_leaves_is_forgotten(world: Any, read: Any, eventually: Any) -> None:
    async with world.running() as stub:
        hub = stub.application.components[1]
        streams = [subscribe(stub), subscribe(stub)]
        for stream in streams:
            await read(stream, 1)
        assert len(hub._listeners["ada"]) == 2
        for stream in streams:
            stream.cancel()

        async def forgotten() -> bool:
            return not hub._listeners

        await eventually(forgotten)
