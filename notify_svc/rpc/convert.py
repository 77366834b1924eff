"""Notifications as the contract writes them."""

from __future__ import annotations

from marquee.notify.v1 import notification_service_pb2 as pb

from mesh.times import to_timestamp
from notify_svc.domain import Notification


def notification_to_proto(notification: Notification) -> pb.Notification:
    """Makes the message of a notification."""
    read_time = notification.read_time
    return pb.Notification(
        id=notification.id,
        user_id=notification.user_id,
        topic=notification.topic,
        title=notification.title,
        body=notification.body,
        movie_ids=notification.movie_ids,
        create_time=to_timestamp(notification.create_time),
        read_time=None if read_time is None else to_timestamp(read_time),
        sequence=notification.sequence,
    )
