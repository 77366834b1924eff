"""CatalogService against a real database, and the copy of the catalogue that replicas keep."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from marquee.reco.v1 import catalog_service_pb2 as pb
from marquee.reco.v1 import movie_pb2
from marquee.reco.v1 import recommendation_service_pb2 as recommendation_pb

from mesh.kafka.topics import CATALOG_EVENTS
from mesh.pages import encode_page_token
from mesh.times import now
from reco_svc.store import schema


def movie(movie_id: str, title: str = "A title", **fields: Any) -> movie_pb2.Movie:
    return movie_pb2.Movie(id=movie_id, title=title, **fields)


async def upsert(reco: Any, *movies: movie_pb2.Movie) -> tuple[int, int, int]:
    answer = await reco.catalog.UpsertMovies(pb.UpsertMoviesRequest(movies=movies))
    return answer.created_count, answer.updated_count, answer.unchanged_count


async def get(reco: Any, movie_id: str) -> movie_pb2.Movie:
    answer = await reco.catalog.GetMovie(pb.GetMovieRequest(movie_id=movie_id))
    found: movie_pb2.Movie = answer.movie
    return found


async def test_what_was_stored_is_read_and_only_changes_are_told(reco, world) -> None:
    told = movie("heat", "Heat", genres=["Crime", "Drama"], year=1995, languages=["en", "fr-CA"])
    assert await upsert(reco, told, movie("fargo")) == (2, 0, 0)
    first = await get(reco, "heat")
    assert first.create_time == first.update_time
    told.create_time.CopyFrom(first.create_time)
    told.update_time.CopyFrom(first.update_time)
    assert first == told

    assert await upsert(reco, told, movie("fargo", "Fargo"), movie("alien")) == (1, 1, 1)
    assert await get(reco, "heat") == told
    fargo = await get(reco, "fargo")
    assert fargo.title == "Fargo"
    assert fargo.create_time.ToNanoseconds() < fargo.update_time.ToNanoseconds()
    events = [event.movie for event in await world.announced(CATALOG_EVENTS)]
    assert [(m.id, m.title) for m in events] == [
        ("alien", "A title"),
        ("fargo", "A title"),
        ("fargo", "Fargo"),
        ("heat", "Heat"),
    ]
    assert events[2] == fargo


async def test_a_movie_that_is_not_there(reco, refusal_of) -> None:
    refusal = await refusal_of(get(reco, "nothing"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "MOVIE_NOT_FOUND")
    await upsert(reco, movie("a"), movie("b"))
    answer = await reco.catalog.BatchGetMovies(
        pb.BatchGetMoviesRequest(movie_ids=["b", "nothing", "a", "b"])
    )
    assert [found.id for found in answer.movies] == ["b", "a"]
    assert list(answer.missing_movie_ids) == ["nothing"]


async def test_pages_are_by_id(reco) -> None:
    ids = [f"m{number:02d}" for number in range(7)]
    await upsert(reco, *(movie(movie_id) for movie_id in reversed(ids)))
    pages, token = [], ""
    while True:
        answer = await reco.catalog.ListMovies(pb.ListMoviesRequest(page_size=3, page_token=token))
        pages.append([found.id for found in answer.movies])
        token = answer.next_page_token
        if not token:
            break
    assert pages == [ids[:3], ids[3:6], ids[6:]]
    whole = await reco.catalog.ListMovies(pb.ListMoviesRequest(page_size=7))
    assert (len(whole.movies), whole.next_page_token) == (7, "")


async def test_concurrent_upserts_of_new_movies_all_succeed(reco, world) -> None:
    movies = [movie(f"m{number}") for number in range(20)]
    outcomes = await asyncio.gather(*(upsert(reco, *movies) for _ in range(5)))
    assert sorted(outcomes) == [(0, 0, 20)] * 4 + [(20, 0, 0)]
    assert len(await world.announced(CATALOG_EVENTS)) == 20


async def test_concurrent_changes_of_one_movie_end_the_same_everywhere(
    reco, world, eventually
) -> None:
    async with world.running() as other:
        await upsert(reco, movie("heat"))
        replicas = [reco, other] * 4
        await asyncio.gather(
            *(upsert(r, movie("heat", f"Title {n}")) for n, r in enumerate(replicas))
        )
        stored = await get(reco, "heat")
        events = [event.movie for event in await world.announced(CATALOG_EVENTS)]
        assert events[-1] == stored
        times = [event.update_time.ToNanoseconds() for event in events]
        assert times == sorted(set(times))
        for replica in (reco, other):

            async def knows(replica: Any = replica) -> bool:
                answer = await replica.recommendations.Recommend(
                    recommendation_pb.RecommendRequest(user_id="ada")
                )
                return bool(answer.recommendations[0].movie == stored)

            await eventually(knows, within=20)


async def test_a_replica_with_a_clock_behind_writes_the_later_change(reco, world) -> None:
    await upsert(reco, movie("heat", "Of a clock ahead"))
    ahead = now() + timedelta(hours=1)
    await world.database[schema.MOVIES].update_one(
        {"_id": "heat"}, {"$set": {"update_time": ahead}}
    )
    await upsert(reco, movie("heat", "Later"))
    found = await get(reco, "heat")
    assert found.title == "Later"
    assert found.update_time.ToDatetime(ahead.tzinfo) > ahead


async def test_a_movie_that_another_replica_stored_is_known_at_once(
    reco, world, interaction
) -> None:
    async with world.running() as other:
        await upsert(other, movie("heat", "Heat"))
        answer = await reco.record(interaction("ada", "heat"))
        assert [result.status for result in answer.results] == [1]
        trending = await reco.recommendations.Trending(recommendation_pb.TrendingRequest())
        assert [found.movie.title for found in trending.movies] == ["Heat"]


async def test_a_replica_follows_what_others_change(reco, world, eventually) -> None:
    async with world.running() as other:
        await upsert(reco, movie("heat", "Heat"), movie("fargo", "Fargo"))
        await upsert(other, movie("heat", "Heat (1995)"))

        async def titles() -> bool:
            answer = await reco.recommendations.Recommend(
                recommendation_pb.RecommendRequest(user_id="ada")
            )
            found = {each.movie.title for each in answer.recommendations}
            return found == {"Heat (1995)", "Fargo"}

        await eventually(titles, within=20)


async def test_wrong_requests_name_their_fields(reco, refusal_of) -> None:
    wrong = pb.UpsertMoviesRequest(
        movies=[
            movie(""),
            movie("a/b"),
            movie("twice"),
            movie("twice"),
            movie("untitled", ""),
            movie("long", "x" * 501),
            movie("early", year=1869),
            movie("never", year=-1),
            movie("genres", genres=["x"] * 33),
            movie("genre", genres=["Drama", ""]),
            movie("language", languages=["en", "not a language"]),
        ]
    )
    refusal = await refusal_of(reco.catalog.UpsertMovies(wrong))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [
        "movies[0].id",
        "movies[1].id",
        "movies[3].id",
        "movies[4].title",
        "movies[5].title",
        "movies[6].year",
        "movies[7].year",
        "movies[8].genres",
        "movies[9].genres[1]",
        "movies[10].languages[1]",
    ]
    token = encode_page_token("models", ["a"])
    requests: list[tuple[Any, Any, str]] = [
        (reco.catalog.UpsertMovies, pb.UpsertMoviesRequest(), "movies"),
        (
            reco.catalog.UpsertMovies,
            pb.UpsertMoviesRequest(movies=[movie(f"m{n}") for n in range(1001)]),
            "movies",
        ),
        (reco.catalog.GetMovie, pb.GetMovieRequest(), "movie_id"),
        (reco.catalog.BatchGetMovies, pb.BatchGetMoviesRequest(), "movie_ids"),
        (
            reco.catalog.BatchGetMovies,
            pb.BatchGetMoviesRequest(movie_ids=["a", "a b"]),
            "movie_ids[1]",
        ),
        (reco.catalog.ListMovies, pb.ListMoviesRequest(page_size=-5), "page_size"),
        (reco.catalog.ListMovies, pb.ListMoviesRequest(page_size=1001), "page_size"),
        (reco.catalog.ListMovies, pb.ListMoviesRequest(page_token="x"), "page_token"),
        (reco.catalog.ListMovies, pb.ListMoviesRequest(page_token=token), "page_token"),
    ]
    requests += [
        (
            reco.catalog.ListMovies,
            pb.ListMoviesRequest(page_token=encode_page_token("movies", position)),
            "page_token",
        )
        for position in ([], [1], ["a", "b"])
    ]
    for call, request, field in requests:
        refusal = await refusal_of(call(request))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, request
        assert refusal.fields == [field], request
    with pytest.raises(grpc.aio.AioRpcError):
        await get(reco, "twice")  # nothing of a wrong batch is stored
