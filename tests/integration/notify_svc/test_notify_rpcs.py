from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as pb
from marquee.user.v1 import user_pb2


async def page(stub: Any, **fields: Any) -> pb.ListNotificationsResponse:
    return await stub.ListNotifications(pb.ListNotificationsRequest(user_id="ada", **fields))


async def test_pages_neither_skip_nor_repeat_while_news_arrive(world: Any, make: Any) -> None:
    for number in range(1, 11):
        await world.handle(make.list_changed(f"Movie {number}"))
    async with world.running() as stub:
        seen: list[int] = []
        token = ""
        while True:
            answer = await page(stub, page_size=3, page_token=token)
            seen += [notification.sequence for notification in answer.notifications]
            await world.handle(make.list_changed("Another"))
            token = answer.next_page_token
            if not token:
                break
        assert seen == list(range(10, 0, -1))
        newest = (await page(stub)).notifications[0]
        assert newest.sequence == 14
        assert newest.topic == "recommendations"
        assert list(newest.movie_ids) == ["Another"]
        assert newest.create_time.seconds > 0
        assert not newest.HasField("read_time")


async def test_reading(world: Any, make: Any) -> None:
    for number in range(4):
        await world.handle(make.list_changed(f"Movie {number}"))
    await world.handle(make.list_changed("Other", user_id="bob"))
    async with world.running() as stub:
        newest, *older = [notification.id for notification in (await page(stub)).notifications]
        (of_bob,) = (
            await stub.ListNotifications(pb.ListNotificationsRequest(user_id="bob"))
        ).notifications
        request = pb.MarkReadRequest(
            user_id="ada", notification_ids=[newest, older[1], of_bob.id, "unknown"]
        )
        assert await stub.MarkRead(request) == pb.MarkReadResponse(marked_count=2, unread_count=2)
        assert await stub.MarkRead(request) == pb.MarkReadResponse(marked_count=0, unread_count=2)
        count = pb.GetUnreadCountRequest(user_id="ada")
        assert (await stub.GetUnreadCount(count)).unread_count == 2
        unread = (await page(stub, unread_only=True)).notifications
        assert [notification.id for notification in unread] == [older[0], older[2]]
        read = [n.id for n in (await page(stub)).notifications if n.HasField("read_time")]
        assert read == [newest, older[1]]
        count = pb.GetUnreadCountRequest(user_id="bob")
        assert (await stub.GetUnreadCount(count)).unread_count == 1


async def test_what_is_not_listed_is_not_counted(world: Any, make: Any) -> None:
    await world.handle(make.user_changed(1, user_pb2.CHANNEL_INBOX), make.list_changed("Heat"))
    async with world.running() as stub:
        assert len((await page(stub)).notifications) == 0
        count = pb.GetUnreadCountRequest(user_id="ada")
        assert (await stub.GetUnreadCount(count)).unread_count == 0


async def test_nobody_knows_of_a_stranger(world: Any) -> None:
    async with world.running() as stub:
        assert await page(stub) == pb.ListNotificationsResponse()


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("ListNotifications", pb.ListNotificationsRequest(), ["user_id"]),
        (
            "ListNotifications",
            pb.ListNotificationsRequest(user_id="a/b", page_size=-5, page_token="?"),
            ["user_id", "page_size", "page_token"],
        ),
        (
            "ListNotifications",
            pb.ListNotificationsRequest(user_id="a", page_size=1001),
            ["page_size"],
        ),
        ("GetUnreadCount", pb.GetUnreadCountRequest(), ["user_id"]),
        ("MarkRead", pb.MarkReadRequest(user_id="ada"), ["notification_ids"]),
        (
            "MarkRead",
            pb.MarkReadRequest(user_id="ada", notification_ids=["ok", ""]),
            ["notification_ids[1]"],
        ),
        ("Subscribe", pb.SubscribeRequest(), ["user_id"]),
        ("Subscribe", pb.SubscribeRequest(user_id="ada", cursor="forged"), ["cursor"]),
    ],
)
async def test_every_bad_field_is_named(
    world: Any, method: str, request_: Any, fields: list[str]
) -> None:
    async with world.running() as stub:
        call = getattr(stub, method)(request_)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call.read() if method == "Subscribe" else call)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (bad,) = [
        detail for detail in rpc_status.from_call(caught.value).details
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR)
    ]  # fmt: skip
    named = error_details_pb2.BadRequest.FromString(bad.value).field_violations
    assert [violation.field for violation in named] == fields


async def test_tokens_are_good_for_their_own_listing_only(world: Any, make: Any) -> None:
    await world.handle(make.list_changed("A"), make.list_changed("B"))
    async with world.running() as stub:
        token = (await page(stub, page_size=1)).next_page_token
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await page(stub, page_size=1, page_token=token, unread_only=True)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
