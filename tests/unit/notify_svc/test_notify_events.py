from collections.abc import Sequence

import pytest
from google.protobuf.message import Message
from marquee.events.v1 import events_pb2
from marquee.user.v1 import user_pb2

from mesh.events import new_event
from mesh.kafka.errors import PoisonRecord
from notify_svc.domain import Channel, ListChange, NamedMovie, Plan, Recipient
from notify_svc.events import EventRouter


class Recorder:
    """Stands where the use cases stand, and keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[Recipient | ListChange] = []

    async def learn(self, recipient: Recipient) -> bool:
        self.calls.append(recipient)
        return True

    async def plan(self, change: ListChange) -> Plan | None:
        self.calls.append(change)
        return None


async def handle(message: Message) -> Sequence[Recipient | ListChange]:
    recorder = Recorder()
    event = new_event("/test", "ada", 1, message)
    await EventRouter(recorder).handle(event)  # type: ignore[arg-type]  # only what is called
    return recorder.calls


async def test_a_changed_user_is_learnt() -> None:
    message = events_pb2.UserChanged(
        user=user_pb2.User(id="ada", display_name="Ada", locale="en", email="a@b"),
        preferences=user_pb2.Preferences(
            topics=[
                user_pb2.TopicPreference(
                    topic="recommendations",
                    muted_channels=[user_pb2.CHANNEL_STREAM, 77],
                )
            ]
        ),
        version=3,
    )
    assert await handle(message) == [
        Recipient("ada", 3, "Ada", "en", {"recommendations": frozenset({Channel.STREAM})})
    ]


async def test_a_deletion_is_learnt() -> None:
    assert await handle(events_pb2.UserDeleted(user_id="ada", version=4)) == [
        Recipient("ada", 4, deleted=True)
    ]


async def test_what_is_new_on_a_list_is_planned_in_its_order() -> None:
    message = events_pb2.RecommendationListChanged(
        user_id="ada",
        movies=[
            events_pb2.RecommendedMovie(movie_id="a", title="A"),
            events_pb2.RecommendedMovie(movie_id="b", title="B", because_titles=["X", "Y"]),
            events_pb2.RecommendedMovie(movie_id="c", title="C"),
        ],
        new_movie_ids=["b", "unknown", "a"],
    )
    (change,) = await handle(message)
    assert isinstance(change, ListChange)
    assert change.user_id == "ada"
    assert change.movies == (NamedMovie("b", "B", ("X", "Y")), NamedMovie("a", "A"))


@pytest.mark.parametrize(
    "message",
    [
        events_pb2.UserChanged(version=1),
        events_pb2.UserDeleted(user_id="not an id", version=1),
        events_pb2.RecommendationListChanged(user_id="ada", new_movie_ids=["a"]),
        events_pb2.RecommendationListChanged(
            movies=[events_pb2.RecommendedMovie(movie_id="a")], new_movie_ids=["a"]
        ),
        events_pb2.ModelPromoted(model_version="m"),
    ],
)
async def test_what_cannot_be_acted_on_is_poison(message: Message) -> None:
    with pytest.raises(PoisonRecord):
        await handle(message)
