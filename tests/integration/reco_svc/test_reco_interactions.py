"""InteractionService against a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from marquee.reco.v1 import interaction_service_pb2 as pb
from marquee.reco.v1 import recommendation_service_pb2

from mesh.kafka.topics import INTERACTION_EVENTS
from mesh.pages import encode_page_token

ACCEPTED, DUPLICATE, CONFLICT, UNKNOWN_MOVIE, INVALID = range(1, 6)


def statuses(answer: pb.RecordInteractionsResponse) -> list[int]:
    return [int(result.status) for result in answer.results]


def at(year: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))
    return stamp


async def list_all(reco: Any, user_id: str, size: int) -> list[list[str]]:
    pages, token = [], ""
    while True:
        answer = await reco.interactions.ListInteractions(
            pb.ListInteractionsRequest(user_id=user_id, page_size=size, page_token=token)
        )
        pages.append([interaction.event_id for interaction in answer.interactions])
        token = answer.next_page_token
        if not token:
            return pages


async def test_every_row_gets_its_own_fate_in_the_order_sent(reco, interaction) -> None:
    await reco.add_movies("a", "b")
    await reco.record(interaction("ada", "a", "e1"), interaction("ada", "b", "e2"))
    answer = await reco.record(
        interaction("ada", "b", "e3"),
        interaction("ada", "a", "e1"),  # as it is recorded
        interaction("ada", "a", "e2"),  # recorded with another movie
        interaction("ada", "nothing", "e4"),
        interaction("bob", "a", "e5", kind="RATING", value=9),
        interaction("bob", "a", "e6"),
        interaction("ada", "b", "e3"),  # twice in this batch, the same
        interaction("ada", "a", "e3"),  # a third time, another
    )
    assert statuses(answer) == [
        ACCEPTED,
        DUPLICATE,
        CONFLICT,
        UNKNOWN_MOVIE,
        INVALID,
        ACCEPTED,
        DUPLICATE,
        CONFLICT,
    ]
    assert [result.event_id for result in answer.results] == [
        *("e3", "e1", "e2", "e4", "e5", "e6", "e3", "e3")
    ]
    assert dict(answer.watermarks) == {"ada": 2, "bob": 1}
    fields = [result.message.partition(":")[0] for result in answer.results]
    assert fields == ["", "", "event_id", "movie_id", "value", "", "", "event_id"]
    assert await list_all(reco, "ada", 10) == [["e3", "e2", "e1"]]
    assert await list_all(reco, "bob", 10) == [["e6"]]


async def test_nobody_can_take_the_event_ids_of_another(reco, interaction) -> None:
    await reco.add_movies("a", "b")
    await reco.record(interaction("eve", "a", "e1"), interaction("eve", "b", "e2"))
    answer = await reco.record(
        interaction("ada", "b", "e1"), interaction("bob", "a", "e1"), interaction("ada", "b", "e2")
    )
    assert statuses(answer) == [ACCEPTED] * 3
    assert dict(answer.watermarks) == {"ada": 1, "bob": 1}
    answer = await reco.record(
        interaction("ada", "b", "e1"),
        interaction("ada", "a", "e2"),  # recorded with another movie
        interaction("bob", "a", "e1"),
        interaction("bob", "a", "e2"),  # recorded by others only
        interaction("eve", "b", "e1"),  # as it is recorded for another
    )
    assert statuses(answer) == [DUPLICATE, CONFLICT, DUPLICATE, ACCEPTED, CONFLICT]
    assert dict(answer.watermarks) == {"bob": 2}
    for user_id, movies in (("ada", ["b", "b"]), ("bob", ["a", "a"]), ("eve", ["b", "a"])):
        listed = await reco.interactions.ListInteractions(
            pb.ListInteractionsRequest(user_id=user_id)
        )
        assert [(row.event_id, row.movie_id) for row in listed.interactions] == [
            *zip(("e2", "e1"), movies, strict=True)
        ]


async def test_an_event_recorded_of_a_movie_is_told_before_an_unknown_movie_is(
    reco, interaction
) -> None:
    await reco.add_movies("a")
    await reco.record(interaction("ada", "a", "e1"))
    answer = await reco.record(interaction("ada", "nothing", "e1"))
    assert statuses(answer) == [CONFLICT]


async def test_sending_again_changes_nothing(reco, world, interaction) -> None:
    await reco.add_movies("a", "b")
    rows = [interaction("ada", "a", "e1"), interaction("ada", "b", "e2")]
    assert statuses(await reco.record(*rows)) == [ACCEPTED, ACCEPTED]
    again = await reco.record(*rows)
    assert statuses(again) == [DUPLICATE, DUPLICATE]
    assert not again.watermarks
    assert await list_all(reco, "ada", 10) == [["e2", "e1"]]
    (event,) = await world.announced(INTERACTION_EVENTS)
    assert [told.event_id for told in event.interactions] == ["e1", "e2"]
    trending = await reco.recommendations.Trending(recommendation_service_pb2.TrendingRequest())
    assert [round(movie.score, 3) for movie in trending.movies] == [1, 1]


async def test_the_time_is_now_if_not_said_and_sending_again_may_leave_it_out(
    reco, interaction
) -> None:
    await reco.add_movies("a")
    silent, said = interaction("ada", "a", "e1"), interaction("ada", "a", "e2")
    said.occur_time.CopyFrom(at(1999))
    await reco.record(silent, said)
    answer = await reco.interactions.ListInteractions(pb.ListInteractionsRequest(user_id="ada"))
    listed = {interaction.event_id: interaction for interaction in answer.interactions}
    assert listed["e2"].occur_time == at(1999)
    age = datetime.now(UTC) - listed["e1"].occur_time.ToDatetime(UTC)
    assert abs(age.total_seconds()) < 60

    said.ClearField("occur_time")
    assert statuses(await reco.record(silent, said)) == [DUPLICATE, DUPLICATE]
    silent.occur_time.CopyFrom(listed["e1"].occur_time)
    said.occur_time.CopyFrom(at(2000))
    assert statuses(await reco.record(silent, said)) == [DUPLICATE, CONFLICT]


async def test_concurrent_calls_with_the_same_events_record_them_once(reco, interaction) -> None:
    await reco.add_movies("a", "b")
    rows = [
        interaction(user, movie, f"liked-{movie}")
        for user in ("ada", "bob", "cid")
        for movie in ("a", "b")
    ]
    answers = await asyncio.gather(*(reco.record(*rows) for _ in range(4)))
    fates = sorted(statuses(answer) for answer in answers)
    assert fates == [[ACCEPTED] * 6, *([[DUPLICATE] * 6] * 3)]
    assert [dict(a.watermarks) for a in answers if a.watermarks] == [{"ada": 1, "bob": 1, "cid": 1}]
    assert await list_all(reco, "bob", 10) == [["liked-b", "liked-a"]]


async def test_concurrent_batches_of_one_person_all_count(reco, interaction) -> None:
    await reco.add_movies("a")
    answers = await asyncio.gather(
        *(reco.record(interaction("ada", "a", f"e{number}")) for number in range(6))
    )
    assert sorted(answer.watermarks["ada"] for answer in answers) == [1, 2, 3, 4, 5, 6]
    assert sorted((await list_all(reco, "ada", 10))[0]) == [f"e{number}" for number in range(6)]


async def test_pages_are_latest_first_and_keep_still_while_more_is_recorded(
    reco, interaction
) -> None:
    await reco.add_movies("a")
    for batch in range(6):
        await reco.record(*(interaction("ada", "a", f"e{batch}{place}") for place in range(3)))
    newest_first = [f"e{batch}{place}" for batch in reversed(range(6)) for place in (2, 1, 0)]
    first = await reco.interactions.ListInteractions(
        pb.ListInteractionsRequest(user_id="ada", page_size=4)
    )
    await reco.record(interaction("ada", "a", "later"))
    seen = [interaction.event_id for interaction in first.interactions]
    token = first.next_page_token
    while token:
        answer = await reco.interactions.ListInteractions(
            pb.ListInteractionsRequest(user_id="ada", page_size=4, page_token=token)
        )
        seen += [interaction.event_id for interaction in answer.interactions]
        token = answer.next_page_token
    assert seen == newest_first
    assert await list_all(reco, "ada", 1000) == [["later", *newest_first]]
    assert [len(page) for page in await list_all(reco, "ada", 19)] == [19]


async def test_everything_recorded_is_listed_as_it_was_sent(reco, interaction) -> None:
    await reco.add_movies("a")
    sent = [
        interaction("ada", "a", "watch", kind="WATCH", value=0.25),
        interaction("ada", "a", "rating", kind="RATING", value=4.5),
        interaction("ada", "a", "skip", kind="SKIP"),
    ]
    for row, year in zip(sent, (1971, 1, 9999), strict=True):
        row.occur_time.CopyFrom(at(year))
    assert statuses(await reco.record(*sent)) == [ACCEPTED] * 3
    answer = await reco.interactions.ListInteractions(pb.ListInteractionsRequest(user_id="ada"))
    assert list(answer.interactions) == sent[::-1]


async def test_the_history_that_ranks_is_capped_and_what_is_listed_is_not(
    reco, world, interaction
) -> None:
    await reco.add_movies("old", "new")
    await reco.record(*(interaction("ada", "old") for _ in range(999)))
    await reco.record(interaction("ada", "new"), interaction("ada", "new"))
    state = await world.database["user_state"].find_one({"_id": "ada"})
    assert state is not None
    movies = [entry["m"] for entry in state["history"]]
    assert movies == ["old"] * 998 + ["new"] * 2
    assert [len(page) for page in await list_all(reco, "ada", 1000)] == [1000, 1]


WRONG_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"event_id": ""}, "event_id"),
    ({"event_id": "a/b"}, "event_id"),
    ({"event_id": "x" * 129}, "event_id"),
    ({"user_id": ""}, "user_id"),
    ({"user_id": "a b"}, "user_id"),
    ({"movie_id": ""}, "movie_id"),
    ({"movie_id": "ä"}, "movie_id"),
    ({"type": 0}, "type"),
    ({"type": 77}, "type"),
    ({"type": pb.INTERACTION_TYPE_RATING, "value": float("nan")}, "value"),
    ({"type": pb.INTERACTION_TYPE_RATING, "value": 5.5}, "value"),
    ({"type": pb.INTERACTION_TYPE_RATING}, "value"),
    ({"type": pb.INTERACTION_TYPE_WATCH, "value": 1.01}, "value"),
    ({"type": pb.INTERACTION_TYPE_WATCH, "value": float("-inf")}, "value"),
    ({"type": pb.INTERACTION_TYPE_VIEW, "value": 1e300}, "value"),
    ({"type": pb.INTERACTION_TYPE_LIKE, "value": 1.0}, "value"),
    ({"occur_time": Timestamp(seconds=2**60)}, "occur_time"),
    ({"occur_time": Timestamp(nanos=-1)}, "occur_time"),
]


async def test_a_wrong_row_is_invalid_and_says_which_field(reco) -> None:
    await reco.add_movies("a")
    sound = {"event_id": "e1", "user_id": "eve", "movie_id": "a", "type": pb.INTERACTION_TYPE_LIKE}
    rows = [pb.Interaction(**{**sound, **change}) for change, _ in WRONG_ROWS]
    answer = await reco.record(*rows, pb.Interaction(**sound))
    assert statuses(answer) == [INVALID] * len(rows) + [ACCEPTED]
    assert [r.event_id for r in answer.results[:-1]] == [row.event_id for row in rows]
    named = [result.message.partition(": ")[0] for result in answer.results]
    assert named == [*(field for _, field in WRONG_ROWS), ""]
    alone = await reco.record(rows[0])
    assert statuses(alone) == [INVALID]
    assert await list_all(reco, "eve", 10) == [["e1"]]


async def test_wrong_requests_name_their_field(reco, interaction, refusal_of) -> None:
    for rows in ([], [interaction("eve", "a", "e1")] * 1001):
        refusal = await refusal_of(reco.record(*rows))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.fields == ["interactions"]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a/b"}, "user_id"),
        ({"page_size": -1}, "page_size"),
        ({"page_size": 1001}, "page_size"),
        ({"page_token": "nonsense"}, "page_token"),
        ({"page_token": encode_page_token("interactions/bob", [3, 0])}, "page_token"),
        ({"page_token": encode_page_token("interactions/ada", [3])}, "page_token"),
        ({"page_token": encode_page_token("interactions/ada", [3, 0, 0])}, "page_token"),
        ({"page_token": encode_page_token("interactions/ada", ["3", "0"])}, "page_token"),
    ]
    for change, field in cases:
        request = pb.ListInteractionsRequest(**{"user_id": "ada", **change})
        refusal = await refusal_of(reco.interactions.ListInteractions(request))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, change
        assert refusal.fields == [field], change


async def test_a_forged_position_is_an_empty_page(reco, interaction) -> None:
    await reco.add_movies("a")
    await reco.record(interaction("ada", "a"))
    for position in ([2**63 - 1, 2**63 - 1], [0, 0], [-(2**63), -1]):
        token = encode_page_token("interactions/ada", position)
        answer = await reco.interactions.ListInteractions(
            pb.ListInteractionsRequest(user_id="ada", page_token=token)
        )
        assert not answer.interactions
        assert not answer.next_page_token
