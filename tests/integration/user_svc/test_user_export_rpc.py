"""Exports with the real recommendation and notification services behind their sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
from marquee.events.v1 import events_pb2
from marquee.notify.v1 import personal_data_service_pb2 as notify_pb
from marquee.notify.v1 import personal_data_service_pb2_grpc as notify_grpc
from marquee.reco.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    interaction_service_pb2,
    interaction_service_pb2_grpc,
    movie_pb2,
)
from marquee.reco.v1 import personal_data_service_pb2 as reco_pb
from marquee.reco.v1 import personal_data_service_pb2_grpc as reco_grpc
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from support.tokens import Issuer, bearer
from support.users import ada, create, failure, update, violations

from mesh.events import new_event
from mesh.telemetry.rpc import DEADLINE_ATTRIBUTE
from notify_svc.domain import ListChange, NamedMovie
from reco_svc.domain import ToldList
from reco_svc.store.people import ToldListStore

WATCHED = 230  # in three batches, and in more than one message


def kinds(messages: Sequence[pb.ExportUserDataResponse]) -> Counter[str]:
    """Counts the records by what they are."""
    found: Counter[str] = Counter()
    for message in messages:
        for record in message.records:
            kind = record.WhichOneof("record")
            if kind in {"recommendation", "notification"}:
                kind += "." + getattr(record, kind).WhichOneof("record")
            found[kind] += 1
    return found


def counts(message: pb.ExportUserDataResponse) -> list[tuple[int, int]]:
    return [(each.holder, each.record_count) for each in message.summary.holders]


async def live(mesh: Any, user_id: str) -> None:
    """Lets somebody do something in every service."""
    user = await create(mesh, ada(id=user_id, email=f"{user_id}@example.org"), f"r-{user_id}")
    await update(mesh, user_pb2.User(id=user_id, locale="fr"), "locale")
    preferences = user_pb2.Preferences(user_id=user_id, liked_genres=["Drama"])
    await mesh.stub.UpdatePreferences(pb.UpdatePreferencesRequest(preferences=preferences))
    told = events_pb2.UserChanged(user=user, preferences=preferences, version=3)
    await mesh.tell(new_event("/test", user_id, 3, told))

    catalog: Any = catalog_service_pb2_grpc.CatalogServiceStub(mesh.reco)
    movies = [movie_pb2.Movie(id=f"m{number}", title="T") for number in range(3)]
    await catalog.UpsertMovies(catalog_service_pb2.UpsertMoviesRequest(movies=movies))
    recorder: Any = interaction_service_pb2_grpc.InteractionServiceStub(mesh.reco)
    rows = [
        interaction_service_pb2.Interaction(
            event_id=f"view-{number}",  # everybody has one of that id
            user_id=user_id,
            movie_id=f"m{number % 3}",
            type=interaction_service_pb2.INTERACTION_TYPE_VIEW,
        )
        for number in range(WATCHED)
    ]
    for begin in range(0, WATCHED, 100):
        batch = rows[begin : begin + 100]
        await recorder.RecordInteractions(
            interaction_service_pb2.RecordInteractionsRequest(interactions=batch)
        )
    lists = ToldListStore(mesh.database("reco"))
    await lists.put_first([(user_id, ToldList(1, ("m1", "m2"), 3, "model"))])
    for number in range(2):
        movie = NamedMovie("m1", "Casino")
        await mesh.plan(ListChange(f"{user_id}-event{number}", user_id, (movie,)))


async def test_an_export_holds_everything_of_one_person_and_nothing_of_another(mesh: Any) -> None:
    await live(mesh, "ada")
    await live(mesh, "bob")
    messages = await mesh.export("ada")
    assert kinds(messages) == {
        "user": 1,
        "preferences": 1,
        "creation": 1,
        "change": 3,
        "recommendation.taste": 1,
        "recommendation.told_list": 1,
        "recommendation.state": 1,
        "recommendation.interaction": WATCHED,
        "notification.recipient": 1,
        "notification.notification": 2,
        "notification.delivery": 4,
    }
    assert [message.HasField("summary") for message in messages] == [
        *([False] * (len(messages) - 1)),
        True,
    ]
    assert counts(messages[-1]) == [
        (pb.HOLDER_USER, 6),
        (pb.HOLDER_RECO, 3 + WATCHED),
        (pb.HOLDER_NOTIFY, 7),
    ]
    assert messages[-1].summary.finish_time.seconds > 0
    assert "bob" not in "".join(map(str, messages))

    records = [record for message in messages for record in message.records]
    rows = [
        record.recommendation.interaction.interaction
        for record in records
        if record.recommendation.HasField("interaction")
    ]
    assert {row.event_id for row in rows} == {f"view-{number}" for number in range(WATCHED)}
    (state,) = [r.recommendation.state for r in records if r.recommendation.HasField("state")]
    assert (state.watermark, len(state.history)) == (3, WATCHED)
    (told,) = [
        r.recommendation.told_list for r in records if r.recommendation.HasField("told_list")
    ]
    assert list(told.movie_ids) == ["m1", "m2"]
    (creation,) = [record.creation for record in records if record.HasField("creation")]
    assert (creation.request_id, creation.user.display_name) == ("r-ada", "Ada")
    assert creation.actor == "service:tests"
    (recipient,) = [
        r.notification.recipient for r in records if r.notification.HasField("recipient")
    ]
    assert (recipient.display_name, recipient.last_sequence) == ("Ada", 2)


async def test_after_a_deletion_the_export_shows_what_stays(mesh: Any) -> None:
    await live(mesh, "ada")
    await mesh.stub.DeleteUser(pb.DeleteUserRequest(user_id="ada"))
    await mesh.tell(new_event("/test", "ada", 4, events_pb2.UserDeleted(user_id="ada", version=4)))
    messages = await mesh.export("ada")
    assert kinds(messages) == {
        "creation": 1,
        "change": 1,
        "recommendation.taste": 1,
        "recommendation.told_list": 1,
        "recommendation.state": 1,
        "notification.recipient": 1,
    }
    (creation,) = [
        record.creation
        for message in messages
        for record in message.records
        if record.HasField("creation")
    ]
    assert creation == pb.UserCreation(request_id="r-ada", actor="service:tests")
    text = "".join(map(str, messages))
    for personal in ("Ada", "example.org", "Drama", "m1", "London", "model"):
        assert f'"{personal}' not in text
    assert 'method: "DeleteUser"' in text


async def test_of_a_stranger_there_is_nothing_and_that_is_complete(mesh: Any) -> None:
    (only,) = await mesh.export("stranger")
    assert counts(only) == [(pb.HOLDER_USER, 0), (pb.HOLDER_RECO, 0), (pb.HOLDER_NOTIFY, 0)]


async def test_people_whom_only_another_service_knows_are_exported_too(mesh: Any) -> None:
    await live(mesh, "ada")
    recorder: Any = interaction_service_pb2_grpc.InteractionServiceStub(mesh.reco)
    row = interaction_service_pb2.Interaction(
        event_id="e",
        user_id="guest",
        movie_id="m1",
        type=interaction_service_pb2.INTERACTION_TYPE_LIKE,
    )
    await recorder.RecordInteractions(
        interaction_service_pb2.RecordInteractionsRequest(interactions=[row])
    )
    found = kinds(await mesh.export("guest"))
    assert found == {"recommendation.state": 1, "recommendation.interaction": 1}


async def test_people_export_their_own_data_only(mesh: Any, issuer: Issuer) -> None:
    own = bearer(issuer.mint("ada", ["users.export"]))
    assert len(await mesh.export("ada", metadata=own)) == 1
    code, details = await failure(mesh.export("bob", metadata=own))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert details["ErrorInfo"].reason == "SUBJECT_MISMATCH"
    reader = bearer(issuer.mint("ada", ["users.read"]))
    code, details = await failure(mesh.export("ada", metadata=reader))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert details["ErrorInfo"].reason == "SCOPE_MISSING"
    assert await violations(mesh.export("a b")) == ["user_id"]


@pytest.mark.parametrize("holder", ["reco", "notify"])
async def test_holders_tell_people_of_themselves_only(
    mesh: Any, issuer: Issuer, holder: str
) -> None:
    grpc_of, pb_of = {"reco": (reco_grpc, reco_pb), "notify": (notify_grpc, notify_pb)}[holder]
    stub: Any = grpc_of.PersonalDataServiceStub(getattr(mesh, holder))
    own = bearer(issuer.mint("ada", ["interactions.read", "notifications.read"]))

    async def ask(user_id: str) -> list[Any]:
        request = pb_of.ExportPersonalDataRequest(user_id=user_id)
        return [message async for message in stub.ExportPersonalData(request, metadata=own)]

    (only,) = await ask("ada")
    assert (only.HasField("summary"), only.summary.record_count) == (True, 0)
    code, details = await failure(ask("bob"))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert details["ErrorInfo"].reason == "SUBJECT_MISMATCH"


async def test_a_holder_that_refuses_is_named(mesh: Any, issuer: Issuer) -> None:
    await live(mesh, "ada")
    mesh.token_file.write_text(issuer.mint("service:user", ["interactions.read", "subjects.any"]))
    code, details = await failure(mesh.export("ada"))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details["ErrorInfo"].reason == "HOLDER_UNAVAILABLE"
    assert dict(details["ErrorInfo"].metadata) == {
        "holder": "notify",
        "trouble": "PERMISSION_DENIED",
    }
    mesh.token_file.unlink()
    code, details = await failure(mesh.export("ada"))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details["ErrorInfo"].metadata["trouble"] == "PEER_TOKEN_MISSING"


async def test_a_holder_that_is_away_is_named_before_anything_is_given(world: Any) -> None:
    await create(world, ada())
    given = []

    async def export() -> None:
        async for message in world.stub.ExportUserData(pb.ExportUserDataRequest(user_id="ada")):
            given.append(message)  # noqa: PERF401  # what came before the error counts

    code, details = await failure(export())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details["ErrorInfo"].reason == "HOLDER_UNAVAILABLE"
    assert details["ErrorInfo"].metadata["holder"] in {"reco", "notify"}
    assert details["ErrorInfo"].metadata["trouble"] == "UNAVAILABLE"
    assert given == []


async def test_deadline_and_trace_reach_the_holders(
    mesh: Any,
    ended_spans: Callable[[], Sequence[ReadableSpan]],
    eventually: Callable[..., Any],
) -> None:
    await mesh.export("ada", timeout=20)
    names = {
        f"marquee.{service}/{method}"
        for service, method in (
            ("user.v1.UserService", "ExportUserData"),
            ("reco.v1.PersonalDataService", "ExportPersonalData"),
            ("notify.v1.PersonalDataService", "ExportPersonalData"),
        )
    }

    def served() -> dict[str, ReadableSpan]:
        return {
            span.name: span
            for span in ended_spans()
            if span.kind is SpanKind.SERVER and span.name in names
        }

    async def all_served() -> bool:
        return served().keys() == names

    await eventually(all_served)
    spans = list(served().values())
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    for span in spans:
        assert span.attributes is not None
        deadline = span.attributes[DEADLINE_ATTRIBUTE]
        assert isinstance(deadline, float)
        assert 0 < deadline <= 20
