"""The training process: reads interactions, trains, writes embeddings, notes the outcome.

Started by `reco_svc.trainer_process`; it may also run as a job of its own on the same database.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import traceback
from dataclasses import replace

import structlog
from pymongo.errors import PyMongoError

from mesh.mongo.client import connect
from mesh.settings import load_settings
from mesh.telemetry.logs import setup_logs
from mesh.times import now
from reco_svc.domain import Model, ModelStatus
from reco_svc.ranking.model import INTERACTION_WEIGHTS
from reco_svc.settings import RecoSettings
from reco_svc.store.interactions import InteractionStore
from reco_svc.store.models import Embedding, EmbeddingStore, ModelStore
from reco_svc.store.schema import DATABASE
from reco_svc.training.interactions import InteractionMatrix
from reco_svc.training.trainer import TrainedModel, TrainerConfig, train

_log = structlog.get_logger(__name__)
_REPORT_SECONDS = 0.5
_WRITE_BATCH = 500


class _Progress:
    """Hands the trainer's progress, made in its thread, to the reports of the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._share = 0.0

    def __call__(self, share: float) -> None:
        with self._lock:
            self._share = share

    @property
    def share(self) -> float:
        with self._lock:
            return self._share


async def read_interactions(store: InteractionStore) -> InteractionMatrix:
    """Reads everything recorded, weighted by what each interaction says."""
    rows = [row async for row in store.everything()]
    return InteractionMatrix.from_triples(
        [row.user_id for row in rows],
        [row.movie_id for row in rows],
        [INTERACTION_WEIGHTS[row.type.name.lower()] for row in rows],
    )


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
        models, embeddings = ModelStore(database), EmbeddingStore(database)
        model = await models.get(version)
        if model is None:
            raise SystemExit(f"there is no model {version!r}")
        progress = _Progress()
        reports = asyncio.create_task(_report(models, version, progress))
        try:
            matrix = await read_interactions(InteractionStore(database))
            trained = await asyncio.to_thread(
                train,
                matrix,
                TrainerConfig(seed=seed, holdout_fraction=holdout_fraction),
                progress,
            )
            await _write(embeddings, version, trained)
            model = replace(
                model,
                status=ModelStatus.READY,
                progress=1.0,
                metrics=trained.metrics,
                parameters={**model.parameters, **trained.parameters},
                interaction_count=matrix.nnz,
                user_count=matrix.n_users,
                movie_count=len(trained.factors),
            )
        except PyMongoError:
            raise
        except Exception as error:
            _log.exception("training failed", model_version=version)
            reason = traceback.format_exception_only(error)[-1].strip()
            model = replace(model, status=ModelStatus.FAILED, failure=reason)
        finally:
            reports.cancel()
        model = replace(model, finish_time=now())
        await models.finish(model)
        return model
    finally:
        await client.close()


async def _report(models: ModelStore, version: str, progress: _Progress) -> None:
    while True:
        await models.report(version, progress.share)
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
