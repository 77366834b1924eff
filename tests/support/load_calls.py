"""What the workers of a load do: reads and writes of every service, each about a user of its own.

Users and movies are made by `fill`; no call may fail for what another one has done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from google.protobuf import field_mask_pb2
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1.notification_service_pb2_grpc import NotificationServiceStub
from marquee.reco.v1 import catalog_service_pb2 as catalog_pb
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.reco.v1 import movie_pb2
from marquee.reco.v1 import recommendation_service_pb2 as recommendation_pb
from marquee.reco.v1.catalog_service_pb2_grpc import CatalogServiceStub
from marquee.reco.v1.interaction_service_pb2_grpc import InteractionServiceStub
from marquee.reco.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1.user_service_pb2_grpc import UserServiceStub
from support.load import PlainClient, Work

from mesh.ids import new_id

AT_ONCE = 16
MOVIES = tuple(f"movie-{number}" for number in range(8))


async def fill(client: PlainClient, user_ids: Sequence[str]) -> None:
    """Makes the movies, and the users that workers and streams are about."""
    users, movies = UserServiceStub(client.channel), CatalogServiceStub(client.channel)
    catalogue = [movie_pb2.Movie(id=name, title=name, genres=["Drama"]) for name in MOVIES]
    await client.unary(movies.UpsertMovies, catalog_pb.UpsertMoviesRequest(movies=catalogue))
    for user_id in user_ids:
        user = user_pb2.User(id=user_id, display_name=user_id)
        await client.unary(users.CreateUser, user_pb.CreateUserRequest(user=user))
    assert not client.ledger.failures(), client.ledger.table()


class Worker:
    """The calls of one worker.

    Attributes:
        created: Ids of users whose creation was acknowledged and whose deletion was not.
        recorded: Ids of interactions that were acknowledged.
    """

    def __init__(self, client: PlainClient, user_id: str) -> None:
        self.created: set[str] = set()
        self.recorded: set[str] = set()
        self.user_id = user_id
        self._client = client
        self._users = UserServiceStub(client.channel)
        self._movies = CatalogServiceStub(client.channel)
        self._interactions = InteractionServiceStub(client.channel)
        self._recommendations = RecommendationServiceStub(client.channel)
        self._notifications = NotificationServiceStub(client.channel)

    @property
    def everything(self) -> list[Work]:
        """Reads, writes and a stream. Creating, changing, deleting users is never repeated."""
        return [
            self.create_user,
            self.get_user,
            self.record_interaction,
            self.update_user,
            self.get_movie,
            self.unread_count,
            self.update_preferences,
            self.recommend,
            self.delete_user,
            self.list_notifications,
            self.update_user,
            self.list_interactions,
            self.batch_get_users,
            self.create_user,
            self.trending,
            self.mark_read,
            self.update_preferences,
            self.export,
        ]

    @property
    def bursts(self) -> list[Work]:
        """Many small calls at once, to one service after another: more than may be retried."""
        return [self._at_once(work) for work in (self.get_user, self.get_movie, self.unread_count)]

    def _at_once(self, work: Work) -> Work:
        async def many() -> None:
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))

        return many

    async def create_user(self) -> None:
        user = user_pb2.User(id=f"made-{new_id()}", display_name="Made under load")
        request = user_pb.CreateUserRequest(user=user)
        if await self._client.unary(self._users.CreateUser, request):
            self.created.add(user.id)

    async def delete_user(self) -> None:
        if not self.created:
            return
        user_id = min(self.created)
        request = user_pb.DeleteUserRequest(user_id=user_id)
        if await self._client.unary(self._users.DeleteUser, request) is not None:
            self.created.discard(user_id)

    async def update_user(self) -> None:
        user = user_pb2.User(id=self.user_id, display_name=f"Name {new_id()}")
        mask = field_mask_pb2.FieldMask(paths=["display_name"])
        request = user_pb.UpdateUserRequest(user=user, update_mask=mask)
        await self._client.unary(self._users.UpdateUser, request)

    async def update_preferences(self) -> None:
        # Something new every time: what is stored already would not be written.
        preferences = user_pb2.Preferences(user_id=self.user_id, liked_genres=["Drama", new_id()])
        mask = field_mask_pb2.FieldMask(paths=["liked_genres"])
        request = user_pb.UpdatePreferencesRequest(preferences=preferences, update_mask=mask)
        await self._client.unary(self._users.UpdatePreferences, request)

    async def get_user(self) -> None:
        request = user_pb.GetUserRequest(user_id=self.user_id)
        await self._client.unary(self._users.GetUser, request)

    async def batch_get_users(self) -> None:
        request = user_pb.BatchGetUsersRequest(user_ids=[self.user_id, *sorted(self.created)[:50]])
        reply = await self._client.unary(self._users.BatchGetUsers, request)
        assert reply is None or not reply.missing_user_ids, "acknowledged creations are gone"

    async def export(self) -> None:
        request = user_pb.ExportUserDataRequest(user_id=self.user_id)
        await self._client.stream(self._users.ExportUserData, request)

    async def get_movie(self) -> None:
        request = catalog_pb.GetMovieRequest(movie_id=MOVIES[0])
        await self._client.unary(self._movies.GetMovie, request)

    async def record_interaction(self) -> None:
        event_id = f"load.{new_id()}"
        row = interaction_pb.Interaction(
            event_id=event_id,
            user_id=self.user_id,
            movie_id=MOVIES[len(self.recorded) % len(MOVIES)],
            type=interaction_pb.INTERACTION_TYPE_VIEW,
        )
        request = interaction_pb.RecordInteractionsRequest(interactions=[row])
        if await self._client.unary(self._interactions.RecordInteractions, request):
            self.recorded.add(event_id)

    async def list_interactions(self) -> None:
        request = interaction_pb.ListInteractionsRequest(user_id=self.user_id, page_size=1000)
        await self._client.unary(self._interactions.ListInteractions, request)

    async def recommend(self) -> None:
        request = recommendation_pb.RecommendRequest(user_id=self.user_id, limit=3)
        await self._client.unary(self._recommendations.Recommend, request)

    async def trending(self) -> None:
        request = recommendation_pb.TrendingRequest(limit=3)
        await self._client.unary(self._recommendations.Trending, request)

    async def unread_count(self) -> None:
        request = notify_pb.GetUnreadCountRequest(user_id=self.user_id)
        await self._client.unary(self._notifications.GetUnreadCount, request)

    async def list_notifications(self) -> None:
        request = notify_pb.ListNotificationsRequest(user_id=self.user_id)
        await self._client.unary(self._notifications.ListNotifications, request)

    async def mark_read(self) -> None:
        request = notify_pb.MarkReadRequest(user_id=self.user_id, notification_ids=["none"])
        await self._client.unary(self._notifications.MarkRead, request)

    async def missing(self) -> list[str]:
        """Returns what was acknowledged and is not there: users created, interactions recorded."""
        client, gone = self._client, []
        ids = sorted(self.created)
        if ids:
            request = user_pb.BatchGetUsersRequest(user_ids=ids)
            gone += (await client.unary(self._users.BatchGetUsers, request)).missing_user_ids
        listing = interaction_pb.ListInteractionsRequest(user_id=self.user_id, page_size=1000)
        reply = await client.unary(self._interactions.ListInteractions, listing)
        kept = {row.event_id for row in reply.interactions}
        return gone + sorted(self.recorded - kept)
