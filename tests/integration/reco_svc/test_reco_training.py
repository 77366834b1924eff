"""Training in a process of its own, on people of two tastes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import grpc
import psutil
import pytest
from marquee.reco.v1 import model_service_pb2 as pb
from marquee.reco.v1 import recommendation_service_pb2 as recommendation_pb

from reco_svc.store import schema

TRAINING, READY, SERVING, FAILED = range(1, 5)
EAST = [f"east{number:02d}" for number in range(20)]
WEST = [f"west{number:02d}" for number in range(20)]


@pytest.fixture
def world(named_world: Any) -> Any:
    """The database in which a training process looks for its work."""
    return named_world


async def fill(reco: Any) -> int:
    """Records what 60 people of two tastes like; returns how much."""
    await reco.add_movies(*EAST, *WEST)
    choice = random.Random(7)
    taste = {
        f"{side}-{n}": movies for side, movies in (("e", EAST), ("w", WEST)) for n in range(30)
    }
    for user, movies in taste.items():
        await reco.like(user, *choice.sample(movies, 12))
    return 12 * len(taste)


async def train(reco: Any, **fields: Any) -> pb.Model:
    answer = await reco.models.TrainModel(pb.TrainModelRequest(**fields))
    model: pb.Model = answer.model
    return model


async def end_of(reco: Any, version: str) -> tuple[pb.Model, list[float]]:
    """Waits for the end of a training; returns the model and the progress seen."""
    seen: list[float] = []
    async with asyncio.timeout(90):
        while True:
            answer = await reco.models.GetModel(pb.GetModelRequest(version=version))
            seen.append(answer.model.progress)
            if answer.model.status != TRAINING:
                return answer.model, seen
            await asyncio.sleep(0.1)


def processes() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "reco_svc.training.job" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def test_a_model_learns_the_tastes_and_serves(
    world: Any, eventually: Any, refusal_of: Any
) -> None:
    async with world.running() as reco:
        recorded = await fill(reco)
        begun = await asyncio.gather(
            *(train(reco, seed=3, holdout_fraction=0.2) for _ in range(4)), return_exceptions=True
        )
        (model,) = [each for each in begun if isinstance(each, pb.Model)]
        refused = [each for each in begun if isinstance(each, grpc.aio.AioRpcError)]
        assert [error.code() for error in refused] == [grpc.StatusCode.ABORTED] * 3
        assert model.status == TRAINING
        assert model.parameters["seed"] == "3"
        refusal = await refusal_of(train(reco))
        assert refusal.reason == "TRAINING_UNDER_WAY"
        assert refusal.metadata == {"model_version": model.version}

        model, progress = await end_of(reco, model.version)
        assert (model.status, model.failure) == (READY, "")
        assert progress == sorted(progress)
        assert model.progress == 1
        assert (model.interaction_count, model.user_count, model.movie_count) == (recorded, 60, 40)
        assert model.metrics["ndcg@10"] > model.metrics["popularity.ndcg@10"] > 0
        assert model.parameters["seed"] == "3"
        assert model.HasField("finish_time")

        await world.promote(reco, model.version, eventually)
        answer = await reco.recommendations.Recommend(
            recommendation_pb.RecommendRequest(user_id="e-0", limit=8, explain=True)
        )
        assert {found.movie.id for found in answer.recommendations} <= set(EAST)
        for found in answer.recommendations:
            assert found.source == recommendation_pb.SOURCE_PERSONAL
            total = sum(part.value for part in found.contributions)
            assert total == pytest.approx(found.score, abs=1e-5)
        neighbours = await reco.recommendations.SimilarMovies(
            recommendation_pb.SimilarMoviesRequest(movie_id="west00", limit=5)
        )
        assert {found.movie.id for found in neighbours.movies} <= set(WEST)


async def test_a_training_that_is_killed_has_failed_and_the_next_may_begin(world: Any) -> None:
    async with world.running() as reco:
        await fill(reco)
        first = await train(reco)
        for process in processes():
            process.kill()
        model, _ = await end_of(reco, first.version)
        assert (model.status, model.failure) == (
            FAILED,
            "the training process ended with status -9",
        )
        assert model.HasField("finish_time")

        second = await train(reco)
        assert second.version != first.version
        running = processes()
        assert len(running) == 1
    # The service was stopped.
    assert not [process for process in running if process.is_running()]
    stored = await world.database[schema.MODELS].find_one({"_id": second.version})
    assert (stored["status"], stored["failure"]) == (
        FAILED,
        "the service was stopped during the training",
    )


async def test_where_nothing_can_be_learnt_the_model_says_so(world: Any, interaction: Any) -> None:
    async with world.running() as reco:
        await reco.add_movies("a", "b")
        await reco.record(interaction("ada", "a"), interaction("bob", "b"))
        model, _ = await end_of(reco, (await train(reco)).version)
        assert (model.status, model.failure) == (FAILED, "no user has interacted with two movies")


async def test_a_training_that_was_given_up_ends_by_itself(world: Any, eventually: Any) -> None:
    async with world.running() as reco:
        await fill(reco)
        model = await train(reco)
        failed = {"$set": {"status": FAILED, "failure": "somebody thought it dead"}}
        await world.database[schema.MODELS].update_one({"_id": model.version}, failed)

        async def ended() -> bool:
            return not processes()

        await eventually(ended)
        found, _ = await end_of(reco, model.version)
        assert found.failure == "somebody thought it dead"
        assert await world.database[schema.EMBEDDINGS].count_documents({}) == 0
