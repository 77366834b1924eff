"""ModelService against a real database, and what the index makes of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import numpy as np
import pytest
import structlog
from marquee.reco.v1 import model_service_pb2 as pb
from marquee.reco.v1 import recommendation_service_pb2 as recommendation_pb

from mesh.ids import new_id
from mesh.kafka.topics import MODEL_EVENTS
from mesh.pages import encode_page_token
from mesh.times import now
from reco_svc.store import schema

TRAINING, READY, SERVING, FAILED = range(1, 5)
EAST, WEST, NEITHER = (1.0, 0.0), (0.0, 1.0), (0.6, 0.8)


async def get(reco: Any, version: str) -> pb.Model:
    answer = await reco.models.GetModel(pb.GetModelRequest(version=version))
    model: pb.Model = answer.model
    return model


async def put_training(world: Any, heartbeat_age: timedelta) -> str:
    """Stores a model in training whose process gave its last sign of life a while ago."""
    version = new_id()
    await world.database[schema.MODELS].insert_one(
        {
            "_id": version,
            "status": TRAINING,
            "create_time": now(),
            "heartbeat_time": now() - heartbeat_age,
            "progress": 0.3,
        }
    )
    return version


async def put_raw(world: Any, version: str, movie_id: str, in_raw: bytes, out_raw: bytes) -> None:
    await world.database[schema.EMBEDDINGS].insert_one(
        {
            "_id": f"{version}/{movie_id}",
            "model_version": version,
            "movie_id": movie_id,
            "in_vector": in_raw,
            "out_vector": out_raw,
            "origin": "trained",
        }
    )


async def similar(reco: Any, movie_id: str) -> dict[str, float]:
    answer = await reco.recommendations.SimilarMovies(
        recommendation_pb.SimilarMoviesRequest(movie_id=movie_id)
    )
    return {found.movie.id: round(found.similarity, 4) for found in answer.movies}


async def test_before_the_first_promotion(reco, refusal_of) -> None:
    assert await reco.index() == pb.GetIndexStatusResponse()
    await reco.add_movies("a")
    call = reco.recommendations.SimilarMovies
    refusal = await refusal_of(call(recommendation_pb.SimilarMoviesRequest(movie_id="a")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_MODEL")
    refusal = await refusal_of(call(recommendation_pb.SimilarMoviesRequest(movie_id="b")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "MOVIE_NOT_FOUND")
    refusal = await refusal_of(reco.models.TrainModel(pb.TrainModelRequest()))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NO_INTERACTIONS",
    )


async def test_a_promoted_model_serves_on_every_replica(reco, world, eventually) -> None:
    await reco.add_movies("a", "b", "c")
    version = await world.store_model({"a": EAST, "b": EAST, "c": WEST})
    async with world.running() as other:
        answer = await other.models.PromoteModel(pb.PromoteModelRequest(version=version))
        assert answer.model.status == SERVING

        async def follows() -> bool:
            return bool((await reco.index()).model_version == version)

        await eventually(follows)
        assert await similar(reco, "a") == {"b": 1.0, "c": 0.0}
        mine, others = await reco.index(), await other.index()
        assert mine.index_version == others.index_version
        assert (mine.movie_count, mine.dimension, mine.kind) == (3, 2, "exact")

    again = await reco.models.PromoteModel(pb.PromoteModelRequest(version=version))
    assert again.model.status == SERVING
    (event,) = await world.announced(MODEL_EVENTS)
    assert event.model_version == version

    second = await world.store_model({"a": EAST, "c": EAST})
    await world.promote(reco, second, eventually)
    assert await similar(reco, "a") == {"c": 1.0}
    assert (await get(reco, version)).status == READY
    async with world.running() as restarted:
        assert (await restarted.index()).model_version == second


async def test_concurrent_promotions_of_a_model_are_told_once(reco, world) -> None:
    version = await world.store_model({"a": EAST})
    answers = await asyncio.gather(
        *(reco.models.PromoteModel(pb.PromoteModelRequest(version=version)) for _ in range(4))
    )
    assert [answer.model.status for answer in answers] == [SERVING] * 4
    assert len(await world.announced(MODEL_EVENTS)) == 1


async def test_new_embeddings_of_the_served_model_appear(reco, world, eventually) -> None:
    await reco.add_movies("a", "b", "new")
    version = await world.store_model({"a": EAST, "b": WEST})
    await world.promote(reco, version, eventually)
    before = await reco.index()
    await world.store_model({"a": WEST})  # another model's change nothing
    await world.add_embeddings(version, {"new": NEITHER})

    async def found() -> bool:
        return bool((await reco.index()).movie_count == 3)

    await eventually(found)
    assert await similar(reco, "a") == {"b": 0.0, "new": 0.6}
    after = await reco.index()
    assert after.model_version == before.model_version
    assert after.index_version != before.index_version


async def test_damaged_embeddings_are_left_out_and_reported(reco, world, eventually) -> None:
    await reco.add_movies("a", "b", "c")
    sound, infinite = np.ones(2, "<f4").tobytes(), np.array([1, np.inf], "<f4").tobytes()
    # The damaged ones come first by their ids: what the others must be like is not up to them.
    version = await world.store_model({"a": EAST, "b": WEST, "c": EAST})
    await put_raw(world, version, "0-too-short", sound[:4], sound[:4])
    await put_raw(world, version, "1-torn", sound, sound[:-1])
    await put_raw(world, version, "2-empty", b"", b"")
    await put_raw(world, version, "3-infinite", infinite, sound)
    await put_raw(world, version, "4-too-long", sound, sound * 2)
    with structlog.testing.capture_logs() as logs:
        await world.promote(reco, version, eventually)
    assert (await reco.index()).movie_count == 3
    assert await similar(reco, "a") == {"c": 1.0, "b": 0.0}
    (report,) = [line for line in logs if line["event"] == "embeddings refused"]
    assert report["count"] == 5
    assert sorted(line.partition(":")[0] for line in report["first"]) == [
        *("0-too-short", "1-torn", "2-empty", "3-infinite", "4-too-long")
    ]


async def test_a_model_without_a_sound_embedding_does_not_replace_the_served_one(
    reco, world, eventually
) -> None:
    await reco.add_movies("a", "b")
    sound = await world.store_model({"a": EAST, "b": WEST})
    await world.promote(reco, sound, eventually)
    broken = await world.store_model({})
    await put_raw(world, broken, "a", b"torn!", b"torn!")
    with structlog.testing.capture_logs() as logs:
        await reco.models.PromoteModel(pb.PromoteModelRequest(version=broken))

        async def reported() -> bool:
            return any(line["event"] == "the promoted model has no embeddings" for line in logs)

        await eventually(reported)
    assert (await reco.index()).model_version == sound
    assert await similar(reco, "a") == {"b": 0.0}
    await world.add_embeddings(broken, {"b": EAST})  # repaired: it takes over

    async def repaired() -> bool:
        return bool((await reco.index()).model_version == broken)

    await eventually(repaired)


async def test_only_a_trained_model_is_promoted(reco, world, refusal_of) -> None:
    promote = reco.models.PromoteModel
    refusal = await refusal_of(promote(pb.PromoteModelRequest(version="none")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    version = await put_training(world, timedelta())
    refusal = await refusal_of(promote(pb.PromoteModelRequest(version=version)))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MODEL_NOT_READY",
    )
    assert refusal.metadata["status"] == "TRAINING"


async def test_a_training_that_lives_elsewhere_keeps_others_from_beginning(
    reco, world, interaction, refusal_of
) -> None:
    await reco.add_movies("a")
    await reco.record(interaction("ada", "a"))
    running = await put_training(world, timedelta(seconds=5))
    refusal = await refusal_of(reco.models.TrainModel(pb.TrainModelRequest()))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "TRAINING_UNDER_WAY")
    assert refusal.metadata == {"model_version": running}
    assert (await get(reco, running)).status == TRAINING


async def test_a_training_whose_service_died_is_found_and_noted(world, eventually) -> None:
    version = await put_training(world, timedelta(minutes=2))
    async with world.running() as reco:

        async def noted() -> bool:
            return (await get(reco, version)).status == FAILED

        await eventually(noted)
        model = await get(reco, version)
        assert model.failure
        assert model.HasField("finish_time")
        assert model.progress == pytest.approx(0.3)


async def test_pages_are_newest_first(reco, world) -> None:
    versions = sorted([await world.store_model({}) for _ in range(5)], reverse=True)
    pages, token = [], ""
    while True:
        answer = await reco.models.ListModels(pb.ListModelsRequest(page_size=2, page_token=token))
        pages.append([model.version for model in answer.models])
        token = answer.next_page_token
        if not token:
            break
    assert pages == [versions[:2], versions[2:4], versions[4:]]


async def test_wrong_requests_name_their_fields(reco, refusal_of) -> None:
    models = reco.models
    requests: list[tuple[Any, Any, str]] = [
        (models.GetModel, pb.GetModelRequest(), "version"),
        (models.GetModel, pb.GetModelRequest(version="a/b"), "version"),
        (models.PromoteModel, pb.PromoteModelRequest(), "version"),
        (models.TrainModel, pb.TrainModelRequest(seed=-1), "seed"),
        (models.TrainModel, pb.TrainModelRequest(seed=2**32), "seed"),
        (models.ListModels, pb.ListModelsRequest(page_size=101), "page_size"),
        (models.ListModels, pb.ListModelsRequest(page_size=-1), "page_size"),
        (models.ListModels, pb.ListModelsRequest(page_token="x"), "page_token"),
    ]
    requests += [
        (models.TrainModel, pb.TrainModelRequest(holdout_fraction=fraction), "holdout_fraction")
        for fraction in (0.01, 0.51, -0.25, float("nan"), float("inf"))
    ]
    requests += [
        (
            models.ListModels,
            pb.ListModelsRequest(page_token=encode_page_token("models", position)),
            "page_token",
        )
        for position in ([], [7], ["a", "b"])
    ]
    for call, request, field in requests:
        refusal = await refusal_of(call(request))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, request
        assert refusal.fields == [field], request
    refusal = await refusal_of(models.GetModel(pb.GetModelRequest(version="none")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
