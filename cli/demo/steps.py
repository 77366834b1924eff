"""What the demo does over gRPC, each as a function that tests use as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import grpc
from marquee.notify.v1 import notification_service_pb2
from marquee.reco.v1 import interaction_service_pb2, recommendation_service_pb2
from marquee.user.v1 import user_pb2, user_service_pb2

from cli.datasets.records import Dataset, Movie
from cli.demo.choice import Anchor, anchors
from cli.demo.live_stream import LiveStream
from cli.errors import CliError
from cli.mesh_client import Mesh, patiently
from cli.tracing import traced
from mesh.ids import new_id

LIST_LENGTH = 10
TOPIC = "recommendations"
_RATED_MOVIES = 8
_RATING = 5.0
_ENOUGH_NEW = 5
_LEAST_NEW = 3
_POLL_S = 0.2

Recommendations = Sequence[recommendation_service_pb2.Recommendation]
Notification = notification_service_pb2.Notification


@dataclass(frozen=True, slots=True)
class RatingPlan:
    """Which movies to rate.

    Attributes:
        reason: What they are, for people.
        titles: Their titles by their ids.
        expected_new: How many of the top 10 will be new, asked as an anonymous session.
    """

    reason: str
    titles: Mapping[str, str]
    expected_new: int


@dataclass(frozen=True, slots=True)
class Told:
    """How a person was told of what their ratings changed.

    Attributes:
        trace_id: The trace of the ratings.
        watermark: The person's state that includes them.
        notification: As it arrived on the live stream.
        stream_seconds: From the call that recorded the ratings until then.
        inbox_seconds: From that call until it was seen in the inbox.
    """

    trace_id: str
    watermark: int
    notification: Notification
    stream_seconds: float
    inbox_seconds: float


async def ensure_user(mesh: Mesh, user_id: str, display_name: str) -> user_pb2.User:
    """Creates a user, or returns the one of that id.

    Raises:
        grpc.aio.AioRpcError: A call failed for good.
    """
    user = user_pb2.User(id=user_id, display_name=display_name)
    try:
        created = await patiently(
            mesh.users.CreateUser,
            user_service_pb2.CreateUserRequest(user=user, request_id=new_id()),
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise
        found = await patiently(
            mesh.users.GetUser, user_service_pb2.GetUserRequest(user_id=user_id)
        )
        return found.user
    return created.user


async def recommend(mesh: Mesh, user_id: str) -> recommendation_service_pb2.RecommendResponse:
    """Asks for a person's top 10, explained.

    Raises:
        grpc.aio.AioRpcError: The call failed for good.
    """
    return await patiently(
        mesh.recommendations.Recommend,
        recommendation_service_pb2.RecommendRequest(
            user_id=user_id, limit=LIST_LENGTH, explain=True
        ),
    )


async def watched_movies(mesh: Mesh, user_id: str) -> list[str]:
    """Returns the ids of the movies a person interacted with, newest first.

    Raises:
        grpc.aio.AioRpcError: A call failed for good.
    """
    found: dict[str, None] = {}
    token = ""
    while True:
        page = await patiently(
            mesh.interactions.ListInteractions,
            interaction_service_pb2.ListInteractionsRequest(
                user_id=user_id, page_size=1000, page_token=token
            ),
        )
        found.update(dict.fromkeys(row.movie_id for row in page.interactions))
        token = page.next_page_token
        if not token:
            return list(found)


async def plan_ratings(mesh: Mesh, dataset: Dataset, user_id: str) -> RatingPlan:
    """Finds movies that a person does not know and that change what is recommended to them.

    Tries the genres they watched least: a popular movie of each and those nearest to it, but none
    that is recommended to them anyway. The recommendations of an anonymous session of the same
    movies tell beforehand what would change. Where no genre changes enough, it takes what is
    recommended: rated movies leave the list.

    Raises:
        CliError: Nothing changes enough to be told of.
        grpc.aio.AioRpcError: A call failed for good.
    """
    watched = await watched_movies(mesh, user_id)
    before = {
        item.movie.id: item.movie.title for item in (await recommend(mesh, user_id)).recommendations
    }
    best = RatingPlan("", {}, 0)
    for anchor in anchors(dataset, {*watched, *before}):
        titles = await _neighbourhood(mesh, anchor.movie, {*watched, *before})
        expected = await _new_after(mesh, watched, titles, before)
        if expected > best.expected_new:
            best = RatingPlan(_reason(anchor), titles, expected)
        if expected >= _ENOUGH_NEW:
            break
    if best.expected_new < _LEAST_NEW:
        titles = dict(list(before.items())[:_RATED_MOVIES])
        expected = await _new_after(mesh, watched, titles, before)
        best = RatingPlan("what is recommended to them", titles, expected)
    if best.expected_new < _LEAST_NEW:
        raise CliError(f"no ratings of {user_id} would change their list enough: try another user")
    return best


async def rate_and_wait(
    mesh: Mesh,
    stream: LiveStream,
    user_id: str,
    movie_ids: Sequence[str],
    *,
    timeout_s: float = 60.0,
) -> Told:
    """Rates movies as a person and waits until they are told that their list changed.

    The ratings are one call in one trace. It is repeated while the mesh is away; so is the search
    in the inbox.

    Args:
        mesh: Where.
        stream: The person's live stream.
        user_id: Who.
        movie_ids: What they rate, with the best rating.
        timeout_s: How long the notification may take.

    Raises:
        CliError: A rating was not accepted, or no notification arrived.
        grpc.aio.AioRpcError: A call failed for good.
    """
    request = _ratings(user_id, movie_ids)
    stream.discard()  # what came before the ratings cannot be about them
    begin = time.monotonic()
    with traced("rate movies") as trace_id:
        reply = await patiently(mesh.interactions.RecordInteractions, request, patience_s=timeout_s)
    for row, result in zip(request.interactions, reply.results, strict=True):
        if result.status not in (
            interaction_service_pb2.INTERACTION_STATUS_ACCEPTED,
            interaction_service_pb2.INTERACTION_STATUS_DUPLICATE,
        ):
            raise CliError(f"the rating of movie {row.movie_id} was refused: {result.message}")
    notification = await _next_about_the_list(stream, timeout_s)
    on_stream = time.monotonic() - begin
    await _until_in_inbox(mesh, user_id, notification.id, timeout_s)
    return Told(
        trace_id=trace_id,
        watermark=reply.watermarks[user_id],
        notification=notification,
        stream_seconds=on_stream,
        inbox_seconds=time.monotonic() - begin,
    )


async def list_inbox(mesh: Mesh, user_id: str) -> list[Notification]:
    """Returns a person's newest notifications, newest first.

    Raises:
        grpc.aio.AioRpcError: The call failed for good.
    """
    reply = await patiently(
        mesh.notifications.ListNotifications,
        notification_service_pb2.ListNotificationsRequest(user_id=user_id, page_size=100),
    )
    return list(reply.notifications)


async def _neighbourhood(mesh: Mesh, movie: Movie, excluded: Collection[str]) -> dict[str, str]:
    """Returns the titles of a movie and of those nearest to it, by their ids."""
    similar = await patiently(
        mesh.recommendations.SimilarMovies,
        recommendation_service_pb2.SimilarMoviesRequest(movie_id=movie.id, limit=50),
    )
    titles = {movie.id: movie.title}
    for neighbour in similar.movies:
        if neighbour.movie.id not in excluded and len(titles) < _RATED_MOVIES:
            titles[neighbour.movie.id] = neighbour.movie.title
    return titles


def _reason(anchor: Anchor) -> str:
    how_much = "never watched" if anchor.lift == 0 else "watched little of"
    return f"{anchor.movie.title} and its neighbours, since they have {how_much} {anchor.genre}"


async def _new_after(
    mesh: Mesh, watched: Sequence[str], rated: Iterable[str], before: Collection[str]
) -> int:
    movies = [*rated, *watched][:1000]
    reply = await patiently(
        mesh.recommendations.Recommend,
        recommendation_service_pb2.RecommendRequest(
            session=recommendation_service_pb2.Session(movie_ids=movies), limit=LIST_LENGTH
        ),
    )
    return sum(item.movie.id not in before for item in reply.recommendations)


def _ratings(
    user_id: str, movie_ids: Sequence[str]
) -> interaction_service_pb2.RecordInteractionsRequest:
    batch = new_id()
    return interaction_service_pb2.RecordInteractionsRequest(
        interactions=[
            interaction_service_pb2.Interaction(
                event_id=f"demo.{batch}.{place}",
                user_id=user_id,
                movie_id=movie_id,
                type=interaction_service_pb2.INTERACTION_TYPE_RATING,
                value=_RATING,
            )
            for place, movie_id in enumerate(movie_ids)
        ]
    )


async def _next_about_the_list(stream: LiveStream, timeout_s: float) -> Notification:
    give_up_at = time.monotonic() + timeout_s
    while True:
        notification = await stream.next(max(0.0, give_up_at - time.monotonic()))
        if notification.topic == TOPIC:
            return notification


async def _until_in_inbox(mesh: Mesh, user_id: str, notification_id: str, timeout_s: float) -> None:
    give_up_at = time.monotonic() + timeout_s
    while time.monotonic() < give_up_at:
        if any(n.id == notification_id for n in await list_inbox(mesh, user_id)):
            return
        await asyncio.sleep(_POLL_S)
    raise CliError(f"notification {notification_id} is not in the inbox of {user_id}")
