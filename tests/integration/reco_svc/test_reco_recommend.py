"""RecommendationService against a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from marquee.reco.v1 import recommendation_service_pb2 as pb

from mesh.times import now, to_timestamp
from reco_svc.store import schema

PERSONAL, CONTENT, PREFERENCE, POPULAR = range(1, 5)
VECTORS = {
    "heat": (1.0, 0.0),
    "fargo": (0.96, 0.28),
    "casino": (0.8, 0.6),
    "bambi": (0.0, 1.0),
    "dumbo": (-0.6, 0.8),
}


@pytest.fixture
async def served(reco: Any, world: Any, eventually: Any) -> Any:
    """A replica that serves five movies in two dimensions, and knows a sixth."""
    await reco.add_movies("heat", "fargo", "casino", genres=["Crime"])
    await reco.add_movies("bambi", "dumbo", genres=["Animation"])
    await reco.add_movies("unseen", genres=["Crime", "Animation"])
    await world.promote(reco, await world.store_model(VECTORS), eventually)
    return reco


async def recommend(reco: Any, user_id: str = "", *session: str, **fields: Any) -> Any:
    if user_id:
        request = pb.RecommendRequest(user_id=user_id, **fields)
    else:
        request = pb.RecommendRequest(session=pb.Session(movie_ids=session), **fields)
    return await reco.recommendations.Recommend(request)


def found(answer: Any) -> list[tuple[str, int]]:
    return [(each.movie.id, each.source) for each in answer.recommendations]


async def test_what_somebody_likes_ranks_the_next_answer(served: Any) -> None:
    await served.like("ada", "heat")
    answer = await recommend(served, "ada")
    assert found(answer) == [
        ("fargo", PERSONAL),
        ("casino", PERSONAL),
        ("bambi", PERSONAL),
        ("dumbo", PERSONAL),
        ("unseen", POPULAR),
    ]
    assert [round(each.score, 4) for each in answer.recommendations] == [0.96, 0.8, 0, -0.6, 0]
    assert answer.recommendations[0].movie.title == "Title of fargo"
    assert not answer.recommendations[0].contributions
    assert answer.watermark == 1
    index = await served.index()
    assert (answer.model_version, answer.index_version) == (
        index.model_version,
        index.index_version,
    )
    await served.like("ada", "bambi")
    answer = await recommend(served, "ada", limit=2)
    assert [movie for movie, _ in found(answer)] == ["casino", "fargo"]
    assert answer.watermark == 2


async def test_contributions_sum_to_the_score(served: Any) -> None:
    await served.like("ada", "bambi", "heat")
    answer = await recommend(served, "ada", limit=1, explain=True)
    (best,) = answer.recommendations
    parts = {part.movie_id: part.value for part in best.contributions}
    # (1, 0) + (0, 1), brought to unit length, times (0.8, 0.6)
    assert best.movie.id == "casino"
    assert sum(parts.values()) == pytest.approx(best.score, abs=1e-6)
    assert parts == pytest.approx({"heat": 0.8 / 2**0.5, "bambi": 0.6 / 2**0.5}, abs=1e-6)
    assert [part.title for part in best.contributions] == ["Title of heat", "Title of bambi"]


async def test_whatever_was_disliked_or_skipped_is_known_and_says_nothing(
    served: Any, interaction: Any
) -> None:
    await served.record(
        interaction("ada", "heat"),
        interaction("ada", "fargo", kind="DISLIKE"),
        interaction("ada", "casino", kind="SKIP"),
    )
    answer = await recommend(served, "ada")
    assert found(answer)[:2] == [("bambi", PERSONAL), ("dumbo", PERSONAL)]
    assert answer.recommendations[0].score == pytest.approx(0)
    assert {"heat", "fargo", "casino"}.isdisjoint(movie for movie, _ in found(answer))


async def test_a_session_is_answered_by_its_movies_and_names_those_unknown(served: Any) -> None:
    answer = await recommend(served, "", "heat", "nothing", "heat", "neither")
    assert found(answer)[:2] == [("fargo", PERSONAL), ("casino", PERSONAL)]
    assert list(answer.missing_movie_ids) == ["nothing", "neither"]
    assert answer.watermark == 0
    empty = await recommend(served, "")
    assert {source for _, source in found(empty)} == {POPULAR}


async def test_people_without_a_history_get_their_genres_then_what_is_popular(
    served: Any, world: Any
) -> None:
    await served.like("bob", "casino", "bambi")
    await served.like("cid", "bambi")
    stranger = await recommend(served, "eve")
    assert [movie for movie, _ in found(stranger)][:2] == ["bambi", "casino"]
    assert {source for _, source in found(stranger)} == {POPULAR}
    assert (len(stranger.recommendations), stranger.watermark) == (6, 0)

    await world.database[schema.USER_PROFILES].insert_one(
        {"_id": "eve", "version": 1, "liked_genres": ["crime"], "disliked_genres": ["animation"]}
    )
    known = await recommend(served, "eve", limit=5)
    assert found(known) == [
        ("casino", PREFERENCE),
        ("fargo", PREFERENCE),
        ("heat", PREFERENCE),
        ("bambi", POPULAR),
        ("dumbo", POPULAR),
    ]


async def test_who_only_disliked_gets_their_genres_too(
    served: Any, world: Any, interaction: Any
) -> None:
    await world.database[schema.USER_PROFILES].insert_one(
        {"_id": "eve", "version": 1, "liked_genres": ["Crime"], "disliked_genres": []}
    )
    await served.record(interaction("eve", "heat", kind="DISLIKE"))
    answer = await recommend(served, "eve", limit=2)
    assert {source for _, source in found(answer)} == {PREFERENCE}
    assert "heat" not in {movie for movie, _ in found(answer)}
    assert answer.watermark == 1


async def test_before_the_first_model_there_are_popular_movies(reco: Any, refusal_of: Any) -> None:
    refusal = await refusal_of(recommend(reco, "ada"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "EMPTY_CATALOG")
    await reco.add_movies("a", "b", "c")
    await reco.like("ada", "b", "c")
    answer = await recommend(reco, "eve", limit=2)
    assert found(answer) == [("b", POPULAR), ("c", POPULAR)]
    assert (answer.model_version, answer.index_version) == ("", "")
    own = await recommend(reco, "ada")
    assert found(own) == [("a", POPULAR)]


async def test_a_movie_known_by_its_metadata_says_so(
    served: Any, world: Any, eventually: Any
) -> None:
    version = (await served.index()).model_version
    await world.add_embeddings(version, {"unseen": (1.0, 0.0)})
    await world.database[schema.EMBEDDINGS].update_one(
        {"_id": f"{version}/unseen"}, {"$set": {"origin": "content"}}
    )

    async def known() -> bool:
        return bool((await served.index()).movie_count == 6)

    await eventually(known)
    await served.like("ada", "heat")
    assert ("unseen", CONTENT) in found(await recommend(served, "ada"))


async def test_trending_counts_the_recent_more_and_each_event_once(
    reco: Any, world: Any, interaction: Any
) -> None:
    await reco.add_movies("old", "new")
    half_life = timedelta(days=30)
    rows = [interaction(f"u{n}", "old") for n in range(3)] + [interaction("u9", "new")]
    for row in rows[:3]:
        row.occur_time.CopyFrom(to_timestamp(now() - 2 * half_life))
    rows[3].occur_time.CopyFrom(to_timestamp(now()))
    await reco.record(*rows)
    await reco.record(*rows)

    async def trending(replica: Any) -> list[tuple[str, float]]:
        answer = await replica.recommendations.Trending(pb.TrendingRequest(limit=5))
        return [(each.movie.title, round(each.score, 3)) for each in answer.movies]

    assert await trending(reco) == [("Title of new", 1.0), ("Title of old", 0.75)]
    async with world.running() as restarted:
        while not await trending(restarted):
            pass
        assert await trending(restarted) == [("Title of new", 1.0), ("Title of old", 0.75)]


async def test_an_impossible_time_does_no_harm(reco: Any, interaction: Any) -> None:
    await reco.add_movies("a", "b")
    for year in (1, 9999):
        row = interaction("ada", "a")
        row.occur_time.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))
        await reco.record(row)
    await reco.like("ada", "b", "b")
    answer = await reco.recommendations.Trending(pb.TrendingRequest())
    assert [(each.movie.id, round(each.score, 3)) for each in answer.movies] == [
        ("b", 2.0),
        ("a", 1.0),
    ]


async def test_similar_movies_need_a_vector(served: Any, refusal_of: Any) -> None:
    call = served.recommendations.SimilarMovies
    answer = await call(pb.SimilarMoviesRequest(movie_id="heat", limit=2))
    assert [(each.movie.title, round(each.similarity, 4)) for each in answer.movies] == [
        ("Title of fargo", 0.96),
        ("Title of casino", 0.8),
    ]
    assert answer.model_version == (await served.index()).model_version
    refusal = await refusal_of(call(pb.SimilarMoviesRequest(movie_id="unseen")))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MOVIE_WITHOUT_VECTOR",
    )
    assert refusal.metadata == {"movie_id": "unseen"}


async def test_wrong_requests_name_their_fields(reco: Any, refusal_of: Any) -> None:
    calls = reco.recommendations
    session = pb.Session(movie_ids=["a", "", "b c"])
    many = pb.Session(movie_ids=["a"] * 1001)
    requests: list[tuple[Any, Any, list[str]]] = [
        (calls.Recommend, pb.RecommendRequest(), ["subject"]),
        (calls.Recommend, pb.RecommendRequest(user_id=""), ["user_id"]),
        (calls.Recommend, pb.RecommendRequest(user_id="a/b", limit=-1), ["limit", "user_id"]),
        (calls.Recommend, pb.RecommendRequest(user_id="a", limit=501), ["limit"]),
        (calls.Recommend, pb.RecommendRequest(user_id="a", limit=101, explain=True), ["limit"]),
        (
            calls.Recommend,
            pb.RecommendRequest(session=session),
            ["session.movie_ids[1]", "session.movie_ids[2]"],
        ),
        (calls.Recommend, pb.RecommendRequest(session=many), ["session.movie_ids"]),
        (calls.SimilarMovies, pb.SimilarMoviesRequest(limit=501), ["movie_id", "limit"]),
        (calls.SimilarMovies, pb.SimilarMoviesRequest(movie_id="a b"), ["movie_id"]),
        (calls.Trending, pb.TrendingRequest(limit=-1), ["limit"]),
        (calls.Trending, pb.TrendingRequest(limit=501), ["limit"]),
    ]
    for call, request, fields in requests:
        refusal = await refusal_of(call(request))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, request
        assert refusal.fields == fields, request
