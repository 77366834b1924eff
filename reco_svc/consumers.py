"""What this service does with the mesh's events."""

from __future__ import annotations

from marquee.events.v1 import events_pb2

from mesh.events import Event
from mesh.times import from_timestamp
from reco_svc.domain import UserProfile
from reco_svc.service.people import PeopleService
from reco_svc.service.refresh import RefreshService


class RefreshConsumer:
    """Recomputes lists after interactions and promotions."""

    def __init__(self, refresh: RefreshService) -> None:
        self._refresh = refresh

    async def handle(self, event: Event) -> None:
        """Handles one event of the interaction and model topics."""
        message = event.message
        if isinstance(message, events_pb2.InteractionRecorded):
            movie_ids = [row.movie_id for row in message.interactions]
            await self._refresh.after_interactions(message.user_id, message.watermark, movie_ids)
        elif isinstance(message, events_pb2.ModelPromoted):
            promote_time = from_timestamp(message.promote_time)
            await self._refresh.after_promotion(message.model_version, promote_time)


class PeopleConsumer:
    """Follows what the user service says of people."""

    def __init__(self, people: PeopleService) -> None:
        self._people = people

    async def handle(self, event: Event) -> None:
        """Handles one event of the user topic."""
        message = event.message
        if isinstance(message, events_pb2.UserChanged):
            profile = UserProfile(
                tuple(message.preferences.liked_genres),
                tuple(message.preferences.disliked_genres),
            )
            await self._people.changed(message.user.id, message.version, profile)
        elif isinstance(message, events_pb2.UserDeleted):
            await self._people.deleted(message.user_id, message.version)
