"""The training process: reads interactions, trains, writes embeddings, notes the outcome.

Started by `reco_svc.trainer_process`; it may also run as a job of its own on the same database.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from dataclasses import replace

import pymongo
import structlog
from pymongo.errors import PyMongoError

from mesh.background import end_background
from mesh.mongo.client import connect
from mesh.settings import load_settings
from mesh.telemetry.logs import setup_logs
from reco_svc.domain import Model, ModelStatus
from reco_svc.ranking.model import INTERACTION_WEIGHTS
from reco_svc.settings import RecoSettings
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.models import Embedding, EmbeddingStore, ModelStore
from reco_svc.store.schema import DATABASE
from reco_svc.training.interactions import InteractionMatrix
from reco_svc.training.trainer import (
    NothingToTrainOnError,
    TrainedModel,
    TrainerConfig,
    train,
)

_log = structlog.get_logger(__name__)
_REPORT_SECONDS = 0.5
_READ_SECONDS = 1800.0
_WRITE_BATCH = 500


class TrainingGivenUpError(Exception):
    """The model is no longer noted as in training; nobody waits for it."""


class _Progress:
    """Hands the trainer's progress, made in its thread, to the reports of the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._share = 0.0
        self._given_up = False

    def __call__(self, share: float) -> None:
        with self._lock:
            if self._given_up:
                raise TrainingGivenUpError("the model is no longer in training")
            self._share = share

    @property
    def share(self) -> float:
        with self._lock:
            return self._share

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True


async def read_interactions(store: InteractionStore) -> InteractionMatrix:
    """Reads everything recorded, weighted by what each interaction says."""
    users: list[str] = []
    movies: list[str] = []
    weights: list[float] = []
    with pymongo.timeout(_READ_SECONDS):
        async for batch in store.batches():
            users += [batch.user_id] * len(batch.rows)
            movies += [row.movie_id for row in batch.rows]
            weights += [INTERACTION_WEIGHTS[row.type.name.lower()] for row in batch.rows]
    # Beside the event loop, which goes on giving signs of life.
    return await asyncio.to_thread(InteractionMatrix.from_triples, users, movies, weights)


async def run(settings: RecoSettings, version: str, seed: int, holdout_fraction: float) -> Model:
    """Trains one model and stores it.

    Returns:
        The model as stored: READY, or FAILED with the reason.

    Raises:
        PyMongoError: The database went away; the starter notes the failure.
    """
    client = connect(settings.mongodb_uri, "marquee-training")
    try:
        database = client[DATABASE]
        models = ModelStore(database)
        progress = _Progress()
        reports = asyncio.create_task(_report(models, version, progress))
        try:
            matrix = await read_interactions(InteractionStore(database))
            config = TrainerConfig(seed=seed, holdout_fraction=holdout_fraction)
            trained = await asyncio.to_thread(train, matrix, config, progress)
            await _write(EmbeddingStore(database), version, trained)
            await models.finish(await _outcome(models, version, matrix, trained))
        except PyMongoError:
            raise
        except NothingToTrainOnError as error:
            await models.fail(version, str(error))
        except Exception as error:
            _log.exception("training failed", model_version=version)
            await models.fail(version, f"{type(error).__name__}: {error}")
        finally:
            await end_background([reports])
        return await _stored(models, version)
    finally:
        await client.close()


async def _stored(models: ModelStore, version: str) -> Model:
    model = await models.get(version)
    if model is None:
        raise SystemExit(f"there is no model {version!r}")
    return model


async def _outcome(
    models: ModelStore, version: str, matrix: InteractionMatrix, trained: TrainedModel
) -> Model:
    model = await _stored(models, version)
    return replace(
        model,
        metrics=trained.metrics,
        parameters={**model.parameters, **trained.parameters},
        interaction_count=matrix.nnz,
        user_count=matrix.n_users,
        movie_count=len(trained.factors),
    )


async def _report(models: ModelStore, version: str, progress: _Progress) -> None:
    while True:
        try:
            if not await models.report(version, progress.share):
                progress.give_up()
        except PyMongoError as error:
            # What is trained can still be stored if the database comes back.
            _log.warning("progress cannot be noted", error=str(error))
        await asyncio.sleep(_REPORT_SECONDS)


async def _write(embeddings: EmbeddingStore, version: str, trained: TrainedModel) -> None:
    factors = trained.factors
    rows = [
        Embedding(movie_id, factors.in_vectors[row], factors.out_vectors[row])
        for row, movie_id in enumerate(factors.movie_ids)
    ]
    for begin in range(0, len(rows), _WRITE_BATCH):
        await embeddings.put(version, rows[begin : begin + _WRITE_BATCH])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train one model that is stored as TRAINING.")
    parser.add_argument("--version", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--holdout-fraction", type=float, default=0.25)
    arguments = parser.parse_args()
    settings = load_settings(RecoSettings)
    setup_logs("marquee-training", settings.log_level)
    model = asyncio.run(
        run(settings, arguments.version, arguments.seed, arguments.holdout_fraction)
    )
    if model.status is not ModelStatus.READY:
        raise SystemExit(model.failure)


if __name__ == "__main__":
    main()
