"""Events of the mesh, as the notification service understands them."""

from __future__ import annotations

from collections.abc import Mapping

from marquee.events.v1 import events_pb2
from marquee.user.v1 import user_pb2

from mesh.events import Event
from mesh.ids import is_id
from mesh.kafka import topics
from mesh.kafka.errors import PoisonRecord
from notify_svc.domain import Channel, ListChange, NamedMovie, Recipient
from notify_svc.service import NotificationService

GROUP = "marquee-notify"
TOPICS = (topics.USER_EVENTS, topics.RECOMMENDATION_EVENTS)

_CHANNELS: Mapping[int, Channel] = {
    user_pb2.CHANNEL_INBOX: Channel.INBOX,
    user_pb2.CHANNEL_STREAM: Channel.STREAM,
}


class EventRouter:
    """Hands each event to its use case."""

    def __init__(self, notifications: NotificationService) -> None:
        """Takes the use cases."""
        self._notifications = notifications

    async def handle(self, event: Event) -> None:
        """Handles one event of `TOPICS`; an event that comes again changes nothing.

        Raises:
            PoisonRecord: The event says nothing that could be acted on.
        """
        match event.message:
            case events_pb2.UserChanged() as message:
                await self._notifications.learn(to_recipient(message))
            case events_pb2.UserDeleted() as message:
                deleted = Recipient(
                    _user_id(message.user_id), version=message.version, deleted=True
                )
                await self._notifications.learn(deleted)
            case events_pb2.RecommendationListChanged() as message:
                await self._notifications.plan(to_list_change(event.id, message))
            case _:
                raise PoisonRecord(f"{event.type} is not for the notification service")


def to_recipient(message: events_pb2.UserChanged) -> Recipient:
    """Reads a snapshot of a user.

    Raises:
        PoisonRecord: It names no user.
    """
    return Recipient(
        user_id=_user_id(message.user.id),
        version=message.version,
        display_name=message.user.display_name,
        locale=message.user.locale,
        muted={
            # A channel of a newer contract is none of ours to mute.
            topic.topic: frozenset(
                _CHANNELS[number] for number in topic.muted_channels if number in _CHANNELS
            )
            for topic in message.preferences.topics
        },
    )


def to_list_change(event_id: str, message: events_pb2.RecommendationListChanged) -> ListChange:
    """Reads a changed list; what is new on it keeps its order.

    Raises:
        PoisonRecord: It names no user, or no new movie.
    """
    named = {
        movie.movie_id: NamedMovie(movie.movie_id, movie.title, tuple(movie.because_titles))
        for movie in message.movies
    }
    new = tuple(named[movie_id] for movie_id in message.new_movie_ids if movie_id in named)
    if not new:
        raise PoisonRecord("none of new_movie_ids is among the movies")
    return ListChange(event_id, _user_id(message.user_id), new)


def _user_id(value: str) -> str:
    if not is_id(value):
        raise PoisonRecord("user_id is not an id")
    return value
