"""From an event to notifications and deliveries: pure, and the same each time it is done."""

from __future__ import annotations

from datetime import datetime

from notify_svc.domain import (
    RECOMMENDATIONS,
    Channel,
    Delivery,
    ListChange,
    Notification,
    Outcome,
    Plan,
    Recipient,
    delivery_id,
    notification_id,
)
from notify_svc.rendering import render_new_movies


def plan_list_change(
    change: ListChange, recipient: Recipient, *, moment: datetime, traceparent: str = ""
) -> Plan:
    """Plans what a person is told about their changed recommendations.

    Muted channels are honoured here, once and for all: with the stream muted the notification is
    only listed; with the inbox muted it is only streamed, neither listed nor counted as unread;
    with both muted nothing is kept but the two suppressed deliveries.

    Args:
        change: What happened; it names at least one movie.
        recipient: Whom to tell.
        moment: Now.
        traceparent: The trace context that the pushes to the stream belong to.
    """
    planned_id = notification_id(change.event_id, change.user_id)
    wanted = {channel: recipient.wants(RECOMMENDATIONS, channel) for channel in Channel}
    deliveries = tuple(
        Delivery(
            id=delivery_id(change.event_id, change.user_id, channel),
            event_id=change.event_id,
            user_id=change.user_id,
            channel=channel,
            outcome=Outcome.DELIVERED if wanted[channel] else Outcome.SUPPRESSED,
            notification_id=planned_id,
            create_time=moment,
        )
        for channel in Channel
    )
    if not any(wanted.values()):
        return Plan(deliveries, None)
    text = render_new_movies(change.movies, recipient)
    notification = Notification(
        id=planned_id,
        user_id=change.user_id,
        topic=RECOMMENDATIONS,
        title=text.title,
        body=text.body,
        movie_ids=tuple(movie.movie_id for movie in change.movies),
        create_time=moment,
        listed=wanted[Channel.INBOX],
        streamed=wanted[Channel.STREAM],
        traceparent=traceparent,
    )
    return Plan(deliveries, notification)
