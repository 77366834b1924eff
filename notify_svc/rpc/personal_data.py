"""PersonalDataService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import grpc
from marquee.notify.v1 import personal_data_service_pb2 as pb
from marquee.notify.v1 import personal_data_service_pb2_grpc as pb_grpc

from mesh.times import to_timestamp
from mesh.validation import Violations
from notify_svc.domain import Delivery, HeldRecipient, Notification
from notify_svc.rpc.convert import notification_to_proto

Context = grpc.aio.ServicerContext[Any, Any]


class PersonalData(Protocol):
    """What is held on one person; see `notify_svc.store.personal_data.PersonalDataStore`."""

    async def recipient(self, user_id: str) -> HeldRecipient | None:
        """Returns what is known of them."""

    def notifications(self, user_id: str) -> AsyncIterator[Sequence[Notification]]:
        """Yields their notifications, oldest first, listed or not."""

    def deliveries(self, user_id: str) -> AsyncIterator[Sequence[Delivery]]:
        """Yields their deliveries, in no order."""


class PersonalDataServicer(pb_grpc.PersonalDataServiceServicer):
    """Proto in, what is held, proto out."""

    def __init__(self, held: PersonalData) -> None:
        """Takes where to look."""
        self._held = held

    async def ExportPersonalData(
        self, request: pb.ExportPersonalDataRequest, context: Context
    ) -> AsyncIterator[pb.ExportPersonalDataResponse]:
        """Streams everything held on a person, and a summary at the end."""
        check = Violations()
        check.id("user_id", request.user_id)
        check.raise_if_any()
        count = 0
        async for records in self._records(request.user_id):
            count += len(records)
            yield pb.ExportPersonalDataResponse(records=records)
        yield pb.ExportPersonalDataResponse(summary=pb.PersonalDataSummary(record_count=count))

    async def _records(self, user_id: str) -> AsyncIterator[Sequence[pb.PersonalRecord]]:
        if (recipient := await self._held.recipient(user_id)) is not None:
            yield [pb.PersonalRecord(recipient=_recipient(recipient))]
        async for notifications in self._held.notifications(user_id):
            yield [pb.PersonalRecord(notification=_notification(each)) for each in notifications]
        async for deliveries in self._held.deliveries(user_id):
            yield [pb.PersonalRecord(delivery=_delivery(each)) for each in deliveries]


def _recipient(held: HeldRecipient) -> pb.RecipientRecord:
    recipient = held.recipient
    return pb.RecipientRecord(
        version=recipient.version,
        display_name=recipient.display_name,
        locale=recipient.locale,
        muted_topics=[
            pb.MutedTopic(topic=topic, channels=sorted(channel.value for channel in channels))
            for topic, channels in recipient.muted.items()
        ],
        deleted=recipient.deleted,
        last_sequence=held.last_sequence,
    )


def _notification(notification: Notification) -> pb.NotificationRecord:
    return pb.NotificationRecord(
        notification=notification_to_proto(notification),
        listed=notification.listed,
        streamed=notification.streamed,
        traceparent=notification.traceparent,
    )


def _delivery(delivery: Delivery) -> pb.DeliveryRecord:
    return pb.DeliveryRecord(
        id=delivery.id,
        event_id=delivery.event_id,
        channel=delivery.channel.value,
        outcome=delivery.outcome.value,
        notification_id=delivery.notification_id,
        create_time=to_timestamp(delivery.create_time),
    )
