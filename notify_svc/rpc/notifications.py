"""NotificationService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from marquee.notify.v1 import notification_service_pb2 as pb
from marquee.notify.v1 import notification_service_pb2_grpc as pb_grpc

from mesh.pages import decode_page_token, encode_page_token
from mesh.telemetry.spans import span_of_cause
from mesh.validation import Violations
from notify_svc.rpc.convert import notification_to_proto
from notify_svc.service import NotificationService

Context = grpc.aio.ServicerContext[Any, Any]
_MAX_IDS = 1000


class NotificationServicer(pb_grpc.NotificationServiceServicer):
    """Proto in, use case, proto out."""

    def __init__(self, notifications: NotificationService) -> None:
        """Takes the use cases."""
        self._notifications = notifications

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        """Lists an inbox, newest first."""
        check = Violations()
        check.id("user_id", request.user_id)
        limit = check.limit("page_size", request.page_size, default=50, maximum=1000)
        listing = f"notifications:{request.user_id}:{request.unread_only}"
        before = None
        if request.page_token:
            with check.gather():
                (position,) = decode_page_token(listing, request.page_token, shape=[int])
                before = int(position)
        check.raise_if_any()
        page, more = await self._notifications.page(
            request.user_id, before=before, limit=limit, unread_only=request.unread_only
        )
        return pb.ListNotificationsResponse(
            notifications=[notification_to_proto(notification) for notification in page],
            next_page_token=encode_page_token(listing, [page[-1].sequence]) if more else "",
        )

    async def GetUnreadCount(
        self, request: pb.GetUnreadCountRequest, context: Context
    ) -> pb.GetUnreadCountResponse:
        """Counts what is unread."""
        check = Violations()
        check.id("user_id", request.user_id)
        check.raise_if_any()
        unread = await self._notifications.unread(request.user_id)
        return pb.GetUnreadCountResponse(unread_count=unread)

    async def MarkRead(self, request: pb.MarkReadRequest, context: Context) -> pb.MarkReadResponse:
        """Marks notifications as read."""
        check = Violations()
        check.id("user_id", request.user_id)
        ids = request.notification_ids
        check.count("notification_ids", len(ids), minimum=1, maximum=_MAX_IDS)
        for index, notification_id in enumerate(ids[:_MAX_IDS]):
            check.id(f"notification_ids[{index}]", notification_id)
        check.raise_if_any()
        marked, unread = await self._notifications.mark_read(request.user_id, ids)
        return pb.MarkReadResponse(marked_count=marked, unread_count=unread)

    async def Subscribe(
        self, request: pb.SubscribeRequest, context: Context
    ) -> AsyncIterator[pb.SubscribeResponse]:
        """Streams a user's notifications, after those missed since the cursor."""
        check = Violations()
        check.id("user_id", request.user_id)
        listing = f"subscribe:{request.user_id}"
        after = None
        if request.cursor:
            with check.gather():
                (position,) = decode_page_token(
                    listing, request.cursor, field="cursor", shape=[int]
                )
                after = int(position)
        check.raise_if_any()
        messages = self._notifications.subscribe(request.user_id, after)
        async with aclosing(messages):
            async for message in messages:
                cursor = encode_page_token(listing, [message.position])
                notification = message.notification
                if notification is None:
                    yield pb.SubscribeResponse(heartbeat=pb.Heartbeat(), cursor=cursor)
                    continue
                with span_of_cause("deliver stream", notification.traceparent):
                    yield pb.SubscribeResponse(
                        notification=notification_to_proto(notification), cursor=cursor
                    )
