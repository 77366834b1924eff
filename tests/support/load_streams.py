"""Live streams under load: news for a person, and a device that follows it through restarts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
from marquee.events.v1 import events_pb2
from marquee.notify.v1 import notification_service_pb2 as pb
from marquee.notify.v1.notification_service_pb2_grpc import NotificationServiceStub
from support.load import PlainClient

from mesh.events import Event, new_event, to_record
from mesh.kafka.producer import EventPublisher

_PAUSE_S = 0.05


class Device:
    """Follows a person's notifications; where its stream ends, it goes on with the last cursor.

    Attributes:
        user_id: The person.
        received: The notifications' ids, in the order in which they came.
        endings: How often a stream ended, by how.
    """

    def __init__(self, client: PlainClient, user_id: str) -> None:
        self.user_id = user_id
        self.received: list[str] = []
        self.endings: Counter[str] = Counter()
        self._client = client
        self._stub = NotificationServiceStub(client.channel)
        self._cursor = ""
        self._alive = asyncio.Event()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follows while the body runs; the first stream has begun when that begins."""
        task = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(20):
                await self._alive.wait()
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def inbox(self) -> list[str]:
        """The ids in the person's inbox, oldest first."""
        request = pb.ListNotificationsRequest(user_id=self.user_id, page_size=1000)
        reply = await self._client.unary(self._stub.ListNotifications, request)
        return [notification.id for notification in reversed(reply.notifications)]

    async def _follow(self) -> None:
        while True:
            request = pb.SubscribeRequest(user_id=self.user_id, cursor=self._cursor)
            stream = self._client.open_stream(self._stub.Subscribe, request)
            try:
                async for message in stream:
                    self._cursor = message.cursor
                    self._alive.set()
                    if message.WhichOneof("event") == "notification":
                        self.received.append(message.notification.id)
                self.endings["OK"] += 1
            except grpc.aio.AioRpcError as error:
                self.endings[error.code().name] += 1
            finally:
                stream.cancel()
            await asyncio.sleep(_PAUSE_S)


class Newsroom:
    """Makes news: events that each lead to one notification.

    Attributes:
        published: How many the broker has acknowledged, for each person.
    """

    def __init__(self, bootstrap: str, user_ids: Sequence[str], *, pause_s: float) -> None:
        self.published = 0
        self._publisher = EventPublisher(bootstrap, "newsroom")
        self._user_ids = user_ids
        self._pause_s = pause_s

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Publishes while the body runs."""
        await self._publisher.start()
        ending = asyncio.Event()
        task = asyncio.create_task(self._publish(ending))
        try:
            yield
        finally:
            ending.set()
            await task
            await self._publisher.close()

    async def _publish(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            records = [to_record(self._news(user_id)) for user_id in self._user_ids]
            assert await self._publisher.publish(records) == [None] * len(records)
            self.published += 1
            await asyncio.sleep(self._pause_s)

    def _news(self, user_id: str) -> Event:
        title = f"News {self.published}"
        movie = events_pb2.RecommendedMovie(movie_id=f"news-{self.published}", title=title)
        message = events_pb2.RecommendationListChanged(
            user_id=user_id, movies=[movie], new_movie_ids=[movie.movie_id]
        )
        return new_event("/tests", user_id, self.published, message)
